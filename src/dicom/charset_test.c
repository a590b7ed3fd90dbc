#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/num.h"
#include "dicom/charset.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct bytes raw(const char *z)
{
    return str_bytes(str_of(z));
}

static bool is_text(const struct buf *b, const char *want)
{
    return bytes_eq((struct bytes){b->ptr, b->len}, raw(want));
}

/* The worked examples of PS3.5 annexes H, I, J and K, and PS3.5 6.1.2 in other scripts: each is
 * read, and written exactly so. */
static const struct {
    const char *what, *specific;
    enum vr     vr;
    const char *raw, *text;
} both_ways[] = {
    {"H.3.1", "\\ISO 2022 IR 87", VR_PN,
     "Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
     "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    {"H.3.2", "ISO 2022 IR 13\\ISO 2022 IR 87", VR_PN,
     "\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J="
     "\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J",
     "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"},
    {"I.2", "\\ISO 2022 IR 149", VR_PN,
     "Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7="
     "\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
     "Hong^Gildong=洪^吉洞=홍^길동"},
    {"I.3", "\\ISO 2022 IR 149", VR_LT,
     "The \x1B$)C\xB1\xE6\xB5\xBF in Hong.\r\nA \x1B$)C\xC8\xAB.", "The 길동 in Hong.\r\nA 홍."},
    {"J.1", "ISO_IR 192", VR_PN, "Wang^XiaoDong=王^小东=", "Wang^XiaoDong=王^小东="},
    {"J.3", "GB18030", VR_PN, "Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=", "Wang^XiaoDong=王^小东="},
    {"J.4", "GBK", VR_PN, "Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=", "Wang^XiaoDong=王^小东="},
    {"K.2", "\\ISO 2022 IR 58", VR_PN,
     "Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB=", "Zhang^XiaoDong=张^小东="},
    {"K.3", "\\ISO 2022 IR 58", VR_LT,
     "1. \x1B$)A\xB5\xDA\xD2\xBB\xD0\xD0\r\n2. \x1B$)A\xB5\xDA\xB6\xFE\xD0\xD0",
     "1. 第一行\r\n2. 第二行"},
    {"supplementary JIS", "\\ISO 2022 IR 159", VR_LO, "\x1B$(D\x30\x21\x1B(B x", "丂 x"},
    {"two Japanese sets", "\\ISO 2022 IR 87\\ISO 2022 IR 159", VR_LO,
     "\x1B$B;3\x1B$(D\x30\x21\x1B(B", "山丂"},
    {"default", "", VR_PN, "Doe^John", "Doe^John"},
    {"Latin-1", "ISO_IR 100", VR_PN, "Lef\xE8vre^Ana\xEFs", "Lefèvre^Anaïs"},
    {"Latin-9", "ISO_IR 203", VR_PN, "C\xBDur^Jean \xA4", "Cœur^Jean €"},
    {"Latin-2", "ISO_IR 101", VR_PN, "\xB3\xF3\xBC", "łóź"},
    {"Latin-3", "ISO_IR 109", VR_PN, "\xB1\xF8", "ħĝ"},
    {"Latin-4", "ISO_IR 110", VR_PN, "\xBF\xE0", "ŋā"},
    {"Cyrillic", "ISO_IR 144", VR_PN,
     "\xBB\xEE\xDA"
     "ce\xDC\xD1yp\xD3",
     "Люкceмбypг"},
    {"Arabic", "ISO_IR 127", VR_PN, "\xE2\xC8\xC7\xE6\xEA^\xE4\xE6\xD2\xC7\xD1", "قباني^لنزار"},
    {"Greek", "ISO_IR 126", VR_PN, "\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2", "Διονυσιος"},
    {"Hebrew", "ISO_IR 138", VR_PN, "\xF9\xF8\xE5\xEF^\xE3\xE1\xE5\xF8\xE4", "שרון^דבורה"},
    {"Latin-5", "ISO_IR 148", VR_PN,
     "\xC7"
     "avu\xFEo\xF0lu",
     "Çavuşoğlu"},
    {"Thai", "ISO_IR 166", VR_PN, "\xB9\xD2\xC1", "นาม"},
    {"Katakana", "ISO_IR 13", VR_PN, "\xD4\xCF\xC0\xDE^\xC0\xDB\xB3", "ﾔﾏﾀﾞ^ﾀﾛｳ"},
    {"yen in a text", "ISO_IR 13", VR_LT, "\\100~", "¥100‾"},
    {"values under a yen", "ISO_IR 13", VR_LO, "a\\b", "a\\b"},
    {"UTF-8", "ISO_IR 192", VR_LO, "Ωé\\𝄞", "Ωé\\𝄞"},
    {"two scripts", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_PN, "\xE9\x1B-F\xE1\x1B-A^\xE9", "éα^é"},
    {"Cyrillic beside the default", "\\ISO 2022 IR 144", VR_LO, "A \x1B-L\xBB\xEE\\b", "A Лю\\b"},
    {"GB18030 of four bytes", "GB18030", VR_LO, "\x81\x30\x81\x30\\\x81\x5C", "\xC2\x80\\乗"},
};

static void examples_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(both_ways); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        charset_decode(raw(both_ways[i].specific), both_ways[i].vr, raw(both_ways[i].raw), &b);
        if (!is_text(&b, both_ways[i].text)) {
            fail_msg("%s: %.*s", both_ways[i].what, (int)b.len, (const char *)b.ptr);
        }
        assert_true(is_charset_known(raw(both_ways[i].specific)));
    }
}

static void examples_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(both_ways); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        bool all = charset_encode(raw(both_ways[i].specific), both_ways[i].vr,
                                  str_of(both_ways[i].text), &b);
        if (!all || !is_text(&b, both_ways[i].raw)) {
            fail_msg("%s: %.*s", both_ways[i].what, (int)b.len, (const char *)b.ptr);
        }
    }
}

/* What devices send and the standard does not foresee. */
static void deviations_are_read(void **state)
{
    (void)state;

    static const struct {
        const char *what, *specific;
        enum vr     vr;
        const char *raw, *text;
    } cases[] = {
        {"padding and case", "iso_ir 100 ", VR_LO, "\xE9", "é"},
        {"blanks", "ISO IR 100", VR_LO, "\xE9", "é"},
        {"hyphen", "ISO-IR 144", VR_LO, "\xD0", "а"},
        {"no blank", "ISO_IR192", VR_LO, "é", "é"},
        {"plain name", "UTF-8", VR_LO, "é", "é"},
        {"2022 term alone", "ISO 2022 IR 100", VR_LO, "\xE9", "é"},
        {"multi-byte term alone", "ISO 2022 IR 149", VR_LO, "\xC8\xAB", "홍"},
        {"not designated again", "\\ISO 2022 IR 149", VR_PN, "\x1B$)C\xFB\xF3^\xD1\xCE", "洪^吉"},
        {"GB2312 as a name", "GB2312", VR_LO, "\xCD\xF5", "王"},
        {"8859", "ISO8859-15", VR_LO, "\xA4", "€"},
        {"unknown, Latin-1", "FOO", VR_LO, "\xE9t\xE9", "été"},
        {"unknown, UTF-8", "FOO", VR_LO, "été", "été"},
        {"nothing said, Latin-1", "", VR_LO, "No\xEBl", "Noël"},
        {"nothing said, UTF-8", "", VR_LO, "Noël", "Noël"},
        {"UTF-8 beside others", "ISO_IR 100\\ISO_IR 192", VR_LO, "Noël \xE9", "Noël é"},
        {"Windows apostrophe", "ISO_IR 100", VR_LO, "l\x92\x9Cil", "l’œil"},
        {"Windows, unassigned", "ISO_IR 100", VR_LO, "\x81", "\uFFFD"},
        {"old JIS", "\\ISO 2022 IR 87", VR_LO, "\x1B$@;3\x1B(B", "山"},
        {"Katakana in G0", "\\ISO 2022 IR 13", VR_LO, "\x1B(I\x54\x4F\x1B(B.", "ﾔﾏ."},
        {"escape in a plain set", "ISO_IR 100", VR_LO, "\x1B-F\xE1", "α"},
        {"unknown escape", "\\ISO 2022 IR 87", VR_LO, "\x1B$Zx", "\uFFFD$Zx"},
        {"cut escape", "\\ISO 2022 IR 87", VR_LO, "x\x1B", "x\uFFFD"},
        {"half a character", "\\ISO 2022 IR 87", VR_LO, "\x1B$B;3E", "山\uFFFD"},
        {"half a character, G1", "\\ISO 2022 IR 149", VR_LO, "\x1B$)C\xC8", "\uFFFD"},
        {"no such character", "\\ISO 2022 IR 87", VR_LO, "\x1B$B\x7E\x7E;3\x1B(B", "\uFFFD山"},
        {"no such byte", "ISO_IR 126", VR_LO, "\xFFz", "\uFFFDz"},
        {"bad UTF-8", "ISO_IR 192", VR_LO, "a\xFF", "a\uFFFD"},
        {"bad GB18030", "GB18030", VR_LO,
         "\xCD\xF5\xFF"
         "a",
         "王\uFFFDa"},
        {"cut GB18030", "GB18030", VR_LO, "\xCD\xF5\xCD", "王\uFFFD"},
        {"line end resets", "\\ISO 2022 IR 126", VR_LT, "\x1B-F\xE1\n\xE1", "α\nα"},
        {"line end resets to value 1", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_LT,
         "\x1B-F\xE1\n\xE1", "α\ná"},
        {"tab resets G0", "\\ISO 2022 IR 87", VR_LT, "\x1B$B;3\tEd", "山\tEd"},
        {"caret resets in names", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_PN,
         "\x1B-F\xE1^\xE1=\x1B-F\xE1\xE1", "α^á=αα"},
        {"caret is nothing elsewhere", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_LO, "\x1B-F\xE1^\xE1",
         "α^α"},
        {"backslash resets", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_LO, "\x1B-F\xE1\\\xE1", "α\\á"},
        {"backslash is nothing in long texts", "ISO 2022 IR 100\\ISO 2022 IR 126", VR_UT,
         "\x1B-F\xE1\\\xE1", "α\\α"},
        {"empty", "ISO_IR 100", VR_LO, "", ""},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        charset_decode(raw(cases[i].specific), cases[i].vr, raw(cases[i].raw), &b);
        if (!is_text(&b, cases[i].text)) {
            fail_msg("%s: %.*s", cases[i].what, (int)b.len, (const char *)b.ptr);
        }
    }
}

static void what_a_set_lacks_becomes_a_question_mark(void **state)
{
    (void)state;

    static const struct {
        const char *what, *specific;
        enum vr     vr;
        const char *text, *raw;
    } cases[] = {
        {"default", "", VR_LO, "Noël", "No?l"},
        {"Latin-1", "ISO_IR 100", VR_LO, "œ€é", "??\xE9"},
        {"Latin-9", "ISO_IR 203", VR_LO, "œ€¤", "\xBD\xA4?"},
        {"likeness refused", "ISO_IR 101", VR_LO, "ñ", "?"},
        {"inside two bytes", "\\ISO 2022 IR 87", VR_LO, "山é山", "\x1B$B;3\x1B(B?\x1B$B;3\x1B(B"},
        {"yen among values", "ISO_IR 13", VR_LO, "¥1", "?1"},
        {"yen among values, after Kanji", "ISO 2022 IR 13\\ISO 2022 IR 87", VR_LO, "山¥",
         "\x1B$B;3\x1B(J?"},
        {"backslash under a yen", "ISO_IR 13", VR_LT, "\\", "?"},
        {"escape", "ISO_IR 100", VR_LO, "a\x1B(I", "a?(I"},
        {"GBK", "GBK", VR_LO, "𝄞王", "?\xCD\xF5"},
        {"no designation in a plain set", "ISO_IR 100", VR_LO, "α", "?"},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 4096);
        bool all = charset_encode(raw(cases[i].specific), cases[i].vr, str_of(cases[i].text), &b);
        if (all || !is_text(&b, cases[i].raw)) {
            fail_msg("%s: %.*s", cases[i].what, (int)b.len, (const char *)b.ptr);
        }
    }
}

static void values_are_split_by_character(void **state)
{
    (void)state;

    static const struct {
        const char *what, *specific;
        enum vr     vr;
        const char *raw;
        size_t      n;
        const char *second;
    } cases[] = {
        {"plain", "", VR_LO, "a\\b\\c", 3, "b"},
        {"none", "", VR_LO, "", 0, NULL},
        {"empty ones", "", VR_LO, "\\", 2, ""},
        {"one", "", VR_LO, "a", 1, NULL},
        {"long text", "", VR_LT, "a\\b", 1, NULL},
        {"GB18030", "GB18030", VR_LO, "\x81\x5C\\\x83\x5C", 2, "\x83\x5C"},
        {"GBK", "GBK", VR_LO, "\x81\x5C\\b", 2, "b"},
        {"Kanji", "\\ISO 2022 IR 87", VR_LO, "\x1B$BB\\;3\x1B(B\\b", 2, "b"},
        {"UTF-8", "ISO_IR 192", VR_PN, "é\\^=", 2, "^="},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        struct bytes v = {0};
        size_t       n = 0;
        size_t       at = 0;
        bool         same = true;
        while (charset_next(raw(cases[i].specific), cases[i].vr, raw(cases[i].raw), &at, &v)) {
            n++;
            same = same && (n != 2 || bytes_eq(v, raw(cases[i].second)));
        }
        if (n != cases[i].n || !same) {
            fail_msg("%s: %zu values", cases[i].what, n);
        }
    }
}

static void terms_are_known_or_not(void **state)
{
    (void)state;
    static const char *const known[] = {
        "",           "ISO_IR 6",       "ISO_IR 100",      "ISO_IR 192",       "GB18030",
        "GBK",        "ISO 2022 IR 6",  "ISO 2022 IR 203", "\\ISO 2022 IR 87", "ISO 2022 IR 58",
        "ISO IR 100", "ISO 2022 IR 166"};
    static const char *const unknown[] = {"FOO", "ISO_IR 99", "ISO_IR", "ISO_IR 100\\FOO",
                                          "ISO_IR 1000"};
    for (size_t i = 0; i < LEN(known); i++) {
        assert_true(is_charset_known(raw(known[i])));
    }
    for (size_t i = 0; i < LEN(unknown); i++) {
        assert_false(is_charset_known(raw(unknown[i])));
    }
}

struct whole_set {
    const char *specific, *escape;
    size_t      least; // characters
    uint8_t     lo, hi;
    bool        wide;
};

/* 1 when the character is there and comes back as written, 0 when it is not there. */
static size_t round_trip(const struct whole_set *set, unsigned a, unsigned b)
{
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, 4096);
    CLEANUP(buf_done) struct buf back;
    buf_init(&back, 4096);
    uint8_t in[16];
    size_t  n = strlen(set->escape);
    memcpy(in, set->escape, n);
    in[n++] = (uint8_t)a;
    if (set->wide) {
        in[n++] = (uint8_t)b;
    }
    charset_decode(raw(set->specific), VR_LO, (struct bytes){in, n}, &text);
    if (is_text(&text, "\uFFFD")) {
        return 0;
    }
    struct str s = {(const char *)text.ptr, text.len};
    if (!charset_encode(raw(set->specific), VR_LO, s, &back) || back.len < n ||
        memcmp(back.ptr, in, n) != 0) {
        fail_msg("%s: %02X %02X", set->specific, a, b);
    }
    return 1;
}

/* Every byte of every set of one byte, and every pair of those of two, is read back as written. */
static void all_characters_make_the_round_trip(void **state)
{
    (void)state;

    static const struct whole_set sets[] = {
        {"ISO_IR 100", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 101", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 109", "", 89, 0xA0, 0xFF, false},
        {"ISO_IR 110", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 126", "", 90, 0xA0, 0xFF, false},
        {"ISO_IR 127", "", 51, 0xA0, 0xFF, false},
        {"ISO_IR 138", "", 60, 0xA0, 0xFF, false},
        {"ISO_IR 144", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 148", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 166", "", 87, 0xA0, 0xFF, false},
        {"ISO_IR 203", "", 96, 0xA0, 0xFF, false},
        {"ISO_IR 13", "", 63, 0xA1, 0xFF, false},
        {"\\ISO 2022 IR 87", "\x1B$B", 6879, 0x21, 0x7E, true},
        {"\\ISO 2022 IR 159", "\x1B$(D", 6067, 0x21, 0x7E, true},
        {"\\ISO 2022 IR 149", "\x1B$)C", 8224, 0xA1, 0xFE, true},
        {"\\ISO 2022 IR 58", "\x1B$)A", 7445, 0xA1, 0xFE, true},
    };

    for (size_t i = 0; i < LEN(sets); i++) {
        size_t found = 0;
        for (unsigned a = sets[i].lo; a <= sets[i].hi; a++) {
            for (unsigned b = sets[i].lo; b <= (sets[i].wide ? sets[i].hi : sets[i].lo); b++) {
                found += round_trip(&sets[i], a, b);
            }
        }
        if (found < sets[i].least) {
            fail_msg("%s: %zu characters", sets[i].specific, found);
        }
    }
}

static void what_would_be_read_as_utf8_is_not_sayable_beside_it(void **state)
{
    (void)state;

    static const struct {
        const char *specific;
        const char *text;
        const char *want;
        bool        all;
    } cases[] = {
        {"ISO 2022 IR 13\\UNKNOWN", "\uFF93\uFF68", "??", false},
        {"ISO_IR 100\\ISO_IR 192", "Ã©", "??", false},
        {"ISO_IR 100\\ISO_IR 192", "ÉT", "\xC9T", true},
        {"ISO_IR 100", "Ã©", "\xC3\xA9", true},
        {"ISO_IR 100\\ISO_IR 192", "", "", true},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 100);
        buf_str(&b, STR("-"));
        struct str text = str_of(cases[i].text);
        assert_int_equal(charset_encode(raw(cases[i].specific), VR_LO, text, &b), cases[i].all);
        assert_int_equal(b.err, ERR_OK);
        assert_int_equal(b.len, 1 + strlen(cases[i].want));
        assert_memory_equal(b.ptr + 1, cases[i].want, b.len - 1);
    }
}

static void the_limit_of_the_buffer_is_kept(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 3);
    charset_decode(raw("GB18030"), VR_LO, raw("\xCD\xF5\xCD\xF5"), &b);
    assert_int_equal(b.err, ERR_LIMIT);
    buf_clear(&b);
    (void)charset_encode(raw("\\ISO 2022 IR 87"), VR_LO, STR("山"), &b);
    assert_int_equal(b.err, ERR_LIMIT);
}

/* For tests/e2e/charset.py: lines "specific vr value", the first and last in hexadecimal ("-" for
 * nothing), are answered by the decoded text in hexadecimal. */
static size_t unhex(const char *text, uint8_t *to, size_t room)
{
    size_t n = 0;
    for (uint64_t b; n < room && parse_u64_base((struct str){text, strnlen(text, 2)}, 16, &b);
         n++) {
        to[n] = (uint8_t)b;
        text += 2;
    }
    return n;
}

static int answer_lines(void)
{
    static char    line[1 << 17];
    static uint8_t specific[256];
    static uint8_t value[1 << 16];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char       *rest = NULL;
        const char *a = strtok_r(line, " \n", &rest);
        const char *vr = strtok_r(NULL, " \n", &rest);
        const char *b = strtok_r(NULL, " \n", &rest);
        if (a == NULL || vr == NULL || b == NULL) {
            return EXIT_FAILURE;
        }
        struct bytes                 s = {specific, unhex(a, specific, sizeof(specific))};
        struct bytes                 v = {value, unhex(b, value, sizeof(value))};
        CLEANUP(buf_done) struct buf out;
        buf_init(&out, 1 << 20);
        charset_decode(s, vr_parse((uint8_t)vr[0], (uint8_t)vr[1]), v, &out);
        for (size_t i = 0; i < out.len; i++) {
            (void)printf("%02x", out.ptr[i]);
        }
        (void)printf("\n");
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "decode") == 0) {
        return answer_lines();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_read),
        cmocka_unit_test(examples_are_written),
        cmocka_unit_test(deviations_are_read),
        cmocka_unit_test(what_a_set_lacks_becomes_a_question_mark),
        cmocka_unit_test(values_are_split_by_character),
        cmocka_unit_test(terms_are_known_or_not),
        cmocka_unit_test(all_characters_make_the_round_trip),
        cmocka_unit_test(what_would_be_read_as_utf8_is_not_sayable_beside_it),
        cmocka_unit_test(the_limit_of_the_buffer_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
