/* YAML text to load plan: either mistakes with a place, or a plan whose numbers hold together and
 * whose requests can be built and rendered. */
#include <string.h>

#include "edge/yaml.h"
#include "runner/plan.h"
#include "runner/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render_all(const struct load_plan *p)
{
    struct request_forms *forms = request_forms_new(p, NULL);
    struct request_text *text = xcalloc(1, sizeof(*text));
    struct cookies cookies = { 0 };
    struct buf out = BUF_INIT(0);
    struct rng rng;

    rng_seed(&rng, 1, 1);
    cookies_store(&cookies, "h", "/", "a=1", 3, 1);
    for (uint32_t i = 0; forms && i < p->n_forms && i < 50; i++) {
        const struct task *t = p->forms[i];
        struct vars vars = { 0 };
        struct render_ctx ctx = {
            .rng = &rng, .vars = &vars, .cookies = &cookies, .user_id = 1, .wall_ns = NS_PER_SEC
        };

        request_vars_init(forms, t->user_class, &ctx, &vars);
        if (request_render(request_form_of(forms, t), &ctx, &out, text, NULL) == 0 &&
            !memmem(text->bytes, text->len, "\r\n\r\n", 4))
            abort();
        vars_done(&vars);
    }
    cookies_done(&cookies);
    buf_done(&out);
    free(text);
    request_forms_free(forms);
}

static void check(const struct load_plan *p)
{
    if (!p->target || p->n_classes == 0 || p->n_parts == 0 || p->n_series > p->n_forms)
        abort();
    for (uint32_t i = 0; i < p->n_forms; i++)
        if (p->forms[i]->form != i || p->forms[i]->index >= p->n_series)
            abort();
    for (size_t i = 0; i < p->n_parts; i++)
        for (unsigned t = 0; t < 100; t += 7)
            if (!(load_part_value_at(&p->parts[i], t * NS_PER_SEC) >= 0))
                abort();
    render_all(p);
}

/* A fuzzer must not read this machine's files or wait for its devices. */
static bool names_a_file(const uint8_t *data, size_t size)
{
    return memmem(data, size, "file", 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct doc *root = NULL;
    struct diag diag;

    diag_init(&diag);
    if (size < 65536 && !names_a_file(data, size) &&
        yaml_load("plan.yaml", (const char *)data, size, arena, &diag, &root) == 0) {
        struct load_plan plan;

        load_plan_read(&(struct param_ctx){ .arena = arena, .diag = &diag }, root, &plan);
        if (diag.n == 0)
            check(&plan);
    }
    diag_done(&diag);
    arena_free(arena);
    return 0;
}
