#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "db/db_priv.h"

static const char BEGIN_SQLITE[] = "BEGIN IMMEDIATE"; // the lock first: no deadlock half-way
static const char BEGIN_POSTGRES[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
static const char COMMIT[] = "COMMIT";
static const char ROLLBACK[] = "ROLLBACK";

void db_pause_us(int64_t us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR) {
    }
}

static enum err run(struct db *db, const char *sql, struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    return db_end(q, e);
}

static void roll_back(struct db *db)
{
    db->tx_failed = false;
    // SQLite may have rolled back by itself (disk full), a lost connection has; then this fails,
    // and that is the state we want
    (void)run(db, ROLLBACK, NULL);
    db->in_tx = false;
    db->tx_failed = false;
    db->tx_err = (struct errmsg){0};
}

/* One run; *ret_sure: nothing of it can have become durable when it failed. */
static enum err run_once(struct db *db, db_work *work, void *arg, bool *ret_sure, struct errmsg *e)
{
    *ret_sure = true;
    enum err rc = run(db, is_db_postgres(db) ? BEGIN_POSTGRES : BEGIN_SQLITE, e);
    if (rc != ERR_OK) {
        return rc;
    }
    db->in_tx = true;
    rc = work(db, arg, e);
    if (rc == ERR_OK && db->tx_failed) { // a failure that the work did not notice
        rc = err_set(e, db->tx_err.code, "%s", db->tx_err.text);
    }
    if (rc == ERR_OK && is_db_postgres(db) && !is_pg_alive(db)) {
        rc = err_set(e, ERR_CLOSED, "postgresql: connection lost before COMMIT");
    }
    if (rc == ERR_OK) {
        rc = run(db, COMMIT, e);
        *ret_sure = rc != ERR_CLOSED; // the answer to COMMIT was lost: it may have happened
        if (rc == ERR_OK) {
            db->in_tx = false;
            return ERR_OK;
        }
    }
    roll_back(db);
    return rc;
}

enum err db_tx(struct db *db, db_work *work, void *arg, struct errmsg *e)
{
    if (db->in_tx) { // part of the caller's transaction, which retries as a whole
        return work(db, arg, e);
    }
    for (int i = 1;; i++) {
        struct errmsg mine = {0};
        bool          sure = true;
        enum err      rc = run_once(db, work, arg, &sure, &mine);
        bool          again = (rc == ERR_CONFLICT || rc == ERR_CLOSED) && sure;
        if (!again || i >= LIMIT_DB_RETRIES) {
            return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
        }
        int64_t pause = (int64_t)1000 << (i < 8 ? i : 8);
        db_pause_us(pause / 2 + clock_mono_ns() / 1000 % pause);
    }
}

/* ---- scripts */

/* The line without its engine mark; false when it is for the other engine, or a comment. */
static bool line_for(const struct db *db, struct str *line)
{
    const struct str here = is_db_postgres(db) ? STR("--postgres ") : STR("--sqlite ");
    if (line->len >= here.len && memcmp(line->ptr, here.ptr, here.len) == 0) {
        line->ptr += here.len;
        line->len -= here.len;
        return true;
    }
    return line->len < 2 || memcmp(line->ptr, "--", 2) != 0;
}

static struct str next_line(struct str *left)
{
    const char *nl = left->len > 0 ? memchr(left->ptr, '\n', left->len) : NULL;
    struct str  line = {left->ptr, nl != NULL ? (size_t)(nl - left->ptr) : left->len};
    size_t      used = nl != NULL ? line.len + 1 : line.len;
    left->ptr += used;
    left->len -= used;
    return line;
}

static enum err run_text(struct db *db, struct str sql, struct errmsg *e)
{
    auto_stmt *q = db_query_once(db, sql);
    while (db_step(q)) { // a SELECT for its effect
    }
    enum err rc = db_end(q, e);
    if (rc != ERR_OK) {
        err_context(e, "%.*s", sql.len < 60 ? (int)sql.len : 60, sql.ptr);
    }
    return rc;
}

enum err db_script(struct db *db, struct str sql, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf one;
    buf_init(&one, LIMIT_DB_TEXT);
    struct str left = sql;
    while (left.len > 0) {
        struct str line = next_line(&left);
        if (!line_for(db, &line) || line.len == 0) {
            continue;
        }
        bool last = line.ptr[line.len - 1] == ';';
        buf_str(&one, (struct str){line.ptr, last ? line.len - 1 : line.len});
        buf_u8(&one, '\n');
        if (!last) {
            continue;
        }
        struct bytes text;
        enum err     rc = buf_end(&one, &text);
        if (rc == ERR_OK) {
            rc = run_text(db, (struct str){(const char *)text.ptr, text.len}, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
        buf_clear(&one);
    }
    return one.len == 0 ? ERR_OK : err_set(e, ERR_SYNTAX, "script does not end with ;");
}
