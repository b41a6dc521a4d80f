/* See box.h. */
#include "chaoslib/pumba/box.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "chaoslib/docker/internal.h"

#define INSPECT_NS NS_PER_SEC /* when the event stream has nothing to say */
#define LOOK_NS (20 * NS_PER_MS)
#define FRAME_HEAD 8 /* stream, three zeros, length */
#define LOG_MAX ((size_t)16 << 20)

struct pumba_box {
    struct docker *docker;
    struct docker_events *events;
    char id[72], name[128];
    uint64_t mark;  /* of the events before its start */
    uint64_t asked; /* when it was inspected last */
    bool over;
    int status;
};

/* ---- the image ---- */

static int first_tag(struct docker *d, const char *reference, char **ret, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(4096);
    auto(json) struct json *list = NULL, *filters = json_object();

    json_put_str(json_put(filters, "reference", json_array()), NULL, reference);
    auto_free char *text = json_print(filters, false);
    buf_adds(&path, "/images/json?filters=");
    http_escape(&path, text);
    int rc = docker_do(d, &(struct docker_call){ .path = buf_str(&path) }, &list, err);
    if (rc != 0)
        return rc;
    for (const struct json *i = json_first(list); i; i = json_next(i)) {
        const char *tag = json_str(json_first(json_get(i, "RepoTags")), "", "");
        if (!*tag || strcmp(tag, "<none>:<none>") == 0)
            tag = json_str(i, "Id", "");
        if (!*tag)
            continue;
        *ret = xstrdup(tag);
        return 0;
    }
    return 1;
}

int pumba_image(struct docker *d, const char *named, char **ret, struct err *err)
{
    int rc = first_tag(d, named ? named : "ghcr.io/alexei-led/pumba", ret, err);

    return rc == 1 && !named ? first_tag(d, "gaiaadm/pumba", ret, err) : rc;
}

/* ---- start ---- */

int pumba_box_check(const struct docker *d, struct err *err)
{
    if (d->host.socket)
        return 0;
    return err_set(err, ERR_PREPARE, ENOTSUP,
                   "a Pumba from its image needs the engine's socket, and %s has none that could "
                   "be mounted: install the program pumba, or set PUMBA to where it is",
                   d->host.address);
}

/* A path of the engine's machine. Where that is not ours (Docker Desktop), its usual one. */
static char *mount_of(const struct docker *d)
{
    return xasprintf("%s:/var/run/docker.sock", d->local ? d->host.socket : "/var/run/docker.sock");
}

static struct json *body_of(const struct pumba_box_opts *o)
{
    struct json *body = json_object(), *labels, *host, *cmd;
    auto_free char *mount = mount_of(o->docker);

    json_put_str(body, "Image", o->image);
    cmd = json_put(body, "Cmd", json_array());
    for (size_t i = 0; o->argv[i]; i++)
        json_put_str(cmd, NULL, o->argv[i]);
    labels = json_put(body, "Labels", json_object());
    json_put_str(labels, "com.gaiaadm.pumba", "true");
    json_put_str(labels, "chaos-load.skip", "true");
    json_put_str(labels, "chaos-load.run", o->run_id);
    host = json_put(body, "HostConfig", json_object());
    json_put_str(json_put(host, "Binds", json_array()), NULL, mount);
    json_put_str(host, "NetworkMode", "none");
    return body;
}

static int create(struct pumba_box *b, const struct pumba_box_opts *o, struct err *err)
{
    auto(json) struct json *body = body_of(o), *made = NULL;
    auto_free char *path = xasprintf("/containers/create?name=%s", o->name);
    const struct docker_call call = { .method = "POST", .path = path, .body = body };
    int rc = docker_do(o->docker, &call, &made, err);

    if (rc == 1)
        return err_set(err, ERR_PREPARE, ENOENT, "the image %.150s is gone", o->image);
    if (rc < 0)
        return err_wrap(err, "a container of %.150s", o->image);
    snprintf(b->id, sizeof(b->id), "%s", json_str(made, "Id", ""));
    return 0;
}

static int post(struct docker *d, const char *id, const char *verb, struct err *err)
{
    auto_free char *path = xasprintf("/containers/%s/%s", id, verb);

    return docker_do(d, &(struct docker_call){ .method = "POST", .path = path }, NULL, err);
}

static int remove_it(struct docker *d, const char *id, struct err *err)
{
    auto_free char *path = xasprintf("/containers/%s?force=1&v=1", id);

    return docker_do(d, &(struct docker_call){ .method = "DELETE", .path = path }, NULL, err);
}

struct pumba_box *pumba_box_start(const struct pumba_box_opts *opts, struct err *err)
{
    struct pumba_box *b = xcalloc(1, sizeof(*b));

    *b = (struct pumba_box){ .docker = opts->docker,
                             .events = opts->events,
                             .mark = docker_events_mark(opts->events),
                             .asked = clock_now_ns() };
    snprintf(b->name, sizeof(b->name), "%s", opts->name);
    if (create(b, opts, err) == 0 && post(b->docker, b->id, "start", err) == 0)
        return b;
    if (err_is_set(err))
        err_ignore(err_wrap(err, "pumba is not started"), "it is an error already");
    pumba_box_free(b);
    return NULL;
}

/* ---- while it runs ---- */

static void look(struct pumba_box *b)
{
    struct docker_container c;

    b->asked = clock_now_ns();
    int rc = docker_inspect(b->docker, b->id, &c, NULL);
    if (rc < 0 || (rc == 0 && c.running))
        return;
    b->over = true;
    b->status = rc == 1 ? 137 : c.exit_code; /* removed by someone */
}

bool pumba_box_is_over(struct pumba_box *b, int *ret_status)
{
    const struct docker_event_query q = { .mark = b->mark, .id = b->id, .actions = "die" };
    struct docker_event e;

    if (!b->over && docker_events_wait(b->events, &q, &e) == 0) {
        b->over = e.exit_code >= 0;
        b->status = e.exit_code;
    }
    if (!b->over && clock_now_ns() >= b->asked + INSPECT_NS)
        look(b);
    if (b->over && ret_status)
        *ret_status = b->status;
    return b->over;
}

/* Out of the frames that the engine puts both streams into. */
static void unframe(const struct buf *framed, struct buf *out)
{
    const unsigned char *at = (const unsigned char *)buf_str(framed);
    size_t left = framed->len;

    while (left >= FRAME_HEAD) {
        size_t n = (size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | (size_t)at[7];
        n = MIN(n, left - FRAME_HEAD);
        buf_add(out, (const char *)at + FRAME_HEAD, n);
        at += FRAME_HEAD + n;
        left -= FRAME_HEAD + n;
    }
}

void pumba_box_log(struct pumba_box *b, struct buf *out)
{
    auto_buf struct buf framed = BUF_INIT(LOG_MAX);
    auto_free char *path = xasprintf("/containers/%s/logs?stdout=1&stderr=1", b->id);
    unsigned status = 0;

    if (docker_call_raw(b->docker, &(struct docker_call){ .path = path }, &status, &framed, NULL) <
            0 ||
        status != 200)
        log_warn("pumba.log", "the engine does not tell what %s wrote", b->name);
    else
        unframe(&framed, out);
}

void pumba_box_signal(struct pumba_box *b, const char *signal)
{
    auto_free char *verb = xasprintf("kill?signal=%s", signal);

    err_ignore(post(b->docker, b->id, verb, NULL), "whether it ends is looked at");
}

void pumba_box_free(struct pumba_box *b)
{
    struct err err = { 0 };

    if (!b)
        return;
    if (b->id[0] && remove_it(b->docker, b->id, &err) < 0)
        log_warn("pumba.box", "docker rm -f %s by hand: %s", b->name, err.msg);
    free(b);
}

/* ---- from another process ---- */

int pumba_box_end(struct docker *d, const char *name, uint64_t grace_ns, struct err *err)
{
    uint64_t until = clock_now_ns() + grace_ns;
    struct docker_container c;
    int rc = docker_inspect(d, name, &c, err);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (c.running)
        err_ignore(post(d, c.id, "kill?signal=SIGTERM", NULL), "whether it ends is looked at");
    while (rc == 0 && c.running && clock_now_ns() < until) {
        clock_sleep_until(clock_now_ns() + LOOK_NS);
        rc = docker_inspect(d, name, &c, err);
    }
    if (rc == 0)
        rc = remove_it(d, c.id, err);
    return rc < 0 ? rc : 1;
}
