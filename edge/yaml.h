/* YAML text to document (libyaml). Anchors, aliases and merge keys (<<) work. Refused, each by a
 * named limit: size, depth, number of nodes (alias bombs included, aliases count each time),
 * number of anchors, duplicate keys, bad UTF-8, tags other than the core ones, several documents in
 * one file. */
#ifndef EDGE_YAML_H
#define EDGE_YAML_H

#include "base/diag.h"
#include "base/doc.h"

#define YAML_SIZE_MAX ((size_t)1 << 20)
#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 100000
#define YAML_ANCHORS_MAX 1000

/* `name` is what messages call the source. Returns 0, or -EINVAL with the mistakes in `diag`. An
 * empty text gives DOC_NULL. JSON is YAML, so this reads JSON plans too. */
int yaml_load(const char *name, const char *text, size_t len, struct arena *arena,
              struct diag *diag, struct doc **ret) MUST_CHECK;

#endif
