/* The limits of the machine. A load generator that runs out of files, ports or memory half way
 * measures itself; so all of that is counted before the start and said plainly. */
#include "runner/limits.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "runner/pace.h"
#include "runner/url.h"
#include "runner/user.h"

#define FILES_RESERVED 64   /* logs, reports, epoll, timers, the fault side */
#define FILES_SPARE 32      /* of those: never a socket's */
#define FILES_PER_THREAD 16 /* loop, timerfd, eventfd, resolver */
#define BYTES_PER_USER 8192 /* ours; the kernel's socket buffers come on top */
#define USERS_PER_THREAD 50
#define TIME_WAIT_S 60

void notes_add(struct notes *n, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    n->v = xrealloc(n->v, n->n + 2, sizeof *n->v);
    n->v[n->n++] = xstrdup(line);
    n->v[n->n] = NULL;
}

void notes_done(struct notes *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->v[i]);
    free(n->v);
    *n = (struct notes){ 0 };
}

/* ---- the machine ---- */

static uint64_t count_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return MAX(1, (uint64_t)CPU_COUNT(&set));
}

/* The number at *at after blanks, of a text that the kernel wrote. Moves *at past it; 0 when there
 * is none. */
static uint64_t take_number(char **at)
{
    char *end = NULL;
    unsigned long long n = strtoull(*at, &end, 10);

    *at = end;
    return n;
}

static uint64_t count_ports(void)
{
    uint64_t lo = 32768, hi = 60999;
    char line[64];
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (f && fgets(line, sizeof line, f)) {
        char *at = line;

        lo = take_number(&at);
        hi = take_number(&at);
    }
    if (f)
        fclose(f);
    return hi > lo ? hi - lo + 1 : 1;
}

static uint64_t available_memory(void)
{
    static const char key[] = "MemAvailable:";
    uint64_t kib = 0; /* 0: unknown */
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0)
            kib = take_number(&(char *){ line + strlen(key) });
    }
    if (f)
        fclose(f);
    return kib * 1024;
}

void machine_read(struct machine *m)
{
    struct rlimit files = { .rlim_cur = 1024, .rlim_max = 1024 };

    getrlimit(RLIMIT_NOFILE, &files);
    *m = (struct machine){ .files_soft = files.rlim_cur,
                           .files_hard = files.rlim_max,
                           .ports = count_ports(),
                           .memory_bytes = available_memory(),
                           .cpus = count_cpus() };
}

/* ---- the demand ---- */

static uint64_t part_users(const struct load_plan *plan, const struct load_plan_part *p,
                           double *peak)
{
    struct pace_curve curve;

    pace_curve_init(&curve, p);
    *peak = curve.peak;
    pace_curve_done(&curve);
    if (p->kind == LOAD_OPEN)
        return p->max_users;
    return MIN(pace_users_at(*peak), spread_max(plan, p));
}

void demand_of(const struct load_plan *plan, const struct machine *m, struct demand *ret)
{
    double work = 0; /* in users: an arrival a second is as much as one */

    uint64_t fewest = UINT64_MAX; /* of the users that each open part may have */

    *ret = (struct demand){ 0 };
    for (size_t i = 0; i < plan->n_parts; i++) {
        const struct load_plan_part *p = &plan->parts[i];
        double peak = 0;
        uint64_t users = part_users(plan, p, &peak);

        if (p->kind == LOAD_OPEN) {
            ret->users_open += users;
            fewest = MIN(fewest, users);
        } else {
            ret->users_closed += users;
        }
        work += peak;
    }
    ret->threads = MIN(m->cpus, pace_users_at(work / USERS_PER_THREAD));
    ret->threads = plan->threads > 0 ? (uint64_t)plan->threads : ret->threads;
    /* Each thread has users of its own: more threads than users would be more users than allowed.
     */
    ret->threads = MAX(1, MIN(ret->threads, fewest));
}

/* ---- the checks ---- */

static int check_files(const struct load_plan *plan, const struct machine *m,
                       const struct demand *d, struct notes *notes, uint64_t *ret_files,
                       struct err *err)
{
    uint64_t fixed = FILES_RESERVED + FILES_PER_THREAD * d->threads;
    uint64_t sharing = d->users_open; /* users that need no connection each */
    uint64_t must, wish;

    if (plan->http.conn == CONN_POOLED)
        sharing += d->users_closed;
    wish = fixed + d->users_closed + d->users_open;
    must = wish - sharing;
    if (fixed > m->files_hard)
        return err_set(err, ERR_LIMIT, EMFILE,
                       "a run needs %llu open files and this process may have %llu; raise the hard "
                       "limit (ulimit -Hn, or LimitNOFILE= in systemd)",
                       (unsigned long long)fixed, (unsigned long long)m->files_hard);
    if (must > m->files_hard)
        return err_set(err, ERR_LIMIT, EMFILE,
                       "%llu users need %llu open files and this process may have %llu; raise the "
                       "hard limit (ulimit -Hn, or LimitNOFILE= in systemd), or set "
                       "http.connections to pooled",
                       (unsigned long long)d->users_closed, (unsigned long long)must,
                       (unsigned long long)m->files_hard);
    if (wish > m->files_hard)
        notes_add(notes,
                  "open files are limited to %llu: of the %llu users that arrivals may use or that "
                  "share connections, about %llu can be connected at once",
                  (unsigned long long)m->files_hard, (unsigned long long)sharing,
                  (unsigned long long)(m->files_hard - must));
    *ret_files = MAX(m->files_soft, MIN(wish, m->files_hard));
    if (*ret_files > m->files_soft)
        notes_add(notes, "open files: limit raised from %llu to %llu",
                  (unsigned long long)m->files_soft, (unsigned long long)*ret_files);
    return 0;
}

static int check_ports(const struct load_plan *plan, const struct machine *m,
                       const struct demand *d, struct notes *notes, struct err *err)
{
    const struct http_plan *http = &plan->http;
    uint64_t ports = m->ports * MAX(1, http->source_addresses.n);

    if (strncmp(plan->target, "unix:", 5) == 0)
        return 0;
    if (http->conn == CONN_PER_USER && d->users_closed > ports)
        return err_set(err, ERR_LIMIT, EADDRNOTAVAIL,
                       "%llu users with a connection each, but %llu local ports; add "
                       "http.source_addresses, or widen net.ipv4.ip_local_port_range",
                       (unsigned long long)d->users_closed, (unsigned long long)ports);
    if (!http->keep_alive)
        notes_add(notes,
                  "without keep-alive each request uses up a local port for %d s: about %llu "
                  "requests a second can be made to one target",
                  TIME_WAIT_S, (unsigned long long)(ports / TIME_WAIT_S));
    return 0;
}

static int check_memory(const struct machine *m, const struct demand *d, struct notes *notes,
                        struct err *err)
{
    uint64_t must = d->users_closed * BYTES_PER_USER;
    uint64_t mib = (uint64_t)1 << 20;

    if (m->memory_bytes == 0)
        return 0;
    if (must > m->memory_bytes)
        return err_set(err, ERR_LIMIT, ENOMEM,
                       "%llu users need about %llu MiB of memory and %llu MiB are available; use "
                       "fewer users or several machines",
                       (unsigned long long)d->users_closed, (unsigned long long)(must / mib),
                       (unsigned long long)(m->memory_bytes / mib));
    if (must > m->memory_bytes / 2)
        notes_add(notes, "memory: the users may need %llu of %llu MiB available",
                  (unsigned long long)(must / mib), (unsigned long long)(m->memory_bytes / mib));
    return 0;
}

int limits_check(const struct load_plan *plan, const struct machine *m, const struct demand *d,
                 struct notes *notes, uint64_t *ret_files, struct err *err)
{
    int rc = check_files(plan, m, d, notes, ret_files, err);

    if (rc == 0)
        rc = check_ports(plan, m, d, notes, err);
    if (rc == 0)
        rc = check_memory(m, d, notes, err);
    if (rc == 0 && plan->threads > 0 && d->threads > m->cpus)
        notes_add(notes, "%llu threads share %llu CPUs: more threads than CPUs add no load",
                  (unsigned long long)d->threads, (unsigned long long)m->cpus);
    return rc;
}

int limits_raise_files(uint64_t files, struct err *err)
{
    struct rlimit now;

    if (getrlimit(RLIMIT_NOFILE, &now) < 0)
        return err_sys(err, ERR_LIMIT, errno, "read the limit of open files");
    if (now.rlim_cur >= files)
        return 0;
    now.rlim_cur = MIN(files, now.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &now) < 0)
        return err_sys(err, ERR_LIMIT, errno, "raise the limit of open files to %llu",
                       (unsigned long long)files);
    return 0;
}

int limits_socket_end(void)
{
    struct rlimit now;

    if (getrlimit(RLIMIT_NOFILE, &now) < 0 || now.rlim_cur > INT_MAX)
        return INT_MAX;
    return now.rlim_cur > 2 * FILES_SPARE ? (int)now.rlim_cur - FILES_SPARE : (int)now.rlim_cur / 2;
}

static int bind_to(const char *address)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
    struct addrinfo *found = NULL;
    auto_close int fd = -1;
    int code;

    if (getaddrinfo(address, NULL, &hints, &found) != 0)
        return EINVAL;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    code = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 ? errno : 0;
    freeaddrinfo(found);
    return code;
}

int limits_sources(const struct load_plan *plan, struct err *err)
{
    const struct strs *list = &plan->http.source_addresses;

    for (size_t i = 0; i < list->n; i++) {
        int code = bind_to(list->v[i]);

        if (code)
            return err_sys(err, ERR_LIMIT, code,
                           "http.source_addresses: connect from %s, which must be an address of "
                           "this machine ('ip address' lists them)",
                           list->v[i]);
    }
    return 0;
}

static int resolve(const char *base_url, struct err *err)
{
    struct url url;
    char host[URL_HOST_MAX + 1];
    struct addrinfo *found = NULL;

    if (url_parse(base_url, strlen(base_url), &url, err) < 0)
        return -EINVAL;
    if (url.scheme == URL_UNIX)
        return 0;
    url_host(&url, host);

    int rc = getaddrinfo(host, NULL, &(struct addrinfo){ .ai_socktype = SOCK_STREAM }, &found);

    if (rc == 0) {
        freeaddrinfo(found);
        return 0;
    }
    return err_set(err, ERR_PREPARE, EHOSTUNREACH,
                   "the target's name '%s' does not resolve: %s; check the spelling and the DNS",
                   host, gai_strerror(rc));
}

int limits_resolve(const struct load_plan *plan, struct err *err)
{
    bool target_used = false;

    for (size_t i = 0; i < plan->n_classes; i++) {
        const char *host = plan->classes[i].host;

        target_used |= !host;
        if (host && resolve(host, err) < 0)
            return err_wrap(err, "users '%s'", plan->classes[i].name);
    }
    return target_used ? resolve(plan->target, err) : 0;
}
