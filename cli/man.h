/* chaos-load(1), printed from the verbs. */
#ifndef CLI_MAN_H
#define CLI_MAN_H

#include "base/mem.h"

void man_page(struct buf *out);

#endif
