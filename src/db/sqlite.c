#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "db/db_priv.h"

/* ---- errors */

static enum err code_of(struct sqlite3 *h, int rc)
{
    switch (rc & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return ERR_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ERR_CONFLICT;
    case SQLITE_FULL:
    case SQLITE_TOOBIG: return ERR_LIMIT;
    case SQLITE_NOMEM: return ERR_NOMEM;
    case SQLITE_CONSTRAINT:
        return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ? ERR_EXISTS
                                                                                    : ERR_IO;
    default:
        // growing the shared-memory file of the WAL on a full disk is an I/O error to SQLite
        return h != NULL && sqlite3_system_errno(h) == ENOSPC ? ERR_LIMIT : ERR_IO;
    }
}

static enum err fail(struct sqlite3 *h, int rc, struct errmsg *e)
{
    // its messages name tables and columns, never values
    return err_set(e, code_of(h, rc), "sqlite: %s", h != NULL ? sqlite3_errmsg(h) : "no memory");
}

/* Writers wait for each other with short pauses: a commit takes about a millisecond, so SQLite's
 * own back-off (up to 100 ms) would leave the lock idle most of the time. */
static int wait_for_lock(void *ctx, int tries)
{
    struct db *db = ctx;
    int64_t    now = clock_mono_ns();
    if (tries == 0) {
        db->busy_since_ns = now;
    }
    if (now - db->busy_since_ns > (int64_t)LIMIT_DB_BUSY_MS * 1000000) {
        return 0;
    }
    int64_t pause = 200 + 100 * (int64_t)(tries < 30 ? tries : 30);
    db_pause_us(pause + now / 1000 % pause); // spread, so that writers do not march in step
    return 1;
}

/* ---- connections */

static enum err run(struct sqlite3 *h, const char *sql, struct errmsg *e)
{
    int rc = SQLITE_OK;
    // changing to WAL does not always call the busy handler when two processes start together
    for (int i = 0; i < 200; i++) {
        rc = sqlite3_exec(h, sql, NULL, NULL, NULL);
        if ((rc & 0xFF) != SQLITE_BUSY) {
            break;
        }
        db_pause_us(5000);
    }
    return rc == SQLITE_OK ? ERR_OK : fail(h, rc, e);
}

static enum err lite_open(struct db *db, const char *path, struct errmsg *e)
{
    static const char *const settings[] = {
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL", // what was committed survives a power cut
        "PRAGMA foreign_keys=ON",
        "PRAGMA mmap_size=268435456", // reads without copies; address space, not memory
        "PRAGMA journal_size_limit=67108864",
        "PRAGMA trusted_schema=OFF",
        "PRAGMA temp_store=MEMORY", // sorts of search results stay off the disk
    };

    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &db->lite, flags, NULL);
    if (rc != SQLITE_OK) {
        enum err err = fail(db->lite, rc, e);
        err_context(e, "%s", path);
        return err;
    }
    (void)sqlite3_busy_handler(db->lite, wait_for_lock, db);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        enum err err = run(db->lite, settings[i], e);
        if (err != ERR_OK) {
            err_context(e, "%s", path);
            return err;
        }
    }
    return ERR_OK;
}

static void lite_close(struct db *db)
{
    (void)sqlite3_close(db->lite);
}

/* ---- statements */

static bool bind_all(struct db_stmt *q)
{
    int rc = SQLITE_OK;
    for (int i = 0; i < q->n_values && rc == SQLITE_OK; i++) {
        const struct db_value *v = &q->values[i];
        switch (v->kind) {
        case DB_NULL: rc = sqlite3_bind_null(q->lite, i + 1); break;
        case DB_INT: rc = sqlite3_bind_int64(q->lite, i + 1, v->i); break;
        case DB_DOUBLE: rc = sqlite3_bind_double(q->lite, i + 1, v->d); break;
        case DB_TEXT: // the text buffer is ours until the statement is given back
            rc = sqlite3_bind_text64(q->lite, i + 1, (const char *)q->text.ptr + v->at, v->s.len,
                                     SQLITE_STATIC, SQLITE_UTF8);
            break;
        }
    }
    if (rc != SQLITE_OK) {
        (void)fail(q->db->lite, rc, &q->err);
    }
    return rc == SQLITE_OK;
}

static bool start(struct db_stmt *q)
{
    if (q->lite == NULL) {
        int rc = sqlite3_prepare_v3(q->db->lite, q->sql, -1,
                                    q->kind == STMT_ONCE ? 0 : SQLITE_PREPARE_PERSISTENT, &q->lite,
                                    NULL);
        if (rc != SQLITE_OK) {
            (void)fail(q->db->lite, rc, &q->err);
            return false;
        }
        if (q->lite == NULL) {
            (void)err_set(&q->err, ERR_IO, "sqlite: empty statement");
            return false;
        }
    }
    return bind_all(q);
}

static bool lite_step(struct db_stmt *q)
{
    if (q->state == STMT_READY && !start(q)) {
        return false;
    }
    q->state = STMT_RUNNING;
    int rc = sqlite3_step(q->lite);
    if (rc == SQLITE_ROW) {
        return true;
    }
    q->state = STMT_DONE;
    if (rc != SQLITE_DONE) {
        (void)fail(q->db->lite, rc, &q->err);
    } else {
        q->changed = sqlite3_stmt_readonly(q->lite) ? 0 : sqlite3_changes64(q->db->lite);
    }
    return false;
}

static struct db_value lite_col(struct db_stmt *q, int col, bool as_text)
{
    int type = sqlite3_column_type(q->lite, col);
    if (type == SQLITE_NULL) {
        return (struct db_value){.kind = DB_NULL};
    }
    if (as_text || type == SQLITE_TEXT || type == SQLITE_BLOB) {
        const char *text = (const char *)sqlite3_column_text(q->lite, col);
        size_t      len = (size_t)sqlite3_column_bytes(q->lite, col);
        return (struct db_value){.kind = DB_TEXT, .s = {text != NULL ? text : "", len}};
    }
    if (type == SQLITE_FLOAT) {
        return (struct db_value){.kind = DB_DOUBLE, .d = sqlite3_column_double(q->lite, col)};
    }
    return (struct db_value){.kind = DB_INT, .i = sqlite3_column_int64(q->lite, col)};
}

static void lite_reset(struct db_stmt *q)
{
    if (q->lite != NULL) {
        (void)sqlite3_reset(q->lite); // its error was already told by step
        (void)sqlite3_clear_bindings(q->lite);
    }
}

static void lite_drop(struct db_stmt *q)
{
    (void)sqlite3_finalize(q->lite);
    q->lite = NULL;
}

const struct db_engine engine_sqlite = {
    .open = lite_open,
    .close = lite_close,
    .step = lite_step,
    .col = lite_col,
    .reset = lite_reset,
    .drop = lite_drop,
};
