#include <inttypes.h>

#include "db/db.h"

/* One lock for all nodes of a database, held to the end of the transaction; the number is ours. */
static const char LOCK_POSTGRES[] = "SELECT 1 FROM pg_advisory_xact_lock(7146275)";
static const char MAKE_TABLE[] =
    "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)";
static const char NEWEST[] = "SELECT COALESCE(MAX(version), 0) FROM schema_version";
static const char NOTE[] = "INSERT INTO schema_version (version) VALUES (?1)";

static enum err run(struct db *db, const char *sql, struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    while (db_step(q)) {
    }
    return db_end(q, e);
}

static enum err newest(struct db *db, int64_t *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(db, NEWEST);
    if (db_step(q)) {
        *ret = db_col_int(q, 0);
    }
    return db_end(q, e);
}

static enum err note(struct db *db, int version, struct errmsg *e)
{
    auto_stmt *q = db_query(db, NOTE);
    db_bind_int(q, 1, version);
    return db_end(q, e);
}

struct job {
    const struct db_migration *m;
    size_t                     n;
    bool                       more;
};

/* The first migration that is missing, if any, in this transaction. */
static enum err migrate_one(struct db *db, void *arg, struct errmsg *e)
{
    struct job *job = arg;
    int64_t     have = 0;
    job->more = false;
    enum err rc = is_db_postgres(db) ? run(db, LOCK_POSTGRES, e) : ERR_OK;
    if (rc == ERR_OK) {
        rc = run(db, MAKE_TABLE, e);
    }
    if (rc == ERR_OK) {
        rc = newest(db, &have, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (job->n > 0 && have > job->m[job->n - 1].version) {
        return err_set(e, ERR_UNSUPPORTED,
                       "the database has schema version %" PRId64 ", this program knows up to %d",
                       have, job->m[job->n - 1].version);
    }
    for (size_t i = 0; i < job->n; i++) {
        if (job->m[i].version > have) {
            rc = db_script(db, job->m[i].sql, e);
            rc = rc != ERR_OK ? rc : note(db, job->m[i].version, e);
            if (rc != ERR_OK) {
                err_context(e, "migration %d %s", job->m[i].version, job->m[i].name);
            }
            job->more = i + 1 < job->n;
            return rc;
        }
    }
    return ERR_OK;
}

enum err db_migrate(struct db *db, const struct db_migration *m, size_t n, struct errmsg *e)
{
    struct job job = {.m = m, .n = n, .more = true};
    enum err   rc = ERR_OK;
    while (rc == ERR_OK && job.more) {
        rc = db_tx(db, migrate_one, &job, e);
    }
    return rc;
}
