#pragma once
/*
 * A fixed number of workers that run jobs in the order of their submission.
 *
 * A job lives in the memory of whoever submits it, once, and is its owner's again when fn begins.
 * Any thread may submit.
 */
#include "sys/worker.h"

struct pool;

struct pool_job {
    worker_fn       *fn;
    void            *arg;
    struct pool_job *next; // the pool's
};

enum err pool_new(const char *name, unsigned workers, struct pool **ret, struct errmsg *e);
void     pool_submit(struct pool *p, struct pool_job *job);
/* Runs what is still queued, then ends the workers.  NULL is fine. */
void     pool_free(struct pool *p);
