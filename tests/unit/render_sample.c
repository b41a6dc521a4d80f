/* Writes all reports of the sample run into a folder: for eyes, and for the tests that open them in
 * a browser or hold them to a schema. */
#include <stdio.h>

#include "campaign/report_locust.h"
#include "sample_result.h"

static int write_rows(const struct sample_run *s, const char *dir, struct err *err)
{
    auto_free char *path = xasprintf("%s/rows.ndjson", dir);
    struct observer *o = rows_observer_new(path, err);

    if (!o)
        return -1;
    int rc = sample_play(s, o, SIZE_MAX, err);
    o->free(o->arg);
    return rc;
}

int main(int argc, char **argv)
{
    struct sample_run s;
    struct err err = { 0 };
    auto_buf struct buf text = BUF_INIT(0);

    if (argc != 2) {
        fprintf(stderr, "usage: render_sample DIR\n");
        return 2;
    }
    sample_init(&s);
    int rc = write_rows(&s, argv[1], &err);
    if (rc == 0)
        rc = report_write_all(s.r, argv[1], &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.msg);
    report_text(s.r, isatty(STDOUT_FILENO), 100, &text);
    fputs(buf_str(&text), stdout);
    sample_done(&s);
    return rc < 0;
}
