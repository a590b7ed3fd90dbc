#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "db/db.h"
#include "db/pg_test.h"
#include "index/index.h"

/*
 * Every statement of the program is prepared on both engines: the sources are searched for
 *
 *     static const char NAME[] = "…" "…";
 *
 * whose text begins with a verb of SQL, so none can be forgotten.  A name that ends with _SQLITE or
 * _POSTGRES is for that engine alone.
 */

static char lite_url[128], pg_url[PG_TEST_URL];

struct statement {
    char name[64];
    char text[4096];
};

/* The next string literals after *p, joined; false when something else comes first. */
static bool literals(const char **p, char *to, size_t size)
{
    size_t n = 0;
    for (;;) {
        while (isspace((unsigned char)**p) != 0) {
            (*p)++;
        }
        if (**p != '"') {
            to[n] = 0;
            return **p == ';' && n > 0;
        }
        for ((*p)++; **p != 0 && **p != '"'; (*p)++) {
            if (**p == '\\') {
                (*p)++;
            }
            assert_true(n + 1 < size);
            to[n++] = **p;
        }
        *p += **p == '"' ? 1 : 0;
    }
}

static bool next_statement(const char **p, struct statement *ret)
{
    static const char head[] = "static const char ";
    while ((*p = strstr(*p, head)) != NULL) {
        *p += sizeof(head) - 1;
        size_t n = strcspn(*p, "[ ;*");
        if (n >= sizeof(ret->name) || strncmp(*p + n, "[]", 2) != 0) {
            continue;
        }
        memcpy(ret->name, *p, n);
        ret->name[n] = 0;
        *p += n + 2 + strspn(*p + n + 2, " =\n");
        if (literals(p, ret->text, sizeof(ret->text))) {
            return true;
        }
    }
    return false;
}

static bool is_sql(const char *text)
{
    static const char *const verbs[] = {"SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strncmp(text, verbs[i], strlen(verbs[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_for(const char *name, bool postgres)
{
    const char *other = postgres ? "_SQLITE" : "_POSTGRES";
    size_t      n = strlen(name), m = strlen(other);
    return n < m || strcmp(name + n - m, other) != 0;
}

static void read_file(const char *path, struct buf *to)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t block[65536];
    for (ssize_t n = read(fd, block, sizeof(block)); n > 0; n = read(fd, block, sizeof(block))) {
        buf_add(to, (struct bytes){block, (size_t)n});
    }
    (void)close(fd);
    buf_u8(to, 0);
    assert_int_equal(to->err, ERR_OK);
}

/* Both explain without running, which needs all of prepare: names, types of parameters. */
static bool is_preparable(struct db *db, const struct statement *s)
{
    struct errmsg e = {0};
    enum err      rc = db_prepare(db, s->text, &e);
    if (rc != ERR_OK) {
        print_error("%s: %s\n    %s\n", s->name, e.text, s->text);
    }
    return rc == ERR_OK;
}

static size_t prepare_all(struct db *db, const glob_t *sources, size_t *ret_bad)
{
    size_t n = 0;
    for (size_t i = 0; i < sources->gl_pathc; i++) {
        size_t len = strlen(sources->gl_pathv[i]);
        if (strcmp(sources->gl_pathv[i] + len - 7, "_test.c") == 0) {
            continue;
        }
        CLEANUP(buf_done) struct buf text;
        buf_init(&text, 4 << 20);
        read_file(sources->gl_pathv[i], &text);
        const char      *p = (const char *)text.ptr;
        struct statement s;
        while (next_statement(&p, &s)) {
            if (is_sql(s.text) && is_for(s.name, is_db_postgres(db))) {
                n++;
                *ret_bad += is_preparable(db, &s) ? 0 : 1;
            }
        }
    }
    return n;
}

static void every_statement_is_prepared(const char *url)
{
    const char     *source = getenv("GARONNE_SOURCE"); // NOLINT(concurrency-mt-unsafe): no threads
    char            pattern[512];
    glob_t          sources;
    struct errmsg   e = {0};
    struct db_pool *p = NULL;
    if (url[0] == 0) {
        skip();
    }
    (void)snprintf(pattern, sizeof(pattern), "%s/src/*/*.c", source != NULL ? source : ".");
    int rc = glob(pattern, 0, NULL, &sources); // NOLINT(concurrency-mt-unsafe)
    assert_int_equal(rc, 0);
    assert_int_equal(db_pool_new(url, 1, &p, &e), ERR_OK);
    struct db *db = db_pool_take(p, &e);
    if (db == NULL || index_migrate(db, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    size_t bad = 0;
    size_t n = prepare_all(db, &sources, &bad);
    print_message("%zu statements prepared\n", n);
    assert_int_equal(bad, 0);
    assert_true(n >= 40); // the search itself works
    globfree(&sources);
    db_pool_give(p, db);
    db_pool_free(p);
}

static void every_statement_is_prepared_by_sqlite(void **state)
{
    (void)state;
    every_statement_is_prepared(lite_url);
}

static void every_statement_is_prepared_by_postgresql(void **state)
{
    (void)state;
    every_statement_is_prepared(pg_url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_is_prepared_by_sqlite),
        cmocka_unit_test(every_statement_is_prepared_by_postgresql),
    };
    char dir[] = "/tmp/garonne-st-XXXXXX", path[64];
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/t.sqlite", dir);
    (void)snprintf(lite_url, sizeof(lite_url), "sqlite:%s", path);
    (void)pg_test_start(pg_url);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pg_test_stop(pg_url);
    (void)unlink(path);
    (void)rmdir(dir);
    return rc;
}
