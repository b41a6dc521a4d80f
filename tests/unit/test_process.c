/* Named processes: who is meant, who is never meant, and the life of our own children. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "chaoslib/process/find.h"
#include "chaoslib/process/ready.h"
#include "edge/yaml.h"
#include "tests/unit/fault_fixture.h"

/* ---- finding ---- */

struct herd {
    char *dir, *marks[2];
    struct proc_id ids[2];
};

/* Two processes with a path of this test in their arguments. */
static int herd_up(void **state)
{
    struct herd *h = xcalloc(1, sizeof(*h));

    h->dir = scratch_dir();
    for (size_t i = 0; i < 2; i++) {
        h->marks[i] = xasprintf("%s/shop%zu.sh", h->dir, i);
        FILE *f = fopen(h->marks[i], "w");
        assert_non_null(f);
        fprintf(f, "while :; do sleep 0.1; done\n");
        fclose(f);
        h->ids[i] = victim_start((const char *const[]){ "/bin/sh", h->marks[i], NULL }, NULL);
    }
    *state = h;
    return 0;
}

static int herd_down(void **state)
{
    struct herd *h = *state;

    for (size_t i = 0; i < 2; i++) {
        victim_end(&h->ids[i]);
        free(h->marks[i]);
    }
    scratch_remove(h->dir);
    free(h);
    return 0;
}

static void one_match_is_found(void **state)
{
    const struct herd *h = *state;
    struct proc_id id = { 0 };
    struct err err = { 0 };

    assert_int_equal(process_find_command("shop", h->marks[1], &id, &err), 0);
    assert_int_equal(id.pid, h->ids[1].pid);
    assert_int_equal(id.start_ticks, h->ids[1].start_ticks);
    assert_true(process_find_command("shop", "no such [0-9]{40} thing", &id, &err) < 0);
    assert_int_equal(err.kind, ERR_TARGET);
    assert_non_null(strstr(err.msg, "process 'shop': no running process matches"));
    assert_true(process_find_command("shop", "(", &id, &err) < 0);
    assert_non_null(strstr(err.msg, "process 'shop': command '(': "));
}

static void several_matches_are_an_error_with_a_list(void **state)
{
    const struct herd *h = *state;
    auto_free char *first = xasprintf("%d (/bin/sh ", h->ids[0].pid);
    auto_free char *second = xasprintf("%d (/bin/sh ", h->ids[1].pid);
    struct proc_id id = { 0 };
    struct err err = { 0 };

    assert_true(process_find_command("shop", h->dir, &id, &err) < 0);
    assert_int_equal(err.kind, ERR_TARGET);
    assert_non_null(strstr(err.msg, "process 'shop': 2 processes match"));
    assert_non_null(strstr(err.msg, first));
    assert_non_null(strstr(err.msg, second));
    assert_int_equal(id.pid, 0);
}

/* Each has its own name, so that parallel tests do not see each other's. */
static void a_script_is_found_by_its_name(void **state)
{
    const struct herd *h = *state;
    static const char *const suffixes[] = { "", ".sh" };

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        auto_free char *script = xasprintf("%s/only-%d.sh", h->dir, getpid());
        auto_free char *name = xasprintf("only-%d%s", getpid(), suffixes[i]);
        struct proc_id id = { 0 }, victim;
        struct err err = { 0 };
        FILE *f = fopen(script, "w");
        assert_non_null(f);
        fprintf(f, "while :; do sleep 0.1; done\n");
        fclose(f);
        victim = victim_start((const char *const[]){ "/bin/sh", script, NULL }, NULL);
        if (process_find_name(name, &id, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(id.pid, victim.pid);
        victim_end(&victim);
    }
}

static void we_and_our_parents_are_never_meant(void **state)
{
    struct proc_id id = { 0 };
    struct err err = { 0 };

    (void)state;
    /* "." matches every command line: nobody in the list may be us or above us. */
    assert_true(process_find_command("all", "test_process", &id, &err) < 0 ||
                (id.pid != getpid() && id.pid != getppid()));
    assert_true(process_find_pid("me", getpid(), &id, &err) < 0);
    assert_non_null(strstr(err.msg, "is chaos-load itself, which is never a target"));
    assert_true(process_find_pid("init", 1, &id, &err) < 0);
    assert_non_null(strstr(err.msg, "is init, which is never a target"));
    assert_true(process_find_pid("nobody", 1999999999, &id, &err) < 0);
    assert_non_null(strstr(err.msg, "there is no process with pid 1999999999"));
}

static const struct {
    const char *text, *message;
} pidfiles[] = {
    { "", "does not begin with a process number" },
    { "shop", "does not begin with a process number" },
    { "-4", "does not begin with a process number" },
    { "0", "does not begin with a process number" },
    { "99999999999999", "does not begin with a process number" },
    { "1999999999\n", "there is no process with pid 1999999999" },
    { "1\n", "never a target" },
};

static void pidfiles_are_read_strictly(void **state)
{
    const struct herd *h = *state;
    auto_free char *path = xasprintf("%s/pid", h->dir);
    struct proc_id id = { 0 };
    struct err err = { 0 };

    assert_true(process_find_pidfile("shop", path, &id, &err) < 0);
    assert_int_equal(err.code, ENOENT);
    for (size_t i = 0; i <= ARRAY_LEN(pidfiles); i++) {
        bool is_good = i == ARRAY_LEN(pidfiles);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        if (is_good)
            fprintf(f, "%d\nmore\n", h->ids[0].pid);
        else
            fputs(pidfiles[i].text, f);
        fclose(f);
        int rc = process_find_pidfile("shop", path, &id, &err);
        if (!is_good && (rc == 0 || !strstr(err.msg, pidfiles[i].message)))
            fail_msg("'%s': %s", pidfiles[i].text, err.msg);
    }
    assert_int_equal(id.pid, h->ids[0].pid);
}

/* ---- children ---- */

#define SH(script)                                                                             \
    {                                                                                          \
        .v = (const char **)(uintptr_t)(const char *const[]){ "/bin/sh", "-c", script, NULL }, \
        .n = 3                                                                                 \
    }
#define ROW(name_, script)                               \
    ((struct process_plan){ .name = (name_),             \
                            .run = SH(script),           \
                            .stop_grace_ns = NS_PER_SEC, \
                            .ready_timeout_ns = 5 * NS_PER_SEC })

static void children_end_with_the_registry(void **state)
{
    struct process_plan row = ROW("shop", "sleep 1000 & sleep 1000");
    struct processes *p = processes_new(&row, 1);
    struct proc_id id = { 0 };
    struct err err = { 0 };

    (void)state;
    if (processes_start(p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(processes_is_child(p, "shop"));
    assert_int_equal(processes_resolve(p, "shop", &id, NULL), 0);
    assert_int_equal(getpgid(id.pid), id.pid);
    assert_null(processes_unexpected_exit(p));
    processes_free(p);
    EVENTUALLY(kill(-id.pid, 0) < 0); /* the whole group */
}

static void a_deaf_child_is_killed_after_its_grace(void **state)
{
    struct process_plan row = ROW("deaf", "trap '' TERM; while :; do sleep 0.05; done");
    struct processes *p = processes_new(&row, 1);
    struct proc_id id = { 0 };

    (void)state;
    row.stop_grace_ns = 50 * NS_PER_MS;
    assert_int_equal(processes_start(p, NULL), 0);
    assert_int_equal(processes_resolve(p, "deaf", &id, NULL), 0);
    processes_stop(p);
    assert_false(proc_is_alive(&id));
    assert_true(processes_resolve(p, "deaf", &id, NULL) < 0);
    processes_free(p);
}

static void an_unexpected_death_is_told_once(void **state)
{
    struct process_plan row = ROW("shop", "sleep 0.05; exit 3");
    struct processes *p = processes_new(&row, 1);
    struct proc_id id = { 0 };
    struct err err = { 0 };
    const char *why = NULL;

    (void)state;
    assert_int_equal(processes_start(p, NULL), 0);
    EVENTUALLY((why = processes_unexpected_exit(p)) != NULL);
    assert_string_equal(why, "process 'shop' exited with status 3, which no fault asked for");
    assert_null(processes_unexpected_exit(p));
    assert_true(processes_resolve(p, "shop", &id, &err) < 0);
    assert_string_equal(err.msg, "process 'shop' is not running: it exited with status 3");
    processes_free(p);
}

static void an_expected_death_is_not_told(void **state)
{
    struct process_plan row = ROW("shop", "sleep 1000");
    struct processes *p = processes_new(&row, 1);
    struct proc_id id = { 0 }, again = { 0 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(processes_start(p, NULL), 0);
    assert_int_equal(processes_resolve(p, "shop", &id, NULL), 0);
    assert_true(processes_respawn(p, "shop", &again, &err) < 0);
    assert_string_equal(err.msg, "process 'shop' is still running");
    processes_expect_exit(p, "shop", true);
    kill(id.pid, SIGKILL);
    EVENTUALLY(!proc_is_alive(&id));
    assert_null(processes_unexpected_exit(p));
    assert_int_equal(processes_respawn(p, "shop", &again, &err), 0);
    processes_expect_exit(p, "shop", false);
    assert_true(proc_is_alive(&again));
    kill(again.pid, SIGKILL);
    const char *why = NULL;
    EVENTUALLY((why = processes_unexpected_exit(p)) != NULL);
    assert_string_equal(why, "process 'shop' was ended by SIGKILL, which no fault asked for");
    processes_free(p);
}

/* Spawned by a thread that is long gone, it must go on. */
static void *respawn(void *arg)
{
    struct proc_id id;

    return processes_respawn(arg, "shop", &id, NULL) < 0 ? arg : NULL;
}

static void a_child_outlives_the_thread_that_brought_it_back(void **state)
{
    struct process_plan row = ROW("shop", "sleep 1000");
    struct processes *p = processes_new(&row, 1);
    struct proc_id id = { 0 };
    pthread_t thread;
    void *failed;

    (void)state;
    assert_int_equal(processes_start(p, NULL), 0);
    assert_int_equal(processes_resolve(p, "shop", &id, NULL), 0);
    kill(id.pid, SIGKILL);
    EVENTUALLY(!proc_is_alive(&id));
    assert_int_equal(pthread_create(&thread, NULL, respawn, p), 0);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_int_equal(processes_resolve(p, "shop", &id, NULL), 0);
    clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
    assert_true(proc_is_alive(&id));
    processes_free(p);
}

static void what_cannot_start_says_so_and_stops_the_rest(void **state)
{
    struct process_plan rows[] = { ROW("first", "sleep 1000"), ROW("second", "exit 4") };
    struct processes *p = processes_new(rows, 2);
    struct proc_id id = { 0 };
    struct err err = { 0 };

    (void)state;
    rows[1].ready = "tcp:127.0.0.1:1";
    assert_true(processes_start(p, &err) < 0);
    assert_non_null(strstr(err.msg, "process 'second' exited with status 4 before it was ready"));
    assert_true(processes_resolve(p, "first", &id, &err) < 0);
    processes_free(p);

    rows[1] = (struct process_plan){ .name = "gone", .pid = 1999999999 };
    p = processes_new(rows, 2);
    assert_true(processes_start(p, &err) < 0);
    assert_non_null(strstr(err.msg, "process 'gone': there is no process with pid"));
    processes_free(p);
}

static bool has_line(const char *path, char line[256])
{
    FILE *f = fopen(path, "r");
    bool whole = f && fgets(line, 256, f) && strchr(line, '\n');

    if (f)
        fclose(f);
    return whole;
}

static void its_environment_and_log_are_used(void **state)
{
    char *dir = scratch_dir();
    auto_free char *log = xasprintf("%s/log", dir);
    struct process_plan row = ROW("shop", "echo $COLOUR $PWD; sleep 1000");
    struct processes *p = processes_new(&row, 1);
    char line[256] = "";

    (void)state;
    row.env = (struct pairs){ .keys = (const char *[]){ "COLOUR" },
                              .values = (const char *[]){ "blue" },
                              .n = 1 };
    row.cwd = dir;
    row.log = log;
    setenv("COLOUR", "red", 1);
    assert_int_equal(processes_start(p, NULL), 0);
    EVENTUALLY(has_line(log, line));
    auto_free char *want = xasprintf("blue %s\n", dir);
    assert_string_equal(line, want);
    processes_free(p);
    unsetenv("COLOUR");
    scratch_remove(dir);
}

/* ---- ready ---- */

static const struct {
    const char *text;
    bool ok;
} readies[] = {
    { "tcp:127.0.0.1:80", true },
    { "tcp://127.0.0.1:80", true },
    { "tcp:[::1]:80", true },
    { "http://localhost", true },
    { "http://localhost:80/", true },
    { "http://[::1]/health?x=1", true },
    { "http://[::1]:8080", true },
    { "", false },
    { "tcp:", false },
    { "tcp:80", false },
    { "tcp:host:0", false },
    { "tcp:host:65536", false },
    { "tcp:host:x", false },
    { "http://", false },
    { "http://:80/", false },
    { "https://localhost/", false },
    { "http://a b/", false },
    { "http://[::1", false },
    { "http://[::1]x:80/", false },
    { "udp:localhost:1", false },
    { "http://host\r\nX: y/", false },
};

static void ready_checks_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(readies); i++) {
        struct err err = { 0 };
        if ((process_ready_check(readies[i].text, &err) == 0) != readies[i].ok)
            fail_msg("'%s': %s", readies[i].text, err.msg);
    }
}

struct answer {
    int fd;
    const char *text;
};

/* Answers each connection with the text. */
static void *serve(void *arg)
{
    const struct answer *a = arg;
    char request[2048];

    for (;;) {
        int fd = accept(a->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        if (a->text && recv(fd, request, sizeof(request), 0) > 0)
            send(fd, a->text, strlen(a->text), MSG_NOSIGNAL);
        close(fd);
    }
}

static int listen_any(int *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static const struct {
    const char *answer, *message; /* message NULL: ready */
} answers[] = {
    { "HTTP/1.1 200 OK\r\n\r\n", NULL },
    { "HTTP/1.0 302 Found\r\n\r\n", NULL },
    { "HTTP/1.1 503 Unavailable\r\n\r\n", "answered 503" },
    { "HTTP/1.1 404 Not Found\r\n\r\n", "answered 404" },
    { "SSH-2.0-OpenSSH\r\n", "Protocol error" },
    { "HTTP/1.1", "Connection reset" },
};

static void ready_is_what_the_server_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        int port;
        struct answer a = { .fd = listen_any(&port), .text = answers[i].answer };
        auto_free char *url = xasprintf("http://127.0.0.1:%d/health", port);
        auto_free char *tcp = xasprintf("tcp:127.0.0.1:%d", port);
        struct err err = { 0 };
        pthread_t thread;
        pthread_create(&thread, NULL, serve, &a);
        uint64_t wait = answers[i].message ? 30 * NS_PER_MS : 10 * NS_PER_SEC;
        int rc = process_wait_ready(url, clock_now_ns() + wait, &err);
        if ((rc == 0) != !answers[i].message || (rc < 0 && !strstr(err.msg, answers[i].message)))
            fail_msg("'%s': %s", answers[i].answer, err.msg);
        assert_int_equal(process_wait_ready(tcp, clock_now_ns() + 10 * NS_PER_SEC, &err), 0);
        shutdown(a.fd, SHUT_RDWR);
        pthread_join(thread, NULL);
        close(a.fd);
        assert_true(process_wait_ready(tcp, clock_now_ns() + 10 * NS_PER_MS, &err) < 0);
        assert_non_null(strstr(err.msg, "not ready in time: connect to 127.0.0.1:"));
    }
}

/* ---- rows of a plan ---- */

static const struct {
    const char *yaml, *message; /* NULL: good */
} rows[] = {
    { "{name: a, run: [sleep, '1']}", NULL },
    { "{name: a, run: 'python3 -m \"my shop\"'}", NULL },
    { "{name: a, pid: 4711}", NULL },
    { "{name: a, pidfile: /run/a.pid}", NULL },
    { "{name: a, command: '^nginx: master', ready: 'tcp:127.0.0.1:80'}", NULL },
    { "{run: [a]}", "name" },
    { "{name: a}", "no way to find the process: give exactly one of run:" },
    { "{name: a, run: ''}", "no way to find the process" },
    { "{name: a, run: [b], pid: 7}", "more than one way to find the process" },
    { "{name: a, pid: 1}", "1" },
    { "{name: a, pid: -7}", "-7" },
    { "{name: a, pid: x}", "x" },
    { "{name: a, command: '('}", "'(' is not a regular expression" },
    { "{name: a, pid: 7, cwd: /}", "cwd: is of use only together with run:" },
    { "{name: a, pid: 7, env: {A: b}}", "env: is of use only together with run:" },
    { "{name: a, run: b, ready: maybe}", "ready: 'maybe' is neither 'tcp:HOST:PORT' nor" },
    { "{name: a, run: b, ready_timeout: 10}", "10" },
    { "{name: a, run: 'b \"c'}", "a quote is not closed" },
    { "{name: a, ruin: b}", "did you mean 'run'?" },
};

static void rows_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *arena = arena_new(0);
        struct process_plan row = { 0 };
        struct doc *root = NULL;
        struct diag diag;
        diag_init(&diag);
        assert_int_equal(
            yaml_load("plan.yaml", rows[i].yaml, strlen(rows[i].yaml), arena, &diag, &root), 0);
        const struct param_ctx ctx = { .arena = arena, .diag = &diag };
        unsigned n = param_load(&ctx, &process_table, root, &row, NULL);
        if ((n == 0) != !rows[i].message || (n && !strstr(buf_str(&diag.text), rows[i].message)))
            fail_msg("%s: it said: %s", rows[i].yaml, buf_str(&diag.text));
        diag_done(&diag);
        arena_free(arena);
    }
}

static const struct {
    const char *text, *words;
} runs[] = {
    { "'sleep 1'", "sleep|1|" }, { "'  sleep   1  '", "sleep|1|" }, { "\"a 'b c' d\"", "a|b c|d|" },
    { "'a \"\" b'", "a||b|" },   { "'a b\"c d\"e'", "a|bc de|" },   { "['a b', c]", "a b|c|" },
};

static void one_text_is_split_at_blanks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        auto_free char *yaml = xasprintf("{name: a, run: %s}", runs[i].text);
        auto_buf struct buf words = BUF_INIT(0);
        struct arena *arena = arena_new(0);
        struct process_plan row = { 0 };
        struct doc *root = NULL;
        struct diag diag;
        diag_init(&diag);
        assert_int_equal(yaml_load("p", yaml, strlen(yaml), arena, &diag, &root), 0);
        const struct param_ctx ctx = { .arena = arena, .diag = &diag };
        assert_int_equal(param_load(&ctx, &process_table, root, &row, NULL), 0);
        for (size_t w = 0; w < row.run.n; w++)
            buf_addf(&words, "%s|", row.run.v[w]);
        assert_string_equal(buf_str(&words), runs[i].words);
        diag_done(&diag);
        arena_free(arena);
    }
}

#define HERD(f) cmocka_unit_test_setup_teardown(f, herd_up, herd_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HERD(one_match_is_found),
        HERD(several_matches_are_an_error_with_a_list),
        HERD(a_script_is_found_by_its_name),
        HERD(pidfiles_are_read_strictly),
        cmocka_unit_test(we_and_our_parents_are_never_meant),
        cmocka_unit_test(children_end_with_the_registry),
        cmocka_unit_test(a_deaf_child_is_killed_after_its_grace),
        cmocka_unit_test(an_unexpected_death_is_told_once),
        cmocka_unit_test(an_expected_death_is_not_told),
        cmocka_unit_test(a_child_outlives_the_thread_that_brought_it_back),
        cmocka_unit_test(what_cannot_start_says_so_and_stops_the_rest),
        cmocka_unit_test(its_environment_and_log_are_used),
        cmocka_unit_test(ready_checks_are_read_strictly),
        cmocka_unit_test(ready_is_what_the_server_answers),
        cmocka_unit_test(rows_are_checked),
        cmocka_unit_test(one_text_is_split_at_blanks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
