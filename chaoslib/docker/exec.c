/* See exec.h. The output is followed by a thread of its own, while the caller asks the engine
 * whether the command has ended. */
#include "chaoslib/docker/exec.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/docker/internal.h"
#include "chaoslib/wait.h"

#define LOOK_MIN_NS (5 * NS_PER_MS)
#define LOOK_MAX_NS (100 * NS_PER_MS)
#define DRAIN_NS (50 * NS_PER_MS) /* nothing came for so long: the last output */
#define DRAIN_MAX_NS (2 * NS_PER_SEC)
#define KILLED_NS (5 * NS_PER_SEC)

/* ---- making one, looking at it ---- */

int exec_create(struct docker *d, const struct exec_command *c, char ret_id[EXEC_ID_MAX],
                struct err *err)
{
    auto(json) struct json *body = json_object(), *answer = NULL;
    auto_free char *path = xasprintf("/containers/%s/exec", c->container);
    struct json *argv = json_put(body, "Cmd", json_array());
    struct err mine = { 0 };

    for (const struct json *j = json_first(c->argv); j; j = json_next(j))
        json_put_str(argv, NULL, json_str(j, "", ""));
    if (c->user && *c->user)
        json_put_str(body, "User", c->user);
    /* Podman wants a stream to attach to. */
    json_put_bool(body, "AttachStdout", true);
    json_put_bool(body, "AttachStderr", true);
    const struct docker_call call = { .method = "POST", .path = path, .body = body };
    int rc = docker_do(d, &call, &answer, &mine);
    if (mine.code == EBUSY) /* paused, or not running: that may pass */
        mine.kind = ERR_TARGET;
    if (rc != 0) {
        if (err)
            *err = mine;
        return rc;
    }
    snprintf(ret_id, EXEC_ID_MAX, "%s", json_str(answer, "Id", ""));
    return *ret_id ? 0
                   : err_set(err, ERR_PREPARE, EPROTO,
                             "the container engine made a command without an Id");
}

static char *path_of(const char *id, const char *verb)
{
    auto_buf struct buf path = BUF_INIT(1024);

    buf_adds(&path, "/exec/");
    http_escape(&path, id);
    buf_addf(&path, "/%s", verb);
    return buf_take(&path);
}

int exec_inspect(struct docker *d, const char *id, struct exec_look *ret, struct err *err)
{
    auto_free char *path = path_of(id, "json");
    auto(json) struct json *j = NULL;
    struct err mine = { 0 };
    int rc = docker_do(d, &(struct docker_call){ .path = path }, &j, &mine);

    /* 409: known, but its container does not run. */
    if (rc == 1 || (rc < 0 && mine.code == EBUSY))
        return 1;
    if (rc < 0) {
        if (err)
            *err = mine;
        return rc;
    }
    const struct json *code = json_get(j, "ExitCode");
    bool runs = json_bool(j, "Running", false);
    *ret = (struct exec_look){ .state = runs                 ? EXEC_RUNNING
                                        : json_is_null(code) ? EXEC_NEW
                                                             : EXEC_ENDED,
                               .status = (int)json_num(j, "ExitCode", 0),
                               .pid = (pid_t)MIN(json_u64(j, "Pid", 0), INT32_MAX) };
    return 0;
}

/* ---- its output ---- */

static void keep(struct exec_output *o, const char *data, size_t len)
{
    size_t n = MIN(len, sizeof(o->tail));
    size_t stays = MIN(o->n_tail, sizeof(o->tail) - n);

    memmove(o->tail, o->tail + (o->n_tail - stays), stays);
    memcpy(o->tail + stays, data + (len - n), n);
    o->n_tail = stays + n;
}

/* Takes what of the data belongs to the header; how much that was. */
static size_t add_head(struct exec_output *o, const char *data, size_t len)
{
    size_t n = MIN(len, sizeof(o->head) - o->n_head);

    memcpy(o->head + o->n_head, data, n);
    o->n_head += n;
    if (o->head[0] > 2 || (o->n_head > 1 && o->head[1]) || (o->n_head > 2 && o->head[2]) ||
        (o->n_head > 3 && o->head[3])) {
        o->plain = true;
        keep(o, (const char *)o->head, o->n_head);
    } else if (o->n_head == sizeof(o->head)) {
        o->left = (uint64_t)o->head[4] << 24 | (uint64_t)o->head[5] << 16 |
                  (uint64_t)o->head[6] << 8 | o->head[7];
        o->n_head = 0;
    }
    return n;
}

void exec_output_add(struct exec_output *o, const char *data, size_t len)
{
    while (len > 0) {
        size_t n = o->plain ? len : MIN(len, o->left);

        if (n) {
            keep(o, data, n);
            o->left -= o->plain ? 0 : n;
        } else {
            n = add_head(o, data, len);
        }
        data += n;
        len -= n;
    }
}

void exec_output_said(const struct exec_output *o, char out[EXEC_TAIL_MAX])
{
    size_t end = o->n_tail, begin;

    while (end > 0 && strchr("\r\n \t", o->tail[end - 1]) && o->tail[end - 1])
        end--;
    for (begin = end; begin > 0 && o->tail[begin - 1] != '\n' && o->tail[begin - 1] != '\r';)
        begin--;
    size_t n = MIN(end - begin, EXEC_TAIL_MAX - 1);
    memcpy(out, o->tail + begin, n);
    out[n] = '\0';
    bool valid = utf8_is_valid(out, n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f || (!valid && (out[i] & 0x80)))
            out[i] = '?';
}

/* ---- following it ---- */

struct following {
    struct docker *d;
    const char *id;
    struct exec_output output;
    _Atomic unsigned status; /* 0: no answer yet */
    _Atomic uint64_t heard_ns;
    int rc, stop_fd, done_fd;
    struct err err;
};

static bool on_head(void *arg, unsigned status)
{
    struct following *f = arg;

    f->status = status;
    f->output.plain = status != 200; /* then it is the engine that speaks */
    return true;
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct following *f = arg;

    exec_output_add(&f->output, data, len);
    f->heard_ns = clock_now_ns();
    return true;
}

static void *follow(void *arg)
{
    static const char *const headers[] = { "Content-Type: application/json", NULL };
    static const char body[] = "{\"Detach\":false,\"Tty\":false}";
    struct following *f = arg;
    auto_free char *path = path_of(f->id, "start");
    unsigned minor = f->d->api_minor;
    auto_free char *url = minor ? xasprintf("%s/v1.%u%s", f->d->host.base, minor, path)
                                : xasprintf("%s%s", f->d->host.base, path);
    struct http_req req = { .method = "POST",
                            .url = url,
                            .headers = headers,
                            .body = body,
                            .body_len = sizeof(body) - 1,
                            .timeout_ms = MAX(f->d->timeout_ns / NS_PER_MS, 1) };
    const struct http_follower follower = {
        .on_head = on_head, .on_data = on_data, .arg = f, .stop_fd = f->stop_fd
    };
    uint64_t one = 1;

    docker_request(f->d, &req);
    f->rc = http_stream(&req, &follower, &f->err);
    if (f->rc < 0 && !f->status)
        f->rc = docker_no_answer(f->d, f->d->timeout_ns, &f->err);
    while (write(f->done_fd, &one, sizeof(one)) < 0)
        ; /* a signal */
    return NULL;
}

/* Podman says of one that has not begun what Docker says of one that has ended. */
static bool has_ended(const struct following *f, const struct exec_look *look, bool began)
{
    return look->state == EXEC_ENDED && (began || !docker_is_podman(f->d));
}

/* 0 it ended, or never will; 1 it is not known any more; -ETIMEDOUT. An engine that refused to
 * start it ends the output. */
static int wait_end(struct following *f, uint64_t until_ns, const struct latch *cut,
                    struct exec_look *ret, struct err *err)
{
    uint64_t pause_ns = LOOK_MIN_NS, closed_ns = 0;
    bool ran = false;

    for (;;) {
        uint64_t now = clock_now_ns();
        enum wait_answer a = closed_ns ? wait_fd(-1, cut, MIN(now + pause_ns, until_ns))
                                       : wait_fd(f->done_fd, cut, MIN(now + pause_ns, until_ns));
        if (a == WAIT_READY)
            closed_ns = clock_now_ns();
        int rc = exec_inspect(f->d, f->id, ret, err);
        if (rc != 0 || has_ended(f, ret, ran || closed_ns))
            return rc;
        ran |= ret->state == EXEC_RUNNING;
        if (closed_ns && ret->state == EXEC_NEW && clock_now_ns() - closed_ns > DRAIN_NS)
            return 0;
        if (a == WAIT_LATCH || clock_now_ns() >= until_ns)
            return -ETIMEDOUT;
        pause_ns = MIN(pause_ns * 2, LOOK_MAX_NS);
    }
}

/* The command has ended; what it said may be on its way. */
static void drain(struct following *f)
{
    uint64_t until_ns = clock_now_ns() + DRAIN_MAX_NS, quiet_ns = clock_now_ns() + DRAIN_NS;

    while (clock_now_ns() < MIN(quiet_ns, until_ns) &&
           wait_fd(f->done_fd, NULL, MIN(quiet_ns, until_ns)) != WAIT_READY)
        quiet_ns = f->heard_ns + DRAIN_NS;
}

static int judge(struct following *f, int rc, const struct exec_look *look, struct exec_end *ret,
                 struct err *err)
{
    char said[EXEC_TAIL_MAX];

    exec_output_said(&f->output, said);
    if (f->rc < 0 && !f->status) {
        *err = f->err;
        return f->rc;
    }
    if (f->status && f->status != 200 && f->status != 101)
        return err_set(err, ERR_INJECT, f->status == 409 ? EBUSY : EIO,
                       "the container engine refused to start the command: %.200s (status %u)",
                       said, f->status);
    if (rc != 0)
        return rc;
    if (look->state != EXEC_ENDED)
        return err_set(err, ERR_INJECT, EPROTO, "the container engine did not start the command");
    ret->status = look->status;
    snprintf(ret->said, sizeof(ret->said), "%s", said);
    return 0;
}

int exec_run(struct docker *d, const char *id, uint64_t timeout_ns, const struct latch *cut,
             struct exec_end *ret, struct err *err)
{
    struct following f = { .d = d, .id = id, .stop_fd = eventfd(0, EFD_CLOEXEC) };
    uint64_t until_ns = clock_now_ns() + timeout_ns, one = 1;
    struct exec_look look = { 0 };
    struct err mine = { 0 };
    pthread_t thread;

    f.done_fd = eventfd(0, EFD_CLOEXEC);
    if (f.stop_fd < 0 || f.done_fd < 0 || pthread_create(&thread, NULL, follow, &f) != 0) {
        close(f.stop_fd);
        close(f.done_fd);
        return err_set(err, ERR_PREPARE, EAGAIN, "cannot follow the command");
    }
    int rc = wait_end(&f, until_ns, cut, &look, &mine);
    if (rc >= 0)
        drain(&f);
    while (write(f.stop_fd, &one, sizeof(one)) < 0)
        ; /* a signal */
    pthread_join(thread, NULL);
    close(f.stop_fd);
    close(f.done_fd);
    if (rc == -ETIMEDOUT && !err_is_set(&mine)) {
        int killed = exec_kill(d, id, &mine);
        char limit[DURATION_TEXT_MAX];
        return err_set(err, ERR_INJECT, ETIMEDOUT, "it did not end within %s%s",
                       duration_text(timeout_ns, limit),
                       killed == 0 ? ", and was killed"
                                   : ", and goes on in the container: only an engine on this "
                                     "machine lets us kill it");
    }
    rc = judge(&f, rc, &look, ret, &mine);
    if (rc < 0 && err)
        *err = mine;
    return rc;
}

/* ---- ending it ---- */

/* The number is trusted when the engine tells the same once that process is held. */
static int kill_once(struct docker *d, const char *id, const struct exec_look *look)
{
    auto_close int pidfd = look->pid > 1 ? pidfd_open(look->pid, 0) : -1;
    struct exec_look again;

    if (pidfd < 0 || exec_inspect(d, id, &again, NULL) != 0 || again.state != EXEC_RUNNING ||
        again.pid != look->pid)
        return -ESRCH;
    return pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0 ? 0 : -errno;
}

int exec_kill(struct docker *d, const char *id, struct err *err)
{
    uint64_t until = clock_now_ns() + KILLED_NS;
    struct exec_look look;
    int rc;

    while ((rc = exec_inspect(d, id, &look, err)) == 0 && look.state == EXEC_RUNNING) {
        if (!docker_is_local(d) || clock_now_ns() >= until)
            return 1;
        err_ignore(kill_once(d, id, &look), "it is asked again");
        clock_sleep_until(clock_now_ns() + LOOK_MIN_NS);
    }
    return MIN(rc, 0);
}
