#pragma once
/*
 * Mutexes with an order.  A thread may take a lock only when its class is higher than that of every
 * lock it holds; the assertion stays on in release builds, since it costs a thread-local compare.
 * No callbacks and no blocking I/O on sockets while holding one.
 */
#include <pthread.h>

#include "base/attr.h"

enum lock_class {
    LOCK_UPKEEP,   // archive: who writes counters; held over a transaction, nobody else waits
    LOCK_REGISTRY, // archive: the table of live series
    LOCK_SERIES,   // archive: one live series
    LOCK_PACK,     // pack caches
    LOCK_DB,       // db: pool of connections
    LOCK_QUEUE,    // queues between workers, tables of open connections
    LOCK_LEAF,     // anything that takes no other lock inside
};

struct lock {
    pthread_mutex_t m;
    enum lock_class cls;
};

void lock_init(struct lock *l, enum lock_class cls);
void lock_done(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);
/* Wait on a condition with the lock held (given and taken again inside). */
void lock_wait(struct lock *l, pthread_cond_t *c);
