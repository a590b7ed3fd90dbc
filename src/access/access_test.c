#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "access/access_priv.h"
#include "base/clock.h"
#include "base/limits.h"

static struct db_pool *pool;
static struct db      *db;
static int64_t         tenant_id;
static struct errmsg   e;
static char            folder[] = "/tmp/garonne-access-XXXXXX";

static int setup(void **state)
{
    (void)state;
    char          url[128];
    struct tenant t = {.code = STR("CHU"), .name = STR("CHU"), .aet = STR("CHU")};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(url, sizeof(url), "sqlite:%s/index.sqlite", folder);
    assert_int_equal(db_pool_new(url, 2, &pool, &e), ERR_OK);
    db = db_pool_take(pool, &e);
    assert_non_null(db);
    assert_int_equal(index_migrate(db, &e), ERR_OK);
    return tenant_add(db, &t, &tenant_id, &e) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"};
    char                     path[128];
    db_pool_give(pool, db);
    db_pool_free(pool);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

static void add(int64_t expires_us, char ret[TOKEN_TEXT], int64_t *ret_id)
{
    struct token t = {.tenant_id = tenant_id,
                      .name = STR("viewer"),
                      .role = ROLE_CLINICIAN,
                      .expires_us = expires_us};
    assert_int_equal(token_add(db, &t, ret, ret_id, &e), ERR_OK);
}

static enum err look(const char *text, struct actor *ret)
{
    char    sha[SHA_TEXT];
    int64_t expires;
    sha256_text(str_of(text), sha);
    return token_by_sha256(db, sha, ret, &expires, NULL);
}

static void a_token_is_known_by_its_text_alone(void **state)
{
    (void)state;
    char         text[TOKEN_TEXT], other[TOKEN_TEXT];
    int64_t      id, id2;
    struct actor actor;
    add(0, text, &id);
    add(0, other, &id2);
    assert_int_equal(strlen(text), 47);
    assert_memory_equal(text, "grn_", 4);
    assert_string_not_equal(text, other);
    assert_int_equal(look(text, &actor), ERR_OK);
    assert_int_equal(actor.token_id, id);
    assert_int_equal(actor.tenant_id, tenant_id);
    assert_int_equal(actor.role, ROLE_CLINICIAN);
    assert_string_equal(actor.tenant, "CHU");
    text[10] ^= 1;
    assert_int_equal(look(text, &actor), ERR_NOTFOUND);
    assert_int_equal(look("", &actor), ERR_NOTFOUND);
}

static void a_revoked_or_expired_token_is_unknown(void **state)
{
    (void)state;
    char         text[TOKEN_TEXT];
    int64_t      id;
    struct actor actor;
    add(clock_wall_us() + 1000000000, text, &id);
    assert_int_equal(look(text, &actor), ERR_OK);
    assert_int_equal(token_revoke(db, id, &e), ERR_OK);
    assert_int_equal(look(text, &actor), ERR_NOTFOUND);
    assert_int_equal(token_revoke(db, id, NULL), ERR_NOTFOUND);
    add(clock_wall_us() - 1, text, &id);
    assert_int_equal(look(text, &actor), ERR_NOTFOUND);
}

static void all_tokens_of_a_tenant_are_listed(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_VALUE);
    char          text[TOKEN_TEXT];
    struct token *t = NULL;
    size_t        n = 0, after = 0;
    int64_t       id = 0;
    assert_int_equal(token_list(db, tenant_id, &mem, &t, &n, &e), ERR_OK);
    for (int i = 0; i < 40; i++) {
        add(0, text, &id);
    }
    assert_int_equal(token_list(db, 0, &mem, &t, &after, &e), ERR_OK);
    assert_int_equal(after, n + 40);
    assert_int_equal(t[after - 1].id, id);
    assert_true(str_eq(t[after - 1].tenant, STR("CHU")));
    assert_int_equal(token_list(db, tenant_id + 1, &mem, &t, &n, &e), ERR_OK);
    assert_int_equal(n, 0);
}

static void roles_have_names_and_rights(void **state)
{
    (void)state;

    static const struct {
        const char *name;
        bool        find, read, store, reject;
    } cases[] = {
        {"radiologist", true, true, true, false},  {"technologist", true, true, true, false},
        {"secretary", true, false, false, false},  {"clinician", true, true, false, false},
        {"administrator", true, true, true, true}, {"service", true, true, true, false},
    };
    enum role r;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(role_parse(str_of(cases[i].name), &r));
        assert_string_equal(role_name(r), cases[i].name);
        assert_int_equal(access_decide(r, ACT_FIND), cases[i].find);
        assert_int_equal(access_decide(r, ACT_READ), cases[i].read);
        assert_int_equal(access_decide(r, ACT_STORE), cases[i].store);
        assert_int_equal(access_decide(r, ACT_REJECT), cases[i].reject);
    }
    assert_false(role_parse(STR("root"), &r));
    assert_false(role_parse(STR(""), &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_known_by_its_text_alone),
        cmocka_unit_test(a_revoked_or_expired_token_is_unknown),
        cmocka_unit_test(all_tokens_of_a_tenant_are_listed),
        cmocka_unit_test(roles_have_names_and_rights),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
