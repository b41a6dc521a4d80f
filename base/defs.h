/* The few macros every file may use: attributes, ownership, units. libc only. */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

/* Moves a pointer out of its owner: the value is returned, the variable becomes NULL. */
#define TAKE(p)                    \
    (__extension__({               \
        __typeof__(p) take_ = (p); \
        (p) = NULL;                \
        take_;                     \
    }))

/* Scope owns: the variable is released when it leaves scope. TAKE() moves it out on success.
 * auto(json) needs a function  static inline void json_autofree(struct json **p). */
#define auto_free __attribute__((cleanup(free_scope)))
#define auto_close __attribute__((cleanup(close_scope)))
#define auto(name) __attribute__((cleanup(name##_autofree)))

static inline void free_scope(void *p)
{
    free(*(void **)p);
}

static inline void close_scope(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next) \
    for ((var) = TAILQ_FIRST(head); (var) && ((next) = TAILQ_NEXT(var, field), 1); (var) = (next))
#endif

#endif
