/* Processes are known by pid and start time, started without a shell, and ended in time. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/proc.h"

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int spawn(const struct proc_spawn_opts *opts, struct proc_id *id)
{
    struct err err = { 0 };

    return proc_spawn(opts, id, &err);
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void we_know_ourselves(void **state)
{
    struct proc_id id = { 0 };
    char boot[40];

    (void)state;
    assert_int_equal(proc_identify(getpid(), &id, NULL), 0);
    assert_true(proc_is_alive(&id));
    assert_int_equal(proc_state(getpid()), 'R');
    auto_free char **argv = proc_argv(getpid());
    assert_non_null(strstr(argv[0], "test_proc"));
    proc_boot_id(boot);
    assert_true(strlen(boot) == 36 || strlen(boot) == 0);
}

static void another_start_time_is_another_process(void **state)
{
    struct proc_id id = { 0 };

    (void)state;
    assert_int_equal(proc_identify(getpid(), &id, NULL), 0);
    id.start_ticks++;
    assert_false(proc_is_alive(&id));
}

static void what_is_not_there_is_an_answer_not_an_error(void **state)
{
    struct proc_id id = { .pid = 7 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(proc_identify(0x7ffffffe, &id, &err), 1);
    assert_int_equal(id.pid, 7);
    assert_true(proc_identify(-1, &id, &err) < 0);
    assert_int_equal(proc_state(0x7ffffffe), 0);
    assert_null(proc_argv(0x7ffffffe));
    assert_null(proc_argv(0));
}

static void a_zombie_is_none(void **state)
{
    struct proc_spawn_opts opts = { .argv = ARGV("sleep", "100") };
    struct proc_id id, again;

    (void)state;
    assert_int_equal(spawn(&opts, &id), 0);
    assert_true(proc_is_alive(&id));
    kill(id.pid, SIGKILL);
    waitid(P_PID, (id_t)id.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
    assert_int_equal(proc_state(id.pid), 'Z');
    assert_false(proc_is_alive(&id));
    assert_int_equal(proc_identify(id.pid, &again, NULL), 1);
    waitpid(id.pid, NULL, 0);
    assert_int_equal(proc_state(id.pid), 0);
}

static void arguments_arrive_as_given(void **state)
{
    struct proc_spawn_opts opts = { .argv = ARGV("sh", "-c", "sleep 100", "a b", "", "$(c)") };
    struct proc_id id;

    (void)state;
    assert_int_equal(spawn(&opts, &id), 0);
    auto_free char **argv = proc_argv(id.pid);
    end(id.pid);
    assert_string_equal(argv[0], "sh");
    assert_string_equal(argv[3], "a b");
    assert_string_equal(argv[4], "");
    assert_string_equal(argv[5], "$(c)");
    assert_null(argv[6]);
}

static void a_failed_exec_is_our_error(void **state)
{
    struct proc_id id = { .pid = 7 };
    struct err err = { 0 };
    const struct {
        struct proc_spawn_opts opts;
        const char *want;
    } rows[] = {
        { { .argv = ARGV("/nonexistent/x") }, "start '/nonexistent/x': No such file or directory" },
        { { .argv = ARGV("/etc/passwd") }, "start '/etc/passwd': Permission denied" },
        { { .argv = ARGV("true"), .cwd = "/nonexistent" },
          "start 'true': No such file or directory" },
        { { .argv = ARGV("true"), .log_path = "/nonexistent/log" },
          "start 'true': open '/nonexistent/log': No such file or directory" },
        { { .argv = ARGV(NULL) }, "no command to start" },
        { { .argv = ARGV("") }, "no command to start" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(proc_spawn(&rows[i].opts, &id, &err) < 0);
        assert_string_equal(err.msg, rows[i].want);
        assert_int_equal(id.pid, 7);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
    assert_int_equal(errno, ECHILD);
}

static void cwd_env_log_and_descriptor_are_passed(void **state)
{
    char log[] = "/tmp/chaos-load-test-proc-XXXXXX";
    auto_close int fd = mkstemp(log);
    struct proc_spawn_opts opts = {
        .argv =
            ARGV("/bin/sh", "-c", "pwd; echo $WORD; echo err >&2; echo three >&3; ls /proc/$$/fd"),
        .env = ARGV("WORD=hello", "PATH=/usr/bin:/bin"),
        .cwd = "/usr",
        .log_path = log,
        .new_session = true,
    };
    char text[200] = "";
    int ends[2], status = 0;
    struct proc_id id;

    (void)state;
    assert_int_equal(pipe(ends), 0); /* not close-on-exec: must not reach the child */
    opts.pass_fd = ends[1];
    assert_int_equal(spawn(&opts, &id), 0);
    assert_int_equal(getsid(id.pid), id.pid);
    waitpid(id.pid, &status, 0);
    close(ends[1]);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], text, sizeof(text)), 6);
    close(ends[0]);
    assert_memory_equal(text, "three\n", 6);
    memset(text, 0, sizeof(text));
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    unlink(log);
    /* 10 may be the shell's own copy. */
    assert_int_equal(strncmp(text, "/usr\nhello\nerr\n0\n1\n", 19), 0);
    assert_null(strstr(text, "\n4\n"));
}

static void run_returns_status_and_output(void **state)
{
    static const struct {
        const char *script, *out;
        int status;
    } rows[] = {
        { "echo hi; exit 3", "hi\n", 3 },       { "true", "", 0 },
        { "kill -TERM $$", "", 128 + SIGTERM }, { "echo quiet >&2", "", 0 },
        { "exec >&-; exit 5", "", 5 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        struct err err = { 0 };
        int rc = proc_run(ARGV("sh", "-c", rows[i].script), 20000, &out, &err);
        assert_int_equal(rc, rows[i].status);
        assert_string_equal(buf_str(&out), rows[i].out);
    }
}

static void large_output_is_bounded_and_does_not_block(void **state)
{
    auto_buf struct buf whole = BUF_INIT(0), part = BUF_INIT(1000);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(proc_run(ARGV("head", "-c", "1000000", "/dev/zero"), 20000, &whole, &err), 0);
    assert_int_equal(whole.len, 1000000);
    assert_int_equal(proc_run(ARGV("head", "-c", "1000000", "/dev/zero"), 20000, &part, &err), 0);
    assert_true(buf_failed(&part));
    assert_int_equal(proc_run(ARGV("head", "-c", "1000000", "/dev/zero"), 20000, NULL, &err), 0);
}

static void what_runs_too_long_is_killed_with_its_children(void **state)
{
    auto_buf struct buf out = BUF_INIT(0);
    struct err err = { 0 };
    uint64_t begin = clock_now_ns();

    (void)state;
    assert_int_equal(proc_run(ARGV("sh", "-c", "sleep 300 & echo $!; wait"), 300, &out, &err),
                     -ETIMEDOUT);
    assert_true(clock_now_ns() - begin < 60 * NS_PER_SEC);
    assert_int_equal(err.kind, ERR_TIMEOUT);
    assert_string_equal(err.msg, "'sh' did not end within 300 ms and was killed");
    pid_t grandchild = (pid_t)strtol(buf_str(&out), NULL, 10);
    assert_true(grandchild > 0);
    for (int i = 0; i < 1000 && proc_state(grandchild) != 0 && proc_state(grandchild) != 'Z'; i++)
        clock_sleep_until(clock_now_ns() + 10 * NS_PER_MS);
    char left = proc_state(grandchild);
    assert_true(left == 0 || left == 'Z');
}

static void a_child_that_keeps_the_pipe_does_not_hold_us(void **state)
{
    auto_buf struct buf out = BUF_INIT(0);
    struct err err = { 0 };
    uint64_t begin = clock_now_ns();

    (void)state;
    assert_int_equal(proc_run(ARGV("sh", "-c", "sleep 200 & echo $!"), 150000, &out, &err), 0);
    assert_true(clock_now_ns() - begin < 100 * NS_PER_SEC);
    pid_t left = (pid_t)strtol(buf_str(&out), NULL, 10);
    assert_true(left > 0);
    kill(left, SIGKILL);
}

static void running_nothing_is_refused(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_true(proc_run(ARGV(""), 100, NULL, &err) < 0);
    assert_true(proc_run(ARGV("/nonexistent/x"), 100, NULL, &err) < 0);
    assert_string_equal(err.msg, "start '/nonexistent/x': No such file or directory");
}

static void a_child_may_die_with_its_parent(void **state)
{
    struct proc_spawn_opts opts = { .argv = ARGV("sleep", "100"), .die_with_parent = true };
    struct proc_id id = { 0 };
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        if (proc_spawn(&opts, &id, NULL) < 0 || write(ends[1], &id, sizeof(id)) < 0)
            _exit(1);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &id, sizeof(id)), sizeof(id));
    close(ends[0]);
    waitpid(parent, NULL, 0);
    for (int i = 0; i < 1000 && proc_is_alive(&id); i++)
        clock_sleep_until(clock_now_ns() + 10 * NS_PER_MS);
    assert_false(proc_is_alive(&id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(we_know_ourselves),
        cmocka_unit_test(another_start_time_is_another_process),
        cmocka_unit_test(what_is_not_there_is_an_answer_not_an_error),
        cmocka_unit_test(a_zombie_is_none),
        cmocka_unit_test(arguments_arrive_as_given),
        cmocka_unit_test(a_failed_exec_is_our_error),
        cmocka_unit_test(cwd_env_log_and_descriptor_are_passed),
        cmocka_unit_test(run_returns_status_and_output),
        cmocka_unit_test(large_output_is_bounded_and_does_not_block),
        cmocka_unit_test(what_runs_too_long_is_killed_with_its_children),
        cmocka_unit_test(a_child_that_keeps_the_pipe_does_not_hold_us),
        cmocka_unit_test(running_nothing_is_refused),
        cmocka_unit_test(a_child_may_die_with_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
