/* A document back to YAML, for reports: what was asked for, so that it can be asked for again.
 * Texts of keys that name a secret are masked, and so is the user part of URLs; ${NAME} stays as it
 * is written. */
#ifndef BASE_DOC_YAML_H
#define BASE_DOC_YAML_H

#include "base/doc.h"

#define DOC_YAML_MASK "'***'"
#define DOC_YAML_DEPTH_MAX 64 /* deeper parts are left out */

/* Block style, two blanks a level. What it writes reads back as the same tree, but for what is
 * masked. */
void doc_to_yaml(const struct doc *root, struct buf *out);
/* Authorization, Cookie, token, password and the like; but not password_file or token_env, which
 * only say where. */
bool key_names_a_secret(const char *key);

#endif
