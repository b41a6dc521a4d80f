/* Any bytes as YAML: no crash, no endless work; what is accepted has paths that can be printed. */
#include <string.h>

#include "edge/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct doc *d)
{
    auto_buf struct buf path = BUF_INIT(4096);

    if (d->kind == DOC_SCALAR && !d->text)
        abort();
    for (size_t i = 0; i < d->n_items && i < 64; i++) {
        if (d->items[i]->parent != d)
            abort();
        if (d->kind == DOC_MAP && doc_get(d, d->items[i]->key) != d->items[i])
            abort();
        buf_clear(&path);
        doc_path(d->items[i], &path);
        if (!path.len && !buf_failed(&path))
            abort();
        walk(d->items[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct doc *doc = NULL;
    struct diag diag;

    diag_init(&diag);
    if (yaml_load("fuzz.yaml", (const char *)data, size, arena, &diag, &doc) == 0)
        walk(doc);
    else if (!diag.n || !diag.text.len)
        abort();
    diag_done(&diag);
    arena_free(arena);
    return 0;
}
