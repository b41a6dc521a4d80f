/* See clock.h. */
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t clock_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_process_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_sleep_until(uint64_t mono_ns)
{
    struct timespec ts = { .tv_sec = (time_t)(mono_ns / NS_PER_SEC),
                           .tv_nsec = (long)(mono_ns % NS_PER_SEC) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

void clock_iso(uint64_t wall_ns, char out[CLOCK_ISO_LEN])
{
    time_t sec = (time_t)(wall_ns / NS_PER_SEC);
    struct tm tm;
    char day_time[24];

    gmtime_r(&sec, &tm);
    strftime(day_time, sizeof(day_time), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, CLOCK_ISO_LEN, "%s.%03uZ", day_time,
             (unsigned)(wall_ns % NS_PER_SEC / NS_PER_MS));
}
