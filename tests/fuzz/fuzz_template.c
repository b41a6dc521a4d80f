/* Templates: whatever compiles renders the same twice from the same stream, and what has no slot
 * renders to itself. */
#include <string.h>

#include "runner/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render(const struct template *t, const struct vars *vars, struct buf *out)
{
    struct rng rng;
    struct render_ctx ctx = {
        .rng = &rng, .vars = vars, .user_id = 1, .iteration = 2, .wall_ns = NS_PER_SEC
    };

    rng_seed(&rng, 7, 7);
    template_render(t, &ctx, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names_v[] = { "token", "id" };
    const struct var_names names = { (const char **)(uintptr_t)names_v, NULL, 2 };
    struct arena *arena = arena_new(0);
    struct vars vars = { 0 };
    struct buf one = BUF_INIT(0), two = BUF_INIT(0);
    const struct template *t;

    vars_set(&vars, 2, 0, (const char *)data, strnlen((const char *)data, MIN(size, 100)));
    if (template_compile(arena, (const char *)data, size, &names, &t, NULL) == 0) {
        render(t, &vars, &one);
        render(t, &vars, &two);
        if (one.len != two.len || memcmp(buf_str(&one), buf_str(&two), one.len) != 0)
            abort();
        if (!memmem(data, size, "{{", 2) &&
            (one.len != size || memcmp(buf_str(&one), data, size) != 0))
            abort();
    }
    buf_done(&one);
    buf_done(&two);
    vars_done(&vars);
    arena_free(arena);
    return 0;
}
