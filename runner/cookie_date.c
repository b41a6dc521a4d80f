/* RFC 6265's way to read a date: words in any order, recognised by their shape. Servers send
 * "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21-Oct-26 07:28:00 GMT" and "Wed Oct 21 07:28:00 2026";
 * one reader takes them all. */
#include "runner/cookie_date.h"

#include <string.h>
#include <strings.h>

struct date {
    int day, month, year, hour, minute, second; /* -1: not seen */
};

static bool is_delimiter(char c)
{
    return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             c == ':');
}

/* Reads min..max digits; returns how many, 0 when there are fewer or more. */
static size_t digits(const char *s, size_t len, size_t min, size_t max, int *ret)
{
    size_t n = 0;

    *ret = 0;
    while (n < len && n < max && s[n] >= '0' && s[n] <= '9')
        *ret = *ret * 10 + (s[n++] - '0');
    if (n < min || (n < len && s[n] >= '0' && s[n] <= '9'))
        return 0;
    return n;
}

static bool read_time(const char *s, size_t len, struct date *d)
{
    int v[3];

    for (size_t i = 0; i < 3; i++) {
        size_t n = digits(s, len, 1, 2, &v[i]);

        if (n == 0 || (i < 2 && (n >= len || s[n] != ':')))
            return false;
        s += n + (i < 2);
        len -= n + (i < 2);
    }
    d->hour = v[0];
    d->minute = v[1];
    d->second = v[2];
    return true;
}

static bool read_month(const char *s, size_t len, struct date *d)
{
    static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    for (int m = 0; len >= 3 && m < 12; m++)
        if (strncasecmp(s, months + (ptrdiff_t)m * 3, 3) == 0) {
            d->month = m + 1;
            return true;
        }
    return false;
}

static void read_word(const char *s, size_t len, struct date *d)
{
    int v;

    if (d->hour < 0 && read_time(s, len, d))
        return;
    if (d->day < 0 && digits(s, len, 1, 2, &v) > 0)
        d->day = v;
    else if (d->month < 0 && read_month(s, len, d))
        return;
    else if (d->year < 0 && digits(s, len, 2, 4, &v) > 0)
        d->year = v + (v < 70 ? 2000 : v < 100 ? 1900 : 0);
}

/* Days from 1970-01-01 in the Gregorian calendar, by counting leap days before the year. */
static int64_t days_since_epoch(int year, int month, int day)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t y = year - 1;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month - 1] + (leap && month > 2) +
           day - 1;
}

bool cookie_date(const char *s, size_t len, uint64_t *ret_s)
{
    struct date d = { -1, -1, -1, -1, -1, -1 };
    int64_t at;

    for (size_t i = 0; i < len;) {
        size_t start = i;

        while (i < len && !is_delimiter(s[i]))
            i++;
        if (i > start)
            read_word(s + start, i - start, &d);
        else
            i++;
    }
    if (d.day < 1 || d.day > 31 || d.month < 1 || d.year < 1601 || d.hour < 0 || d.hour > 23 ||
        d.minute > 59 || d.second > 59)
        return false;
    at =
        days_since_epoch(d.year, d.month, d.day) * 86400 + d.hour * 3600 + d.minute * 60 + d.second;
    *ret_s = at > 0 ? (uint64_t)at : 0;
    return true;
}
