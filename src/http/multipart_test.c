#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/multipart.h"

/* What the parser says, in a line: "[name: value]data." for each part, "$" for the end.  step: the
 * body comes in pieces of so many bytes. */
static void tell(const struct multipart *m, enum multipart_what what, struct bytes data,
                 struct buf *out)
{
    static const char *const marks[] = {[MULTIPART_HEAD] = "|",
                                        [MULTIPART_DATA] = "",
                                        [MULTIPART_END] = ".",
                                        [MULTIPART_DONE] = "$"};

    for (size_t i = 0; what == MULTIPART_HEAD && i < m->headers; i++) {
        buf_fmt(out, "[%.*s: %.*s]", STR_ARG(m->header[i].name), STR_ARG(m->header[i].value));
    }
    buf_str(out, str_of(marks[what]));
    buf_add(out, what == MULTIPART_DATA ? data : (struct bytes){0});
}

static enum err run(const char *boundary, struct bytes body, size_t step, struct buf *out)
{
    CLEANUP(multipart_done) struct multipart m;
    enum err                                 rc = multipart_init(&m, str_of(boundary), NULL);
    buf_clear(out);
    for (size_t at = 0; rc == ERR_OK && at < body.len; at += step) {
        /* A piece of its own, so that the address sanitizer sees what reads past it. */
        struct bytes in = {body.ptr + at, body.len - at < step ? body.len - at : step};
        CLEANUP(buf_done) struct buf piece;
        buf_init(&piece, in.len);
        buf_add(&piece, in);
        in.ptr = piece.ptr;
        enum multipart_what what = MULTIPART_DONE;
        struct bytes        data = {0};
        while ((rc = multipart_next(&m, &in, &what, &data, NULL)) == ERR_OK) {
            tell(&m, what, data, out);
        }
        rc = rc == ERR_MORE ? ERR_OK : rc;
    }
    return rc == ERR_OK ? multipart_end(&m, NULL) : rc;
}

static void check(const char *what, const char *body, size_t step, enum err want, const char *said)
{
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 1 << 16);
    enum err   rc = run("b", str_bytes(str_of(body)), step, &out);
    struct str got = {(const char *)out.ptr, out.len};
    if (rc != want || (said != NULL && !str_eq(got, str_of(said)))) {
        fail_msg("%s, in pieces of %zu: %s \"%.*s\"", what, step, err_name(rc), STR_ARG(got));
    }
}

static void bodies_are_taken_apart_wherever_they_are_cut(void **state)
{
    (void)state;

    static const struct {
        const char *what, *body;
        enum err    want;
        const char *out;
    } cases[] = {
        {"one part", "--b\r\n\r\nx\r\n--b--", ERR_OK, "|x.$"},
        {"line break in front", "\r\n--b\r\n\r\nx\r\n--b--\r\n", ERR_OK, "|x.$"},
        {"headers", "--b\r\nContent-Type: a/b\r\nX:\ty \r\n\r\nx\r\n--b--", ERR_OK,
         "[content-type: a/b][x: y]|x.$"},
        {"folded", "--b\r\nContent-Type: a/b;\r\n c=d\r\n\r\nx\r\n--b--", ERR_OK,
         "[content-type: a/b;   c=d]|x.$"},
        {"two", "--b\r\n\r\nx\r\n--b\r\nA:1\r\n\r\ny\r\n--b--", ERR_OK, "|x.[a: 1]|y.$"},
        {"empty", "--b\r\n\r\n\r\n--b--", ERR_OK, "|.$"},
        {"emptier", "--b\r\n\r\n--b--", ERR_OK, "|.$"},
        {"preamble", "hello\r\n--b\r\n\r\nx\r\n--b--", ERR_OK, "|x.$"},
        {"boundary in the preamble", "a--b\r\n--b\r\n\r\nx\r\n--b--", ERR_OK, "|x.$"},
        {"epilogue", "--b\r\n\r\nx\r\n--b--\r\nbye\r\n--b\r\n", ERR_OK, "|x.$"},
        {"blanks after", "--b \t\r\n\r\nx\r\n--b--", ERR_OK, "|x.$"},
        {"nothing in it", "--b--", ERR_OK, "$"},
        {"line breaks", "--b\r\n\r\n\r\n\r\r\n\r\n\r\n--b--", ERR_OK, "|\r\n\r\r\n\r\n.$"},
        {"almost", "--b\r\n\r\n\r\n-\r\n--\r\n--a\r--b\n--b--\r\n--b--", ERR_OK,
         "|\r\n-\r\n--\r\n--a\r--b\n--b--.$"},
        {"dashes", "--b\r\n\r\n--\r\n\r\n--b--", ERR_OK, "|--\r\n.$"},
        {"no data at all", "", ERR_SYNTAX, ""},
        {"no boundary", "hello", ERR_SYNTAX, ""},
        {"no end", "--b\r\n\r\nx", ERR_SYNTAX, NULL},
        {"no end but a delimiter", "--b\r\n\r\nx\r\n--b", ERR_SYNTAX, "|x."},
        {"half an end", "--b\r\n\r\nx\r\n--b-", ERR_SYNTAX, "|x."},
        {"not its line", "--b\r\n\r\nx\r\n--bc\r\n\r\ny\r\n--b--", ERR_SYNTAX, "|x."},
        {"no colon", "--b\r\nabc\r\n\r\nx\r\n--b--", ERR_SYNTAX, ""},
        {"no name", "--b\r\n: x\r\n\r\nx\r\n--b--", ERR_SYNTAX, ""},
        {"NUL in the head", "--b\r\na: \1\r\n\r\nx\r\n--b--", ERR_OK, "[a: \1]|x.$"},
        {"no text", "--b\r\na: \xFF\r\n\r\nx\r\n--b--", ERR_SYNTAX, ""},
        {"unix line ends", "--b\n\nx\n--b--\n", ERR_SYNTAX, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step <= strlen(cases[i].body) + 1; step++) {
            check(cases[i].what, cases[i].body, step, cases[i].want, cases[i].out);
        }
    }
}

#define N64 "1234567890123456789012345678901234567890123456789012345678901234"

static void boundaries_are_checked(void **state)
{
    (void)state;

    static const struct {
        const char *in;
        enum err    want;
    } cases[] = {
        {"b", ERR_OK},
        {"a b", ERR_OK},
        {"'()+_,-./:=?", ERR_OK},
        {N64 N64, ERR_OK},
        {N64 N64 "1", ERR_SYNTAX},
        {"", ERR_SYNTAX},
        {"a ", ERR_SYNTAX},
        {"a\r", ERR_SYNTAX},
        {"a\"", ERR_SYNTAX},
        {"\xC3\xA9", ERR_SYNTAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(multipart_done) struct multipart m;
        assert_int_equal(multipart_init(&m, str_of(cases[i].in), NULL), cases[i].want);
    }
}

static void a_head_has_a_limit(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf body, out;
    buf_init(&body, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_str(&body, STR("--b\r\nX: "));
    for (int i = 0; i < LIMIT_MULTIPART_HEAD; i++) {
        buf_u8(&body, 'y');
    }
    buf_str(&body, STR("\r\n\r\nx\r\n--b--"));
    assert_int_equal(run("b", (struct bytes){body.ptr, body.len}, 100, &out), ERR_LIMIT);
    buf_clear(&body);
    buf_str(&body, STR("--b"));
    for (int i = 0; i <= LIMIT_MULTIPART_HEAD; i++) {
        buf_u8(&body, ' ');
    }
    assert_int_equal(run("b", (struct bytes){body.ptr, body.len}, 100, &out), ERR_LIMIT);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    char                         boundary[MULTIPART_BOUNDARY], again[MULTIPART_BOUNDARY];
    CLEANUP(buf_done) struct buf body, out, type;
    buf_init(&body, 1 << 16);
    buf_init(&out, 1 << 16);
    buf_init(&type, 256);
    multipart_boundary(str_bytes(STR("a seed")), boundary);
    multipart_boundary(str_bytes(STR("a seed")), again);
    assert_string_equal(boundary, again);
    multipart_boundary(str_bytes(STR("another")), again);
    assert_string_not_equal(boundary, again);
    const struct http_pair head[] = {{STR("Content-Type"), STR("image/jphc")},
                                     {STR("Content-Location"), STR("/x")}};
    multipart_head(&body, boundary, true, head, 2);
    buf_str(&body, STR("one"));
    multipart_head(&body, boundary, false, NULL, 0);
    buf_str(&body, STR("\r\n"));
    multipart_tail(&body, boundary);
    multipart_type(&type, boundary, "image/jphc");
    buf_u8(&type, '\0');
    assert_non_null(strstr((const char *)type.ptr, boundary));
    assert_int_equal(run(boundary, (struct bytes){body.ptr, body.len}, 7, &out), ERR_OK);
    assert_true(str_eq((struct str){(const char *)out.ptr, out.len},
                       STR("[content-type: image/jphc][content-location: /x]|one.|\r\n.$")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_taken_apart_wherever_they_are_cut),
        cmocka_unit_test(boundaries_are_checked),
        cmocka_unit_test(a_head_has_a_limit),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
