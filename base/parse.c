/* See parse.h. Numbers with units are read as one integer of up to 18 digits and a power of ten,
 * then multiplied in 128 bits: "0.1s" is exactly 100 ms and nothing is rounded without being said.
 */
#include "base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

__extension__ typedef unsigned __int128 wide;

#define DIGITS_MAX 18

struct unit {
    const char *name;
    uint64_t factor;
};

/* "12.50" is digits 1250, decimals 2. */
struct decimal {
    uint64_t digits;
    unsigned decimals;
};

#define USAGE(err, ...) err_set(err, ERR_USAGE, EINVAL, __VA_ARGS__)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads "12", "12.5" or ".5" and moves *s behind it; false when there is none or it is too long. */
static bool read_decimal(const char **s, struct decimal *ret)
{
    struct decimal d = { 0 };
    unsigned n = 0;
    bool point = false;
    const char *p = *s;

    for (; is_digit(*p) || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (d.digits > (UINT64_MAX - 9) / 10 || d.decimals >= DIGITS_MAX)
            return false;
        d.digits = d.digits * 10 + (uint64_t)(*p - '0');
        d.decimals += point;
        n++;
    }
    if (!n || p[-1] == '.')
        return false;
    *s = p;
    *ret = d;
    return true;
}

static wide power_of_ten(unsigned n)
{
    wide x = 1;

    while (n--)
        x *= 10;
    return x;
}

static double decimal_value(struct decimal d)
{
    return (double)d.digits / (double)power_of_ten(d.decimals);
}

/* The exact product: 0 done, 1 not a whole number, 2 above max. */
static int scale(struct decimal d, uint64_t factor, uint64_t max, uint64_t *ret)
{
    wide product = (wide)d.digits * factor;
    wide divisor = power_of_ten(d.decimals);

    if (product % divisor)
        return 1;
    if (product / divisor > max)
        return 2;
    *ret = (uint64_t)(product / divisor);
    return 0;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name,
                                    size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(units[i].name) == len && !memcmp(units[i].name, name, len))
            return &units[i];
    return NULL;
}

/* What is wrong with a text that does not begin with a number. */
static int not_a_number(const char *s, const char *what, const char *example, struct err *err)
{
    if (!*s)
        return USAGE(err, "%s is missing: write it like %s", what, example);
    if (*s == '-')
        return USAGE(err, "'%.60s' is negative: write %s like %s", s, what, example);
    return USAGE(err, "'%.60s' is not %s: write it like %s", s, what, example);
}

/* ---- durations ---- */

static const struct unit duration_units[] = {
    { "ns", 1 },
    { "us", NS_PER_US },
    { "\xc2\xb5s", NS_PER_US }, /* micro sign */
    { "\xce\xbcs", NS_PER_US }, /* Greek mu */
    { "ms", NS_PER_MS },
    { "s", NS_PER_SEC },
    { "m", 60 * NS_PER_SEC },
    { "h", 3600 * NS_PER_SEC },
    { "d", 24 * 3600 * NS_PER_SEC },
};

static int bare_duration(const char *s, struct decimal d, unsigned flags, uint64_t *ret,
                         struct err *err)
{
    if (!(flags & PARSE_BARE_SECONDS) && d.digits)
        return USAGE(err, "'%.60s' needs a unit: write %.60sms or %.60ss", s, s, s);
    if (scale(d, NS_PER_SEC, DURATION_MAX_NS, ret))
        return USAGE(err, "'%.60s' is not a duration of at most 366d", s);
    return 0;
}

int parse_duration(const char *s, unsigned flags, uint64_t *ret_ns, struct err *err)
{
    static const char example[] = "500ms, 1.5s or 1h30m";
    uint64_t total = 0, last_factor = UINT64_MAX;
    const char *p = s;

    do {
        struct decimal d;
        uint64_t part = 0;
        if (!read_decimal(&p, &d))
            return not_a_number(s, "a duration", example, err);
        size_t len = strcspn(p, "0123456789.");
        if (!len && last_factor == UINT64_MAX && !*p)
            return bare_duration(s, d, flags, ret_ns, err);
        if (!len)
            return USAGE(err, "'%.60s' has a number without a unit: write it like %s", s, example);
        const struct unit *u = find_unit(duration_units, ARRAY_LEN(duration_units), p, len);
        if (!u)
            return USAGE(err, "'%.60s' has the unknown unit '%.*s': use ns us ms s m h d", s,
                         (int)MIN(len, 20), p);
        if (u->factor >= last_factor)
            return USAGE(err, "'%.60s' is out of order: write large units first, like %s", s,
                         example);
        int problem = scale(d, u->factor, DURATION_MAX_NS, &part);
        if (problem == 1)
            return USAGE(err, "'%.60s' is finer than a nanosecond", s);
        total += part;
        if (problem || total > DURATION_MAX_NS)
            return USAGE(err, "'%.60s' is more than 366d", s);
        last_factor = u->factor;
        p += len;
    } while (*p);
    *ret_ns = total;
    return 0;
}

/* Writes value/unit with as many decimals as it takes: 1500/1000 is "1.5". */
static int fraction_text(char *out, size_t size, uint64_t value, uint64_t unit, const char *name)
{
    int n = snprintf(out, size, "%llu", (unsigned long long)(value / unit));

    for (uint64_t rest = value % unit, first = 1; rest; rest %= unit, first = 0) {
        unit /= 10;
        n += snprintf(out + n, size - (size_t)n, "%s%llu", first ? "." : "",
                      (unsigned long long)(rest / unit));
    }
    return n + snprintf(out + n, size - (size_t)n, "%s", name);
}

char *duration_text(uint64_t ns, char out[DURATION_TEXT_MAX])
{
    static const struct unit large[] = { { "d", 24 * 3600 * NS_PER_SEC },
                                         { "h", 3600 * NS_PER_SEC },
                                         { "m", 60 * NS_PER_SEC } };
    static const struct unit small[] = {
        { "s", NS_PER_SEC }, { "ms", NS_PER_MS }, { "us", NS_PER_US }, { "ns", 1 }
    };
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(large); i++) {
        if (ns < large[i].factor)
            continue;
        n += snprintf(out + n, (size_t)(DURATION_TEXT_MAX - n), "%llu%s",
                      (unsigned long long)(ns / large[i].factor), large[i].name);
        ns %= large[i].factor;
    }
    for (size_t i = 0; i < ARRAY_LEN(small) && ns; i++) {
        if (ns < small[i].factor)
            continue;
        n += fraction_text(out + n, (size_t)(DURATION_TEXT_MAX - n), ns, small[i].factor,
                           small[i].name);
        break;
    }
    if (!n)
        snprintf(out, DURATION_TEXT_MAX, "0s");
    return out;
}

/* ---- rates, sizes, percents, bandwidth ---- */

int parse_rate(const char *s, unsigned flags, double *ret_per_sec, struct err *err)
{
    static const struct {
        const char *name;
        double per_sec;
    } periods[] = {
        { "/us", 1e6 },     { "/ms", 1e3 },       { "/s", 1 },
        { "/m", 1.0 / 60 }, { "/h", 1.0 / 3600 }, { "/d", 1.0 / 86400 },
    };
    const char *p = s;
    struct decimal d;

    if (!read_decimal(&p, &d))
        return not_a_number(s, "a rate", "500/s or 30/m", err);
    if (!*p && ((flags & PARSE_BARE_SECONDS) || !d.digits)) {
        *ret_per_sec = decimal_value(d);
        return 0;
    }
    if (!*p)
        return USAGE(err, "'%.60s' needs a unit: write %.60s/s or %.60s/m", s, s, s);
    for (size_t i = 0; i < ARRAY_LEN(periods); i++) {
        if (strcmp(p, periods[i].name) != 0)
            continue;
        *ret_per_sec = decimal_value(d) * periods[i].per_sec;
        return 0;
    }
    return USAGE(err, "'%.60s' has the unknown unit '%.20s': use /s /m /h, like %.*s/s", s, p,
                 (int)MIN(p - s, 20), s);
}

/* The common path of sizes and bandwidths: number, unit, exact product. */
struct quantity {
    const struct unit *units;
    size_t n_units;
    const char *what, *example, *unit_list, *smallest;
};

static int parse_quantity(const struct quantity *q, const char *s, uint64_t *ret, struct err *err)
{
    const char *p = s;
    struct decimal d;

    if (!read_decimal(&p, &d))
        return not_a_number(s, q->what, q->example, err);
    if (!*p && d.digits)
        return USAGE(err, "'%.60s' needs a unit: write it like %s", s, q->example);
    const struct unit *u = *p ? find_unit(q->units, q->n_units, p, strlen(p)) : &q->units[0];
    if (!u)
        return USAGE(err, "'%.60s' has the unknown unit '%.20s': use %s", s, p, q->unit_list);
    switch (scale(d, u->factor, UINT64_MAX / 16, ret)) {
    case 1: return USAGE(err, "'%.60s' is not a whole number of %s", s, q->smallest);
    case 2: return USAGE(err, "'%.60s' is too large", s);
    default: return 0;
    }
}

int parse_size(const char *s, uint64_t *ret_bytes, struct err *err)
{
    static const struct unit units[] = {
        { "B", 1 },
        { "KB", 1000 },
        { "kB", 1000 },
        { "MB", 1000 * 1000 },
        { "GB", 1000 * 1000 * 1000 },
        { "TB", UINT64_C(1000) * 1000 * 1000 * 1000 },
        { "KiB", 1 << 10 },
        { "MiB", 1 << 20 },
        { "GiB", 1 << 30 },
        { "TiB", UINT64_C(1) << 40 },
    };
    static const struct quantity size = {
        .units = units,
        .n_units = ARRAY_LEN(units),
        .what = "a size",
        .example = "512B, 64KiB or 10MB",
        .unit_list = "B KB MB GB (1000) or KiB MiB GiB (1024)",
        .smallest = "bytes",
    };

    return parse_quantity(&size, s, ret_bytes, err);
}

int parse_bandwidth(const char *s, uint64_t *ret_bits_per_sec, struct err *err)
{
    static const struct unit units[] = {
        { "bit", 1 },
        { "kbit", 1000 },
        { "mbit", 1000 * 1000 },
        { "gbit", 1000 * 1000 * 1000 },
        { "Kbit", 1000 },
        { "Mbit", 1000 * 1000 },
        { "Gbit", 1000 * 1000 * 1000 },
        { "bit/s", 1 },
        { "kbit/s", 1000 },
        { "Mbit/s", 1000 * 1000 },
        { "Gbit/s", 1000 * 1000 * 1000 },
        { "bps", 1 },
        { "kbps", 1000 },
        { "mbps", 1000 * 1000 },
        { "gbps", 1000 * 1000 * 1000 },
        { "Kbps", 1000 },
        { "Mbps", 1000 * 1000 },
        { "Gbps", 1000 * 1000 * 1000 },
        { "B/s", 8 },
        { "KB/s", 8 * 1000 },
        { "kB/s", 8 * 1000 },
        { "MB/s", 8 * 1000 * 1000 },
        { "GB/s", UINT64_C(8) * 1000 * 1000 * 1000 },
        { "KiB/s", 8 << 10 },
        { "MiB/s", 8 << 20 },
        { "GiB/s", UINT64_C(8) << 30 },
    };
    static const struct quantity bandwidth = {
        .units = units,
        .n_units = ARRAY_LEN(units),
        .what = "a bandwidth",
        .example = "512kbit, 10mbit or 1MB/s",
        .unit_list = "bit kbit mbit gbit (bits per second) or B/s KB/s MB/s KiB/s MiB/s",
        .smallest = "bits per second",
    };

    return parse_quantity(&bandwidth, s, ret_bits_per_sec, err);
}

int parse_percent(const char *s, double *ret_fraction, struct err *err)
{
    const char *p = s;
    struct decimal d;

    if (!read_decimal(&p, &d))
        return not_a_number(s, "a percentage", "5% or 0.5%", err);
    if (!*p && d.digits)
        return USAGE(err, "'%.60s' needs a unit: write %.60s%%", s, s);
    if (*p && strcmp(p, "%") != 0)
        return USAGE(err, "'%.60s' is not a percentage: write it like 5%% or 0.5%%", s);
    double fraction = decimal_value(d) / 100;
    if (fraction > 1)
        return USAGE(err, "'%.60s' is more than 100%%", s);
    *ret_fraction = fraction;
    return 0;
}

/* ---- plain numbers ---- */

static bool is_whole(const char *s)
{
    s += *s == '-';
    if (!is_digit(*s))
        return false;
    while (is_digit(*s))
        s++;
    return !*s;
}

int parse_u64(const char *s, uint64_t lo, uint64_t hi, uint64_t *ret, struct err *err)
{
    if (!is_whole(s)) {
        if (hi == UINT64_MAX)
            return USAGE(err, "'%.60s' is not a whole number", s);
        return USAGE(err, "'%.60s' is not a whole number in %llu..%llu", s, (unsigned long long)lo,
                     (unsigned long long)hi);
    }
    errno = 0;
    unsigned long long v = *s == '-' ? 0 : strtoull(s, NULL, 10);
    if (*s == '-' || errno || v < lo || v > hi)
        return USAGE(err, "'%.60s' is not in %llu..%llu", s, (unsigned long long)lo,
                     (unsigned long long)hi);
    *ret = v;
    return 0;
}

int parse_i64(const char *s, int64_t lo, int64_t hi, int64_t *ret, struct err *err)
{
    if (!is_whole(s)) {
        if (lo == INT64_MIN || hi == INT64_MAX)
            return USAGE(err, "'%.60s' is not a whole number", s);
        return USAGE(err, "'%.60s' is not a whole number in %lld..%lld", s, (long long)lo,
                     (long long)hi);
    }
    errno = 0;
    long long v = strtoll(s, NULL, 10);
    if (errno || v < lo || v > hi)
        return USAGE(err, "'%.60s' is not in %lld..%lld", s, (long long)lo, (long long)hi);
    *ret = v;
    return 0;
}

/* The syntax is checked before strtod, which would also take "inf", "0x10" and leading blanks. */
static bool is_number(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t n = strspn(s, "0123456789.");
    if (!n || s[n - 1] == '.' || strchr(s, '.') != memrchr(s, '.', n))
        return false;
    s += n;
    if (*s != 'e' && *s != 'E')
        return !*s;
    s++;
    s += *s == '-' || *s == '+';
    return is_digit(*s) && s[strspn(s, "0123456789")] == '\0';
}

int parse_double(const char *s, double lo, double hi, double *ret, struct err *err)
{
    if (!is_number(s))
        return USAGE(err, "'%.60s' is not a number", s);
    char *end = NULL;
    double v = strtod(s, &end);
    if (*end || !isfinite(v))
        return USAGE(err, "'%.60s' is not a number", s);
    if (v < lo || v > hi)
        return USAGE(err, "'%.60s' is not in %g..%g", s, lo, hi);
    *ret = v;
    return 0;
}

int parse_bool(const char *s, bool *ret, struct err *err)
{
    static const char *const yes[] = { "true", "yes", "on" };
    static const char *const no[] = { "false", "no", "off" };

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        bool is_yes = !strcasecmp(s, yes[i]);
        if (!is_yes && strcasecmp(s, no[i]) != 0)
            continue;
        *ret = is_yes;
        return 0;
    }
    return USAGE(err, "'%.60s' is neither true nor false", s);
}

/* ---- texts ---- */

/* Length of the UTF-8 sequence that starts with byte c, 0 when none does. */
static size_t utf8_length(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

bool utf8_is_valid(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + len;

    while (p < end) {
        size_t n = utf8_length(*p);
        if (!n || (size_t)(end - p) < n)
            return false;
        for (size_t i = 1; i < n; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        /* Overlong forms, surrogates, and what lies above U+10FFFF. */
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return false;
        if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return false;
        p += n;
    }
    return true;
}

#define NAME_MAX_LEN 63

/* Edits between two words; a swap of neighbours is one. Above NAME_MAX_LEN: "far". */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    unsigned char d[3][NAME_MAX_LEN + 2];
    unsigned char *before = d[0], *last = d[1], *row = d[2];

    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned char)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, last[j] + 1U);
            best = MIN(best, row[j - 1] + 1U);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, before[j - 2] + 1U);
            row[j] = (unsigned char)best;
        }
        unsigned char *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[m];
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word), best = 3;
    const char *found = NULL;

    if (len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t other = strlen(names[i]);
        if (other > NAME_MAX_LEN || (other > len ? other - len : len - other) > 2)
            continue;
        size_t distance = edit_distance(word, len, names[i], other);
        if (distance < best && distance < len) {
            best = distance;
            found = names[i];
        }
    }
    return found;
}
