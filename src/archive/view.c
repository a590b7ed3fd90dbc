#include "archive/view.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/view_priv.h"
#include "base/clock.h"

enum { BUCKETS = 1024 };

struct view {
    _Atomic unsigned        refs;
    uint64_t                sig; // of the rows and open packs that it was made from
    uint64_t                tag;
    bool                    growing, twins;
    struct view_part      **parts;
    size_t                  n_parts;
    struct view_image     **order;
    size_t                  n;
    uint32_t               *table; // of index + 1, open addressing; 0: free
    size_t                  table_n;
    size_t                  bytes;
    struct segment *_Atomic segment; // metadata, when there are twins
    struct entry           *entry;   // guarded by the cache's lock: NULL when it is not cached
};

struct entry {
    struct entry *next;          // in its bucket
    struct entry *newer, *older; // by use
    int64_t       tenant_id;
    char          study_uid[65], series_uid[65];
    struct view  *view;
    int64_t       checked_ns;
    bool          checking;
};

struct views {
    struct lock   lock;
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest;
    size_t        bytes, packs;
};

static uint64_t hash_of(struct str s, uint64_t h)
{
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ (uint8_t)s.ptr[i]) * 1099511628211U;
    }
    return h ^ h >> 32;
}

static const uint64_t seed = 14695981039346656037U;

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 1099511628211U;
    return h ^ h >> 29;
}

/* ---- a view */

void view_unref(struct view *v)
{
    if (v == NULL || atomic_fetch_sub(&v->refs, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < v->n_parts; i++) {
        part_unref(v->parts[i]);
    }
    segment_unref(atomic_load(&v->segment));
    free(v->parts);
    free(v->order);
    free(v->table);
    free(v);
}

size_t view_count(const struct view *v)
{
    return v->n;
}

struct view_image *view_at(const struct view *v, size_t i)
{
    return v->order[i];
}

uint64_t view_tag(const struct view *v)
{
    return v->tag;
}

bool view_is_growing(const struct view *v)
{
    return v->growing;
}

size_t view_parts(const struct view *v)
{
    return v->n_parts;
}

struct view_part *view_part(const struct view *v, size_t i)
{
    return v->parts[i];
}

bool view_has_twins(const struct view *v)
{
    return v->twins;
}

struct segment *_Atomic *view_segment(struct view *v)
{
    return &v->segment;
}

struct view_image *const *view_order(const struct view *v)
{
    return v->order;
}

static uint32_t *place(const struct view *v, struct str sop_uid)
{
    size_t at = hash_of(sop_uid, seed) & (v->table_n - 1);
    while (v->table[at] != 0 && !str_eq(v->order[v->table[at] - 1]->sop_uid, sop_uid)) {
        at = (at + 1) & (v->table_n - 1);
    }
    return &v->table[at];
}

struct view_image *view_find(const struct view *v, struct str sop_uid)
{
    uint32_t at = *place(v, sop_uid);
    return at != 0 ? v->order[at - 1] : NULL;
}

static int64_t number_of(const struct view_image *i)
{
    return i->number == INT32_MIN ? INT64_MAX : i->number; // without a number: last
}

/* Ties by place: the first pack's first. */
static int by_number(const void *pa, const void *pb)
{
    const struct view_image *a = *(struct view_image *const *)pa;
    const struct view_image *b = *(struct view_image *const *)pb;
    int64_t                  x = number_of(a), y = number_of(b);
    if (x != y) {
        return x < y ? -1 : 1;
    }
    if (a->part != b->part) {
        return a->part->row_id < b->part->row_id ? -1 : 1;
    }
    return a->at < b->at ? -1 : a->at > b->at;
}

static bool view_room(struct view *v, size_t images)
{
    v->table_n = 16;
    while (v->table_n < images * 2) {
        v->table_n *= 2;
    }
    v->order = calloc(images + 1, sizeof(struct view_image *));
    v->table = calloc(v->table_n, sizeof(uint32_t));
    v->bytes +=
        sizeof(*v) + (images + 1) * sizeof(struct view_image *) + v->table_n * sizeof(uint32_t);
    return v->order != NULL && v->table != NULL && images < UINT32_MAX;
}

/* Images of all parts, first copy of each that is not rejected, in order. */
static enum err view_index(struct view *v, const struct uid_set *rejected, struct errmsg *e)
{
    size_t images = 0;
    for (size_t i = 0; i < v->n_parts; i++) {
        images += v->parts[i]->n;
        v->bytes += v->parts[i]->bytes;
        v->tag = (v->tag ^ v->parts[i]->tag) * 1099511628211U;
        v->growing = v->growing || !v->parts[i]->sealed;
    }
    if (!view_room(v, images)) {
        return err_set(e, ERR_NOMEM, "no memory for a series of %zu images", images);
    }
    for (size_t i = 0; i < v->n_parts; i++) {
        for (size_t k = 0; k < v->parts[i]->n; k++) {
            struct view_image *m = &v->parts[i]->images[k];
            uint32_t          *at = place(v, m->sop_uid);
            if (*at != 0 || uid_set_has(rejected, m->sop_uid)) {
                v->twins = true;
                continue;
            }
            v->order[v->n++] = m;
            *at = (uint32_t)v->n;
        }
    }
    qsort(v->order, v->n, sizeof(struct view_image *), by_number);
    memset(v->table, 0, v->table_n * sizeof(uint32_t));
    for (size_t i = 0; i < v->n; i++) {
        *place(v, v->order[i]->sop_uid) = (uint32_t)i + 1;
    }
    return ERR_OK;
}

/* ---- what the index and the open packs say */

struct state {
    struct archive        *a;
    const struct view_key *key;
    struct arena           mem;
    struct pack_row       *rows;
    size_t                 n;
    struct uid_set         rejected;
    struct series         *live; // NULL: no open pack of this process
};

static void state_done(struct state *s)
{
    if (s->live != NULL) {
        series_unref(s->a, s->live);
    }
    arena_done(&s->mem);
}

static enum err rows_read(struct db *db, struct state *s, struct errmsg *e)
{
    struct series_ids ids;
    enum err          rc =
        series_by_uid(db, s->key->tenant_id, s->key->study_uid, s->key->series_uid, &ids, e);
    rc = rc != ERR_OK ? rc : pack_rows_of_series(db, ids.series_id, &s->mem, &s->rows, &s->n, e);
    return rc == ERR_OK && s->n > 0 && s->rows[0].rejected > 0
               ? rejects_get(db, ids.series_id, &s->mem, &s->rejected, e)
               : rc;
}

static enum err state_read(struct state *s, struct errmsg *e)
{
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(s->a->db, &mine);
    enum err      rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = rows_read(db, s, &mine);
        db_pool_give(s->a->db, db);
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    struct series_key k = {.tenant_id = s->key->tenant_id,
                           .tenant = s->key->tenant,
                           .study_uid = s->key->study_uid,
                           .series_uid = s->key->series_uid};
    s->live = series_peek(s->a, &k);
    return ERR_OK;
}

/* Images of an open pack of this process; what its row says lags behind. */
static bool live_count(struct series *s, uint32_t n, uint32_t *ret)
{
    bool found = false;
    if (s == NULL) {
        return false;
    }
    lock_take(&s->lock);
    for (const struct slot *sl = s->slots; sl != NULL; sl = sl->next) {
        if (sl->n == n) {
            *ret = sl->images;
            found = true;
        }
    }
    lock_give(&s->lock);
    return found;
}

static uint64_t state_sig(const struct state *s)
{
    uint64_t h = s->n > 0 ? mix(seed, s->rows[0].reject_rev) : seed;
    for (size_t i = 0; i < s->n; i++) {
        const struct pack_row *r = &s->rows[i];
        uint32_t               images = 0;
        h = mix(mix(h, (uint64_t)r->id), r->state);
        if (r->state == PACK_OPEN && live_count(s->live, r->n, &images)) {
            h = mix(h, images);
        } else {
            h = mix(mix(h, r->bytes), r->images);
        }
    }
    return h;
}

static struct view_part *part_of(const struct view *v, int64_t row_id)
{
    for (size_t i = 0; v != NULL && i < v->n_parts; i++) {
        if (v->parts[i]->row_id == row_id) {
            return v->parts[i];
        }
    }
    return NULL;
}

static enum err part_get(const struct state *s, const struct pack_row *row,
                         const struct view *before, struct view_part **ret, struct errmsg *e)
{
    struct view_part *old = part_of(before, row->id);
    if (row->state == PACK_OPEN) {
        struct errmsg mine = {0};
        enum err      rc = part_open(s->a, row, s->live, old, ret, &mine);
        *ret = rc == ERR_OK ? *ret : NULL; // an empty one, cleared away since the row was read
        return rc == ERR_OK || rc == ERR_NOTFOUND ? ERR_OK : err_set(e, rc, "%s", mine.text);
    }
    if (old != NULL && old->sealed) { // nothing in it can have changed
        (void)atomic_fetch_add(&old->refs, 1);
        *ret = old;
        return ERR_OK;
    }
    struct errmsg mine = {0};
    enum err      rc = part_sealed(s->a, row, ret, &mine);
    rc = rc == ERR_NOTFOUND ? ERR_CONFLICT : rc; // its row should be gone by now
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static enum err view_build(const struct state *s, const struct view *before, struct view **ret,
                           struct errmsg *e)
{
    enum err     rc = ERR_OK;
    struct view *v = calloc(1, sizeof(*v));
    if (v != NULL) {
        v->refs = 1;
        v->sig = state_sig(s); // before the packs are looked at: what comes later is seen later
        v->tag = s->n > 0 ? mix(seed, s->rows[0].reject_rev) : seed;
        v->parts = calloc(s->n + 1, sizeof(struct view_part *));
    }
    if (v == NULL || v->parts == NULL) {
        view_unref(v);
        return err_set(e, ERR_NOMEM, "no memory for a series");
    }
    for (size_t i = 0; rc == ERR_OK && i < s->n; i++) {
        struct view_part *p = NULL;
        rc = part_get(s, &s->rows[i], before, &p, e);
        if (p != NULL) {
            v->parts[v->n_parts++] = p;
        }
    }
    rc = rc == ERR_OK ? view_index(v, &s->rejected, e) : rc;
    if (rc == ERR_OK && v->n == 0) {
        rc = err_set(e, ERR_NOTFOUND, "no image in series %.*s", STR_ARG(s->key->series_uid));
    }
    if (rc != ERR_OK) {
        view_unref(v);
        return rc;
    }
    *ret = v;
    return ERR_OK;
}

/* ---- cache */

enum err views_new(struct views **ret, struct errmsg *e)
{
    struct views *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the cache of series");
    }
    lock_init(&c->lock, LOCK_PACK);
    *ret = c;
    return ERR_OK;
}

static struct entry **entry_place(struct views *c, const struct view_key *k)
{
    struct entry **at =
        &c->buckets[hash_of(k->series_uid, seed ^ (uint64_t)k->tenant_id) % BUCKETS];
    while (*at != NULL &&
           ((*at)->tenant_id != k->tenant_id || !str_eq(str_of((*at)->series_uid), k->series_uid) ||
            !str_eq(str_of((*at)->study_uid), k->study_uid))) {
        at = &(*at)->next;
    }
    return at;
}

static void use_unlink(struct views *c, struct entry *n)
{
    *(n->newer != NULL ? &n->newer->older : &c->newest) = n->older;
    *(n->older != NULL ? &n->older->newer : &c->oldest) = n->newer;
}

static void use_first(struct views *c, struct entry *n)
{
    n->newer = NULL;
    n->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = n;
    c->newest = n;
}

/* Its view is given back later, without the lock: held by the caller. */
static struct view *entry_empty(struct views *c, struct entry *n)
{
    struct view *v = n->view;
    if (v != NULL) {
        c->bytes -= v->bytes;
        c->packs -= v->n_parts;
        v->entry = NULL;
    }
    n->view = NULL;
    return v;
}

static void entry_fill(struct views *c, struct entry *n, struct view *v)
{
    (void)atomic_fetch_add(&v->refs, 1);
    n->view = v;
    v->entry = n;
    c->bytes += v->bytes;
    c->packs += v->n_parts;
}

static struct view *entry_drop(struct views *c, struct entry **at)
{
    struct entry *n = *at;
    assert(n != NULL);
    struct view *v = entry_empty(c, n);
    *at = n->next;
    use_unlink(c, n);
    free(n);
    return v;
}

static struct view *oldest_drop(struct views *c)
{
    const struct entry *n = c->oldest; // there is one
    struct view_key     k = {.tenant_id = n->tenant_id,
                             .study_uid = str_of(n->study_uid),
                             .series_uid = str_of(n->series_uid)};
    return entry_drop(c, entry_place(c, &k));
}

/* Held: the lock, which is let go for a moment for each that is dropped. */
static void shrink(struct views *c)
{
    while (c->oldest != c->newest && (c->bytes > LIMIT_VIEW_BYTES || c->packs > LIMIT_VIEW_PACKS)) {
        struct view *v = oldest_drop(c);
        lock_give(&c->lock);
        view_unref(v); // closes files
        lock_take(&c->lock);
    }
}

void views_free(struct views *c)
{
    if (c == NULL) {
        return;
    }
    while (c->oldest != NULL) {
        view_unref(oldest_drop(c));
    }
    lock_done(&c->lock);
    free(c);
}

void view_grew(struct archive *a, struct view *v, size_t bytes)
{
    struct views *c = a->views;
    lock_take(&c->lock);
    v->bytes += bytes;
    if (v->entry != NULL) {
        c->bytes += bytes;
        shrink(c);
    }
    lock_give(&c->lock);
}

static const int64_t stale_ns = (int64_t)LIMIT_SERIES_STALE_MS * 1000000;

struct view *view_peek(struct archive *a, const struct view_key *k)
{
    struct views *c = a->views;
    struct view  *v = NULL;
    int64_t       now = clock_mono_ns();
    lock_take(&c->lock);
    struct entry *n = *entry_place(c, k);
    /* While one thread asks the index, others go on with what there is, for a moment more. */
    if (n != NULL && n->view != NULL &&
        now - n->checked_ns < (n->checking ? 2 * stale_ns : stale_ns)) {
        v = n->view;
        (void)atomic_fetch_add(&v->refs, 1);
        use_unlink(c, n);
        use_first(c, n);
    }
    lock_give(&c->lock);
    return v;
}

/* What is cached, however old; noted that this thread asks. */
static struct view *check_begin(struct views *c, const struct view_key *k)
{
    struct view *v = NULL;
    lock_take(&c->lock);
    struct entry *n = *entry_place(c, k);
    if (n != NULL && n->view != NULL) {
        v = n->view;
        (void)atomic_fetch_add(&v->refs, 1);
        n->checking = true;
    }
    lock_give(&c->lock);
    return v;
}

static struct entry *entry_new(const struct view_key *k)
{
    struct entry *n = calloc(1, sizeof(*n));
    if (n != NULL) {
        n->tenant_id = k->tenant_id;
        (void)snprintf(n->study_uid, sizeof(n->study_uid), "%.*s", STR_ARG(k->study_uid));
        (void)snprintf(n->series_uid, sizeof(n->series_uid), "%.*s", STR_ARG(k->series_uid));
    }
    return n;
}

/* v NULL: there is no such series any more. */
static void check_end(struct views *c, const struct view_key *k, struct view *v, int64_t began_ns)
{
    struct view *out = NULL;
    lock_take(&c->lock);
    struct entry **at = entry_place(c, k);
    if (v == NULL) {
        out = *at != NULL ? entry_drop(c, at) : NULL;
    } else if (*at != NULL || (*at = entry_new(k)) != NULL) {
        struct entry *n = *at;
        if (n->view == NULL) {
            use_first(c, n);
        }
        if (n->view != v && began_ns >= n->checked_ns) { // else another thread's is newer
            out = entry_empty(c, n);
            entry_fill(c, n, v);
        }
        n->checked_ns = began_ns > n->checked_ns ? began_ns : n->checked_ns;
        n->checking = false;
        shrink(c);
    }
    lock_give(&c->lock);
    view_unref(out);
}

static enum err check(struct archive *a, const struct view_key *k, struct view *before,
                      struct view **ret, struct errmsg *e)
{
    struct state s = {.a = a, .key = k};
    arena_init(&s.mem, LIMIT_SCAN);
    enum err rc = state_read(&s, e);
    if (rc == ERR_OK && before != NULL && before->sig == state_sig(&s)) {
        (void)atomic_fetch_add(&before->refs, 1);
        *ret = before;
    } else if (rc == ERR_OK) {
        rc = view_build(&s, before, ret, e);
    }
    state_done(&s);
    return rc;
}

enum err view_get(struct archive *a, const struct view_key *k, bool now, struct view **ret,
                  struct errmsg *e)
{
    if (k->study_uid.len > LIMIT_UID || k->series_uid.len > LIMIT_UID || k->tenant.len > 32) {
        return err_set(e, ERR_SYNTAX, "a UID of more than %d characters", LIMIT_UID);
    }
    struct view *v = now ? NULL : view_peek(a, k);
    if (v != NULL) {
        *ret = v;
        return ERR_OK;
    }
    int64_t       began = clock_mono_ns();
    struct view  *before = check_begin(a->views, k);
    struct errmsg mine = {0};
    enum err      rc = ERR_CONFLICT;
    for (int tries = 0; rc == ERR_CONFLICT && tries < 2; tries++) {
        mine = (struct errmsg){0};
        rc = check(a, k, before, &v, &mine);
    }
    rc = rc == ERR_CONFLICT ? ERR_IO : rc; // a file that should be there
    if (rc == ERR_OK || rc == ERR_NOTFOUND) {
        check_end(a->views, k, rc == ERR_OK ? v : NULL, began);
    }
    view_unref(before);
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    *ret = v;
    return ERR_OK;
}
