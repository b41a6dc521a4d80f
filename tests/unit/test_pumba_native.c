/* Pumba's command lines as faults of our own: every command and flag that docs/PUMBA.md lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/pumba/native.h"

#ifndef DOCS_DIR
#define DOCS_DIR "docs"
#endif

static int convert(const char *line, struct buf *out, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct pumba_line l;
    int rc = pumba_read(line, arena, &l, err);

    if (rc == 0)
        rc = pumba_native(&l, arena, out, err);
    arena_free(arena);
    return rc;
}

#define X1 "{docker: {names: ['x'], mode: all}"
#define X2 "{docker: {match: 'x', mode: count, count: 2}"
#define EGRESS ", direction: egress, interface: eth0"
#define INGRESS ", direction: ingress, interface: eth0"

static const struct {
    const char *line;
    const char *has[4]; /* all in this order */
} rows[] = {
    { "kill x", { "faults:\n  - kill: " X1 "}\n    at: 10s\n" } },
    { "kill -s SIGTERM x", { X1 ", signal: SIGTERM}" } },
    { "kill a b", { "{names: ['a', 'b'], mode: all}" } },
    { "kill re2:^shop", { "{match: '^shop', mode: all}" } },
    { "kill 're2:^/shop-\\d+$'", { "{match: '^shop-[0-9]+$', mode: all}" } },
    { "kill 're2:(?:a|b)\\.c'", { "{match: '(a|b)\\.c', mode: all}" } },
    { "--random kill re2:x", { "mode: one" } },
    { "kill --limit 3 re2:x", { "mode: count, count: 3" } },
    { "--label a=1,b=2 kill re2:.*", { "label: ['a=1', 'b=2']" } },
    { "--interval 30s kill x", { "add restart_after", "every: 30s" } },
    { "--interval 1s kill x", { "every: 1s\n    count: 100" } },
    { "--dry-run kill x", { "give it to 'chaos-load run'" } },
    { "--skip-error kill x", { "--skip-error has no equivalent" } },
    { "--slackhook http://x --slackchannel y kill x", { "--slackhook has no equivalent" } },
    { "-H tcp://h:2376 --tlsverify kill x", { "found by DOCKER_HOST" } },
    { "--runtime podman --podman-socket unix:///p.sock kill x",
      { "Podman's socket, unix:///p.sock" } },
    { "-l debug --json kill x", { "kill: " X1 "}" } },
    { "stop --time 3 x",
      { "Pumba leaves it stopped", "stop: " X1 ", grace: 3s}", "duration: 30s" } },
    { "stop --restart --duration 20s x", { "grace: 5s}", "duration: 20s" } },
    { "pause --duration 7s x", { "pause: " X1 "}", "duration: 7s" } },
    { "pause --duration 7s", { "every one that runs", "{match: '.', mode: all}" } },
    { "--interval 5s pause --duration 7s x", { "right after the other", "every: 8s" } },
    { "restart --timeout 2500ms x", { "restart: " X1 ", grace: 2s}" } },
    { "rm --force=false x", { "remove: " X1 ", allow: true, force: false, volumes: true}" } },
    { "rm --links --volumes=false x", { "--links has no equivalent", "volumes: false" } },
    { "exec x",
      { "add revert:", "here it is split", "exec: " X1 ", command: ['kill', '1'], user: root}" } },
    { "exec --limit 2 --command sh --args -c --args 'echo \"a b\"; it' re2:^s",
      { "add revert:", "exec: {docker: {match: '^s', mode: count, count: 2}, command: ['sh', '-c', "
                       "'echo \"a b\"; it'], user: root}\n    at: 10s\n" } },
    { "netem -d 9s delay x",
      { "latency: " X1 ", delay: 100ms, jitter: 10ms, correlation: 20%" EGRESS "}",
        "duration: 9s" } },
    { "netem -d 9s delay -t 50 -j 0 x", { "jitter of microseconds", "delay: 50ms" EGRESS } },
    { "netem -d 9s delay -j 5 -c 0 --distribution normal x",
      { "jitter: 5ms, distribution: normal" } },
    { "netem -d 9s -i eth1 loss -p 20 -c 5 x",
      { "loss: " X1 ", percent: 20%, correlation: 5%, direction: egress, interface: eth1}" } },
    { "netem -d 9s loss-state --p13 1 --p14 2 x",
      { "state: {p13: 1%, p31: 100%, p32: 0%, p23: 100%, p14: 2%}" } },
    { "netem -d 9s loss-gemodel --pg 1 --pb 90 x",
      { "gemodel: {p: 1%, r: 90%, 1-h: 100%, 1-k: 0%}" } },
    { "netem -d 9s rate -r 1mbit x", { "rate: " X1 ", rate: 1mbit" EGRESS } },
    { "netem -d 9s rate -p 5 x", { "overheads and cell sizes have no equivalent" } },
    { "netem -d 9s duplicate -p 3 x", { "duplicate: " X1 ", percent: 3%" EGRESS } },
    { "netem -d 9s corrupt -p 3 x", { "corrupt: " X1 ", percent: 3%" EGRESS } },
    { "netem -d 9s combine --delay --loss --loss-percent 5 --delay-jitter 0 x",
      { "fault of its own, at the same time", "latency: ", "loss: " } },
    { "netem -d 9s -t 10.0.0.0/8 -t 10.1.1.1 loss -p 1 x", { "dst: [10.0.0.0/8, 10.1.1.1]}" } },
    { "netem -d 9s --egress-port 80,443 loss -p 1 x", { "sport: [80,443]}" } },
    { "netem -d 9s --ingressPort 80 loss -p 1 x", { "dport: [80]}" } },
    { "netem -d 9s -t 10.1.1.1 --egressPort 80 loss -p 1 x",
      { "matches two is hit twice", "dst: [10.1.1.1]", "sport: [80]" } },
    { "netem -d 9s --tc-image '' --pull-image=false loss -p 1 x", { "no image is needed" } },
    { "iptables -d 9s loss --probability 0.25 x", { "loss: " X1 ", percent: 25%" INGRESS "}" } },
    { "iptables -d 9s loss --mode nth --every 3 --packet 1 x", { "every: 3, packet: 1" INGRESS } },
    { "iptables -d 9s -p udp --sport 53 -s 10.0.0.1 loss --probability 1 x",
      { "protocol: udp, src: [10.0.0.1]", "protocol: udp, sport: [53]" } },
    { "iptables -d 9s --dest 10.0.0.1 loss --probability 1 x", { "dst: [10.0.0.1]" } },
    { "stress -d 9s x", { "cpu: " X1 ", workers: 4, load: 100%}", "duration: 9s" } },
    { "stress -d 90s --stressors='--cpu 1 --cpu-load 30 --timeout 4' x",
      { "before --duration", "workers: 1, load: 30%", "duration: 4s" } },
    { "stress -d 9s --stressors='--vm 2 --vm-bytes 1m --hdd=1 -i 1' --inject-cgroup x",
      { "memory: " X1 ", workers: 2, size: 1048576B}", "io: " X1 ", workers: 2}" } },
    { "--tls --tlscacert /c/ca.pem --tlscert /c/cert.pem --tlskey /c/key.pem kill x",
      { "found by DOCKER_HOST" } },
    { "restart --limit 2 re2:x", { "restart: " X2 ", grace: 1s}" } },
    { "stop --limit 2 re2:x", { "stop: " X2 ", grace: 5s}" } },
    { "pause -d 3s --limit 2 re2:x", { "pause: " X2 "}" } },
    { "rm --limit 2 re2:x", { "remove: " X2 ", allow: true" } },
    { "netem -d 9s --limit 2 loss -p 1 re2:x", { "loss: " X2 ", percent: 1%" EGRESS "}" } },
    { "iptables -d 9s --limit 2 -i eth1 -p tcp --dst-port 53 --iptables-image i:1 "
      "--pull-image=false loss --probability 1 re2:x",
      { "no image is needed", "loss: " X2 ", percent: 100%, direction: ingress, interface: eth1, "
                              "protocol: tcp, dport: [53]}" } },
    { "stress -d 9s --stress-image s:1 --pull-image=false x",
      { "no image is needed", "cpu: " X1 ", workers: 4, load: 100%}" } },
    { "netem -d 9s loss-state --p13 1 --p31 90 --p32 3 --p23 80 --p14 2 x",
      { "state: {p13: 1%, p31: 90%, p32: 3%, p23: 80%, p14: 2%}" } },
    { "netem -d 9s loss-gemodel --pg 1 --pb 90 --one-h 80 --one-k 3 x",
      { "gemodel: {p: 1%, r: 90%, 1-h: 80%, 1-k: 3%}" } },
    { "netem -d 9s rate --cellsize 5 --celloverhead 6 x",
      { "overheads and cell sizes have no equivalent", "rate: 100kbit" EGRESS "}" } },
    { "netem -d 9s duplicate -p 3 --correlation 7 x", { "percent: 3%, correlation: 7%" EGRESS } },
    { "netem -d 9s corrupt -p 3 --correlation 7 x", { "percent: 3%, correlation: 7%" EGRESS } },
    { "netem -d 9s combine --delay --delay-time 50 --delay-jitter 5 --delay-correlation 9 "
      "--delay-distribution pareto --loss --loss-percent 5 --loss-correlation 6 x",
      { "latency: " X1 ", delay: 50ms, jitter: 5ms, correlation: 9%, distribution: pareto" EGRESS,
        "loss: " X1 ", percent: 5%, correlation: 6%" EGRESS } },
    { "netem -d 9s combine --corrupt --corrupt-percent 5 --corrupt-correlation 6 --duplicate "
      "--duplicate-percent 7 --duplicate-correlation 8 x",
      { "duplicate: " X1 ", percent: 7%, correlation: 8%" EGRESS,
        "corrupt: " X1 ", percent: 5%, correlation: 6%" EGRESS } },
    { "netem -d 9s combine --delay --rate --rate-value 1mbit --rate-packet-overhead 1 "
      "--rate-cell-size 2 --rate-cell-overhead 3 x",
      { "overheads and cell sizes have no equivalent", "latency: " X1,
        "rate: " X1 ", rate: 1mbit" } },
};

static void every_line_has_its_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        struct err err = { 0 };

        if (convert(rows[i].line, &out, &err) < 0)
            fail_msg("%s: %s", rows[i].line, err.msg);
        const char *at = buf_str(&out);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].has) && rows[i].has[k]; k++) {
            at = at ? strstr(at, rows[i].has[k]) : NULL;
            if (!at)
                fail_msg("%s: no '%s' in\n%s", rows[i].line, rows[i].has[k], buf_str(&out));
        }
    }
}

static const struct {
    const char *line, *says;
} bad[] = {
    { "--runtime containerd kill x", "--runtime containerd has no equivalent: only an engine "
                                     "with Docker's API" },
    { "--runtime containerd --containerd-socket /s --containerd-namespace moby kill x",
      "--runtime containerd has no equivalent: only an engine with Docker's API" },
    { "exec --command ' ' x", "exec: --command is empty" },
    { "kill 're2:(?i)shop'", "'(?i)shop' in the pattern is RE2's alone: write it as a POSIX "
                             "extended one" },
    { "kill 're2:a+?'", "'+?' in the pattern is RE2's alone: write it as a POSIX extended one" },
    { "kill 're2:\\bshop'", "'\\b' in the pattern is RE2's alone: write it as a POSIX extended "
                            "one" },
    { "stress -d 1s --stressors '--matrix 1' x",
      "stressor '--matrix' has no equivalent: known are --cpu, --cpu-load, --vm, --vm-bytes, "
      "--io, --hdd, --timeout" },
    { "stress -d 1s --stressors '--timeout 5s' x", "--stressors '--timeout 5s' stresses nothing" },
    { "stress -d 1s --stressors '--cpu' x", "stressor '--cpu' needs a value" },
    { "stress -d 1s --stressors '--vm 1 --vm-bytes 80%' x",
      "stressor '--vm-bytes': '80%' is not a size such as 256m" },
};

static void what_has_no_equivalent_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        struct err err = { 0 };

        assert_true(convert(bad[i].line, &out, &err) < 0);
        assert_string_equal(err.msg, bad[i].says);
        assert_int_equal(out.len, 0);
    }
}

/* ---- docs/PUMBA.md: each row has a line above ---- */

/* "-s", "--signal", "--signal=SIGTERM" for "signal,s". */
static bool word_is_flag(const char *word, const char *names)
{
    size_t dashes = strspn(word, "-"), n = strcspn(word + dashes, "=");

    if (dashes < 1 || dashes > 2)
        return false;
    for (const char *name = names; *name; name += strcspn(name, ","), name += *name == ',')
        if (strcspn(name, ",") == n && strncmp(name, word + dashes, n) == 0)
            return true;
    return false;
}

/* Which table a line's words may come from: the global one, its command's, its subcommand's. */
static bool line_has(const struct pumba_line *l, const struct pumba_flags *t, const char *names)
{
    if (t != &pumba_global_flags && t != &pumba_command_flags[l->command] &&
        t != &pumba_effect_flags[l->effect])
        return false;
    for (size_t i = 0; names && i < l->words.n; i++)
        if (word_is_flag(l->words.v[i], names))
            return true;
    return !names;
}

/* Some line above is of that table, and has that flag; NULL: any. */
static bool is_tested(const struct pumba_flags *t, const char *names)
{
    bool found = false;

    for (size_t i = 0; i < ARRAY_LEN(rows) + ARRAY_LEN(bad) && !found; i++) {
        const char *line = i < ARRAY_LEN(rows) ? rows[i].line : bad[i - ARRAY_LEN(rows)].line;
        struct arena *arena = arena_new(0);
        struct pumba_line l;

        if (pumba_read(line, arena, &l, NULL) == 0)
            found = line_has(&l, t, names);
        arena_free(arena);
    }
    return found;
}

static const struct pumba_flags *table_at(size_t i)
{
    if (i < PUMBA_COMMAND_MAX)
        return &pumba_command_flags[i];
    i -= PUMBA_COMMAND_MAX;
    if (i + PUMBA_DELAY < PUMBA_EFFECT_MAX)
        return &pumba_effect_flags[i + PUMBA_DELAY];
    return i + PUMBA_DELAY == PUMBA_EFFECT_MAX ? &pumba_global_flags : NULL;
}

static void check_table(const char *docs, const struct pumba_flags *t)
{
    for (size_t i = 0; i < t->n; i++) {
        auto_free char *want =
            xasprintf("`--%.*s", (int)strcspn(t->rows[i].names, ","), t->rows[i].names);
        if (!strstr(docs, want))
            fail_msg("docs/PUMBA.md has no %s` of '%s'", want, t->of);
        if (!is_tested(t, t->rows[i].names))
            fail_msg("no line above has %s` of '%s'", want, t->of);
    }
}

static bool is_known(const char *word)
{
    for (size_t i = 0; table_at(i); i++) {
        const struct pumba_flags *t = table_at(i);

        if (strcmp(t->of, word) == 0 && is_tested(t, NULL))
            return true;
        for (size_t k = 0; k < t->n; k++)
            if (word_is_flag(word, t->rows[k].names) && is_tested(t, t->rows[k].names))
                return true;
    }
    return false;
}

/* The words in backquotes of a row's first cell: a command, or flags. */
static void check_row(const char *row, const char *end)
{
    const char *cell_end = memchr(row + 1, '|', (size_t)(end - row - 1));

    while (cell_end && (row = memchr(row, '`', (size_t)(cell_end - row)))) {
        size_t n = strcspn(++row, "`");
        bool older_name = memmem(row, n, "Port", 4) != NULL; /* `egressPort` */
        auto_free char *word = xasprintf("%s%.*s", older_name ? "--" : "", (int)n, row);

        if (!is_known(word))
            fail_msg("docs/PUMBA.md has a row '%s', and no line above is of it", word);
        row += n + 1;
    }
}

static void the_docs_have_every_command_and_flag(void **state)
{
    auto_buf struct buf docs = BUF_INIT(0);
    FILE *f = fopen(DOCS_DIR "/PUMBA.md", "re");
    char part[4096];
    size_t n, n_rows = 0;

    (void)state;
    assert_non_null(f);
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        buf_add(&docs, part, n);
    fclose(f);
    for (size_t i = 0; table_at(i); i++) {
        check_table(buf_str(&docs), table_at(i));
        auto_free char *want = xasprintf("`%s`", table_at(i)->of);
        if (table_at(i) != &pumba_global_flags && !strstr(buf_str(&docs), want))
            fail_msg("docs/PUMBA.md has no %s", want);
    }
    const char *at = strstr(buf_str(&docs), "\n## Commands\n");
    assert_non_null(at);
    for (; (at = strstr(at, "\n| `")); at++, n_rows++)
        check_row(at + 1, at + 1 + strcspn(at + 1, "\n"));
    assert_true(n_rows > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_has_its_faults),
        cmocka_unit_test(what_has_no_equivalent_is_said),
        cmocka_unit_test(the_docs_have_every_command_and_flag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
