/* The JSON Schema of plans, from the tables that read them. Every value may also be a text with
 * ${NAME} in it, which an editor cannot look into. */
#include <string.h>

#include "campaign/plan_doc.h"
#include "campaign/plan_internal.h"
#include "campaign/threshold_names.h"
#include "edge/json.h"

#define DURATION_PATTERN "^(0|([0-9.]+(ns|us|µs|ms|s|m|h|d))+)$"
#define RATE_PATTERN "^[0-9.]+ ?/ ?(ns|us|ms|s|m|h|d)$"

/* The plain shape of each type; NULL: made by hand below. */
static const char *const shapes[] = {
    [PARAM_STR] = "{\"$ref\":\"#/$defs/text\"}",
    [PARAM_BOOL] = "{\"anyOf\":[{\"type\":\"boolean\"},{\"$ref\":\"#/$defs/variable\"}]}",
    [PARAM_INT] = NULL,
    [PARAM_NUM] = NULL,
    [PARAM_DURATION] = "{\"anyOf\":[{\"const\":0},{\"type\":\"string\",\"pattern\":"
                       "\"" DURATION_PATTERN "\"},{\"$ref\":\"#/$defs/variable\"}]}",
    [PARAM_RATE] = "{\"anyOf\":[{\"const\":0},{\"type\":\"string\",\"pattern\":"
                   "\"" RATE_PATTERN "\"},{\"$ref\":\"#/$defs/variable\"}]}",
    [PARAM_SIZE] = "{\"anyOf\":[{\"type\":\"string\",\"pattern\":"
                   "\"^[0-9.]+ ?(B|[kKMG]i?B)$\"},{\"$ref\":\"#/$defs/variable\"}]}",
    [PARAM_PERCENT] = "{\"anyOf\":[{\"type\":\"string\",\"pattern\":"
                      "\"^[0-9.]+ ?%$\"},{\"$ref\":\"#/$defs/variable\"}]}",
    [PARAM_BANDWIDTH] = "{\"type\":\"string\"}",
    [PARAM_ENUM] = NULL,
    [PARAM_STRS] = "{\"anyOf\":[{\"$ref\":\"#/$defs/text\"},{\"type\":\"array\",\"items\":"
                   "{\"$ref\":\"#/$defs/text\"}}]}",
    [PARAM_PAIRS] = "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":["
                    "{\"$ref\":\"#/$defs/text\"},{\"type\":\"null\"}]}}",
    [PARAM_TABLE] = NULL,
    [PARAM_LIST] = NULL,
    [PARAM_CUSTOM] = "true",
};
_Static_assert(ARRAY_LEN(shapes) == PARAM_TYPE_MAX, "every type has a shape");

static struct json *parsed(const char *text)
{
    struct json *j = NULL;
    struct err err = { 0 };

    if (json_parse(text, strlen(text), &j, &err) < 0)
        return json_object();
    return j;
}

/* "users[].tasks[]" is defined as "users_tasks". */
static void def_name(const char *title, struct buf *out)
{
    for (const char *p = title; *p; p++)
        if (*p == '.')
            buf_addc(out, '_');
        else if (*p != '[' && *p != ']')
            buf_addc(out, *p);
}

static struct json *reference(const char *name)
{
    struct json *j = json_object();
    auto_free char *path = xasprintf("#/$defs/%s", name);

    json_put_str(j, "$ref", path);
    return j;
}

static void put_choices(struct json *schema, const char *const *choices)
{
    struct json *list = json_put(schema, "enum", json_array());

    for (; *choices; choices++) {
        json_put_str(list, NULL, *choices);
        if (strspn(*choices, "0123456789.") == strlen(*choices))
            json_put(list, NULL, parsed(*choices)); /* YAML reads 1.1 as a number */
    }
}

static struct json *number_schema(const struct param *row)
{
    struct json *j = json_object();
    struct json *any = json_put(j, "anyOf", json_array());
    struct json *number = json_put(any, NULL, json_object());

    json_put_str(number, "type", row->type == PARAM_INT ? "integer" : "number");
    if (row->hi > row->lo) {
        json_put_num(number, "minimum", row->lo);
        json_put_num(number, "maximum", row->hi);
    }
    json_put(any, NULL, reference("variable"));
    return j;
}

static struct json *table_reference(struct json *defs, const struct param_table *t);

// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static struct json *row_schema(struct json *defs, const struct param *row)
{
    struct json *j;

    if (row->type == PARAM_TABLE)
        return table_reference(defs, row->table);
    if (row->type == PARAM_CUSTOM && row->table)
        json_free(table_reference(defs, row->table)); /* schema_json refers to it */
    if (row->type == PARAM_CUSTOM)
        return parsed(row->schema_json ? row->schema_json : "true");
    if (row->type == PARAM_LIST) {
        j = json_object();
        json_put_str(j, "type", "array");
        json_put(j, "items", table_reference(defs, row->table));
        return j;
    }
    if (row->choices) {
        j = json_object();
        put_choices(j, row->choices);
        return j;
    }
    if (row->type == PARAM_INT || row->type == PARAM_NUM)
        return number_schema(row);
    return parsed(shapes[row->type]);
}

// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static void put_row(struct json *defs, struct json *properties, const struct param *row,
                    const char *name)
{
    struct json *j = row_schema(defs, row);

    if (json_is_object(j)) {
        json_put_str(j, "description", row->help);
        if (row->def && row->type != PARAM_BOOL)
            json_put_str(j, "default", row->def);
        else if (row->def)
            json_put_bool(j, "default", strcmp(row->def, "true") == 0);
    }
    json_put(properties, name, j);
}

/* Properties of all rows, under their names and aliases. */
// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static void put_rows(struct json *defs, struct json *properties, const struct param_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct param *row = &t->rows[i];
        auto_free char *aliases = xstrdup(row->aliases ? row->aliases : "");
        char *save = NULL;

        put_row(defs, properties, row, row->name);
        for (char *a = strtok_r(aliases, ",", &save); a; a = strtok_r(NULL, ",", &save))
            put_row(defs, properties, row, a);
    }
}

static void put_required(struct json *schema, const struct param_table *t)
{
    struct json *list = NULL;

    for (size_t i = 0; i < t->n; i++) {
        if (!t->rows[i].required || t->rows[i].aliases)
            continue;
        if (!list)
            list = json_put(schema, "required", json_array());
        json_put_str(list, NULL, t->rows[i].name);
    }
}

static struct json *map_schema(struct json **ret_properties)
{
    struct json *j = json_object();

    json_put_str(j, "type", "object");
    *ret_properties = json_put(j, "properties", json_object());
    json_put_bool(j, "additionalProperties", false);
    return j;
}

// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static void define(struct json *defs, const char *name, const struct param_table *t)
{
    struct json *properties;

    if (json_get(defs, name))
        return;
    struct json *j = map_schema(&properties);
    json_put(defs, name, j);
    put_rows(defs, properties, t);
    put_required(j, t);
}

// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static struct json *table_reference(struct json *defs, const struct param_table *t)
{
    auto_buf struct buf name = BUF_INIT(256);

    def_name(t->title, &name);
    define(defs, buf_str(&name), t);
    return reference(buf_str(&name));
}

/* ---- faults and thresholds ---- */

static struct json *kind_schema(struct json *defs, const char *kind, const char **ret_help)
{
    struct json *j = json_object();
    struct json *any = json_put(j, "anyOf", json_array());

    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        if (strcmp((*k)->name, kind) != 0)
            continue;
        auto_free char *name = xasprintf("fault_%s_%s", kind, (*k)->backend);
        define(defs, name, (*k)->params);
        json_put(any, NULL, reference(name));
        if ((*k)->by_proxy) {
            auto_free char *other = xasprintf("%s_proxy", name);
            define(defs, other, (*k)->by_proxy->params);
            json_put(any, NULL, reference(other));
        }
        *ret_help = (*k)->summary;
    }
    json_put_str(j, "description", *ret_help);
    return j;
}

static struct json *faults_schema(struct json *defs)
{
    struct json *list = json_object(), *properties;
    struct json *item = map_schema(&properties);
    struct json *one_of = json_put(item, "oneOf", json_array());

    json_put_str(list, "type", "array");
    put_rows(defs, properties, &fault_timing_table);
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        const char *help = "";

        if (json_get(properties, (*k)->name))
            continue;
        json_put(properties, (*k)->name, kind_schema(defs, (*k)->name, &help));
        struct json *required = json_put(one_of, NULL, json_object());
        json_put_str(json_put(required, "required", json_array()), NULL, (*k)->name);
    }
    json_put(list, "items", item);
    return list;
}

static struct json *thresholds_schema(struct json *defs)
{
    json_free(table_reference(defs, &threshold_table));
    return parsed("{\"anyOf\":[{\"type\":\"string\"},"
                  "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\"},"
                  "{\"$ref\":\"#/$defs/thresholds\"}]}},"
                  "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"string\"},"
                  "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}}]}");
}

void plan_schema(struct buf *out)
{
    struct json *properties, *defs = json_object();
    auto(json) struct json *root = map_schema(&properties);

    json_put_str(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
    json_put_str(root, "title", "chaos-load plan (" PLAN_API_VERSION ")");
    json_put(defs, "text", parsed("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
    json_put(defs, "variable", parsed("{\"type\":\"string\",\"pattern\":\"[$][{]\"}"));
    put_rows(defs, properties, &load_root_table);
    put_rows(defs, properties, &plan_root_table);
    json_put(
        properties, "target",
        parsed("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"object\",\"properties\":"
               "{\"embedded\":{\"enum\":[\"shop\"]}},\"required\":[\"embedded\"],"
               "\"additionalProperties\":false}],\"description\":\"where requests go: a URL, or "
               "{embedded: shop}, a demo server that the run starts\"}"));
    json_put(properties, "faults", faults_schema(defs));
    json_put(properties, "thresholds", thresholds_schema(defs));
    json_put(root, "$defs", defs);
    struct json *required = json_put(root, "required", json_array());
    json_put_str(required, NULL, "target");
    json_put_str(required, NULL, "users");
    auto_free char *text = json_print(root, true);
    buf_adds(out, text);
    buf_addc(out, '\n');
}
