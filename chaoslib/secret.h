/* Memory for what must reach neither a file nor a core dump: the environment of a process that is
 * started again. Left out of dumps, and overwritten before it is given back. Inside chaoslib only.
 */
#ifndef CHAOSLIB_SECRET_H
#define CHAOSLIB_SECRET_H

#include "base/defs.h"

/* Zeroed, with one byte more than asked for. NULL when there is no memory. */
char *secret_new(size_t len);
/* NULL is nothing; `len` is what was asked for. */
void secret_free(char *secret, size_t len);

#endif
