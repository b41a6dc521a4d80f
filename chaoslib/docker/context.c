/* The context that the docker CLI would use: a folder of its own below contexts/meta, named by a
 * hash of its name. The hash is not computed: the name is in the file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/docker/host.h"

/* 0 read, 1 there is no such file. */
static int read_json(const char *path, struct json **ret, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(DOCKER_FILE_MAX);
    char piece[4096];
    ssize_t n;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 1;
    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot read %.200s", path);
    while ((n = read(fd, piece, sizeof(piece))) > 0 && !buf_failed(&text))
        buf_add(&text, piece, (size_t)n);
    if (n < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot read %.200s", path);
    if (buf_failed(&text))
        return err_set(err, ERR_LIMIT, EFBIG, "%.200s is larger than %zu bytes", path,
                       DOCKER_FILE_MAX);
    if (json_parse(buf_str(&text), text.len, ret, err) < 0) {
        err->kind = ERR_PREPARE;
        return err_wrap(err, "%.200s", path);
    }
    return 0;
}

/* The chosen name, NULL for none; the caller frees. */
static int chosen(const char *dir, char **ret, struct err *err)
{
    const char *named = docker_env("DOCKER_CONTEXT");
    auto_free char *path = xasprintf("%s/config.json", dir);
    auto(json) struct json *config = NULL;

    *ret = NULL;
    if (!named) {
        if (read_json(path, &config, err) < 0)
            return err_wrap(err, "the docker CLI's settings");
        named = json_str(config, "currentContext", "");
    }
    if (*named && strcmp(named, "default") != 0)
        *ret = xstrdup(named);
    return 0;
}

/* 0 it is the one, 1 it is another. */
static int look_at(const char *dir, const char *entry, const char *name, struct docker_host *h,
                   struct err *err)
{
    auto_free char *path = xasprintf("%s/contexts/meta/%s/meta.json", dir, entry);
    auto_free char *certs = xasprintf("%s/contexts/tls/%s/docker", dir, entry);
    auto(json) struct json *meta = NULL;
    int rc = read_json(path, &meta, err);

    if (rc != 0)
        return rc;
    if (strcmp(json_str(meta, "Name", ""), name) != 0)
        return 1;
    h->address = xstrdup(json_str(meta, "Endpoints.docker.Host", ""));
    h->verify = !json_bool(meta, "Endpoints.docker.SkipTLSVerify", false);
    if (access(certs, F_OK) != 0)
        return 0;
    h->tls = true;
    return docker_host_certs(h, certs, err);
}

int docker_context_find(struct docker_host *ret, struct err *err)
{
    auto_free char *dir = docker_config_dir(), *name = NULL;
    struct dirent *entry;
    int rc = 1;

    if (!dir)
        return 1;
    if (chosen(dir, &name, err) < 0)
        return -EIO;
    if (!name)
        return 1;
    ret->from = xasprintf("context '%.60s' of the docker CLI", name);
    auto_free char *all = xasprintf("%s/contexts/meta", dir);
    DIR *metas = opendir(all);
    while (metas && rc == 1 &&
           (entry = readdir(metas))) // NOLINT(concurrency-mt-unsafe): our own stream
        if (entry->d_name[0] != '.')
            rc = look_at(dir, entry->d_name, name, ret, err);
    if (metas)
        closedir(metas);
    if (rc == 1)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "%s: there is no such context in %.150s; see docker context ls, or unset "
                       "DOCKER_CONTEXT",
                       ret->from, all);
    return rc < 0 ? err_wrap(err, "%s", ret->from) : 0;
}
