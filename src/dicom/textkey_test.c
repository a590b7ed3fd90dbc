#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "dicom/match.h"

static struct str key(struct buf *b, enum vr vr, const char *text)
{
    struct bytes v = {0};
    struct str   s = {0};
    buf_clear(b);
    text_key(b, vr, str_of(text));
    assert_int_equal(buf_end(b, &v), ERR_OK);
    assert_true(utf8_check(v, &s));
    return s;
}

static void keys_fold_what_people_type_differently(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        enum vr     vr;
        const char *in, *want;
    } cases[] = {
        {"empty", VR_PN, "", ""},
        {"spaces alone", VR_PN, "   ", ""},
        {"delimiters alone", VR_PN, "^^^=^=", ""},
        {"case", VR_PN, "DUPONT^Jean", "dupont^jean"},
        {"trailing carets", VR_PN, "DUPONT^JEAN^^^", "dupont^jean"},
        {"trailing carets and spaces", VR_PN, "DUPONT^JEAN ^ ^", "dupont^jean"},
        {"carets in front stay", VR_PN, "^JEAN", "^jean"},
        {"carets inside stay", VR_PN, "DUPONT^^MARIE", "dupont^^marie"},
        {"spaces around delimiters", VR_PN, " DUPONT  ^  JEAN  MARIE ", "dupont^jean marie"},
        {"hyphen is a space in names", VR_PN, "DUPONT-MARTIN^Jean-Pierre",
         "dupont martin^jean pierre"},
        {"double hyphen of two surnames", VR_PN, "DUPONT--MARTIN", "dupont martin"},
        {"unbreakable hyphen", VR_PN, "Jean\u2011Pierre", "jean pierre"},
        {"apostrophe", VR_PN, "D'ARTAGNAN", "d artagnan"},
        {"curly apostrophe", VR_PN, "d\u2019Artagnan", "d artagnan"},
        {"modifier apostrophe", VR_PN, "d\u02BCArtagnan", "d artagnan"},
        {"no-break space", VR_PN, "LE\u00A0GOFF", "le goff"},
        {"French accents", VR_PN, "\u00C9LO\u00CFSE^Fran\u00E7ois", "eloise^francois"},
        {"decomposed accents", VR_PN, "E\u0301LOI\u0308SE", "eloise"},
        {"oe ligature", VR_PN, "LEB\u0152UF", "leboeuf"},
        {"ae ligature", VR_PN, "\u00C6gir", "aegir"},
        {"sharp s", VR_PN, "Wei\u00DF", "weiss"},
        {"capital sharp s", VR_PN, "WEI\u1E9E", "weiss"},
        {"umlaut", VR_PN, "M\u00FCLLER", "muller"},
        {"Nordic", VR_PN, "\u00C5NGSTR\u00D6M^S\u00F8ren", "angstrom^soren"},
        {"Icelandic", VR_PN, "\u00DE\u00F3r\u00F0ur", "thordur"},
        {"Polish", VR_PN, "WA\u0141\u0118SA", "walesa"},
        {"Czech", VR_PN, "Dvo\u0159\u00E1k", "dvorak"},
        {"Croatian", VR_PN, "\u0110or\u0111evi\u0107", "dordevic"},
        {"Turkish dotted I", VR_PN, "\u0130stanbul", "istanbul"},
        {"Turkish dotless i", VR_PN, "Y\u0131lmaz", "yilmaz"},
        {"Vietnamese", VR_PN, "NGUY\u1EC4N", "nguyen"},
        {"Romanian comma below", VR_PN, "\u0218tefan", "stefan"},
        {"fi ligature", VR_PN, "Of\uFB01ce", "office"},
        {"full width", VR_PN, "\uFF34\uFF21\uFF2E\uFF21\uFF2B\uFF21", "tanaka"},
        {"full-width wildcard is a letter", VR_PN, "A\uFF0A", "a\uFF0A"},
        {"full-width equals is a letter", VR_PN, "A\uFF1DB", "a\uFF1Db"},
        {"Greek", VR_PN, "\u0399\u03A9\u0391\u039D\u039D\u0397\u03A3",
         "\u03B9\u03C9\u03B1\u03BD\u03BD\u03B7\u03C3"},
        {"Greek final sigma and tonos", VR_PN, "\u0399\u03C9\u03AC\u03BD\u03BD\u03B7\u03C2",
         "\u03B9\u03C9\u03B1\u03BD\u03BD\u03B7\u03C3"},
        {"Cyrillic", VR_PN, "\u041B\u042E\u041A\u0421\u0415\u041C\u0411\u0423\u0420\u0413",
         "\u043B\u044E\u043A\u0441\u0435\u043C\u0431\u0443\u0440\u0433"},
        {"Cyrillic yo", VR_PN, "\u0401\u043B\u043A\u0438\u043D", "\u0435\u043B\u043A\u0438\u043D"},
        {"Hebrew points", VR_PN, "\u05E9\u05C1\u05B8\u05DC\u05D5\u05B9\u05DD",
         "\u05E9\u05DC\u05D5\u05DD"},
        {"Arabic marks and hamza", VR_PN, "\u0623\u064E\u062D\u0652\u0645\u064E\u062F",
         "\u0627\u062D\u0645\u062F"},
        {"Thai vowels are letters", VR_PN, "\u0E2A\u0E34\u0E23\u0E34", "\u0E2A\u0E34\u0E23\u0E34"},
        {"Devanagari vowels are letters", VR_PN, "\u0915\u0941\u092E", "\u0915\u0941\u092E"},
        {"three groups", VR_PN,
         "Yamada^Tarou=\u5C71\u7530^\u592A\u90CE=\u3084\u307E\u3060^\u305F\u308D\u3046",
         "yamada^tarou=\u5C71\u7530^\u592A\u90CE=\u3084\u307E\u3060^\u305F\u308D\u3046"},
        {"katakana is hiragana", VR_PN, "\u30E4\u30DE\u30C0", "\u3084\u307E\u3060"},
        {"half-width katakana with voice mark", VR_PN, "\uFF94\uFF8F\uFF80\uFF9E",
         "\u3084\u307E\u3060"},
        {"half-voiced mark", VR_PN, "\uFF8A\uFF9F", "\u3071"},
        {"voiced kana are not unvoiced ones", VR_PN, "\u304C", "\u304C"},
        {"decomposed kana", VR_PN, "\u304B\u3099", "\u304C"},
        {"Hangul", VR_PN, "Hong^Gildong=\u6D2A^\u5409\u6D1E=\uD64D^\uAE38\uB3D9",
         "hong^gildong=\u6D2A^\u5409\u6D1E=\uD64D^\uAE38\uB3D9"},
        {"decomposed Hangul", VR_PN, "\u1112\u1169\u11BC\u1100\u1175\u11AF", "\uD64D\uAE38"},
        {"jamo do not join over a delimiter", VR_PN, "\u1112^\u1169", "\u1112^\u1169"},
        {"group missing in front", VR_PN, "=\u5C71\u7530", "=\u5C71\u7530"},
        {"trailing group marks", VR_PN, "Yamada^Tarou==", "yamada^tarou"},
        {"carets before a group mark", VR_PN, "Yamada^^=\u5C71\u7530", "yamada=\u5C71\u7530"},
        {"compatibility ideograph", VR_PN, "\uF900", "\u8C48"},
        {"invisible characters", VR_PN, "\uFEFFDU\u00ADPO\u200BNT", "dupont"},
        {"beyond the first plane", VR_PN, "\U00020BB7\u91CE", "\U00020BB7\u91CE"},
        {"wildcards are kept", VR_PN, "DUP?NT*", "dup?nt*"},
        {"text keeps hyphens", VR_LO, "T-Shirt  \u00C9tude ", "t-shirt etude"},
        {"text keeps carets", VR_LO, "A^B^", "a^b^"},
        {"text dashes are one dash", VR_LO, "CT\u2013Thorax", "ct-thorax"},
        {"text leading space", VR_LT, "  line\r\nnext", "line next"},
    };

    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str k = key(&b, cases[i].vr, cases[i].in);
        if (!str_eq(k, str_of(cases[i].want))) {
            fail_msg("%s: %s gives %.*s", cases[i].what, cases[i].in, STR_ARG(k));
        }
    }
}

/* A key is a stored value too: making it again must not change it. */
static void folding_twice_changes_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text;
    CLEANUP(buf_done) struct buf b;
    CLEANUP(buf_done) struct buf again;
    buf_init(&text, 64);
    buf_init(&b, 4096);
    buf_init(&again, 4096);
    for (uint32_t c = 1; c < 0x20000; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        buf_clear(&text);
        utf8_add(&text, c);
        buf_clear(&b);
        text_key(&b, VR_LO, (struct str){(const char *)text.ptr, text.len});
        buf_clear(&again);
        text_key(&again, VR_LO, (struct str){(const char *)b.ptr, b.len});
        if (b.len != again.len || memcmp(b.ptr, again.ptr, b.len) != 0) {
            fail_msg("U+%04X", (unsigned)c);
        }
    }
}

static void a_nul_is_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    text_key(&b, VR_PN, STR("\0-A\0b\0")); // found by the fuzzer: a space came out in front
    assert_int_equal(b.len, 2);
    assert_memory_equal(b.ptr, "ab", 2);
}

static void key_stops_at_the_limit_of_its_buffer(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 3);
    text_key(&b, VR_PN, STR("DUPONT"));
    struct bytes v;
    assert_int_equal(buf_end(&b, &v), ERR_LIMIT);
}

static void wildcards_match_as_in_the_standard(void **state)
{
    (void)state;

    static const struct {
        const char *what, *pattern, *text;
        bool        want;
    } cases[] = {
        {"nothing and nothing", "", "", true},
        {"nothing and something", "", "a", false},
        {"something and nothing", "a", "", false},
        {"star and nothing", "*", "", true},
        {"star and anything", "*", "abc", true},
        {"two stars", "**", "", true},
        {"question and nothing", "?", "", false},
        {"question and one", "?", "a", true},
        {"question and two", "?", "ab", false},
        {"question is one character", "?", "\u00E9", true},
        {"question is one ideograph", "\u5C71?", "\u5C71\u7530", true},
        {"two questions, one character", "??", "\u00E9", false},
        {"prefix", "ab*", "abc", true},
        {"prefix is all", "ab*", "ab", true},
        {"wrong prefix", "ab*", "acb", false},
        {"suffix", "*bc", "abc", true},
        {"suffix again later", "*bc", "abcbc", true},
        {"wrong suffix", "*bc", "abcd", false},
        {"middle", "a*c", "abbbc", true},
        {"middle, none", "a*c", "ac", true},
        {"overlap is not allowed", "ab*ba", "aba", false},
        {"both", "*b?d*", "abcde", true},
        {"question after star", "a*?", "a", false},
        {"question after star, one", "a*?", "ab", true},
        {"star after question", "?*", "a", true},
        {"case counts here", "A*", "abc", false},
        {"brackets are literal", "[a]*", "[a]b", true},
        {"backslash is literal", "\\*", "\\x", true},
        {"multi-byte after star", "*\u00E9", "caf\u00E9", true},
        {"half a character does not match", "*\u00E9", "caf\u00E8", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (is_wild_match(str_of(cases[i].pattern), str_of(cases[i].text)) != cases[i].want) {
            fail_msg("%s", cases[i].what);
        }
    }
    assert_true(has_wildcard(STR("a*")));
    assert_true(has_wildcard(STR("a?")));
    assert_false(has_wildcard(STR("a%_.")));
    assert_false(has_wildcard(STR("")));
}

static void many_stars_do_not_explode(void **state)
{
    (void)state;
    char text[2001], pattern[201];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (size_t i = 0; i < 200; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    pattern[199] = 'b';
    pattern[200] = '\0';
    assert_false(is_wild_match(str_of(pattern), str_of(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_fold_what_people_type_differently),
        cmocka_unit_test(folding_twice_changes_nothing),
        cmocka_unit_test(a_nul_is_nothing),
        cmocka_unit_test(key_stops_at_the_limit_of_its_buffer),
        cmocka_unit_test(wildcards_match_as_in_the_standard),
        cmocka_unit_test(many_stars_do_not_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
