/* Credentials: read once at start from a file or the environment, never from the plan, so that a
 * plan can be shared and a result can be published. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "runner/request_parts.h"

#define SECRET_MAX ((size_t)65536)

static int read_file(const char *path, struct buf *out, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = -1;

    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "secret file '%s'", path);
    for (;;) {
        char chunk[4096];

        n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_add(out, chunk, (size_t)n);
        mem_wipe(chunk, sizeof(chunk));
    }
    if (n < 0)
        return err_sys(err, ERR_PREPARE, errno, "secret file '%s'", path);
    return 0;
}

static int read_secret(const char *file, const char *env, struct buf *out, struct err *err)
{
    const char *where = file ? file : env;
    const char *value;
    int rc = 0;

    if (file) {
        rc = read_file(file, out, err);
    } else {
        value = getenv(env); /* NOLINT(concurrency-mt-unsafe): nothing here sets the environment */
        if (!value)
            return err_set(err, ERR_PREPARE, ENOENT, "the environment has no '%s'", env);
        buf_adds(out, value);
    }
    if (rc < 0)
        return rc;
    while (out->len > 0 && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->data[--out->len] = '\0';
    if (buf_failed(out))
        return err_set(err, ERR_LIMIT, E2BIG, "the secret in '%s' is larger than %zu bytes", where,
                       SECRET_MAX);
    if (out->len == 0)
        return err_set(err, ERR_PREPARE, EINVAL, "the secret in '%s' is empty", where);
    for (size_t i = 0; i < out->len; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 0x7f)
            return err_set(err, ERR_PREPARE, EINVAL, "the secret in '%s' holds a control character",
                           where);
    return 0;
}

static void add_base64(struct buf *out, const char *text, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = (const unsigned char *)text;

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned v = (unsigned)s[i] << 16 | (left > 1 ? (unsigned)s[i + 1] << 8 : 0) |
                     (left > 2 ? (unsigned)s[i + 2] : 0);

        buf_addc(out, digits[v >> 18]);
        buf_addc(out, digits[v >> 12 & 63]);
        buf_addc(out, left > 1 ? digits[v >> 6 & 63] : '=');
        buf_addc(out, left > 2 ? digits[v & 63] : '=');
    }
}

static void wipe(struct buf *b)
{
    if (b->data)
        mem_wipe(b->data, b->cap);
    buf_done(b);
}

int request_authorization(const struct http_plan *http, struct buf *out, struct err *err)
{
    struct buf secret = BUF_INIT(SECRET_MAX);
    struct buf pair = BUF_INIT(2 * SECRET_MAX);
    int rc = 0;

    if (http->basic_user) {
        rc = read_secret(http->basic_password_file, http->basic_password_env, &secret, err);
        if (rc < 0)
            rc = err_wrap(err, "http.basic_auth");
        buf_addf(&pair, "%s:%s", http->basic_user, buf_str(&secret));
        buf_adds(out, "Basic ");
        add_base64(out, pair.data, pair.len);
    } else if (http->bearer_file || http->bearer_env) {
        rc = read_secret(http->bearer_file, http->bearer_env, &secret, err);
        if (rc < 0)
            rc = err_wrap(err, "http.bearer");
        buf_addf(out, "Bearer %s", buf_str(&secret));
    }
    wipe(&secret);
    wipe(&pair);
    return rc;
}
