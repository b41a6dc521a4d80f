/* Where reports go: whole files, written beside and renamed, so that a reader never sees half of
 * one. */
#ifndef CAMPAIGN_REPORT_FILE_H
#define CAMPAIGN_REPORT_FILE_H

#include "base/err.h"

/* Makes the folders above `path`, as mkdir -p does. */
int report_make_parent(const char *path, struct err *err) MUST_CHECK;
int report_make_dir(const char *dir, struct err *err) MUST_CHECK;

#endif
