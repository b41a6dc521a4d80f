/* One thread, one job at a time: see spawner.h for why. */
#include "chaoslib/process/spawner.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

struct job {
    const struct proc_spawn_opts *opts;
    struct proc_id *ret;
    struct err *err;
    int rc;
    bool done;
};

struct spawner {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct job *job;
    bool stopping, started;
};

static void *work(void *arg)
{
    struct spawner *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (s->job && !s->job->done) {
            s->job->rc = proc_spawn(s->job->opts, s->job->ret, s->job->err);
            s->job->done = true;
            pthread_cond_broadcast(&s->changed);
        }
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct spawner *spawner_new(void)
{
    struct spawner *s = xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->started = pthread_create(&s->thread, NULL, work, s) == 0;
    return s;
}

int spawner_spawn(struct spawner *s, const struct proc_spawn_opts *opts, struct proc_id *ret,
                  struct err *err)
{
    struct job job = { .opts = opts, .ret = ret, .err = err };

    if (!s->started)
        return err_set(err, ERR_PREPARE, EAGAIN, "cannot start one more thread");
    pthread_mutex_lock(&s->lock);
    while (s->job)
        pthread_cond_wait(&s->changed, &s->lock);
    s->job = &job;
    pthread_cond_broadcast(&s->changed);
    while (!job.done)
        pthread_cond_wait(&s->changed, &s->lock);
    s->job = NULL;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return job.rc;
}

void spawner_free(struct spawner *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
