#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "index/index_priv.h"

static const char REJECTED[] = "SELECT rejected_uids FROM series WHERE series_id = ?1";
/* Changes nothing: locks the row, so that the difference is certain. */
static const char SERIES_LOCK[] =
    "UPDATE series SET rejected = rejected WHERE series_id = ?1 RETURNING study_id, rejected";
static const char SERIES_SET[] =
    "UPDATE series SET rejected = rejected + ?2, n_images = n_images - ?2, rejected_uids = ?3, "
    "reject_rev = reject_rev + 1 WHERE series_id = ?1";
static const char STUDY_SET[] =
    "UPDATE study SET rejected = rejected + ?2, n_images = n_images - ?2, changed_us = ?3 "
    "WHERE study_id = ?1";

static enum err split(struct str text, struct arena *a, struct uid_set *ret, struct errmsg *e)
{
    size_t n = text.len > 0 ? 1 : 0;
    for (size_t i = 0; i < text.len; i++) {
        n += text.ptr[i] == '\\' ? 1 : 0;
    }
    struct str *v = arena_array(a, n + 1, struct str);
    text = arena_str(a, text);
    if (v == NULL || text.ptr == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for %zu rejected images", n);
    }
    for (size_t i = 0; i < n; i++) {
        const char *end = memchr(text.ptr, '\\', text.len);
        size_t      len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        v[i] = (struct str){text.ptr, len};
        len += end != NULL ? 1 : 0;
        text = (struct str){text.ptr + len, text.len - len};
    }
    *ret = (struct uid_set){v, n};
    return ERR_OK;
}

enum err rejects_get(struct db *db, int64_t series_id, struct arena *a, struct uid_set *ret,
                     struct errmsg *e)
{
    auto_stmt *q = db_query(db, REJECTED);
    db_bind_int(q, 1, series_id);
    bool     row = db_step(q);
    enum err rc =
        split(row && db_col_str(q, 0).ptr != NULL ? db_col_str(q, 0) : STR(""), a, ret, e);
    return rc != ERR_OK ? rc : db_end(q, e);
}

struct setting {
    int64_t               series_id;
    const struct uid_set *to;
    struct str            text;
};

static enum err set_in_tx(struct db *db, void *arg, struct errmsg *e)
{
    const struct setting *s = arg;
    auto_stmt            *lock = db_query(db, SERIES_LOCK);
    db_bind_int(lock, 1, s->series_id);
    bool     row = db_step(lock);
    int64_t  study_id = row ? db_col_int(lock, 0) : 0;
    int64_t  by = row ? (int64_t)s->to->n - db_col_int(lock, 1) : 0;
    enum err rc = db_end(lock, e);
    if (rc != ERR_OK || !row) {
        return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "no series %" PRId64, s->series_id);
    }
    auto_stmt *q = db_query(db, SERIES_SET);
    db_bind_int(q, 1, s->series_id);
    db_bind_int(q, 2, by);
    bind_text(q, 3, s->text);
    rc = db_end(q, e);
    if (rc != ERR_OK || by == 0) {
        return rc;
    }
    auto_stmt *study = db_query(db, STUDY_SET);
    db_bind_int(study, 1, study_id);
    db_bind_int(study, 2, by);
    db_bind_int(study, 3, clock_wall_us());
    return db_end(study, e);
}

enum err rejects_set(struct db *db, int64_t series_id, const struct uid_set *to, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, LIMIT_DB_TEXT);
    for (size_t i = 0; i < to->n; i++) {
        buf_str(&text, i > 0 ? STR("\\") : STR(""));
        buf_str(&text, to->v[i]);
    }
    struct bytes all = {0};
    if (buf_end(&text, &all) != ERR_OK) {
        return err_set(e, ERR_LIMIT, "%zu rejected images of a series are too many", to->n);
    }
    struct setting s = {series_id, to, {(const char *)all.ptr, all.len}};
    return db_tx(db, set_in_tx, &s, e);
}

int uid_order(const void *pa, const void *pb)
{
    const struct str *a = pa, *b = pb;
    size_t            n = a->len < b->len ? a->len : b->len;
    int               c = n > 0 ? memcmp(a->ptr, b->ptr, n) : 0;
    return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

bool uid_set_has(const struct uid_set *s, struct str uid)
{
    return s->n > 0 && bsearch(&uid, s->v, s->n, sizeof(*s->v), uid_order) != NULL;
}
