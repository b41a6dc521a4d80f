/* Thresholds as they stand in a plan: a text, or a map when it shall abort the run. A mistake is
 * shown at its column inside the text. */
#include <string.h>

#include "campaign/threshold_names.h"

struct threshold_row {
    const char *on, *is;
    bool abort;
    uint64_t delay_ns;
};

static const struct param threshold_rows[] = {
    PARAM(STR, "on", struct threshold_row, on, .type_text = "metric or metric{endpoint}",
          .help = "what is looked at, when 'is' does not say it: response_time{GET /}"),
    PARAM(STR, "is", struct threshold_row, is, .required = true, .type_text = "condition",
          .help = "what must hold: p(99) < 2s over 10s"),
    PARAM(BOOL, "abort", struct threshold_row, abort, .def = "false", .aliases = "abortOnFail",
          .help = "stop load and faults at once when it does not hold"),
    PARAM(DURATION, "delay", struct threshold_row, delay_ns, .def = "0s",
          .aliases = "delayAbortEval", .help = "with abort: not before so much time has passed"),
};
const struct param_table threshold_table = { "thresholds[]", threshold_rows,
                                             ARRAY_LEN(threshold_rows), NULL };

/* The message with the column inside the text, where the source shows the text as it is. */
static void say(const struct param_ctx *ctx, const struct doc *d, size_t bad, const char *msg)
{
    auto_buf struct buf path = BUF_INIT(ERR_MSG_MAX);

    if (!d->line || strchr(d->text, '\n')) {
        diag_add(ctx->diag, d, "'%.100s': %s", d->text, msg);
        return;
    }
    doc_path(d, &path);
    diag_add_at(ctx->diag, d->source, d->line, d->col + d->quoted + (uint32_t)bad, "%s%s%s",
                buf_str(&path), path.len ? ": " : "", msg);
}

static void load_text(const struct param_ctx *ctx, const struct doc *d, struct threshold *ret)
{
    struct err err = { 0 };
    size_t bad;

    if (threshold_parse_at(d->text, ctx->arena, ret, &bad, &err) < 0)
        say(ctx, d, bad, err.msg);
}

static void load_map(const struct param_ctx *ctx, const struct doc *d, struct threshold *ret)
{
    struct threshold_row row = { 0 };
    const struct doc *is = doc_get(d, "is"), *on = doc_get(d, "on");
    struct err err = { 0 };
    size_t bad, skip = 0;

    if (param_load(ctx, &threshold_table, d, &row, NULL) > 0)
        return;
    auto_free char *text = row.on ? xasprintf("%s: %s", row.on, row.is) : xstrdup(row.is);
    if (row.on)
        skip = strlen(row.on) + 2;
    if (threshold_parse_at(text, ctx->arena, ret, &bad, &err) < 0) {
        if (bad < skip)
            say(ctx, on, bad, err.msg);
        else
            say(ctx, is, bad - skip, err.msg);
        return;
    }
    if (row.delay_ns && !row.abort)
        diag_add_key(ctx->diag, doc_get(d, "delay"), "has a meaning only with abort: true");
    ret->abort = row.abort;
    ret->delay_abort_ns = row.delay_ns;
}

void threshold_load(const struct param_ctx *ctx, const struct doc *d, struct threshold *ret)
{
    if (d->kind == DOC_SCALAR)
        load_text(ctx, d, ret);
    else if (d->kind == DOC_MAP)
        load_map(ctx, d, ret);
    else
        diag_add(ctx->diag, d, "expected a text such as 'response_time: p(95) < 500ms', not %s",
                 doc_kind_name(d->kind));
}
