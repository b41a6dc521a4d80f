/* The journal: one append-only file per run, one line per record, synced before the action it
 * announces.
 *
 *     <length> <crc32 hex> <json>\n
 *     {"type":"intent","seq":1,"run":…,"kind":"pause","backend":"process","target":…,"undo":{…},"deadline_ms":…,"boot_id":…}
 *     applied | not_applied | reverting | reverted {seq, verified} | orphan {seq, reason} | end
 *
 * State directory: $CHAOS_LOAD_STATE, else $XDG_STATE_HOME/chaos-load, else
 * ~/.local/state/chaos-load, else /var/tmp/chaos-load-<uid>; mode 0700, files 0600. The writer
 * holds an flock for as long as it lives. A torn last line is ignored (and said); anything else
 * that does not check out is an error that names the line. */
#ifndef CHAOSLIB_JOURNAL_H
#define CHAOSLIB_JOURNAL_H

#include "edge/json.h"

#define JOURNAL_LINE_MAX ((size_t)64 << 10)
#define JOURNAL_RECORDS_MAX 100000

struct journal;

int journal_dir(char out[256], struct err *err) MUST_CHECK; /* made if missing */
struct journal *journal_open(const char *dir, const char *run_id, struct err *err);
const char *journal_path(const struct journal *j);
/* Appends and fdatasyncs; from any thread. */
int journal_write(struct journal *j, const struct json *record, struct err *err) MUST_CHECK;
uint64_t journal_next_seq(struct journal *j);
/* Ends it: writes `end` when nothing is open, and removes the file. */
void journal_close(struct journal *j);

/* ---- reading: the records of a file that are still open (intent without a final record) ---- */
struct journal_scan {
    char run_id[64];
    bool ended, torn, same_boot, writer_alive;
    struct json *open; /* array of intent records, newest first; owned */
};
int journal_scan(const char *path, struct journal_scan *ret, struct err *err) MUST_CHECK;
void journal_scan_done(struct journal_scan *s);
/* The pure part of it, for tests and fuzzing. */
int journal_parse(const char *text, size_t len, struct journal_scan *ret,
                  struct err *err) MUST_CHECK;

enum recover_result { RECOVER_CLEAN = 0, RECOVER_REVERTED = 1, RECOVER_STUCK = 2 };
/* Undoes everything open in one file, newest first, locked against others; `say` gets a line for
 * people for each thing. Used by the guardian and by `chaos-load recover`. */
typedef void recover_say_fn(void *arg, const char *line);
enum recover_result journal_recover(const char *path, recover_say_fn *say, void *arg);
/* All files of a directory whose writer is dead. */
enum recover_result journal_recover_all(const char *dir, recover_say_fn *say, void *arg);

#endif
