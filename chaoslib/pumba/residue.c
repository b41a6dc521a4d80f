/* See residue.h. A thread of its own enters the namespace and ends there; the rules are asked for
 * with both of iptables' programs, since Pumba's side-car may have had either. */
#include "chaoslib/pumba/residue.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/proc.h"

#define RULES_MAX 256
#define RULE_WORDS_MAX 32
#define SAME_MAX 64 /* of one rule: a Pumba may have been killed more than once */
#define TOOL_MS 10000
#define HANDLE_AUTO 0x8000 /* what the kernel gives who asks for none begins here */
#define HANDLE_PUMBA 0x504d

/* ---- what to look for ---- */

static struct json *rule_begin(const struct pumba_line *l, struct json *rules)
{
    struct json *r = json_put(rules, NULL, json_array());

    json_put_str(r, NULL, "INPUT");
    json_put_str(r, NULL, "-i");
    json_put_str(r, NULL, l->interface);
    if (strcmp(l->protocol, "any") != 0) {
        json_put_str(r, NULL, "-p");
        json_put_str(r, NULL, l->protocol);
    }
    return r;
}

static void rule_end(const struct pumba_line *l, struct json *r)
{
    char number[32];

    json_put_str(r, NULL, "-m");
    json_put_str(r, NULL, "statistic");
    json_put_str(r, NULL, "--mode");
    json_put_str(r, NULL, l->mode);
    if (strcmp(l->mode, "random") == 0) {
        snprintf(number, sizeof(number), "%.2f", l->probability);
        json_put_str(r, NULL, "--probability");
        json_put_str(r, NULL, number);
    } else {
        snprintf(number, sizeof(number), "%lld", (long long)l->every);
        json_put_str(r, NULL, "--every");
        json_put_str(r, NULL, number);
        snprintf(number, sizeof(number), "%lld", (long long)l->packet);
        json_put_str(r, NULL, "--packet");
        json_put_str(r, NULL, number);
    }
    json_put_str(r, NULL, "-j");
    json_put_str(r, NULL, "DROP");
}

static void rule(const struct pumba_line *l, struct json *rules, const char *flag,
                 const char *value, size_t len)
{
    auto_free char *text = xstrndup(value, len);
    struct json *r = rule_begin(l, rules);

    if (*flag) {
        json_put_str(r, NULL, flag);
        json_put_str(r, NULL, text);
    }
    rule_end(l, r);
}

/* One for each address, and one for each port of a list. */
static void each_rule(const struct pumba_line *l, struct json *rules)
{
    const struct {
        const char *flag, *list;
    } ports[] = { { "--sport", l->src_port }, { "--dport", l->dst_port } };

    for (size_t i = 0; i < l->source.n; i++)
        rule(l, rules, "-s", l->source.v[i], strlen(l->source.v[i]));
    for (size_t i = 0; i < l->destination.n; i++)
        rule(l, rules, "-d", l->destination.v[i], strlen(l->destination.v[i]));
    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        for (const char *p = ports[i].list; *p;) {
            size_t n = strcspn(p, ",");
            rule(l, rules, ports[i].flag, p, n);
            p += n + (p[n] == ',');
        }
    if (json_len(rules) == 0)
        rule(l, rules, "", "", 0);
}

struct json *pumba_residue_of(const struct pumba_line *l)
{
    struct json *what = json_object();

    if (l->command != PUMBA_NETEM && l->command != PUMBA_IPTABLES)
        return what;
    json_put_str(what, "interface", l->interface);
    if (l->command == PUMBA_IPTABLES)
        each_rule(l, json_put(what, "rules", json_array()));
    return what;
}

/* ---- in another network namespace ---- */

struct visit {
    pid_t pid;
    const struct json *what;
    bool remove;
    bool found, removed;
    struct err err;
    int rc;
};

static const struct tc_qdisc *root_of(const struct tc_qdisc *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].parent == TC_ROOT && v[i].handle != 0 && v[i].kind != TC_HTB_CLASS)
            return &v[i];
    return NULL;
}

bool pumba_made_tree(const struct tc_qdisc *v, size_t n)
{
    const struct tc_qdisc *root = root_of(v, n);

    if (!root || root->handle == TC_HANDLE(HANDLE_PUMBA, 0))
        return root != NULL;
    if (root->kind == TC_NETEM)
        return root->handle >> 16 >= HANDLE_AUTO;
    for (size_t i = 0; root->kind == TC_PRIO && root->handle == TC_HANDLE(1, 0) && i < n; i++)
        if (v[i].kind == TC_NETEM && v[i].handle == TC_HANDLE(0x30, 0) &&
            v[i].parent == TC_HANDLE(1, 3))
            return true;
    return false;
}

static int visit_tree(struct visit *w)
{
    const char *name = json_str(w->what, "interface", "");
    int ifindex = (int)if_nametoindex(name);
    auto_free struct tc_qdisc *v = NULL;
    size_t n = 0;

    if (!ifindex)
        return 0; /* without the device there is no tree on it */
    auto(tc) struct tc *tc = tc_open(&w->err);
    if (!tc || tc_dump(tc, ifindex, &v, &n, &w->err) < 0)
        return -EIO;
    const struct tc_qdisc *root = root_of(v, n);
    w->found = root != NULL;
    if (!w->remove || !root)
        return 0;
    if (!pumba_made_tree(v, n))
        return err_set(&w->err, ERR_REVERT, EBUSY, "the %s at the root of %s is not Pumba's",
                       tc_name(root), name);
    int rc = tc_delete(tc, root, &w->err);
    w->removed = rc == 0;
    return rc < 0 ? rc : 0;
}

/* `op` -C asks, -D deletes: the exit status, or negative when there is no such program. */
static int tool(const char *program, const char *op, const struct json *rule)
{
    const char *argv[RULE_WORDS_MAX + 6] = { program, "-w", "5", op };
    size_t n = 4;

    for (const struct json *w = json_first(rule); w && n < RULE_WORDS_MAX; w = json_next(w))
        argv[n++] = json_str(w, "", "");
    return proc_run(argv, TOOL_MS, NULL, NULL);
}

/* Asking the old kind would make its table; only where a rule was added is it there already. */
static bool has_old_table(void)
{
    char names[256];
    auto_close int fd = open("/proc/thread-self/net/ip_tables_names", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, names, sizeof(names));

    return n > 0 && memmem(names, (size_t)n, "filter\n", 7);
}

static int visit_rule(struct visit *w, const char *program, const struct json *rule)
{
    int rc = tool(program, "-C", rule);

    if (rc < 0)
        return err_set(&w->err, ERR_REVERT, ENOENT, "there is no %s here to ask with", program);
    if (rc > 0)
        return 0;
    w->found = true;
    for (int i = 0; i < SAME_MAX && w->remove && tool(program, "-D", rule) == 0; i++)
        w->removed = true;
    return 0;
}

static int visit_rules(struct visit *w)
{
    static const char *const programs[] = { "iptables-nft", "iptables-legacy" };
    size_t n_programs = has_old_table() ? 2 : 1;
    const struct json *rules = json_get(w->what, "rules");
    size_t n = 0;
    int rc = 0;

    for (const struct json *r = json_first(rules); r && n < RULES_MAX; r = json_next(r), n++)
        for (size_t i = 0; i < n_programs && rc == 0; i++)
            rc = visit_rule(w, programs[i], r);
    return rc;
}

static void *inside(void *arg)
{
    struct visit *w = arg;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", w->pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        w->rc =
            err_sys(&w->err, ERR_REVERT, errno, "cannot enter the network namespace of %d", w->pid);
    else
        w->rc = json_get(w->what, "rules") ? visit_rules(w) : visit_tree(w);
    return NULL;
}

static int visit(struct visit *w, struct err *err)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, inside, w);

    if (rc != 0)
        return err_sys(err, ERR_REVERT, rc, "cannot start a thread");
    pthread_join(thread, NULL);
    if (w->rc < 0 && err)
        *err = w->err;
    return w->rc;
}

int pumba_residue_look(pid_t pid, const struct json *what, enum pumba_found *ret, struct err *err)
{
    struct visit w = { .pid = pid, .what = what };
    int rc = visit(&w, err);

    if (rc == 0)
        *ret = w.found ? PUMBA_FOUND_SOME : PUMBA_FOUND_NOTHING;
    return rc;
}

int pumba_residue_remove(pid_t pid, const struct json *what, struct err *err)
{
    struct visit w = { .pid = pid, .what = what, .remove = true };
    int rc = visit(&w, err);

    return rc < 0 ? rc : !w.removed;
}

void pumba_residue_by_hand(pid_t pid, const struct json *what, struct buf *out)
{
    const struct json *rule = json_first(json_get(what, "rules"));

    buf_addf(out, "nsenter -t %d -n ", pid);
    if (!rule) {
        buf_addf(out, "tc qdisc del dev %s root", json_str(what, "interface", ""));
        return;
    }
    buf_adds(out, "iptables -D");
    for (const struct json *w = json_first(rule); w; w = json_next(w))
        buf_addf(out, " %s", json_str(w, "", ""));
}
