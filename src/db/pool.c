#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/lock.h"
#include "db/db_priv.h"

struct db_pool {
    struct lock    lock;
    pthread_cond_t given;
    char          *url; // owned
    unsigned       max, open;
    struct db     *idle; // last given first: its caches are warm
};

enum err db_pool_new(const char *url, unsigned max, struct db_pool **ret, struct errmsg *e)
{
    struct db_pool *p = calloc(1, sizeof(*p));
    char           *copy = strdup(url);
    if (p == NULL || copy == NULL) {
        free(p);
        free(copy);
        return err_set(e, ERR_NOMEM, "no memory for a pool of database connections");
    }
    p->url = copy;
    p->max = max > 0 ? max : 1;
    lock_init(&p->lock, LOCK_DB);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&p->given, &attr);
    (void)pthread_condattr_destroy(&attr);
    *ret = p;
    return ERR_OK;
}

void db_pool_free(struct db_pool *p)
{
    if (p == NULL) {
        return;
    }
    while (p->idle != NULL) {
        struct db *db = p->idle;
        p->idle = db->next;
        db_close(db);
    }
    (void)pthread_cond_destroy(&p->given);
    lock_done(&p->lock);
    free(p->url);
    free(p);
}

/* With the lock held: an idle connection, or room to open one (*ret NULL), or too late. */
static bool wait_turn(struct db_pool *p, struct db **ret)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LIMIT_DB_WAIT_MS / 1000;
    while (p->idle == NULL && p->open >= p->max) {
        if (pthread_cond_timedwait(&p->given, &p->lock.m, &until) == ETIMEDOUT) {
            return false;
        }
    }
    *ret = p->idle;
    if (p->idle != NULL) {
        p->idle = p->idle->next;
    } else {
        p->open++;
    }
    return true;
}

static void give_place(struct db_pool *p)
{
    lock_take(&p->lock);
    p->open--;
    (void)pthread_cond_signal(&p->given);
    lock_give(&p->lock);
}

struct db *db_pool_take(struct db_pool *p, struct errmsg *e)
{
    struct db *db = NULL;
    lock_take(&p->lock);
    bool mine = wait_turn(p, &db);
    lock_give(&p->lock);
    if (!mine) {
        (void)err_set(e, ERR_TIMEOUT, "no database connection free: all %u in use", p->max);
        return NULL;
    }
    if (db == NULL) {
        db = db_open(p->url, e);
        if (db == NULL) {
            give_place(p);
        }
    }
    return db;
}

void db_pool_give(struct db_pool *p, struct db *db)
{
    if (db == NULL) {
        return;
    }
    if (db->in_tx) { // cannot happen through db_tx; never lend out half a transaction
        db_close(db);
        give_place(p);
        return;
    }
    lock_take(&p->lock);
    db->next = p->idle;
    p->idle = db;
    (void)pthread_cond_signal(&p->given);
    lock_give(&p->lock);
}
