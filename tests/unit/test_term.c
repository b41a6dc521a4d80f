/* The live view: on a terminal it redraws in place and leaves nothing behind, elsewhere it writes
 * plain lines; what comes from outside cannot write escape sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "campaign/report_fmt.h"
#include "sample_result.h"

/* All that was written to the read end so far. */
static char *drain(int fd)
{
    struct buf text = BUF_INIT(0);
    char chunk[4096];
    ssize_t n;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_add(&text, chunk, (size_t)n);
    return buf_take(&text);
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

static void elsewhere_there_are_plain_lines(void **state)
{
    struct sample_run s;
    struct err err = { 0 };
    int fds[2];

    (void)state;
    sample_init(&s);
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
    struct observer *o = term_observer_new(fds[1], TERM_AUTO, false);
    assert_int_equal(sample_play(&s, o, SIZE_MAX, &err), 0);
    auto_free char *text = drain(fds[0]);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "▶ the shop survives a killed replica"));
    assert_non_null(strstr(text, "phase inject latency shop"));
    assert_non_null(strstr(text, "⚡ kill shop: in effect on process shop (pid 4711)"));
    assert_non_null(strstr(text, "✓ kill shop: users recovered after 5.00 s"));
    assert_non_null(strstr(text, "✗ pause <b>db</b>: prepare"));
    /* One line each five seconds, not ten a second. */
    assert_in_range(count_of(text, "  users "), 15, 20);
    assert_non_null(strstr(text, "✗ FAIL  the shop survives"));
    o->free(o->arg);
    close(fds[0]);
    close(fds[1]);
    sample_done(&s);
}

static void an_event_is_told_once(void **state)
{
    struct sample_run s;
    int fds[2];

    (void)state;
    sample_init(&s);
    assert_int_equal(pipe(fds), 0);
    struct observer *o = term_observer_new(fds[1], TERM_PLAIN, false);
    for (unsigned i = 0; i < 5; i++)
        o->fault(o->arg, s.r, 1);
    auto_free char *text = drain(fds[0]);
    assert_int_equal(count_of(text, "latency shop: in effect"), 1);
    assert_int_equal(count_of(text, "latency shop: reverted"), 1);
    o->free(o->arg);
    close(fds[0]);
    close(fds[1]);
    sample_done(&s);
}

static void quiet_says_nothing(void **state)
{
    struct sample_run s;
    struct err err = { 0 };
    int fds[2];

    (void)state;
    sample_init(&s);
    assert_int_equal(pipe(fds), 0);
    struct observer *o = term_observer_new(fds[1], TERM_QUIET, true);
    assert_int_equal(sample_play(&s, o, SIZE_MAX, &err), 0);
    o->free(o->arg);
    auto_free char *text = drain(fds[0]);
    assert_string_equal(text, "");
    close(fds[0]);
    close(fds[1]);
    sample_done(&s);
}

/* ---- on a terminal ---- */

struct tty {
    int master, slave;
};

static void tty_init(struct tty *t, unsigned short columns)
{
    struct winsize size = { .ws_row = 40, .ws_col = columns };

    assert_int_equal(openpty(&t->master, &t->slave, NULL, NULL, &size), 0);
}

static void tty_done(struct tty *t)
{
    close(t->master);
    close(t->slave);
}

/* Plays two seconds, draining meanwhile: a pty holds only some KiB. */
static char *play_on(struct tty *t, const struct sample_run *s)
{
    struct observer *o = term_observer_new(t->slave, TERM_AUTO, false);
    struct sample_run part = *s;
    struct err err = { 0 };
    struct buf all = BUF_INIT(0);

    part.n_seconds = 2;
    assert_int_equal(sample_play(&part, o, 2, &err), 0); /* both seconds: it ends, too */
    auto_free char *text = drain(t->master);
    buf_adds(&all, text);
    o->free(o->arg);
    auto_free char *rest = drain(t->master);
    buf_adds(&all, rest);
    return buf_take(&all);
}

static void a_terminal_is_redrawn_in_place_and_left_clean(void **state)
{
    struct sample_run s;
    struct tty t;

    (void)state;
    sample_init(&s);
    tty_init(&t, 100);
    auto_free char *text = play_on(&t, &s);
    assert_int_equal(count_of(text, "\033[?25l"), 1); /* cursor away … */
    assert_int_equal(count_of(text, "\033[?25h"), 1); /* … and back */
    const char *summary = strstr(text, "✗ FAIL");
    assert_non_null(summary);
    assert_true(strstr(text, "\033[?25h") < summary);
    /* Twenty ticks of 100 ms give some ten pictures. */
    assert_in_range(count_of(text, "p50 "), 5, 16);
    assert_true(count_of(text, "\033[5A") >= 5);
    assert_non_null(strstr(text, "next latency shop in"));
    tty_done(&t);
    sample_done(&s);
}

static void no_line_is_wider_than_the_terminal(void **state)
{
    static const unsigned short widths[] = { 20, 40, 79 };
    struct sample_run s;

    (void)state;
    sample_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        struct tty t;
        tty_init(&t, widths[i]);
        auto_free char *text = play_on(&t, &s);
        /* The picture's lines: from an erase to the next event or picture. */
        const char *picture = strstr(text, "\033[5A\r\033[J");
        assert_non_null(picture);
        picture += strlen("\033[5A\r\033[J");
        for (unsigned line = 0; line < 5; line++) {
            size_t len = strcspn(picture, "\r\n");
            auto_free char *one = xstrndup(picture, len);
            if (text_width(one) >= widths[i])
                fail_msg("wider than %u: %s", widths[i], one);
            picture += len + strspn(picture + len, "\r\n");
        }
        tty_done(&t);
    }
    sample_done(&s);
}

static void log_lines_appear_above_the_picture(void **state)
{
    struct sample_run s;
    struct tty t;
    struct live live = { .t_ns = NS_PER_SEC, .planned_duration_ns = 10 * NS_PER_SEC };

    (void)state;
    sample_init(&s);
    tty_init(&t, 100);
    struct observer *o = term_observer_new(t.slave, TERM_LIVE, false);
    o->begin(o->arg, NULL, s.r);
    o->tick(o->arg, &live);
    free(drain(t.master)); /* the first picture */
    log_warn("test.event", "something to say");
    auto_free char *text = drain(t.master);
    const char *said = strstr(text, "something to say"), *picture = strstr(text, "users");
    assert_non_null(said);
    assert_non_null(picture);
    assert_true(said < picture);
    assert_non_null(strstr(text, "\033[4A")); /* without thresholds it has four lines */
    o->free(o->arg);
    auto_free char *after = drain(t.master);
    assert_non_null(strstr(after, "\033[?25h")); /* also when the end was never told */
    tty_done(&t);
    sample_done(&s);
}

static void names_cannot_write_escape_sequences(void **state)
{
    auto(result) struct result *r = result_new();
    int fds[2];

    (void)state;
    r->name = xstrdup(HOSTILE_NAME);
    r->target = xstrdup("\033]0;owned\a");
    r->n_phases = 1;
    r->phases = xcalloc(1, sizeof(*r->phases));
    r->phases[0].name = xstrdup(HOSTILE_NAME);
    assert_int_equal(pipe(fds), 0);
    struct observer *o = term_observer_new(fds[1], TERM_PLAIN, false);
    o->begin(o->arg, NULL, r);
    o->phase(o->arg, r, 0);
    auto_free char *text = drain(fds[0]);
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\a'));
    assert_int_equal(count_of(text, "\n"), 2);
    o->free(o->arg);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elsewhere_there_are_plain_lines),
        cmocka_unit_test(an_event_is_told_once),
        cmocka_unit_test(quiet_says_nothing),
        cmocka_unit_test(a_terminal_is_redrawn_in_place_and_left_clean),
        cmocka_unit_test(no_line_is_wider_than_the_terminal),
        cmocka_unit_test(log_lines_appear_above_the_picture),
        cmocka_unit_test(names_cannot_write_escape_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
