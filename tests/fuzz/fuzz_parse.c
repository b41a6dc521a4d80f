/* Any text through every unit parser: no crash, and what is accepted keeps its promises. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void durations(const char *s, unsigned flags)
{
    char text[DURATION_TEXT_MAX];
    struct err err = { 0 };
    uint64_t ns = 0, back = 0;

    if (parse_duration(s, flags, &ns, &err) < 0) {
        require(err.kind == ERR_USAGE && err.msg[0]);
        return;
    }
    require(ns <= DURATION_MAX_NS);
    require(parse_duration(duration_text(ns, text), PARSE_UNIT, &back, NULL) == 0 && back == ns);
}

static void others(const char *s)
{
    double number = 0;
    uint64_t whole = 0;
    int64_t with_sign = 0;
    bool truth = false;

    if (parse_rate(s, PARSE_UNIT, &number, NULL) == 0)
        require(isfinite(number) && number >= 0);
    if (parse_percent(s, &number, NULL) == 0)
        require(number >= 0 && number <= 1);
    if (parse_double(s, -1e9, 1e9, &number, NULL) == 0)
        require(number >= -1e9 && number <= 1e9);
    if (parse_u64(s, 3, 1000, &whole, NULL) == 0)
        require(whole >= 3 && whole <= 1000);
    if (parse_i64(s, -3, 1000, &with_sign, NULL) == 0)
        require(with_sign >= -3 && with_sign <= 1000);
    err_ignore(parse_size(s, &whole, NULL), "only crashes matter");
    err_ignore(parse_bandwidth(s, &whole, NULL), "only crashes matter");
    err_ignore(parse_bool(s, &truth, NULL), "only crashes matter");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "delay", "jitter", "direction", "percent", "at", "" };
    auto_free char *s = malloc(size + 1);

    if (!s)
        return 0;
    if (size)
        memcpy(s, data, size);
    s[size] = '\0';
    durations(s, PARSE_UNIT);
    durations(s, PARSE_BARE_SECONDS);
    others(s);
    if (utf8_is_valid((const char *)data, size) && size)
        require(utf8_is_valid(s, size));
    const char *near = nearest_name(s, names, ARRAY_LEN(names));
    require(!near || *s);
    return 0;
}
