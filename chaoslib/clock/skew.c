/* Our side of a skewed clock: the page, the object, and who cannot be fooled by it. */
#include "chaoslib/clock/skew.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/asset.h"
#include "base/clock.h"

/* How the page is called in /proc/PID/maps, behind "/memfd:". */
#define PAGE_NAME "chaos-load-clock"
#define OBJECT_NAME "chaos-load-preload"

extern const struct asset asset_clock_preload;

struct skew {
    int page_fd, object_fd;
    struct clock_page *page;
    ino_t inode; /* of the page: in whose maps it is */
    char page_path[64], object_path[64];
};

static void path_of(int fd, char out[64])
{
    snprintf(out, 64, "/proc/%d/fd/%d", (int)getpid(), fd);
}

static int make_page(struct skew *s)
{
    struct stat st;

    s->page_fd = memfd_create(PAGE_NAME, MFD_CLOEXEC);
    if (s->page_fd < 0 || ftruncate(s->page_fd, sizeof(*s->page)) < 0 || fstat(s->page_fd, &st) < 0)
        return -1;
    void *at = mmap(NULL, sizeof(*s->page), PROT_READ | PROT_WRITE, MAP_SHARED, s->page_fd, 0);
    if (at == MAP_FAILED)
        return -1;
    s->page = at;
    s->inode = st.st_ino;
    path_of(s->page_fd, s->page_path);
    return 0;
}

static int make_object(struct skew *s)
{
    const struct asset *a = &asset_clock_preload;

    s->object_fd = memfd_create(OBJECT_NAME, MFD_CLOEXEC);
    if (s->object_fd < 0)
        return -1;
    for (size_t at = 0; at < a->len;) {
        ssize_t n = write(s->object_fd, a->data + at, a->len - at);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? (size_t)n : 0;
    }
    path_of(s->object_fd, s->object_path);
    return 0;
}

struct skew *skew_new(struct err *err)
{
    struct skew *s = xcalloc(1, sizeof(*s));

    s->page_fd = s->object_fd = -1;
    if (make_page(s) == 0 && make_object(s) == 0)
        return s;
    err_ignore(err_sys(err, ERR_PREPARE, errno, "cannot make what skews clocks"), "NULL says it");
    skew_free(s);
    return NULL;
}

void skew_free(struct skew *s)
{
    if (!s)
        return;
    if (s->page) {
        skew_clear(s);
        munmap(s->page, sizeof(*s->page));
    }
    if (s->page_fd >= 0)
        close(s->page_fd);
    if (s->object_fd >= 0)
        close(s->object_fd);
    free(s);
}

const char *skew_object(const struct skew *s)
{
    return s->object_path;
}

const char *skew_page(const struct skew *s)
{
    return s->page_path;
}

/* ---- the skew ---- */

bool skew_is_set(const struct skew *s)
{
    return atomic_load(&s->page->until_ns) > clock_now_ns();
}

int skew_set(struct skew *s, int64_t offset_ns, unsigned clocks, uint64_t until_ns, struct err *err)
{
    uint64_t free_to_take = 0;

    /* Until then nothing is skewed: the claim lies in the past. */
    if (!atomic_compare_exchange_strong(&s->page->until_ns, &free_to_take, 1))
        return err_set(err, ERR_TARGET, EBUSY, "its clocks are skewed already by another fault");
    atomic_store(&s->page->offset_ns, offset_ns);
    atomic_store(&s->page->clocks, clocks);
    atomic_store(&s->page->until_ns, until_ns);
    return 0;
}

void skew_clear(struct skew *s)
{
    atomic_store(&s->page->until_ns, 0);
}

/* ---- who cannot be fooled ---- */

static bool has_text(const unsigned char *elf, size_t len, uint64_t at, uint64_t n,
                     const char *text)
{
    return at < len && n <= len - at && memmem(elf + at, n, text, strlen(text));
}

static bool is_go_section(const unsigned char *elf, size_t len, const Elf64_Ehdr *e)
{
    Elf64_Shdr names;
    uint64_t at = e->e_shoff + (uint64_t)e->e_shstrndx * sizeof(names);

    if (e->e_shoff == 0 || e->e_shoff > len || e->e_shentsize != sizeof(names) || at > len ||
        len - at < sizeof(names))
        return false;
    memcpy(&names, elf + at, sizeof(names));
    return has_text(elf, len, names.sh_offset, names.sh_size, ".go.buildinfo");
}

const char *program_ignores_preload(const unsigned char *elf, size_t len)
{
    Elf64_Ehdr e;
    Elf64_Phdr ph;
    bool links = false, is_musl = false;

    if (len < sizeof(e) || memcmp(elf, ELFMAG, SELFMAG) != 0)
        return "it is no ELF program";
    memcpy(&e, elf, sizeof(e));
    if (e.e_ident[EI_CLASS] != ELFCLASS64)
        return "it is a 32-bit program";
    for (unsigned i = 0; i < e.e_phnum; i++) {
        uint64_t at = e.e_phoff + (uint64_t)i * sizeof(ph);
        if (e.e_phoff > len || at > len || len - at < sizeof(ph))
            break;
        memcpy(&ph, elf + at, sizeof(ph));
        links |= ph.p_type == PT_INTERP;
        is_musl |=
            ph.p_type == PT_INTERP && has_text(elf, len, ph.p_offset, ph.p_filesz, "ld-musl");
    }
    if (!links)
        return "it is linked statically";
    if (is_musl)
        return "it uses another C library than glibc";
    return is_go_section(elf, len, &e) ? "it is written in Go, which asks the kernel by itself"
                                       : NULL;
}

static const char *why_not(pid_t pid)
{
    char path[64];
    struct stat st;
    const char *why = NULL;

    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
        return "its program file cannot be read";
    void *elf = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (elf == MAP_FAILED)
        return "its program file cannot be read";
    why = program_ignores_preload(elf, (size_t)st.st_size);
    munmap(elf, (size_t)st.st_size);
    return why;
}

/* "7f00…-7f00… r--s 00000000 00:01 1027 /memfd:chaos-load-clock (deleted)" */
static bool is_page_line(const struct skew *s, const char *line)
{
    const char *at = strstr(line, "/memfd:" PAGE_NAME);

    for (int i = 0; at && i < 4; i++) { /* the inode is the fifth */
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return at && strtoull(line, NULL, 10) == s->inode;
}

static bool has_page(const struct skew *s, pid_t pid)
{
    char path[64];
    char *line = NULL;
    size_t room = 0;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && !found && getline(&line, &room, f) > 0)
        found = is_page_line(s, line);
    if (f)
        fclose(f);
    free(line);
    return found;
}

int skew_check(const struct skew *s, pid_t pid, struct err *err)
{
    const char *why = why_not(pid);

    if (!why && !has_page(s, pid))
        why = "it did not load the object that was to be preloaded (does it change its user, root "
              "or environment before it starts?)";
    if (why)
        return err_set(err, ERR_TARGET, ENOTSUP, "the clocks of process %d cannot be skewed: %s",
                       (int)pid, why);
    return 0;
}
