#include "dicomweb/upload.h"

#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "sys/worker.h"

struct uploads {
    struct lock    lock;
    struct upload *first;
    unsigned       n;
    bool           stopping;
};

struct upload {
    struct uploads      *all;
    struct upload       *next, **before; // guarded by the lock of all
    struct http_request *r;
    upload_fn           *fn;
    void                *arg;
    uint64_t             log_id;
    bool                 own;  // the request is the thread's; only the thread looks
    size_t               held; // bytes at the front that the thread has a view of

    struct lock    lock;
    pthread_cond_t some;
    unsigned       refs; // the thread, the loop
    bool           asleep, ended, gone;
    size_t         at, len; // of the ring
    uint8_t        ring[LIMIT_UPLOAD_BYTES];
};

enum err uploads_new(struct uploads **ret, struct errmsg *e)
{
    struct uploads *all = calloc(1, sizeof(*all)); // allow-banned: uploads_free
    if (all == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for uploads");
    }
    lock_init(&all->lock, LOCK_QUEUE);
    *ret = all;
    return ERR_OK;
}

static unsigned count(struct uploads *all)
{
    lock_take(&all->lock);
    unsigned n = all->n;
    lock_give(&all->lock);
    return n;
}

/* Held: the lock.  The loop waits with a piece that did not fit: it may try again. */
static void wake(struct upload *u)
{
    if (u->asleep) {
        u->asleep = false;
        http_wake(u->r);
    }
}

static void break_off(struct upload *u)
{
    lock_take(&u->lock);
    u->gone = true;
    (void)pthread_cond_broadcast(&u->some);
    wake(u);
    lock_give(&u->lock);
}

void uploads_stop(struct uploads *all, struct deadline drain)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    if (all == NULL) {
        return;
    }
    while (count(all) > 0 && !is_deadline_past(drain)) {
        (void)nanosleep(&moment, NULL);
    }
    lock_take(&all->lock);
    all->stopping = true;
    for (struct upload *u = all->first; u != NULL; u = u->next) {
        break_off(u);
    }
    lock_give(&all->lock);
    while (count(all) > 0) {
        (void)nanosleep(&moment, NULL);
    }
}

void uploads_free(struct uploads *all)
{
    if (all != NULL) {
        lock_done(&all->lock);
        free(all);
    }
}

/* ---- one */

static void upload_unref(struct upload *u)
{
    lock_take(&u->lock);
    bool last = --u->refs == 0;
    lock_give(&u->lock);
    if (last) {
        (void)pthread_cond_destroy(&u->some);
        lock_done(&u->lock);
        free(u);
    }
}

static struct upload *upload_new(struct uploads *all, struct http_request *r)
{
    struct upload *u = malloc(sizeof(*u)); // allow-banned: upload_unref; the ring is not touched
    if (u == NULL) {
        return NULL;
    }
    memset(u, 0, offsetof(struct upload, ring));
    lock_init(&u->lock, LOCK_LEAF);
    if (pthread_cond_init(&u->some, NULL) != 0) {
        lock_done(&u->lock);
        free(u);
        return NULL;
    }
    u->all = all;
    u->r = r;
    u->log_id = http_id(r);
    u->own = true;
    u->refs = 2;
    return u;
}

/* False: too many, or stopping. */
static bool enter(struct uploads *all, struct upload *u)
{
    lock_take(&all->lock);
    bool room = !all->stopping && all->n < LIMIT_UPLOADS;
    if (room) {
        all->n++;
        u->next = all->first;
        u->before = &all->first;
        if (u->next != NULL) {
            u->next->before = &u->next;
        }
        all->first = u;
    }
    lock_give(&all->lock);
    return room;
}

/* Out of the list at once; counted until the thread has nothing more to do. */
static void leave(struct uploads *all, struct upload *u)
{
    lock_take(&all->lock);
    *u->before = u->next;
    if (u->next != NULL) {
        u->next->before = u->before;
    }
    lock_give(&all->lock);
}

static void leave_count(struct uploads *all)
{
    lock_take(&all->lock);
    all->n--; // last: then all may go
    lock_give(&all->lock);
}

/* ---- the thread */

enum err upload_read(struct upload *u, struct bytes *ret, struct errmsg *e)
{
    if (u->own) {
        u->own = false;
        http_wake(u->r);
    }
    lock_take(&u->lock);
    u->at = (u->at + u->held) % sizeof(u->ring);
    u->len -= u->held;
    u->held = 0;
    if (u->len <= sizeof(u->ring) / 2) { // not for every piece
        wake(u);
    }
    while (u->len == 0 && !u->ended && !u->gone) {
        lock_wait(&u->lock, &u->some);
    }
    size_t end = sizeof(u->ring) - u->at;
    u->held = u->len < end ? u->len : end;
    u->own = u->ended && u->held == 0;
    bool gone = u->gone && !u->ended;
    *ret = (struct bytes){u->ring + u->at, u->held};
    lock_give(&u->lock);
    return gone ? err_set(e, ERR_CLOSED, "the sender has gone") : ERR_OK;
}

static void run(void *arg)
{
    struct upload  *u = arg;
    struct uploads *all = u->all;
    log_set_id(u->log_id);
    u->fn(u, u->r, u->arg);
    leave(all, u); // before the request goes on, and perhaps ends
    if (u->own) {
        http_wake(u->r);
    }
    upload_unref(u);
    leave_count(all);
}

/* ---- the loop */

static enum err on_piece(void *arg, struct bytes piece, struct errmsg *e)
{
    struct upload *u = arg;
    enum err       rc = ERR_OK;
    lock_take(&u->lock);
    if (u->gone) {
        rc = err_set(e, ERR_CLOSED, "node is going down");
    } else if (piece.len > sizeof(u->ring) - u->len) {
        http_pause(u->r);
        u->asleep = true;
        rc = ERR_MORE;
    }
    while (rc == ERR_OK && piece.len > 0) {
        size_t to = (u->at + u->len) % sizeof(u->ring);
        size_t end = sizeof(u->ring) - to;
        size_t n = piece.len < end ? piece.len : end;
        memcpy(u->ring + to, piece.ptr, n);
        u->len += n;
        piece = (struct bytes){piece.ptr + n, piece.len - n};
    }
    (void)pthread_cond_signal(&u->some);
    lock_give(&u->lock);
    return rc;
}

void upload_end(struct http_request *r, void *arg)
{
    struct upload *u = http_body_arg(r);
    (void)arg;
    lock_take(&u->lock);
    bool gone = u->gone;
    if (!gone) {
        http_pause(r);
        u->ended = true;
        (void)pthread_cond_signal(&u->some);
    }
    lock_give(&u->lock);
    if (gone) {
        http_error(r, 503, "closed", "node is going down");
    }
}

static void on_done(void *arg)
{
    struct upload *u = arg;
    lock_take(&u->lock);
    u->gone = true;
    u->asleep = false; // the request is no more
    (void)pthread_cond_signal(&u->some);
    lock_give(&u->lock);
    upload_unref(u);
}

static void refuse(struct http_request *r)
{
    http_add_header(r, "Retry-After", STR("2"));
    http_error(r, 503, "limit", "too many uploads at once");
}

void upload_begin(struct uploads *all, struct http_request *r, upload_fn *fn, void *arg)
{
    struct errmsg  e = {0};
    struct upload *u = upload_new(all, r);
    if (u == NULL || !enter(all, u)) {
        if (u != NULL) {
            u->refs = 1;
            upload_unref(u);
        }
        refuse(r);
        return;
    }
    u->fn = fn;
    u->arg = arg;
    http_body_to(r, on_piece, u, on_done);
    http_pause(r);
    if (worker_start("upload", run, u, &e) != ERR_OK) {
        leave(all, u);
        upload_unref(u);
        leave_count(all);
        refuse(r);
        http_wake(r);
    }
}
