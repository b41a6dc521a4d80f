/* The journal's inner side: how a file is locked, read and written. Inside chaoslib only.
 *
 * Two locks, that do not see each other: flock says that the writer lives; an open-file-description
 * lock is taken for each append, and for the whole of a recovery, so that the writer, the guardian
 * and any number of `recover` do not step on each other. */
#ifndef CHAOSLIB_JOURNAL_FILE_H
#define CHAOSLIB_JOURNAL_FILE_H

#include "chaoslib/journal.h"

#define JOURNAL_FILE_MAX ((size_t)64 << 20)
#define JOURNAL_SUFFIX ".journal"
#define JOURNAL_NEW_SUFFIX ".new" /* of one that has no name yet, where a file must have one */

/* Like journal_write, but not synced: for marks whose loss costs nothing. */
int journal_note(struct journal *j, const struct json *record, struct err *err) MUST_CHECK;

/* The same for a record's last one. When it cannot be written (disk full), it is remembered, so
 * that journal_close takes the record for closed. */
int journal_settle(struct journal *j, const struct json *record, struct err *err) MUST_CHECK;

/* "<length> <crc32> <json>\n" of one record; ERR_LIMIT past JOURNAL_LINE_MAX. */
int journal_line(const struct json *record, struct buf *out, struct err *err) MUST_CHECK;
/* One line at the end of `fd`, all or nothing; the caller holds the lock. */
int journal_append(int fd, const struct json *record, bool sync, struct err *err) MUST_CHECK;

int journal_lock(int fd, struct err *err) MUST_CHECK; /* waits */
void journal_unlock(int fd);
bool journal_has_writer(int fd);

/* Refused when another run that lives has a fault open on what `undo` names: each would take the
 * other's traces for the target's own. Meant are the process with its pid and start_ticks, and each
 * text in the list "exclusive", by which any kind names what only one run may change at a time:
 * journal_claim(undo, "container 3f2a…"). */
int journal_check_others(const struct journal *j, const struct json *undo,
                         struct err *err) MUST_CHECK;
/* Adds to "exclusive". */
void journal_claim(struct json *undo, const char *what);

/* What journal_parse found, and how many bytes of the text are whole lines. */
int journal_parse_lines(const char *text, size_t len, struct journal_scan *ret, size_t *ret_valid,
                        struct err *err) MUST_CHECK;
/* Reads the whole file through an open descriptor. */
int journal_scan_fd(int fd, struct journal_scan *ret, size_t *ret_valid,
                    struct err *err) MUST_CHECK;

/* ---- recovery ---- */
struct recovery {
    const char *path;
    recover_say_fn *say; /* may be NULL */
    void *arg;
    /* What the guardian kept for a record, as an object that the callee owns; NULL: nothing. */
    struct json *(*kept)(void *arg, uint64_t seq);
    void *kept_arg;
    uint64_t only_seq;   /* 0: all that is open */
    bool writer_is_dead; /* known by other means, or of no matter (one record past its deadline) */
};
enum recover_result journal_recover_with(const struct recovery *r);

#endif
