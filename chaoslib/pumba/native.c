/* From Pumba's commands to our kinds. Where we do the same differently, a note says how. */
#include "chaoslib/pumba/native.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define TIMES_MAX 100 /* with a short interval: the runs we plan for */
#define SOON_NS (10 * NS_PER_SEC)
#define STOPPED_NS (30 * NS_PER_SEC)

void native_note(struct native *n, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_addf(&n->notes, "# - %s\n", text);
}

void native_quote(struct buf *out, const char *text)
{
    buf_addc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_addc(out, '\'');
        buf_addc(out, (unsigned char)*text < ' ' ? ' ' : *text);
    }
    buf_addc(out, '\'');
}

static void quote_list(struct buf *out, const struct strs *list)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        buf_adds(out, i ? ", " : "");
        native_quote(out, list->v[i]);
    }
    buf_addc(out, ']');
}

/* ---- selection ---- */

static int re2_alone(struct err *err, const char *at, int len)
{
    return err_set(err, ERR_USAGE, EINVAL,
                   "'%.*s' in the pattern is RE2's alone: write it as a POSIX extended one", len,
                   at);
}

/* What POSIX has another way to write; NULL: nothing. */
static const char *posix_class(char letter)
{
    switch (letter) {
    case 'd': return "[0-9]";
    case 'D': return "[^0-9]";
    case 'w': return "[[:alnum:]_]";
    case 'W': return "[^[:alnum:]_]";
    case 's': return "[[:space:]]";
    default: return NULL;
    }
}

/* One element of the pattern; returns how many bytes it was. */
static int translate_one(const char *p, struct buf *out, struct err *err)
{
    if (strncmp(p, "(?:", 3) == 0) {
        buf_addc(out, '(');
        return 3;
    }
    if ((p[0] == '(' || strchr("*+?}", p[0])) && p[1] == '?')
        return re2_alone(err, p, 20);
    if (p[0] != '\\' || !p[1]) {
        buf_addc(out, p[0]);
        return 1;
    }
    const char *class = posix_class(p[1]);
    if (!class && isalnum((unsigned char)p[1]))
        return re2_alone(err, p, 2);
    if (class)
        buf_adds(out, class);
    else
        buf_add(out, p, 2);
    return 2;
}

int pumba_pattern(const char *re2, struct buf *out, struct err *err)
{
    if (strncmp(re2, "^/", 2) == 0) {
        buf_addc(out, '^');
        re2 += 2;
    }
    while (*re2) {
        int used = translate_one(re2, out, err);
        if (used < 0)
            return used;
        re2 += used;
    }
    if (!out->len)
        buf_addc(out, '.');
    return 0;
}

static int put_match(struct native *n, struct buf *out)
{
    auto_buf struct buf pattern = BUF_INIT(PUMBA_TEXT_MAX);

    if (pumba_pattern(n->line->pattern ? n->line->pattern : "", &pattern, n->err) < 0)
        return -EINVAL;
    buf_adds(out, "match: ");
    native_quote(out, buf_str(&pattern));
    return 0;
}

static void put_mode(const struct pumba_line *l, struct buf *out)
{
    if (l->random)
        buf_adds(out, ", mode: one");
    else if (l->limit > 0)
        buf_addf(out, ", mode: count, count: %lld", (long long)l->limit);
    else
        buf_adds(out, ", mode: all");
}

static int put_selection(struct native *n, struct buf *out)
{
    const struct pumba_line *l = n->line;

    buf_addc(out, '{');
    if (l->targets.n) {
        buf_adds(out, "names: ");
        quote_list(out, &l->targets);
    } else if (put_match(n, out) < 0) {
        return -EINVAL;
    }
    if (l->labels.n) {
        buf_adds(out, ", label: ");
        quote_list(out, &l->labels);
    }
    put_mode(l, out);
    buf_addc(out, '}');
    return 0;
}

/* ---- one fault ---- */

void native_begin(struct native *n, const char *kind)
{
    buf_addf(&n->faults, "  - %s: {docker: ", kind);
    if (put_selection(n, &n->faults) < 0)
        buf_adds(&n->faults, "''");
}

static void put_interval(struct native *n, uint64_t duration_ns)
{
    char text[DURATION_TEXT_MAX];
    uint64_t every = n->line->interval_ns;

    if (!every)
        return;
    if (duration_ns >= every) {
        every = duration_ns + NS_PER_SEC;
        native_note(n, "its runs last longer than --interval, so Pumba does one right after the "
                       "other; here there is a second in between");
    }
    buf_addf(&n->faults, "    every: %s\n", duration_text(every, text));
    if (every < 3 * NS_PER_SEC)
        buf_addf(&n->faults, "    count: %d\n", TIMES_MAX);
}

void native_end(struct native *n, uint64_t duration_ns)
{
    char text[DURATION_TEXT_MAX];

    buf_addf(&n->faults, "}\n    at: %s\n", duration_text(SOON_NS, text));
    if (duration_ns)
        buf_addf(&n->faults, "    duration: %s\n", duration_text(duration_ns, text));
    put_interval(n, duration_ns);
}

/* ---- commands ---- */

static int native_kill(struct native *n)
{
    native_begin(n, "kill");
    if (strcmp(n->line->signal, "SIGKILL") != 0)
        buf_addf(&n->faults, ", signal: %s", n->line->signal);
    native_end(n, 0);
    if (n->line->interval_ns)
        native_note(n,
                    "a killed container stays down (the engine's kill switches its restart policy "
                    "off), so the next round may find nobody; add restart_after: 2s");
    return 0;
}

static int native_stop(struct native *n)
{
    const struct pumba_line *l = n->line;
    char text[DURATION_TEXT_MAX];
    uint64_t duration = l->stop_restart ? l->duration_ns : STOPPED_NS;

    native_begin(n, "stop");
    buf_addf(&n->faults, ", grace: %s", duration_text((uint64_t)l->stop_time * NS_PER_SEC, text));
    native_end(n, duration);
    if (!l->stop_restart)
        native_note(n,
                    "Pumba leaves it stopped; here it is started again after %s, and at the end "
                    "of the run at the latest",
                    duration_text(duration, text));
    return 0;
}

static int native_pause(struct native *n)
{
    native_begin(n, "pause");
    native_end(n, n->line->duration_ns);
    return 0;
}

static int native_restart(struct native *n)
{
    char text[DURATION_TEXT_MAX];
    uint64_t whole = n->line->restart_timeout_ns / NS_PER_SEC * NS_PER_SEC;

    native_begin(n, "restart");
    buf_addf(&n->faults, ", grace: %s", whole ? duration_text(whole, text) : "0s");
    native_end(n, 0);
    return 0;
}

static int native_rm(struct native *n)
{
    native_begin(n, "remove");
    buf_addf(&n->faults, ", allow: true, force: %s, volumes: %s", n->line->force ? "true" : "false",
             n->line->volumes ? "true" : "false");
    native_end(n, 0);
    native_note(n,
                "a removal cannot be undone; Pumba takes stopped containers too, here only those "
                "that run are chosen");
    if (n->line->links)
        native_note(n, "--links has no equivalent and is left out");
    return 0;
}

/* Pumba on Docker runs --command as one word, blanks and all; what was meant is split there. */
static void put_command(struct native *n)
{
    const struct pumba_line *l = n->line;
    const char *s = l->exec_command;
    bool first = true;

    buf_adds(&n->faults, ", command: [");
    for (s += strspn(s, " "); *s; s += strspn(s, " ")) {
        size_t len = strcspn(s, " ");
        auto_free char *word = xstrndup(s, len);
        buf_adds(&n->faults, first ? "" : ", ");
        native_quote(&n->faults, word);
        first = false;
        s += len;
    }
    for (size_t i = 0; i < l->exec_args.n; i++) {
        buf_adds(&n->faults, ", ");
        native_quote(&n->faults, l->exec_args.v[i]);
    }
    buf_adds(&n->faults, "], user: root");
}

static int native_exec(struct native *n)
{
    const char *command = n->line->exec_command;

    if (!command[strspn(command, " ")])
        return err_set(n->err, ERR_USAGE, EINVAL, "exec: --command is empty");
    native_begin(n, "exec");
    put_command(n);
    native_end(n, 0);
    native_note(n, "what a command did cannot be undone by itself: add revert: [command] and "
                   "revert_after: 10s");
    if (strchr(command, ' '))
        native_note(n, "Pumba on Docker runs --command '%s' as one word; here it is split",
                    command);
    return 0;
}

/* ---- the whole ---- */

static void note_globals(struct native *n)
{
    const struct pumba_line *l = n->line;

    native_note(n, "Pumba is content when nothing matches; here that is an error, unless the "
                   "selection has allow_empty: true");
    if (l->interval_ns)
        native_note(n, "--interval is 'every'; it goes on until the load ends");
    if (!l->targets.n && !l->pattern)
        native_note(n, "no container is named: this takes every one that runs");
    if (l->random && l->limit > 1)
        native_note(n, "--random takes one whatever --limit says");
    if (l->dry_run)
        native_note(n, "--dry-run: give it to 'chaos-load run' instead");
    if (l->skip_error)
        native_note(n, "--skip-error has no equivalent: a fault that fails fails the run");
    if (*l->slackhook)
        native_note(n, "--slackhook has no equivalent");
    if (strcmp(l->host, "unix:///var/run/docker.sock") != 0 || l->tls || l->tlsverify)
        native_note(n,
                    "the engine is found by DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH");
    if (strcmp(l->runtime, "podman") == 0)
        native_note(n, "--runtime podman: set DOCKER_HOST to Podman's socket%s%s",
                    *l->podman_socket ? ", " : "", l->podman_socket);
}

static int convert(struct native *n)
{
    static int (*const by[PUMBA_COMMAND_MAX])(struct native *) = {
        [PUMBA_KILL] = native_kill,       [PUMBA_EXEC] = native_exec,
        [PUMBA_RESTART] = native_restart, [PUMBA_STOP] = native_stop,
        [PUMBA_PAUSE] = native_pause,     [PUMBA_RM] = native_rm,
        [PUMBA_STRESS] = native_stress,   [PUMBA_NETEM] = native_net,
        [PUMBA_IPTABLES] = native_net,
    };
    auto_buf struct buf tried = BUF_INIT(PUMBA_TEXT_MAX);

    if (strcmp(n->line->runtime, "containerd") == 0)
        return err_set(n->err, ERR_USAGE, EINVAL,
                       "--runtime containerd has no equivalent: only an engine with Docker's API");
    if (put_selection(n, &tried) < 0)
        return -EINVAL;
    note_globals(n);
    return by[n->line->command](n);
}

int pumba_native(const struct pumba_line *l, struct arena *arena, struct buf *out, struct err *err)
{
    struct native n = { .line = l,
                        .arena = arena,
                        .notes = BUF_INIT(PUMBA_TEXT_MAX),
                        .faults = BUF_INIT((size_t)1 << 20),
                        .err = err };
    int rc = convert(&n);

    if (rc == 0) {
        buf_addf(out, "# What differs from Pumba:\n%sfaults:\n%s", buf_str(&n.notes),
                 buf_str(&n.faults));
    }
    buf_done(&n.notes);
    buf_done(&n.faults);
    return rc;
}
