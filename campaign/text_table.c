/* See text_table.h. */
#include "campaign/text_table.h"

#include <string.h>

#include "campaign/report_fmt.h"

#define GAP 2
#define FIRST_MIN 12

void text_table_init(struct text_table *t, const struct text_col *cols, size_t n_cols)
{
    *t = (struct text_table){ .cols = cols, .n_cols = MIN(n_cols, TEXT_COLS_MAX) };
}

void text_table_done(struct text_table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->colours);
}

void text_table_add(struct text_table *t, const char *text, const char *colour)
{
    auto_buf struct buf safe = BUF_INIT((size_t)64 << 10);

    text_plain(&safe, text);
    if ((t->n_cells & (t->n_cells - 1)) == 0) {
        size_t room = t->n_cells ? 2 * t->n_cells : 1;
        t->cells = xrealloc(t->cells, room, sizeof(*t->cells));
        t->colours = xrealloc(t->colours, room, sizeof(*t->colours));
    }
    t->colours[t->n_cells] = colour;
    t->cells[t->n_cells++] = xstrdup(buf_str(&safe));
}

struct layout {
    size_t width[TEXT_COLS_MAX];
    bool shown[TEXT_COLS_MAX];
};

static size_t total_width(const struct text_table *t, const struct layout *l)
{
    size_t sum = 0;

    for (size_t c = 0; c < t->n_cols; c++)
        if (l->shown[c])
            sum += l->width[c] + (c ? GAP : 0);
    return sum;
}

/* The column that leaves next, or 0 when all that are left stay. */
static size_t least_important(const struct text_table *t, const struct layout *l)
{
    size_t least = 0;

    for (size_t c = 1; c < t->n_cols; c++)
        if (l->shown[c] && t->cols[c].drop > t->cols[least].drop)
            least = c;
    return t->cols[least].drop ? least : 0;
}

static void lay_out(const struct text_table *t, size_t width, struct layout *l)
{
    for (size_t c = 0; c < t->n_cols; c++) {
        l->shown[c] = true;
        l->width[c] = text_width(t->cols[c].title);
    }
    for (size_t i = 0; i < t->n_cells; i++)
        l->width[i % t->n_cols] = MAX(l->width[i % t->n_cols], text_width(t->cells[i]));
    size_t first = l->width[0];
    l->width[0] = MIN(first, FIRST_MIN);
    while (total_width(t, l) > width && least_important(t, l))
        l->shown[least_important(t, l)] = false;
    size_t rest = total_width(t, l);
    if (rest < width)
        l->width[0] = MIN(first, l->width[0] + width - rest);
}

static void pad(struct buf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_addc(out, ' ');
}

static void print_cell(const struct text_table *t, const struct layout *l, size_t c,
                       const char *text, struct buf *out)
{
    auto_buf struct buf fit = BUF_INIT((size_t)64 << 10);
    bool left = c == 0 || t->cols[c].left;

    text_fit(&fit, text, l->width[c]);
    size_t missing = l->width[c] - MIN(l->width[c], text_width(buf_str(&fit)));
    if (!left)
        pad(out, missing);
    buf_adds(out, buf_str(&fit));
    if (left && c + 1 < t->n_cols)
        pad(out, missing);
}

void text_table_print(const struct text_table *t, unsigned indent, unsigned width, bool colour,
                      struct buf *out)
{
    struct layout l = { 0 };

    if (t->n_cols == 0)
        return;
    lay_out(t, width > indent ? width - indent : 1, &l);
    for (size_t i = 0; i < t->n_cols + t->n_cells; i++) {
        size_t c = i % t->n_cols;
        bool is_title = i < t->n_cols;
        const char *paint = is_title ? "\033[2m" : t->colours[i - t->n_cols];
        if (c == 0)
            pad(out, indent);
        if (l.shown[c]) {
            pad(out, c ? GAP : 0);
            if (colour && paint)
                buf_adds(out, paint);
            print_cell(t, &l, c, is_title ? t->cols[c].title : t->cells[i - t->n_cols], out);
            if (colour && paint)
                buf_adds(out, "\033[0m");
        }
        if (c + 1 == t->n_cols)
            buf_addc(out, '\n');
    }
}
