/* The trace file: the same text whichever thread wrote which line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "load_sample.h"
#include "runner/trace.h"

static void two_parts(struct load_sample *s)
{
    sample_init(s);

    struct user_class *web = sample_class(s, "web", 1);

    sample_task(s, web, "GET /", "/", 1);
    sample_part(s, LOAD_CLOSED);
    sample_part(s, LOAD_OPEN);
}

static void read_all(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    char line[256];

    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        buf_adds(out, line);
    fclose(f);
}

static void write_with(unsigned n_threads, const char *path, const struct load_sample *s)
{
    struct trace *t[3] = { 0 };
    struct err err = { 0 };
    struct rng r;

    rng_seed(&r, n_threads, 0);
    for (unsigned i = 0; i < n_threads; i++)
        t[i] = trace_new(&err);
    for (uint64_t iteration = 1; iteration <= 5; iteration++) {
        for (uint64_t user = 9; user < 12; user++)
            trace_add(t[user % n_threads], &(struct trace_line){ .task = &s->tasks[0][0],
                                                                 .number = user,
                                                                 .iteration = iteration,
                                                                 .think_ns = user * iteration });
    }
    for (uint64_t n = 0; n < 20; n++)
        trace_add(t[rng_below(&r, n_threads)],
                  &(struct trace_line){
                      .task = &s->tasks[0][0], .number = n, .at_ns = n * 1000, .part = 1 });
    assert_int_equal(trace_write(t, n_threads, &s->plan, path, &err), 0);
    for (unsigned i = 0; i < n_threads; i++)
        trace_free(t[i]);
}

static void test_threads_do_not_show(void **state)
{
    char path[] = "/tmp/test_trace_XXXXXX";
    auto_buf struct buf one = BUF_INIT(0), three = BUF_INIT(0);
    struct load_sample s;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    two_parts(&s);
    write_with(1, path, &s);
    read_all(path, &one);
    write_with(3, path, &s);
    read_all(path, &three);
    assert_string_equal(buf_str(&one), buf_str(&three));
    assert_non_null(strstr(buf_str(&one), "\n0\tuser\t9\t0\t1\tweb\tGET /\t9\n"
                                          "0\tuser\t9\t0\t2\tweb\tGET /\t18\n"));
    assert_non_null(strstr(buf_str(&one), "\n1\tarrival\t2\t2000\tweb\tGET /\n"
                                          "1\tarrival\t3\t3000\tweb\tGET /\n"));
    unlink(path);
}

static void test_a_path_that_cannot_be_written_is_said(void **state)
{
    struct load_sample s;
    struct err err = { 0 };
    struct trace *t = trace_new(&err);

    (void)state;
    two_parts(&s);
    assert_true(trace_write(&t, 1, &s.plan, "/nonexistent/trace", &err) < 0);
    assert_non_null(strstr(err.msg, "/nonexistent/trace"));
    trace_free(t);
    trace_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_do_not_show),
        cmocka_unit_test(test_a_path_that_cannot_be_written_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
