#include "index/index_priv.h"

static const char SERIES_OF_STUDY[] =
    "SELECT series.uid FROM study "
    "JOIN series ON series.study_id = study.study_id AND series.tenant_id = study.tenant_id "
    "WHERE study.tenant_id = ?1 AND study.uid = ?2 ORDER BY series.series_id";

enum err series_uids(struct db *db, int64_t tenant_id, struct str study_uid, struct arena *a,
                     struct uid_list *ret, struct errmsg *e)
{
    struct str *list = NULL;
    size_t      n = 0;
    enum err    rc = ERR_OK;
    auto_stmt  *q = db_query(db, SERIES_OF_STUDY);
    db_bind_int(q, 1, tenant_id);
    db_bind_str(q, 2, study_uid);
    while (rc == ERR_OK && db_step(q)) {
        list = list_room(a, list, n, sizeof(*list));
        if (list == NULL) {
            return err_set(e, ERR_LIMIT, "a study of more than %zu series", n);
        }
        list[n++] = col_copy(q, 0, a, &rc);
    }
    rc = rc == ERR_OK ? db_end(q, e) : err_set(e, rc, "no memory for a study's series");
    if (rc == ERR_OK) {
        *ret = (struct uid_list){list, n};
    }
    return rc;
}
