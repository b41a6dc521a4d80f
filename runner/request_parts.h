/* What a request form is made of: between request.c, which builds it, and request_render.c, which
 * writes it. Nobody else includes this. */
#ifndef RUNNER_REQUEST_PARTS_H
#define RUNNER_REQUEST_PARTS_H

#include "runner/request.h"
#include "runner/url.h"

enum header_kind { HEADER_PLAIN, HEADER_SECRET, HEADER_HOST, HEADER_COOKIE };

struct header_part {
    const char *name;
    const char *text;             /* when value is NULL */
    const struct template *value; /* with slots */
    enum header_kind kind;        /* what is not sent to another host than the first */
};

struct request_parts {
    /* Where it goes unless the URL says otherwise. */
    const char *base_url, *host, *host_header;
    bool secure;
    const char *prefix; /* the target's own path, without a slash at its end */
    const struct template *url;
    bool url_is_whole; /* the URL's origin is known only when rendered */
    struct header_part *headers;
    size_t n_headers;
    bool has_cookie_header, close;
    const struct template *body; /* NULL: raw_body */
    const char *raw_body;
    size_t raw_len;
    bool has_body;
    struct request_text constant; /* when the form is constant */
};

/* Where a rendered request goes, and as what. */
struct destination {
    const char *base_url, *host, *host_header, *path;
    bool secure;
    const char *method;
    bool elsewhere;   /* another host than the form's: no secrets, no Host of the plan */
    const char *body; /* instead of the form's; NULL: the form's */
    size_t body_len;
    bool drop_body;
};

int request_write(const struct request_form *f, const struct destination *to,
                  const struct render_ctx *ctx, struct buf *out, struct request_text *ret,
                  struct err *err) MUST_CHECK;

/* Secrets of the http plan as an Authorization value into `out`; nothing when there are none. */
int request_authorization(const struct http_plan *http, struct buf *out,
                          struct err *err) MUST_CHECK;

#endif
