/* Environment variables inside a plan: ${NAME} and ${NAME:-default}, nothing else of a shell.
 * "$${" is a "${" that stays. Values are never shown: messages get the name back in their place. */
#ifndef BASE_SUBST_H
#define BASE_SUBST_H

#include "base/diag.h"
#include "base/doc.h"

#define SUBST_VALUE_MAX ((size_t)64 << 10) /* of one variable */
#define SUBST_TEXT_MAX ((size_t)1 << 20)   /* of one value of the plan, filled in */

typedef const char *subst_lookup_fn(const char *name); /* getenv, but for tests */

struct subst {
    subst_lookup_fn *lookup;
    struct subst_used { /* in the arena */
        const char *name, *value;
    } * used;
    size_t n_used;
};

/* Replaces in every value below `root` (never in keys). Unknown variables and malformed places
 * become mistakes that name them. */
void subst_doc(struct subst *s, struct arena *arena, struct doc *root, struct diag *diag);
/* Puts ${NAME} back wherever a text of messages shows the value of a variable, or its beginning. */
void subst_hide(const struct subst *s, struct buf *text);

#endif
