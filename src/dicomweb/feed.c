#include "dicomweb/feed.h"

#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "sys/worker.h"

struct feeds {
    struct lock  lock;
    struct feed *first;
    unsigned     n;
    bool         stopping;
};

struct feed {
    struct feeds        *all;
    struct feed         *next, **before; // guarded by the lock of all
    struct http_request *r;
    struct feed_job      job;
    uint64_t             log_id;

    struct lock    lock;
    pthread_cond_t room;
    unsigned       refs; // the writer, the reader
    bool           asleep, gone, ended, broken;
    size_t         at, len; // of the ring
    uint8_t        ring[LIMIT_FEED_BYTES];
};

enum err feeds_new(struct feeds **ret, struct errmsg *e)
{
    struct feeds *f = calloc(1, sizeof(*f)); // allow-banned: feeds_free
    if (f == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for answers");
    }
    lock_init(&f->lock, LOCK_QUEUE);
    *ret = f;
    return ERR_OK;
}

static unsigned count(struct feeds *f)
{
    lock_take(&f->lock);
    unsigned n = f->n;
    lock_give(&f->lock);
    return n;
}

void feeds_stop(struct feeds *f, struct deadline drain)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    if (f == NULL) {
        return;
    }
    while (count(f) > 0 && !is_deadline_past(drain)) {
        (void)nanosleep(&moment, NULL);
    }
    lock_take(&f->lock);
    f->stopping = true;
    for (struct feed *x = f->first; x != NULL; x = x->next) {
        lock_take(&x->lock);
        x->gone = true;
        (void)pthread_cond_broadcast(&x->room);
        lock_give(&x->lock);
    }
    lock_give(&f->lock);
    while (count(f) > 0) {
        (void)nanosleep(&moment, NULL);
    }
}

void feeds_free(struct feeds *f)
{
    if (f != NULL) {
        lock_done(&f->lock);
        free(f);
    }
}

/* ---- one */

static void feed_unref(struct feed *f)
{
    lock_take(&f->lock);
    bool last = --f->refs == 0;
    lock_give(&f->lock);
    if (last) {
        (void)pthread_cond_destroy(&f->room);
        lock_done(&f->lock);
        free(f);
    }
}

/* Held: the lock. */
static void wake(struct feed *f)
{
    if (f->asleep && f->r != NULL) {
        f->asleep = false;
        http_wake(f->r);
    }
}

enum err feed_write(struct feed *f, struct bytes b, struct errmsg *e)
{
    lock_take(&f->lock);
    while (b.len > 0 && !f->gone) {
        if (f->len == sizeof(f->ring)) {
            lock_wait(&f->lock, &f->room);
            continue;
        }
        size_t to = (f->at + f->len) % sizeof(f->ring);
        size_t end = to >= f->at ? sizeof(f->ring) - to : f->at - to;
        size_t n = b.len < end ? b.len : end;
        memcpy(f->ring + to, b.ptr, n);
        f->len += n;
        b = (struct bytes){b.ptr + n, b.len - n};
        wake(f);
    }
    bool gone = f->gone;
    lock_give(&f->lock);
    return gone ? err_set(e, ERR_CLOSED, "nobody reads any more") : ERR_OK;
}

static void run(void *arg)
{
    struct feed  *f = arg;
    struct errmsg e = {0};
    log_set_id(f->log_id);
    enum err rc = f->job.fn(f->job.arg, f, &e);
    f->job.done(f->job.arg);
    if (rc != ERR_OK && rc != ERR_CLOSED) {
        log_warn("http.broken", "what=%s why=%s", f->job.what, log_q(str_of(e.text)).z);
    }
    lock_take(&f->lock);
    f->ended = true;
    f->broken = rc != ERR_OK;
    wake(f);
    lock_give(&f->lock);
    struct feeds *all = f->all;
    lock_take(&all->lock);
    *f->before = f->next;
    if (f->next != NULL) {
        f->next->before = f->before;
    }
    lock_give(&all->lock);
    feed_unref(f);
    lock_take(&all->lock);
    all->n--; // last: then all may go
    lock_give(&all->lock);
}

/* ---- the reader, on the loop */

static enum err feed_read(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct feed *f = arg;
    enum err     rc = ERR_OK;
    lock_take(&f->lock);
    size_t end = sizeof(f->ring) - f->at;
    size_t got = f->len < end ? f->len : end;
    got = got < n ? got : n;
    if (got > 0) {
        memcpy(to, f->ring + f->at, got);
        f->at = (f->at + got) % sizeof(f->ring);
        f->len -= got;
        (void)pthread_cond_signal(&f->room);
    } else if (!f->ended) {
        f->asleep = true;
        rc = ERR_MORE;
    } else if (f->broken) {
        rc = ERR_IO;
    }
    lock_give(&f->lock);
    *ret_n = got;
    return rc;
}

static void feed_done(void *arg)
{
    struct feed *f = arg;
    lock_take(&f->lock);
    f->gone = true;
    f->r = NULL;
    (void)pthread_cond_broadcast(&f->room);
    lock_give(&f->lock);
    feed_unref(f);
}

/* ---- starting */

static struct feed *feed_new(struct feeds *all, struct http_request *r, const struct feed_job *job)
{
    struct feed *f = calloc(1, sizeof(*f)); // allow-banned: feed_unref
    if (f == NULL) {
        return NULL;
    }
    lock_init(&f->lock, LOCK_LEAF);
    if (pthread_cond_init(&f->room, NULL) != 0) {
        lock_done(&f->lock);
        free(f);
        return NULL;
    }
    f->all = all;
    f->r = r;
    f->job = *job;
    f->log_id = http_id(r);
    f->refs = 2;
    return f;
}

/* False: too many, or stopping. */
static bool feed_enter(struct feeds *all, struct feed *f)
{
    lock_take(&all->lock);
    bool room = !all->stopping && all->n < LIMIT_FEEDS;
    if (room) {
        all->n++;
        f->next = all->first;
        f->before = &all->first;
        if (f->next != NULL) {
            f->next->before = &f->next;
        }
        all->first = f;
    }
    lock_give(&all->lock);
    return room;
}

static void feed_leave(struct feeds *all, struct feed *f)
{
    lock_take(&all->lock);
    *f->before = f->next;
    if (f->next != NULL) {
        f->next->before = f->before;
    }
    all->n--;
    lock_give(&all->lock);
}

static void refuse(struct http_request *r)
{
    http_add_header(r, "Retry-After", STR("2"));
    http_error(r, 503, "limit", "too many conversions at once");
}

void feed_answer(struct feeds *all, struct http_request *r, unsigned status, const char *type,
                 const struct feed_job *job)
{
    struct errmsg e = {0};
    if (http_is_head(r)) {
        job->done(job->arg);
        http_answer(r, status, type, (struct bytes){0});
        return;
    }
    struct feed *f = feed_new(all, r, job);
    if (f == NULL || !feed_enter(all, f)) {
        if (f != NULL) {
            f->refs = 1;
            feed_unref(f);
        }
        job->done(job->arg);
        refuse(r);
        return;
    }
    if (worker_start("feed", run, f, &e) != ERR_OK) {
        feed_leave(all, f);
        f->refs = 1;
        feed_unref(f);
        job->done(job->arg);
        refuse(r);
        return;
    }
    http_answer_stream(
        r, status, type,
        &(struct http_stream){
            .len = HTTP_LENGTH_UNKNOWN, .read = feed_read, .done = feed_done, .arg = f});
}
