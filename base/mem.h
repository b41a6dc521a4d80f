/* Memory: allocation that aborts for small fixed things, bytes that grow up to a cap, arenas by
 * lifetime. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/defs.h"

/* For small, fixed things: abort on out of memory, never return NULL. Memory is zeroed. */
void *xcalloc(size_t n, size_t size) __attribute__((returns_nonnull, malloc));
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((returns_nonnull, malloc));
char *xstrndup(const char *s, size_t n) __attribute__((returns_nonnull, malloc));
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull, malloc));

/* Overwrites memory in a way that the compiler keeps; for secrets. */
void mem_wipe(void *p, size_t n);

/* Bytes that grow up to `max` (given at birth; 0 means BUF_MAX_DEFAULT). Always NUL-terminated once
 * something was added. Adding past `max` adds nothing more and makes the buffer `failed`, which
 * sticks: a writer adds freely and looks once at the end with buf_failed(). */
#define BUF_MAX_DEFAULT ((size_t)64 << 20)

struct buf {
    char *data; /* NULL while empty and never grown */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

#define BUF_INIT(max_) ((struct buf){ .max = (max_) })

void buf_add(struct buf *b, const void *data, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Removes the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Makes room for n more bytes and returns where to write them; NULL when that would pass max. */
char *buf_reserve(struct buf *b, size_t n);
void buf_clear(struct buf *b); /* len = 0, failed = false, memory kept */
/* Hands the memory over (never NULL; the caller frees) and leaves the buffer empty. */
char *buf_take(struct buf *b);
void buf_done(struct buf *b);
static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}
static inline const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}
static inline void buf_autofree(struct buf *b)
{
    buf_done(b);
}
#define auto_buf __attribute__((cleanup(buf_autofree)))

/* Many allocations, one free; nothing in it is freed alone. */
struct arena;
struct arena *arena_new(size_t max_bytes); /* 0: 64 MiB */
void arena_free(struct arena *a);
/* Zeroed, aligned for any type; NULL when the arena's cap would be passed. */
void *arena_alloc(struct arena *a, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void arena_autofree(struct arena **a)
{
    arena_free(*a);
}

#endif
