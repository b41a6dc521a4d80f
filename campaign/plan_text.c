/* See plan_text.h. Markdown that also reads well as roff: paragraphs, `code`, and lines indented by
 * four blanks. */
#include "campaign/plan_text.h"

#include <string.h>

static const struct {
    const char *what, *text;
} texts[] = {
    { "intro",
      "A plan is one YAML document (JSON is YAML too): whom to load, how much, what to break and "
      "when, and what must hold. `chaos-load init` writes one to start with, `chaos-load validate` "
      "checks one, `chaos-load explain` shows what it would do, `chaos-load run` does it. Options "
      "of "
      "`run` override what a plan says.\n\n"
      "    apiVersion: chaos-load/v1\n"
      "    target: http://127.0.0.1:5001\n"
      "    users:\n"
      "      - think: between(1s, 5s)\n"
      "        tasks:\n"
      "          - {get: /, weight: 3}\n"
      "          - {get: /health, expect: {status: 200}}\n"
      "    load: {users: 100, spawn: 10/s, for: 2m}\n"
      "    faults:\n"
      "      - kill: {process: shop, restart_after: 2s}\n"
      "        at: 30s\n"
      "    thresholds:\n"
      "      - 'errors: rate < 1% in baseline'\n"
      "      - 'recovery_time: max < 5s'\n\n"
      "Times, rates, sizes and shares carry units: `500ms`, `1h30m`, `10/s`, `64KiB`, `1%`. A bare "
      "number is refused where a unit matters. An unknown key is an error. Anchors, aliases and "
      "merge "
      "keys (`<<`) work." },
    { "load",
      "One part, or a list of parts that run at once. Closed load: `{users: 100, spawn: 10/s, for: "
      "2m}`, or `{stages: [...]}`, users that each wait for their answer. Open load: `{arrivals: "
      "{rate: 500/s, for: 1m}}`, iterations that begin on a schedule whether or not earlier ones "
      "are "
      "done." },
    { "users[].tasks[]", "A task is one request (`get: /items`, or `request: \"PURGE /x\"`), or a "
                         "sequence of `steps`." },
    { "processes[]",
      "Exactly one of `run`, `pid`, `pidfile`, `command`. A fault may also name a "
      "running program that is not listed; it must then be the only one of that name." },
    { "proxies[]", "A fault that names a proxy which is not listed here puts it before the target; "
                   "there can be one such name." },
    { "faults[]",
      "Each item is one fault: the key of its kind with its parameters, and beside it when it "
      "happens. A kind that is held needs a `duration`; one that happens at once has none.\n\n"
      "    - latency: {proxy: front, delay: 200ms, jitter: 50ms}\n"
      "      at: 60s\n"
      "      duration: 20s" },
    { "thresholds[]", "A text, or a map when it shall abort the run:\n\n"
                      "    [metric[{endpoint}]: ] aggregate op value [in <phase> | during <fault>] "
                      "[over <window>]\n\n"
                      "    - 'errors: rate < 1% in baseline'\n"
                      "    - 'response_time{GET /}: p(99) < 2s over 10s'\n"
                      "    - 'response_time: p(95) < baseline + 20% in recovery'\n"
                      "    - 'errors{class:refused}: count == 0 in baseline'\n"
                      "    - {on: errors, is: 'rate < 50% over 5s', abort: true, delay: 10s}\n\n"
                      "Phases are `warm-up`, `baseline`, `inject`, `recovery`, `cool-down`, or the "
                      "full name of one in "
                      "quotes (\"recovery after kill shop\"). `over` holds for every window of "
                      "that length. `baseline` "
                      "compares with the same figure in the baseline: `baseline + 20%`, `baseline "
                      "+ 50ms`, `baseline * "
                      "2`; for shares `baseline + 1%` means percentage points. A threshold that "
                      "measured nothing is "
                      "not met. k6's shape, a map of metric to conditions, is understood too:\n\n"
                      "    thresholds:\n"
                      "      http_req_duration: ['p(95) < 500ms', 'p(99) < 1s']\n"
                      "      http_req_failed: 'rate < 1%'" },
    { "metrics",
      "`p(N)`, `avg`, `min`, `max` and `med` are times (`500ms`); `rate` is a share (`1%`) "
      "or, for requests, per second (`100/s`); `count` is a bare number. Times are those of "
      "successes; a timeout counts as at least as long as it was waited for." },
    { "slots",
      "URLs, bodies, headers and form fields may hold slots, filled anew for each request. Random "
      "ones follow the seed.\n\n"
      "    {{random.int(1,1000)}}    a whole number, both ends included\n"
      "    {{random.string(8)}}      letters and digits\n"
      "    {{random.choice(a,b,c)}}  one of them\n"
      "    {{random.uuid}}\n"
      "    {{user.id}} {{user.iteration}}\n"
      "    {{time.unix}} {{time.unix_ms}} {{time.iso}}\n"
      "    {{name}}                  a variable, or a value extracted from an answer\n"
      "    {{'{{'}}                  the two characters themselves" },
    { "variables",
      "`${NAME}` is replaced by the environment variable, `${NAME:-text}` by the text when the "
      "variable is unset or empty, in every value of a plan and of `--header`, `--task` and the "
      "other "
      "options. `$${` is a `${` that stays. An unset variable without a default is an error. "
      "Messages "
      "show the name, never the value." },
    { "limits",
      "A plan is at most 1 MiB, 32 levels deep, with 100,000 nodes (aliases counted each time); it "
      "has at most 256 faults that happen 400 times in all, 256 thresholds, 1,000 user classes, "
      "1,024 "
      "endpoints, 1,000,000 users, and 366 days. What is larger is refused by name." },
};

const char *plan_text_for(const char *what)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].what, what) == 0)
            return texts[i].text;
    return NULL;
}

static char *choices_text(const char *const *choices)
{
    auto_buf struct buf out = BUF_INIT(4096);

    for (size_t i = 0; choices[i]; i++)
        buf_addf(&out, "%s%s", i ? ", " : "", choices[i]);
    return buf_take(&out);
}

void plan_row_text(const struct param *row, struct plan_row_text *ret)
{
    *ret = (struct plan_row_text){ .name = row->name,
                                   .type =
                                       row->type_text ? row->type_text : param_type_name(row->type),
                                   .def = row->def        ? row->def
                                          : row->required ? "required"
                                                          : "",
                                   .help = row->help ? row->help : "",
                                   .also = row->aliases };
    if (row->choices && !row->type_text)
        ret->type = ret->owned = choices_text(row->choices);
}

void plan_row_text_done(struct plan_row_text *t)
{
    free(t->owned);
    *t = (struct plan_row_text){ 0 };
}
