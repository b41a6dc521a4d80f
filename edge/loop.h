/* An event loop (libevent): sockets, timers, and one door for other threads, loop_post.
 *
 * One thread runs it; everything but loop_post and loop_stop is called on that thread (or before it
 * runs). A stopped timer or watcher never fires again. */
#ifndef EDGE_LOOP_H
#define EDGE_LOOP_H

#include "base/err.h"

struct loop;
struct loop_io;
struct loop_timer;

enum loop_events { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_io_fn(void *arg, unsigned events);
typedef void loop_fn(void *arg);

struct loop *loop_new(struct err *err);
void loop_free(struct loop *l); /* posted functions that have not run yet are dropped */
int loop_run(struct loop *l, struct err *err) MUST_CHECK; /* until loop_stop */
void loop_stop(struct loop *l);                           /* any thread */
void loop_post(struct loop *l, loop_fn *fn, void *arg);   /* any thread; in order */

/* Watches fd for `events`, again and again, until changed or freed. It does not own fd: free it
 * before close. */
struct loop_io *loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg);
void loop_io_set(struct loop_io *io, unsigned events); /* 0: watch nothing for now */
void loop_io_free(struct loop_io *io);

/* One-shot timers on CLOCK_MONOTONIC, as absolute instants; an instant that has passed fires at
 * once (not from inside the call). Precision: epoll's, about 0.1 ms or better. */
struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg);
void loop_timer_at(struct loop_timer *t, uint64_t mono_ns); /* (re)arms */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* The instant at which the loop woke up for the callback now running: one clock read for many uses.
 */
uint64_t loop_now_ns(const struct loop *l);

#endif
