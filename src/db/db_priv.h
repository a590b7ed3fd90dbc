#pragma once
/*
 * Inside of db: what the face (db.c) and the two engines share.
 *
 * Bound values are kept by the face, so that an engine sees them all at once when a statement
 * starts. A statement of a connection that was lost is prepared anew: it remembers the generation
 * of the connection that it was prepared in.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "db/db.h"

struct pg_conn;
struct pg_result;
struct sqlite3;
struct sqlite3_stmt;

enum db_kind { DB_NULL, DB_INT, DB_DOUBLE, DB_TEXT };

struct db_value {
    enum db_kind kind;
    int64_t      i;
    double       d;
    size_t       at; // bound text: offset in the statement's text buffer, NUL-terminated there
    struct str   s;  // column text
};

enum stmt_state { STMT_READY, STMT_RUNNING, STMT_DONE };

enum stmt_kind {
    STMT_STATIC, // cached for ever by the address of its text
    STMT_TEXT,   // cached by content, dropped when long unused
    STMT_ONCE,   // not cached
};

struct db_stmt {
    struct db      *db;
    struct db_stmt *next; // in its bucket of the cache, owned by the connection
    enum stmt_kind  kind;
    const char     *key; // STMT_STATIC: the caller's text
    uint64_t        used;
    bool            busy; // handed out
    enum stmt_state state;
    struct errmsg   err; // sticky
    char           *sql; // as the caller wrote it, owned
    struct buf      text;
    struct db_value values[LIMIT_DB_PARAMS];
    int             n_values;
    int64_t         changed;

    struct sqlite3_stmt *lite;

    unsigned          id;         // PostgreSQL: name of the prepared statement
    unsigned          generation; // of the connection that knows it; 0: none
    struct pg_result *row;
    struct buf        ahead;    // struct pg_result pointers read before their turn
    size_t            ahead_at; // bytes of ahead already used
};

struct db_engine {
    enum err (*open)(struct db *db, const char *target, struct errmsg *e);
    void (*close)(struct db *db);
    /* The next row; the first call binds and starts.  Failures go to q->err. */
    bool (*step)(struct db_stmt *q);
    struct db_value (*col)(struct db_stmt *q, int col, bool as_text);
    void (*reset)(struct db_stmt *q); // ready to be bound anew
    void (*drop)(struct db_stmt *q);  // forget what was prepared
};

extern const struct db_engine engine_sqlite, engine_postgres;

enum { DB_BUCKETS = 128 };

struct db {
    const struct db_engine *eng;
    struct db              *next; // in the pool's list
    struct db_stmt         *cache[DB_BUCKETS];
    unsigned                n_text; // cached by content
    uint64_t                clock;  // for the least recently used
    unsigned                last_id;
    bool                    in_tx, tx_failed;
    struct errmsg           tx_err; // the first failure inside the transaction

    struct sqlite3 *lite;
    int64_t         busy_since_ns;

    struct pg_conn *pg;
    char           *target; // owned
    unsigned        generation;
    bool            lost;   // connect anew before the next statement outside a transaction
    struct db_stmt *active; // the statement whose rows are still on the wire
};

struct db      *db_open(const char *url, struct errmsg *e);   // NULL on failure
void            db_close(struct db *db);                      // NULL is fine
struct db_stmt *db_query_text(struct db *db, struct str sql); // cached by content
struct db_stmt *db_query_once(struct db *db, struct str sql); // several in a row: scripts
void            db_pause_us(int64_t us);
/* A server that went away while the connection was idle has left an end of file or a last message
 * on the socket: known without asking. */
bool            is_pg_alive(struct db *db);
