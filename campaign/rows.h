/* rows.ndjson: what its writer (rows.c) and its reader (rows_read.c) agree on. */
#ifndef CAMPAIGN_ROWS_H
#define CAMPAIGN_ROWS_H

/* Lines, each a JSON object with "type":
 *   header  the head of a result, its endpoints, and phases, faults, thresholds as known at start
 *   row     one second of one series: t_ms, phase, endpoint, counts and histograms
 *   second  closes the second: users, in_flight, counts; the rows since the last one belong to it
 *   phase   {index, phase}: a phase began, or its end became known
 *   fault   {index, fault}: something about an activation changed
 *   end     the head again with the verdict, and all phases, faults, thresholds as they ended */
#define ROWS_SCHEMA "chaos-load/rows/v1"
#define ROWS_LINE_MAX ((size_t)64 << 20)

#endif
