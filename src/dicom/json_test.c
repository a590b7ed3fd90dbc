#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "dicom/json.h"
#include "dicom/part10.h"

static struct dset *put(struct dset *d, uint32_t tag, enum vr vr, struct str v)
{
    assert_int_equal(dset_put(d, tag, vr, str_bytes(v)), ERR_OK);
    return d;
}

/* The JSON of d; in b. */
static struct str json_of(const struct dset *d, const struct json_opts *o, struct buf *b)
{
    struct jsonw  w;
    struct errmsg e = {0};
    buf_clear(b);
    jsonw_init(&w, b);
    if (dsjson_write(d, o, &w, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    struct str s;
    assert_true(utf8_check((struct bytes){b->ptr, b->len}, &s));
    return s;
}

static struct dset *parsed(struct arena *a, struct str json)
{
    struct dset  *d = NULL;
    struct errmsg e = {0};
    if (dsjson_parse(json, a, &d, &e) != ERR_OK) {
        fail_msg("%s: %.*s", e.text, STR_ARG(json));
    }
    return d;
}

#define PRIVATE TAG(0x0009, 0x1001)

/* Every case is written and read back; the value that comes back is `back`, or the padded value
 * when that is NULL. */
static const struct value_case {
    const char *what;
    enum vr     vr;
    struct str  value;
    const char *json; // what follows {"vr":"XX"
    const char *back;
} value_cases[] = {
    {"empty text", VR_LO, STR(""), "", NULL},
    {"spaces alone", VR_LO, STR("  "), "", ""},
    {"text", VR_LO, STR("abcd"), ",\"Value\":[\"abcd\"]", NULL},
    {"padding goes", VR_LO, STR("abc "), ",\"Value\":[\"abc\"]", NULL},
    {"spaces in front stay", VR_LO, STR(" abc"), ",\"Value\":[\" abc\"]", NULL},
    {"two values", VR_LO, STR("ab\\c"), ",\"Value\":[\"ab\",\"c\"]", NULL},
    {"padding of each value", VR_LO, STR("ab \\c "), ",\"Value\":[\"ab\",\"c\"]", "ab\\c"},
    {"empty value in front", VR_CS, STR("\\b"), ",\"Value\":[null,\"b\"]", NULL},
    {"empty value inside", VR_CS, STR("ab\\\\bc"), ",\"Value\":[\"ab\",null,\"bc\"]", NULL},
    {"empty value behind", VR_CS, STR("a\\"), ",\"Value\":[\"a\",null]", NULL},
    {"nothing but separators", VR_CS, STR("\\ "), ",\"Value\":[null,null]", NULL},
    {"quotation mark", VR_SH, STR("a\"b "), ",\"Value\":[\"a\\\"b\"]", NULL},
    {"line ends", VR_LT, STR("a\r\nb"), ",\"Value\":[\"a\\u000d\\u000ab\"]", NULL},
    {"long text has one value", VR_LT, STR("a\\bc"), ",\"Value\":[\"a\\\\bc\"]", NULL},
    {"short text has one value", VR_ST, STR("\\b"), ",\"Value\":[\"\\\\b\"]", NULL},
    {"unlimited text has one value", VR_UT, STR("a\\"), ",\"Value\":[\"a\\\\\"]", NULL},
    {"resource identifier", VR_UR, STR("http://a"), ",\"Value\":[\"http://a\"]", NULL},
    {"unlimited characters", VR_UC, STR("ab\\c"), ",\"Value\":[\"ab\",\"c\"]", NULL},
    {"UID padding is NUL", VR_UI, STR("1.2\0"), ",\"Value\":[\"1.2\"]", NULL},
    {"UIDs", VR_UI, STR("1.2\\1.3\0"), ",\"Value\":[\"1.2\",\"1.3\"]", NULL},
    {"entity", VR_AE, STR("STORE "), ",\"Value\":[\"STORE\"]", NULL},
    {"age", VR_AS, STR("030Y"), ",\"Value\":[\"030Y\"]", NULL},
    {"date", VR_DA, STR("20240705"), ",\"Value\":[\"20240705\"]", NULL},
    {"time", VR_TM, STR("101530.5"), ",\"Value\":[\"101530.5\"]", NULL},
    {"moment", VR_DT, STR("20240705+0100 "), ",\"Value\":[\"20240705+0100\"]", NULL},
    {"name", VR_PN, STR("DOE^JOHN"), ",\"Value\":[{\"Alphabetic\":\"DOE^JOHN\"}]", NULL},
    {"name keeps carets", VR_PN, STR("DOE^J^^"), ",\"Value\":[{\"Alphabetic\":\"DOE^J^^\"}]",
     "DOE^J^^ "},
    {"names", VR_PN, STR("AB\\\\CD"),
     ",\"Value\":[{\"Alphabetic\":\"AB\"},null,{\"Alphabetic\":\"CD\"}]", NULL},
    {"name groups", VR_PN, STR("A=B=C "),
     ",\"Value\":[{\"Alphabetic\":\"A\",\"Ideographic\":\"B\",\"Phonetic\":\"C\"}]", NULL},
    {"name without first group", VR_PN, STR("=B=C"),
     ",\"Value\":[{\"Ideographic\":\"B\",\"Phonetic\":\"C\"}]", NULL},
    {"name without second group", VR_PN, STR("A==C"),
     ",\"Value\":[{\"Alphabetic\":\"A\",\"Phonetic\":\"C\"}]", NULL},
    {"name, groups empty", VR_PN, STR("=="), ",\"Value\":[null]", ""},
    {"name, group marks behind", VR_PN, STR("AB=="), ",\"Value\":[{\"Alphabetic\":\"AB\"}]", "AB"},
    {"name, four groups", VR_PN, STR("A=B=C=D "),
     ",\"Value\":[{\"Alphabetic\":\"A\",\"Ideographic\":\"B\",\"Phonetic\":\"C=D\"}]", NULL},
    {"integer", VR_IS, STR("42"), ",\"Value\":[42]", NULL},
    {"negative integer", VR_IS, STR("-7"), ",\"Value\":[-7]", NULL},
    {"integer, sign and zeros", VR_IS, STR("+007"), ",\"Value\":[7]", "7 "},
    {"integer, spaces", VR_IS, STR(" 42 "), ",\"Value\":[42]", "42"},
    {"integers", VR_IS, STR("12\\\\34"), ",\"Value\":[12,null,34]", NULL},
    {"no integer", VR_IS, STR("12ab"), ",\"Value\":[\"12ab\"]", NULL},
    {"integer beyond a double", VR_IS, STR("9007199254740993"), ",\"Value\":[\"9007199254740993\"]",
     NULL},
    {"last exact integer", VR_IS, STR("9007199254740992"), ",\"Value\":[9007199254740992]", NULL},
    {"decimal", VR_DS, STR("1.50"), ",\"Value\":[1.50]", NULL},
    {"decimal, no whole part", VR_DS, STR(".5"), ",\"Value\":[0.5]", "0.5 "},
    {"decimal, no fraction", VR_DS, STR("5."), ",\"Value\":[5]", "5 "},
    {"decimal, sign", VR_DS, STR("+0.5"), ",\"Value\":[0.5]", "0.5 "},
    {"decimal, negative", VR_DS, STR("-.5"), ",\"Value\":[-0.5]", "-0.5"},
    {"decimal, exponent", VR_DS, STR("1.5E+3"), ",\"Value\":[1.5E+3]", NULL},
    {"decimal, exponent out of bounds", VR_DS, STR("1e999 "), ",\"Value\":[\"1e999\"]", NULL},
    {"decimals", VR_DS, STR("0.5\\0.25"), ",\"Value\":[0.5,0.25]", NULL},
    {"decimal, 15 digits", VR_DS, STR("0.123456789012345 "), ",\"Value\":[0.123456789012345]",
     NULL},
    {"decimal, printed from a double", VR_DS, STR("-0.33333333333333331"),
     ",\"Value\":[-0.33333333333333331]", NULL},
    {"decimal, more than a double says", VR_DS, STR("0.333333333333333333"),
     ",\"Value\":[\"0.333333333333333333\"]", NULL},
    {"decimal, 17 digits of no double", VR_DS, STR("9007199254740993.0"),
     ",\"Value\":[\"9007199254740993.0\"]", NULL},
    {"decimal zero", VR_DS, STR("0.0000000000000000000"), ",\"Value\":[0.0000000000000000000]",
     "0 "},
    {"no decimal", VR_DS, STR("N/A "), ",\"Value\":[\"N/A\"]", NULL},
    {"no hexadecimal", VR_DS, STR("0x10"), ",\"Value\":[\"0x10\"]", NULL},
    {"two points", VR_DS, STR("1.2.3 "), ",\"Value\":[\"1.2.3\"]", NULL},
    {"point alone", VR_DS, STR(". "), ",\"Value\":[\".\"]", NULL},
    {"unsigned short", VR_US, STR("\xFF\xFF"), ",\"Value\":[65535]", NULL},
    {"unsigned shorts", VR_US, STR("\1\0\2\0"), ",\"Value\":[1,2]", NULL},
    {"signed short", VR_SS, STR("\0\x80"), ",\"Value\":[-32768]", NULL},
    {"unsigned long", VR_UL, STR("\xFF\xFF\xFF\xFF"), ",\"Value\":[4294967295]", NULL},
    {"signed long", VR_SL, STR("\0\0\0\x80"), ",\"Value\":[-2147483648]", NULL},
    {"unsigned very long", VR_UV, STR("\1\0\0\0\0\0\0\0"), ",\"Value\":[1]", NULL},
    {"unsigned very long beyond a double", VR_UV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
     ",\"Value\":[\"18446744073709551615\"]", NULL},
    {"signed very long", VR_SV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), ",\"Value\":[-1]", NULL},
    {"signed very long beyond a double", VR_SV, STR("\0\0\0\0\0\0\0\x80"),
     ",\"Value\":[\"-9223372036854775808\"]", NULL},
    {"float", VR_FL, STR("\xCD\xCC\xCC\x3D"), ",\"Value\":[0.1]", NULL},
    {"float, nine digits", VR_FL, STR("\x01\0\x80\x3F"), ",\"Value\":[1.0000001]", NULL},
    {"largest float", VR_FL, STR("\xFF\xFF\x7F\x7F"), ",\"Value\":[3.4028235e+38]", NULL},
    {"smallest float", VR_FL, STR("\1\0\0\0"), ",\"Value\":[1.4013e-45]", NULL},
    {"double", VR_FD, STR("\x9A\x99\x99\x99\x99\x99\xB9\x3F"), ",\"Value\":[0.1]", NULL},
    {"double, 17 digits", VR_FD, STR("\1\0\0\0\0\0\xF0\x3F"), ",\"Value\":[1.0000000000000002]",
     NULL},
    {"minus zero", VR_FD, STR("\0\0\0\0\0\0\0\x80"), ",\"Value\":[-0]", NULL},
    {"not finite", VR_FD, STR("\0\0\0\0\0\0\xF0\x7F\0\0\0\0\0\0\xF0\xFF"),
     ",\"Value\":[\"Infinity\",\"-Infinity\"]", NULL},
    {"not a number", VR_FL, STR("\0\0\xC0\x7F"), ",\"Value\":[\"NaN\"]", NULL},
    {"tag", VR_AT, STR("\x28\0\x0A\0"), ",\"Value\":[\"0028000A\"]", NULL},
    {"tags", VR_AT, STR("\x10\0\x20\0\xE0\x7F\x10\0"), ",\"Value\":[\"00100020\",\"7FE00010\"]",
     NULL},
    {"half a number", VR_UL, STR("\1\0\2\0\3\0"), ",\"InlineBinary\":\"AQACAAMA\"", NULL},
    {"no bytes", VR_OB, STR(""), "", NULL},
    {"bytes", VR_OB, STR("\0\xFF"), ",\"InlineBinary\":\"AP8=\"", NULL},
    {"three bytes padded", VR_OB, STR("abc\0"), ",\"InlineBinary\":\"YWJjAA==\"", NULL},
    {"six bytes", VR_OW, STR("\xFB\xFF\xBF\0\0\0"), ",\"InlineBinary\":\"+/+/AAAA\"", NULL},
    {"floats as bytes", VR_OF, STR("\0\0\x80\x3F"), ",\"InlineBinary\":\"AACAPw==\"", NULL},
    {"doubles as bytes", VR_OD, STR("\0\0\0\0\0\0\0\0"), ",\"InlineBinary\":\"AAAAAAAAAAA=\"",
     NULL},
    {"longs as bytes", VR_OL, STR("\0\0\0\0"), ",\"InlineBinary\":\"AAAAAA==\"", NULL},
    {"very longs as bytes", VR_OV, STR("\0\0\0\0\0\0\0\0"), ",\"InlineBinary\":\"AAAAAAAAAAA=\"",
     NULL},
    {"unknown", VR_UN, STR("ab"), ",\"InlineBinary\":\"YWI=\"", NULL},
    {"empty number", VR_US, STR(""), "", NULL},
    {"empty sequence", VR_SQ, STR(""), "", NULL},
};

static void values_are_written_and_read_back(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    CLEANUP(buf_done) struct buf want;
    buf_init(&b, 1 << 20);
    buf_init(&want, 1 << 20);
    for (size_t i = 0; i < sizeof(value_cases) / sizeof(value_cases[0]); i++) {
        const struct value_case         *c = &value_cases[i];
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct json_opts o = {0};
        struct str       s = json_of(put(dset_new(&a), PRIVATE, c->vr, c->value), &o, &b);
        buf_clear(&want);
        buf_fmt(&want, "{\"00091001\":{\"vr\":\"%s\"%s}}", vr_name(c->vr), c->json);
        if (!str_eq(s, (struct str){(const char *)want.ptr, want.len})) {
            fail_msg("%s: %.*s", c->what, STR_ARG(s));
        }
        const struct elem *el = dset_find(parsed(&a, s), PRIVATE);
        struct bytes       back = str_bytes(c->back != NULL ? str_of(c->back) : c->value);
        if (el == NULL || el->vr != c->vr || !bytes_eq(el->value, back) || el->left_out) {
            fail_msg("%s: read back otherwise", c->what);
        }
    }
}

static void texts_become_utf8(void **state)
{
    (void)state;

    static const struct {
        const char *what, *charset, *name, *want;
    } cases[] = {
        {"ASCII keeps its charset", "ISO_IR 100", "DOE",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 100\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"DOE\"}]}}"},
        {"ASCII without a charset", "", "DOE",
         "{\"00100010\":{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":\"DOE\"}]}}"},
        {"Latin 1", "ISO_IR 100", "DO\xC9",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"DO\u00C9\"}]}}"},
        {"no charset named", "", "DO\xC9",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"DO\u00C9\"}]}}"},
        {"Japanese", "\\ISO 2022 IR 87", "Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"Yamada^Tarou\",\"Ideographic\":\"\u5C71\u7530^"
         "\u592A\u90CE\"}]}}"},
        {"yen sign separates", "ISO_IR 13", "\xD4\xCF\\\xC0",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"\uFF94\uFF8F\"},{\"Alphabetic\":\"\uFF80\"}]}}"},
        {"backslash as a second byte", "GB18030", "a\x8E\x5C\\b",
         "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},\"00100010\":{\"vr\":\"PN\","
         "\"Value\":[{\"Alphabetic\":\"a\u5DBE\"},{\"Alphabetic\":\"b\"}]}}"},
    };

    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset     *d = dset_new(&a);
        struct json_opts o = {0};
        if (cases[i].charset[0] != '\0') {
            put(d, TAG(0x0008, 0x0005), VR_CS, str_of(cases[i].charset));
        }
        put(d, TAG(0x0010, 0x0010), VR_PN, str_of(cases[i].name));
        struct str s = json_of(d, &o, &b);
        if (!str_eq(s, str_of(cases[i].want))) {
            fail_msg("%s: %.*s", cases[i].what, STR_ARG(s));
        }
        if (memchr(s.ptr, '\xC3', s.len) != NULL) {
            struct dset *back = parsed(&a, s);
            assert_true(str_eq(dset_str(back, TAG(0x0008, 0x0005)), STR("ISO_IR 192")));
            assert_true(str_eq(dset_text(back, TAG(0x0010, 0x0010)), STR("DO\u00C9")));
        }
    }
}

static void items_of_another_charset_are_recoded_too(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a), *item = NULL;
    put(d, TAG(0x0008, 0x0005), VR_CS, STR("ISO_IR 100"));
    put(d, TAG(0x0008, 0x1030), VR_LO, STR("\xC9t"));
    assert_int_equal(dset_put_item(d, TAG(0x0008, 0x1110), &item), ERR_OK);
    put(item, TAG(0x0008, 0x1030), VR_LO, STR("\xC9u"));
    assert_int_equal(dset_put_item(d, TAG(0x0008, 0x1110), &item), ERR_OK);
    put(item, TAG(0x0008, 0x0005), VR_CS, STR("ISO_IR 144"));
    put(item, TAG(0x0008, 0x1030), VR_LO, STR("\xBB\xEE"));
    struct json_opts o = {0};
    struct str       s = json_of(d, &o, &b);
    struct str       want = STR("{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},"
                                      "\"00081030\":{\"vr\":\"LO\",\"Value\":[\"\u00C9t\"]},"
                                      "\"00081110\":{\"vr\":\"SQ\",\"Value\":[{\"00081030\":{\"vr\":\"LO\","
                                      "\"Value\":[\"\u00C9u\"]}},"
                                      "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},"
                                      "\"00081030\":{\"vr\":\"LO\",\"Value\":[\"\u041B\u044E\"]}}]}}");
    if (!str_eq(s, want)) {
        fail_msg("%.*s", STR_ARG(s));
    }
}

static void long_values_become_links(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a), *item = NULL;
    put(d, TAG(0x0008, 0x0000), VR_UL, STR("\1\0\0\0"));
    put(d, TAG(0x0009, 0x1001), VR_OB, STR("abcd"));
    put(d, TAG(0x0009, 0x1002), VR_OB, STR("abcdef"));
    assert_int_equal(dset_put_item(d, TAG(0x0040, 0x9096), &item), ERR_OK);
    assert_int_equal(dset_put_item(d, TAG(0x0040, 0x9096), &item), ERR_OK);
    put(item, TAG(0x0040, 0x0555), VR_SQ, STR(""));
    put(item, TAG(0x0040, 0xA730), VR_UT, STR(""));
    struct elem *el = dset_find(item, TAG(0x0040, 0xA730));
    el->left_out = true;
    el->len = 1 << 20;
    put(d, TAG(0x7FE0, 0x0010), VR_OW, STR(""));
    el = dset_find(d, TAG(0x7FE0, 0x0010));
    el->encapsulated = true;
    el->len = LEN_UNDEFINED;

    struct json_opts o = {.bulk_prefix = STR("/b\"ulk/"), .inline_max = 4};
    struct str       s = json_of(d, &o, &b);
    struct str       want =
        STR("{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"YWJjZA==\"},"
            "\"00091002\":{\"vr\":\"OB\",\"BulkDataURI\":\"/b\\\"ulk/00091002\"},"
            "\"00409096\":{\"vr\":\"SQ\",\"Value\":[{},{\"00400555\":{\"vr\":\"SQ\"},"
            "\"0040A730\":{\"vr\":\"UT\",\"BulkDataURI\":\"/b\\\"ulk/00409096/2/0040A730\"}}]},"
            "\"7FE00010\":{\"vr\":\"OW\",\"BulkDataURI\":\"/b\\\"ulk/7FE00010\"}}");
    if (!str_eq(s, want)) {
        fail_msg("%.*s", STR_ARG(s));
    }
    struct dset *back = parsed(&a, s);
    assert_true(dset_find(back, TAG(0x7FE0, 0x0010))->left_out);
    assert_true(
        bytes_eq(dset_find(back, TAG(0x7FE0, 0x0010))->value, str_bytes(STR("/b\"ulk/7FE00010"))));
    assert_int_equal(dset_find(back, TAG(0x0040, 0x9096))->n_items, 2);

    o = (struct json_opts){.inline_max = 4, .group_length = true};
    s = json_of(d, &o, &b);
    want = STR("{\"00080000\":{\"vr\":\"UL\",\"Value\":[1]},"
               "\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"YWJjZA==\"},"
               "\"00409096\":{\"vr\":\"SQ\",\"Value\":[{},{\"00400555\":{\"vr\":\"SQ\"}}]}}");
    if (!str_eq(s, want)) {
        fail_msg("%.*s", STR_ARG(s));
    }
}

static void deep_items_are_written_up_to_the_limit(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a), *item = d;
    for (unsigned i = 0; i < LIMIT_SQ_DEPTH; i++) {
        assert_int_equal(dset_put_item(item, TAG(0x0040, 0xA730), &item), ERR_OK);
    }
    struct json_opts o = {0};
    struct str       s = json_of(d, &o, &b);
    struct dset     *back = parsed(&a, s);
    for (unsigned i = 0; i < LIMIT_SQ_DEPTH; i++) {
        back = dset_find(back, TAG(0x0040, 0xA730))->items[0];
    }
    assert_int_equal(back->n, 0);
    assert_int_equal(dset_put_item(item, TAG(0x0040, 0xA730), &item), ERR_OK);
    struct jsonw  w;
    struct errmsg e = {0};
    buf_clear(&b);
    jsonw_init(&w, &b);
    assert_int_equal(dsjson_write(d, &o, &w, &e), ERR_LIMIT);
    assert_int_equal(e.code, ERR_LIMIT);
}

static void foreign_json_is_understood(void **state)
{
    (void)state;

    static const struct {
        const char *what, *json;
        uint32_t    tag;
        enum vr     vr;
        struct str  want;
    } cases[] = {
        {"value before vr", "{\"00100020\":{\"Value\":[\"ab\"],\"vr\":\"LO\"}}", 0x00100020, VR_LO,
         STR("ab")},
        {"spaces everywhere",
         " { \"00100020\" : { \"vr\" : \"LO\" ,\n\t\"Value\" : [ \"ab\" ] } }\r\n", 0x00100020,
         VR_LO, STR("ab")},
        {"vr missing", "{\"00100020\":{\"Value\":[\"ab\"]}}", 0x00100020, VR_LO, STR("ab")},
        {"attribute empty", "{\"00100020\":{}}", 0x00100020, VR_LO, STR("")},
        {"small letters in the tag", "{\"0020000d\":{\"vr\":\"UI\",\"Value\":[\"1.2\"]}}",
         0x0020000D, VR_UI, STR("1.2\0")},
        {"other members",
         "{\"00100020\":{\"keyword\":\"PatientID\",\"vr\":\"LO\",\"x\":{\"y\":[1,true]},"
         "\"Value\":[\"ab\"]}}",
         0x00100020, VR_LO, STR("ab")},
        {"Value null", "{\"00100020\":{\"vr\":\"LO\",\"Value\":null}}", 0x00100020, VR_LO, STR("")},
        {"Value empty", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[]}}", 0x00100020, VR_LO, STR("")},
        {"Value of null", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[null]}}", 0x00100020, VR_LO,
         STR("")},
        {"Value of empty string", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\"]}}", 0x00100020,
         VR_LO, STR("")},
        {"number for a text", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[12]}}", 0x00100020, VR_LO,
         STR("12")},
        {"escapes", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]}}",
         0x00100020, VR_LO, STR("\"\\/\b\f\n\r\t")},
        {"\\u escapes", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\u00e9\\u00C9\"]}}", 0x00100020,
         VR_LO, STR("\u00E9\u00C9")},
        {"surrogates", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\ud83d\\ude00\"]}}", 0x00100020,
         VR_LO, STR("\U0001F600")},
        {"lone high surrogate", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\ud83dx\"]}}",
         0x00100020, VR_LO, STR("\uFFFDx")},
        {"lone low surrogate", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\ude00x\"]}}",
         0x00100020, VR_LO, STR("\uFFFDx")},
        {"high surrogate and a letter",
         "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\\ud83d\\u0041\"]}}", 0x00100020, VR_LO,
         STR("\uFFFDA")},
        {"name as a string", "{\"00100010\":{\"vr\":\"PN\",\"Value\":[\"A^B=C\"]}}", 0x00100010,
         VR_PN, STR("A^B=C ")},
        {"name groups in any order",
         "{\"00100010\":{\"vr\":\"PN\",\"Value\":[{\"Phonetic\":\"C\",\"Other\":[],\"Alphabetic\":"
         "\"A\"}]}}",
         0x00100010, VR_PN, STR("A==C")},
        {"name group null", "{\"00100010\":{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":null}]}}",
         0x00100010, VR_PN, STR("")},
        {"name without groups",
         "{\"00100010\":{\"vr\":\"PN\",\"Value\":[{},{\"Alphabetic\":\"AB\"}]}}", 0x00100010, VR_PN,
         STR("\\AB ")},
        {"number as a string", "{\"00280010\":{\"vr\":\"US\",\"Value\":[\"3\"]}}", 0x00280010,
         VR_US, STR("\3\0")},
        {"number with a fraction of nothing", "{\"00280010\":{\"vr\":\"US\",\"Value\":[3.0]}}",
         0x00280010, VR_US, STR("\3\0")},
        {"number with an exponent", "{\"00280010\":{\"vr\":\"US\",\"Value\":[3e2]}}", 0x00280010,
         VR_US, STR("\x2C\1")},
        {"number and null", "{\"00280010\":{\"vr\":\"US\",\"Value\":[3,null,null]}}", 0x00280010,
         VR_US, STR("\3\0")},
        {"number null", "{\"00280010\":{\"vr\":\"US\",\"Value\":[null]}}", 0x00280010, VR_US,
         STR("")},
        {"integer with a fraction of nothing", "{\"00200013\":{\"vr\":\"IS\",\"Value\":[12.0]}}",
         0x00200013, VR_IS, STR("12")},
        {"integer as a string", "{\"00200013\":{\"vr\":\"IS\",\"Value\":[\"+12\"]}}", 0x00200013,
         VR_IS, STR("+12 ")},
        {"decimal is cut when nothing is lost",
         "{\"00180050\":{\"vr\":\"DS\",\"Value\":[0.50000000000000000000]}}", 0x00180050, VR_DS,
         STR("0.5 ")},
        {"decimal is kept when it would be",
         "{\"00180050\":{\"vr\":\"DS\",\"Value\":[0.30000000000000004]}}", 0x00180050, VR_DS,
         STR("0.30000000000000004 ")},
        {"infinity of another hand", "{\"00189073\":{\"vr\":\"FD\",\"Value\":[\"inf\"]}}",
         0x00189073, VR_FD, STR("\0\0\0\0\0\0\xF0\x7F")},
        {"base64 without padding", "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"YWI\"}}",
         0x00091001, VR_OB, STR("ab")},
        {"base64 of nothing", "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"\"}}", 0x00091001,
         VR_OB, STR("")},
        {"Value of nothing for bytes", "{\"00091001\":{\"vr\":\"OB\",\"Value\":[]}}", 0x00091001,
         VR_OB, STR("")},
        {"charset is ours", "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 100\"]}}", 0x00080005,
         VR_CS, STR("ISO_IR 192")},
        {"charset is named when needed", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"\u00E9\"]}}",
         0x00080005, VR_CS, STR("ISO_IR 192")},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        const struct elem *el = dset_find(parsed(&a, str_of(cases[i].json)), cases[i].tag);
        if (el == NULL || el->vr != cases[i].vr || !bytes_eq(el->value, str_bytes(cases[i].want))) {
            fail_msg("%s", cases[i].what);
        }
    }
}

static void sequences_are_read(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = parsed(
        &a,
        STR("{\"00400100\":{\"Value\":[{\"00400001\":{\"vr\":\"AE\",\"Value\":[\"CT1\"]},"
            "\"00400008\":{\"vr\":\"SQ\",\"Value\":[{}]}},null],\"vr\":\"SQ\"},"
            "\"00401001\":{\"vr\":\"SH\",\"Value\":[\"\u00E9\"]},\"00081110\":{\"vr\":\"SQ\"}}"));
    const struct elem *el = dset_find(d, TAG(0x0040, 0x0100));
    assert_int_equal(el->n_items, 2);
    assert_ptr_equal(el->items[0]->parent, d);
    assert_true(str_eq(dset_str(el->items[0], TAG(0x0040, 0x0001)), STR("CT1")));
    assert_int_equal(dset_find(el->items[0], TAG(0x0040, 0x0008))->n_items, 1);
    assert_int_equal(el->items[1]->n, 0);
    assert_int_equal(dset_find(d, TAG(0x0008, 0x1110))->n_items, 0);
    assert_true(str_eq(dset_text(d, TAG(0x0040, 0x1001)), STR("\u00E9")));
}

static void broken_json_is_refused(void **state)
{
    (void)state;
#define LO(value) "{\"00100020\":{\"vr\":\"LO\",\"Value\":[" value "]}}"
#define US(value) "{\"00280010\":{\"vr\":\"US\",\"Value\":[" value "]}}"

    static const struct {
        const char *what, *json;
    } cases[] = {
        {"nothing", ""},
        {"spaces", "  "},
        {"no object", "[]"},
        {"a number", "1"},
        {"null", "null"},
        {"open", "{"},
        {"comma alone", "{,}"},
        {"comma at the end", "{\"00100020\":{\"vr\":\"LO\"},}"},
        {"no colon", "{\"00100020\" {}}"},
        {"two objects", "{}{}"},
        {"text after", "{} x"},
        {"a tag that is a word", "{\"PatientID\":{\"vr\":\"LO\"}}"},
        {"a short tag", "{\"0010002\":{\"vr\":\"LO\"}}"},
        {"a tag of other letters", "{\"0010002G\":{\"vr\":\"LO\"}}"},
        {"a tag twice", "{\"00100020\":{\"vr\":\"LO\"},\"00100020\":{\"vr\":\"LO\"}}"},
        {"an attribute that is a string", "{\"00100020\":\"x\"}"},
        {"an attribute that is null", "{\"00100020\":null}"},
        {"unknown vr", "{\"00100020\":{\"vr\":\"ZZ\"}}"},
        {"long vr", "{\"00100020\":{\"vr\":\"LO \"}}"},
        {"vr that is a number", "{\"00100020\":{\"vr\":1}}"},
        {"two values",
         "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"\",\"BulkDataURI\":\"x\"}}"},
        {"Value that is a string", "{\"00100020\":{\"vr\":\"LO\",\"Value\":\"x\"}}"},
        {"string without an end", LO("\"x")},
        {"string ends in an escape", "{\"00100020\":{\"vr\":\"LO\",\"Value\":[\"x\\"},
        {"control character", LO("\"\n\"")},
        {"unknown escape", LO("\"\\x\"")},
        {"short \\u", LO("\"\\u12\"")},
        {"\\u of other letters", LO("\"\\u12G4\"")},
        {"second \\u is broken", LO("\"\\ud83d\\uZZZZ\"")},
        {"single quotation marks", LO("'x'")},
        {"word", LO("nul")},
        {"truth", LO("true")},
        {"list in a list", LO("[\"x\"]")},
        {"object for a text", LO("{}")},
        {"no comma", LO("\"x\" \"y\"")},
        {"comma behind", LO("\"x\",")},
        {"number with a zero in front", US("01")},
        {"number with a plus", US("+1")},
        {"number with a point", US("1.")},
        {"number without a whole part", US(".5")},
        {"number without an exponent", US("1e")},
        {"hexadecimal", US("0x1")},
        {"not a number", US("NaN")},
        {"too large", US("65536")},
        {"negative", US("-1")},
        {"fraction", US("1.5")},
        {"a word", US("\"x\"")},
        {"a number after null", US("null,1")},
        {"signed too small", "{\"00280010\":{\"vr\":\"SS\",\"Value\":[-32769]}}"},
        {"unsigned very long too large",
         "{\"00280010\":{\"vr\":\"UV\",\"Value\":[\"18446744073709551616\"]}}"},
        {"float too large", "{\"00280010\":{\"vr\":\"FL\",\"Value\":[1e39]}}"},
        {"double too large", "{\"00280010\":{\"vr\":\"FD\",\"Value\":[1e309]}}"},
        {"decimal too large", "{\"00180050\":{\"vr\":\"DS\",\"Value\":[1e309]}}"},
        {"tag too short", "{\"00280009\":{\"vr\":\"AT\",\"Value\":[\"0028000\"]}}"},
        {"tag as a number", "{\"00280009\":{\"vr\":\"AT\",\"Value\":[1]}}"},
        {"name as a number", "{\"00100010\":{\"vr\":\"PN\",\"Value\":[1]}}"},
        {"name as a list", "{\"00100010\":{\"vr\":\"PN\",\"Value\":[[]]}}"},
        {"bytes as Value", "{\"00091001\":{\"vr\":\"OB\",\"Value\":[1]}}"},
        {"base64 of other letters", "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"YW!=\"}}"},
        {"base64 of one letter", "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":\"Y\"}}"},
        {"base64 as a number", "{\"00091001\":{\"vr\":\"OB\",\"InlineBinary\":1}}"},
        {"base64 for a sequence", "{\"00081110\":{\"vr\":\"SQ\",\"InlineBinary\":\"YWI=\"}}"},
        {"item as a string", "{\"00081110\":{\"vr\":\"SQ\",\"Value\":[\"x\"]}}"},
        {"item open", "{\"00081110\":{\"vr\":\"SQ\",\"Value\":[{]}}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset  *d = NULL;
        struct errmsg e = {0};
        enum err      rc = dsjson_parse(str_of(cases[i].json), &a, &d, &e);
        if (rc != ERR_SYNTAX || e.code != ERR_SYNTAX || d != NULL) {
            fail_msg("%s: %s %s", cases[i].what, err_name(rc), e.text);
        }
    }
}

/* Every text cut short is refused, with any byte of it as the last. */
static void cut_json_is_refused(void **state)
{
    (void)state;
    static const char whole[] = "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR "
                                "192\"]},\"00100010\":{\"Value\":[{\"Alphabetic\":"
                                "\"\\ud83d\\ude00\",\"x\":[1.5e+3,true,null]}],\"vr\":\"PN\"},"
                                "\"00081110\":{\"vr\":\"SQ\",\"Value\":"
                                "[{\"00280010\":{\"vr\":\"US\",\"Value\":[1]}}]},\"00091001\":{"
                                "\"vr\":\"OB\",\"InlineBinary\":\"YWI=\"}}";
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset *d = NULL;
        char        *copy = test_malloc(n + 1); // so that ASan sees the edge
        memcpy(copy, whole, n);
        if (dsjson_parse((struct str){copy, n}, &a, &d, NULL) != ERR_SYNTAX) {
            fail_msg("%zu bytes", n);
        }
        test_free(copy);
    }
}

static void add_many(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_str(b, str_of(s));
    }
}

static void depth_is_a_limit(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct dset *d = NULL;
    add_many(&b, "{\"0040A730\":{\"vr\":\"SQ\",\"Value\":[", LIMIT_SQ_DEPTH + 1);
    add_many(&b, "{}", 1);
    add_many(&b, "]}}", LIMIT_SQ_DEPTH + 1);
    assert_int_equal(dsjson_parse((struct str){(char *)b.ptr, b.len}, &a, &d, NULL), ERR_LIMIT);
    buf_clear(&b);
    add_many(&b, "{\"0040A730\":{\"x\":", 1);
    add_many(&b, "[", 100000);
    assert_int_equal(dsjson_parse((struct str){(char *)b.ptr, b.len}, &a, &d, NULL), ERR_LIMIT);
}

static void a_full_arena_is_a_limit(void **state)
{
    (void)state;
    struct str json = STR(LO("\"abcdefgh\",\"\u00E9\""));
    enum err   rc = ERR_LIMIT;
    for (size_t cap = 0; rc != ERR_OK; cap += 16) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, cap);
        struct dset *d = NULL;
        rc = dsjson_parse(json, &a, &d, NULL);
        assert_true((rc == ERR_LIMIT && d == NULL && cap < 10000) || rc == ERR_OK);
    }
}

static void a_full_buffer_is_a_limit(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset *d = dset_new(&a), *item = NULL;
    put(d, PRIVATE, VR_OB, STR("abc"));
    put(d, TAG(0x0010, 0x0010), VR_PN, STR("A=B"));
    put(d, TAG(0x0018, 0x0050), VR_DS, STR("1.5"));
    assert_int_equal(dset_put_item(d, TAG(0x0040, 0x9096), &item), ERR_OK);
    put(item, TAG(0x7FE0, 0x0010), VR_OB, STR("abcdef"));
    struct json_opts o = {.bulk_prefix = STR("/"), .inline_max = 4};
    enum err         rc = ERR_LIMIT;
    for (size_t max = 0; rc != ERR_OK; max++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, max);
        struct jsonw w;
        jsonw_init(&w, &b);
        rc = dsjson_write(d, &o, &w, NULL);
        assert_true((rc == ERR_LIMIT && max < 10000) || rc == ERR_OK);
    }
}

static void lists_are_read(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 1 << 20);
    arena_init(&a, 1 << 20);
    struct dset **list = NULL;
    size_t        n = 9;
    assert_int_equal(dsjson_parse_list(STR(" [ ] "), &a, &list, &n, NULL), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(dsjson_parse_list(STR("{\"00100020\":{\"vr\":\"LO\"}}"), &a, &list, &n, NULL),
                     ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(list[0]->n, 1);
    add_many(&b, "[", 1);
    for (size_t i = 0; i < 100; i++) {
        buf_fmt(&b, "%s{\"00280010\":{\"vr\":\"US\",\"Value\":[%zu]}}", i > 0 ? "," : "", i);
    }
    add_many(&b, "]", 1);
    assert_int_equal(dsjson_parse_list((struct str){(char *)b.ptr, b.len}, &a, &list, &n, NULL),
                     ERR_OK);
    assert_int_equal(n, 100);
    for (size_t i = 0; i < n; i++) {
        uint16_t v = 0;
        assert_true(dset_u16(list[i], TAG(0x0028, 0x0010), &v) && v == i);
    }
    static const char *const bad[] = {"",       "[",   "[{}",   "[{},", "[{},]",
                                      "[{}{}]", "[1]", "[{}]]", "[]{}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (dsjson_parse_list(str_of(bad[i]), &a, &list, &n, NULL) != ERR_SYNTAX) {
            fail_msg("%s", bad[i]);
        }
    }
}

/* ---- speed -------------------------------------------------------------------------------- */

static struct dset *typical_image(struct arena *a)
{
    struct dset *d = dset_new(a);
    put(d, 0x00080005, VR_CS, STR("ISO_IR 100"));
    for (uint32_t i = 0; i < 12; i++) {
        put(d, 0x00081000 + i, VR_LO, STR("Some description"));
        put(d, 0x00181000 + i, VR_DS, STR("1.5\\-0.250000"));
        put(d, 0x00200100 + i, VR_IS, STR("123 "));
        put(d, 0x00281000 + i, VR_US, STR("\0\2"));
    }
    put(d, 0x00080018, VR_UI, STR("1.2.826.0.1.3680043.8.498.13592916866760227856872573295\0"));
    put(d, 0x00080020, VR_DA, STR("20240705"));
    put(d, 0x00080030, VR_TM, STR("101530.123456"));
    put(d, 0x00080060, VR_CS, STR("CT"));
    put(d, 0x00100010, VR_PN, STR("LEF\xC8VRE^H\xC9L\xC8NE "));
    put(d, 0x00200032, VR_DS, STR("-158.135803\\-179.035797\\-75.699997 "));
    put(d, 0x00200037, VR_DS, STR("1.000000\\0.000000\\0.000000\\0.000000\\1.000000\\0.000000"));
    put(d, 0x00189305, VR_FD, STR("\x9A\x99\x99\x99\x99\x99\xB9\x3F"));
    struct dset *item = NULL;
    assert_int_equal(dset_put_item(d, 0x00081140, &item), ERR_OK);
    put(item, 0x00081150, VR_UI, STR("1.2.840.10008.5.1.4.1.1.2\0"));
    put(item, 0x00081155, VR_UI, STR("1.2.826.0.1.3680043.8.498.1359291686676022785687257\0"));
    return d;
}

static void a_thousand_images_are_written_in_no_time(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf     b;
    CLEANUP(arena_done) struct arena a;
    buf_init(&b, 64 << 20);
    arena_init(&a, 64 << 20);
    struct dset     *d = typical_image(&a);
    struct json_opts o = {.bulk_prefix = STR("/bulk/")};
    struct jsonw     w;
    jsonw_init(&w, &b);
    int64_t from = clock_mono_ns();
    jsonw_arr(&w);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(dsjson_write(d, &o, &w, NULL), ERR_OK);
    }
    jsonw_arr_end(&w);
    int64_t       took = clock_mono_ns() - from;
    struct dset **list = NULL;
    size_t        n = 0;
    from = clock_mono_ns();
    assert_int_equal(dsjson_parse_list((struct str){(char *)b.ptr, b.len}, &a, &list, &n, NULL),
                     ERR_OK);
    int64_t read = clock_mono_ns() - from;
    print_message("%zu attributes 1000 times, %zu bytes: written in %.1f ms, read in %.1f ms\n",
                  d->n + 2, b.len, (double)took / 1e6, (double)read / 1e6);
    assert_int_equal(n, 1000);
    assert_true(took < 2000000000); // tens of milliseconds, but sanitizers and busy machines
}

/* ---- a converter for the oracles of tests/e2e/dicom_json.py
 * --------------------------------------- */

static int to_json(struct bytes file)
{
    struct arena a;
    struct buf   b;
    arena_init(&a, (size_t)1 << 30);
    buf_init(&b, (size_t)1 << 30);
    struct dsrc        src = dsrc_of_bytes(&file);
    struct parse_opts  opts = {.lenient = LENIENT_ALL & ~LENIENT_SWITCHED}; // it guesses
    struct part10_meta meta;
    struct dset       *d = NULL;
    struct errmsg      e = {0};
    struct jsonw       w;
    struct json_opts   o = {.bulk_prefix = STR("bulk:")};
    jsonw_init(&w, &b);
    enum err rc = part10_read(&src, &opts, &a, &meta, &d, &e);
    rc = rc == ERR_OK ? dsjson_write(d, &o, &w, &e) : rc;
    if (rc != ERR_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    if (b.len > 0) {
        (void)fwrite(b.ptr, 1, b.len, stdout);
    }
    buf_done(&b);
    arena_done(&a);
    return rc == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void forget_links(struct dset *d)
{
    for (size_t i = 0; i < d->n; i++) {
        struct elem *el = &d->elems[i];
        el->value = el->left_out ? (struct bytes){0} : el->value;
        el->left_out = false;
        for (size_t k = 0; k < d->elems[i].n_items; k++) {
            forget_links(d->elems[i].items[k]);
        }
    }
}

/* A Part 10 file in explicit little endian; what was BulkDataURI is empty. */
static int from_json(struct bytes file)
{
    struct arena a;
    struct buf   b;
    arena_init(&a, (size_t)1 << 30);
    buf_init(&b, (size_t)1 << 30);
    struct str    json = {0};
    struct dset  *d = NULL;
    struct errmsg e = {0};
    enum err      rc = utf8_check(file, &json) ? dsjson_parse(json, &a, &d, &e) : ERR_SYNTAX;
    if (rc == ERR_OK) {
        forget_links(d);
    }
    struct part10_meta meta = {.class_uid = STR("1.2.840.10008.5.1.4.1.1.7"),
                               .sop_uid = STR("1.2.3"),
                               .syntax_uid = str_of(SYNTAX_EXPLICIT.uid),
                               .syntax = &SYNTAX_EXPLICIT};
    rc = rc == ERR_OK ? part10_write(&meta, &b, &e) : rc;
    rc = rc == ERR_OK ? dset_write(d, &SYNTAX_EXPLICIT, false, &b, &e) : rc;
    if (rc != ERR_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    if (b.len > 0) {
        (void)fwrite(b.ptr, 1, b.len, stdout);
    }
    buf_done(&b);
    arena_done(&a);
    return rc == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int convert(const char *how, const char *path)
{
    struct buf b;
    FILE      *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    buf_init(&b, (size_t)1 << 30);
    for (size_t n = 1; n > 0;) {
        uint8_t part[4096];
        n = fread(part, 1, sizeof(part), f);
        buf_add(&b, (struct bytes){part, n});
    }
    (void)fclose(f);
    struct bytes file = {b.ptr, b.len};
    int          rc = str_eq(str_of(how), STR("to-json")) ? to_json(file) : from_json(file);
    buf_done(&b);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return convert(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_written_and_read_back),
        cmocka_unit_test(texts_become_utf8),
        cmocka_unit_test(items_of_another_charset_are_recoded_too),
        cmocka_unit_test(long_values_become_links),
        cmocka_unit_test(deep_items_are_written_up_to_the_limit),
        cmocka_unit_test(foreign_json_is_understood),
        cmocka_unit_test(sequences_are_read),
        cmocka_unit_test(broken_json_is_refused),
        cmocka_unit_test(cut_json_is_refused),
        cmocka_unit_test(depth_is_a_limit),
        cmocka_unit_test(a_full_arena_is_a_limit),
        cmocka_unit_test(a_full_buffer_is_a_limit),
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(a_thousand_images_are_written_in_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
