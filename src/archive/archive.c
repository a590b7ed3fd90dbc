#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "archive/archive_priv.h"
#include "sys/file.h"

static enum err conf_apply(struct archive *a, const struct archive_conf *c, struct errmsg *e)
{
    int64_t idle_ms = c->seal_idle_ms > 0 ? c->seal_idle_ms : LIMIT_SEAL_IDLE_MS;
    int     n = snprintf(a->root, sizeof(a->root), "%s/archive", c->data);
    if (n < 0 || (size_t)n >= sizeof(a->root)) {
        return err_set(e, ERR_LIMIT, "data folder: a path of %d bytes", n);
    }
    a->seal_idle_ns = idle_ms * 1000000;
    a->max_pack = c->max_pack > 0 ? c->max_pack : LIMIT_PACK_BYTES;
    a->recover = c->recover;
    a->note = c->note;
    a->note_ctx = c->note_ctx;
    a->pixel = c->pixel;
    return file_make_dirs(a->root, e);
}

static enum err index_connect(struct archive *a, const struct archive_conf *c, struct errmsg *e)
{
    char url[PACK_PATH + 32];
    (void)snprintf(url, sizeof(url), "sqlite:%s/index.sqlite", c->data);
    enum err rc = db_pool_new(c->db_url != NULL ? c->db_url : url, LIMIT_DB_POOL, &a->db, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct db *db = db_pool_take(a->db, e);
    if (db == NULL) {
        return e != NULL && e->code != ERR_OK ? e->code : ERR_IO;
    }
    rc = index_migrate(db, e);
    db_pool_give(a->db, db);
    return rc;
}

enum err archive_open(const struct archive_conf *c, struct archive **ret, struct errmsg *e)
{
    struct archive *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for an archive");
    }
    lock_init(&a->counting, LOCK_UPKEEP);
    lock_init(&a->lock, LOCK_REGISTRY);
    enum err rc = conf_apply(a, c, e);
    if (rc == ERR_OK) {
        rc = cache_new(&a->cache, e);
    }
    if (rc == ERR_OK) {
        rc = views_new(&a->views, e);
    }
    if (rc == ERR_OK) {
        rc = index_connect(a, c, e);
    }
    if (rc == ERR_OK && a->recover) {
        rc = archive_recover(a, e);
    }
    if (rc == ERR_OK && c->background) {
        rc = upkeep_start(a, e);
    }
    if (rc != ERR_OK) {
        archive_close(a);
        return rc;
    }
    *ret = a;
    return ERR_OK;
}

void archive_close(struct archive *a)
{
    if (a == NULL) {
        return;
    }
    upkeep_stop(a);
    if (a->db != NULL) {
        (void)archive_count(a, NULL); // what fails here is counted anew by the next start
    }
    live_free(a);
    views_free(a->views);
    cache_free(a->cache);
    db_pool_free(a->db);
    lock_done(&a->lock);
    lock_done(&a->counting);
    free(a);
}

struct db_pool *archive_db(struct archive *a)
{
    return a->db;
}

const char *archive_root(const struct archive *a)
{
    return a->root;
}

enum err archive_tx(struct archive *a, db_work *work, void *arg, struct errmsg *e)
{
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(a->db, &mine);
    enum err      rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = db_tx(db, work, arg, &mine);
        db_pool_give(a->db, db);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

void archive_tell(struct archive *a, const char *path, const char *what)
{
    if (a->note != NULL) {
        a->note(a->note_ctx, path, what);
    }
}

void archive_get_stats(const struct archive *a, struct archive_stats *ret)
{
    *ret = (struct archive_stats){.stored = atomic_load(&a->stats.stored),
                                  .duplicates = atomic_load(&a->stats.duplicates),
                                  .quarantined = atomic_load(&a->stats.quarantined),
                                  .aborted = atomic_load(&a->stats.aborted),
                                  .bytes = atomic_load(&a->stats.bytes),
                                  .sealed = atomic_load(&a->stats.sealed),
                                  .seal_failed = atomic_load(&a->stats.seal_failed),
                                  .recompressed = atomic_load(&a->stats.recompressed),
                                  .open_packs = atomic_load(&a->stats.open_packs)};
}

/* The last of the disk is for what must still be written then: the index, manifests, and the
 * packs' own reservations.  A small disk, as tests use, gives up a sixteenth. */
enum err archive_space(const struct archive *a, uint64_t *ret_free, struct errmsg *e)
{
    struct statvfs v;
    if (statvfs(a->root, &v) != 0) {
        return file_errno(e, "statvfs", a->root);
    }
    uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t whole = (uint64_t)v.f_blocks * v.f_frsize;
    uint64_t keep = whole / 16 < LIMIT_DISK_RESERVE ? whole / 16 : LIMIT_DISK_RESERVE;
    *ret_free = left;
    return left >= keep ? ERR_OK
                        : err_set(e, ERR_LIMIT, "disk full: %" PRIu64 " MiB left for the archive",
                                  left >> 20);
}
