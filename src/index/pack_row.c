#include <inttypes.h>

#include "base/clock.h"
#include "base/limits.h"
#include "db/where.h"
#include "index/index_priv.h"

static const char PACK_ADD[] =
    "INSERT INTO pack (tenant_id, series_id, n, state, bytes, images, manifest_at, manifest_len, "
    "metadata_at, metadata_len, sha256) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) RETURNING pack_id";
/* Changes nothing: locks the row, so that the difference to what it counted is certain. */
static const char PACK_LOCK[] =
    "UPDATE pack SET n = n WHERE pack_id = ?1 RETURNING series_id, bytes, images";
static const char PACK_COUNT[] = "UPDATE pack SET bytes = ?2, images = ?3 WHERE pack_id = ?1";
static const char PACK_SEAL[] =
    "UPDATE pack SET state = ?2, bytes = ?3, images = ?4, manifest_at = ?5, manifest_len = ?6, "
    "metadata_at = ?7, metadata_len = ?8, sha256 = ?9 WHERE pack_id = ?1";
static const char PACK_REMOVE[] = "DELETE FROM pack WHERE pack_id = ?1";
static const char PACKS[] =
    "SELECT pack.pack_id, pack.tenant_id, pack.series_id, pack.n, pack.state, pack.bytes, "
    "pack.images, pack.manifest_at, pack.manifest_len, pack.metadata_at, pack.metadata_len, "
    "pack.sha256, study.uid, series.uid, tenant.code, series.rejected, series.reject_rev FROM pack "
    "JOIN series ON series.series_id = pack.series_id "
    "JOIN study ON study.study_id = series.study_id "
    "JOIN tenant ON tenant.tenant_id = pack.tenant_id";

static const char SERIES_MOVE[] =
    "UPDATE series SET n_images = n_images + ?2 WHERE series_id = ?1 RETURNING study_id";
static const char STUDY_MOVE[] =
    "UPDATE study SET n_images = n_images + ?2, changed_us = ?3 WHERE study_id = ?1";
static const char SERIES_REMOVE[] = "DELETE FROM series WHERE series_id = ?1 "
                                    "AND NOT EXISTS (SELECT 1 FROM pack WHERE pack.series_id = ?1)";
static const char STUDY_LEAVE[] =
    "UPDATE study SET n_series = n_series - 1 WHERE study_id = ?1 RETURNING patient_id";
static const char STUDY_MEMBERS[] =
    "SELECT DISTINCT modality, sop_class FROM series WHERE study_id = ?1";
static const char STUDY_LISTS[] =
    "UPDATE study SET modalities = ?2, sop_classes = ?3 WHERE study_id = ?1";
static const char STUDY_REMOVE[] =
    "DELETE FROM study WHERE study_id = ?1 "
    "AND NOT EXISTS (SELECT 1 FROM series WHERE series.study_id = ?1)";
static const char PATIENT_REMOVE[] =
    "DELETE FROM patient WHERE patient_id = ?1 "
    "AND NOT EXISTS (SELECT 1 FROM study WHERE study.patient_id = ?1)";

static const char QUARANTINE_ADD[] =
    "INSERT INTO quarantine (tenant_id, study_uid, series_uid, sop_uid, path, calling, "
    "received_us, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
    "ON CONFLICT (tenant_id, path) DO NOTHING";
static const char QUARANTINE_REMOVE[] = "DELETE FROM quarantine WHERE quarantine_id = ?1";
static const char QUARANTINE_OF[] =
    "SELECT quarantine_id, tenant_id, study_uid, series_uid, sop_uid, path, calling, received_us, "
    "bytes FROM quarantine WHERE tenant_id = ?1 ORDER BY received_us DESC, quarantine_id DESC";

/* ---- statements with one or two numbers */

static enum err study_move(struct db *db, int64_t study_id, int64_t by, struct errmsg *e)
{
    auto_stmt *q = db_query(db, STUDY_MOVE);
    db_bind_int(q, 1, study_id);
    db_bind_int(q, 2, by);
    db_bind_int(q, 3, clock_wall_us());
    return db_end(q, e);
}

/* Rows changed in *ret_n, NULL allowed. */
static enum err run1(struct db *db, const char *sql, int64_t a, int64_t *ret_n, struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    db_bind_int(q, 1, a);
    enum err rc = db_end(q, e);
    if (rc == ERR_OK && ret_n != NULL) {
        *ret_n = db_changed(q);
    }
    return rc;
}

/* An UPDATE … RETURNING one number. */
static enum err run_back(struct db *db, const char *sql, int64_t a, const int64_t *b, int64_t *ret,
                         struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    db_bind_int(q, 1, a);
    if (b != NULL) {
        db_bind_int(q, 2, *b);
    }
    bool row = db_step(q);
    if (row) {
        *ret = db_col_int(q, 0);
    }
    enum err rc = db_end(q, e);
    return rc != ERR_OK || row ? rc : err_set(e, ERR_NOTFOUND, "row %" PRId64 " is gone", a);
}

/* ---- counting */

struct held {
    int64_t series_id, bytes, images;
};

static enum err pack_lock(struct db *db, int64_t pack_id, struct held *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(db, PACK_LOCK);
    db_bind_int(q, 1, pack_id);
    bool row = db_step(q);
    if (row) {
        *ret = (struct held){db_col_int(q, 0), db_col_int(q, 1), db_col_int(q, 2)};
    }
    enum err rc = db_end(q, e);
    return rc != ERR_OK || row ? rc : err_set(e, ERR_NOTFOUND, "no pack %" PRId64, pack_id);
}

/* The sums of a series and its study move by a difference, whoever else counts. */
static enum err move_sums(struct db *db, int64_t series_id, int64_t by, struct errmsg *e)
{
    int64_t study_id = 0;
    if (by == 0) {
        return ERR_OK;
    }
    enum err rc = run_back(db, SERIES_MOVE, series_id, &by, &study_id, e);
    return rc != ERR_OK ? rc : study_move(db, study_id, by, e);
}

struct add {
    const struct pack_row *p;
    int64_t                id;
};

static enum err add_in_tx(struct db *db, void *arg, struct errmsg *e)
{
    struct add            *a = arg;
    const struct pack_row *p = a->p;
    auto_stmt             *q = db_query(db, PACK_ADD);
    db_bind_int(q, 1, p->tenant_id);
    db_bind_int(q, 2, p->series_id);
    db_bind_int(q, 3, p->n);
    db_bind_int(q, 4, p->state);
    db_bind_int(q, 5, (int64_t)p->bytes);
    db_bind_int(q, 6, p->images);
    db_bind_int(q, 7, (int64_t)p->manifest_at);
    db_bind_int(q, 8, (int64_t)p->manifest_len);
    db_bind_int(q, 9, (int64_t)p->metadata_at);
    db_bind_int(q, 10, (int64_t)p->metadata_len);
    db_bind_str(q, 11, p->sha256);
    a->id = db_step(q) ? db_col_int(q, 0) : 0;
    enum err rc = db_end(q, e);
    return rc != ERR_OK ? rc : move_sums(db, p->series_id, p->images, e);
}

enum err pack_row_add(struct db *db, const struct pack_row *p, int64_t *ret_id, struct errmsg *e)
{
    struct add a = {.p = p};
    enum err   rc = db_tx(db, add_in_tx, &a, e);
    if (rc == ERR_OK) {
        *ret_id = a.id;
    }
    return rc;
}

struct count {
    int64_t  pack_id;
    uint64_t bytes;
    uint32_t images;
};

static enum err count_in_tx(struct db *db, void *arg, struct errmsg *e)
{
    const struct count *c = arg;
    struct held         was = {0};
    enum err            rc = pack_lock(db, c->pack_id, &was, e);
    if (rc != ERR_OK || (was.bytes == (int64_t)c->bytes && was.images == c->images)) {
        return rc;
    }
    auto_stmt *q = db_query(db, PACK_COUNT);
    db_bind_int(q, 1, c->pack_id);
    db_bind_int(q, 2, (int64_t)c->bytes);
    db_bind_int(q, 3, c->images);
    rc = db_end(q, e);
    return rc != ERR_OK ? rc : move_sums(db, was.series_id, c->images - was.images, e);
}

enum err pack_row_count(struct db *db, int64_t pack_id, uint64_t bytes, uint32_t images,
                        struct errmsg *e)
{
    struct count c = {pack_id, bytes, images};
    return db_tx(db, count_in_tx, &c, e);
}

static enum err seal_in_tx(struct db *db, void *arg, struct errmsg *e)
{
    const struct pack_row *p = arg;
    struct held            was = {0};
    enum err               rc = pack_lock(db, p->id, &was, e);
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *q = db_query(db, PACK_SEAL);
    db_bind_int(q, 1, p->id);
    db_bind_int(q, 2, PACK_SEALED);
    db_bind_int(q, 3, (int64_t)p->bytes);
    db_bind_int(q, 4, p->images);
    db_bind_int(q, 5, (int64_t)p->manifest_at);
    db_bind_int(q, 6, (int64_t)p->manifest_len);
    db_bind_int(q, 7, (int64_t)p->metadata_at);
    db_bind_int(q, 8, (int64_t)p->metadata_len);
    db_bind_str(q, 9, p->sha256);
    rc = db_end(q, e);
    return rc != ERR_OK ? rc : move_sums(db, was.series_id, p->images - was.images, e);
}

enum err pack_row_seal(struct db *db, const struct pack_row *p, struct errmsg *e)
{
    struct pack_row copy = *p;
    return db_tx(db, seal_in_tx, &copy, e);
}

/* ---- removing */

static void add_member(struct buf *list, struct str v)
{
    CLEANUP(buf_done) struct buf one;
    buf_init(&one, 256);
    buf_u8(&one, '|');
    buf_str(&one, str_cut(v, 128));
    buf_u8(&one, '|');
    if (v.len > 0 && memmem(list->ptr, list->len, one.ptr, one.len) == NULL) {
        buf_add(list, (struct bytes){one.ptr + 1, one.len - 1});
    }
}

/* ModalitiesInStudy and SOPClassesInStudy of the series that are left. */
static enum err lists_write(struct db *db, int64_t study_id, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf modalities;
    CLEANUP(buf_done) struct buf classes;
    buf_init(&modalities, LIMIT_DB_TEXT);
    buf_init(&classes, LIMIT_DB_TEXT);
    buf_u8(&modalities, '|');
    buf_u8(&classes, '|');
    auto_stmt *q = db_query(db, STUDY_MEMBERS);
    db_bind_int(q, 1, study_id);
    while (db_step(q)) {
        add_member(&modalities, db_col_str(q, 0));
        add_member(&classes, db_col_str(q, 1));
    }
    enum err     rc = db_end(q, e);
    struct bytes m = {0}, c = {0};
    if (rc == ERR_OK && (buf_end(&modalities, &m) != ERR_OK || buf_end(&classes, &c) != ERR_OK)) {
        rc = err_set(e, ERR_NOMEM, "no memory for the modalities of a study");
    }
    if (rc != ERR_OK) {
        return rc;
    }
    auto_stmt *set = db_query(db, STUDY_LISTS);
    db_bind_int(set, 1, study_id);
    db_bind_str(set, 2, (struct str){(const char *)m.ptr, m.len});
    db_bind_str(set, 3, (struct str){(const char *)c.ptr, c.len});
    return db_end(set, e);
}

static enum err leave_study(struct db *db, int64_t study_id, struct errmsg *e)
{
    int64_t  patient_id = 0, gone = 0;
    enum err rc = run_back(db, STUDY_LEAVE, study_id, NULL, &patient_id, e);
    rc = rc != ERR_OK ? rc : run1(db, STUDY_REMOVE, study_id, &gone, e);
    if (rc != ERR_OK) {
        return rc;
    }
    return gone == 0 ? lists_write(db, study_id, e) : run1(db, PATIENT_REMOVE, patient_id, NULL, e);
}

static enum err remove_in_tx(struct db *db, void *arg, struct errmsg *e)
{
    int64_t     pack_id = *(int64_t *)arg, study_id = 0, gone = 0;
    struct held was = {0};
    enum err    rc = pack_lock(db, pack_id, &was, e);
    rc = rc != ERR_OK ? rc : run1(db, PACK_REMOVE, pack_id, NULL, e);
    if (rc != ERR_OK) {
        return rc;
    }
    int64_t by = -was.images;
    rc = run_back(db, SERIES_MOVE, was.series_id, &by, &study_id, e);
    rc = rc != ERR_OK ? rc : study_move(db, study_id, by, e);
    rc = rc != ERR_OK ? rc : run1(db, SERIES_REMOVE, was.series_id, &gone, e);
    return rc != ERR_OK || gone == 0 ? rc : leave_study(db, study_id, e);
}

enum err pack_row_remove(struct db *db, int64_t pack_id, struct errmsg *e)
{
    return db_tx(db, remove_in_tx, &pack_id, e);
}

/* ---- listing */

static enum err pack_read(struct db_stmt *q, struct arena *a, struct pack_row *ret,
                          struct errmsg *e)
{
    enum err rc = ERR_OK;
    *ret = (struct pack_row){
        .id = db_col_int(q, 0),
        .tenant_id = db_col_int(q, 1),
        .series_id = db_col_int(q, 2),
        .n = (uint32_t)db_col_int(q, 3),
        .state = db_col_int(q, 4) == PACK_OPEN ? PACK_OPEN : PACK_SEALED,
        .bytes = (uint64_t)db_col_int(q, 5),
        .images = (uint32_t)db_col_int(q, 6),
        .manifest_at = (uint64_t)db_col_int(q, 7),
        .manifest_len = (uint64_t)db_col_int(q, 8),
        .metadata_at = (uint64_t)db_col_int(q, 9),
        .metadata_len = (uint64_t)db_col_int(q, 10),
        .sha256 = col_copy(q, 11, a, &rc),
        .study_uid = col_copy(q, 12, a, &rc),
        .series_uid = col_copy(q, 13, a, &rc),
        .tenant_code = col_copy(q, 14, a, &rc),
        .rejected = (uint64_t)db_col_int(q, 15),
        .reject_rev = (uint64_t)db_col_int(q, 16),
    };
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "no memory for a pack's row");
}

struct list {
    struct pack_row **rows;
    size_t           *n;
};

static enum err packs_list(struct db *db, const struct where *w, const char *order, struct arena *a,
                           struct list ret, struct errmsg *e)
{
    struct pack_row *rows = NULL;
    size_t           n = 0;
    enum err         rc = ERR_OK;
    auto_stmt       *q = db_query_where(db, PACKS, w, order);
    while (rc == ERR_OK && db_step(q)) {
        rows = list_room(a, rows, n, sizeof(*rows));
        rc = rows == NULL ? err_set(e, ERR_LIMIT, "no memory for the list of packs")
                          : pack_read(q, a, &rows[n++], e);
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    if (rc == ERR_OK) {
        *ret.rows = rows;
        *ret.n = n;
    }
    return rc;
}

enum err pack_rows_of_series(struct db *db, int64_t series_id, struct arena *a,
                             struct pack_row **ret, size_t *ret_n, struct errmsg *e)
{
    CLEANUP(where_done) struct where w;
    where_init(&w);
    where_eq_int(&w, "pack.series_id", series_id);
    return packs_list(db, &w, "ORDER BY pack.n", a, (struct list){ret, ret_n}, e);
}

enum err pack_rows_open(struct db *db, struct arena *a, struct pack_row **ret, size_t *ret_n,
                        struct errmsg *e)
{
    CLEANUP(where_done) struct where w;
    where_init(&w);
    where_text(&w, "pack.state = 0"); // as text, so that the partial index serves
    return packs_list(db, &w, "ORDER BY pack.pack_id", a, (struct list){ret, ret_n}, e);
}

enum err pack_rows_after(struct db *db, const struct pack_page *page, struct arena *a,
                         struct pack_row **ret, size_t *ret_n, struct errmsg *e)
{
    CLEANUP(where_done) struct where w;
    where_init(&w);
    where_above_int(&w, "pack.pack_id", page->after);
    if (page->tenant_id != 0) {
        where_eq_int(&w, "pack.tenant_id", page->tenant_id);
    }
    where_limit(&w, (int64_t)page->max, 0);
    return packs_list(db, &w, "ORDER BY pack.pack_id", a, (struct list){ret, ret_n}, e);
}

/* ---- quarantine */

enum err quarantine_add(struct db *db, const struct quarantine_row *r, struct errmsg *e)
{
    auto_stmt *q = db_query(db, QUARANTINE_ADD);
    db_bind_int(q, 1, r->tenant_id);
    db_bind_str(q, 2, r->study_uid);
    db_bind_str(q, 3, r->series_uid);
    db_bind_str(q, 4, r->sop_uid);
    db_bind_str(q, 5, r->path);
    db_bind_str(q, 6, r->calling);
    db_bind_int(q, 7, r->received_us);
    db_bind_int(q, 8, (int64_t)r->bytes);
    return db_end(q, e);
}

enum err quarantine_remove(struct db *db, int64_t id, struct errmsg *e)
{
    int64_t  gone = 0;
    enum err rc = run1(db, QUARANTINE_REMOVE, id, &gone, e);
    return rc != ERR_OK || gone > 0 ? rc
                                    : err_set(e, ERR_NOTFOUND, "no quarantined image %" PRId64, id);
}

enum err quarantine_list(struct db *db, int64_t tenant_id, struct arena *a,
                         struct quarantine_row **ret, size_t *ret_n, struct errmsg *e)
{
    struct quarantine_row *rows = NULL;
    size_t                 n = 0;
    enum err               rc = ERR_OK;
    auto_stmt             *q = db_query(db, QUARANTINE_OF);
    db_bind_int(q, 1, tenant_id);
    while (rc == ERR_OK && db_step(q)) {
        rows = list_room(a, rows, n, sizeof(*rows));
        if (rows == NULL) {
            return err_set(e, ERR_LIMIT, "no memory for the list of quarantined images");
        }
        rows[n++] = (struct quarantine_row){
            .id = db_col_int(q, 0),
            .tenant_id = db_col_int(q, 1),
            .study_uid = col_copy(q, 2, a, &rc),
            .series_uid = col_copy(q, 3, a, &rc),
            .sop_uid = col_copy(q, 4, a, &rc),
            .path = col_copy(q, 5, a, &rc),
            .calling = col_copy(q, 6, a, &rc),
            .received_us = db_col_int(q, 7),
            .bytes = (uint64_t)db_col_int(q, 8),
        };
    }
    rc = rc != ERR_OK ? err_set(e, rc, "no memory for the list of quarantined images")
                      : db_end(q, e);
    if (rc == ERR_OK) {
        *ret = rows;
        *ret_n = n;
    }
    return rc;
}
