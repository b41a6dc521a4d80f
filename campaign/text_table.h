/* Tables for a terminal: aligned columns that fit a width. Columns of less importance leave first;
 * then the first column is cut. */
#ifndef CAMPAIGN_TEXT_TABLE_H
#define CAMPAIGN_TEXT_TABLE_H

#include "base/mem.h"

#define TEXT_COLS_MAX 12

struct text_col {
    const char *title;
    bool left;     /* aligned to the left; the first column always is */
    unsigned drop; /* the highest leaves first; 0 stays */
};

struct text_table {
    const struct text_col *cols;
    size_t n_cols;
    char **cells; /* row by row */
    const char **colours;
    size_t n_cells;
};

void text_table_init(struct text_table *t, const struct text_col *cols, size_t n_cols);
void text_table_done(struct text_table *t);
#define auto_table __attribute__((cleanup(text_table_done)))
/* The next cell; the text is copied and made harmless. `colour` is an escape sequence or NULL and
 * must outlive the table. */
void text_table_add(struct text_table *t, const char *text, const char *colour);
/* Each line begins with `indent` blanks. Titles are dimmed when `colour`. */
void text_table_print(const struct text_table *t, unsigned indent, unsigned width, bool colour,
                      struct buf *out);

#endif
