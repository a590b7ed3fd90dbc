#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/num.h"
#include "db/db_priv.h"
#include "db/fault.h"

/* ---- connections */

struct db *db_open(const char *url, struct errmsg *e)
{
    const struct db_engine *eng = NULL;
    const char             *target = url;
    if (strncmp(url, "sqlite:", 7) == 0) {
        eng = &engine_sqlite;
        target = url + 7;
    } else if (strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0) {
        eng = &engine_postgres;
    } else {
        // the text may hold a password: it is not repeated
        (void)err_set(e, ERR_UNSUPPORTED, "database URL is neither sqlite: nor postgresql://");
        return NULL;
    }
    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL) {
        (void)err_set(e, ERR_NOMEM, "no memory for a database connection");
        return NULL;
    }
    db->eng = eng;
    if (eng->open(db, target, e) != ERR_OK) {
        db_close(db);
        return NULL;
    }
    return db;
}

static void stmt_free(struct db_stmt *q)
{
    q->db->eng->drop(q);
    buf_done(&q->text);
    buf_done(&q->ahead);
    free(q->sql);
    free(q);
}

void db_close(struct db *db)
{
    if (db == NULL) {
        return;
    }
    for (size_t i = 0; i < DB_BUCKETS; i++) {
        while (db->cache[i] != NULL) {
            struct db_stmt *q = db->cache[i];
            db->cache[i] = q->next;
            stmt_free(q);
        }
    }
    db->eng->close(db);
    free(db);
}

bool is_db_postgres(const struct db *db)
{
    return db->eng == &engine_postgres;
}

/* ---- the cache of statements */

static size_t bucket_of(const void *key, struct str text)
{
    uint64_t h = 14695981039346656037U; // FNV-1a
    if (key != NULL) {
        h = ((uint64_t)(uintptr_t)key >> 3) * 0x9E3779B97F4A7C15U;
    } else {
        for (size_t i = 0; i < text.len; i++) {
            h = (h ^ (uint8_t)text.ptr[i]) * 1099511628211U;
        }
    }
    return (size_t)(h >> 40) % DB_BUCKETS;
}

static struct db_stmt *stmt_new(struct db *db, enum stmt_kind kind, struct str sql)
{
    struct db_stmt *q = calloc(1, sizeof(*q));
    char           *copy = malloc(sql.len + 1);
    if (q == NULL || copy == NULL) {
        abort(); // a few kilobytes: the service manager restarts us
    }
    memcpy(copy, sql.ptr, sql.len);
    copy[sql.len] = 0;
    q->db = db;
    q->kind = kind;
    q->sql = copy;
    q->id = ++db->last_id;
    buf_init(&q->text, LIMIT_DB_TEXT);
    buf_init(&q->ahead, LIMIT_DB_AHEAD * sizeof(struct pg_result *));
    return q;
}

static struct db_stmt *stmt_take(struct db *db, struct db_stmt *q)
{
    q->busy = true;
    q->used = ++db->clock;
    if (db->tx_failed) {
        (void)err_set(&q->err, db->tx_err.code, "%s", db->tx_err.text);
    }
    return q;
}

static struct db_stmt *stmt_file(struct db *db, size_t bucket, struct db_stmt *q)
{
    q->next = db->cache[bucket];
    db->cache[bucket] = q;
    return stmt_take(db, q);
}

struct db_stmt *db_query(struct db *db, const char *sql)
{
    size_t bucket = bucket_of(sql, (struct str){0});
    for (struct db_stmt *q = db->cache[bucket]; q != NULL; q = q->next) {
        if (q->key == sql && !q->busy) {
            return stmt_take(db, q);
        }
    }
    struct db_stmt *q = stmt_new(db, STMT_STATIC, str_of(sql));
    q->key = sql;
    return stmt_file(db, bucket, q);
}

/* Forget the text that was used longest ago, so that odd searches do not pile up. */
static void drop_oldest_text(struct db *db)
{
    struct db_stmt **oldest = NULL;
    for (size_t i = 0; i < DB_BUCKETS; i++) {
        for (struct db_stmt **at = &db->cache[i]; *at != NULL; at = &(*at)->next) {
            if ((*at)->kind == STMT_TEXT && !(*at)->busy &&
                (oldest == NULL || (*at)->used < (*oldest)->used)) {
                oldest = at;
            }
        }
    }
    if (oldest != NULL) {
        struct db_stmt *q = *oldest;
        *oldest = q->next;
        db->n_text--;
        stmt_free(q);
    }
}

struct db_stmt *db_query_text(struct db *db, struct str sql)
{
    size_t bucket = bucket_of(NULL, sql);
    for (struct db_stmt *q = db->cache[bucket]; q != NULL; q = q->next) {
        if (q->kind == STMT_TEXT && !q->busy && str_eq(str_of(q->sql), sql)) {
            return stmt_take(db, q);
        }
    }
    if (db->n_text >= LIMIT_DB_TEXTS) {
        drop_oldest_text(db);
    }
    db->n_text++;
    return stmt_file(db, bucket, stmt_new(db, STMT_TEXT, sql));
}

struct db_stmt *db_query_once(struct db *db, struct str sql)
{
    return stmt_take(db, stmt_new(db, STMT_ONCE, sql));
}

void db_done(struct db_stmt **at)
{
    struct db_stmt *q = *at;
    if (q == NULL) {
        return;
    }
    *at = NULL;
    q->db->eng->reset(q);
    if (q->kind == STMT_ONCE) {
        stmt_free(q);
        return;
    }
    buf_clear(&q->text);
    q->n_values = 0;
    q->changed = 0;
    q->state = STMT_READY;
    q->err = (struct errmsg){0};
    q->busy = false;
}

/* ---- binding */

static void bind(struct db_stmt *q, int i, struct db_value v)
{
    assert(i >= 1 && q->state == STMT_READY);
    if (i > LIMIT_DB_PARAMS) {
        (void)err_set(&q->err, ERR_LIMIT, "more than %d values in one statement", LIMIT_DB_PARAMS);
        return;
    }
    for (; q->n_values < i; q->n_values++) {
        q->values[q->n_values] = (struct db_value){.kind = DB_NULL};
    }
    q->values[i - 1] = v;
}

void db_bind_str(struct db_stmt *q, int i, struct str v)
{
    // SQLite would keep a NUL and PostgreSQL refuse it: neither is wanted
    if (v.len > 0 && memchr(v.ptr, 0, v.len) != NULL) {
        (void)err_set(&q->err, ERR_SYNTAX, "text with a NUL for the database");
        return;
    }
    struct db_value n = {.kind = DB_TEXT, .at = q->text.len, .s = {NULL, v.len}};
    buf_str(&q->text, v);
    buf_u8(&q->text, 0);
    struct bytes all;
    enum err     rc = buf_end(&q->text, &all);
    if (rc != ERR_OK) {
        (void)err_set(&q->err, rc, "text of %zu bytes for the database", v.len);
        return;
    }
    bind(q, i, n);
}

void db_bind_int(struct db_stmt *q, int i, int64_t v)
{
    bind(q, i, (struct db_value){.kind = DB_INT, .i = v});
}

void db_bind_double(struct db_stmt *q, int i, double v)
{
    bind(q, i, (struct db_value){.kind = DB_DOUBLE, .d = v});
}

void db_bind_null(struct db_stmt *q, int i)
{
    bind(q, i, (struct db_value){.kind = DB_NULL});
}

/* ---- running */

bool db_step(struct db_stmt *q)
{
    if (q->err.code != ERR_OK || q->state == STMT_DONE) {
        return false;
    }
    bool row = false;
    if (q->state == STMT_READY) {
        enum err fault = db_fault_next();
        if (fault != ERR_OK) {
            (void)err_set(&q->err, fault, "planned fault");
        }
    }
    if (q->err.code == ERR_OK) {
        row = q->db->eng->step(q);
    }
    struct db *db = q->db;
    if (q->err.code != ERR_OK && db->in_tx && !db->tx_failed) {
        // as PostgreSQL does: after a failure a transaction can only be rolled back
        db->tx_failed = true;
        db->tx_err = q->err;
    }
    return row;
}

static bool is_write(const struct db_stmt *q)
{
    static const char *const verbs[] = {"INSERT ", "UPDATE ", "DELETE "};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strncmp(q->sql, verbs[i], 7) == 0) {
            return true;
        }
    }
    return false;
}

enum err db_end(struct db_stmt *q, struct errmsg *e)
{
    if (q->err.code == ERR_OK && q->state == STMT_READY) {
        (void)db_step(q); // a statement without rows need not be stepped by hand
    }
    while (q->err.code == ERR_OK && q->state == STMT_RUNNING && is_write(q)) {
        (void)db_step(q); // one that returned a row commits when it ends, and may fail there
    }
    return q->err.code == ERR_OK ? ERR_OK : err_set(e, q->err.code, "%s", q->err.text);
}

/* EXPLAIN does all of preparing, on both engines, and nothing more. */
enum err db_prepare(struct db *db, const char *sql, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, LIMIT_DB_TEXT);
    buf_str(&text, STR("EXPLAIN "));
    buf_str(&text, str_of(sql));
    struct bytes all = {0};
    enum err     rc = buf_end(&text, &all);
    if (rc != ERR_OK) {
        return err_set(e, rc, "statement too long");
    }
    auto_stmt *q = db_query_once(db, (struct str){(const char *)all.ptr, all.len});
    for (const char *p = strchr(sql, '?'); p != NULL; p = strchr(p + 1, '?')) {
        uint32_t   i = 0;
        struct str digits = {p + 1, strspn(p + 1, "0123456789")};
        if (parse_u32(digits, &i) && i > 0 && i <= LIMIT_DB_PARAMS) {
            db_bind_null(q, (int)i);
        }
    }
    while (db_step(q)) {
    }
    return db_end(q, e);
}

/* ---- columns */

static struct db_value column(struct db_stmt *q, int col, bool as_text)
{
    assert(q->state == STMT_RUNNING);
    return q->db->eng->col(q, col, as_text);
}

int64_t db_col_int(struct db_stmt *q, int col)
{
    struct db_value v = column(q, col, false);
    int64_t         n = 0;
    double          d = 0;
    if (v.kind == DB_INT) {
        return v.i;
    }
    if (v.kind == DB_TEXT && parse_i64(v.s, &n)) {
        return n;
    }
    if (v.kind == DB_DOUBLE) {
        d = v.d;
    } else if (v.kind != DB_TEXT || !parse_double(v.s, &d)) {
        return 0;
    }
    return d > -9.2e18 && d < 9.2e18 ? (int64_t)d : 0;
}

double db_col_double(struct db_stmt *q, int col)
{
    struct db_value v = column(q, col, false);
    double          d = 0;
    if (v.kind == DB_DOUBLE) {
        return v.d;
    }
    if (v.kind == DB_INT) {
        return (double)v.i;
    }
    return v.kind == DB_TEXT && parse_double(v.s, &d) ? d : 0;
}

struct str db_col_str(struct db_stmt *q, int col)
{
    struct db_value v = column(q, col, true);
    return v.kind == DB_TEXT ? v.s : (struct str){0};
}

bool is_db_null(struct db_stmt *q, int col)
{
    return column(q, col, false).kind == DB_NULL;
}

int64_t db_changed(struct db_stmt *q)
{
    return q->changed;
}
