/* stress: the stressors of stress-ng that we have too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/pumba/native.h"

struct stress {
    uint64_t cpu, vm, io, hdd, cpu_load;
    uint64_t vm_bytes; /* of all workers together */
    uint64_t timeout_ns;
};

/* stress-ng's sizes: bytes, or k, m, g, of 1024. */
static int read_size(const char *text, uint64_t *ret, struct err *err)
{
    char number[32], unit[8];
    size_t n = strspn(text, "0123456789");
    uint64_t value;

    snprintf(number, sizeof(number), "%.*s", (int)MIN(n, 20), text);
    snprintf(unit, sizeof(unit), "%.4s", text + n);
    if (parse_u64(number, 0, UINT64_C(1) << 50, &value, err) < 0)
        return -EINVAL;
    unsigned shift = 0;
    if (unit[0])
        shift = strchr("kK", unit[0]) ? 10 : strchr("mM", unit[0]) ? 20 : 30;
    if (unit[0] && (!strchr("kKmMgG", unit[0]) || (unit[1] && unit[1] != 'b' && unit[1] != 'B')))
        return err_set(err, ERR_USAGE, EINVAL, "'%.20s' is not a size such as 256m", text);
    *ret = MIN(value, UINT64_MAX >> 40) << shift;
    return 0;
}

/* stress-ng takes a bare number for seconds. */
static int read_time(const char *text, uint64_t *ret, struct err *err)
{
    return parse_duration(text, PARSE_BARE_SECONDS, ret, err);
}

static int read_number(const char *text, uint64_t *ret, struct err *err)
{
    return parse_u64(text, 0, 4096, ret, err);
}

static const struct {
    const char *name, *letter;
    size_t offset;
    int (*read)(const char *text, uint64_t *ret, struct err *err);
} stressors[] = {
    { "--cpu", "-c", offsetof(struct stress, cpu), read_number },
    { "--cpu-load", "-l", offsetof(struct stress, cpu_load), read_number },
    { "--vm", "-m", offsetof(struct stress, vm), read_number },
    { "--vm-bytes", "", offsetof(struct stress, vm_bytes), read_size },
    { "--io", "-i", offsetof(struct stress, io), read_number },
    { "--hdd", "-d", offsetof(struct stress, hdd), read_number },
    { "--timeout", "-t", offsetof(struct stress, timeout_ns), read_time },
};

static int read_stressor(const struct strs *words, size_t *at, struct stress *s, struct err *err)
{
    const char *word = words->v[(*at)++];
    size_t len = strcspn(word, "=");

    for (size_t i = 0; i < ARRAY_LEN(stressors); i++) {
        bool named = strncmp(word, stressors[i].name, len) == 0 && !stressors[i].name[len];
        if (!named && strcmp(word, stressors[i].letter) != 0)
            continue;
        const char *value = word[len] ? word + len + 1 : NULL;
        if (!value && *at == words->n)
            return err_set(err, ERR_USAGE, EINVAL, "stressor '%s' needs a value", word);
        if (!value)
            value = words->v[(*at)++];
        uint64_t *field = (uint64_t *)(void *)((char *)s + stressors[i].offset);
        return stressors[i].read(value, field, err) < 0 ? err_wrap(err, "stressor '%s'", word) : 0;
    }
    return err_set(err, ERR_USAGE, EINVAL,
                   "stressor '%.40s' has no equivalent: known are --cpu, --cpu-load, --vm, "
                   "--vm-bytes, --io, --hdd, --timeout",
                   word);
}

static void put_all(struct native *n, const struct stress *s, uint64_t duration_ns)
{
    if (s->cpu) {
        native_begin(n, "cpu");
        buf_addf(&n->faults, ", workers: %llu, load: %llu%%", (unsigned long long)s->cpu,
                 (unsigned long long)s->cpu_load);
        native_end(n, duration_ns);
    }
    if (s->vm) {
        native_begin(n, "memory");
        buf_addf(&n->faults, ", workers: %llu, size: %lluB", (unsigned long long)s->vm,
                 (unsigned long long)s->vm_bytes);
        native_end(n, duration_ns);
    }
    if (s->io || s->hdd) {
        native_begin(n, "io");
        buf_addf(&n->faults, ", workers: %llu",
                 (unsigned long long)s->io + (unsigned long long)s->hdd);
        native_end(n, duration_ns);
    }
}

int native_stress(struct native *n)
{
    struct stress s = { .cpu_load = 100, .vm_bytes = UINT64_C(256) << 20, .timeout_ns = 0 };
    struct strs words;
    size_t at = 0;

    if (pumba_words(n->line->stressors, n->arena, &words, n->err) < 0)
        return err_wrap(n->err, "--stressors");
    while (at < words.n)
        if (read_stressor(&words, &at, &s, n->err) < 0)
            return -EINVAL;
    if (!s.cpu && !s.vm && !s.io && !s.hdd)
        return err_set(n->err, ERR_USAGE, EINVAL, "--stressors '%.60s' stresses nothing",
                       n->line->stressors);
    uint64_t duration = n->line->duration_ns;
    if (s.timeout_ns && s.timeout_ns < duration) {
        duration = s.timeout_ns;
        native_note(n, "stress-ng ends by its own --timeout, before --duration");
    }
    put_all(n, &s, duration);
    native_note(n, "the hogs are in the container's own cgroup and share its limits, as with "
                   "--inject-cgroup; no image is needed");
    return 0;
}
