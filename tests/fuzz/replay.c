/* Runs a fuzz target over every file of a corpus folder: what libFuzzer found once stays found. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    auto_buf struct buf text = BUF_INIT((size_t)16 << 20);
    char chunk[4096];
    size_t n;

    if (!f)
        return -1;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    fclose(f);
    /* A copy of the exact size, so that the address sanitizer sees one byte too far. */
    auto_free uint8_t *exact = malloc(text.len ? text.len : 1);
    if (!exact)
        return -1;
    memcpy(exact, buf_str(&text), text.len);
    LLVMFuzzerTestOneInput(exact, text.len);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
            if (replay(path) < 0) {
                fprintf(stderr, "cannot read %s\n", path);
                return 1;
            }
            n++;
        }
        if (dir)
            closedir(dir);
    }
    printf("%u inputs replayed\n", n);
    return n == 0; /* an empty corpus proves nothing */
}
