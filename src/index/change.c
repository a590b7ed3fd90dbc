/* What changed since: for pages that show what arrives. */
#include "index/index_priv.h"

static const char CHANGES[] =
    "SELECT study_id, tenant_id, uid, n_series, n_images, changed_us FROM study "
    "WHERE changed_us > ?1 ORDER BY changed_us LIMIT ?2";

static void row_read(struct db_stmt *q, struct arena *a, struct study_change *to, enum err *rc)
{
    *to = (struct study_change){
        .study_id = db_col_int(q, 0),
        .tenant_id = db_col_int(q, 1),
        .uid = col_copy(q, 2, a, rc),
        .series = db_col_int(q, 3),
        .images = db_col_int(q, 4),
        .changed_us = db_col_int(q, 5),
    };
}

enum err study_changes(struct db *db, const struct change_page *page, struct arena *a,
                       struct study_change **ret, size_t *ret_n, struct errmsg *e)
{
    struct study_change *v = arena_array(a, page->max > 0 ? page->max : 1, struct study_change);
    size_t               n = 0;
    enum err             copied = ERR_OK;
    if (v == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for changes");
    }
    auto_stmt *q = db_query(db, CHANGES);
    db_bind_int(q, 1, page->since_us);
    db_bind_int(q, 2, (int64_t)page->max);
    while (n < page->max && db_step(q)) {
        row_read(q, a, &v[n++], &copied);
    }
    enum err rc = db_end(q, e);
    if (rc == ERR_OK && copied != ERR_OK) {
        rc = err_set(e, copied, "no memory for changes");
    }
    *ret = v;
    *ret_n = n;
    return rc;
}
