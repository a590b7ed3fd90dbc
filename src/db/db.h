#pragma once
/*
 * One thin face for SQLite 3 and PostgreSQL.
 *
 * SQL is portable text with ?1 ?2 … parameters (rewritten to $1 $2 for PostgreSQL); a test prepares
 * every statement on both.  A struct db is one connection, used by one thread at a time; threads
 * share a struct db_pool.  Statements are prepared once per connection and cached by the address
 * of their text, which is therefore always a static const char[].
 *
 * A result of any size takes the memory of a row.  While one statement is being stepped, others may
 * run on the same connection; PostgreSQL then reads the rest of the first into memory (at most
 * LIMIT_DB_AHEAD rows): beside a large result use a second connection.
 *
 * After a failed statement a transaction can only be rolled back, on both engines: so INSERT … ON
 * CONFLICT where a duplicate is expected.  ERR_SYNTAX: text with a NUL, which neither may keep.
 *
 * Errors are sticky in the statement and asked for once, with db_end(): ERR_EXISTS (unique
 * constraint), ERR_CONFLICT (busy, serialization failure, deadlock: db_tx retries), ERR_CLOSED
 * (server went away; the pool reconnects), ERR_LIMIT (disk full), ERR_IO for all else.
 */
#include "base/err.h"
#include "base/slice.h"

struct db;
struct db_pool;
struct db_stmt;

/* url: "sqlite:PATH" or a libpq URL ("postgresql://…").  A connection is opened when first taken.
 */
enum err   db_pool_new(const char *url, unsigned max, struct db_pool **ret, struct errmsg *e);
void       db_pool_free(struct db_pool *p);
/* Waits for a free connection; NULL with *e when none can be opened. */
struct db *db_pool_take(struct db_pool *p, struct errmsg *e);
void       db_pool_give(struct db_pool *p, struct db *db); // NULL is fine

bool is_db_postgres(const struct db *db);

struct db_stmt *db_query(struct db *db, const char *sql); // never NULL; the error waits in db_end
void            db_bind_str(struct db_stmt *q, int i, struct str v);
void            db_bind_int(struct db_stmt *q, int i, int64_t v);
void            db_bind_double(struct db_stmt *q, int i, double v);
void            db_bind_null(struct db_stmt *q, int i);
bool            db_step(struct db_stmt *q); // true: a row is there
/* First failure of query, bind or step; runs a statement that was not stepped.  An INSERT, UPDATE
 * or DELETE with RETURNING is run to its end, so its columns are read before. */
enum err        db_end(struct db_stmt *q, struct errmsg *e);
void            db_done(struct db_stmt **at); // gives the statement back; the cleanup function
#define auto_stmt CLEANUP(db_done) struct db_stmt

/* Whether this engine takes the statement: for tests. */
enum err db_prepare(struct db *db, const char *sql, struct errmsg *e);

int64_t    db_col_int(struct db_stmt *q, int col); // col from 0
double     db_col_double(struct db_stmt *q, int col);
struct str db_col_str(struct db_stmt *q,
                      int             col); // valid until the next step; NULL column: {NULL,0}
bool       is_db_null(struct db_stmt *q, int col);
int64_t    db_changed(struct db_stmt *q); // rows changed by the statement, after db_end

/*
 * Run work inside one transaction (BEGIN IMMEDIATE / READ COMMITTED) and retry it from the start on
 * ERR_CONFLICT, with a growing pause, up to LIMIT_DB_RETRIES times.  work must have no effect
 * outside the database that a second run would double.  SQL of work returns its error as usual.
 * ERR_CLOSED is retried on a new connection, unless the answer to COMMIT was lost.  Inside another
 * db_tx work is simply a part of that one.
 */
typedef enum err db_work(struct db *db, void *arg, struct errmsg *e);
enum err         db_tx(struct db *db, db_work *work, void *arg, struct errmsg *e);

/* Statements separated by ";" at the end of a line, for migrations.  "--sqlite " / "--postgres " at
 * the start of a line keep that line for one engine only. */
enum err db_script(struct db *db, struct str sql, struct errmsg *e);

/*
 * Forward-only migrations: a table schema_version(version) is kept; those not yet there are run in
 * order, each in a transaction, under a lock so that two nodes may start together.
 */
struct db_migration {
    int         version; // 1, 2, 3 …
    const char *name;
    struct str  sql;
};
enum err db_migrate(struct db *db, const struct db_migration *m, size_t n, struct errmsg *e);
