#include "index/index_priv.h"

static const char COUNT_ALL[] =
    "SELECT (SELECT COUNT(*) FROM tenant), (SELECT COUNT(*) FROM peer), "
    "(SELECT COUNT(*) FROM patient), (SELECT COUNT(*) FROM study), (SELECT COUNT(*) FROM series), "
    "SUM(CASE WHEN state = 0 THEN 1 ELSE 0 END), COUNT(*), SUM(images), SUM(bytes), "
    "(SELECT COUNT(*) FROM quarantine) FROM pack";
static const char COUNT_OF[] =
    "SELECT (SELECT COUNT(*) FROM tenant WHERE tenant_id = ?1), "
    "(SELECT COUNT(*) FROM peer WHERE tenant_id = ?1), "
    "(SELECT COUNT(*) FROM patient WHERE tenant_id = ?1), "
    "(SELECT COUNT(*) FROM study WHERE tenant_id = ?1), "
    "(SELECT COUNT(*) FROM series WHERE tenant_id = ?1), "
    "SUM(CASE WHEN state = 0 THEN 1 ELSE 0 END), COUNT(*), SUM(images), SUM(bytes), "
    "(SELECT COUNT(*) FROM quarantine WHERE tenant_id = ?1) FROM pack WHERE tenant_id = ?1";

enum err index_migrate(struct db *db, struct errmsg *e)
{
    return db_migrate(db, index_schema, index_schema_n, e);
}

enum err index_count(struct db *db, int64_t tenant_id, struct index_counts *ret, struct errmsg *e)
{
    struct index_counts c = {0};
    auto_stmt          *q = db_query(db, tenant_id == 0 ? COUNT_ALL : COUNT_OF);
    if (tenant_id != 0) {
        db_bind_int(q, 1, tenant_id);
    }
    if (db_step(q)) {
        c = (struct index_counts){
            .tenants = db_col_int(q, 0),
            .peers = db_col_int(q, 1),
            .patients = db_col_int(q, 2),
            .studies = db_col_int(q, 3),
            .series = db_col_int(q, 4),
            .packs_open = db_col_int(q, 5),
            .packs_sealed = db_col_int(q, 6) - db_col_int(q, 5),
            .images = db_col_int(q, 7),
            .bytes = db_col_int(q, 8),
            .quarantined = db_col_int(q, 9),
        };
    }
    enum err rc = db_end(q, e);
    if (rc == ERR_OK) {
        *ret = c;
    }
    return rc;
}
