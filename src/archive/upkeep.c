#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "archive/archive_priv.h"
#include "archive/recompress.h"
#include "base/clock.h"
#include "sys/file.h"
#include "sys/worker.h"

/* ---- counters of open packs */

struct counted {
    struct series *series;
    uint32_t       n, images;
    int64_t        row_id;
    uint64_t       bytes;
};

struct counting {
    struct counted *v;
    size_t          n;
};

static enum err count_work(struct db *db, void *arg, struct errmsg *e)
{
    const struct counting *c = arg;
    for (size_t i = 0; i < c->n; i++) {
        struct errmsg mine = {0};
        enum err      rc = pack_row_count(db, c->v[i].row_id, c->v[i].bytes, c->v[i].images, &mine);
        if (rc != ERR_OK && rc != ERR_NOTFOUND) { // sealed or removed by another process: not ours
            return err_set(e, rc, "%s", mine.text);
        }
    }
    return ERR_OK;
}

/* What is new in the slots of a series, at the end of c; true when all of it found room. */
static void count_collect(struct series *s, struct counting *c, size_t room)
{
    lock_take(&s->lock);
    for (struct slot *sl = s->slots; sl != NULL && c->n < room; sl = sl->next) {
        if (sl->dirty && sl->row_id != 0) {
            sl->dirty = false;
            c->v[c->n++] = (struct counted){.series = s,
                                            .n = sl->n,
                                            .row_id = sl->row_id,
                                            .bytes = sl->bytes,
                                            .images = sl->images};
        }
    }
    lock_give(&s->lock);
}

static enum err count_write(struct archive *a, struct counting *c, struct errmsg *e)
{
    if (c->n == 0) {
        return ERR_OK;
    }
    enum err rc = archive_tx(a, count_work, c, e);
    for (size_t i = 0; rc != ERR_OK && i < c->n; i++) {
        slot_mark(c->v[i].series, c->v[i].n);
    }
    c->n = 0;
    return rc;
}

enum err archive_count(struct archive *a, struct errmsg *e)
{
    enum { AT_ONCE = 256 }; // short transactions: the ingest of a new series waits behind one
    struct series **all = NULL;
    size_t          n = 0;
    lock_take(&a->counting);
    enum err        rc = series_all(a, &all, &n, e);
    struct counted  v[AT_ONCE];
    struct counting c = {.v = v};
    for (size_t i = 0; i < n; i++) {
        count_collect(all[i], &c, AT_ONCE);
        while (rc == ERR_OK && c.n == AT_ONCE) {
            rc = count_write(a, &c, e);
            count_collect(all[i], &c, AT_ONCE);
        }
    }
    if (rc == ERR_OK) {
        rc = count_write(a, &c, e);
    }
    for (size_t i = 0; i < c.n; i++) { // collected after a failure
        slot_mark(c.v[i].series, c.v[i].n);
    }
    for (size_t i = 0; i < n; i++) {
        series_unref(a, all[i]);
    }
    free(all);
    lock_give(&a->counting);
    return rc;
}

/* ---- sealing */

static struct pack_origin origin_of(const struct series *s, uint32_t n)
{
    return (struct pack_origin){.tenant = str_of(s->tenant),
                                .study_uid = str_of(s->study_uid),
                                .series_uid = str_of(s->series_uid),
                                .n = n};
}

static void slot_fail(struct archive *a, struct slot *sl, const struct errmsg *why, int64_t wait_ms)
{
    char               path[PACK_PATH] = "";
    struct pack_origin o = origin_of(sl->series, sl->n);
    (void)pack_path(path, a->root, &o, true, NULL);
    int64_t now = clock_mono_ns();
    lock_take(&sl->series->lock);
    sl->pack = NULL;
    sl->state = SLOT_BROKEN;
    sl->idle_ns = now;
    sl->retry_ns = now + wait_ms * 1000000;
    lock_give(&sl->series->lock);
    archive_tell(a, path, why->text);
}

static enum err remove_work(struct db *db, void *arg, struct errmsg *e)
{
    struct errmsg mine = {0};
    enum err      rc = pack_row_remove(db, *(const int64_t *)arg, &mine);
    return rc == ERR_OK || rc == ERR_NOTFOUND ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

/* A pack without images: neither file nor row is of use. */
static enum err slot_clear(struct archive *a, struct slot *sl, struct errmsg *e)
{
    struct errmsg mine = {0};
    enum err      rc = sl->row_id == 0 ? ERR_OK : archive_tx(a, remove_work, &sl->row_id, &mine);
    if (sl->pack != NULL) {
        pack_close(sl->pack);
    }
    if (rc != ERR_OK) {
        slot_fail(a, sl, &mine, LIMIT_BROKEN_RETRY_MS);
        return err_set(e, rc, "%s", mine.text);
    }
    lock_take(&sl->series->lock);
    imgset_unfile(&sl->series->images);
    lock_give(&sl->series->lock);
    slot_drop(a, sl, false);
    return ERR_OK;
}

static enum err seal_row_work(struct db *db, void *arg, struct errmsg *e)
{
    return pack_row_seal(db, arg, e);
}

/* Sealed by somebody who did not live to say so. */
static enum err heal(struct archive *a, const struct pack_row *row, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    char            path[PACK_PATH];
    struct pack_row done = *row;
    enum err        rc = row_path(a, row, false, path, e);
    if (rc == ERR_OK) {
        rc = sealed_row(path, &mem, &done, e);
    }
    if (rc == ERR_OK) {
        rc = file_sync_dir_of(path, e); // its new name may not be durable yet
    }
    if (rc == ERR_OK) {
        rc = file_sha256(path, &mem, &done.sha256, e);
    }
    return rc == ERR_OK ? archive_tx(a, seal_row_work, &done, e) : rc;
}

/* The pack is not there: it was empty and is gone, or its sealing failed when it had its new name.
 * The slot goes on success. */
static enum err slot_settle(struct archive *a, struct slot *sl, struct errmsg *e)
{
    const struct series *s = sl->series;
    struct errmsg        mine = {0};
    if (sl->images == 0) {
        return slot_clear(a, sl, e);
    }
    struct pack_row row = {.id = sl->row_id,
                           .tenant_id = s->tenant_id,
                           .n = sl->n,
                           .tenant_code = str_of(s->tenant),
                           .study_uid = str_of(s->study_uid),
                           .series_uid = str_of(s->series_uid)};
    enum err        rc = heal(a, &row, &mine);
    if (rc != ERR_OK) {
        slot_fail(a, sl, &mine, LIMIT_SEAL_RETRY_MS);
        return err_set(e, rc, "%s", mine.text);
    }
    slot_drop(a, sl, true);
    return ERR_OK;
}

/* A pack that failed, once more.  ERR_NOTFOUND: there is nothing to write to, the slot is gone. */
static enum err slot_reopen(struct archive *a, struct slot *sl, struct errmsg *e)
{
    struct series     *s = sl->series;
    struct pack_origin o = origin_of(s, sl->n);
    struct pack       *p = NULL;
    struct errmsg      mine = {0};
    enum err           rc = pack_reopen(a->root, &o, &p, &mine);
    if (rc == ERR_NOTFOUND) {
        rc = slot_settle(a, sl, e);
        return rc == ERR_OK ? ERR_NOTFOUND : rc;
    }
    if (rc != ERR_OK) {
        slot_fail(a, sl, &mine, LIMIT_SEAL_RETRY_MS);
        return err_set(e, rc, "%s", mine.text);
    }
    lock_take(&s->lock);
    sl->pack = p;
    rc = slot_know(sl, e);
    sl->bytes = pack_bytes(p);
    sl->images = (uint32_t)pack_count(p);
    sl->dirty = true;
    lock_give(&s->lock);
    return rc;
}

struct policy {
    struct str      code;
    struct arena    mem;
    enum recompress what;
};

static enum err policy_work(struct db *db, void *arg, struct errmsg *e)
{
    struct policy *p = arg;
    struct tenant  t;
    enum err       rc = tenant_by_code(db, p->code, &p->mem, &t, e);
    p->what = rc == ERR_OK ? t.recompress : RECOMPRESS_OFF;
    return rc;
}

/* By the tenant's policy.  What fails here keeps nobody from sealing what is there. */
static void slot_recompress(struct archive *a, struct slot *sl)
{
    struct series *s = sl->series;
    struct policy  policy = {.code = str_of(s->tenant)};
    struct errmsg  why = {0};
    uint64_t       images = 0;
    if (a->pixel == NULL) {
        return;
    }
    arena_init(&policy.mem, LIMIT_ASSOC_ARENA);
    enum err     rc = archive_tx(a, policy_work, &policy, &why);
    struct pack *p = sl->pack;
    if (rc == ERR_OK && policy.what == RECOMPRESS_HTJ2K) {
        rc = recompress(a, &p, &images, &why);
    }
    arena_done(&policy.mem);
    if (rc != ERR_OK) {
        char               path[PACK_PATH] = "";
        struct pack_origin o = origin_of(s, sl->n);
        (void)pack_path(path, a->root, &o, true, NULL);
        archive_tell(a, path, why.text);
    }
    if (images > 0) {
        lock_take(&s->lock);
        sl->pack = p;
        sl->bytes = pack_bytes(p);
        slot_moved(sl);
        lock_give(&s->lock);
        atomic_fetch_add(&a->stats.recompressed, images);
    }
}

static enum err seal_one(struct archive *a, struct slot *sl, size_t *sealed, struct errmsg *e)
{
    struct series *s = sl->series;
    slot_recompress(a, sl);
    uint32_t           images = (uint32_t)pack_count(sl->pack);
    struct pack_sealed done;
    struct errmsg      mine = {0};
    enum err           rc = pack_seal(sl->pack, &done, &mine);
    if (rc != ERR_OK) {
        atomic_fetch_add(&a->stats.seal_failed, 1);
        slot_fail(a, sl, &mine, rc == ERR_LIMIT ? LIMIT_BROKEN_RETRY_MS : LIMIT_SEAL_RETRY_MS);
        return err_set(e, rc, "%s", mine.text);
    }
    struct pack_row row = {.id = sl->row_id,
                           .tenant_id = s->tenant_id,
                           .n = sl->n,
                           .state = PACK_SEALED,
                           .bytes = done.bytes,
                           .images = images,
                           .manifest_at = done.manifest_at,
                           .manifest_len = done.manifest_len,
                           .metadata_at = done.metadata_at,
                           .metadata_len = done.metadata_len,
                           .sha256 = str_of(done.sha256)};
    // when that fails the row stays open beside a sealed file: archive_recover mends it
    lock_take(&a->counting); // figures collected before must not be written after it
    rc = archive_tx(a, seal_row_work, &row, e);
    slot_drop(a, sl, true);
    lock_give(&a->counting);
    atomic_fetch_add(&a->stats.sealed, 1);
    (*sealed)++;
    return rc;
}

static bool is_due(const struct archive *a, const struct slot *sl, int64_t now, int64_t idle_ns)
{
    if (sl->state == SLOT_BROKEN) {
        return sl->retry_ns <= now || (idle_ns == 0 && sl->idle_ns < now);
    }
    return sl->state == SLOT_IDLE && (now - sl->idle_ns >= idle_ns || sl->bytes >= a->max_pack);
}

static struct slot *due_take(struct archive *a, struct series *s, int64_t started, int64_t idle_ns)
{
    lock_take(&s->lock);
    struct slot *sl = s->slots;
    while (sl != NULL && !is_due(a, sl, started, idle_ns)) {
        sl = sl->next;
    }
    if (sl != NULL) {
        sl->state = SLOT_SEALING;
    }
    lock_give(&s->lock);
    return sl;
}

static enum err slot_seal(struct archive *a, struct slot *sl, size_t *sealed, struct errmsg *e)
{
    if (sl->pack == NULL) {
        enum err rc = slot_reopen(a, sl, e);
        if (rc != ERR_OK) {
            return rc == ERR_NOTFOUND ? ERR_OK : rc;
        }
    }
    return pack_count(sl->pack) == 0 ? slot_clear(a, sl, e) : seal_one(a, sl, sealed, e);
}

enum err archive_seal(struct archive *a, int64_t idle_ms, size_t *ret_sealed, struct errmsg *e)
{
    struct series **all = NULL;
    size_t          n = 0, sealed = 0;
    int64_t         started = clock_mono_ns(), idle_ns = idle_ms * 1000000;
    enum err        first = series_all(a, &all, &n, e);
    for (size_t i = 0; i < n; i++) {
        struct slot *sl;
        while ((sl = due_take(a, all[i], started, idle_ns)) != NULL) {
            enum err rc = slot_seal(a, sl, &sealed, e);
            first = first == ERR_OK ? rc : first; // the others must not wait for it
        }
        series_unref(a, all[i]);
    }
    free(all);
    if (ret_sealed != NULL) {
        *ret_sealed = sealed;
    }
    return first;
}

/* ---- packs that nobody has open */

/* No file under either name. */
static enum err forget(struct archive *a, const struct pack_row *row, struct errmsg *e)
{
    char folder[PACK_PATH + 64];
    (void)snprintf(folder, sizeof(folder), "%s/%.*s", a->root, STR_ARG(row->tenant_code));
    if (access(folder, F_OK) != 0) { // a disk that is not mounted, rather than a lost pack
        return file_errno(e, "look for", folder);
    }
    int64_t  id = row->id;
    enum err rc = archive_tx(a, remove_work, &id, e);
    if (rc == ERR_OK) {
        archive_tell(a, folder, "a pack of the index without a file: row removed");
    }
    return rc;
}

static enum err adopt(struct archive *a, struct series *s, const struct pack_row *row,
                      struct errmsg *e)
{
    struct pack_origin o = origin_of(s, row->n);
    struct pack       *p = NULL;
    struct errmsg      mine = {0};
    enum err           rc = pack_reopen(a->root, &o, &p, &mine);
    if (rc == ERR_CONFLICT) { // alive in another process
        return ERR_OK;
    }
    if (rc == ERR_NOTFOUND) {
        rc = heal(a, row, e);
        return rc == ERR_NOTFOUND ? forget(a, row, NULL) : rc;
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "%s", mine.text);
    }
    if (pack_count(p) == 0) {
        int64_t id = row->id;
        rc = archive_tx(a, remove_work, &id, e);
        pack_close(p);
        return rc;
    }
    return slot_adopt(a, s, p, row->id, e);
}

static enum err adopt_row(struct archive *a, const struct pack_row *row, struct errmsg *e)
{
    struct series_key k = {.tenant_id = row->tenant_id,
                           .tenant = row->tenant_code,
                           .study_uid = row->study_uid,
                           .series_uid = row->series_uid};
    struct series    *s = NULL;
    enum err          rc = series_ref(a, &k, &s, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (!has_slot(s, row->n)) {
        rc = adopt(a, s, row, e);
    }
    series_unref(a, s);
    return rc;
}

enum err archive_recover(struct archive *a, struct errmsg *e)
{
    parts_clear(a);
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_row *rows = NULL;
    size_t           n = 0;
    struct errmsg    mine = {0};
    struct db       *db = db_pool_take(a->db, &mine);
    if (db == NULL) {
        return err_set(e, mine.code != ERR_OK ? mine.code : ERR_IO, "%s", mine.text);
    }
    enum err rc = pack_rows_open(db, &mem, &rows, &n, e);
    db_pool_give(a->db, db);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        char          path[PACK_PATH] = "";
        struct errmsg why = {0};
        if (adopt_row(a, &rows[i], &why) != ERR_OK) { // one bad pack must not stop a node
            (void)row_path(a, &rows[i], true, path, NULL);
            archive_tell(a, path, why.text);
        }
    }
    return rc;
}

/* ---- the workers: one counts, so that a long sealing does not hold the figures up */

struct upkeep {
    struct archive *a;
    int             stop_fd, wake_fd; // eventfds: the end; a full pack
    pthread_t       counter, sealer;
    bool            has_counter, has_sealer;
    bool            again_failed; // told once, not each second
};

static bool is_stopping(const struct upkeep *u)
{
    struct pollfd p = {.fd = u->stop_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void count_loop(void *arg)
{
    struct upkeep *u = arg;
    struct pollfd  p = {.fd = u->stop_fd, .events = POLLIN};
    while (poll(&p, 1, LIMIT_COUNT_MS) <= 0) {
        struct errmsg why = {0};
        bool          failed = archive_count(u->a, &why) != ERR_OK;
        if (failed && !u->again_failed) {
            archive_tell(u->a, u->a->root, why.text);
        }
        u->again_failed = failed;
    }
}

static void seal_loop(void *arg)
{
    struct upkeep  *u = arg;
    struct archive *a = u->a;
    int64_t         idle_ms = a->seal_idle_ns / 1000000;
    int64_t         tick = idle_ms / 4 < LIMIT_COUNT_MS ? idle_ms / 4 + 1 : LIMIT_COUNT_MS;
    int64_t         adopt_ns = clock_mono_ns();
    struct pollfd   p[2] = {{.fd = u->stop_fd, .events = POLLIN},
                            {.fd = u->wake_fd, .events = POLLIN}};
    while (!is_stopping(u)) {
        (void)poll(p, 2, (int)tick);
        uint64_t n;
        (void)!read(u->wake_fd, &n, sizeof(n));     // non-blocking: empties it
        (void)archive_seal(a, idle_ms, NULL, NULL); // failures were told one by one
        if (a->recover && clock_mono_ns() - adopt_ns > (int64_t)LIMIT_ADOPT_MS * 1000000) {
            (void)archive_recover(a, NULL); // what a command beside us left open
            adopt_ns = clock_mono_ns();
        }
    }
}

enum err upkeep_start(struct archive *a, struct errmsg *e)
{
    struct upkeep *u = calloc(1, sizeof(*u));
    if (u == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the workers of the archive");
    }
    u->a = a;
    u->stop_fd = eventfd(0, EFD_CLOEXEC);
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->upkeep = u;
    if (u->stop_fd < 0 || u->wake_fd < 0) {
        return file_errno(e, "make", "eventfd");
    }
    enum err rc = worker_run("archive-count", count_loop, u, &u->counter, e);
    u->has_counter = rc == ERR_OK;
    if (rc == ERR_OK) {
        rc = worker_run("archive-seal", seal_loop, u, &u->sealer, e);
        u->has_sealer = rc == ERR_OK;
    }
    return rc;
}

static void kick(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one)); // full: it is awake already
}

void archive_wake(struct archive *a)
{
    if (a->upkeep != NULL) {
        kick(a->upkeep->wake_fd);
    }
}

void upkeep_stop(struct archive *a)
{
    struct upkeep *u = a->upkeep;
    if (u == NULL) {
        return;
    }
    if (u->stop_fd >= 0) {
        kick(u->stop_fd);
    }
    if (u->has_counter) {
        (void)pthread_join(u->counter, NULL);
    }
    if (u->has_sealer) {
        (void)pthread_join(u->sealer, NULL);
    }
    file_close(&u->stop_fd);
    file_close(&u->wake_fd);
    free(u);
    a->upkeep = NULL;
}
