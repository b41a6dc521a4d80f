/* JSON trees (cJSON). A tree is owned by its root; paths borrow; NULL means absent, never error. */
#ifndef EDGE_JSON_H
#define EDGE_JSON_H

#include "base/err.h"
#include "base/mem.h"

#define JSON_SIZE_MAX ((size_t)256 << 20)
#define JSON_DEPTH_MAX 64

struct json;

struct json *json_object(void);
struct json *json_array(void);
void json_free(struct json *j);
static inline void json_autofree(struct json **j)
{
    json_free(*j);
}

/* Setters on an object; on an array, key is NULL and the value is appended. Texts are copied. */
void json_put_str(struct json *j, const char *key, const char *value); /* NULL value: null */
void json_put_num(struct json *j, const char *key, double value);      /* not finite: null */
void json_put_u64(struct json *j, const char *key, uint64_t value);    /* exact up to 2^53 */
void json_put_bool(struct json *j, const char *key, bool value);
void json_put_null(struct json *j, const char *key);
struct json *json_put(struct json *j, const char *key,
                      struct json *child); /* takes child; returns it */

/* Out of it, and the caller's now; NULL when it is not there. Of an object by its exact key, of an
 * array its first item. */
struct json *json_take(struct json *object, const char *key);
struct json *json_take_first(struct json *array);
/* By its exact key, dots and all ("app.kubernetes.io/name"); NULL when it is not there. */
const struct json *json_member(const struct json *object, const char *key);
struct json *json_member_mutable(struct json *object, const char *key);
struct json *json_copy(const struct json *j); /* j not NULL */

/* "spec.containers.0.name"; "" is j itself. j may be NULL. */
const struct json *json_get(const struct json *j, const char *path);
const char *json_str(const struct json *j, const char *path, const char *absent);
double json_num(const struct json *j, const char *path, double absent);
uint64_t json_u64(const struct json *j, const char *path, uint64_t absent);
bool json_bool(const struct json *j, const char *path, bool absent);
bool json_is_null(const struct json *j); /* also true for NULL */
bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
size_t json_len(const struct json *j);                      /* members or items */
const struct json *json_at(const struct json *j, size_t i); /* item or member i */
const char *json_key(const struct json *member);            /* its name; NULL in an array */
/* Walk without the quadratic cost of json_at: json_first, then json_next until NULL. */
const struct json *json_first(const struct json *j);
const struct json *json_next(const struct json *item);

char *json_print(const struct json *j, bool pretty); /* the caller frees; never NULL */
int json_parse(const char *text, size_t len, struct json **ret, struct err *err) MUST_CHECK;
/* Appends s as a JSON string with quotes; for writers that stream. */
void json_quote(struct buf *out, const char *s);

#endif
