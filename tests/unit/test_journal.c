/* The journal's files: what a writer leaves behind, and that recovering is idempotent and leaves
 * the living alone. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/unit/journal_lines.h"

/* ---- files ---- */

static int dir_up(void **state)
{
    *state = scratch_dir();
    return 0;
}

static int dir_down(void **state)
{
    scratch_remove(*state);
    return 0;
}

static struct json *record(const char *type, uint64_t seq)
{
    struct json *j = json_object();

    json_put_str(j, "type", type);
    json_put_u64(j, "seq", seq);
    if (strcmp(type, "intent") == 0) {
        json_put_str(j, "kind", "pause");
        json_put_str(j, "backend", "process");
        json_put_str(j, "target", "process nobody (pid 2)");
    }
    return j;
}

static void put(struct journal *j, const char *type, uint64_t seq)
{
    auto(json) struct json *r = record(type, seq);
    struct err err = { 0 };

    if (journal_write(j, r, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct journal *open_or_fail(const char *dir, const char *run)
{
    struct err err = { 0 };
    struct journal *j = journal_open(dir, run, &err);

    if (!j)
        fail_msg("%s", err.msg);
    return j;
}

static void it_is_gone_when_nothing_is_open(void **state)
{
    const char *dir = *state;
    struct journal *j = open_or_fail(dir, "r1");

    assert_int_equal(journal_next_seq(j), 1);
    assert_int_equal(journal_next_seq(j), 2);
    put(j, "intent", 1);
    put(j, "reverted", 1);
    assert_int_equal(scratch_count(dir, ".journal"), 1);
    journal_close(j);
    assert_int_equal(scratch_count(dir, ".journal"), 0);
    assert_int_equal(scratch_count(dir, ".new"), 0);
}

static void it_stays_when_something_is_open(void **state)
{
    const char *dir = *state;
    struct journal *j = open_or_fail(dir, "r1");
    auto_free char *path = xstrdup(journal_path(j));
    struct journal_scan scan = { 0 };
    struct stat st;

    put(j, "intent", 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(journal_scan(path, &scan, NULL), 0);
    assert_true(scan.writer_alive);
    journal_scan_done(&scan);
    journal_close(j);
    assert_int_equal(journal_scan(path, &scan, NULL), 0);
    assert_false(scan.writer_alive);
    assert_int_equal(json_len(scan.open), 1);
    journal_scan_done(&scan);
}

static void a_run_id_is_used_once(void **state)
{
    struct journal *j = open_or_fail(*state, "r1");
    struct err err = { 0 };

    assert_null(journal_open(*state, "r1", &err));
    assert_int_equal(err.code, EEXIST);
    journal_close(j);
}

static void run_ids_are_file_names(void **state)
{
    static const char *const wrong[] = {
        "",        "../x", "a/b",
        ".hidden", "a b",  "0123456789012345678901234567890123456789012345678901234567890123"
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err err = { 0 };
        assert_null(journal_open(*state, wrong[i], &err));
        assert_non_null(strstr(err.msg, "is not 1 to 63 letters"));
    }
}

/* A limit on the file's size stands for a full disk. */
static void a_full_disk_leaves_no_half_line(void **state)
{
    struct journal *j = open_or_fail(*state, "r1");
    struct rlimit was, small;
    struct stat before, after;
    struct err err = { 0 };
    auto(json) struct json *r = record("intent", 2);

    put(j, "intent", 1);
    assert_int_equal(stat(journal_path(j), &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    small = was;
    small.rlim_cur = (rlim_t)before.st_size + 10;
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = journal_write(j, r, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_true(rc < 0);
    assert_non_null(strstr(err.msg, "cannot write the journal"));
    assert_int_equal(stat(journal_path(j), &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    put(j, "reverted", 1); /* and there is room again */
    journal_close(j);
    assert_int_equal(scratch_count(*state, ".journal"), 0);
}

static void the_state_directory_is_private(void **state)
{
    auto_free char *dir = xasprintf("%s/a", (const char *)*state);
    auto_free char *deep = xasprintf("%s/b", dir);
    char out[256];
    struct stat st;
    struct err err = { 0 };

    setenv("CHAOS_LOAD_STATE", deep, 1);
    assert_int_equal(journal_dir(out, &err), 0);
    assert_string_equal(out, deep);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    chmod(deep, 0777);
    assert_true(journal_dir(out, &err) < 0);
    assert_non_null(strstr(err.msg, "can be written by others"));
    unsetenv("CHAOS_LOAD_STATE");
    setenv("XDG_STATE_HOME", dir, 1);
    assert_int_equal(journal_dir(out, &err), 0);
    assert_non_null(strstr(out, "/a/chaos-load"));
    unsetenv("XDG_STATE_HOME");
    rmdir(out);
    rmdir(deep);
    rmdir(dir);
}

/* ---- recover ---- */

struct said {
    char text[8192];
};

static void listen(void *arg, const char *line)
{
    struct said *s = arg;
    size_t n = strlen(s->text);

    snprintf(s->text + n, sizeof(s->text) - n, "%s\n", line);
}

static void a_living_run_is_left_alone(void **state)
{
    struct journal *j = open_or_fail(*state, "r1");
    struct said said = { "" };

    put(j, "intent", 1);
    assert_int_equal(journal_recover_all(*state, listen, &said), RECOVER_CLEAN);
    assert_non_null(strstr(said.text, "its run is still going"));
    assert_int_equal(scratch_count(*state, ".journal"), 1);
    put(j, "reverted", 1);
    journal_close(j);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define UNDO(n, what)                                                                            \
    "{\"type\":\"intent\",\"seq\":" #n ",\"kind\":\"pause\",\"backend\":\"process\",\"target\":" \
    "\"t" #n "\"," what "}\n"
#define GONE "\"undo\":{\"pid\":1999999999,\"start_ticks\":1}"
#define BROKEN "\"undo\":{\"pid\":0}"
#define UNKNOWN \
    "{\"type\":\"intent\",\"seq\":9,\"kind\":\"netem\",\"backend\":\"docker\",\"undo\":{}}\n"

static const struct {
    const char *what, *records, *tail;
    enum recover_result first, second;
    unsigned left;
    const char *says;
} recoveries[] = {
    { "nothing open", BEGIN INTENT(1) MARK("reverted", 1), "", RECOVER_CLEAN, RECOVER_CLEAN, 0,
      "" },
    { "ended, not removed", BEGIN INTENT(1) MARK("reverted", 1) END, "", RECOVER_CLEAN,
      RECOVER_CLEAN, 0, "" },
    { "no undo", BEGIN INTENT(1), "", RECOVER_CLEAN, RECOVER_CLEAN, 0, "nothing to undo" },
    { "target gone", BEGIN UNDO(1, GONE), "", RECOVER_CLEAN, RECOVER_CLEAN, 0,
      "run r1: pause of t1: nothing to undo\n" },
    { "newest first", BEGIN UNDO(1, GONE) UNDO(2, GONE), "", RECOVER_CLEAN, RECOVER_CLEAN, 0,
      "run r1: pause of t2: nothing to undo\nrun r1: pause of t1: nothing to undo\n" },
    { "torn", BEGIN UNDO(1, GONE), "17 0000", RECOVER_CLEAN, RECOVER_CLEAN, 0, "is torn" },
    { "cannot", BEGIN UNDO(1, BROKEN), "", RECOVER_STUCK, RECOVER_STUCK, 1, "COULD NOT BE UNDONE" },
    { "cannot, torn", BEGIN UNDO(1, BROKEN), "1", RECOVER_STUCK, RECOVER_STUCK, 1, "is torn" },
    { "one of two", BEGIN UNDO(1, GONE) UNDO(2, BROKEN), "", RECOVER_STUCK, RECOVER_STUCK, 1,
      "pause of t1: nothing to undo" },
    { "unknown kind", BEGIN UNKNOWN, "", RECOVER_STUCK, RECOVER_STUCK, 1,
      "does not know how to undo 'netem' on 'docker'" },
    { "not a journal", "", "hello\n", RECOVER_STUCK, RECOVER_STUCK, 1, "it is left alone" },
    { "another boot", BEGIN UNDO(1, BROKEN ",\"boot_id\":\"long ago\""), "", RECOVER_CLEAN,
      RECOVER_CLEAN, 0, "nothing to undo" },
};

static void recover_is_idempotent(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(recoveries); i++) {
        auto_free char *good_lines = lines_of(recoveries[i].records);
        auto_free char *text = xasprintf("%s%s", good_lines, recoveries[i].tail);
        struct said said = { "" };
        write_file(*state, "r1.journal", text);
        enum recover_result first = journal_recover_all(*state, listen, &said);
        if (first != recoveries[i].first || !strstr(said.text, recoveries[i].says))
            fail_msg("%s: %d, it said: %s", recoveries[i].what, first, said.text);
        enum recover_result second = journal_recover_all(*state, NULL, NULL);
        if (second != recoveries[i].second)
            fail_msg("%s: %d the second time", recoveries[i].what, second);
        assert_int_equal(scratch_count(*state, ".journal"), recoveries[i].left);
        auto_free char *path = xasprintf("%s/r1.journal", (const char *)*state);
        unlink(path);
    }
}

static void a_missing_directory_is_clean(void **state)
{
    (void)state;
    assert_int_equal(journal_recover_all("/nonexistent/chaos", NULL, NULL), RECOVER_CLEAN);
    assert_int_equal(journal_recover("/nonexistent/chaos/x.journal", NULL, NULL), RECOVER_CLEAN);
}

static void many_recover_one_stopped_process_once(void **state)
{
    struct proc_id victim = victim_start((const char *const[]){ "sleep", "100", NULL }, NULL);
    char boot_id[40];
    pid_t pids[4];
    int undone = 0;

    kill(victim.pid, SIGSTOP);
    EVENTUALLY(proc_state(victim.pid) == 'T');
    proc_boot_id(boot_id);
    auto_free char *text =
        xasprintf(BEGIN "{\"type\":\"intent\",\"seq\":1,\"kind\":\"pause\",\"backend\":\"process\","
                        "\"boot_id\":\"%s\",\"undo\":{\"pid\":%d,\"start_ticks\":%llu}}\n",
                  boot_id, victim.pid, (unsigned long long)victim.start_ticks);
    auto_free char *lines = lines_of(text);
    write_file(*state, "r1.journal", lines);
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit((int)journal_recover_all(*state, NULL, NULL));
    }
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        undone += WEXITSTATUS(status) == RECOVER_REVERTED;
        assert_int_not_equal(WEXITSTATUS(status), RECOVER_STUCK);
    }
    assert_int_equal(undone, 1);
    assert_int_equal(proc_state(victim.pid), 'S');
    assert_int_equal(scratch_count(*state, ".journal"), 0);
    victim_end(&victim);
}

static void age(const char *dir, const char *name, time_t seconds)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    struct timespec then = { .tv_sec = time(NULL) - seconds };

    assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){ then, then }, 0), 0);
}

/* Of runs that were killed while they made it: nothing is in it, and nothing was done yet. */
static void what_never_became_a_journal_is_cleared(void **state)
{
    static const struct {
        const char *name, *text;
        time_t age;
        bool stays;
    } rows[] = {
        { ".dead.new", "", 3600, false }, { ".young.new", "", 0, true },
        { ".full.new", "?", 3600, true }, { "visible.new", "", 3600, true },
        { ".other.txt", "", 3600, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_file(*state, rows[i].name, rows[i].text);
        age(*state, rows[i].name, rows[i].age);
    }
    assert_int_equal(journal_recover_all(*state, NULL, NULL), RECOVER_CLEAN);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *path = xasprintf("%s/%s", (const char *)*state, rows[i].name);
        if ((access(path, F_OK) == 0) != rows[i].stays)
            fail_msg("%s: wrong", rows[i].name);
        unlink(path);
    }
}

/* ---- other runs ---- */

static void hit(struct journal *j, const char *type, const char *kind, uint64_t pid, uint64_t start)
{
    struct err err = { 0 };
    auto_free char *text =
        xasprintf("{\"type\":\"%s\",\"seq\":1,\"kind\":\"%s\",\"backend\":"
                  "\"process\",\"target\":\"process shop\",\"undo\":{\"pid\":"
                  "%llu,\"start_ticks\":%llu}}",
                  type, kind, (unsigned long long)pid, (unsigned long long)start);
    struct json *record = NULL;

    assert_int_equal(json_parse(text, strlen(text), &record, &err), 0);
    assert_int_equal(journal_write(j, record, &err), 0);
    json_free(record);
}

static int asked(const struct journal *j, uint64_t pid, uint64_t start, struct err *err)
{
    auto(json) struct json *undo = json_object();

    json_put_u64(undo, "pid", pid);
    json_put_u64(undo, "start_ticks", start);
    return journal_check_others(j, undo, err);
}

static void two_runs_do_not_hit_one_process(void **state)
{
    struct journal *other = open_or_fail(*state, "theirs"), *own = open_or_fail(*state, "ours");
    struct err err = { 0 };

    assert_int_equal(asked(own, 4711, 5, &err), 0);
    hit(other, "intent", "pause", 4711, 5);
    hit(own, "intent", "pause", 4711, 5);
    assert_true(asked(own, 4711, 5, &err) < 0);
    assert_int_equal(err.kind, ERR_TARGET);
    assert_string_equal(err.msg,
                        "process shop is hit by pause of run theirs just now: let that run "
                        "end first, or stop it with Ctrl-C");
    assert_int_equal(asked(own, 4711, 6, &err), 0); /* another process of that number */
    assert_int_equal(asked(own, 4712, 5, &err), 0);
    put(other, "reverted", 1);
    assert_int_equal(asked(own, 4711, 5, &err), 0);
    put(own, "reverted", 1);
    journal_close(own);
    journal_close(other);
}

static int claimed(const struct journal *j, const char *a, const char *b, struct err *err)
{
    auto(json) struct json *undo = json_object();

    journal_claim(undo, a);
    journal_claim(undo, b);
    return journal_check_others(j, undo, err);
}

static void two_runs_do_not_hit_what_one_has_claimed(void **state)
{
    struct journal *other = open_or_fail(*state, "theirs"), *own = open_or_fail(*state, "ours");
    auto(json) struct json *record = json_object();
    struct err err = { 0 };

    json_put_str(record, "type", "intent");
    json_put_u64(record, "seq", 1);
    json_put_str(record, "kind", "pause");
    json_put_str(record, "backend", "docker");
    json_put_str(record, "target", "2 containers: a, b");
    struct json *undo = json_put(record, "undo", json_object());
    journal_claim(undo, "container a");
    journal_claim(undo, "container b");
    assert_int_equal(claimed(own, "container b", "container c", &err), 0);
    assert_int_equal(journal_write(other, record, &err), 0);
    assert_int_equal(journal_write(own, record, &err), 0);
    assert_int_equal(claimed(own, "container c", "container aa", &err), 0);
    assert_int_equal(claimed(own, "", "", &err), 0);
    assert_true(claimed(own, "container c", "container b", &err) < 0);
    assert_int_equal(err.kind, ERR_TARGET);
    assert_string_equal(err.msg, "2 containers: a, b is hit by pause of run theirs just now: let "
                                 "that run end first, or stop it with Ctrl-C");
    put(other, "reverted", 1);
    assert_int_equal(claimed(own, "container c", "container b", &err), 0);
    put(own, "reverted", 1);
    journal_close(own);
    journal_close(other);
}

static void what_a_dead_run_left_is_for_recover(void **state)
{
    auto_free char *lines = lines_of(BEGIN UNDO(1, GONE));
    struct err err = { 0 };

    write_file(*state, "dead.journal", lines);
    struct journal *own = open_or_fail(*state, "ours");
    assert_int_equal(asked(own, 1999999999, 1, &err), 0);
    journal_close(own);
    assert_int_equal(journal_recover_all(*state, NULL, NULL), RECOVER_CLEAN);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, dir_up, dir_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(it_is_gone_when_nothing_is_open),
        FILE_TEST(it_stays_when_something_is_open),
        FILE_TEST(a_run_id_is_used_once),
        FILE_TEST(run_ids_are_file_names),
        FILE_TEST(a_full_disk_leaves_no_half_line),
        FILE_TEST(the_state_directory_is_private),
        FILE_TEST(a_living_run_is_left_alone),
        FILE_TEST(recover_is_idempotent),
        FILE_TEST(many_recover_one_stopped_process_once),
        FILE_TEST(what_never_became_a_journal_is_cleared),
        FILE_TEST(two_runs_do_not_hit_one_process),
        FILE_TEST(two_runs_do_not_hit_what_one_has_claimed),
        FILE_TEST(what_a_dead_run_left_is_for_recover),
        cmocka_unit_test(a_missing_directory_is_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
