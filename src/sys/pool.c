#include "sys/pool.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/lock.h"

struct pool {
    struct lock      lock; // of all below
    pthread_cond_t   work;
    struct pool_job *first, **last;
    bool             ending;
    unsigned         workers; // started; not under the lock
    pthread_t        threads[];
};

static void work(void *arg)
{
    struct pool *p = arg;
    for (;;) {
        lock_take(&p->lock);
        while (p->first == NULL && !p->ending) {
            lock_wait(&p->lock, &p->work);
        }
        struct pool_job *job = p->first;
        if (job != NULL) {
            p->first = job->next;
            p->last = p->first == NULL ? &p->first : p->last;
        }
        lock_give(&p->lock);
        if (job == NULL) {
            return;
        }
        job->fn(job->arg); // frees or reuses the job as it likes
    }
}

enum err pool_new(const char *name, unsigned workers, struct pool **ret, struct errmsg *e)
{
    struct pool *p = calloc(1, sizeof(*p) + workers * sizeof(p->threads[0]));
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for workers");
    }
    lock_init(&p->lock, LOCK_QUEUE);
    int rc = pthread_cond_init(&p->work, NULL);
    assert(rc == 0);
    p->last = &p->first;
    while (p->workers < workers) {
        enum err err = worker_run(name, work, p, &p->threads[p->workers], e);
        if (err != ERR_OK) {
            pool_free(p);
            return err;
        }
        p->workers++;
    }
    *ret = p;
    return ERR_OK;
}

void pool_submit(struct pool *p, struct pool_job *job)
{
    job->next = NULL;
    lock_take(&p->lock);
    assert(!p->ending);
    *p->last = job;
    p->last = &job->next;
    (void)pthread_cond_signal(&p->work);
    lock_give(&p->lock);
}

void pool_free(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    lock_take(&p->lock);
    p->ending = true;
    (void)pthread_cond_broadcast(&p->work);
    lock_give(&p->lock);
    for (unsigned i = 0; i < p->workers; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&p->work);
    lock_done(&p->lock);
    free(p);
}
