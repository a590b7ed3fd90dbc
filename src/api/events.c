/*
 * Server-sent events: what arrives, told to the open pages of its tenant.
 *
 * One thread asks the index once a second for studies that changed, and only while somebody
 * listens; so it sees what any process or node writes to the same database.  A listener has a small
 * buffer; one that does not keep up is hung up on, and its browser comes back and asks anew.
 * Streams end after LIMIT_EVENT_STREAM_MS, so that a revoked token is asked for again.
 */
#include <stdlib.h>
#include <time.h>

#include "api/api_priv.h"
#include "base/jsonw.h"
#include "base/lock.h"
#include "base/log.h"
#include "sys/worker.h"

struct listener {
    struct hub          *hub;
    struct http_request *request;
    int64_t              tenant_id;
    struct deadline      until;
    struct buf           out;
    size_t               sent;   // of out
    bool                 asleep; // read has said ERR_MORE and was not woken since
    bool                 ended;
    struct listener     *next, **before;
};

struct seen { // a change that was told already
    int64_t study_id, changed_us;
};

struct hub {
    struct db_pool  *db;
    struct lock      lock;
    pthread_cond_t   somebody;
    struct listener *listeners;
    size_t           n;
    bool             quitting, running;
    pthread_t        thread;
    /* the thread's own */
    int64_t          since_us;
    struct seen      seen[LIMIT_EVENT_ROWS]; // of the last round, by study_id
    size_t           n_seen;
    unsigned         rounds;
};

/* ---- a listener; the hub's lock is held */

static void wake(struct listener *l)
{
    if (l->asleep) {
        l->asleep = false;
        http_wake(l->request);
    }
}

static void tell(struct listener *l, struct str event)
{
    if (l->sent > 0 && l->sent == l->out.len) {
        buf_clear(&l->out);
        l->sent = 0;
    }
    buf_str(&l->out, event);
    if (l->out.err != ERR_OK || is_deadline_past(l->until)) {
        l->ended = true;
    }
    wake(l);
}

/* ---- the stream's side, on the loop */

static enum err listener_read(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct listener *l = arg;
    enum err         rc = ERR_OK;
    lock_take(&l->hub->lock);
    size_t left = l->out.len - l->sent;
    if (l->ended || l->hub->quitting) {
        *ret_n = 0;
    } else if (left == 0) {
        l->asleep = true;
        rc = ERR_MORE;
    } else {
        *ret_n = left < n ? left : n;
        memcpy(to, l->out.ptr + l->sent, *ret_n);
        l->sent += *ret_n;
    }
    lock_give(&l->hub->lock);
    return rc;
}

static void listener_done(void *arg)
{
    struct listener *l = arg;
    lock_take(&l->hub->lock);
    *l->before = l->next;
    if (l->next != NULL) {
        l->next->before = l->before;
    }
    l->hub->n--;
    lock_give(&l->hub->lock);
    buf_done(&l->out);
    free(l);
}

/* False: the node is going down, or has enough of them. */
static bool listener_add(struct hub *h, struct listener *l)
{
    lock_take(&h->lock);
    bool room = !h->quitting && h->n < LIMIT_EVENT_LISTENERS;
    if (room) {
        l->next = h->listeners;
        l->before = &h->listeners;
        if (l->next != NULL) {
            l->next->before = &l->next;
        }
        h->listeners = l;
        h->n++;
        (void)pthread_cond_signal(&h->somebody);
    }
    lock_give(&h->lock);
    return room;
}

void events_handle(struct http_request *r, void *arg)
{
    struct api  *a = arg;
    struct actor who;
    if (!access_actor(a->conf.access, r, ACT_FIND, STR(""), &who)) {
        return;
    }
    struct listener *l = calloc(1, sizeof(*l)); // allow-banned: freed in listener_done
    if (l != NULL) {
        *l = (struct listener){.hub = a->hub,
                               .request = r,
                               .tenant_id = who.tenant_id,
                               .until = deadline_in_ms(LIMIT_EVENT_STREAM_MS)};
        buf_init(&l->out, LIMIT_EVENT_BACKLOG);
        buf_str(&l->out, STR("retry: 2000\n: live\n\n"));
    }
    if (l == NULL || !listener_add(a->hub, l)) {
        if (l != NULL) {
            buf_done(&l->out);
            free(l);
        }
        http_error(r, 503, "closed", "no more event streams");
        return;
    }
    http_add_header(r, "Cache-Control", STR("no-store"));
    http_add_header(r, "X-Accel-Buffering", STR("no")); // a front server passes it on as it comes
    http_answer_stream(
        r, 200, "text/event-stream",
        &(struct http_stream){.read = listener_read, .done = listener_done, .arg = l});
}

/* ---- the watcher */

static bool was_told(const struct hub *h, const struct study_change *c)
{
    for (size_t i = 0; i < h->n_seen; i++) {
        if (h->seen[i].study_id == c->study_id) {
            return h->seen[i].changed_us == c->changed_us;
        }
    }
    return false;
}

static void event_write(const struct study_change *c, struct buf *b)
{
    struct jsonw w;
    buf_str(b, STR("event: study\ndata: "));
    jsonw_init(&w, b);
    jsonw_obj(&w);
    jsonw_key(&w, STR("uid"));
    jsonw_str(&w, c->uid);
    jsonw_key(&w, STR("series"));
    jsonw_i64(&w, c->series);
    jsonw_key(&w, STR("images"));
    jsonw_i64(&w, c->images);
    jsonw_key(&w, STR("changed"));
    jsonw_i64(&w, c->changed_us / 1000);
    jsonw_obj_end(&w);
    buf_str(b, STR("\n\n"));
}

static void tell_tenant(struct hub *h, int64_t tenant_id, struct str event)
{
    lock_take(&h->lock);
    for (struct listener *l = h->listeners; l != NULL; l = l->next) {
        if (tenant_id == 0 || l->tenant_id == tenant_id) {
            tell(l, event);
        }
    }
    lock_give(&h->lock);
}

static enum err changes(struct hub *h, struct arena *a, struct study_change **ret, size_t *ret_n,
                        struct errmsg *e)
{
    struct db               *db = db_pool_take(h->db, e);
    /* Clocks of nodes differ, and a transaction is seen after the time that it wrote. */
    const struct change_page page = {.since_us = h->since_us - (int64_t)LIMIT_EVENT_SLACK_MS * 1000,
                                     .max = LIMIT_EVENT_ROWS};
    enum err                 rc = db == NULL ? e->code : study_changes(db, &page, a, ret, ret_n, e);
    db_pool_give(h->db, db);
    return rc;
}

static void look(struct hub *h)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_EVENT_ARENA);
    CLEANUP(buf_done) struct buf event;
    buf_init(&event, 1024);
    struct study_change *c = NULL;
    size_t               n = 0;
    struct errmsg        e = {0};
    if (changes(h, &mem, &c, &n, &e) != ERR_OK) {
        log_warn("events.look", "why=%s", log_q(str_of(e.text)).z);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!was_told(h, &c[i])) {
            buf_clear(&event);
            event_write(&c[i], &event);
            tell_tenant(h, c[i].tenant_id, (struct str){(const char *)event.ptr, event.len});
        }
        h->since_us = c[i].changed_us > h->since_us ? c[i].changed_us : h->since_us;
    }
    if (n == LIMIT_EVENT_ROWS) { // a flood: the slack would show the same rows again
        h->since_us = c[n - 1].changed_us + (int64_t)LIMIT_EVENT_SLACK_MS * 1000;
    }
    h->n_seen = n;
    for (size_t i = 0; i < n; i++) {
        h->seen[i] = (struct seen){c[i].study_id, c[i].changed_us};
    }
}

/* Waits for a listener; false: the end.  What changed while nobody listened is nobody's news. */
static bool await_somebody(struct hub *h)
{
    lock_take(&h->lock);
    bool idle = h->listeners == NULL;
    while (h->listeners == NULL && !h->quitting) {
        lock_wait(&h->lock, &h->somebody);
    }
    bool go_on = !h->quitting;
    lock_give(&h->lock);
    if (idle) {
        h->since_us = clock_wall_us();
    }
    return go_on;
}

static bool is_quitting(struct hub *h)
{
    lock_take(&h->lock);
    bool yes = h->quitting;
    lock_give(&h->lock);
    return yes;
}

static void hub_run(void *arg)
{
    struct hub           *h = arg;
    const struct timespec moment = {.tv_nsec = 100000000};
    while (await_somebody(h)) {
        look(h);
        if (++h->rounds % (LIMIT_EVENT_BEAT_MS / LIMIT_EVENT_LOOK_MS) == 0) {
            tell_tenant(h, 0, STR(": beat\n\n")); // finds out who is gone
        }
        for (int i = 0; i < LIMIT_EVENT_LOOK_MS / 100 && !is_quitting(h); i++) {
            (void)nanosleep(&moment, NULL);
        }
    }
}

enum err hub_new(struct db_pool *db, struct hub **ret, struct errmsg *e)
{
    struct hub *h = calloc(1, sizeof(*h)); // allow-banned: freed in hub_free
    if (h == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for events");
    }
    h->db = db;
    lock_init(&h->lock, LOCK_QUEUE);
    (void)pthread_cond_init(&h->somebody, NULL);
    enum err rc = worker_run("events", hub_run, h, &h->thread, e);
    h->running = rc == ERR_OK;
    if (rc != ERR_OK) {
        hub_free(h);
        return rc;
    }
    *ret = h;
    return ERR_OK;
}

void hub_quit(struct hub *h)
{
    lock_take(&h->lock);
    h->quitting = true;
    (void)pthread_cond_signal(&h->somebody);
    for (struct listener *l = h->listeners; l != NULL; l = l->next) {
        wake(l);
    }
    lock_give(&h->lock);
    if (h->running) {
        (void)pthread_join(h->thread, NULL);
        h->running = false;
    }
}

void hub_free(struct hub *h)
{
    if (h == NULL) {
        return;
    }
    hub_quit(h);
    (void)pthread_cond_destroy(&h->somebody);
    lock_done(&h->lock);
    free(h);
}
