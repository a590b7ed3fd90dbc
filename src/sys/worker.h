#pragma once
/*
 * Threads.  A named thread runs a request or an association from start to end with blocking I/O.
 */
#include <pthread.h>

#include "base/err.h"

typedef void worker_fn(void *arg);

/* Detached; the caller counts its workers itself.  ERR_LIMIT: no more threads.  Small stacks
 * (limits.h) since there are hundreds. */
enum err worker_start(const char *name, worker_fn *fn, void *arg, struct errmsg *e);
/* Joinable. */
enum err worker_run(const char *name, worker_fn *fn, void *arg, pthread_t *ret, struct errmsg *e);
