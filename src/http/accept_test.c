#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/accept.h"

static void media_types_are_taken_apart(void **state)
{
    (void)state;

    static const struct {
        const char *in;
        enum err    want;
        const char *full, *name, *value;
    } cases[] = {
        {"application/dicom", ERR_OK, "application/dicom", "type", NULL},
        {" Application/DICOM+JSON ", ERR_OK, "application/dicom+json", "q", NULL},
        {"multipart/related; type=\"application/dicom\"; boundary=x", ERR_OK, "multipart/related",
         "type", "application/dicom"},
        {"multipart/related;type=application/dicom", ERR_OK, "multipart/related", "type",
         "application/dicom"},
        {"multipart/related; BOUNDARY=\"a \\\" b\"", ERR_OK, "multipart/related", "boundary",
         "a \" b"},
        {"a/b;;c=d;", ERR_OK, "a/b", "c", "d"},
        {"a/b;c", ERR_OK, "a/b", "c", ""},
        {"a/b;c=\"\"", ERR_OK, "a/b", "c", ""},
        {"a/b ; c=1;c=2", ERR_OK, "a/b", "c", "1"},
        {"a/b;1=1;2=1;3=1;4=1;5=1;6=1;7=1;8=1;9=1", ERR_OK, "a/b", "9", NULL},
        {"", ERR_SYNTAX, NULL, NULL, NULL},
        {"a", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/", ERR_SYNTAX, NULL, NULL, NULL},
        {"/b", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b c", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b, c/d", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b;=c", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b;c=", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b;c=\"d", ERR_SYNTAX, NULL, NULL, NULL},
        {"a/b;c=\"d\\", ERR_SYNTAX, NULL, NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 16);
        struct media_type m = {0};
        enum err          rc = media_parse(str_of(cases[i].in), &a, &m, NULL);
        if (rc != cases[i].want) {
            fail_msg("%s: %s", cases[i].in, err_name(rc));
        }
        if (rc == ERR_OK) {
            struct str v = media_param(&m, cases[i].name);
            assert_true(is_media(&m, cases[i].full));
            assert_true(cases[i].value == NULL ? v.ptr == NULL : str_eq(v, str_of(cases[i].value)));
        }
    }
}

static void lists_have_weights(void **state)
{
    (void)state;

    static const struct {
        const char *in;
        enum err    want;
        size_t      n;
        unsigned    last;
    } cases[] = {
        {"", ERR_OK, 0, 0},
        {" , ,", ERR_OK, 0, 0},
        {"*/*", ERR_OK, 1, 1000},
        {"a/b, c/d;q=0.5", ERR_OK, 2, 500},
        {"a/b,,c/*;Q=0.001,", ERR_OK, 2, 1},
        {"a/b;q=1.000", ERR_OK, 1, 1000},
        {"a/b;q=0.", ERR_OK, 1, 0},
        {"a/b;q=0", ERR_OK, 1, 0},
        {"a/b;x=\"c,d\", e/f;q=0.25", ERR_OK, 2, 250},
        {"a/b;q=1.001", ERR_SYNTAX, 0, 0},
        {"a/b;q=2", ERR_SYNTAX, 0, 0},
        {"a/b;q=0.1234", ERR_SYNTAX, 0, 0},
        {"a/b;q=-1", ERR_SYNTAX, 0, 0},
        {"a/b;q=x", ERR_SYNTAX, 0, 0},
        {"a/b;q", ERR_SYNTAX, 0, 0},
        {"*/b", ERR_SYNTAX, 0, 0},
        {"a/b c/d", ERR_SYNTAX, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 16);
        struct accept l = {0};
        enum err      rc = accept_parse(str_of(cases[i].in), &a, &l, NULL);
        if (rc != cases[i].want || l.n != cases[i].n ||
            (l.n > 0 && l.range[l.n - 1].q != cases[i].last)) {
            fail_msg("%s: %s, %zu ranges", cases[i].in, err_name(rc), l.n);
        }
    }
}

static void a_list_has_an_end(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 16);
    struct accept l = {0};
    for (int i = 0; i < ACCEPT_RANGES; i++) {
        buf_str(&b, STR("a/b,"));
    }
    struct str s = {(const char *)b.ptr, b.len};
    assert_int_equal(accept_parse(s, &a, &l, NULL), ERR_OK);
    assert_int_equal(l.n, ACCEPT_RANGES);
    buf_str(&b, STR("a/b"));
    s = (struct str){(const char *)b.ptr, b.len};
    assert_int_equal(accept_parse(s, &a, &l, NULL), ERR_LIMIT);
}

#define EXPLICIT "1.2.840.10008.1.2.1"
#define HTJ2K    "1.2.840.10008.1.2.4.202"

static const struct accept_offer offers[] = {
    {"application/octet-stream", EXPLICIT, true, true}, // 0, the default
    {"image/jphc", HTJ2K, true, true},                  // 1
    {"image/jphc", HTJ2K, false, true},                 // 2
    {"application/octet-stream", HTJ2K, true, false},   // 3
    {"application/dicom+json", NULL, false, false},     // 4
};

static void the_best_offer_is_chosen(void **state)
{
    (void)state;

    enum { NONE = -1 };

    static const struct {
        const char *header, *query;
        int         want;
    } cases[] = {
        {NULL, NULL, 0},
        {"", "", 0},
        {"*/*", NULL, 0},
        {"application/dicom+json", NULL, 4},
        {"application/dicom+json;transfer-syntax=*", NULL, 4},
        {"application/dicom+json;transfer-syntax=1.2", NULL, NONE},
        {"application/*", NULL, 4},
        {"image/*", NULL, 2},
        {"image/png", NULL, NONE},
        {"image/jphc", NULL, 2},
        {"image/jphc;transfer-syntax=" HTJ2K, NULL, 2},
        {"image/jphc;transfer-syntax=" EXPLICIT, NULL, NONE},
        {"image/jphc;transfer-syntax=" EXPLICIT ";transfer-syntax=" HTJ2K, NULL, 2},
        {"multipart/related", NULL, 0},
        {"multipart/*", NULL, 0},
        {"multipart/related; type=\"image/jphc\"", NULL, 1},
        {"multipart/related; type=IMAGE/JPHC", NULL, 1},
        {"multipart/related; type=\"image/jp\"", NULL, NONE},
        {"multipart/related; type=application/octet-stream", NULL, 0},
        {"multipart/related; type=application/octet-stream; transfer-syntax=" HTJ2K, NULL, 3},
        {"multipart/related; type=application/octet-stream; transfer-syntax=*", NULL, 0},
        {"application/octet-stream", NULL, NONE}, // single part is not offered
        /* weights */
        {"application/dicom+json;q=0.5, image/jphc;q=0.7", NULL, 2},
        {"application/dicom+json;q=0.7, image/jphc;q=0.7", NULL, 2}, // the server's order
        {"*/*;q=0.1, application/dicom+json", NULL, 4},
        {"application/dicom+json;q=0, multipart/*;q=0, */*", NULL, 2},
        {"*/*, multipart/related;type=application/octet-stream;q=0.1", NULL, 1},
        {"multipart/related;type=application/octet-stream;transfer-syntax=" EXPLICIT ";q=0.1, "
         "multipart/related;type=application/octet-stream;transfer-syntax=*;q=0.2",
         NULL, 3},
        {"*/*;q=0", NULL, NONE},
        /* the query goes before the header */
        {"*/*", "application/dicom+json", 4},
        {"image/jphc", "application/dicom+json", 4},
        {"image/jphc", "image/png", 2},
        {NULL, "image/png", NONE},
        {"*/*", "image/png", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 18);
        struct accept h = {0}, q = {0};
        size_t        at = 99;
        assert_int_equal(accept_parse(str_of(cases[i].header), &a, &h, NULL), ERR_OK);
        assert_int_equal(accept_parse(str_of(cases[i].query), &a, &q, NULL), ERR_OK);
        enum err rc = accept_choose(&h, &q, offers, sizeof(offers) / sizeof(offers[0]), &at);
        int      got = rc == ERR_OK ? (int)at : NONE;
        if (got != cases[i].want) {
            fail_msg("Accept: %s, accept=%s: offer %d", cases[i].header, cases[i].query, got);
        }
    }
    size_t at = 0;
    assert_int_equal(accept_choose(NULL, NULL, offers, 0, &at), ERR_NOTFOUND);
}

static void a_small_arena_is_an_error(void **state)
{
    (void)state;
    bool done = false;
    for (size_t cap = 1; !done; cap += 64) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, cap);
        struct accept l = {0};
        enum err      rc = accept_parse(
                 STR("multipart/related; type=\"application/dicom\"; q=0.5, image/jpeg"), &a, &l, NULL);
        assert_true(rc == ERR_OK || rc == ERR_LIMIT || rc == ERR_SYNTAX);
        assert_true(rc == ERR_OK || l.n == 0);
        done = rc == ERR_OK;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_types_are_taken_apart), cmocka_unit_test(lists_have_weights),
        cmocka_unit_test(a_list_has_an_end),           cmocka_unit_test(the_best_offer_is_chosen),
        cmocka_unit_test(a_small_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
