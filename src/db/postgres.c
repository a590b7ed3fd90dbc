#include <poll.h>
#include <postgresql/libpq-fe.h> // as Debian lays it, so that no tool needs another -I
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "db/db_priv.h"

/*
 * Every statement is sent through the extended protocol and read in single-row mode, so a result of
 * any size needs the memory of a row.  Statements made by searches are not prepared but planned
 * with their values: a plan for unknown values would be wrong for a rare name or a common one.
 */

/* ---- errors */

static const struct {
    const char *state; // SQLSTATE, or its class of two characters
    enum err    code;
} states[] = {
    {"23505", ERR_EXISTS},   // unique_violation
    {"40001", ERR_CONFLICT}, // serialization_failure
    {"40P01", ERR_CONFLICT}, // deadlock_detected
    {"55P03", ERR_CONFLICT}, // lock_not_available
    {"53100", ERR_LIMIT},    // disk_full
    {"53200", ERR_NOMEM},    // out_of_memory
    {"08", ERR_CLOSED},      // connection_exception
    {"57P", ERR_CLOSED},     // shutting down, starting up
    {"53300", ERR_CLOSED},   // too_many_connections: as if the server were away
    {"25006", ERR_CLOSED},   // read_only_sql_transaction: the primary is elsewhere by now
};

static enum err code_of(const char *state)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strncmp(state, states[i].state, strlen(states[i].state)) == 0) {
            return states[i].code;
        }
    }
    return ERR_IO;
}

/* libpq ends its texts with a line feed and breaks them in two. */
static void one_line(char to[200], const char *from)
{
    size_t n = 0;
    for (; from[n] != 0 && n < 199; n++) {
        to[n] = from[n];
        if (to[n] == '\n') {
            to[n] = ' ';
        }
    }
    while (n > 0 && to[n - 1] == ' ') {
        n--;
    }
    to[n] = 0;
}

static enum err fail(struct pg_conn *c, const struct pg_result *r, struct errmsg *e)
{
    char        text[200];
    const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    if (state == NULL) {
        one_line(text, PQerrorMessage(c));
        enum err code = PQstatus(c) == CONNECTION_BAD ? ERR_CLOSED : ERR_IO;
        return err_set(e, code, "postgresql: %s", text);
    }
    // the detail quotes values, and so does class 22 (data exception): they stay out of logs
    const char *words = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (words == NULL || strncmp(state, "22", 2) == 0) {
        words = "data exception";
    }
    one_line(text, words);
    return err_set(e, code_of(state), "postgresql %s: %s", state, text);
}

/* ---- connections */

static void no_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static enum err connect_new(struct db *db, struct errmsg *e)
{
    char connect_s[12], silent_ms[12], options[64];
    (void)snprintf(connect_s, sizeof(connect_s), "%d", LIMIT_DB_CONNECT_S);
    (void)snprintf(silent_ms, sizeof(silent_ms), "%d", LIMIT_DB_SILENT_MS);
    (void)snprintf(options, sizeof(options), "-c lock_timeout=%d", LIMIT_DB_BUSY_MS);

    // those before dbname are defaults that the URL may override
    const char *const keys[] = {
        "connect_timeout", "tcp_user_timeout", "options", "fallback_application_name",
        "dbname",          "client_encoding",  NULL};
    const char *const values[] = {connect_s,  silent_ms, options, "garonne",
                                  db->target, "UTF8",    NULL};

    PQfinish(db->pg);
    db->generation++;
    db->active = NULL;
    db->lost = false;
    db->pg = PQconnectdbParams(keys, values, 1);
    if (db->pg == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a database connection");
    }
    if (PQstatus(db->pg) != CONNECTION_OK) {
        char text[200];
        one_line(text, PQerrorMessage(db->pg));
        return err_set(e, ERR_CLOSED, "postgresql: %s", text);
    }
    (void)PQsetNoticeProcessor(db->pg, no_notice, NULL);
    return ERR_OK;
}

static enum err pg_open(struct db *db, const char *target, struct errmsg *e)
{
    db->target = strdup(target);
    if (db->target == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a database connection");
    }
    return connect_new(db, e);
}

static void pg_close(struct db *db)
{
    PQfinish(db->pg);
    free(db->target);
}

bool is_pg_alive(struct db *db)
{
    // a last message may come before the end of file
    for (int i = 0; i < 3 && PQstatus(db->pg) == CONNECTION_OK && !db->lost; i++) {
        struct pollfd p = {.fd = PQsocket(db->pg), .events = POLLIN};
        if (poll(&p, 1, 0) <= 0) {
            return true;
        }
        (void)PQconsumeInput(db->pg);
    }
    return PQstatus(db->pg) == CONNECTION_OK && !db->lost;
}

static bool ensure_alive(struct db *db, struct errmsg *e)
{
    if (db->in_tx) { // what was done so far is lost with the connection
        return PQstatus(db->pg) == CONNECTION_OK ||
               err_set(e, ERR_CLOSED, "postgresql: connection lost") == ERR_OK;
    }
    return is_pg_alive(db) || connect_new(db, e) == ERR_OK;
}

/* ---- statements */

static void stmt_name(const struct db_stmt *q, char ret[16])
{
    (void)snprintf(ret, 16, "s%u", q->id);
}

/* ?1 becomes $1, outside of quotes. */
static void dollars(char *sql)
{
    char quote = 0;
    for (char *p = sql; *p != 0; p++) {
        if (quote != 0) {
            if (*p == quote) {
                quote = 0;
            }
        } else if (*p == '\'' || *p == '"') {
            quote = *p;
        } else if (*p == '?') {
            *p = '$';
        }
    }
}

static void fail_stmt(struct db_stmt *q, const struct pg_result *r)
{
    (void)fail(q->db->pg, r, &q->err);
    if (q->err.code == ERR_CLOSED) {
        q->db->lost = true; // also when the socket still works: the server is going, or read-only
    }
    const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    if (state != NULL && (strcmp(state, "26000") == 0 || strcmp(state, "0A000") == 0)) {
        q->generation = 0; // the server forgot it, or a migration changed its columns
    }
}

/* The next result of the running statement: true with a row in *ret. */
static bool next_result(struct db_stmt *q, struct pg_result **ret)
{
    struct db        *db = q->db;
    struct pg_result *r = PQgetResult(db->pg);
    ExecStatusType    status = PQresultStatus(r);
    if (r != NULL && status == PGRES_SINGLE_TUPLE) {
        *ret = r;
        return true;
    }
    db->active = NULL;
    if (r != NULL && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)) {
        if (!parse_i64(str_of(PQcmdTuples(r)), &q->changed)) {
            q->changed = 0;
        }
    } else {
        fail_stmt(q, r);
    }
    PQclear(r);
    while ((r = PQgetResult(db->pg)) != NULL) {
        PQclear(r);
    }
    return false;
}

/* The wire carries one result at a time: what another statement has not read yet is read ahead. */
static bool read_ahead(struct db_stmt *q)
{
    struct pg_result *r = NULL;
    while (q->err.code == ERR_OK && next_result(q, &r)) {
        buf_add(&q->ahead, (struct bytes){(const uint8_t *)&r, sizeof(struct pg_result *)});
        if (q->ahead.err != ERR_OK) {
            PQclear(r);
            (void)err_set(&q->err, ERR_LIMIT, "more than %d rows read ahead", LIMIT_DB_AHEAD);
        }
    }
    while (q->db->active == q && next_result(q, &r)) {
        PQclear(r);
    }
    return q->err.code == ERR_OK;
}

static bool prepare(struct db_stmt *q)
{
    struct db *db = q->db;
    if (q->generation == db->generation) {
        return true;
    }
    q->id = ++db->last_id; // a name that failed or lost its meaning is not used again
    char name[16];
    stmt_name(q, name);
    struct pg_result *r = PQprepare(db->pg, name, q->sql, 0, NULL);
    bool              good = PQresultStatus(r) == PGRES_COMMAND_OK;
    if (good) {
        q->generation = db->generation;
    } else {
        fail_stmt(q, r);
    }
    PQclear(r);
    return good;
}

static bool start(struct db_stmt *q)
{
    struct db *db = q->db;
    if (db->active != NULL) {
        (void)read_ahead(db->active); // its failure waits for its own db_end
    }
    if (!ensure_alive(db, &q->err)) {
        return false;
    }
    dollars(q->sql);
    if (q->kind == STMT_STATIC && !prepare(q)) {
        return false;
    }
    char        numbers[LIMIT_DB_PARAMS][32];
    const char *values[LIMIT_DB_PARAMS];
    for (int i = 0; i < q->n_values; i++) {
        const struct db_value *v = &q->values[i];
        values[i] = numbers[i];
        switch (v->kind) {
        case DB_NULL: values[i] = NULL; break;
        case DB_INT: (void)snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)v->i); break;
        case DB_DOUBLE: (void)snprintf(numbers[i], sizeof(numbers[i]), "%.17g", v->d); break;
        case DB_TEXT: values[i] = (const char *)q->text.ptr + v->at; break;
        }
    }
    char name[16];
    stmt_name(q, name);
    int sent = q->kind == STMT_STATIC
                   ? PQsendQueryPrepared(db->pg, name, q->n_values, values, NULL, NULL, 0)
                   : PQsendQueryParams(db->pg, q->sql, q->n_values, NULL, values, NULL, NULL, 0);
    if (sent == 0) {
        fail_stmt(q, NULL);
        return false;
    }
    (void)PQsetSingleRowMode(db->pg);
    db->active = q;
    return true;
}

/* The connection was lost before the answer, and asking again does no harm. */
static bool is_repeatable(const struct db_stmt *q)
{
    return q->err.code == ERR_CLOSED && !q->db->in_tx &&
           (strncmp(q->sql, "SELECT ", 7) == 0 || strncmp(q->sql, "BEGIN ", 6) == 0);
}

static bool pg_step(struct db_stmt *q)
{
    if (q->state == STMT_READY) {
        q->state = STMT_RUNNING;
        if (start(q) && next_result(q, &q->row)) {
            return true;
        }
        if (is_repeatable(q)) {
            q->err = (struct errmsg){0};
            if (start(q) && next_result(q, &q->row)) {
                return true;
            }
        }
        q->state = STMT_DONE;
        return false;
    }
    PQclear(q->row);
    q->row = NULL;
    if (q->ahead_at < q->ahead.len) {
        memcpy(&q->row, q->ahead.ptr + q->ahead_at, sizeof(struct pg_result *));
        q->ahead_at += sizeof(struct pg_result *);
        return true;
    }
    if (q->db->active == q && next_result(q, &q->row)) {
        return true;
    }
    q->state = STMT_DONE;
    return false;
}

static struct db_value pg_col(struct db_stmt *q, int col, bool as_text)
{
    (void)as_text; // the wire carries text; the face turns it into numbers
    if (PQgetisnull(q->row, 0, col) != 0) {
        return (struct db_value){.kind = DB_NULL};
    }
    return (struct db_value){
        .kind = DB_TEXT,
        .s = {PQgetvalue(q->row, 0, col), (size_t)PQgetlength(q->row, 0, col)},
    };
}

/* Rows that nobody will read: a few are taken off the wire, of many the server is asked to stop
 * (not in a transaction, which that would abort). */
static void skip_rest(struct db_stmt *q)
{
    struct pg_result *r = NULL;
    for (unsigned n = 0; q->db->active == q && next_result(q, &r); n++) {
        PQclear(r);
        PGcancel *stop = n == 1000 && !q->db->in_tx ? PQgetCancel(q->db->pg) : NULL;
        if (stop != NULL) {
            char text[256];
            (void)PQcancel(stop, text, sizeof(text));
            PQfreeCancel(stop);
        }
    }
}

static void pg_reset(struct db_stmt *q)
{
    skip_rest(q);
    PQclear(q->row);
    q->row = NULL;
    for (; q->ahead_at < q->ahead.len; q->ahead_at += sizeof(struct pg_result *)) {
        struct pg_result *r = NULL;
        memcpy(&r, q->ahead.ptr + q->ahead_at, sizeof(struct pg_result *));
        PQclear(r);
    }
    buf_done(&q->ahead);
    buf_init(&q->ahead, LIMIT_DB_AHEAD * sizeof(struct pg_result *));
    q->ahead_at = 0;
}

static void pg_drop(struct db_stmt *q)
{
    pg_reset(q); // static texts are prepared for the life of the connection, others not at all
}

const struct db_engine engine_postgres = {
    .open = pg_open,
    .close = pg_close,
    .step = pg_step,
    .col = pg_col,
    .reset = pg_reset,
    .drop = pg_drop,
};
