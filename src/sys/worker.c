#include "sys/worker.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

struct start {
    worker_fn *fn;
    void      *arg;
    char       name[16]; // what the kernel keeps
};

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    (void)pthread_setname_np(pthread_self(), s.name);
    s.fn(s.arg);
    return NULL;
}

/* Signals go to the main thread, except those that a fault raises in the thread itself. */
static void block_signals(sigset_t *ret_old)
{
    sigset_t         all;
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        (void)sigdelset(&all, own[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

static int create(struct start *s, bool detached, pthread_t *ret)
{
    pthread_attr_t attr;
    sigset_t       old;
    int            n = pthread_attr_init(&attr);
    if (n != 0) {
        return n;
    }
    n = pthread_attr_setstacksize(&attr, LIMIT_STACK);
    if (n == 0 && detached) {
        n = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    }
    if (n == 0) {
        block_signals(&old); // inherited by the new thread
        n = pthread_create(ret, &attr, run, s);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    (void)pthread_attr_destroy(&attr);
    return n;
}

static enum err start(const struct start *want, bool detached, pthread_t *ret, struct errmsg *e)
{
    struct start *s = malloc(sizeof(*s));
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for thread %s", want->name);
    }
    *s = *want;
    int n = create(s, detached, ret);
    if (n != 0) {
        free(s);
        return err_set(e, ERR_LIMIT, "thread %s: %s", want->name, strerrordesc_np(n));
    }
    return ERR_OK;
}

static struct start start_of(const char *name, worker_fn *fn, void *arg)
{
    struct start s = {.fn = fn, .arg = arg};
    (void)snprintf(s.name, sizeof(s.name), "%s", name);
    return s;
}

enum err worker_start(const char *name, worker_fn *fn, void *arg, struct errmsg *e)
{
    pthread_t    t = 0;
    struct start s = start_of(name, fn, arg);
    return start(&s, true, &t, e);
}

enum err worker_run(const char *name, worker_fn *fn, void *arg, pthread_t *ret, struct errmsg *e)
{
    pthread_t    t = 0;
    struct start s = start_of(name, fn, arg);
    enum err     rc = start(&s, false, &t, e);
    if (rc == ERR_OK) {
        *ret = t;
    }
    return rc;
}
