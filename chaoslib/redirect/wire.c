/* A toxic as JSON. Seeds are text, since a number in JSON is exact to 53 bits only. */
#include <errno.h>
#include <stdlib.h>

#include "chaoslib/redirect/redirect.h"

static void put_text(struct json *j, const char *key, const char *value)
{
    if (value && *value)
        json_put_str(j, key, value);
}

void toxic_write(const struct toxic *t, struct json *ret)
{
    auto_free char *seed = xasprintf("%llx", (unsigned long long)t->seed);
    struct json *match = json_object(), *headers = json_object(), *calls = json_object();

    json_put_str(ret, "kind", toxic_kind_name(t->kind));
    json_put_u64(ret, "stream", t->stream);
    json_put_num(ret, "percent", t->percent);
    json_put_u64(ret, "delay_ns", t->delay_ns);
    json_put_u64(ret, "jitter_ns", t->jitter_ns);
    json_put_u64(ret, "bits_per_sec", t->bits_per_sec);
    json_put_u64(ret, "bytes", t->bytes);
    json_put_u64(ret, "after_ns", t->after_ns);
    json_put_u64(ret, "status", (uint64_t)t->status);
    json_put_str(ret, "seed", seed);
    put_text(ret, "body", t->body);
    put_text(match, "method", t->match.method);
    put_text(match, "path", t->match.path);
    put_text(match, "header", t->match.header);
    json_put(ret, "match", match);
    put_text(calls, "services", t->calls.services);
    put_text(calls, "methods", t->calls.methods);
    json_put(ret, "calls", calls);
    for (size_t i = 0; i < t->headers.n; i++)
        json_put_str(headers, t->headers.keys[i], t->headers.values[i]);
    json_put(ret, "headers", headers);
}

static void read_headers(const struct json *j, struct pairs *ret)
{
    size_t n = json_len(j);

    ret->keys = xcalloc(n + 1, sizeof(*ret->keys));
    ret->values = xcalloc(n + 1, sizeof(*ret->values));
    for (const struct json *h = json_first(j); h; h = json_next(h)) {
        ret->keys[ret->n] = json_key(h);
        ret->values[ret->n++] = json_str(h, "", "");
    }
}

int toxic_read(const struct json *j, struct toxic *ret, struct err *err)
{
    const char *kind = json_str(j, "kind", "");

    *ret = (struct toxic){ .stream = (enum proxy_stream)(json_u64(j, "stream", 0) & 3),
                           .percent = json_num(j, "percent", 1),
                           .delay_ns = json_u64(j, "delay_ns", 0),
                           .jitter_ns = json_u64(j, "jitter_ns", 0),
                           .bits_per_sec = json_u64(j, "bits_per_sec", 0),
                           .bytes = json_u64(j, "bytes", 0),
                           .after_ns = json_u64(j, "after_ns", 0),
                           .status = (int)MIN(json_u64(j, "status", 0), 999),
                           .seed = strtoull(json_str(j, "seed", "0"), NULL, 16),
                           .body = json_str(j, "body", ""),
                           .match = { .method = json_str(j, "match.method", ""),
                                      .path = json_str(j, "match.path", ""),
                                      .header = json_str(j, "match.header", "") },
                           .calls = { .services = json_str(j, "calls.services", ""),
                                      .methods = json_str(j, "calls.methods", "") } };
    if (!toxic_kind_find(kind, &ret->kind))
        return err_set(err, ERR_PREPARE, EINVAL, "'%s' is no toxic", kind);
    read_headers(json_get(j, "headers"), &ret->headers);
    return 0;
}
