#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "sys/conf.h"
#include "sys/file.h"

static char path[64];

static enum err load(const char *text, struct conf *c, struct errmsg *e)
{
    assert_int_equal(file_commit(path, str_bytes(str_of(text)), 0600, NULL), ERR_OK);
    return conf_load(path, c, e);
}

static void the_file_is_over_the_defaults(void **state)
{
    (void)state;
    struct conf   c;
    struct errmsg e = {0};
    conf_init(&c);
    enum err rc = load("# a gateway\n"
                       "data: /srv/garonne\n"
                       "db: postgresql://localhost/g\n"
                       "role: gateway\n"
                       "log:\n"
                       "  level: debug\n"
                       "  phi: yes\n"
                       "http:\n"
                       "  listen: '[::1]:0'\n"
                       "  connections: 7\n"
                       "dimse:\n"
                       "  idle: 5\n"
                       "  tls: {listen: '0.0.0.0:2762', cert: c, key: k, ca: a, peer_cert: on}\n"
                       "archive:\n"
                       "  max_pack: 8589934592\n",
                       &c, &e);
    if (rc != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_string_equal(c.data, "/srv/garonne");
    assert_string_equal(c.db, "postgresql://localhost/g");
    assert_int_equal(c.role, ROLE_GATEWAY);
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_true(c.log_phi);
    assert_string_equal(c.http.listen, "[::1]:0");
    assert_int_equal(c.http.connections, 7);
    assert_int_equal(c.http.threads, 0);
    assert_string_equal(c.dimse.listen, "127.0.0.1:11112"); // not in the file: the default
    assert_int_equal(c.dimse.idle, 5);
    assert_string_equal(c.dimse_tls.listen, "0.0.0.0:2762");
    assert_string_equal(c.dimse_tls.ca, "a");
    assert_true(c.dimse_tls.peer_cert);
    assert_int_equal(c.archive.max_pack, (uint64_t)8 << 30);
    assert_int_equal(c.archive.seal_after, 60);
}

static void an_empty_file_changes_nothing(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "# only a comment\n", "---\n"};
    for (size_t i = 0; i < 2; i++) {
        struct conf   c, d;
        struct errmsg e = {0};
        conf_init(&c);
        conf_init(&d);
        if (load(empty[i], &c, &e) != ERR_OK) {
            fail_msg("'%s': %s", empty[i], e.text);
        }
        assert_memory_equal(&c, &d, sizeof(c));
    }
}

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    char long_db[1200], long_path[400];
    memset(long_db, 'x', sizeof(long_db));
    (void)memcpy(long_db, "db: secret", 10);
    long_db[sizeof(long_db) - 1] = '\0';
    memset(long_path, 'x', sizeof(long_path));
    (void)memcpy(long_path, "data: ", 6);
    long_path[sizeof(long_path) - 1] = '\0';

    const struct {
        const char *what, *text, *want;
    } cases[] = {
        {"unknown key", "data: x\nfoo: 1\n", "line 2: Unexpected key: foo"},
        {"unknown key in braces", "data: x\nlog:\n  {level: info,\n  loud : 1}\n", "line 4: Une"},
        {"unknown inner key", "http:\n  listen: a:1\n  prot: 1\n", "line 3: Unexpected key: prot"},
        {"not a number", "http:\n  threads: many\n", "line 2: Invalid"},
        {"negative", "http:\n  threads: -1\n", "line 2: Invalid"},
        {"too large for its type", "dimse:\n  idle: 99999999999\n", "line 2:"},
        {"out of range", "dimse:\n  max_pdu: 100\n", "dimse.max_pdu is 100, not 4096 to"},
        {"zero", "archive: {seal_after: 0}\n", "archive.seal_after is 0"},
        {"unknown word", "log: {level: loud}\n", "line 1: Invalid ENUM value: loud"},
        {"mistyped boolean", "log: {phi: flase}\n", "line 1: Invalid"},
        {"twice", "data: a\ndata: b\n", "line 2: Mapping field already seen"},
        {"alias", "data: &a x\ndb: *a\n", "line 2:"},
        {"not YAML", "http: {\n", "line "},
        {"a tab", "http:\n\tlisten: x\n", "cannot start any token"},
        {"a list", "- a\n", "line 1:"},
        {"TLS without a key", "dimse: {tls: {listen: 'a:1', cert: c}}\n", "needs dimse.tls.cert"},
        {"client certificates of nobody", "dimse: {tls: {peer_cert: true}}\n",
         "needs dimse.tls.ca"},
        {"long address of the index", long_db, "db is longer than 1023"},
        {"long path", long_path, "data is longer than 255"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf   c, d;
        struct errmsg e = {0};
        conf_init(&c);
        conf_init(&d);
        enum err rc = load(cases[i].text, &c, &e);
        if (rc != ERR_SYNTAX || strstr(e.text, cases[i].want) == NULL ||
            strstr(e.text, path) == NULL || strstr(e.text, "secret") != NULL) {
            fail_msg("%s: %s '%s'", cases[i].what, err_name(rc), e.text);
        }
        assert_memory_equal(&c, &d, sizeof(c)); // untouched
    }
}

static void a_missing_or_huge_file_has_its_own_code(void **state)
{
    (void)state;
    struct conf c;
    conf_init(&c);
    assert_int_equal(conf_load("/nowhere/garonne.yaml", &c, NULL), ERR_NOTFOUND);
    static char huge[300 << 10];
    memset(huge, '#', sizeof(huge) - 1);
    assert_int_equal(load(huge, &c, NULL), ERR_LIMIT);
}

static void words_of_flags_are_those_of_the_file(void **state)
{
    (void)state;
    enum conf_role r = ROLE_PLATFORM;
    enum log_level l = LOG_INFO;
    assert_true(conf_role_parse("gateway", &r) && r == ROLE_GATEWAY);
    assert_false(conf_role_parse("Gateway", &r));
    assert_true(conf_log_level_parse("error", &l) && l == LOG_ERROR);
    assert_false(conf_log_level_parse("", &l));
}

static void the_example_in_the_manual_holds_the_defaults(void **state)
{
    (void)state;
    char        manual[512];
    const char *root = getenv("GARONNE_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    if (root == NULL) {
        print_message("skipped: GARONNE_SOURCE is not set\n");
        skip();
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    (void)snprintf(manual, sizeof(manual), "%s/docs/configuration.md", root);
    assert_int_equal(file_read_all(manual, &b, NULL), ERR_OK);
    buf_u8(&b, 0);
    char *from = strstr((char *)b.ptr, "```yaml\n");
    assert_non_null(from);
    from += strlen("```yaml\n");
    char *end = strstr(from, "```");
    assert_non_null(end);
    *end = '\0';

    struct conf   c = {0}, d;
    struct errmsg e = {0};
    conf_init(&d);
    if (load(from, &c, &e) != ERR_OK) { // over nothing, so that a missing key shows
        fail_msg("%s", e.text);
    }
    assert_memory_equal(&c, &d, sizeof(c));
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/garonne-conf-%d.yaml", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_over_the_defaults),
        cmocka_unit_test(an_empty_file_changes_nothing),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(a_missing_or_huge_file_has_its_own_code),
        cmocka_unit_test(words_of_flags_are_those_of_the_file),
        cmocka_unit_test(the_example_in_the_manual_holds_the_defaults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
