/* junit.xml: one test case per threshold, and one that says whether the run itself was valid, so
 * that a CI server shows a wrong measurement as an error and not as a failure of the target. */
#include <stdio.h>

#include "base/clock.h"
#include "campaign/observer.h"
#include "campaign/report_fmt.h"

static bool run_is_valid(const struct result *r)
{
    return r->complete && (r->verdict == VERDICT_PASS || r->verdict == VERDICT_FAIL);
}

static void put_attribute(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, " %s=\"", name);
    text_xml(out, value);
    buf_addc(out, '"');
}

static void put_validity(const struct result *r, struct buf *out)
{
    buf_adds(out, "    <testcase classname=\"chaos-load.run\" name=\"the run is valid\"");
    buf_addf(out, " time=\"%.3f\"", (double)r->duration_ns / (double)NS_PER_SEC);
    if (run_is_valid(r)) {
        buf_adds(out, "/>\n");
        return;
    }
    buf_adds(out, ">\n      <error");
    put_attribute(out, "type", verdict_name(r->verdict));
    put_attribute(out, "message", r->reason);
    buf_adds(out, "/>\n    </testcase>\n");
}

static void put_threshold(const struct result_threshold *t, struct buf *out)
{
    char value[FMT_LEN], limit[FMT_LEN], when[FMT_LEN];

    buf_adds(out, "    <testcase classname=\"chaos-load.threshold\"");
    put_attribute(out, "name", t->expression);
    buf_adds(out, " time=\"0\"");
    if (t->ok) {
        buf_adds(out, "/>\n");
        return;
    }
    auto_free char *message =
        xasprintf("value %s, limit %s", t->has_value ? fmt_measured(t, value) : "none",
                  fmt_value(t->limit, t->unit, limit));
    buf_adds(out, ">\n      <failure type=\"threshold\"");
    put_attribute(out, "message", message);
    buf_addc(out, '>');
    text_xml(out, t->expression);
    buf_addf(out, ": %s; first broken at %s", message, fmt_instant(t->first_broken_ns, when));
    buf_adds(out, "</failure>\n    </testcase>\n");
}

void report_junit(const struct result *r, struct buf *out)
{
    char started[CLOCK_ISO_LEN];
    unsigned failed = 0, errors = run_is_valid(r) ? 0 : 1;

    for (size_t i = 0; i < r->n_thresholds; i++)
        failed += !r->thresholds[i].ok;
    clock_iso(r->started_wall_ns, started);
    buf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite");
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);
    run_title(r, &name);
    put_attribute(out, "name", buf_str(&name));
    buf_addf(out, " tests=\"%zu\" failures=\"%u\" errors=\"%u\" skipped=\"0\" time=\"%.3f\"",
             r->n_thresholds + 1, failed, errors, (double)r->duration_ns / (double)NS_PER_SEC);
    buf_addf(out, " timestamp=\"%.19s\">\n    <properties>\n", started);
    buf_addf(out, "      <property name=\"seed\" value=\"%llu\"/>\n      <property name=\"target\"",
             (unsigned long long)r->seed);
    put_attribute(out, "value", r->target);
    buf_adds(out, "/>\n    </properties>\n");
    put_validity(r, out);
    for (size_t i = 0; i < r->n_thresholds; i++)
        put_threshold(&r->thresholds[i], out);
    buf_adds(out, "  </testsuite>\n</testsuites>\n");
}
