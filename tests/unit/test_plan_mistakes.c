/* Broken load plans and what is said about them, word for word: the place, the path, the remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "plan_text.h"

#define HEAD "target: http://h\n"
#define OK_HEAD "target: http://h\nusers: [{tasks: [{get: /}]}]\n"

static const struct {
    const char *yaml, *want;
} broken[] = {
    { "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:1: target is missing: write target: http://127.0.0.1:5001\n" },
    { "target: 127.0.0.1:5001\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: '127.0.0.1:5001' is not a URL; write http://127.0.0.1:5001\n" },
    { "target: ftp://h/\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: 'ftp://h/': only http://, https:// and unix:/path can be loaded\n" },
    { "target: http://h:99999\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: port '99999' is not in 1..65535\n" },
    { "target: http://u:p@h\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: a URL with a user name would show in reports; use "
      "http.basic_auth\n" },
    { "target: http://h/?q=1\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: a target has no query; write it in the tasks\n" },
    { "target: unix:sock\n"
      "users: [{tasks: [{get: /}]}]\n",
      "plan.yaml:1:9: target: 'unix:sock': a unix socket is written unix:/path/to.sock\n" },
    { HEAD, "plan.yaml:1:1: no users: write users: [{tasks: [{get: /}]}]\n" },
    { HEAD "users: []\n", "plan.yaml:2:8: users: no users: write users: [{tasks: [{get: /}]}]\n" },
    { HEAD "users: [{}]\n",
      "plan.yaml:2:9: users[0]: 'tasks' is missing: a list, what these users do\n" },
    { HEAD "users: [{tasks: []}]\n",
      "plan.yaml:2:17: users[0].tasks: a user class needs at least one task\n" },
    { HEAD "users: [{tasks: [{}]}]\n",
      "plan.yaml:2:18: users[0].tasks[0]: this task sends nothing: write for example get: /items, "
      "or steps: [...]\n" },
    { HEAD "users: [{tasks: [{gett: /}]}]\n",
      "plan.yaml:2:19: users[0].tasks[0].gett: unknown key, did you mean 'get'?\n" },
    { HEAD "users: [{tasks: [{get: /, post: /x}]}]\n",
      "plan.yaml:2:27: users[0].tasks[0].post: this task already has 'get'; a task is one request, "
      "use steps for more\n" },
    { HEAD "users: [{tasks: [{get: items}]}]\n", "plan.yaml:2:24: users[0].tasks[0].get: 'items' "
                                                 "is neither a path nor a URL; write /items\n" },
    { HEAD "users: [{tasks: [{request: put /x}]}]\n",
      "plan.yaml:2:28: users[0].tasks[0].request: 'put /x' is not METHOD URL; write for example "
      "\"PUT /items/1\"\n" },
    { HEAD "users: [{tasks: [{get: /, weight: 0}]}]\n",
      "plan.yaml:2:17: users[0].tasks: all tasks have weight 0, so none would ever run\n" },
    { HEAD "users: [{tasks: [{get: /, weight: -1}]}]\n",
      "plan.yaml:2:35: users[0].tasks[0].weight: '-1' is not in 0..1e+06\n" },
    { HEAD "users: [{weight: 0, tasks: [{get: /}]}]\n",
      "plan.yaml:2:8: users: all user classes have weight 0, so no user would ever start\n" },
    { HEAD "users: [{tasks: [{get: /, steps: [{get: /x}]}]}]\n",
      "plan.yaml:2:27: users[0].tasks[0].steps: a task is either a request or steps; move the "
      "request into the steps\n" },
    { HEAD "users: [{tasks: [{steps: []}]}]\n",
      "plan.yaml:2:26: users[0].tasks[0].steps: a sequence needs at least one step\n" },
    { HEAD "users: [{tasks: [{steps: [{name: x}]}]}]\n",
      "plan.yaml:2:27: users[0].tasks[0].steps[0]: a step is a request: write for example get: "
      "/cart\n" },
    { HEAD "users: [{tasks: [{steps: [{get: /}], body: x}]}]\n",
      "plan.yaml:2:38: users[0].tasks[0].body: this task has steps; 'body' belongs into a step\n" },
    { HEAD "users: [{tasks: [{post: /, body: x, json: {a: 1}}]}]\n",
      "plan.yaml:2:37: users[0].tasks[0].json: the body is already given by 'body'\n" },
    { HEAD "users: [{tasks: [{post: /, body_file: /nowhere/x}]}]\n",
      "plan.yaml:2:39: users[0].tasks[0].body_file: '/nowhere/x': No such file or directory\n" },
    { HEAD "users: [{tasks: [{post: /, body_file: /tmp}]}]\n",
      "plan.yaml:2:39: users[0].tasks[0].body_file: '/tmp' is not a regular file\n" },
    { HEAD "users: [{tasks: [{get: /, headers: {\"a b\": c}}]}]\n",
      "plan.yaml:2:37: users[0].tasks[0].headers.a b: 'a b' is not a header name\n" },
    { HEAD "users: [{tasks: [{get: /, headers: {Content-Length: 3}}]}]\n",
      "plan.yaml:2:37: users[0].tasks[0].headers.Content-Length: Content-Length is set by the "
      "engine; see http.keep_alive and body\n" },
    { HEAD "users: [{tasks: [{get: /, headers: {X: \"a\\r\\nB: c\"}}]}]\n",
      "plan.yaml:2:40: users[0].tasks[0].headers.X: a header's value is one line\n" },
    { HEAD "users: [{tasks: [{get: \"/{{nobody}}\"}]}]\n",
      "plan.yaml:2:24: users[0].tasks[0].get: {{nobody}} is unknown: it is no function, no "
      "variable of the class, and no task of the class extracts it\n" },
    { HEAD "users: [{tasks: [{get: \"/{{random.int(1)}}\"}]}]\n",
      "plan.yaml:2:24: users[0].tasks[0].get: random.int has two bounds: write "
      "{{random.int(1,1000)}}\n" },
    { HEAD "users: [{tasks: [{get: \"/{{random.in(1,2)}}\"}]}]\n",
      "plan.yaml:2:24: users[0].tasks[0].get: {{random.in}} is unknown, did you mean "
      "{{random.int}}?\n" },
    { HEAD "users: [{tasks: [{get: \"/{{random.int(9,2)}}\"}]}]\n",
      "plan.yaml:2:24: users[0].tasks[0].get: random.int: 9 is above 2\n" },
    { HEAD "users: [{tasks: [{get: \"/{{random.int(1,2)\"}]}]\n",
      "plan.yaml:2:24: users[0].tasks[0].get: '{{random.int(1,2)': this {{ has no }}; write "
      "{{'{{'}} for the characters themselves\n" },
    { HEAD "users: [{variables: {token: a}, tasks: [{get: \"/{{tokn}}\"}]}]\n",
      "plan.yaml:2:47: users[0].tasks[0].get: {{tokn}} is unknown, did you mean {{token}}?\n" },
    { HEAD "users: [{variables: {\"1a\": a}, tasks: [{get: /}]}]\n",
      "plan.yaml:2:22: users[0].variables.1a: '1a' is not a variable name: letters, digits and _, "
      "at most 60\n" },
    { HEAD "users: [{tasks: [{get: /, expect: {status: 20}}]}]\n",
      "plan.yaml:2:44: users[0].tasks[0].expect.status: '20' is not a status; write 200, 2xx or "
      "200-204\n" },
    { HEAD "users: [{tasks: [{get: /, expect: {body_regex: \"(\"}}]}]\n",
      "plan.yaml:2:48: users[0].tasks[0].expect.body_regex: '(' is not a regular expression: "
      "Unmatched ( or \\(\n" },
    { HEAD "users: [{tasks: [{get: /, expect: {max_time: 5}}]}]\n",
      "plan.yaml:2:46: users[0].tasks[0].expect.max_time: '5' needs a unit: write 5ms or 5s\n" },
    { HEAD "users: [{tasks: [{get: /, extract: {id: body}}]}]\n",
      "plan.yaml:2:41: users[0].tasks[0].extract.id: 'body' does not say where: write header:NAME, "
      "json:PATH, regex:TEXT, cookie:NAME or status\n" },
    { HEAD "users: [{tasks: [{get: /, extract: {id: \"json:\"}}]}]\n",
      "plan.yaml:2:41: users[0].tasks[0].extract.id: 'json:': write json:...\n" },
    { HEAD "users: [{tasks: [{get: /, extract: {id: \"regex:[\"}}]}]\n",
      "plan.yaml:2:41: users[0].tasks[0].extract.id: '[' is not a regular expression: Invalid "
      "regular expression\n" },
    { HEAD "users: [{think: \"between(1, 5)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'between(1, 5)' needs units: write between(1s, 5s)\n" },
    { HEAD "users: [{think: \"constant(2)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'constant(2)' needs a unit: write constant(2s)\n" },
    { HEAD "users: [{think: \"throughput(2)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'throughput(2)' needs a unit: write throughput(2/s)\n" },
    { HEAD "users: [{think: \"betwen(1s, 5s)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'betwen(1s, 5s)' is no think time; there are between(1s, "
      "5s), constant(1s), pacing(10s), throughput(0.5/s), exponential(2s) and none\n" },
    { HEAD "users: [{think: \"between(1s)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'between(1s)' is not complete: write between(1s, 5s)\n" },
    { HEAD "users: [{think: \"between(5s, 1s)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: 'between(5s, 1s)': the first must not be above the "
      "second\n" },
    { HEAD "users: [{think: \"constant(1x)\", tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: '1x' has the unknown unit 'x': use ns us ms s m h d\n" },
    { HEAD "users: [{think: [1s], tasks: [{get: /}]}]\n",
      "plan.yaml:2:17: users[0].think: expected a think time such as between(1s, 5s), not a "
      "list\n" },
    { HEAD "users: [{host: h2, tasks: [{get: /}]}]\n",
      "plan.yaml:2:16: users[0].host: 'h2' is not a URL; write http://h2\n" },
    { HEAD "users: [{name: a, tasks: [{get: /}]}, {name: a, tasks: [{get: /}]}]\n",
      "plan.yaml:2:39: users[1]: the class 'a' is already there\n" },
    { OK_HEAD "load: {users: 0}\n", "plan.yaml:3:15: load.users: '0' is not in 1..1000000\n" },
    { OK_HEAD "load: {users: 2000000}\n",
      "plan.yaml:3:15: load.users: '2000000' is not in 1..1000000\n" },
    { OK_HEAD "load: {users: 10, for: 60}\n",
      "plan.yaml:3:24: load.for: '60' needs a unit: write 60ms or 60s\n" },
    { OK_HEAD "load: {users: 10, spawn: 5}\n",
      "plan.yaml:3:26: load.spawn: '5' needs a unit: write 5/s or 5/m\n" },
    { OK_HEAD "load: {for: 10s}\n", "plan.yaml:3:7: load: how much load? write users: 10, stages: "
                                    "[...] or arrivals: {rate: 100/s}\n" },
    { OK_HEAD "load: {users: 1, stages: [{for: 1s, users: 2}]}\n",
      "plan.yaml:3:18: load.stages: 'stages' and 'users' exclude each other\n" },
    { OK_HEAD "load: {users: 1, arrivals: {rate: 5/s}}\n",
      "plan.yaml:3:8: load.users: 'users' beside 'arrivals': write it inside arrivals, or make "
      "load a list of two parts\n" },
    { OK_HEAD "load: {arrivals: {for: 5s}}\n",
      "plan.yaml:3:18: load.arrivals: no rate is above 0: write for example rate: 100/s\n" },
    { OK_HEAD "load: {arrivals: {rate: 5/s, stages: [{for: 1s, rate: 2/s}]}}\n",
      "plan.yaml:3:19: load.arrivals.rate: 'rate' and 'stages' exclude each other\n" },
    { OK_HEAD "load: {arrivals: {rate: 5/s, process: random}}\n",
      "plan.yaml:3:39: load.arrivals.process: unknown value 'random', use one of constant, "
      "poisson\n" },
    { OK_HEAD "load: []\n", "plan.yaml:3:7: load: load has 1 to 64 parts\n" },
    { OK_HEAD "load: 100\n",
      "plan.yaml:3:7: load: expected a map such as {users: 10, for: 1m}, not a value\n" },
    { OK_HEAD "load: {stages: [{for: 0s, users: 5}]}\n",
      "plan.yaml:3:7: load: the stages together last 0 s\n" },
    { OK_HEAD "load: {stages: [{for: 1m, users: 0}]}\n",
      "plan.yaml:3:16: load.stages: no stage has users: write for example {for: 1m, users: 10}\n" },
    { HEAD "users: [{name: shop, tasks: [{get: /}]}]\n"
           "load: {users: 1, class: shp}\n",
      "plan.yaml:3:25: load.class: no user class 'shp', did you mean 'shop'?\n" },
    { HEAD "users: [{name: shop, think: constant(1s), tasks: [{get: /}]}]\n"
           "load: {arrivals: {rate: 5/s, for: 1s}}\n",
      "plan.yaml:2:22: users[0].think: think times have no effect with arrivals, where the "
      "schedule says when an iteration begins; remove think, or write load: {users: ...}\n" },
    { OK_HEAD "http: {timeout: 5}\n",
      "plan.yaml:3:17: http.timeout: '5' needs a unit: write 5ms or 5s\n" },
    { OK_HEAD "http: {engine: curll}\n",
      "plan.yaml:3:16: http.engine: unknown value 'curll', did you mean 'curl'?\n" },
    { OK_HEAD "http: {proxy: p:1, source_addresses: [me]}\n",
      "plan.yaml:3:39: http.source_addresses[0]: 'me' is not an IP address\n"
      "plan.yaml:3:15: http.proxy: 'p:1' is not a proxy; write http://host:port or "
      "socks5h://host:port\n" },
    { OK_HEAD "http: {engine: native, http_version: \"2\"}\n",
      "plan.yaml:3:16: http.engine: the native engine speaks HTTP/1.1; leave engine out\n" },
    { OK_HEAD "http: {basic_auth: {user: a}}\n",
      "plan.yaml:3:20: http.basic_auth: give either password_file or password_env\n" },
    { OK_HEAD "http: {basic_auth: {user: a, password: b}}\n",
      "plan.yaml:3:30: http.basic_auth.password: unknown key, use one of user, password_file, "
      "password_env\n" },
    { OK_HEAD "http: {bearer: {}}\n", "plan.yaml:3:16: http.bearer: give either file or env\n" },
    { OK_HEAD "http: {tls: {cert: a.pem}}\n",
      "plan.yaml:3:13: http.tls: a client certificate needs its private key: add key: FILE\n" },
    { OK_HEAD "http: {tls: {min_version: \"1.0\"}, dns: never, connections: 5}\n",
      "plan.yaml:3:27: http.tls.min_version: unknown value '1.0', did you mean '1.2'?\n"
      "plan.yaml:3:40: http.dns: unknown value 'never', use one of pinned, ttl, per-connection\n"
      "plan.yaml:3:60: http.connections: unknown value '5', use one of per-user, pooled\n" },
    { OK_HEAD "threads: 1000\n"
              "seed: -4\n",
      "plan.yaml:3:10: threads: '1000' is not in 0..256\n"
      "plan.yaml:4:7: seed: '-4' is not in 0..9007199254740991\n" },
    { "target: 127.0.0.1\n"
      "users: [{think: \"between(1, 2)\", tasks: [{get: x}, {post: /, bdy: z}]}]\n"
      "load: {users: ten}\n"
      "http: {timout: 3s}\n",
      "plan.yaml:2:17: users[0].think: 'between(1, 2)' needs units: write between(1s, 2s)\n"
      "plan.yaml:2:48: users[0].tasks[0].get: 'x' is neither a path nor a URL; write /x\n"
      "plan.yaml:2:62: users[0].tasks[1].bdy: unknown key, did you mean 'body'?\n"
      "plan.yaml:3:15: load.users: 'ten' is not a whole number in 1..1000000\n"
      "plan.yaml:4:8: http.timout: unknown key, did you mean 'timeout'?\n"
      "plan.yaml:1:9: target: '127.0.0.1' is not a URL; write http://127.0.0.1\n" },
};

static void each_mistake_has_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct plan_text p;

        plan_text_read(&p, "plan.yaml", broken[i].yaml, strlen(broken[i].yaml));
        assert_string_equal(buf_str(&p.diag.text), broken[i].want);
        plan_text_done(&p);
    }
}

static void too_many_of_something_is_a_named_limit(void **state)
{
    static const struct {
        const char *before, *each, *after;
        unsigned n;
        const char *want;
    } many[] = {
        { HEAD "users: [{tasks: [", "{get: /%u},", "]}]\n", 1025,
          "plan.yaml:2:8: users: more than 1024 endpoints; give tasks of one kind the same "
          "name\n" },
        { HEAD "users: [{variables: {", "v%u: x,", "}, tasks: [{get: /}]}]\n", 101,
          "plan.yaml:2:9: users[0]: a class has at most 100 variables and extracted values\n" },
        { OK_HEAD "load: [", "{users: 1},", "]\n", 65,
          "plan.yaml:3:7: load: load has 1 to 64 parts\n" },
        { OK_HEAD "load: [", "{users: 600000, name: n%u},", "]\n", 2,
          "plan.yaml:3:7: load: all parts together may run 1200000 users, more than 1000000\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        auto_buf struct buf yaml = BUF_INIT(0);
        struct plan_text p;

        buf_adds(&yaml, many[i].before);
        for (unsigned k = 0; k < many[i].n; k++) {
            const char *at = strstr(many[i].each, "%u");
            size_t n = at ? (size_t)(at - many[i].each) : strlen(many[i].each);

            buf_add(&yaml, many[i].each, n);
            if (at)
                buf_addf(&yaml, "%u%s", k, at + 2);
        }
        buf_adds(&yaml, many[i].after);
        plan_text_read(&p, "plan.yaml", yaml.data, yaml.len);
        assert_string_equal(buf_str(&p.diag.text), many[i].want);
        plan_text_done(&p);
    }
}

static void same_names_share_an_endpoint_and_pass_the_limit(void **state)
{
    auto_buf struct buf yaml = BUF_INIT(0);
    struct plan_text p;

    (void)state;
    buf_adds(&yaml, HEAD "users: [{tasks: [");
    for (unsigned k = 0; k < 1100; k++)
        buf_addf(&yaml, "{get: /%u, name: item},", k);
    buf_adds(&yaml, "]}]\n");
    plan_text_read(&p, "plan.yaml", yaml.data, yaml.len);
    assert_string_equal(buf_str(&p.diag.text), "");
    assert_int_equal(p.plan.n_series, 1);
    assert_int_equal(p.plan.n_forms, 1100);
    plan_text_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_has_its_sentence),
        cmocka_unit_test(too_many_of_something_is_a_named_limit),
        cmocka_unit_test(same_names_share_an_endpoint_and_pass_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
