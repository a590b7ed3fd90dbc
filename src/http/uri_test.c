#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/range.h"
#include "http/route.h"
#include "http/uri.h"

static const char *show(const struct uri *u, struct buf *b)
{
    for (size_t i = 0; i < u->segments; i++) {
        buf_str(b, STR("/"));
        buf_str(b, u->segment[i]);
    }
    for (size_t i = 0; i < u->queries; i++) {
        buf_str(b, i == 0 ? STR(" ? ") : STR(" & "));
        buf_str(b, u->query[i].name);
        buf_str(b, STR("="));
        buf_str(b, u->query[i].value);
    }
    buf_u8(b, 0);
    return (const char *)b->ptr;
}

static void targets_are_taken_apart(void **state)
{
    (void)state;

    static const struct {
        const char *in;
        enum err    want;
        const char *out;
    } cases[] = {
        {"/", ERR_OK, ""},
        {"/a", ERR_OK, "/a"},
        {"/a/", ERR_OK, "/a/"},
        {"//", ERR_OK, "//"},
        {"/a//b", ERR_OK, "/a//b"},
        {"/a%20b+c", ERR_OK, "/a b+c"},
        {"/a%2Fb", ERR_OK, "/a/b"}, // one part
        {"/?", ERR_OK, ""},
        {"/s?PatientName=D%C3%89*&limit=1", ERR_OK, "/s ? PatientName=D\xC3\x89* & limit=1"},
        {"/s?a+b=c+d&&=x&y&z=", ERR_OK, "/s ? a b=c d & y= & z="},
        {"/s?a=b=c", ERR_OK, "/s ? a=b=c"},
        {"/s?a=?&b=/../", ERR_OK, "/s ? a=? & b=/../"},
        {"http://h:1/a?b=c", ERR_OK, "/a ? b=c"},
        {"http://h", ERR_OK, ""},
        {"/a?u=http://x/y", ERR_OK, "/a ? u=http://x/y"},
        {"", ERR_SYNTAX, NULL},
        {"*", ERR_SYNTAX, NULL},
        {"a/b", ERR_SYNTAX, NULL},
        {"/a/../b", ERR_SYNTAX, NULL},
        {"/a/%2e%2E", ERR_SYNTAX, NULL},
        {"/.", ERR_SYNTAX, NULL},
        {"/...", ERR_OK, "/..."},
        {"/a%00b", ERR_SYNTAX, NULL},
        {"/a%", ERR_SYNTAX, NULL},
        {"/a%4", ERR_SYNTAX, NULL},
        {"/a%zz", ERR_SYNTAX, NULL},
        {"/a?b=%", ERR_SYNTAX, NULL},
        {"/%ff", ERR_SYNTAX, NULL},
        {"/a?b=%c3", ERR_SYNTAX, NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24", ERR_OK,
         "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25", ERR_LIMIT, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 16);
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        struct uri u = {0};
        enum err   rc = uri_parse(str_bytes(str_of(cases[i].in)), &a, &u, NULL);
        if (rc != cases[i].want || (rc == ERR_OK && strcmp(show(&u, &b), cases[i].out) != 0)) {
            fail_msg("'%s': %s '%s'", cases[i].in, err_name(rc), (const char *)b.ptr);
        }
    }
}

static void too_many_parameters_are_a_limit(void **state)
{
    (void)state;
    char text[4096] = "/?";
    memset(text + 2, '&', URI_QUERIES);
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct uri u;
    assert_int_equal(uri_parse((struct bytes){(uint8_t *)text, URI_QUERIES + 2}, &a, &u, NULL),
                     ERR_LIMIT);
    assert_int_equal(uri_parse((struct bytes){(uint8_t *)text, URI_QUERIES + 1}, &a, &u, NULL),
                     ERR_OK);
    struct arena tiny;
    arena_init(&tiny, 16);
    assert_int_equal(uri_parse(str_bytes(STR("/aaaaaaaaaaaaaaaaaaaaaa")), &tiny, &u, NULL),
                     ERR_LIMIT);
    arena_done(&tiny);
}

static void ranges_are_cut_to_the_size(void **state)
{
    (void)state;

    static const struct {
        const char *in;
        uint64_t    size;
        enum err    want;
        uint64_t    first, len;
    } cases[] = {
        {"bytes=0-0", 10, ERR_OK, 0, 1},
        {"bytes=0-9", 10, ERR_OK, 0, 10},
        {"bytes=3-", 10, ERR_OK, 3, 7},
        {"bytes=9-100", 10, ERR_OK, 9, 1},
        {"bytes=-3", 10, ERR_OK, 7, 3},
        {"bytes=-30", 10, ERR_OK, 0, 10},
        {"Bytes= 1-2 ", 10, ERR_OK, 1, 2},
        {"bytes=0-99999999999999999999999", 10, ERR_OK, 0, 10},
        {"bytes=0-", UINT64_MAX, ERR_OK, 0, UINT64_MAX},
        {"bytes=10-", 10, ERR_LIMIT, 0, 0},
        {"bytes=99999999999999999999999-", 10, ERR_LIMIT, 0, 0},
        {"bytes=-0", 10, ERR_LIMIT, 0, 0},
        {"bytes=0-0", 0, ERR_LIMIT, 0, 0},
        {"bytes=-1", 0, ERR_LIMIT, 0, 0},
        {"bytes=2-1", 10, ERR_UNSUPPORTED, 0, 0},
        {"bytes=0-1,4-5", 10, ERR_UNSUPPORTED, 0, 0},
        {"bytes=-", 10, ERR_UNSUPPORTED, 0, 0},
        {"bytes=", 10, ERR_UNSUPPORTED, 0, 0},
        {"bytes=a-b", 10, ERR_UNSUPPORTED, 0, 0},
        {"bytes=+1-2", 10, ERR_UNSUPPORTED, 0, 0},
        {"lines=0-1", 10, ERR_UNSUPPORTED, 0, 0},
        {"", 10, ERR_UNSUPPORTED, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct range r = {0};
        enum err     rc = range_parse(str_of(cases[i].in), cases[i].size, &r);
        if (rc != cases[i].want || r.first != cases[i].first || r.len != cases[i].len) {
            fail_msg("'%s': %s %llu+%llu", cases[i].in, err_name(rc), (unsigned long long)r.first,
                     (unsigned long long)r.len);
        }
    }
}

static void nothing(struct http_request *r, void *arg)
{
    (void)r, (void)arg;
}

static void routes_are_found_by_path_and_method(void **state)
{
    (void)state;

    static const struct http_route routes[] = {
        {.method = HTTP_GET, .pattern = "/", .handle = nothing},
        {.method = HTTP_GET, .pattern = "/studies", .handle = nothing},
        {.method = HTTP_POST, .pattern = "/studies", .handle = nothing},
        {.method = HTTP_GET, .pattern = "/studies/count", .handle = nothing},
        {.method = HTTP_GET, .pattern = "/studies/{study}", .handle = nothing},
        {.method = HTTP_GET, .pattern = "/studies/{study}/series/{series}", .handle = nothing},
        {.method = HTTP_GET, .pattern = "/viewer/{file*}", .handle = nothing},
    };

    static const struct {
        const char *method, *path;
        enum err    want;
        int         row;
        const char *param; // the last one
    } cases[] = {
        {"GET", "/", ERR_OK, 0, NULL},
        {"HEAD", "/studies", ERR_OK, 1, NULL},
        {"POST", "/studies", ERR_OK, 2, NULL},
        {"PUT", "/studies", ERR_UNSUPPORTED, 0, NULL},
        {"PROPFIND", "/studies", ERR_UNSUPPORTED, 0, NULL},
        {"GET", "/studies/", ERR_NOTFOUND, 0, NULL},
        {"GET", "/studies/count", ERR_OK, 3, NULL},
        {"GET", "/studies/1.2.3", ERR_OK, 4, "1.2.3"},
        {"GET", "/studies/1%2F2", ERR_NOTFOUND, 0, NULL},
        {"GET", "/studies/1/series/2", ERR_OK, 5, "2"},
        {"GET", "/studies/1/series", ERR_NOTFOUND, 0, NULL},
        {"GET", "/studies/1/series/2/x", ERR_NOTFOUND, 0, NULL},
        {"GET", "/viewer", ERR_NOTFOUND, 0, NULL},
        {"GET", "/viewer/", ERR_OK, 6, ""},
        {"GET", "/viewer/a/b.js", ERR_OK, 6, "a/b.js"},
        {"GET", "/viewer/a%2Fb", ERR_NOTFOUND, 0, NULL},
        {"DELETE", "/nothing", ERR_NOTFOUND, 0, NULL},
    };

    size_t n = sizeof(routes) / sizeof(routes[0]);
    for (size_t i = 0; i < n; i++) {
        assert_true(is_route(&routes[i]));
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 16);
        struct uri         u;
        struct route_match m = {0};
        assert_int_equal(uri_parse(str_bytes(str_of(cases[i].path)), &a, &u, NULL), ERR_OK);
        enum err rc = route_find(routes, n, method_of(cases[i].method), &u, &a, &m);
        bool     same = rc == cases[i].want;
        if (same && rc == ERR_OK) {
            same = m.route == &routes[cases[i].row] &&
                   (cases[i].param == NULL
                        ? m.params == 0
                        : str_eq(m.param[m.params - 1].value, str_of(cases[i].param)));
        }
        if (!same) {
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, err_name(rc));
        }
        if (rc == ERR_UNSUPPORTED) {
            assert_int_equal(m.allowed, 1U << HTTP_GET | 1U << HTTP_POST);
        }
    }
}

static void a_pattern_that_is_none_is_seen(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a", "/{rest*}/x", "/a{b}",
                                      "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (is_route(&(struct http_route){.pattern = bad[i], .handle = nothing})) {
            fail_msg("'%s'", bad[i]);
        }
    }
    assert_false(is_route(&(struct http_route){.pattern = "/"}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_taken_apart),
        cmocka_unit_test(too_many_parameters_are_a_limit),
        cmocka_unit_test(ranges_are_cut_to_the_size),
        cmocka_unit_test(routes_are_found_by_path_and_method),
        cmocka_unit_test(a_pattern_that_is_none_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
