/* Completion of the command line, as a script for a shell, from the tables. */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include "base/mem.h"

/* "bash", "zsh" or "fish"; false for another word. */
bool complete_script(const char *shell, struct buf *out);

#endif
