/* Parameters are rows. One table says a key's name, type, default, bounds, where it goes and what
 * it means; from it come the reading of plans, flags and env, the help, the man page, docs/PLAN.md,
 * the JSON Schema and completion.
 *
 *     static const struct param latency_params[] = {
 *         PARAM(DURATION, "delay", struct latency, delay_ns, .required = true, .help = "time added
 * to each response"), PARAM(PERCENT,  "percent", struct latency, percent, .def = "100%", .help =
 * "share of requests"),
 *     };
 */
#ifndef BASE_PARAM_H
#define BASE_PARAM_H

#include "base/diag.h"
#include "base/doc.h"

enum param_type {
    PARAM_STR,       /* const char *            in the arena */
    PARAM_BOOL,      /* bool */
    PARAM_INT,       /* int64_t                 lo..hi */
    PARAM_NUM,       /* double                  lo..hi */
    PARAM_DURATION,  /* uint64_t ns */
    PARAM_RATE,      /* double per second */
    PARAM_SIZE,      /* uint64_t bytes */
    PARAM_PERCENT,   /* double fraction 0..1 */
    PARAM_BANDWIDTH, /* uint64_t bit/s */
    PARAM_ENUM,      /* int: index into .choices */
    PARAM_STRS,      /* struct strs             a list of texts, or one text */
    PARAM_PAIRS,     /* struct pairs            a map of text to text */
    PARAM_TABLE,     /* the struct itself, read by .table */
    PARAM_LIST, /* struct items            a list of maps, each read by .table into .item_size bytes
                 */
    PARAM_CUSTOM, /* whatever .load makes of it */
    PARAM_TYPE_MAX
};

struct strs {
    const char **v;
    size_t n;
};

struct pairs {
    const char **keys;
    const char **values;
    size_t n;
};

struct items {
    void *v; /* n structs of the row's item_size */
    size_t n;
};

struct param_ctx {
    struct arena *arena;
    struct diag *diag;
    bool from_flags; /* bare seconds are allowed for durations, bare per-second for rates */
};

struct param {
    const char *name;
    enum param_type type;
    size_t offset;
    const char *help;
    const char *def; /* as a user would write it; NULL: zero */
    bool required;
    bool secret;                /* never printed, never in a result */
    double lo, hi;              /* bounds when hi > lo; durations in seconds */
    const char *const *choices; /* PARAM_ENUM: NULL-terminated; PARAM_STR: NULL-terminated allowed
                                   texts, optional */
    const char *aliases;        /* other accepted names, comma separated: "users-per-second,rate" */
    const char *type_text;      /* what docs call the type, when "duration" etc. does not do:
                                   "between(1s, 5s)" */
    const struct param_table *table; /* PARAM_TABLE, PARAM_LIST */
    size_t item_size;                /* PARAM_LIST */
    /* PARAM_CUSTOM: reads `d` into `field`; on a mistake it adds to ctx->diag and returns. d is
     * never NULL. */
    void (*load)(const struct param_ctx *ctx, const struct doc *d, void *field);
    const char *schema_json; /* PARAM_CUSTOM: its JSON Schema, as JSON text; NULL: anything */
};

struct param_table {
    const char *title; /* for docs: "faults[].latency" */
    const struct param *rows;
    size_t n;
    /* After all rows were read without a mistake: cross-checks. May be NULL. */
    void (*check)(const struct param_ctx *ctx, const struct doc *d, void *base);
};

#define PARAM(type_, name_, struct_, field_, ...)                                                \
    {                                                                                            \
        .name = (name_), .type = PARAM_##type_, .offset = offsetof(struct_, field_), __VA_ARGS__ \
    }

/* Sets defaults, then reads `map` (NULL: defaults only) into `base`. Unknown keys, wrong types,
 * values out of bounds and missing required keys become diagnostics, as many as there are. `ignore`
 * (may be NULL) is a NULL-terminated list of keys that someone else reads from the same map.
 * Returns the number of mistakes. */
unsigned param_load(const struct param_ctx *ctx, const struct param_table *t, const struct doc *map,
                    void *base, const char *const *ignore);
/* One scalar into one field, as param_load would. */
void param_load_one(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field);
const char *param_type_name(enum param_type type); /* "duration", "percent", ... */

#endif
