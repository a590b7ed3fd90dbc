#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "dicom/check_priv.h"

/* Byte strings with their length, NULs and all. */
#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)"" literal, sizeof(literal) - 1                                           \
    }

static struct dset *parse(struct arena *a, struct bytes in, const struct syntax *s,
                          unsigned lenient)
{
    struct dset      *d = NULL;
    struct errmsg     e = {0};
    struct parse_opts o = {.lenient = lenient};
    if (dset_parse(in, s, &o, a, &d, &e) != ERR_OK) {
        print_message("%s\n", e.text);
        return NULL;
    }
    return d;
}

struct deviation {
    const char          *what;
    const struct syntax *s;
    struct bytes         in;
    unsigned             need;   // the leniency that lets it pass
    enum err             strict; // what it is without
    uint32_t             tag;    // an element that must be there then,
    size_t               len;    // with a value of this length
};

static const struct deviation deviations[] = {
    {"odd length", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\3\0abc"), LENIENT_ODD_LENGTH, ERR_SYNTAX,
     0x00100020, 3},
    {"odd length, implicit", &SYNTAX_IMPLICIT, B("\x10\0\x20\0\1\0\0\0a"), LENIENT_ODD_LENGTH,
     ERR_SYNTAX, 0x00100020, 1},
    {"not ascending", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2\0ab\x10\0\x10\0PN\4\0Doe "),
     LENIENT_ORDER, ERR_SYNTAX, 0x00100010, 4},
    {"twice, the last wins", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2\0ab\x10\0\x20\0LO\4\0abcd"),
     LENIENT_ORDER, ERR_SYNTAX, 0x00100020, 4},
    {"VR of two blanks", &SYNTAX_EXPLICIT, B("\x10\0\x20\0  \2\0ab\x28\0\x10\0US\2\0\4\0"),
     LENIENT_VR_UNKNOWN, ERR_SYNTAX, 0x00280010, 2},
    {"VR of the future, 32-bit length", &SYNTAX_EXPLICIT,
     B("\x10\0\x20\0ZZ\0\0\2\0\0\0ab\x28\0\x10\0US\2\0\4\0"), LENIENT_VR_UNKNOWN, ERR_SYNTAX,
     0x00100020, 2},
    {"VR of letters, 16-bit length", &SYNTAX_EXPLICIT,
     B("\x10\0\x20\0ZZ\2\0ab\x28\0\x10\0US\2\0\4\0"), LENIENT_VR_UNKNOWN, ERR_SYNTAX, 0x00100020,
     2},
    {"pixels end early", &SYNTAX_EXPLICIT, B("\xE0\x7F\x10\0OW\0\0\x10\0\0\0abcdef"),
     LENIENT_SHORT_PIXELS, ERR_MORE, 0x7FE00010, 6},
    {"pixels never come", &SYNTAX_EXPLICIT, B("\xE0\x7F\x10\0OW\0\0\x10\0\0\0"),
     LENIENT_SHORT_PIXELS, ERR_MORE, 0x7FE00010, 0},
    {"sequence without delimiters", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x10\0\x20\0LO\2\0ab"),
     LENIENT_NO_DELIMITER, ERR_MORE, 0x00081140, 1},
    {"next item instead of a delimiter", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x10\0\x20\0LO\2\0ab"
       "\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"),
     LENIENT_NO_DELIMITER, ERR_SYNTAX, 0x00081140, 2},
    {"sequence delimiter instead of the item's", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x10\0\x20\0LO\2\0ab"
       "\xFE\xFF\xDD\xE0\0\0\0\0"),
     LENIENT_NO_DELIMITER, ERR_SYNTAX, 0x00081140, 1},
    {"stray item delimiter", &SYNTAX_EXPLICIT,
     B("\x10\0\x20\0LO\2\0ab\xFE\xFF\x0D\xE0\0\0\0\0\x28\0\x10\0US\2\0\4\0"), LENIENT_STRAY_DELIM,
     ERR_SYNTAX, 0x00280010, 2},
    {"stray sequence delimiter, implicit", &SYNTAX_IMPLICIT,
     B("\x10\0\x20\0\2\0\0\0ab\xFE\xFF\xDD\xE0\0\0\0\0"), LENIENT_STRAY_DELIM, ERR_SYNTAX,
     0x00100020, 2},
    {"item delimiter after an item of defined length", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\x0D\xE0\0\0\0\0"
       "\xFE\xFF\xDD\xE0\0\0\0\0"),
     LENIENT_STRAY_DELIM, ERR_SYNTAX, 0x00081140, 1},
    {"delimiter with a length", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\xDD\xE0\7\0\0\0\x10\0\x20\0LO\2\0ab"),
     LENIENT_STRAY_DELIM, ERR_SYNTAX, 0x00100020, 2},
    {"implicit items in an explicit data set", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0\2\0\0\0ab"
       "\xFE\xFF\xDD\xE0\0\0\0\0"),
     LENIENT_IMPLICIT_IN_EXPLICIT, ERR_SYNTAX, 0x00081140, 1},
    {"explicit items in an implicit data set", &SYNTAX_IMPLICIT,
     B("\x08\0\x40\x11\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0LO\2\0ab"),
     LENIENT_IMPLICIT_IN_EXPLICIT, ERR_SYNTAX, 0x00081140, 1},
    {"implicit, said explicit", &SYNTAX_EXPLICIT, B("\x10\0\x20\0\2\0\0\0ab"), LENIENT_SWITCHED,
     ERR_SYNTAX, 0x00100020, 2},
    {"explicit, said implicit", &SYNTAX_IMPLICIT, B("\x10\0\x20\0LO\2\0ab"), LENIENT_SWITCHED,
     ERR_MORE, 0x00100020, 2},
    {"big endian, said little", &SYNTAX_EXPLICIT, B("\0\x10\0\x20LO\0\2ab"), LENIENT_SWITCHED,
     ERR_MORE, 0x00100020, 2},
    {"little endian, said big", &SYNTAX_BIG, B("\x10\0\x20\0LO\2\0ab"), LENIENT_SWITCHED, ERR_MORE,
     0x00100020, 2},
    {"implicit, said big endian", &SYNTAX_BIG, B("\x10\0\x20\0\2\0\0\0ab"), LENIENT_SWITCHED,
     ERR_SYNTAX, 0x00100020, 2},
    {"zeros after the end", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2\0ab\0\0\0\0\0\0\0\0\0\0\0"),
     LENIENT_TRAILING, ERR_SYNTAX, 0x00100020, 2},
    {"a few bytes after the end", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2\0ab\xFF\xFF\xFF"),
     LENIENT_TRAILING, ERR_MORE, 0x00100020, 2},
};

static void check_deviation(const struct deviation *c, unsigned lenient, enum err want)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset      *d = NULL;
    struct parse_opts o = {.lenient = lenient};
    enum err          rc = dset_parse(c->in, c->s, &o, &a, &d, NULL);
    if (rc != want || (rc != ERR_OK && d != NULL)) {
        fail_msg("%s, lenient %x: %s, not %s", c->what, lenient, err_name(rc), err_name(want));
    }
    if (rc != ERR_OK) {
        return;
    }
    const struct elem *el = dset_find(d, c->tag);
    if (el == NULL || (el->vr == VR_SQ ? el->n_items : el->value.len) != c->len) {
        fail_msg("%s: element is not as it should be", c->what);
    }
    if ((o.seen & c->need) == 0) {
        fail_msg("%s: needed leniency is not reported, only %x", c->what, o.seen);
    }
}

static void each_leniency_is_needed_and_suffices(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(deviations) / sizeof(deviations[0]); i++) {
        const struct deviation *c = &deviations[i];
        check_deviation(c, 0, c->strict);
        check_deviation(c, c->need, ERR_OK);
        check_deviation(c, LENIENT_ALL, ERR_OK);
        struct parse_opts                o = {.lenient = LENIENT_ALL & ~c->need};
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset *d;
        if (dset_parse(c->in, c->s, &o, &a, &d, NULL) == ERR_OK && (o.seen & c->need) != 0) {
            fail_msg("%s: used what was not allowed", c->what);
        }
    }
}

static const struct {
    const char          *what;
    const struct syntax *s;
    struct bytes         in;
    enum err             want;
} refusals[] = {
    {"header cut", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2"), ERR_MORE},
    {"long header cut", &SYNTAX_EXPLICIT, B("\x10\0\x20\0OB\0\0\2\0\0"), ERR_MORE},
    {"value cut", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\4\0abc"), ERR_MORE},
    {"value that never comes", &SYNTAX_IMPLICIT, B("\x10\0\x20\0\xFE\xFF\xFF\xFF"), ERR_MORE},
    {"LO of undefined length", &SYNTAX_EXPLICIT,
     B("\x10\0\x20\0UT\0\0\xFF\xFF\xFF\xFF"
       "ab"),
     ERR_SYNTAX},
    {"no item in a sequence", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\x0A\0\0\0\x10\0\x20\0LO\2\0ab"), ERR_SYNTAX},
    {"item longer than its sequence", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\x08\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0LO\2\0ab"), ERR_SYNTAX},
    {"value longer than its item", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\x14\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0LO\4\0abcd"), ERR_SYNTAX},
    {"header longer than its item", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x10\0\x20\0OB\0\0\0\0\0\0"),
     ERR_SYNTAX},
    {"rest of an item too short for a header", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\x0C\0\0\0\xFE\xFF\0\xE0\4\0\0\0\x10\0\x20\0"), ERR_SYNTAX},
    {"rest of a sequence too short for an item", &SYNTAX_EXPLICIT,
     B("\x08\0\x40\x11SQ\0\0\4\0\0\0\xFE\xFF\0\xE0\0\0\0\0"), ERR_SYNTAX},
    {"fragment of undefined length", &SYNTAX_EXPLICIT,
     B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF"), ERR_SYNTAX},
    {"element among fragments", &SYNTAX_EXPLICIT,
     B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\x10\0\x20\0LO\2\0ab"), ERR_SYNTAX},
    {"item at the top", &SYNTAX_EXPLICIT, B("\xFE\xFF\0\xE0\0\0\0\0"), ERR_SYNTAX},
    {"text after the end", &SYNTAX_EXPLICIT, B("\x10\0\x20\0LO\2\0ab\0\0\0\0\0\0\0\0\0\0garbage"),
     ERR_SYNTAX},
    {"deflate of noise", &SYNTAX_DEFLATED, B("\xFF\xFF\xFF\xFF\xFF\xFF"), ERR_SYNTAX},
};

static void broken_data_sets_are_refused_even_leniently(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset      *d = NULL;
        struct errmsg     e = {0};
        struct parse_opts o = {.lenient = LENIENT_ALL & ~(unsigned)LENIENT_TRAILING};
        enum err          rc = dset_parse(refusals[i].in, refusals[i].s, &o, &a, &d, &e);
        if (i == sizeof(refusals) / sizeof(refusals[0]) - 2) { // zeros may follow, texts not
            o.lenient = LENIENT_ALL;
            e = (struct errmsg){0};
            rc = dset_parse(refusals[i].in, refusals[i].s, &o, &a, &d, &e);
        }
        if (rc != refusals[i].want || d != NULL || e.code != rc || e.text[0] == 0) {
            fail_msg("%s: %s (%s)", refusals[i].what, err_name(rc), e.text);
        }
    }
}

/* Sequences in sequences, all of undefined length and never closed. */
static size_t nest(uint8_t *to, size_t depth)
{
    static const uint8_t open[] = {8,    0,    0x40, 0x11, 'S', 'Q',  0,    0,    0xFF, 0xFF,
                                   0xFF, 0xFF, 0xFE, 0xFF, 0,   0xE0, 0xFF, 0xFF, 0xFF, 0xFF};
    for (size_t i = 0; i < depth; i++) {
        memcpy(to + i * sizeof(open), open, sizeof(open));
    }
    return depth * sizeof(open);
}

static void nesting_ends_at_its_limit(void **state)
{
    (void)state;
    static uint8_t                   in[20 * (LIMIT_SQ_DEPTH + 1)];
    struct parse_opts                o = {.lenient = LENIENT_NO_DELIMITER};
    struct dset                     *d = NULL;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    size_t n = nest(in, LIMIT_SQ_DEPTH);
    assert_int_equal(dset_parse((struct bytes){in, n}, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(dset_write(d, &SYNTAX_BIG, false, &b, NULL), ERR_OK);
    n = nest(in, LIMIT_SQ_DEPTH + 1);
    assert_int_equal(dset_parse((struct bytes){in, n}, &SYNTAX_EXPLICIT, &o, &a, &d, NULL),
                     ERR_LIMIT);
}

static void memory_stays_under_the_cap(void **state)
{
    (void)state;
    static uint8_t in[64 << 10];
    for (size_t i = 0; i + 8 <= sizeof(in); i += 8) { // empty private elements
        const uint8_t el[8] = {
            9, (uint8_t)(i >> 16), (uint8_t)(i >> 3), (uint8_t)(i >> 11), 'L', 'O', 0, 0};
        memcpy(in + i, el, sizeof(el));
    }
    for (size_t cap = 0; cap < 4 << 20; cap = cap * 2 + 64) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, cap);
        struct dset      *d = NULL;
        struct errmsg     e = {0};
        struct parse_opts o = {.lenient = LENIENT_ALL};
        enum err rc = dset_parse((struct bytes){in, sizeof(in)}, &SYNTAX_EXPLICIT, &o, &a, &d, &e);
        assert_true(a.used <= cap);
        assert_true(rc == ERR_OK || rc == ERR_LIMIT);
        assert_true((rc == ERR_OK) == (d != NULL));
    }
}

static void stop_tag_asks_for_more_until_it_is_seen(void **state)
{
    (void)state;
    static const struct bytes in = B("\x10\0\x20\0LO\2\0ab\x20\0\x0D\0UI\4\0"
                                     "1.2\0\x28\0\x10\0US\2\0\4\0\xE0\x7F\x10\0OW\0\0\xFF\xFF\0\0");
    for (size_t n = 0; n <= in.len; n++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset      *d = NULL;
        struct parse_opts o = {.stop_tag = 0x00280000};
        enum err rc = dset_parse((struct bytes){in.ptr, n}, &SYNTAX_EXPLICIT, &o, &a, &d, NULL);
        assert_int_equal(rc, n < 10 + 12 + 8 ? ERR_MORE : ERR_OK);
        if (rc == ERR_OK) {
            assert_int_equal(d->n, 2);
            assert_true(str_eq(dset_str(d, 0x0020000D), STR("1.2")));
        }
    }
}

static void long_values_are_left_out_with_their_place(void **state)
{
    (void)state;
    static const struct bytes        in = B("\x10\0\x20\0LO\4\0abcd\x28\0\x10\0US\2\0\4\0");
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct parse_opts o = {.max_value = 2};
    struct dset      *d;
    assert_int_equal(dset_parse(in, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
    const struct elem *el = dset_find(d, 0x00100020);
    assert_true(el->left_out && el->value.len == 0 && el->len == 4 && el->offset == 8);
    assert_true(has_value(d, 0x00100020));
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(dset_write(d, &SYNTAX_EXPLICIT, false, &b, NULL), ERR_UNSUPPORTED);
}

static void un_of_undefined_length_holds_implicit_items(void **state)
{
    (void)state;
    static const struct bytes in[] = {
        B("\x09\0\x10\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF"
          "\x10\0\x20\0\2\0\0\0ab\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"
          "\x10\0\x20\0LO\2\0cd"),
        B("\0\x09\x10\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF"
          "\x10\0\x20\0\2\0\0\0ab\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"
          "\0\x10\0\x20LO\0\2cd"),
    };
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset *d = parse(&a, in[i], i == 0 ? &SYNTAX_EXPLICIT : &SYNTAX_BIG, 0);
        assert_non_null(d);
        const struct elem *el = dset_find(d, 0x00091010);
        assert_true(el->vr == VR_SQ && el->n_items == 1);
        assert_true(str_eq(dset_str(el->items[0], 0x00100020), STR("ab")));
        assert_true(str_eq(dset_str(d, 0x00100020), STR("cd")));
    }
}

static void pixel_representation_decides_us_or_ss(void **state)
{
    (void)state;
    static const struct bytes in[] = {
        B("\x28\0\3\1\2\0\0\0\0\0\x28\0\6\1\2\0\0\0\xFF\xFF"),
        B("\x28\0\3\1\2\0\0\0\1\0\x28\0\6\1\2\0\0\0\xFF\xFF"),
    };
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset *d = parse(&a, in[i], &SYNTAX_IMPLICIT, 0);
        int64_t      v;
        assert_true(dset_int(d, 0x00280106, &v));
        assert_int_equal(v, i == 0 ? 65535 : -1);
    }
}

/* A data set with everything in it. */
static struct dset *make(struct arena *a)
{
    static const uint8_t doubles[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    struct dset         *d = dset_new(a), *item, *deep;
    assert_int_equal(dset_put_str(d, 0x00080005, STR("ISO_IR 192")), ERR_OK);
    assert_int_equal(dset_put_str(d, 0x00080018, STR("1.2.3")), ERR_OK);
    assert_int_equal(dset_put_text(d, 0x00100010, STR("Dupont^Zoé")), ERR_OK);
    assert_int_equal(dset_put_u16(d, 0x00280010, 513), ERR_OK);
    assert_int_equal(dset_put_u32(d, 0x00089459, 0x01020304), ERR_OK);
    assert_int_equal(dset_put_int(d, 0x00200013, -7), ERR_OK);
    assert_int_equal(dset_put(d, 0x00089459, VR_FL, (struct bytes){doubles, 8}), ERR_OK);
    assert_int_equal(dset_put(d, 0x00189087, VR_FD, (struct bytes){doubles, 16}), ERR_OK);
    assert_int_equal(dset_put(d, 0x7FE00010, VR_OW, (struct bytes){doubles, 15}), ERR_OK);
    assert_int_equal(dset_put_item(d, 0x00081140, &item), ERR_OK);
    assert_int_equal(dset_put_item(d, 0x00081140, &item), ERR_OK);
    assert_int_equal(dset_put_str(item, 0x00081155, STR("1.2.3.4")), ERR_OK);
    assert_int_equal(dset_put_item(item, 0x0040A170, &deep), ERR_OK);
    assert_int_equal(dset_put(deep, 0x00080104, VR_LO, (struct bytes)B("x")), ERR_OK);
    return d;
}

static void values_read_back_as_they_were_put(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = make(&a);
    int64_t      v;
    uint16_t     u;
    assert_int_equal(d->n, 9);
    for (size_t i = 1; i < d->n; i++) {
        assert_true(d->elems[i - 1].tag < d->elems[i].tag);
    }
    assert_true(dset_int(d, 0x00200013, &v) && v == -7);
    assert_true(dset_u16(d, 0x00280010, &u) && u == 513);
    assert_false(dset_u16(d, 0x00200013, &u));
    assert_false(dset_int(d, 0x00100010, &v));
    assert_true(str_eq(dset_text(d, 0x00100010), STR("Dupont^Zoé")));
    assert_true(str_eq(dset_str(d, 0x00100010), STR(""))); // not ASCII
    assert_int_equal(dset_find(d, 0x00080018)->value.len, 6);
    assert_int_equal(dset_find(d, 0x00080018)->value.ptr[5], 0);
    assert_int_equal(dset_find(d, 0x7FE00010)->value.len, 16);
    const struct elem *seq = dset_find(d, 0x00081140);
    assert_int_equal(seq->n_items, 2);
    assert_true(bytes_eq(dset_charset(seq->items[1]), dset_charset(d)));
    dset_remove(d, 0x00280010);
    dset_remove(d, 0x00280010);
    assert_null(dset_find(d, 0x00280010));
    assert_int_equal(d->n, 8);
}

static void strings_are_trimmed_and_split(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a);
    int64_t      v;
    assert_int_equal(dset_put_str(d, 0x00080008, STR("ORIGINAL \\ PRIMARY\\\\AXIAL ")), ERR_OK);
    assert_true(str_eq(dset_str_at(d, 0x00080008, 0), STR("ORIGINAL")));
    assert_true(str_eq(dset_str_at(d, 0x00080008, 1), STR("PRIMARY")));
    assert_true(str_eq(dset_str_at(d, 0x00080008, 2), STR("")));
    assert_true(str_eq(dset_str_at(d, 0x00080008, 3), STR("AXIAL")));
    assert_true(str_eq(dset_str_at(d, 0x00080008, 4), STR("")));
    assert_int_equal(dset_put(d, 0x00204000, VR_LT, (struct bytes)B("  text \0")), ERR_OK);
    assert_true(str_eq(dset_str(d, 0x00204000), STR("  text")));

    static const struct {
        struct str s;
        bool       ok;
        int64_t    v;
    } decimals[] = {{STR("3"), true, 3},      {STR(" 3.000 "), true, 3}, {STR("-3e2"), true, -300},
                    {STR("+4\\5"), true, 4},  {STR("3.5"), false, 0},    {STR(""), false, 0},
                    {STR("1e300"), false, 0}, {STR("x"), false, 0}};

    for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++) {
        assert_int_equal(dset_put_str(d, 0x00281050, decimals[i].s), ERR_OK);
        assert_int_equal(dset_int(d, 0x00281050, &v), decimals[i].ok);
        assert_true(!decimals[i].ok || v == decimals[i].v);
    }
}

static void private_creators_are_found_here_or_around(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a), *item;
    assert_int_equal(dset_put(d, 0x00090010, VR_LO, (struct bytes)B("ACME 1.0")), ERR_OK);
    assert_int_equal(dset_put_item(d, 0x00081140, &item), ERR_OK);
    assert_true(str_eq(dset_creator(d, 0x000910FF), STR("ACME 1.0")));
    assert_true(str_eq(dset_creator(item, 0x00091001), STR("ACME 1.0")));
    assert_true(str_eq(dset_creator(d, 0x00091101), STR("")));
    assert_true(str_eq(dset_creator(d, 0x00081001), STR("")));
    assert_true(str_eq(dset_creator(d, 0x00090010), STR("")));
}

static void writing_and_parsing_give_the_same(void **state)
{
    (void)state;
    static const struct syntax *const all[] = {&SYNTAX_IMPLICIT, &SYNTAX_EXPLICIT, &SYNTAX_BIG,
                                               &SYNTAX_DEFLATED};
    CLEANUP(arena_done) struct arena  a;
    arena_init(&a, 16 << 20);
    struct dset *d = make(&a);
    for (size_t i = 0; i < 8; i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 1 << 20);
        struct bytes bytes;
        assert_int_equal(dset_write(d, all[i / 2], i % 2, &b, NULL), ERR_OK);
        assert_int_equal(buf_end(&b, &bytes), ERR_OK);
        assert_int_equal(bytes.len % 2, 0);
        struct dset *back = parse(&a, bytes, all[i / 2], 0);
        assert_non_null(back);
        assert_true(same_dset(d, back, true));
        CLEANUP(buf_done) struct buf again;
        buf_init(&again, 1 << 20);
        assert_int_equal(dset_write(back, all[i / 2], i % 2, &again, NULL), ERR_OK);
        assert_true(bytes_eq(bytes, (struct bytes){again.ptr, again.len}));
        for (size_t max = 0; max < bytes.len; max++) { // never more than the buffer may hold
            CLEANUP(buf_done) struct buf small;
            buf_init(&small, max);
            assert_int_equal(dset_write(d, all[i / 2], i % 2, &small, NULL), ERR_LIMIT);
        }
    }
}

static void group_lengths_of_commands_are_computed(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a);
    assert_int_equal(dset_put_u32(d, 0x00000000, 999), ERR_OK);
    assert_int_equal(dset_put_u16(d, 0x00000100, 0x30), ERR_OK);
    assert_int_equal(dset_put_u32(d, 0x00080000, 999), ERR_OK);
    assert_int_equal(dset_put_str(d, 0x00080016, STR("1.2")), ERR_OK);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(dset_write(d, &SYNTAX_IMPLICIT, false, &b, NULL), ERR_OK);
    static const struct bytes want = B("\0\0\0\0\4\0\0\0\x0A\0\0\0\0\0\0\1\2\0\0\0\x30\0"
                                       "\x08\0\x16\0\4\0\0\0"
                                       "1.2\0");
    assert_true(bytes_eq(want, (struct bytes){b.ptr, b.len}));
}

static void values_too_long_for_their_vr_become_un(void **state)
{
    (void)state;
    static uint8_t long_text[70000];
    memset(long_text, 'x', sizeof(long_text));
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 16 << 20);
    struct dset *d = dset_new(&a);
    assert_int_equal(dset_put(d, 0x00283006, VR_US, (struct bytes){long_text, 65536}), ERR_OK);
    assert_int_equal(dset_put(d, 0x00204000, VR_LT, (struct bytes){long_text, 70000}), ERR_OK);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(dset_write(d, &SYNTAX_BIG, false, &b, NULL), ERR_OK);
    struct dset *back = parse(&a, (struct bytes){b.ptr, b.len}, &SYNTAX_BIG, 0);
    assert_non_null(back);
    assert_true(same_dset(d, back, false));
    assert_int_equal(dset_find(back, 0x00204000)->vr, VR_UN);
}

static void encapsulated_pixels_keep_their_fragments(void **state)
{
    (void)state;
    static const struct bytes in =
        B("\x28\0\x10\0US\2\0\4\0\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0"
          "\xFE\xFF\0\xE0\4\0\0\0abcd\xFE\xFF\xDD\xE0\0\0\0\0");
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset       *d = parse(&a, in, &SYNTAX_EXPLICIT, 0), *read;
    const struct elem *el = dset_find(d, 0x7FE00010);
    assert_true(el->encapsulated && !el->left_out && el->len == LEN_UNDEFINED);
    assert_int_equal(el->offset, 22);
    assert_int_equal(el->value.len, 20);
    struct dsrc       src = dsrc_of_bytes(&in);
    struct parse_opts o = {0};
    assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &read, NULL), ERR_OK);
    assert_true(same_dset(d, read, true));
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(dset_write(read, &SYNTAX_EXPLICIT, true, &b, NULL), ERR_OK);
    assert_true(bytes_eq(in, (struct bytes){b.ptr, b.len}));
    assert_int_equal(dset_write(read, &SYNTAX_IMPLICIT, true, &b, NULL), ERR_UNSUPPORTED);
    for (uint32_t max = 1; max < 24; max++) {
        o = (struct parse_opts){.max_value = max};
        assert_int_equal(dset_read(&src, 0, &SYNTAX_EXPLICIT, &o, &a, &read, NULL), ERR_OK);
        assert_int_equal(dset_find(read, 0x7FE00010)->left_out, max < 20);
        assert_int_equal(dset_parse(in, &SYNTAX_EXPLICIT, &o, &a, &d, NULL), ERR_OK);
        assert_true(same_dset(d, read, true));
    }
}

static void cut_fragments_are_not_kept(void **state)
{
    (void)state;
    static const struct bytes in = B("\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0"
                                     "\xFE\xFF\0\xE0\4\0\0\0ab");
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = parse(&a, in, &SYNTAX_EXPLICIT, LENIENT_SHORT_PIXELS);
    assert_non_null(d);
    assert_true(dset_find(d, 0x7FE00010)->left_out);
    assert_null(parse(&a, in, &SYNTAX_EXPLICIT, LENIENT_ALL & ~(unsigned)LENIENT_SHORT_PIXELS));
}

static void copies_are_deep_and_change_their_charset(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(arena_done) struct arena other;
    arena_init(&a, 1 << 20);
    arena_init(&other, 1 << 20);
    struct dset *d = make(&a), *to = dset_new(&other), *latin = dset_new(&other);
    for (size_t i = 0; i < d->n; i++) {
        assert_int_equal(dset_copy(to, d, &d->elems[i]), ERR_OK);
    }
    assert_int_equal(dset_put_str(latin, 0x00080005, STR("ISO_IR 100")), ERR_OK);
    assert_int_equal(dset_copy(latin, d, dset_find(d, 0x00100010)), ERR_OK);
    arena_done(&a);
    assert_true(sum_dset(to) != 0);
    assert_true(str_eq(dset_text(to, 0x00100010), STR("Dupont^Zoé")));
    assert_true(bytes_eq(dset_find(latin, 0x00100010)->value, (struct bytes)B("Dupont^Zo\xE9")));
    assert_true(str_eq(dset_text(latin, 0x00100010), STR("Dupont^Zoé")));
}

static void a_full_arena_is_said(void **state)
{
    (void)state;
    for (size_t cap = 0;; cap += 16) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, cap);
        struct dset *d = dset_new(&a), *item;
        if (d != NULL && dset_put_str(d, 0x00080018, STR("1.2")) == ERR_OK &&
            dset_put_item(d, 0x00081140, &item) == ERR_OK &&
            dset_put_item(d, 0x00081140, &item) == ERR_OK) {
            assert_true(cap > 64);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_leniency_is_needed_and_suffices),
        cmocka_unit_test(broken_data_sets_are_refused_even_leniently),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(memory_stays_under_the_cap),
        cmocka_unit_test(stop_tag_asks_for_more_until_it_is_seen),
        cmocka_unit_test(long_values_are_left_out_with_their_place),
        cmocka_unit_test(un_of_undefined_length_holds_implicit_items),
        cmocka_unit_test(pixel_representation_decides_us_or_ss),
        cmocka_unit_test(values_read_back_as_they_were_put),
        cmocka_unit_test(strings_are_trimmed_and_split),
        cmocka_unit_test(private_creators_are_found_here_or_around),
        cmocka_unit_test(writing_and_parsing_give_the_same),
        cmocka_unit_test(group_lengths_of_commands_are_computed),
        cmocka_unit_test(values_too_long_for_their_vr_become_un),
        cmocka_unit_test(encapsulated_pixels_keep_their_fragments),
        cmocka_unit_test(cut_fragments_are_not_kept),
        cmocka_unit_test(copies_are_deep_and_change_their_charset),
        cmocka_unit_test(a_full_arena_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
