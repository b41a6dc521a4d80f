/* One {{slot}} of a template: what it is, and what it writes. Used by template.c alone. */
#ifndef RUNNER_SLOT_H
#define RUNNER_SLOT_H

#include "runner/template.h"

#define SLOT_CHOICES_MAX 100
#define SLOT_STRING_MAX 4096

enum slot_kind {
    SLOT_TEXT,
    SLOT_VAR,
    SLOT_RANDOM_INT,
    SLOT_RANDOM_STRING,
    SLOT_RANDOM_CHOICE,
    SLOT_RANDOM_UUID,
    SLOT_USER_ID,
    SLOT_USER_ITERATION,
    SLOT_TIME_UNIX,
    SLOT_TIME_UNIX_MS,
    SLOT_TIME_ISO,
    SLOT_KIND_MAX
};

enum slot_encoding { SLOT_PLAIN, SLOT_URL, SLOT_JSON };

struct slot {
    enum slot_kind kind;
    enum slot_encoding encoding;
    const char *text; /* SLOT_TEXT */
    size_t len;
    int64_t lo, hi; /* random.int; random.string: hi is the length */
    size_t var;     /* SLOT_VAR */
    const char **choices;
    size_t n_choices;
};

struct slot_source {
    const char *text; /* between the braces */
    size_t len;
    const struct var_names *names;
};

/* -EINVAL with a sentence; -ENOMEM when the arena is full. */
int slot_compile(struct arena *a, const struct slot_source *src, struct slot *ret,
                 struct err *err) MUST_CHECK;
/* The next {{ in [s, end), or NULL; the }} that ends the slot whose inside begins at s, or NULL. */
const char *slot_open(const char *s, const char *end);
const char *slot_close(const char *s, const char *end);
/* Text made safe for a form field, or for the inside of a JSON string. */
void slot_add_url(struct buf *out, const char *s, size_t len);
void slot_add_json(struct buf *out, const char *s, size_t len);
void slot_render(const struct slot *s, const struct render_ctx *ctx, struct buf *out);

#endif
