/* Recording what users did, for comparing two runs. Records go to a temporary file because a trace
 * may be larger than memory should be; sorting happens once, when the load is over. */
#include "runner/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct trace {
    FILE *file;
    uint64_t n;
    int code; /* errno of the first write that failed */
};

struct trace *trace_new(struct err *err)
{
    struct trace *t = xcalloc(1, sizeof *t);

    t->file = tmpfile();
    if (!t->file) {
        err_sys(err, ERR_PREPARE, errno, "temporary file for --trace");
        free(t);
        return NULL;
    }
    return t;
}

void trace_add(struct trace *t, const struct trace_line *line)
{
    t->n++;
    if (t->n > TRACE_MAX || t->code)
        return;
    if (fwrite(line, sizeof *line, 1, t->file) != 1)
        t->code = errno ? errno : EIO;
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    err_ignore(fclose(t->file), "a temporary file that nobody reads any more");
    free(t);
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_lines(const void *pa, const void *pb)
{
    const struct trace_line *a = pa, *b = pb;
    int order = compare_u64(a->part, b->part);

    order = order ? order : compare_u64(a->number, b->number);
    order = order ? order : compare_u64(a->life, b->life);
    return order ? order : compare_u64(a->iteration, b->iteration);
}

static int read_lines(struct trace *t, struct trace_line *into, size_t n, struct err *err)
{
    if (t->code == 0 && fflush(t->file) != 0)
        t->code = errno;
    if (t->code)
        return err_sys(err, ERR_GENERIC, t->code, "temporary file of --trace");
    rewind(t->file);
    if (fread(into, sizeof *into, n, t->file) != n)
        return err_sys(err, ERR_GENERIC, EIO, "temporary file of --trace");
    return 0;
}

static void print_line(FILE *out, const struct load_plan *plan, const struct trace_line *l)
{
    const struct load_plan_part *part = &plan->parts[l->part];
    const char *name = plan->classes[l->task->user_class].name;

    if (part->kind == LOAD_OPEN)
        fprintf(out, "%u\tarrival\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\n", l->part, l->number,
                l->at_ns, name, l->task->name);
    else
        fprintf(out, "%u\tuser\t%" PRIu64 "\t%u\t%" PRIu64 "\t%s\t%s\t%" PRIu64 "\n", l->part,
                l->number, l->life, l->iteration, name, l->task->name, l->think_ns);
}

static int print_lines(const char *path, const struct load_plan *plan,
                       const struct trace_line *lines, size_t n, uint64_t all)
{
    FILE *out = fopen(path, "we");

    if (!out)
        return -errno;
    fprintf(out, "# part\tuser\tnumber\tlife\titeration\tclass\ttask\tthink_ns\n"
                 "# part\tarrival\tnumber\tat_ns\tclass\ttask\n");
    for (size_t i = 0; i < n; i++)
        print_line(out, plan, &lines[i]);
    if (all > n)
        fprintf(out, "# %" PRIu64 " more lines were left out\n", all - n);

    int failed = ferror(out);

    if (fclose(out) != 0 || failed)
        return -EIO;
    return 0;
}

int trace_write(struct trace *const *traces, size_t n, const struct load_plan *plan,
                const char *path, struct err *err)
{
    uint64_t all = 0;
    size_t kept = 0, at = 0;

    for (size_t i = 0; i < n; i++) {
        all += traces[i]->n;
        kept += (size_t)MIN(traces[i]->n, TRACE_MAX);
    }

    auto_free struct trace_line *lines = calloc(MAX(kept, 1), sizeof *lines);

    if (!lines)
        return err_sys(err, ERR_GENERIC, ENOMEM, "sort the trace of %zu lines", kept);
    for (size_t i = 0; i < n; i++) {
        size_t mine = (size_t)MIN(traces[i]->n, TRACE_MAX);

        if (read_lines(traces[i], lines + at, mine, err) < 0)
            return err_wrap(err, "--trace");
        at += mine;
    }
    qsort(lines, kept, sizeof *lines, compare_lines);

    int rc = print_lines(path, plan, lines, MIN(kept, (size_t)TRACE_MAX), all);

    return rc < 0 ? err_sys(err, ERR_GENERIC, -rc, "write the trace to '%s'", path) : 0;
}
