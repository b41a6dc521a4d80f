/* The environment of a process that is brought back may hold passwords: it is in no journal, in no
 * core file, and not readable in the guardian's memory by others. */
#include <fcntl.h>

#include "chaoslib/guardian.h"
#include "chaoslib/secret.h"
#include "tests/unit/fault_fixture.h"

/* The flags of the mapping that holds an address, as smaps shows them: "rd wr mr mw me dd ". */
static void flags_of(const void *p, char flags[128])
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false;

    assert_non_null(f);
    flags[0] = '\0';
    while (fgets(line, sizeof(line), f) && !flags[0]) {
        uintptr_t from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= (uintptr_t)p && (uintptr_t)p < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, 128, "%.127s", line + 8);
    }
    fclose(f);
}

static void it_is_left_out_of_core_files(void **state)
{
    char flags[128];
    int on_stack;

    (void)state;
    char *secret = secret_new(100000);
    assert_non_null(secret);
    assert_int_equal(secret[0] | secret[99999] | secret[100000], 0);
    memset(secret, 'x', 100000);
    flags_of(secret, flags);
    if (!flags[0])
        skip(); /* no smaps here */
    assert_non_null(strstr(flags, " dd"));
    flags_of(secret + 99999, flags);
    assert_non_null(strstr(flags, " dd"));
    flags_of(&on_stack, flags);
    assert_null(strstr(flags, " dd"));
    secret_free(secret, 100000);
    secret_free(NULL, 0);
}

/* Who may not be dumped belongs to root in /proc, and its memory cannot be opened by its equals. */
static void the_guardian_cannot_be_looked_into(void **state)
{
    char *dir = scratch_dir();
    struct err err = { 0 };
    struct journal *j = journal_open(dir, "r1", &err);
    struct guardian *g = guardian_start(journal_path(j), &err);

    (void)state;
    assert_non_null(g);
    assert_int_equal(guardian_keep(g, 1, "env", "TOKEN=hunter2", 13, &err), 0);
    pid_t pid = guardian_of(getpid());
    auto_free char *self = xasprintf("/proc/%d/mem", pid);
    if (geteuid() != 0)
        assert_true(open(self, O_RDONLY | O_CLOEXEC) < 0);
    auto_free char *folder = xasprintf("/proc/%d/io", pid);
    struct stat st;
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_uid, 0);
    journal_close(j);
    guardian_stop(g);
    assert_int_equal(scratch_count(dir, ".journal"), 0);
    scratch_remove(dir);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_left_out_of_core_files),
        cmocka_unit_test(the_guardian_cannot_be_looked_into),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
