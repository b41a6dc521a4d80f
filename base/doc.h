/* A document: the neutral tree that a YAML file, a JSON file and a row of command-line flags all
 * become, so that one set of tables reads all three. Each node knows where it came from.
 *
 * All nodes and texts live in one arena. Immutable once built, but for doc_map_put/doc_list_add,
 * with which flags override a plan. */
#ifndef BASE_DOC_H
#define BASE_DOC_H

#include "base/mem.h"

enum doc_kind { DOC_NULL, DOC_SCALAR, DOC_MAP, DOC_LIST };

struct doc {
    enum doc_kind kind;
    bool quoted;      /* a scalar in quotes: always a string, never a number */
    const char *text; /* DOC_SCALAR: NUL-terminated UTF-8 without NUL inside */
    const char *key;  /* name under which the parent map holds it; NULL in a list */
    const struct doc *parent;
    const char *source; /* "plan.yaml", or "--fault" */
    uint32_t line, col; /* of the value, 1-based; 0 for flags */
    uint32_t key_line, key_col;
    struct doc **items; /* map values or list items, in order of appearance */
    size_t n_items;
};

struct doc *doc_new(struct arena *a, enum doc_kind kind, const char *source);
struct doc *doc_scalar(struct arena *a, const char *source, const char *text);
/* Adds or replaces. The key is copied into the arena. */
void doc_map_put(struct arena *a, struct doc *map, const char *key, struct doc *value);
void doc_list_add(struct arena *a, struct doc *list, struct doc *value);
/* NULL means absent. Any doc may be NULL or of another kind: the answer is then NULL. */
const struct doc *doc_get(const struct doc *map, const char *key);
struct doc *doc_get_mutable(struct doc *map, const char *key);
/* "faults[1].latency.delay"; "" for the root. */
void doc_path(const struct doc *d, struct buf *out);
const char *doc_kind_name(enum doc_kind kind); /* "a list", "a map", "a value", "nothing" */

#endif
