#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "archive/archive_priv.h"
#include "base/clock.h"
#include "sys/file.h"

/* ---- the table */

static size_t key_hash(const struct series_key *k)
{
    uint64_t h = 14695981039346656037U ^ (uint64_t)k->tenant_id;
    for (size_t i = 0; i < k->series_uid.len; i++) { // the study adds nothing to a series' UID
        h = (h ^ (uint8_t)k->series_uid.ptr[i]) * 1099511628211U;
    }
    return (size_t)(h ^ h >> 32);
}

static struct series_key key_of(const struct series *s)
{
    return (struct series_key){.tenant_id = s->tenant_id,
                               .tenant = str_of(s->tenant),
                               .study_uid = str_of(s->study_uid),
                               .series_uid = str_of(s->series_uid)};
}

static struct series **bucket_of(const struct archive *a, const struct series_key *k)
{
    return &a->buckets[key_hash(k) & (a->n_buckets - 1)];
}

static struct series *find(const struct archive *a, const struct series_key *k)
{
    if (a->n_buckets == 0) {
        return NULL;
    }
    struct series *s = *bucket_of(a, k);
    while (s != NULL &&
           (s->tenant_id != k->tenant_id || !str_eq(str_of(s->series_uid), k->series_uid) ||
            !str_eq(str_of(s->study_uid), k->study_uid))) {
        s = s->next;
    }
    return s;
}

static bool table_grow(struct archive *a)
{
    if (a->n_series < a->n_buckets) {
        return true;
    }
    size_t          n = a->n_buckets == 0 ? 64 : a->n_buckets * 2;
    struct series **old = a->buckets;
    size_t          old_n = a->n_buckets;
    struct series **b = calloc(n, sizeof(struct series *));
    if (b == NULL) {
        return false;
    }
    a->buckets = b;
    a->n_buckets = n;
    for (size_t i = 0; i < old_n; i++) {
        while (old[i] != NULL) {
            struct series    *s = old[i];
            struct series_key k = key_of(s);
            old[i] = s->next;
            s->next = *bucket_of(a, &k);
            *bucket_of(a, &k) = s;
        }
    }
    free(old);
    return true;
}

static void text_set(char *to, size_t room, struct str s)
{
    (void)snprintf(to, room, "%.*s", STR_ARG(s));
}

static struct series *series_new(const struct series_key *k)
{
    struct series *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->tenant_id = k->tenant_id;
    text_set(s->tenant, sizeof(s->tenant), k->tenant);
    text_set(s->study_uid, sizeof(s->study_uid), k->study_uid);
    text_set(s->series_uid, sizeof(s->series_uid), k->series_uid);
    lock_init(&s->lock, LOCK_SERIES);
    int rc = pthread_cond_init(&s->changed, NULL);
    if (rc != 0) {
        free(s);
        return NULL;
    }
    imgset_init(&s->images);
    s->next_n = 1;
    return s;
}

static void series_free(struct series *s)
{
    while (s->slots != NULL) {
        struct slot *sl = s->slots;
        s->slots = sl->next;
        if (sl->pack != NULL) {
            pack_close(sl->pack);
        }
        free(sl);
    }
    imgset_done(&s->images);
    free(s->others);
    (void)pthread_cond_destroy(&s->changed);
    lock_done(&s->lock);
    free(s);
}

enum err series_ref(struct archive *a, const struct series_key *k, struct series **ret,
                    struct errmsg *e)
{
    if (k->study_uid.len > LIMIT_UID || k->series_uid.len > LIMIT_UID || k->tenant.len > 32) {
        return err_set(e, ERR_SYNTAX, "a UID of more than %d characters", LIMIT_UID);
    }
    lock_take(&a->lock);
    struct series *s = find(a, k);
    if (s == NULL && table_grow(a)) {
        s = series_new(k);
        if (s != NULL) {
            s->next = *bucket_of(a, k);
            *bucket_of(a, k) = s;
            a->n_series++;
        }
    }
    if (s != NULL) {
        s->refs++;
    }
    lock_give(&a->lock);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for series %.*s", STR_ARG(k->series_uid));
    }
    *ret = s;
    return ERR_OK;
}

struct series *series_peek(struct archive *a, const struct series_key *k)
{
    lock_take(&a->lock);
    struct series *s = find(a, k);
    if (s != NULL) {
        s->refs++;
    }
    lock_give(&a->lock);
    return s;
}

void series_unref(struct archive *a, struct series *s)
{
    bool last = false;
    lock_take(&a->lock);
    if (--s->refs == 0) {
        struct series_key k = key_of(s);
        struct series   **at = bucket_of(a, &k);
        while (*at != s) {
            at = &(*at)->next;
        }
        *at = s->next;
        a->n_series--;
        last = true;
    }
    lock_give(&a->lock);
    if (last) {
        series_free(s);
    }
}

enum err series_all(struct archive *a, struct series ***ret, size_t *ret_n, struct errmsg *e)
{
    lock_take(&a->lock);
    struct series **all = calloc(a->n_series + 1, sizeof(struct series *));
    size_t          n = 0;
    for (size_t i = 0; all != NULL && i < a->n_buckets; i++) {
        for (struct series *s = a->buckets[i]; s != NULL; s = s->next) {
            s->refs++;
            all[n++] = s;
        }
    }
    lock_give(&a->lock);
    if (all == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the list of live series");
    }
    *ret = all;
    *ret_n = n;
    return ERR_OK;
}

void live_free(struct archive *a)
{
    for (size_t i = 0; i < a->n_buckets; i++) {
        while (a->buckets[i] != NULL) {
            struct series *s = a->buckets[i];
            a->buckets[i] = s->next;
            series_free(s);
        }
    }
    free(a->buckets);
    a->buckets = NULL;
    a->n_buckets = 0;
}

/* ---- what others wrote */

static struct slot *slot_of(const struct series *s, uint32_t n)
{
    struct slot *sl = s->slots;
    while (sl != NULL && sl->n != n) {
        sl = sl->next;
    }
    return sl;
}

/* True when nothing new can be in that pack.  Held: the series' lock. */
static bool is_known(const struct series *s, uint32_t n)
{
    for (size_t i = 0; i < s->n_others; i++) {
        if (s->others[i].n == n) {
            return s->others[i].sealed;
        }
    }
    return slot_of(s, n) != NULL;
}

static enum err other_note(struct series *s, uint32_t n, bool sealed, struct errmsg *e)
{
    for (size_t i = 0; i < s->n_others; i++) {
        if (s->others[i].n == n) {
            s->others[i].sealed = sealed;
            return ERR_OK;
        }
    }
    struct other_pack *o = reallocarray(s->others, s->n_others + 1, sizeof(*o));
    if (o == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for pack %u of a series", n);
    }
    o[s->n_others++] = (struct other_pack){.n = n, .sealed = sealed};
    s->others = o;
    return ERR_OK;
}

static enum err images_add(struct series *s, uint32_t n, const struct pack_image *v, size_t n_v,
                           struct errmsg *e)
{
    for (size_t i = 0; i < n_v; i++) {
        enum err rc = imgset_add(&s->images, n, &v[i], e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

static enum err sealed_load(struct archive *a, struct series *s, const struct pack_row *row,
                            struct errmsg *e)
{
    struct catalog *c = NULL;
    enum err        rc = catalog_of(a, row, &c, e);
    if (rc != ERR_OK) {
        return rc;
    }
    lock_take(&s->lock);
    rc = images_add(s, row->n, c->images, c->n, e);
    if (rc == ERR_OK) {
        rc = other_note(s, row->n, true, e);
    }
    lock_give(&s->lock);
    catalog_unref(a, c);
    return rc;
}

static enum err open_load(struct archive *a, struct series *s, const struct pack_row *row,
                          struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_scan scan = {0};
    enum err         rc = row_scan(a, row, false, &mem, &scan, e);
    if (rc == ERR_NOTFOUND) { // removed meanwhile, or never written to
        if (e != NULL) {
            *e = (struct errmsg){0};
        }
        return ERR_OK;
    }
    if (rc != ERR_OK) {
        return rc;
    }
    lock_take(&s->lock);
    rc = images_add(s, row->n, scan.images, scan.n, e);
    if (rc == ERR_OK) {
        rc = other_note(s, row->n, false, e);
    }
    lock_give(&s->lock);
    return rc;
}

struct rows {
    const struct series *s;
    struct arena        *mem;
    struct series_ids    ids;
    struct pack_row     *v;
    size_t               n;
};

static enum err rows_read(struct db *db, void *arg, struct errmsg *e)
{
    struct rows *r = arg;
    r->n = 0;
    struct errmsg none = {0};
    enum err      rc = series_by_uid(db, r->s->tenant_id, str_of(r->s->study_uid),
                                     str_of(r->s->series_uid), &r->ids, &none);
    if (rc == ERR_NOTFOUND) {
        r->ids = (struct series_ids){0};
        return ERR_OK;
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", none.text);
    }
    return pack_rows_of_series(db, r->ids.series_id, r->mem, &r->v, &r->n, e);
}

static enum err load(struct archive *a, struct series *s, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct rows   r = {.s = s, .mem = &mem};
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(a->db, &mine);
    if (db == NULL) {
        return err_set(e, mine.code != ERR_OK ? mine.code : ERR_IO, "%s", mine.text);
    }
    enum err rc = rows_read(db, &r, e);
    db_pool_give(a->db, db);
    for (size_t i = 0; rc == ERR_OK && i < r.n; i++) {
        const struct pack_row *row = &r.v[i];
        lock_take(&s->lock);
        bool known = is_known(s, row->n);
        s->next_n = row->n >= s->next_n ? row->n + 1 : s->next_n;
        lock_give(&s->lock);
        if (!known) {
            rc = row->state == PACK_SEALED ? sealed_load(a, s, row, e) : open_load(a, s, row, e);
        }
    }
    return rc;
}

enum err series_load(struct archive *a, struct series *s, bool again, struct errmsg *e)
{
    int64_t stale = clock_mono_ns() - (int64_t)LIMIT_SERIES_STALE_MS * 1000000;
    lock_take(&s->lock);
    while (s->loading) {
        lock_wait(&s->lock, &s->changed);
    }
    bool need = !s->loaded || (again && s->loaded_ns < stale);
    s->loading = need;
    lock_give(&s->lock);
    if (!need) {
        return ERR_OK;
    }
    enum err rc = load(a, s, e);
    lock_take(&s->lock);
    s->loading = false;
    if (rc == ERR_OK) {
        s->loaded = true;
        s->loaded_ns = clock_mono_ns();
    }
    (void)pthread_cond_broadcast(&s->changed);
    lock_give(&s->lock);
    return rc;
}

/* ---- slots */

/* Counted as a user of the series: a live series with an open pack stays. */
static struct slot *slot_add(struct archive *a, struct series *s, struct pack *p, uint32_t n)
{
    struct slot *sl = calloc(1, sizeof(*sl));
    if (sl == NULL) {
        return NULL;
    }
    *sl = (struct slot){.series = s,
                        .pack = p,
                        .n = n,
                        .state = SLOT_WRITING,
                        .bytes = pack_bytes(p),
                        .images = (uint32_t)pack_count(p),
                        .idle_ns = clock_mono_ns()};
    lock_take(&a->lock);
    s->refs++;
    lock_give(&a->lock);
    lock_take(&s->lock);
    sl->next = s->slots;
    s->slots = sl;
    s->next_n = n >= s->next_n ? n + 1 : s->next_n;
    lock_give(&s->lock);
    atomic_fetch_add(&a->stats.open_packs, 1);
    return sl;
}

static struct slot *idle_take(struct archive *a, struct series *s)
{
    struct slot *best = NULL;
    lock_take(&s->lock);
    for (struct slot *sl = s->slots; sl != NULL; sl = sl->next) {
        bool fits = sl->state == SLOT_IDLE && sl->bytes < a->max_pack;
        if (fits && (best == NULL || sl->n < best->n)) {
            best = sl;
        }
    }
    if (best != NULL) {
        best->state = SLOT_WRITING;
    }
    lock_give(&s->lock);
    return best;
}

/* A new file under a number that no pack has.  Files come before rows, so that a row without a
 * file never is one that is just being made. */
static enum err file_create(struct archive *a, struct series *s, const struct ingest_from *from,
                            struct pack **ret, struct errmsg *e)
{
    struct pack_origin o = {.tenant = str_of(s->tenant),
                            .study_uid = str_of(s->study_uid),
                            .series_uid = str_of(s->series_uid),
                            .received_us = clock_wall_us(),
                            .calling = from->calling,
                            .called = from->called,
                            .address = from->address};
    for (int tries = 0; tries < LIMIT_PACK_TRIES; tries++) {
        lock_take(&s->lock);
        o.n = s->next_n++;
        lock_give(&s->lock);
        struct errmsg mine = {0};
        enum err      rc = pack_create(a->root, &o, ret, &mine);
        if (rc != ERR_EXISTS && rc != ERR_CONFLICT) { // another process was faster
            return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
        }
    }
    return err_set(e, ERR_CONFLICT, "no free pack number for series %s after %d tries",
                   s->series_uid, LIMIT_PACK_TRIES);
}

enum err slot_take(struct archive *a, struct series *s, const struct ingest_from *from,
                   struct slot **ret, struct errmsg *e)
{
    struct slot *sl = idle_take(a, s);
    if (sl != NULL) {
        *ret = sl;
        return ERR_OK;
    }
    struct pack *p = NULL;
    enum err     rc = series_load(a, s, true, e); // the one moment to see what others did
    if (rc == ERR_OK) {
        rc = file_create(a, s, from, &p, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    sl = slot_add(a, s, p, pack_get_origin(p)->n);
    if (sl == NULL) {
        pack_close(p); // an empty file without a row: reindex clears it away
        return err_set(e, ERR_NOMEM, "no memory for a pack");
    }
    *ret = sl;
    return ERR_OK;
}

enum err slot_know(struct slot *sl, struct errmsg *e)
{
    return images_add(sl->series, sl->n, pack_images(sl->pack), pack_count(sl->pack), e);
}

void slot_moved(struct slot *sl)
{
    const struct pack_image *v = pack_images(sl->pack);
    for (size_t i = 0; i < pack_count(sl->pack); i++) {
        imgset_move(&sl->series->images, sl->n, &v[i]);
    }
}

bool has_slot(struct series *s, uint32_t n)
{
    lock_take(&s->lock);
    bool has = slot_of(s, n) != NULL;
    lock_give(&s->lock);
    return has;
}

void slot_mark(struct series *s, uint32_t n)
{
    lock_take(&s->lock);
    struct slot *sl = slot_of(s, n);
    if (sl != NULL) {
        sl->dirty = true;
    }
    lock_give(&s->lock);
}

enum err slot_adopt(struct archive *a, struct series *s, struct pack *p, int64_t row_id,
                    struct errmsg *e)
{
    struct slot *sl = slot_add(a, s, p, pack_get_origin(p)->n);
    if (sl == NULL) {
        pack_close(p);
        return err_set(e, ERR_NOMEM, "no memory for a pack");
    }
    lock_take(&s->lock);
    enum err rc = slot_know(sl, e);
    sl->row_id = row_id;
    sl->dirty = true;
    sl->state = SLOT_IDLE;
    lock_give(&s->lock);
    return rc;
}

void slot_give(struct archive *a, struct slot *sl, bool broken)
{
    struct series *s = sl->series;
    uint64_t       bytes = broken ? sl->bytes : pack_bytes(sl->pack);
    uint32_t       images = broken ? sl->images : (uint32_t)pack_count(sl->pack);
    int64_t        now = clock_mono_ns();
    if (broken) {
        pack_close(sl->pack);
    }
    lock_take(&s->lock);
    sl->dirty = sl->dirty || images != sl->images;
    sl->bytes = bytes;
    sl->images = images;
    sl->idle_ns = now;
    if (broken) {
        sl->pack = NULL;
        sl->retry_ns = now + (int64_t)LIMIT_BROKEN_RETRY_MS * 1000000;
    }
    sl->state = broken ? SLOT_BROKEN : SLOT_IDLE;
    lock_give(&s->lock);
    if (bytes >= a->max_pack) {
        archive_wake(a);
    }
}

void slot_drop(struct archive *a, struct slot *sl, bool sealed)
{
    struct series *s = sl->series;
    lock_take(&s->lock);
    struct slot **at = &s->slots;
    while (*at != sl) {
        at = &(*at)->next;
    }
    *at = sl->next;
    if (sealed) {
        (void)other_note(s, sl->n, true, NULL); // not noted: one more look at its manifest
    }
    lock_give(&s->lock);
    free(sl);
    atomic_fetch_sub(&a->stats.open_packs, 1);
    series_unref(a, s);
}
