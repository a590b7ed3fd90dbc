#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "db/db.h"
#include "db/fault.h"
#include "db/pg_test.h"
#include "db/where.h"

/* Every test runs on each engine that is here: urls[engine]. */
enum engine { SQLITE, POSTGRES, ENGINES };

static char dir[64];
static char urls[ENGINES][PG_TEST_URL];

static const char DROP[] = "DROP TABLE IF EXISTS t";
static const char MAKE[] = "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT UNIQUE, v BIGINT, "
                           "d DOUBLE PRECISION)";
static const char ADD[] = "INSERT INTO t (id, k, v, d) VALUES (?1, ?2, ?3, ?4)";
static const char ADD_RETURNING[] = "INSERT INTO t (id, k, v) VALUES (?1, ?2, ?3) RETURNING id, k";
static const char BUMP[] = "UPDATE t SET v = v + 1 WHERE k = ?1";
static const char ALL[] = "SELECT id, k, v, d FROM t ORDER BY id";
static const char ONE[] = "SELECT v FROM t WHERE id = ?1";
static const char COUNT[] = "SELECT COUNT(*) FROM t";
static const char BAD[] = "SELECT x FROM nowhere";
static const char MANY[] =
    "WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r "
    "WHERE i < ?1) SELECT i, 'a text of some length, ?, for row ' || i FROM r";

static void good(enum err rc, const struct errmsg *e)
{
    if (rc != ERR_OK) {
        fail_msg("%s: %s", err_name(rc), e->text);
    }
}

static struct db *take(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = db_pool_take(p, &e);
    if (db == NULL) {
        fail_msg("%s", e.text);
    }
    return db;
}

static enum err run(struct db *db, const char *sql, struct errmsg *e)
{
    auto_stmt *q = db_query(db, sql);
    return db_end(q, e);
}

static enum err add(struct db *db, int64_t id, const char *k, int64_t v, struct errmsg *e)
{
    auto_stmt *q = db_query(db, ADD);
    db_bind_int(q, 1, id);
    db_bind_str(q, 2, str_of(k));
    db_bind_int(q, 3, v);
    db_bind_double(q, 4, 0.1);
    return db_end(q, e);
}

static int64_t value(struct db *db, int64_t id)
{
    struct errmsg e = {0};
    int64_t       v = -1;
    auto_stmt    *q = db_query(db, ONE);
    db_bind_int(q, 1, id);
    if (db_step(q)) {
        v = db_col_int(q, 0);
    }
    good(db_end(q, &e), &e);
    return v;
}

static int64_t count(struct db *db)
{
    struct errmsg e = {0};
    int64_t       v = -1;
    auto_stmt    *q = db_query(db, COUNT);
    if (db_step(q)) {
        v = db_col_int(q, 0);
    }
    good(db_end(q, &e), &e);
    return v;
}

static struct db_pool *fresh(enum engine i, unsigned max)
{
    struct errmsg   e = {0};
    struct db_pool *p = NULL;
    good(db_pool_new(urls[i], max, &p, &e), &e);
    struct db *db = take(p);
    good(run(db, DROP, &e), &e);
    good(run(db, MAKE, &e), &e);
    assert_int_equal(is_db_postgres(db), i == POSTGRES);
    db_pool_give(p, db);
    return p;
}

typedef void engine_test(struct db_pool *p);

static void on_each_engine(engine_test *test)
{
    for (unsigned i = 0; i < ENGINES; i++) {
        if (urls[i][0] != 0) {
            struct db_pool *p = fresh((enum engine)i, 4);
            test(p);
            db_pool_free(p);
        }
    }
}

/* ---- */

static void values_come_back(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    good(add(db, 1, "d\xC3\xA9j\xC3\xA0 '\"?\\", INT64_MIN, &e), &e);
    {
        auto_stmt *q = db_query(db, ADD);
        db_bind_int(q, 1, 2);
        db_bind_str(q, 2, STR(""));
        db_bind_null(q, 3);
        db_bind_null(q, 4);
        good(db_end(q, &e), &e);
        assert_int_equal(db_changed(q), 1);
    }
    auto_stmt *q = db_query(db, ALL);
    assert_true(db_step(q));
    assert_int_equal(db_col_int(q, 0), 1);
    assert_true(str_eq(db_col_str(q, 1), STR("d\xC3\xA9j\xC3\xA0 '\"?\\")));
    assert_true(db_col_int(q, 2) == INT64_MIN);
    assert_true(db_col_double(q, 3) == 0.1);
    assert_true(str_eq(db_col_str(q, 0), STR("1")));
    assert_true(db_step(q));
    assert_false(is_db_null(q, 1));
    assert_int_equal(db_col_str(q, 1).len, 0);
    assert_true(is_db_null(q, 2));
    assert_true(is_db_null(q, 3));
    assert_null(db_col_str(q, 2).ptr);
    assert_int_equal(db_col_int(q, 2), 0);
    assert_false(db_step(q));
    assert_false(db_step(q));
    good(db_end(q, &e), &e);
    db_done(&q);
    db_pool_give(p, db);
}

static void returned_rows_are_read_before_the_end(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    auto_stmt    *q = db_query(db, ADD_RETURNING);
    db_bind_int(q, 1, 7);
    db_bind_str(q, 2, STR("k"));
    db_bind_int(q, 3, 70);
    assert_true(db_step(q));
    assert_int_equal(db_col_int(q, 0), 7);
    assert_true(str_eq(db_col_str(q, 1), STR("k")));
    good(db_end(q, &e), &e);
    db_done(&q);
    assert_int_equal(value(db, 7), 70);
    db_pool_give(p, db);
}

static void errors_have_their_codes(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    good(add(db, 1, "same", 0, &e), &e);
    assert_int_equal(add(db, 2, "same", 0, &e), ERR_EXISTS);
    assert_null(strstr(e.text, "(same)"));
    e = (struct errmsg){0};
    assert_int_equal(add(db, 1, "other", 0, &e), ERR_EXISTS);
    e = (struct errmsg){0};
    assert_int_equal(run(db, BAD, &e), ERR_IO);
    if (strstr(e.text, "nowhere") == NULL) {
        fail_msg("%s", e.text);
    }
    {
        e = (struct errmsg){0};
        auto_stmt *q = db_query(db, ADD);
        db_bind_int(q, 1, 3);
        db_bind_str(q, 2, (struct str){"a\0b", 3});
        assert_int_equal(db_end(q, &e), ERR_SYNTAX);
    }
    assert_int_equal(count(db), 1); // the connection is still good
    db_pool_give(p, db);
}

static void a_million_rows_take_little_memory(struct db_pool *p)
{
    enum { ROWS = 1000000 };

    struct rusage before, after;
    struct errmsg e = {0};
    struct db    *db = take(p);
    int64_t       n = 0;
    (void)getrusage(RUSAGE_SELF, &before);
    auto_stmt *q = db_query(db, MANY);
    db_bind_int(q, 1, ROWS);
    while (db_step(q)) {
        n += db_col_int(q, 0) > 0 && db_col_str(q, 1).len > 30;
    }
    good(db_end(q, &e), &e);
    (void)getrusage(RUSAGE_SELF, &after);
    assert_int_equal(n, ROWS);
#ifndef ARENA_SPLIT // the address sanitizer keeps freed memory for a while
    assert_true(after.ru_maxrss - before.ru_maxrss < 20000); // kilobytes
#endif
    db_done(&q);

    // leaving in the middle is quick and leaves a good connection
    int64_t t = clock_mono_ns();
    q = db_query(db, MANY);
    db_bind_int(q, 1, (int64_t)50 * ROWS);
    for (int i = 0; i < 10; i++) {
        assert_true(db_step(q));
    }
    db_done(&q);
    assert_true(clock_mono_ns() - t < (int64_t)2000000000);
    assert_int_equal(count(db), 0);
    db_pool_give(p, db);
}

static void statements_nest(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    for (int i = 0; i < 100; i++) {
        char k[16];
        (void)snprintf(k, sizeof(k), "k%d", i);
        good(add(db, i, k, i, &e), &e);
    }
    int64_t    n = 0;
    auto_stmt *q = db_query(db, ALL);
    while (db_step(q)) {
        int64_t id = db_col_int(q, 0);
        assert_int_equal(value(db, id), n);
        auto_stmt *again = db_query(db, ALL); // the same text twice
        assert_true(db_step(again));
        assert_int_equal(db_col_int(again, 0), 0);
        assert_int_equal(db_col_int(q, 0), id);
        n++;
    }
    good(db_end(q, &e), &e);
    assert_int_equal(n, 100);
    db_done(&q);
    db_pool_give(p, db);
}

/* ---- transactions */

struct tx_arg {
    int      runs;
    int      fail_runs; // that many runs end with `with`
    enum err with;
};

static enum err add_and_fail(struct db *db, void *arg, struct errmsg *e)
{
    struct tx_arg *a = arg;
    a->runs++;
    enum err rc = add(db, 1, "a", a->runs, e);
    if (rc == ERR_OK && a->runs <= a->fail_runs) {
        return err_set(e, a->with, "on purpose");
    }
    return rc;
}

static void conflicts_are_retried_and_nothing_is_half_done(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    struct tx_arg a = {.fail_runs = 3, .with = ERR_CONFLICT};
    good(db_tx(db, add_and_fail, &a, &e), &e);
    assert_int_equal(a.runs, 4);
    assert_int_equal(value(db, 1), 4);

    a = (struct tx_arg){.fail_runs = 1, .with = ERR_NOTFOUND};
    good(run(db, DROP, &e), &e);
    good(run(db, MAKE, &e), &e);
    assert_int_equal(db_tx(db, add_and_fail, &a, &e), ERR_NOTFOUND);
    assert_int_equal(a.runs, 1);
    assert_string_equal(e.text, "on purpose");
    assert_int_equal(count(db), 0);

    e = (struct errmsg){0};
    a = (struct tx_arg){.fail_runs = 1000000, .with = ERR_CONFLICT};
    assert_int_equal(db_tx(db, add_and_fail, &a, &e), ERR_CONFLICT);
    assert_in_range(a.runs, 2, 20);
    assert_int_equal(count(db), 0);
    db_pool_give(p, db);
}

static enum err add_three(struct db *db, void *arg, struct errmsg *e)
{
    (void)arg;
    enum err rc = add(db, 1, "a", 1, e);
    rc = rc != ERR_OK ? rc : add(db, 2, "b", 2, e);
    return rc != ERR_OK ? rc : add(db, 3, "c", 3, e);
}

/* BEGIN, three INSERTs and COMMIT are five statements: the n-th fails, for every n and code. */
static void any_statement_may_fail(struct db_pool *p)
{
    static const enum err codes[] = {ERR_CONFLICT, ERR_CLOSED, ERR_LIMIT, ERR_IO};

    struct errmsg e = {0};
    struct db    *db = take(p);
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        for (unsigned n = 1; n <= 6; n++) {
            good(run(db, DROP, &e), &e);
            good(run(db, MAKE, &e), &e);
            db_fault_set(n, codes[c]);
            enum err rc = db_tx(db, add_three, NULL, &e);
            db_fault_set(0, ERR_OK);
            bool lost = codes[c] == ERR_CLOSED && n == 5; // the COMMIT: nobody knows
            bool want = n == 6 || codes[c] == ERR_CONFLICT || (codes[c] == ERR_CLOSED && !lost);
            assert_int_equal(rc, want ? ERR_OK : codes[c]);
            assert_int_equal(count(db), want ? 3 : 0);
            e = (struct errmsg){0};
        }
    }
    db_pool_give(p, db);
}

static enum err ignore_a_failure(struct db *db, void *arg, struct errmsg *e)
{
    (void)arg;
    (void)add(db, 1, "a", 1, NULL);
    (void)add(db, 1, "a", 1, NULL); // ERR_EXISTS, not looked at
    struct errmsg mine = {0};
    assert_int_equal(add(db, 2, "b", 2, &mine), ERR_EXISTS); // refused because of the one before
    (void)e;
    return ERR_OK;
}

static void a_failure_inside_rolls_back_even_when_ignored(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    assert_int_equal(db_tx(db, ignore_a_failure, NULL, &e), ERR_EXISTS);
    assert_int_equal(count(db), 0);
    db_pool_give(p, db);
}

static enum err nest(struct db *db, void *arg, struct errmsg *e)
{
    enum err rc = db_tx(db, add_three, NULL, e);
    return rc != ERR_OK ? rc : *(enum err *)arg;
}

static void a_transaction_inside_another_is_part_of_it(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    enum err      end = ERR_DENIED;
    assert_int_equal(db_tx(db, nest, &end, &e), ERR_DENIED);
    assert_int_equal(count(db), 0);
    end = ERR_OK;
    e = (struct errmsg){0};
    good(db_tx(db, nest, &end, &e), &e);
    assert_int_equal(count(db), 3);
    db_pool_give(p, db);
}

static enum err bump_twice(struct db *db, void *arg, struct errmsg *e)
{
    const char **keys = arg; // two processes in opposite order: PostgreSQL deadlocks
    for (int i = 0; i < 2; i++) {
        auto_stmt *q = db_query(db, BUMP);
        db_bind_str(q, 1, str_of(keys[i]));
        enum err rc = db_end(q, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

/* In a child process: only its exit code tells. */
static int write_many(const char *url, bool swap)
{
    const char *keys[2][2] = {{"a", "b"}, {"b", "a"}};

    struct db_pool *p = NULL;
    struct errmsg   e = {0};
    if (db_pool_new(url, 1, &p, &e) != ERR_OK) {
        return 1;
    }
    struct db *db = db_pool_take(p, &e);
    for (int i = 0; db != NULL && i < 200 && e.code == ERR_OK; i++) {
        (void)db_tx(db, bump_twice, keys[swap ? 1 : 0], &e);
    }
    if (e.code != ERR_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    db_pool_give(p, db);
    db_pool_free(p);
    return e.code == ERR_OK ? 0 : 1;
}

static void two_processes_write_at_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ENGINES; i++) {
        if (urls[i][0] == 0) {
            continue;
        }
        struct errmsg   e = {0};
        struct db_pool *p = fresh((enum engine)i, 1);
        struct db      *db = take(p);
        good(add(db, 1, "a", 0, &e), &e);
        good(add(db, 2, "b", 0, &e), &e);
        db_pool_give(p, db);
        db_pool_free(p); // a connection does not survive fork
        pid_t kids[2];
        for (int k = 0; k < 2; k++) {
            kids[k] = fork();
            if (kids[k] == 0) {
                _exit(write_many(urls[i], k == 1));
            }
        }
        for (int k = 0; k < 2; k++) {
            int status = -1;
            assert_int_equal(waitpid(kids[k], &status, 0), kids[k]);
            assert_int_equal(status, 0);
        }
        good(db_pool_new(urls[i], 1, &p, &e), &e);
        db = take(p);
        assert_int_equal(value(db, 1), 400);
        assert_int_equal(value(db, 2), 400);
        db_pool_give(p, db);
        db_pool_free(p);
    }
}

/* ---- PostgreSQL going away */

static const char KILL_OTHERS[] =
    "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";

struct kill_arg {
    struct db *killer;
    int        runs;
};

static enum err add_while_killed(struct db *db, void *arg, struct errmsg *e)
{
    struct kill_arg *k = arg;
    enum err         rc = add(db, 50, "fifty", ++k->runs, e);
    if (rc == ERR_OK && k->runs == 1) {
        auto_stmt *q = db_query(k->killer, KILL_OTHERS);
        (void)db_step(q);
        (void)usleep(50000); // until the server has closed it
    }
    return rc;
}

static void a_lost_connection_is_made_anew(void **state)
{
    (void)state;
    if (urls[POSTGRES][0] == 0) {
        skip();
    }
    struct errmsg   e = {0};
    struct db_pool *p = fresh(POSTGRES, 2);
    struct db      *a = take(p);
    struct db      *b = take(p);
    good(add(a, 1, "a", 1, &e), &e);
    for (int i = 0; i < 3; i++) { // while idle
        auto_stmt *q = db_query(b, KILL_OTHERS);
        assert_true(db_step(q));
        good(db_end(q, &e), &e);
        db_done(&q);
        assert_int_equal(value(a, 1), 1);
    }
    struct kill_arg k = {.killer = b}; // in a transaction: run again as a whole
    good(db_tx(a, add_while_killed, &k, &e), &e);
    assert_int_equal(k.runs, 2);
    assert_int_equal(value(a, 50), 2);
    db_pool_give(p, a);
    db_pool_give(p, b);
    db_pool_free(p);

    good(db_pool_new("postgresql://nobody@127.0.0.1:1/none", 1, &p, &e), &e);
    assert_null(db_pool_take(p, &e));
    assert_int_equal(e.code, ERR_CLOSED);
    e = (struct errmsg){0};
    assert_null(db_pool_take(p, &e)); // the failed one gave its place back
    db_pool_free(p);
}

/* ---- scripts and migrations */

static void scripts_have_lines_for_one_engine(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    good(db_script(db,
                   STR("-- a comment; with a semicolon\n"
                       "INSERT INTO t (id, k)\n"
                       "--sqlite VALUES (1, 'lite');\n"
                       "--postgres VALUES (2, 'post;gres');\n"
                       "\n"
                       "INSERT INTO t (id, k) VALUES (3, 'both');\n"),
                   &e),
         &e);
    assert_int_equal(count(db), 2);
    auto_stmt *q = db_query(db, ALL);
    assert_true(db_step(q));
    assert_int_equal(db_col_int(q, 0), is_db_postgres(db) ? 2 : 1);
    db_done(&q);
    assert_int_equal(db_script(db, STR("INSERT INTO t (id, k) VALUES (4, 'x')"), &e), ERR_SYNTAX);
    db_pool_give(p, db);
}

static const char DROP_M[] = "DROP TABLE IF EXISTS m";
static const char DROP_VERSION[] = "DROP TABLE IF EXISTS schema_version";

static const struct db_migration steps[] = {
    {1, "first", {"CREATE TABLE m (a INTEGER);\n", 28}},
    {2, "second", {"INSERT INTO m (a) VALUES (1);\n", 30}},
    {3, "broken", {"INSERT INTO m (a) VALUES (2);\nINSERT INTO nowhere VALUES (1);\n", 62}},
};

static int migrate_at(const char *url)
{
    struct db_pool *p = NULL;
    struct errmsg   e = {0};
    (void)db_pool_new(url, 1, &p, &e);
    struct db *db = db_pool_take(p, &e);
    if (db != NULL && db_migrate(db, steps, 2, &e) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    db_pool_give(p, db);
    db_pool_free(p);
    return e.code == ERR_OK ? 0 : 1;
}

static const char COUNT_M[] = "SELECT COUNT(*) FROM m";

static void migrations_run_once_also_when_two_nodes_start(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ENGINES; i++) {
        if (urls[i][0] == 0) {
            continue;
        }
        struct errmsg   e = {0};
        struct db_pool *p = fresh((enum engine)i, 1);
        struct db      *db = take(p);
        good(run(db, DROP_M, &e), &e);
        good(run(db, DROP_VERSION, &e), &e);
        db_pool_give(p, db);
        db_pool_free(p);
        pid_t kids[4];
        for (int k = 0; k < 4; k++) {
            kids[k] = fork();
            if (kids[k] == 0) {
                _exit(migrate_at(urls[i]));
            }
        }
        for (int k = 0; k < 4; k++) {
            int status = -1;
            assert_int_equal(waitpid(kids[k], &status, 0), kids[k]);
            assert_int_equal(status, 0);
        }
        good(db_pool_new(urls[i], 1, &p, &e), &e);
        db = take(p);
        {
            assert_int_equal(db_migrate(db, steps, 3, &e), ERR_IO); // and none of the third stays
            assert_non_null(strstr(e.text, "broken"));
            auto_stmt *q = db_query(db, COUNT_M);
            assert_true(db_step(q));
            assert_int_equal(db_col_int(q, 0), 1);
        }
        e = (struct errmsg){0};
        assert_int_equal(db_migrate(db, steps, 1, &e), ERR_UNSUPPORTED); // made by a newer program
        db_pool_give(p, db);
        db_pool_free(p);
    }
}

/* ---- where */

static const char WHERE_HEAD[] = "SELECT id FROM t";

/* The ids that match, as text: "1 3 ". */
static void found(struct db *db, const struct where *w, char ret[256])
{
    struct errmsg e = {0};
    size_t        n = 0;
    auto_stmt    *q = db_query_where(db, WHERE_HEAD, w, "ORDER BY id");
    ret[0] = 0;
    while (db_step(q)) {
        n += (size_t)snprintf(ret + n, 256 - n, "%d ", (int)db_col_int(q, 0));
    }
    good(db_end(q, &e), &e);
}

static void wildcards_mean_the_same_on_both(struct db_pool *p)
{
    static const struct {
        int64_t     id;
        const char *key;
    } rows[] = {
        {1, "dupont^jean"},
        {2, "dupond^marie"},
        {3, "durand"},
        {4, "a%b_c"},
        {5, "axbyc"},
        {6, "[x]"},
        {7, "x"},
        {8, "back\\slash"},
        {9, "\xC3\xA9t\xC3\xA9"},
        {10, "\xF4\x8F\xBF\xBF!"},
        {11, "\xEE\x80\x80"},
        {12, "quote'\""},
        {13, "*"},
        {14, "Dupont^Jean"},
    };

    static const struct {
        const char *pattern, *want;
    } cases[] = {
        {"dup*", "1 2 "},
        {"dupon?^*", "1 2 "},
        {"*an*", "1 3 14 "},
        {"durand", "3 "},
        {"durand*", "3 "},
        {"durand?", ""},
        {"a%b_c", "4 "},
        {"a%*", "4 "},
        {"?%*", "4 "},
        {"*_c", "4 "},
        {"[x]*", "6 "},
        {"?x]", "6 "},
        {"*[x]", "6 "},
        {"*\\sl*", "8 "},
        {"?t?", "9 "},
        {"\xC3\xA9*", "9 "},
        {"\xF4\x8F\xBF\xBF*", "10 "},
        {"\xED\x9F\xBF*", ""},
        {"\xEE\x80\x80*", "11 "},
        {"quote'?", "12 "},
        {"*", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 "},
        {"?", "7 11 13 "},
    };

    struct errmsg e = {0};
    struct db    *db = take(p);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good(add(db, rows[i].id, rows[i].key, rows[i].id % 2, &e), &e);
    }
    const char *column = is_db_postgres(db) ? "k COLLATE \"C\"" : "k";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(where_done) struct where w;
        where_init(&w);
        where_like(&w, column, str_of(cases[i].pattern));
        char ids[256];
        found(db, &w, ids);
        if (strcmp(ids, cases[i].want) != 0) {
            fail_msg("%s: found %s, not %s", cases[i].pattern, ids, cases[i].want);
        }
    }
    db_pool_give(p, db);
}

static void conditions_combine(struct db_pool *p)
{
    struct errmsg e = {0};
    struct db    *db = take(p);
    for (int i = 0; i < 20; i++) {
        char k[16];
        (void)snprintf(k, sizeof(k), "k%02d\"\\,{", i);
        good(add(db, i, k, i % 2, &e), &e);
    }
    static const struct str three[] = {STR("k03\"\\,{"), STR("k04\"\\,{"), STR("k05\"\\,{")};

    char ids[256];
    {
        CLEANUP(where_done) struct where w;
        where_init(&w);
        found(db, &w, ids);
        assert_int_equal(strlen(ids), 10 * 2 + 10 * 3);
        where_in_str(&w, "k", three, 3);
        where_eq_int(&w, "v", 1);
        found(db, &w, ids);
        assert_string_equal(ids, "3 5 ");
        where_range_str(&w, "k", STR("k04"), STR("k99"));
        found(db, &w, ids);
        assert_string_equal(ids, "5 ");
        where_in_str(&w, "k", NULL, 0);
        found(db, &w, ids);
        assert_string_equal(ids, "");
    }
    {
        CLEANUP(where_done) struct where w;
        where_init(&w);
        where_eq_int(&w, "v", 0);
        where_any(&w);
        where_in_str(&w, "k", three, 3);
        where_like(&w, "k", STR("k1*"));
        where_any_end(&w);
        found(db, &w, ids);
        assert_string_equal(ids, "4 10 12 14 16 18 ");
        where_limit(&w, 2, 3);
        found(db, &w, ids);
        assert_string_equal(ids, "14 16 ");
        where_begin(&w, "EXISTS (SELECT 1 FROM t u WHERE u.id = t.id");
        where_eq_str(&w, "u.k", STR("k18\"\\,{"));
        where_end(&w);
        where_limit(&w, 0, 0);
        found(db, &w, ids);
        assert_string_equal(ids, "18 ");
        where_any(&w);
        where_any_end(&w);
        found(db, &w, ids);
        assert_string_equal(ids, "");
    }
    for (int i = 0; i < 200; i++) { // more texts than are cached
        char column[16];
        (void)snprintf(column, sizeof(column), "%d + v", i);
        CLEANUP(where_done) struct where w;
        where_init(&w);
        where_eq_int(&w, column, i + 1);
        found(db, &w, ids);
        assert_string_equal(ids, "1 3 5 7 9 11 13 15 17 19 ");
    }
    db_pool_give(p, db);
}

static void urls_of_other_kinds_are_refused(void **state)
{
    (void)state;
    struct db_pool *p = NULL;
    struct errmsg   e = {0};
    good(db_pool_new("mysql://u:secret@h/x", 1, &p, &e), &e);
    assert_null(db_pool_take(p, &e));
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_null(strstr(e.text, "secret"));
    db_pool_free(p);
    e = (struct errmsg){0};
    good(db_pool_new("sqlite:/nonexistent/dir/x.sqlite", 1, &p, &e), &e);
    assert_null(db_pool_take(p, &e));
    assert_int_equal(e.code, ERR_IO);
    db_pool_free(p);
}

#define EACH(name)                                                                                 \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        (void)state;                                                                               \
        on_each_engine(name);                                                                      \
    }
EACH(values_come_back)
EACH(returned_rows_are_read_before_the_end)
EACH(errors_have_their_codes)
EACH(a_million_rows_take_little_memory)
EACH(statements_nest)
EACH(conflicts_are_retried_and_nothing_is_half_done)
EACH(any_statement_may_fail)
EACH(a_failure_inside_rolls_back_even_when_ignored)
EACH(a_transaction_inside_another_is_part_of_it)
EACH(scripts_have_lines_for_one_engine)
EACH(wildcards_mean_the_same_on_both)
EACH(conditions_combine)

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/t.sqlite%s", dir, ends[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_),
        cmocka_unit_test(returned_rows_are_read_before_the_end_),
        cmocka_unit_test(errors_have_their_codes_),
        cmocka_unit_test(a_million_rows_take_little_memory_),
        cmocka_unit_test(statements_nest_),
        cmocka_unit_test(conflicts_are_retried_and_nothing_is_half_done_),
        cmocka_unit_test(any_statement_may_fail_),
        cmocka_unit_test(a_failure_inside_rolls_back_even_when_ignored_),
        cmocka_unit_test(a_transaction_inside_another_is_part_of_it_),
        cmocka_unit_test(two_processes_write_at_once),
        cmocka_unit_test(a_lost_connection_is_made_anew),
        cmocka_unit_test(scripts_have_lines_for_one_engine_),
        cmocka_unit_test(migrations_run_once_also_when_two_nodes_start),
        cmocka_unit_test(wildcards_mean_the_same_on_both_),
        cmocka_unit_test(conditions_combine_),
        cmocka_unit_test(urls_of_other_kinds_are_refused),
    };
    (void)snprintf(dir, sizeof(dir), "/tmp/garonne-db-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    (void)snprintf(urls[SQLITE], sizeof(urls[SQLITE]), "sqlite:%s/t.sqlite", dir);
    (void)pg_test_start(urls[POSTGRES]);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pg_test_stop(urls[POSTGRES]);
    remove_files();
    return rc;
}
