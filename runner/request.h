/* A task as bytes. At start each request task and step becomes a form: method, path, Host, merged
 * headers (plan < class < task), body. A form without slots is one constant block shared by all
 * users and threads; sending it costs nothing. One with slots, or for a user with cookies, is
 * rendered into the worker's buffer.
 *
 * The life of one request, in user.c:
 *
 *     request_render(f, &ctx, &w->buf, &r);            -> r.bytes, r.len, r.base_url
 *     client_send(...)                                 (f->want_body, f->is_head, f->timeout_ns)
 *     in the callback, when http.cookies:  cookies_store_head(&u->cookies, r.host, r.path,
 * a->head...) request_redirect(f, &r, a, ...)   until it returns 1, at most
 * max_redirects expect_check(f->expect, a, ns, why); extract_apply(f->extract, a, &u->vars, why);
 */
#ifndef RUNNER_REQUEST_H
#define RUNNER_REQUEST_H

#include "runner/cookies.h"
#include "runner/expect.h"
#include "runner/extract.h"
#include "runner/plan.h"
#include "runner/template.h"

#define URL_MAX 8192

struct request_form {
    const struct task *task;
    const char *method;
    const char
        *base_url;    /* "http://host:port", for client_origin: do it once per form and worker */
    bool is_constant; /* bytes are complete: send them as they are unless the user has cookies */
    bool is_head, want_body;
    uint64_t timeout_ns;                /* 0: the plan's */
    const struct expect_form *expect;   /* never NULL */
    const struct extract_form *extract; /* NULL: nothing to extract */
    const char *bytes;                  /* when is_constant */
    size_t len;
    const struct request_parts *parts; /* private */
};

/* A request as it goes out. Texts live in the form or in `out` of request_render until that is
 * changed. */
struct request_text {
    const char *bytes;
    size_t len;
    const char *method;
    const char *base_url; /* the form's own pointer unless the URL was rendered or redirected */
    char host[256];       /* of the URL, without port and brackets: for cookies */
    char path[URL_MAX];   /* path and query as sent */
    bool secure;          /* https */
    char base_text[320];  /* where base_url points to when it is not the form's */
};

struct request_forms; /* all forms of a plan; immutable; threads share it */

/* Reads body files' contents (already in the plan), secrets from files and env (http.basic_auth,
 * http.bearer). -EINVAL, or the errno of a secret's file. */
struct request_forms *request_forms_new(const struct load_plan *plan, struct err *err);
void request_forms_free(struct request_forms *f); /* wipes secrets */
const struct request_form *request_form_of(const struct request_forms *f, const struct task *t);
/* The variables of a class (index in plan->classes). */
const struct var_names *request_var_names(const struct request_forms *f, uint32_t user_class);
/* Sets a new user's variables: each initial value is rendered once. Takes no memory when the class
 * has none. */
void request_vars_init(const struct request_forms *f, uint32_t user_class,
                       const struct render_ctx *ctx, struct vars *vars);

/* True when `f->bytes` can go out as they are: constant, and no cookies to add. The hot path asks
 * this and skips request_render. (ret->host and path are then those of request_constant_text.) */
static inline bool request_is_ready(const struct request_form *f, const struct render_ctx *ctx)
{
    return f->is_constant && (!ctx->cookies || cookies_is_empty(ctx->cookies));
}
/* The constant form as a request_text, prepared at start: for cookies and redirects. */
const struct request_text *request_constant_text(const struct request_form *f);

/* Renders into `out` (cleared first). -EINVAL when the rendered URL is none (a variable that is
 * empty or holds control characters, for example); -EMSGSIZE past a limit. */
int request_render(const struct request_form *f, const struct render_ctx *ctx, struct buf *out,
                   struct request_text *ret, struct err *err) MUST_CHECK;

/* Is the answer a redirect (301 302 303 307 308 with a Location)? 0: the next request is rendered
 * into `out` (301, 302, 303: GET without body, HEAD stays HEAD; 307, 308: as it was; secrets are
 * not sent to another host). 1: no redirect. -EINVAL: a Location that leads nowhere, which is
 * FAIL_REDIRECTS. `from` and `ret` may be the same; `out` must not hold `from`'s bytes' only copy
 * while they are in flight. */
int request_redirect(const struct request_form *f, const struct request_text *from,
                     const struct answer *a, const struct render_ctx *ctx, struct buf *out,
                     struct request_text *ret) MUST_CHECK;

#endif
