/* Pumba's command lines: what is read, and exactly what is said about those that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "chaoslib/pumba/args.h"

struct fixture {
    struct arena *arena;
    struct pumba_line line;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->arena = arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_free(f->arena);
    free(f);
    return 0;
}

static const struct pumba_line *read_ok(struct fixture *f, const char *text)
{
    f->err = (struct err){ 0 };
    if (pumba_read(text, f->arena, &f->line, &f->err) < 0)
        fail_msg("%s: %s", text, f->err.msg);
    return &f->line;
}

static void words_are_cut_like_a_shell_does(void **state)
{
    static const struct {
        const char *text;
        const char *words[6];
    } rows[] = {
        { "kill shop", { "kill", "shop" } },
        { "  kill \t\n shop  ", { "kill", "shop" } },
        { "kill 're2:^a b$'", { "kill", "re2:^a b$" } },
        { "kill \"re2:^a$\" x", { "kill", "re2:^a$", "x" } },
        { "a\\ b c", { "a b", "c" } },
        { "--stressors=\"--cpu 4\"", { "--stressors=--cpu 4" } },
        { "a '' b", { "a", "", "b" } },
        { "\"a\\\"b\"", { "a\"b" } },
        { "'a'\"b\"c", { "abc" } },
        { "re2:^shop$", { "re2:^shop$" } },
        { "a \\\n b", { "a", "b" } },
        { "re2:^shop[123]+", { "re2:^shop[123]+" } },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strs words;
        size_t n = 0;

        assert_int_equal(pumba_words(rows[i].text, f->arena, &words, &f->err), 0);
        for (; n < ARRAY_LEN(rows[i].words) && rows[i].words[n]; n++) {
            assert_true(n < words.n);
            assert_string_equal(words.v[n], rows[i].words[n]);
        }
        assert_int_equal(words.n, n);
    }
}

static void global_flags_come_first(void **state)
{
    const struct pumba_line *l = read_ok(
        *state,
        "pumba -l info --json --interval=10s --random --label a=1,b=2 --label c=3 "
        "--dry-run --skip-error -H tcp://h:1 kill --signal SIGTERM --limit 2 shop-1 shop-2");

    assert_int_equal(l->command, PUMBA_KILL);
    assert_string_equal(l->words.v[l->command_at], "kill");
    assert_true(l->json && l->random && l->dry_run && l->skip_error);
    assert_int_equal(l->interval_ns, 10 * NS_PER_SEC);
    assert_int_equal(l->labels.n, 3);
    assert_string_equal(l->labels.v[1], "b=2");
    assert_string_equal(l->host, "tcp://h:1");
    assert_string_equal(l->signal, "SIGTERM");
    assert_int_equal(l->limit, 2);
    assert_int_equal(l->targets.n, 2);
    assert_null(l->pattern);
}

static void a_pattern_is_one_only_when_it_is_alone(void **state)
{
    const struct pumba_line *l = read_ok(*state, "kill re2:^shop");

    assert_string_equal(l->pattern, "^shop");
    assert_int_equal(l->targets.n, 0);
    l = read_ok(*state, "kill re2:^shop db");
    assert_null(l->pattern);
    assert_string_equal(l->targets.v[0], "re2:^shop");
}

static void the_last_commands_flags_may_follow_the_containers(void **state)
{
    const struct pumba_line *l = read_ok(*state, "stop shop --time 3 --restart db");

    assert_int_equal(l->stop_time, 3);
    assert_true(l->stop_restart && pumba_is_lasting(l));
    assert_int_equal(l->targets.n, 2);
    l = read_ok(*state, "netem --duration 1s combine --delay --loss --loss-percent 5 -- -odd-name");
    assert_string_equal(l->targets.v[0], "-odd-name");
}

static void defaults_are_pumbas(void **state)
{
    const struct pumba_line *l = read_ok(*state, "netem -d 5s delay x");

    assert_string_equal(l->interface, "eth0");
    assert_true(l->pull_image);
    assert_int_equal(l->delay.time_ms, 100);
    assert_int_equal(l->delay.jitter_ms, 10);
    assert_true(l->delay.correlation > 19.9 && l->delay.correlation < 20.1);
    assert_true(l->delay.on && !l->loss.on);
    l = read_ok(*state, "rm x");
    assert_true(l->force && l->volumes && !l->links && !pumba_is_lasting(l));
    l = read_ok(*state, "rm --force=false -v=0 x");
    assert_true(!l->force && !l->volumes);
    l = read_ok(*state, "stop --time -3 x");
    assert_int_equal(l->stop_time, 5);
    l = read_ok(*state, "exec x");
    assert_string_equal(l->exec_command, "kill 1");
}

static void every_effect_is_read(void **state)
{
    const struct pumba_line *l =
        read_ok(*state, "netem -d 5s -t 10.0.0.0/8 --target 10.1.1.1 --egressPort 80,443 "
                        "--ingress-port 53 --tc-image '' --pull-image=false loss -p 20 -c 5.5 x");
    char name[32];

    assert_int_equal(l->net_targets.n, 2);
    assert_string_equal(l->egress_port, "80,443");
    assert_string_equal(l->ingress_port, "53");
    assert_string_equal(l->image, "");
    assert_false(l->pull_image);
    assert_true(l->loss.percent > 19.9 && l->loss.correlation > 5.4);
    l = read_ok(*state, "netem -d 5s loss-state --p13 1 --p31 99 x");
    assert_true(l->p13 > 0.9 && l->p31 < 99.1 && l->p23 > 99.9);
    l = read_ok(*state, "netem -d 5s loss-gemodel --pg 5 --pb 90 --one-h 80 --one-k 1 x");
    assert_true(l->pg > 4.9 && l->pb < 90.1 && l->one_h < 80.1 && l->one_k > 0.9);
    l = read_ok(*state, "netem -d 5s rate -r 1mbit -p 2 -s 3 -c 4 x");
    assert_string_equal(l->rate.rate, "1mbit");
    assert_int_equal(l->rate.cell_overhead, 4);
    l = read_ok(*state, "netem -d 5s duplicate -p 3 x");
    assert_true(l->duplicate.on && l->duplicate.percent > 2.9);
    l = read_ok(*state, "netem -d 5s corrupt -p 3 x");
    assert_true(l->corrupt.on);
    l = read_ok(*state, "iptables -d 5s -p tcp -s 10.0.0.1 --dest 10.2.0.0/16 --dport 80 --sport 1 "
                        "loss --mode nth --every 3 --packet 2 x");
    assert_int_equal(l->every, 3);
    assert_string_equal(l->dst_port, "80");
    pumba_line_name(l, name);
    assert_string_equal(name, "iptables loss");
    l = read_ok(*state, "stress -d 5s --stressors=\"--cpu 1 --timeout 4s\" --inject-cgroup x");
    assert_string_equal(l->stressors, "--cpu 1 --timeout 4s");
    assert_true(l->inject_cgroup && pumba_is_lasting(l));
    l = read_ok(*state, "exec --command sh --args -c --args 'echo hi' x");
    assert_int_equal(l->exec_args.n, 2);
    assert_string_equal(l->exec_args.v[0], "-c");
    l = read_ok(*state, "restart -t 1500ms x");
    assert_int_equal(l->restart_timeout_ns, 1500 * NS_PER_MS);
    l = read_ok(*state, "pause -d 10s");
    assert_int_equal(l->targets.n, 0);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "an empty command line: write for example kill re2:^shop" },
        { "pumba", "no command: kill, pause, netem and so on" },
        { "docker run gaiaadm/pumba kill x",
          "'docker' is not Pumba: give only what follows Pumba's name or image" },
        { "kil x", "unknown command 'kil', did you mean 'kill'?" },
        { "frobnicate x", "unknown command 'frobnicate': known are kill, exec, restart, stop, "
                          "pause, rm, stress, netem, iptables" },
        { "remove x", "Pumba's command is 'rm', not 'remove'" },
        { "kill", "kill needs containers: a name, several, or a pattern such as 're2:^shop'" },
        { "kill --signal SIGFOO x",
          "--signal 'SIGFOO': is none of SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGIOT, SIGBUS, "
          "SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, "
          "SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, "
          "SIGPROF, SIGWINCH, SIGIO" },
        { "kill --singal SIGTERM x", "'--singal' is no flag of kill, did you mean '--signal'?" },
        { "kill --zzz x", "'--zzz' is no flag of kill" },
        { "--zzz kill x", "'--zzz' is no flag of pumba itself" },
        { "kill --interval 10s x", "'--interval' is a global flag: it must come before 'kill'" },
        { "netem -d 1s delay --json x", "'--json' is a global flag: it must come before 'netem'" },
        { "kill x --limit", "'--limit' needs a value" },
        { "kill --limit -1 x", "--limit '-1': must not be below 0" },
        { "kill --limit two x",
          "--limit 'two': 'two' is not a whole number in -2147483648..2147483647" },
        { "pause x", "pause needs --duration, such as 20s" },
        { "pause -d 10 x", "-d" },
        { "pause -d 1d x", "-d '1d': Go knows no days: write 24h" },
        { "netem -d 1s", "'netem' needs a subcommand: delay and so on" },
        { "netem -d 1s dely x", "unknown subcommand of netem 'dely', did you mean 'delay'?" },
        { "netem -d 1s loss -p 101 x", "-p '101': must be between 0 and 100" },
        { "netem -d 1s delay -j 200 x", "the jitter (200 ms) is above the delay (100 ms)" },
        { "netem -d 1s delay -t 0 x", "the delay must be above 0 ms" },
        { "netem -d 1s delay --distribution odd x",
          "--distribution 'odd': is none of uniform, normal, pareto, paretonormal" },
        { "netem -d 1s rate -r 1MB x", "rate '1MB': write digits and bit, kbit, mbit or gbit" },
        { "netem -d 1s -t shop delay x", "--target 'shop': not an address, nor one with /bits" },
        { "netem -d 1s -i 1eth delay x", "--interface '1eth': not a name of an interface" },
        { "netem -d 1s --egress-port 99999 delay x",
          "--egress-port '99999': ports are numbers from 0 to 65535, separated by commas" },
        { "-i 1s netem -d 1s delay x", "--duration must be shorter than --interval" },
        { "netem -d 1s combine --delay x", "combine needs two at least of --delay, --loss, "
                                           "--corrupt, --duplicate, --rate" },
        { "iptables -d 1s loss --mode odd x", "--mode 'odd': is none of random, nth" },
        { "iptables -d 1s loss --mode nth x", "mode nth needs --every above 0" },
        { "iptables -d 1s loss --mode nth --every 2 --packet 2 x",
          "--packet must be below --every (2)" },
        { "iptables -d 1s --dport 80 loss x", "ports need --protocol tcp or udp" },
        { "iptables -d 1s loss --probability 1.5 x",
          "--probability '1.5': must be between 0 and 1" },
        { "--runtime containerd --label a=1 kill x",
          "Pumba knows no --label with --runtime containerd" },
        { "--random=maybe kill x", "--random 'maybe': is not true or false" },
        { "kill $SHOP",
          "'$SHOP': only a shell could expand this, and there is no shell here: quote "
          "it, or leave it out" },
        { "kill x | tee y",
          "'| tee y': this is a shell's, and there is no shell here: quote it, or "
          "leave it out" },
        { "kill 'x", "a ' without its end: 'x" },
        { "kill \"x", "a \" without its end: \"x" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };

        if (pumba_read(rows[i].text, f->arena, &f->line, &err) >= 0)
            fail_msg("'%s' was accepted", rows[i].text);
        if (strlen(rows[i].says) > 2)
            assert_string_equal(err.msg, rows[i].says);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
}

static void too_much_is_refused(void **state)
{
    struct fixture *f = *state;
    auto_buf struct buf text = BUF_INIT((size_t)1 << 20);

    for (int i = 0; i < PUMBA_WORDS_MAX + 1; i++)
        buf_adds(&text, "x ");
    assert_true(pumba_read(buf_str(&text), f->arena, &f->line, &f->err) < 0);
    assert_string_equal(f->err.msg, "more than 1024 words");
    while (text.len < PUMBA_TEXT_MAX)
        buf_adds(&text, "xxxxxxxxxxxxxxxx");
    assert_true(pumba_read(buf_str(&text), f->arena, &f->line, &f->err) < 0);
    assert_string_equal(f->err.msg, "more than 65536 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_are_cut_like_a_shell_does, setup, teardown),
        cmocka_unit_test_setup_teardown(global_flags_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pattern_is_one_only_when_it_is_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_commands_flags_may_follow_the_containers, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(defaults_are_pumbas, setup, teardown),
        cmocka_unit_test_setup_teardown(every_effect_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
