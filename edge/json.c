/* See json.h. cJSON, with what it leaves open closed before it sees the text: depth, size, UTF-8,
 * and the escape \u0000, which would silently cut a string. */
#include "edge/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static cJSON *unwrap(struct json *j)
{
    return (cJSON *)j;
}

static const cJSON *unwrap_const(const struct json *j)
{
    return (const cJSON *)j;
}

static struct json *wrap(cJSON *j)
{
    return (struct json *)j;
}

static const struct json *wrap_const(const cJSON *j)
{
    return (const struct json *)j;
}

/* Small fixed things abort when memory is out: so does a node. */
static cJSON *must(cJSON *node)
{
    if (!node)
        abort();
    return node;
}

struct json *json_object(void)
{
    return wrap(must(cJSON_CreateObject()));
}

struct json *json_array(void)
{
    return wrap(must(cJSON_CreateArray()));
}

void json_free(struct json *j)
{
    cJSON_Delete(unwrap(j));
}

struct json *json_put(struct json *j, const char *key, struct json *child)
{
    cJSON *parent = unwrap(j), *item = unwrap(child);
    bool ok = key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item);

    if (!ok)
        abort();
    return child;
}

void json_put_str(struct json *j, const char *key, const char *value)
{
    json_put(j, key, wrap(must(value ? cJSON_CreateString(value) : cJSON_CreateNull())));
}

void json_put_num(struct json *j, const char *key, double value)
{
    json_put(j, key, wrap(must(isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull())));
}

void json_put_u64(struct json *j, const char *key, uint64_t value)
{
    json_put_num(j, key, (double)value);
}

void json_put_bool(struct json *j, const char *key, bool value)
{
    json_put(j, key, wrap(must(cJSON_CreateBool(value))));
}

void json_put_null(struct json *j, const char *key)
{
    json_put(j, key, wrap(must(cJSON_CreateNull())));
}

struct json *json_take(struct json *object, const char *key)
{
    return object ? wrap(cJSON_DetachItemFromObjectCaseSensitive(unwrap(object), key)) : NULL;
}

struct json *json_take_first(struct json *array)
{
    cJSON *first = array ? unwrap(array)->child : NULL;

    return first ? wrap(cJSON_DetachItemViaPointer(unwrap(array), first)) : NULL;
}

const struct json *json_member(const struct json *object, const char *key)
{
    return wrap_const(cJSON_GetObjectItemCaseSensitive(unwrap_const(object), key));
}

struct json *json_member_mutable(struct json *object, const char *key)
{
    return wrap(cJSON_GetObjectItemCaseSensitive(unwrap(object), key));
}

struct json *json_copy(const struct json *j)
{
    return wrap(must(cJSON_Duplicate(unwrap_const(j), true)));
}

/* ---- reading ---- */

static const cJSON *array_item(const cJSON *array, const char *step, size_t len)
{
    size_t index = 0;

    for (size_t i = 0; i < len; i++) {
        if (step[i] < '0' || step[i] > '9' || i > 8)
            return NULL;
        index = index * 10 + (size_t)(step[i] - '0');
    }
    return len ? cJSON_GetArrayItem(array, (int)index) : NULL;
}

static const cJSON *find_member(const cJSON *object, const char *step, size_t len)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, object)
    {
        if (item->string && strlen(item->string) == len && !memcmp(item->string, step, len))
            return item;
    }
    return NULL;
}

const struct json *json_get(const struct json *j, const char *path)
{
    const cJSON *at = unwrap_const(j);

    while (at && *path) {
        size_t len = strcspn(path, ".");
        if (cJSON_IsArray(at))
            at = array_item(at, path, len);
        else
            at = cJSON_IsObject(at) ? find_member(at, path, len) : NULL;
        path += len;
        path += *path == '.';
    }
    return wrap_const(at);
}

const char *json_str(const struct json *j, const char *path, const char *absent)
{
    const cJSON *at = unwrap_const(json_get(j, path));

    return cJSON_IsString(at) ? at->valuestring : absent;
}

double json_num(const struct json *j, const char *path, double absent)
{
    const cJSON *at = unwrap_const(json_get(j, path));

    return cJSON_IsNumber(at) && isfinite(at->valuedouble) ? at->valuedouble : absent;
}

uint64_t json_u64(const struct json *j, const char *path, uint64_t absent)
{
    const cJSON *at = unwrap_const(json_get(j, path));

    if (!cJSON_IsNumber(at) || !(at->valuedouble >= 0) || at->valuedouble >= 0x1p64)
        return absent;
    return (uint64_t)at->valuedouble;
}

bool json_bool(const struct json *j, const char *path, bool absent)
{
    const cJSON *at = unwrap_const(json_get(j, path));

    return cJSON_IsBool(at) ? cJSON_IsTrue(at) != 0 : absent;
}

bool json_is_null(const struct json *j)
{
    return !j || cJSON_IsNull(unwrap_const(j));
}

bool json_is_object(const struct json *j)
{
    return cJSON_IsObject(unwrap_const(j));
}

bool json_is_array(const struct json *j)
{
    return cJSON_IsArray(unwrap_const(j));
}

size_t json_len(const struct json *j)
{
    return json_is_object(j) || json_is_array(j) ? (size_t)cJSON_GetArraySize(unwrap_const(j)) : 0;
}

const struct json *json_at(const struct json *j, size_t i)
{
    if (i > INT32_MAX || !(json_is_object(j) || json_is_array(j)))
        return NULL;
    return wrap_const(cJSON_GetArrayItem(unwrap_const(j), (int)i));
}

const char *json_key(const struct json *member)
{
    return member ? unwrap_const(member)->string : NULL;
}

const struct json *json_first(const struct json *j)
{
    return json_is_object(j) || json_is_array(j) ? wrap_const(unwrap_const(j)->child) : NULL;
}

const struct json *json_next(const struct json *item)
{
    return item ? wrap_const(unwrap_const(item)->next) : NULL;
}

/* ---- printing ---- */

/* The shortest digits that are read back as the same number. cJSON's own printer is content with a
 * relative error of 2e-16, which turns 2^53 into another integer. */
static void print_number(double value, struct buf *out)
{
    char text[40];

    if (!isfinite(value)) {
        buf_adds(out, "null"); /* 1e400 in a text of others */
        return;
    }
    if (fabs(value) < 0x1p53 + 1 && value == floor(value)) {
        buf_addf(out, "%.0f", value == 0 ? 0.0 : value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_adds(out, text);
}

static void print_scalar(const cJSON *j, struct buf *out)
{
    if (cJSON_IsString(j))
        json_quote(out, j->valuestring);
    else if (cJSON_IsNumber(j))
        print_number(j->valuedouble, out);
    else if (cJSON_IsBool(j))
        buf_adds(out, cJSON_IsTrue(j) ? "true" : "false");
    else
        buf_adds(out, "null");
}

static void new_line(struct buf *out, bool pretty, unsigned depth)
{
    if (!pretty)
        return;
    buf_addf(out, "\n%*s", (int)(2 * depth), "");
}

/* Depth is that of trees we built, or JSON_DEPTH_MAX. */
// NOLINTNEXTLINE(misc-no-recursion)
static void print_tree(const cJSON *j, bool pretty, unsigned depth, struct buf *out)
{
    bool is_object = cJSON_IsObject(j);

    if (!is_object && !cJSON_IsArray(j)) {
        print_scalar(j, out);
        return;
    }
    buf_addc(out, is_object ? '{' : '[');
    for (const cJSON *item = j->child; item; item = item->next) {
        new_line(out, pretty, depth + 1);
        if (is_object) {
            json_quote(out, item->string);
            buf_adds(out, pretty ? ": " : ":");
        }
        print_tree(item, pretty, depth + 1, out);
        if (item->next)
            buf_addc(out, ',');
    }
    if (j->child)
        new_line(out, pretty, depth);
    buf_addc(out, is_object ? '}' : ']');
}

char *json_print(const struct json *j, bool pretty)
{
    struct buf out = BUF_INIT(SIZE_MAX / 4);

    if (j)
        print_tree(unwrap_const(j), pretty, 0, &out);
    else
        buf_adds(&out, "null");
    if (buf_failed(&out))
        abort();
    return buf_take(&out);
}

/* ---- parsing ---- */

struct place {
    unsigned line, col;
};

static struct place place_of(const char *text, size_t at)
{
    struct place p = { 1, 1 };

    for (size_t i = 0; i < at; i++) {
        p.col++;
        if (text[i] == '\n')
            p = (struct place){ p.line + 1, 1 };
    }
    return p;
}

static int refuse(const char *text, size_t at, enum err_kind kind, const char *why, struct err *err)
{
    struct place p = place_of(text, at);

    return err_set(err, kind, EINVAL, "json %u:%u: %s", p.line, p.col, why);
}

/* The index behind the string that begins at `at`; len when it does not end, and SIZE_MAX when it
 * holds the escape of NUL. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
    for (size_t i = at + 1; i < len; i++) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] != '\\')
            continue;
        if (len - i >= 6 && !memcmp(text + i, "\\u0000", 6))
            return SIZE_MAX;
        i++;
    }
    return len;
}

/* Looks at brackets and strings only; all else is cJSON's to judge. Answers 1 when the text ends
 * inside a bracket. */
static int scan(const char *text, size_t len, struct err *err)
{
    const char *nul = memchr(text, '\0', len);
    unsigned depth = 0;

    if (nul)
        return refuse(text, (size_t)(nul - text), ERR_USAGE, "a NUL byte", err);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') {
            size_t behind = skip_string(text, len, i);
            if (behind == SIZE_MAX)
                return refuse(text, i, ERR_USAGE, "a text may not contain \\u0000", err);
            i = behind - 1;
        } else if (text[i] == '[' || text[i] == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return refuse(text, i, ERR_LIMIT, "nested deeper than 64 levels", err);
        } else if (text[i] == ']' || text[i] == '}') {
            depth -= depth > 0;
        }
    }
    return depth > 0 || len == 0;
}
_Static_assert(JSON_DEPTH_MAX == 64, "the message names the limit");

int json_parse(const char *text, size_t len, struct json **ret, struct err *err)
{
    const char *end = NULL;

    if (len > JSON_SIZE_MAX)
        return err_set(err, ERR_LIMIT, EFBIG, "json: larger than 256 MiB");
    if (!utf8_is_valid(text, len))
        return err_set(err, ERR_USAGE, EINVAL, "json: not valid UTF-8");
    int unfinished = scan(text, len, err);
    if (unfinished < 0)
        return unfinished;
    auto(json) struct json *j = wrap(cJSON_ParseWithLengthOpts(text, len, &end, false));
    size_t used = end ? (size_t)(end - text) : 0;
    if (!j && unfinished && used + 1 >= len)
        return refuse(text, len, ERR_USAGE, "the text ends too early", err);
    if (!j)
        return refuse(text, MIN(used, len), ERR_USAGE, "not JSON from here on", err);
    while (used < len && strchr(" \t\r\n", text[used]))
        used++;
    if (used < len)
        return refuse(text, used, ERR_USAGE, "more text after the end", err);
    *ret = TAKE(j);
    return 0;
}

void json_quote(struct buf *out, const char *s)
{
    static const char short_form[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
    };

    buf_addc(out, '"');
    while (*s) {
        size_t plain = 0;
        while ((unsigned char)s[plain] >= 0x20 && s[plain] != '"' && s[plain] != '\\')
            plain++;
        buf_add(out, s, plain);
        s += plain;
        unsigned char c = (unsigned char)*s;
        if (!c)
            break;
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (short_form[c])
            buf_addf(out, "\\%c", short_form[c]);
        else
            buf_addf(out, "\\u%04x", c);
        s++;
    }
    buf_addc(out, '"');
}
