#include "base/lock.h"

#include <assert.h>

/* One bit per class held by this thread, and how many of the class (series locks do not nest). */
static _Thread_local unsigned held;

void lock_init(struct lock *l, enum lock_class cls)
{
    int rc = pthread_mutex_init(&l->m, NULL);
    assert(rc == 0);
    l->cls = cls;
}

void lock_done(struct lock *l)
{
    (void)pthread_mutex_destroy(&l->m);
}

void lock_take(struct lock *l)
{
    assert(held >> l->cls == 0); // only downwards in the order of lock.h
    int rc = pthread_mutex_lock(&l->m);
    assert(rc == 0);
    held |= 1U << l->cls;
}

void lock_give(struct lock *l)
{
    assert((held & 1U << l->cls) != 0);
    held &= ~(1U << l->cls);
    int rc = pthread_mutex_unlock(&l->m);
    assert(rc == 0);
}

void lock_wait(struct lock *l, pthread_cond_t *c)
{
    int rc = pthread_cond_wait(c, &l->m);
    assert(rc == 0);
}
