/* A helper answers, dies when it should, and never lives longer than the thread that started it.
 * The roles are the test's own: helper_roles of the library gives way. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "chaoslib/helper.h"
#include "tests/unit/fault_fixture.h"

#define SOON_NS (20 * NS_PER_SEC)

/* ---- roles ---- */

/* Answers each question with itself; its last words are how many there were. */
static int echo(struct helper_job *job)
{
    auto(json) struct json *last = json_object();
    struct json *q = NULL;
    uint64_t n = 0;

    helper_reply(job->spec);
    while (helper_next(0, &q) == 0) {
        helper_reply(q);
        json_free(TAKE(q));
        n++;
    }
    json_put_u64(last, "questions", n);
    helper_reply(last);
    return 0;
}

static int refuse(struct helper_job *job UNUSED)
{
    struct err err = { 0 };

    err_ignore(err_set(&err, ERR_INJECT, EPERM, "not in this house"), "it is told");
    helper_reply_error(&err);
    return 1;
}

static int die(struct helper_job *job UNUSED)
{
    struct json *q = NULL;

    helper_reply_ok();
    if (helper_next(0, &q) == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

/* Neither answers nor hears that it is over. */
static int deaf(struct helper_job *job UNUSED)
{
    helper_reply_ok();
    while (pause() < 0)
        ;
    return 0;
}

static int late(struct helper_job *job UNUSED)
{
    struct json *q = NULL;

    helper_reply_ok();
    while (helper_next(0, &q) == 0) {
        clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
        helper_reply(q);
        json_free(TAKE(q));
    }
    return 0;
}

/* Writes its name into each descriptor it got; says how many are open and which signals count. */
static int write_all(struct helper_job *job)
{
    auto(json) struct json *j = json_object();
    struct json *q = NULL;

    for (size_t i = 0; i < job->n_fds; i++)
        if (write(job->fds[i], "here", 4) != 4)
            return 1;
    json_put_u64(j, "n", job->n_fds);
    json_put_bool(j, "leaks", job->n_fds && fcntl(job->fds[0], F_GETFD) != FD_CLOEXEC);
    raise(SIGINT);
    raise(SIGTERM);
    raise(SIGHUP);
    helper_reply(j);
    while (helper_next(0, &q) == 0)
        json_free(TAKE(q));
    return 0;
}

/* Three questions or 20 ms, whatever comes first. */
static int clockwork(struct helper_job *job UNUSED)
{
    auto(json) struct json *j = json_object();
    struct json *q = NULL;

    json_put_u64(j, "answer", (uint64_t)helper_next(clock_now_ns() + 20 * NS_PER_MS, &q));
    helper_reply(j);
    return helper_next(0, &q) == 1 ? 0 : 1;
}

#define ROLE(name_, run_) \
    static const struct helper_role name_##_role = { .name = #name_, .run = (run_) }
ROLE(echo, echo);
ROLE(refuse, refuse);
ROLE(die, die);
ROLE(deaf, deaf);
ROLE(late, late);
ROLE(write_all, write_all);
ROLE(clockwork, clockwork);

const struct helper_role *const helper_roles[] = {
    &echo_role, &refuse_role,    &die_role,       &deaf_role,
    &late_role, &write_all_role, &clockwork_role, NULL,
};

/* ---- our side ---- */

static struct helper *begin(const char *role, struct json **ret_reply)
{
    auto(json) struct json *spec = json_object();
    struct err err = { 0 };

    json_put_str(spec, "greeting", "hello");
    struct helper *h =
        helper_start(&(struct helper_opts){ .role = role, .spec = spec, .timeout_ns = SOON_NS },
                     ret_reply, &err);
    if (!h)
        fail_msg("%s", err.msg);
    return h;
}

static bool is_gone(pid_t pid)
{
    char state = proc_state(pid);

    return state == '\0' || state == 'Z';
}

static void it_is_asked_and_answers(void **state)
{
    struct json *reply = NULL, *last = NULL;
    struct helper *h = begin("echo", &reply);
    auto(json) struct json *q = json_object();
    struct err err = { 0 };

    (void)state;
    assert_string_equal(json_str(reply, "greeting", ""), "hello");
    json_free(TAKE(reply));
    for (uint64_t i = 0; i < 100; i++) {
        json_put_u64(q, "i", i);
        assert_int_equal(helper_ask(h, q, SOON_NS, &reply, &err), 0);
        json_free(TAKE(reply));
    }
    assert_true(helper_is_alive(h));
    pid_t pid = helper_pid(h);
    helper_stop(h, SOON_NS, &last);
    assert_int_equal(json_u64(last, "questions", 0), 100);
    json_free(last);
    assert_int_equal(proc_state(pid), 0); /* reaped */
    helper_stop(NULL, 0, NULL);
}

static void what_it_refuses_is_our_error(void **state)
{
    auto(json) struct json *spec = json_object();
    struct err err = { 0 };

    (void)state;
    assert_null(
        helper_start(&(struct helper_opts){ .role = "refuse", .spec = spec, .timeout_ns = SOON_NS },
                     NULL, &err));
    assert_string_equal(err.msg, "not in this house");
    assert_int_equal(err.kind, ERR_INJECT);
    err_clear(&err);
    assert_null(
        helper_start(&(struct helper_opts){ .role = "nobody", .spec = spec, .timeout_ns = SOON_NS },
                     NULL, &err));
    assert_string_equal(err.msg, "helper 'nobody' died");
}

static void too_much_is_refused(void **state)
{
    struct helper *h = begin("echo", NULL);
    auto(json) struct json *big = json_object(), *reply = NULL;
    auto_free char *text = xcalloc(1, HELPER_MSG_MAX + 1);
    struct err err = { 0 };

    (void)state;
    memset(text, 'x', HELPER_MSG_MAX);
    json_put_str(big, "text", text);
    assert_true(helper_ask(h, big, SOON_NS, NULL, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    text[HELPER_MSG_MAX - 100] = '\0';
    auto(json) struct json *fits = json_object();
    json_put_str(fits, "text", text);
    assert_int_equal(helper_ask(h, fits, SOON_NS, &reply, &err), 0);
    assert_string_equal(json_str(reply, "text", ""), text);
    helper_stop(h, SOON_NS, NULL);
}

static void its_death_is_seen(void **state)
{
    struct helper *h = begin("die", NULL);
    auto(json) struct json *q = json_object();
    struct err err = { 0 };

    (void)state;
    assert_true(helper_ask(h, q, SOON_NS, NULL, &err) < 0);
    assert_string_equal(err.msg, "helper 'die' died");
    EVENTUALLY(!helper_is_alive(h));
    assert_true(helper_ask(h, q, SOON_NS, NULL, &err) < 0);
    helper_stop(h, SOON_NS, NULL);
}

/* Else the answer to the first question would be taken for the one to the second. */
static void a_late_answer_is_nobodys(void **state)
{
    struct helper *h = begin("late", NULL);
    auto(json) struct json *q = json_object();
    struct err err = { 0 };

    (void)state;
    assert_true(helper_ask(h, q, NS_PER_MS, NULL, &err) < 0);
    assert_string_equal(err.msg, "helper 'late' did not answer within 1 ms");
    clock_sleep_until(clock_now_ns() + 100 * NS_PER_MS);
    assert_true(helper_ask(h, q, SOON_NS, NULL, &err) < 0);
    assert_string_equal(err.msg, "helper 'late' did not answer before");
    helper_stop(h, SOON_NS, NULL);
}

static void a_deaf_one_is_killed(void **state)
{
    struct helper *h = begin("deaf", NULL);
    pid_t pid = helper_pid(h);

    (void)state;
    helper_stop(h, 10 * NS_PER_MS, NULL);
    assert_int_equal(proc_state(pid), 0);
}

static void a_stopped_one_is_killed(void **state)
{
    struct helper *h = begin("echo", NULL);
    pid_t pid = helper_pid(h);

    (void)state;
    kill(pid, SIGSTOP);
    EVENTUALLY(proc_state(pid) == 'T');
    helper_stop(h, 10 * NS_PER_MS, NULL);
    assert_int_equal(proc_state(pid), 0);
}

static void descriptors_are_passed(void **state)
{
    auto(json) struct json *spec = json_object(), *reply = NULL;
    int pipes[HELPER_FDS_MAX][2], fds[HELPER_FDS_MAX + 1] = { 0 };
    struct err err = { 0 };
    char text[8] = "";

    (void)state;
    for (size_t i = 0; i < HELPER_FDS_MAX; i++) {
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
        fds[i] = pipes[i][1];
    }
    struct helper_opts o = { .role = "write_all",
                             .spec = spec,
                             .fds = fds,
                             .n_fds = HELPER_FDS_MAX,
                             .timeout_ns = SOON_NS };
    struct helper *h = helper_start(&o, &reply, &err);
    assert_non_null(h);
    assert_int_equal(json_u64(reply, "n", 0), HELPER_FDS_MAX);
    assert_false(json_bool(reply, "leaks", true));
    for (size_t i = 0; i < HELPER_FDS_MAX; i++) {
        assert_int_equal(read(pipes[i][0], text, sizeof(text)), 4);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    helper_stop(h, SOON_NS, NULL);
    o.n_fds = HELPER_FDS_MAX + 1;
    assert_null(helper_start(&o, NULL, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void it_wakes_at_its_own_instants(void **state)
{
    auto(json) struct json *reply = NULL;
    struct helper *h = begin("clockwork", &reply);

    (void)state;
    assert_int_equal(json_u64(reply, "answer", 0), 2);
    helper_stop(h, SOON_NS, NULL);
}

static void *start_and_leave(void *arg)
{
    *(struct helper **)arg = begin("deaf", NULL);
    return NULL;
}

/* Even one that does not listen: the kernel ends it with the thread that started it. */
static void it_dies_with_its_thread(void **state)
{
    pthread_t thread;
    struct helper *h = NULL;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, start_and_leave, &h), 0);
    pthread_join(thread, NULL);
    EVENTUALLY(!helper_is_alive(h) && is_gone(helper_pid(h)));
    helper_stop(h, SOON_NS, NULL);
}

/* A process that has a helper of each sort, and is killed without a chance to say anything. */
static void it_dies_with_its_process(void **state)
{
    static const char *const roles[] = { "echo", "deaf" };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(roles); i++) {
        int ends[2];
        pid_t helper = 0;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t owner = fork();
        if (owner == 0) {
            pid_t pid = helper_pid(begin(roles[i % ARRAY_LEN(roles)], NULL));
            if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
                _exit(1);
            for (;;)
                pause();
        }
        assert_int_equal(read(ends[0], &helper, sizeof(helper)), sizeof(helper));
        assert_false(is_gone(helper));
        kill(owner, SIGKILL);
        waitpid(owner, NULL, 0);
        EVENTUALLY(is_gone(helper));
        close(ends[0]);
        close(ends[1]);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_asked_and_answers),
        cmocka_unit_test(what_it_refuses_is_our_error),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(its_death_is_seen),
        cmocka_unit_test(a_late_answer_is_nobodys),
        cmocka_unit_test(a_deaf_one_is_killed),
        cmocka_unit_test(a_stopped_one_is_killed),
        cmocka_unit_test(descriptors_are_passed),
        cmocka_unit_test(it_wakes_at_its_own_instants),
        cmocka_unit_test(it_dies_with_its_thread),
        cmocka_unit_test(it_dies_with_its_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
