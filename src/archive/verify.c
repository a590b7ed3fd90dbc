#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/archive_priv.h"
#include "sys/file.h"

struct verifying {
    struct archive      *a;
    archive_note        *note;
    void                *ctx;
    struct verify_stats *stats;
    char                 path[PACK_PATH]; // of the pack in hand
};

static void bad(void *ctx, struct str sop_uid, const char *what)
{
    struct verifying *v = ctx;
    char              text[400];
    v->stats->bad++;
    if (v->note == NULL) {
        return;
    }
    (void)snprintf(text, sizeof(text), "%.*s%s%s", STR_ARG(sop_uid), sop_uid.len > 0 ? ": " : "",
                   what);
    v->note(v->ctx, v->path, text);
}

static int by_uid(const void *a, const void *b)
{
    return strcmp(((const struct pack_image *)a)->sop_uid, ((const struct pack_image *)b)->sop_uid);
}

/* Every image with a good header must be there again when the hashes are checked as well. */
static enum err verify_open(struct verifying *v, int fd, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_scan all = {0}, good = {0};
    enum err         rc = pack_scan_fd(fd, false, &mem, &all, e);
    if (rc == ERR_OK) {
        rc = pack_scan_fd(fd, true, &mem, &good, e); // after it: it may have grown, not shrunk
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (good.n > 0) {
        qsort(good.images, good.n, sizeof(*good.images), by_uid);
    }
    for (size_t i = 0; i < all.n; i++) {
        const struct pack_image *p = &all.images[i];
        v->stats->bytes += p->size;
        if (good.n == 0 || bsearch(p, good.images, good.n, sizeof(*p), by_uid) == NULL) {
            bad(v, str_of(p->sop_uid), "content differs from its hash");
        }
    }
    if (all.damaged > 0) {
        bad(v, STR(""), "a place between images is no tar header");
    }
    v->stats->images += all.n;
    return ERR_OK;
}

static enum err verify_row(struct verifying *v, const struct pack_row *row, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    char                   *path = v->path;
    struct errmsg           mine = {0};
    enum err                rc = row_path(v->a, row, true, path, e);
    if (rc != ERR_OK) {
        return rc;
    }
    v->stats->packs++;
    if (row->state == PACK_OPEN) {
        rc = file_open(path, O_RDONLY, 0, &fd, &mine);
        if (rc != ERR_NOTFOUND) {
            rc = rc == ERR_OK ? verify_open(v, fd, &mine) : rc;
            return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
        }
    }
    rc = row_path(v->a, row, false, path, e);
    if (rc != ERR_OK) {
        return rc;
    }
    v->stats->images += row->images;
    v->stats->bytes += row->bytes;
    mine = (struct errmsg){0};
    uint64_t before = v->stats->bad;
    rc = pack_verify(path, bad, v, &mine);
    if (rc == ERR_SYNTAX && v->stats->bad > before) {
        return ERR_OK; // it was told what
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static enum err rows_after(struct archive *a, int64_t after, struct arena *mem,
                           struct pack_row **ret, size_t *ret_n, struct errmsg *e)
{
    enum { AT_ONCE = 500 };
    struct errmsg mine = {0};
    struct db    *db = db_pool_take(a->db, &mine);
    enum err      rc = mine.code != ERR_OK ? mine.code : ERR_IO;
    if (db != NULL) {
        rc = pack_rows_after(db, &(struct pack_page){.after = after, .max = AT_ONCE}, mem, ret,
                             ret_n, &mine);
        db_pool_give(a->db, db);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

/* A row whose pack is gone for good was removed meanwhile, with its last image. */
static bool is_removed(struct archive *a, const struct pack_row *row)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_row *rows = NULL;
    size_t           n = 0;
    return rows_after(a, row->id - 1, &mem, &rows, &n, NULL) == ERR_OK &&
           (n == 0 || rows == NULL || rows[0].id != row->id);
}

enum err archive_verify(struct archive *a, archive_note *note, void *ctx, struct verify_stats *ret,
                        struct errmsg *e)
{
    struct verify_stats stats = {0};
    struct verifying    v = {.a = a, .note = note, .ctx = ctx, .stats = &stats};
    int64_t             after = 0;
    enum err            rc = ERR_OK;
    for (size_t n = 1; rc == ERR_OK && n > 0;) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, LIMIT_SCAN);
        struct pack_row *rows = NULL;
        rc = rows_after(a, after, &mem, &rows, &n, e);
        for (size_t i = 0; rc == ERR_OK && rows != NULL && i < n; i++) {
            struct errmsg why = {0};
            v.path[0] = '\0';
            enum err one = verify_row(&v, &rows[i], &why);
            if (one != ERR_OK && !(one == ERR_NOTFOUND && is_removed(a, &rows[i]))) {
                bad(&v, STR(""), why.text);
            }
            after = rows[i].id;
        }
    }
    *ret = stats;
    return rc;
}
