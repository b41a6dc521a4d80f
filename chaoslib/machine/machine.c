/* The life of a hog, seen from the run: the helper is there and waits before the planned instant,
 * so that starting it does not make the fault late; its workers begin on a word from us; that they
 * work, and that they are gone, is looked at and not believed. */
#include "chaoslib/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/clock.h"

#define ANSWER_NS (30 * NS_PER_SEC)
#define STOP_NS (3 * NS_PER_SEC)
#define IN_NS (30 * NS_PER_SEC)
#define OUT_NS (15 * NS_PER_SEC)
#define LOOK_NS (2 * NS_PER_MS)

const char *const hog_placements[] = { "auto", "own", "target", NULL };
const char *const hog_hosts[] = { "any", NULL };

struct hogs {
    const struct hog_kind *kind;
    struct places places;
    struct hog *v;
    size_t n;
};

static const struct hog_kind *kind_of(const struct fault_run *r)
{
    static const struct hog_kind *const kinds[] = { &hog_cpu, &hog_memory, &hog_io, &hog_disk_fill,
                                                    &hog_fds };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i]->name, r->kind->name) == 0)
            return kinds[i];
    return NULL;
}

static bool has_target(const struct hog *h)
{
    return h->target->pidfd >= 0;
}

/* ---- prepare ---- */

int hog_folder(const struct hog *h, const char *path, struct err *err)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    char root_path[40] = "/";

    if (path[0] != '/')
        return err_set(err, ERR_PREPARE, EINVAL, "path: '%s' is not absolute", path);
    if (has_target(h))
        snprintf(root_path, sizeof(root_path), "/proc/%d/root", (int)h->target->id.pid);
    auto_close int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot look into the target's files");
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "path: '%s' is not a folder there", path);
    return fd;
}

static int choose_cgroups(struct hog *h, int placement, struct err *err)
{
    struct cgroups ours;

    if (cgroups_of(getpid(), &ours, err) < 0)
        return -1;
    h->cgroups = ours;
    if (!has_target(h) || placement == PLACE_OWN)
        return 0;
    if (cgroups_of(h->target->id.pid, &h->cgroups, err) < 0)
        return -1;
    h->enters = !cgroups_equal(&ours, &h->cgroups);
    return 0;
}

static int start_helper(const struct hog_kind *kind, struct hog *h, struct err *err)
{
    json_put_str(h->spec, "kind", kind->name);
    json_put_u64(h->spec, "workers", h->workers);
    if (h->enters)
        json_put(h->spec, "join", cgroups_to_join(&h->cgroups));
    h->helper = helper_start(&(struct helper_opts){ .role = HOG_ROLE,
                                                    .spec = h->spec,
                                                    .fds = &h->dirfd,
                                                    .n_fds = h->dirfd >= 0 ? 1 : 0,
                                                    .timeout_ns = ANSWER_NS },
                             NULL, err);
    return h->helper ? 0 : -1;
}

static int prepare_one(struct fault_run *r, struct hog *h, struct err *err)
{
    const struct place_at *at = r->params;
    const struct hogs *s = r->state;

    if (choose_cgroups(h, at->placement, err) < 0 || s->kind->plan(r->params, h, err) < 0)
        return -1;
    snprintf(r->mechanism, sizeof(r->mechanism), "%u worker%s in %s cgroup", h->workers,
             h->workers == 1 ? "" : "s", h->enters ? "the target's" : "our own");
    return r->env->dry_run ? 0 : start_helper(s->kind, h, err);
}

int hog_prepare(struct fault_run *r, struct err *err)
{
    struct hogs *s = xcalloc(1, sizeof(*s));

    r->state = s;
    s->kind = kind_of(r);
    if (places_open(r, r->params, &s->places, err) < 0)
        return -1;
    s->v = xcalloc(s->places.n + 1, sizeof(*s->v));
    for (; s->n < s->places.n; s->n++) {
        struct hog *h = &s->v[s->n];
        *h = (struct hog){ .target = &s->places.v[s->n], .dirfd = -1, .spec = json_object() };
        if (prepare_one(r, h, err) < 0) {
            s->n++; /* for release */
            return -1;
        }
    }
    return 0;
}

/* ---- in ---- */

static int tell(struct hog *h, const char *what, uint64_t ttl_ns, struct json **ret_figures,
                struct err *err)
{
    auto(json) struct json *j = json_object();

    json_put_str(j, "do", what);
    if (ttl_ns)
        json_put_u64(j, "ttl_ms", ttl_ns / NS_PER_MS);
    return helper_ask(h->helper, j, ANSWER_NS, ret_figures, err);
}

static void keep_ids(struct hog *h, const struct json *figures)
{
    const struct json *pids = json_get(figures, "pids");

    h->ids = xcalloc(json_len(pids) + 1, sizeof(*h->ids));
    for (const struct json *j = json_first(pids); j; j = json_next(j))
        if (proc_identify((pid_t)json_u64(j, "", 0), &h->ids[h->n_ids], NULL) == 0)
            h->n_ids++;
}

int hog_inject(struct fault_run *r, struct err *err)
{
    struct hogs *s = r->state;

    for (size_t i = 0; i < s->n; i++) {
        auto(json) struct json *figures = NULL;
        r->hits[i].requested = clock_now_ns();
        if (tell(&s->v[i], "start", r->hold_ns + HELPER_TTL_MARGIN_NS, &figures, err) < 0)
            return -1;
        r->hits[i].effective = clock_now_ns();
        keep_ids(&s->v[i], figures);
    }
    r->times.effective = s->n ? r->hits[0].effective : clock_now_ns();
    return 0;
}

/* 0 in, 1 not yet. */
static int look(struct hogs *s, struct hog *h, struct err *err)
{
    auto(json) struct json *figures = NULL;

    if (tell(h, "look", 0, &figures, err) < 0)
        return -1;
    uint64_t done = MAX(json_u64(figures, "done", 0), json_u64(figures, "cpu_ns", 0));
    if (done == 0 || done < h->want)
        return 1;
    return s->kind->check ? s->kind->check(h) : 0;
}

/* An abort ends the wait: what is in so far is taken out next. */
static int wait_in(struct fault_run *r, struct hog *h, struct err *err)
{
    uint64_t until = clock_now_ns() + IN_NS;
    int rc;

    while ((rc = look(r->state, h, err)) == 1) {
        if (clock_now_ns() > until)
            return err_set(err, ERR_INJECT, ETIMEDOUT, "the hog does not get what it is to take");
        if (latch_wait_until(r->abort, clock_now_ns() + LOOK_NS))
            return 0;
    }
    return rc;
}

int hog_verify_in(struct fault_run *r, struct err *err)
{
    struct hogs *s = r->state;

    for (size_t i = 0; i < s->n; i++)
        if (wait_in(r, &s->v[i], err) < 0)
            return -1;
    return 0;
}

/* ---- while it is held ---- */

static void end_hog(const struct hogs *s, struct hog *h, struct json **ret_last)
{
    if (helper_is_alive(h->helper) && s->kind->note_end) /* else its end has been long ago */
        s->kind->note_end(h);
    helper_stop(TAKE(h->helper), STOP_NS, ret_last);
}

bool hog_target_gone(const struct fault_run *r)
{
    struct hogs *s = r->state;
    size_t gone = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (!has_target(&s->v[i]) || !target_is_gone(s->v[i].target))
            continue;
        gone++;
        end_hog(s, &s->v[i], NULL); /* its cgroup cannot be removed while the hog is in there */
    }
    return s->n && gone == s->n;
}

int hog_still_in(const struct fault_run *r, struct err *err)
{
    struct hogs *s = r->state;

    for (size_t i = 0; i < s->n; i++) {
        auto(json) struct json *last = NULL;
        if (!s->v[i].helper || helper_is_alive(s->v[i].helper))
            continue;
        end_hog(s, &s->v[i], &last);
        return err_set(err, ERR_INJECT, ECHILD, "%s",
                       json_str(last, "error", "the helper that held the hog was killed"));
    }
    return 0;
}

/* ---- out ---- */

int hog_revert(struct fault_run *r, struct err *err UNUSED)
{
    struct hogs *s = r->state;

    for (size_t i = 0; i < s->n; i++) {
        end_hog(s, &s->v[i], NULL);
        r->hits[i].reverted = clock_now_ns();
    }
    r->times.reverted = clock_now_ns();
    return 0;
}

static int is_out(const struct hogs *s, const struct hog *h)
{
    for (size_t i = 0; i < h->n_ids; i++)
        if (proc_is_alive(&h->ids[i]))
            return 1;
    return s->kind->check_out ? s->kind->check_out(h) : 0;
}

int hog_verify_out(struct fault_run *r, struct err *err)
{
    struct hogs *s = r->state;
    uint64_t until = clock_now_ns() + OUT_NS;

    for (size_t i = 0; i < s->n; i++)
        while (is_out(s, &s->v[i])) {
            if (clock_now_ns() > until)
                return err_set(err, ERR_REVERT, ETIMEDOUT,
                               "the hog was ended, but what it took is not back: look for "
                               "processes named chaos-hog");
            clock_sleep_until(clock_now_ns() + LOOK_NS);
        }
    return 0;
}

void hog_release(struct fault_run *r)
{
    struct hogs *s = r->state;

    for (size_t i = 0; s && i < s->n; i++) {
        helper_stop(s->v[i].helper, STOP_NS, NULL);
        json_free(s->v[i].spec);
        free(s->v[i].ids);
        if (s->v[i].dirfd >= 0)
            close(s->v[i].dirfd);
    }
    if (s) {
        places_close(&s->places);
        free(s->v);
    }
    free(s);
    r->state = NULL;
}
