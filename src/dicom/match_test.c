#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/num.h"
#include "dicom/match.h"

/* Options in a few letters: c combined, a all, e empty, u unknown, f fold, w words, z node at
 * +01:00. */
static struct match_opts opts(const char *letters)
{
    return (struct match_opts){
        .zone_minutes = strchr(letters, 'z') != NULL ? 60 : 0,
        .combined = strchr(letters, 'c') != NULL,
        .all = strchr(letters, 'a') != NULL,
        .empty = strchr(letters, 'e') != NULL,
        .unknown = strchr(letters, 'u') != NULL,
        .fold = strchr(letters, 'f') != NULL,
        .words = strchr(letters, 'w') != NULL,
    };
}

/* "00100010=DUPONT^JEAN|00080020=2024-": an element for each part, nothing for "".  VRs are the
 * dictionary's.  A tag in brackets opens an item of a sequence, a lone bracket closes it:
 * "[00400100|00400002=2024|]". */
static void fill(struct dset *d, const char *text)
{
    while (*text != '\0') {
        const char *end = strchr(text, '|');
        size_t      n = end == NULL ? strlen(text) : (size_t)(end - text);
        uint64_t    tag = 0;
        if (text[0] == ']') {
            d = d->parent;
        } else if (text[0] == '[') {
            assert_true(parse_u64_base((struct str){text + 1, 8}, 16, &tag));
            assert_int_equal(dset_put_item(d, (uint32_t)tag, &d), ERR_OK);
        } else {
            assert_true(parse_u64_base((struct str){text, 8}, 16, &tag));
            struct bytes v = {(const uint8_t *)text + 9, n - 9};
            assert_int_equal(dset_put(d, (uint32_t)tag, dict_vr((uint32_t)tag), v), ERR_OK);
        }
        text += n + (end == NULL ? 0 : 1);
    }
}

struct match_case {
    const char *what, *query, *candidate, *opts;
    bool        want;
};

static void check(const struct match_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset *query = dset_new(&a), *candidate = dset_new(&a);
        fill(query, cases[i].query);
        fill(candidate, cases[i].candidate);
        struct match_opts o = opts(cases[i].opts);
        if (is_match(query, candidate, &o) != cases[i].want) {
            fail_msg("%s", cases[i].what);
        }
    }
}

#define CHECK(cases) check(cases, sizeof(cases) / sizeof((cases)[0]))

static void universal_keys_match_everything(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"no keys", "", "", "", true},
        {"zero length", "00100010=", "00100010=DUPONT", "", true},
        {"zero length, candidate without", "00100010=", "", "", true},
        {"spaces", "00100010=  ", "", "", true},
        {"star", "00100010=*", "", "", true},
        {"star and padding", "00100010=* ", "00100010=X", "", true},
        {"two stars", "00100010=**", "", "", true},
        {"stars in components", "00100010=*^*", "", "", true},
        {"carets alone", "00100010=^^", "", "", true},
        {"star UID", "0020000D=*", "0020000D=1.2.3", "", true},
        {"star date", "00080020=*", "", "", true},
        {"open date", "00080020=-", "", "", true},
        {"star number", "00200013=*", "00200013=5", "", true},
        {"empty values", "00080061=\\", "", "", true},
        {"empty sequence", "[00400100|]", "", "", true},
        {"sequence of universal keys", "[00400100|00400001=|00400002=*|]", "", "", true},
        {"question is not universal", "00100010=?", "", "", false},
        {"star among values is not", "00080061=CT\\*", "", "", false},
        {"a dash is not for texts", "00100020=-", "00100020=1", "", false},
        {"charset is never a key", "00080005=ISO_IR 100", "00080005=ISO_IR 192", "", true},
        {"level is never a key", "00080052=STUDY", "", "", true},
        {"zone is never a key", "00080201=+0200", "00080201=-0500", "", true},
    };
    CHECK(cases);
}

static void single_values_match_exactly(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"same", "00100020=AB1", "00100020=AB1", "", true},
        {"padding of the key", "00100020=AB1 ", "00100020=AB1", "", true},
        {"spaces in front", "00100020= AB1", "00100020=AB1 ", "", true},
        {"other", "00100020=AB1", "00100020=AB2", "", false},
        {"prefix is not enough", "00100020=AB", "00100020=AB1", "", false},
        {"case counts", "00100020=ab1", "00100020=AB1", "", false},
        {"case, when folding", "00100020=ab1", "00100020=AB1", "f", true},
        {"accents count", "00081030=Etude", "00080005=ISO_IR 192|00081030=\u00C9tude", "", false},
        {"accents, when folding", "00081030=etude", "00080005=ISO_IR 192|00081030=\u00C9tude", "f",
         true},
        {"hyphens count, when folding", "00081030=a b", "00081030=A-B", "f", false},
        {"candidate without", "00100020=AB1", "", "", false},
        {"candidate empty", "00100020=AB1", "00100020=", "", false},
        {"candidate of spaces", "00100020=AB1", "00100020=  ", "", false},
        {"candidate unknown, accepted", "00100020=AB1", "00100020=", "u", true},
        {"absent candidate, accepted", "00100020=AB1", "", "u", true},
        {"several keys", "00100020=AB1|00080060=CT", "00100020=AB1|00080060=CT", "", true},
        {"one of several keys fails", "00100020=AB1|00080060=CT", "00100020=AB1|00080060=MR", "",
         false},
        {"code string", "00080060=CT", "00080060=CT", "", true},
        {"code string, case", "00080060=ct", "00080060=CT", "", false},
        {"application entity", "00080054=STORE ", "00080054= STORE", "", true},
        {"age", "00101010=030Y", "00101010=030Y", "", true},
        {"other age", "00101010=030Y", "00101010=030M", "", false},
        {"text keeps spaces in front", "00204000= x", "00204000=x", "", false},
        {"text loses spaces behind", "00204000=x", "00204000=x   ", "", true},
        {"text with backslash is one value", "00204000=a\\b", "00204000=a", "", false},
        {"text with backslash", "00204000=a\\b", "00204000=a\\b", "", true},
        {"key in another charset", "00080005=ISO_IR 192|00081030=\u00C9tude",
         "00080005=ISO_IR 100|00081030=\xC9tude", "", true},
        {"key in the wrong charset", "00080005=ISO_IR 101|00081030=\xE6",
         "00080005=ISO_IR 100|00081030=\xE6", "", false},
        {"empty value asked for", "00081030=\"\"", "00081030=", "e", true},
        {"empty value asked for, absent", "00081030=\"\"", "", "e", true},
        {"empty value asked for, there is one", "00081030=\"\"", "00081030=x", "e", false},
        {"empty date asked for", "00080020=\"\"", "", "e", true},
        {"quotation marks are text otherwise", "00081030=\"\"", "", "", false},
        {"quotation marks found as text", "00081030=\"\"", "00081030=\"\"", "", true},
    };
    CHECK(cases);
}

static void lists_match_any_value(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"UID", "0020000D=1.2.3", "0020000D=1.2.3", "", true},
        {"UID padded with NUL is the same", "0020000D=1.2.3 ", "0020000D=1.2.3", "", true},
        {"UID prefix", "0020000D=1.2", "0020000D=1.2.3", "", false},
        {"UID wildcard is not one", "0020000D=1.2.*", "0020000D=1.2.3", "", false},
        {"first of a list", "0020000D=1.2.3\\1.2.4", "0020000D=1.2.3", "", true},
        {"last of a list", "0020000D=1.2.3\\1.2.4", "0020000D=1.2.4", "", true},
        {"none of a list", "0020000D=1.2.3\\1.2.4", "0020000D=1.2.5", "", false},
        {"empty entries of a list", "0020000D=\\1.2.3\\", "0020000D=1.2.3", "", true},
        {"list is any even with all", "0020000D=1.2.3\\1.2.4", "0020000D=1.2.4", "a", true},
        {"candidate list", "00080062=1.2.4", "00080062=1.2.3\\1.2.4", "", true},
        {"modality in study", "00080061=CT", "00080061=PT\\CT", "", true},
        {"modality not in study", "00080061=MR", "00080061=PT\\CT", "", false},
        {"one of two modalities", "00080061=CT\\MR", "00080061=PT\\CT", "", true},
        {"both modalities wanted", "00080061=CT\\MR", "00080061=PT\\CT", "a", false},
        {"both modalities there", "00080061=CT\\PT", "00080061=PT\\SR\\CT", "a", true},
        {"neither modality", "00080061=US\\MR", "00080061=PT\\CT", "", false},
        {"wildcard on any value", "00080061=P*", "00080061=CT\\PT", "", true},
        {"star among values needs a value", "00080061=US\\*", "00080061=CT", "", true},
        {"values are trimmed each", "00080008=AXIAL", "00080008=ORIGINAL\\PRIMARY\\AXIAL ", "",
         true},
        {"any name", "00101001=SMITH^J", "00101001=DOE^J\\SMITH^J", "", true},
        {"split follows the charset", "00080005=GB18030|00081030=\x8E\x5C",
         "00080005=GB18030|00081030=\x8E\x5C", "", true},
        {"second byte is no separator", "00081030=a", "00080005=GB18030|00081030=a\x8E\x5C", "",
         false},
        {"no value of its own behind it", "00081030=b",
         "00080005=GB18030|00081030=a\x8E\x5C"
         "b",
         "", false},
    };
    CHECK(cases);
}

static void wildcards_match_texts_only(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"prefix", "00100020=AB*", "00100020=AB123", "", true},
        {"prefix, case", "00100020=ab*", "00100020=AB123", "", false},
        {"question", "00100020=A?1", "00100020=AB1", "", true},
        {"question is one character of another charset", "00081030=?tude",
         "00080005=ISO_IR 100|00081030=\xC9tude", "", true},
        {"anywhere", "00081030=*HEAD*", "00081030=CT HEAD W/O", "", true},
        {"not there", "00081030=*HEAD*", "00081030=CT THORAX", "", false},
        {"code string", "00080060=C?", "00080060=CT", "", true},
        {"application entity", "00080054=ST*", "00080054=STORE", "", true},
        {"long text", "00204000=*b?c*", "00204000=a\r\nbxc", "", true},
        {"resource identifier", "00081190=http://*", "00081190=http://a/b", "", true},
        {"pattern needs a value", "00100020=?*", "00100020=", "", false},
        {"not for dates", "00080020=2024*", "00080020=20240705", "", false},
        {"not for integers", "00200013=1*", "00200013=12", "", false},
        {"not for ages", "00101010=03*", "00101010=030Y", "", false},
    };
    CHECK(cases);
}

static void numbers_match_by_value(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"integer", "00200013=7", "00200013=7", "", true},
        {"integer, padding", "00200013= 7 ", "00200013=7", "", true},
        {"integer, sign", "00200013=+7", "00200013=7", "", true},
        {"integer, zeros", "00200013=007", "00200013=7", "", true},
        {"minus zero", "00200013=-0", "00200013=0", "", true},
        {"other integer", "00200013=7", "00200013=-7", "", false},
        {"large integers", "00200013=9223372036854775807", "00200013=9223372036854775806", "",
         false},
        {"decimal", "00180050=1.5", "00180050=1.50", "", true},
        {"decimal, exponent", "00180050=15e-1", "00180050=1.5", "", true},
        {"decimal and integer", "00180050=2", "00180050=2.0", "", true},
        {"other decimal", "00180050=1.5", "00180050=1.51", "", false},
        {"any of several", "00280030=0.5", "00280030=0.7\\0.50", "", true},
        {"one of a list", "00200013=1\\2\\3", "00200013=2", "", true},
        {"not hexadecimal", "00180050=0x10", "00180050=16", "", false},
        {"no number is text", "00200013=7a", "00200013=7a", "", true},
        {"no number, other text", "00200013=7a", "00200013=7", "", false},
    };
    CHECK(cases);
}

static void put(struct dset *d, uint32_t tag, enum vr vr, struct str v)
{
    assert_int_equal(dset_put(d, tag, vr, str_bytes(v)), ERR_OK);
}

static void binary_numbers_match_by_value(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        enum vr     vr, other_vr;
        struct str  key, value;
        bool        want;
    } cases[] = {
        {"unsigned short", VR_US, VR_US, STR("\1\0"), STR("\1\0"), true},
        {"other", VR_US, VR_US, STR("\1\0"), STR("\0\1"), false},
        {"any of several", VR_US, VR_US, STR("\2\0"), STR("\1\0\2\0"), true},
        {"one of a list", VR_US, VR_US, STR("\3\0\2\0"), STR("\2\0"), true},
        {"none of a list", VR_US, VR_US, STR("\3\0\4\0"), STR("\2\0"), false},
        {"signed and unsigned", VR_SS, VR_US, STR("\xFF\xFF"), STR("\xFF\xFF"), false},
        {"other width", VR_UL, VR_US, STR("\1\0\0\0"), STR("\1\0"), true},
        {"attribute tag", VR_AT, VR_AT, STR("\x28\0\x10\0"), STR("\x18\0\x63\x10\x28\0\x10\0"),
         true},
        {"other attribute tag", VR_AT, VR_AT, STR("\x10\0\x28\0"), STR("\x28\0\x10\0"), false},
        {"float", VR_FL, VR_FL, STR("\0\0\xC0\x3F"), STR("\0\0\xC0\x3F"), true},
        {"float and double", VR_FL, VR_FD, STR("\0\0\xC0\x3F"), STR("\0\0\0\0\0\0\xF8\x3F"), true},
        {"very long", VR_UV, VR_UV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
         STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), true},
        {"very long, last bit", VR_UV, VR_UV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
         STR("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), false},
        {"very long, sign", VR_SV, VR_UV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
         STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), false},
        {"half a value", VR_UL, VR_UL, STR("\1\0"), STR("\1\0\0\0"), false},
        {"bytes", VR_OB, VR_OB, STR("ab"), STR("ab"), true},
        {"other bytes", VR_OB, VR_OB, STR("ab"), STR("ac"), false},
        {"a star is a byte", VR_OB, VR_OB, STR("* "), STR("ac"), false},
        {"unknown key is read as the candidate", VR_UN, VR_LO, STR("A*"), STR("AB"), true},
        {"unknown candidate is read as the key", VR_LO, VR_UN, STR("A*"), STR("AB"), true},
        {"star for an unknown", VR_UN, VR_LO, STR("* "), STR("AB"), true},
        {"unknown both", VR_UN, VR_UN, STR("A*"), STR("AB"), false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        struct dset      *query = dset_new(&a), *candidate = dset_new(&a);
        struct match_opts o = {0};
        uint32_t          tag = TAG(0x0013, 0x1001); // no dictionary has a say
        put(query, TAG(0x0013, 0x0010), VR_LO, STR("A TEST"));
        put(candidate, TAG(0x0013, 0x0010), VR_LO, STR("A TEST"));
        put(query, tag, cases[i].vr, cases[i].key);
        put(candidate, tag, cases[i].other_vr, cases[i].value);
        if (is_match(query, candidate, &o) != cases[i].want) {
            fail_msg("%s", cases[i].what);
        }
    }
}

static void private_keys_follow_their_creator(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset      *query = dset_new(&a), *candidate = dset_new(&a);
    struct match_opts o = {0};
    put(query, TAG(0x0029, 0x0010), VR_LO, STR("MINE"));
    put(query, TAG(0x0029, 0x1001), VR_LO, STR("YES "));
    put(candidate, TAG(0x0029, 0x0010), VR_LO, STR("OTHERS"));
    put(candidate, TAG(0x0029, 0x1001), VR_LO, STR("NO"));
    put(candidate, TAG(0x0029, 0x0011), VR_LO, STR("MINE"));
    assert_false(is_match(query, candidate, &o));
    put(candidate, TAG(0x0029, 0x1101), VR_LO, STR("YES "));
    assert_true(is_match(query, candidate, &o));
    dset_remove(query, TAG(0x0029, 0x0010)); // nobody's
    assert_false(is_match(query, candidate, &o));
}

static void left_out_values_do_not_match(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset      *query = dset_new(&a), *candidate = dset_new(&a);
    struct match_opts o = {.unknown = true};
    put(query, TAG(0x0040, 0xA160), VR_UT, STR("abc "));
    put(candidate, TAG(0x0040, 0xA160), VR_UT, STR(""));
    assert_true(is_match(query, candidate, &o));
    struct elem *el = dset_find(candidate, TAG(0x0040, 0xA160));
    el->left_out = true;
    el->len = 1 << 30;
    assert_false(is_match(query, candidate, &o));
}

static void words_of_names_match_in_any_order(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"the words the other way round", "00100010=jean dupont", "00100010=DUPONT^JEAN", "w",
         true},
        {"beginnings of words", "00100010=dup^je", "00100010=DUPONT^JEAN", "w", true},
        {"the second given name", "00100010=marie", "00100010=DUPONT^ANNE-MARIE", "w", true},
        {"accents", "00100010=eloise*",
         "00080005=ISO_IR 192|00100010=LEF\u00C8VRE^\u00C9LO\u00CFSE", "w", true},
        {"stars alone are no word", "00100010=* dupont", "00100010=DUPONT^JEAN", "w", true},
        {"a star in a word", "00100010=*pont", "00100010=DUPONT^JEAN", "w", true},
        {"not the middle of a word", "00100010=pont", "00100010=DUPONT^JEAN", "w", false},
        {"every word must be there", "00100010=dupont paul", "00100010=DUPONT^JEAN", "w", false},
        {"more than the word", "00100010=dupontel", "00100010=DUPONT^JEAN", "w", false},
        {"another group", "00100010=yamada", "00100010=\u5C71^\u7530=YAMADA^TARO", "w", true},
        {"no name", "00100010=dupont", "00100010=", "w", false},
        {"other texts are as before", "00081030=thorax", "00081030=CT Thorax", "w", false},
        {"without it the order counts", "00100010=jean dupont", "00100010=DUPONT^JEAN", "", false},
    };
    CHECK(cases);
}

static void names_match_however_they_are_written(void **state)
{
    (void)state;
#define KANJI "\u5C71\u7530^\u592A\u90CE"
#define KANA  "\u3084\u307E\u3060^\u305F\u308D\u3046"
#define UTF8  "00080005=ISO_IR 192|"
    static const struct match_case cases[] = {
        {"same", "00100010=DUPONT^JEAN", "00100010=DUPONT^JEAN", "", true},
        {"case", "00100010=dupont^jean", "00100010=DUPONT^Jean", "", true},
        {"trailing carets of the candidate", "00100010=DUPONT^JEAN", "00100010=Dupont^Jean^^", "",
         true},
        {"trailing carets of the key", "00100010=DUPONT^JEAN^^^ ", "00100010=Dupont^Jean", "",
         true},
        {"given name only in the candidate", "00100010=DUPONT", "00100010=DUPONT^JEAN", "", false},
        {"given name only in the key", "00100010=DUPONT^JEAN", "00100010=DUPONT", "", false},
        {"middle name only in the candidate", "00100010=DUPONT^JEAN", "00100010=DUPONT^JEAN^PAUL",
         "", false},
        {"components do not move", "00100010=DUPONT^JEAN", "00100010=JEAN^DUPONT", "", false},
        {"another name", "00100010=DUPONT^JEAN", "00100010=DUPOND^JEAN", "", false},
        {"accent in the candidate", "00100010=LEFEVRE^HELENE",
         "00080005=ISO_IR 100|00100010=LEF\xC8VRE^H\xC9L\xC8NE", "", true},
        {"accent in the key", UTF8 "00100010=lef\u00E8vre^h\u00E9l\u00E8ne",
         "00100010=LEFEVRE^HELENE", "", true},
        {"decomposed accent", UTF8 "00100010=lefe\u0300vre", UTF8 "00100010=LEF\u00C8VRE", "",
         true},
        {"hyphen and space", "00100010=DUPONT MARTIN^JEAN PIERRE",
         "00100010=Dupont-Martin^Jean-Pierre", "", true},
        {"double hyphen", "00100010=DUPONT-MARTIN", "00100010=DUPONT--MARTIN", "", true},
        {"apostrophe and space", "00100010=D'HOZIER", "00100010=D HOZIER", "", true},
        {"hyphen is not nothing", "00100010=JEANPIERRE", "00100010=JEAN-PIERRE", "", false},
        {"two spaces", "00100010=LE  GOFF", "00100010=LE GOFF", "", true},
        {"ligature", "00100010=LEBOEUF", UTF8 "00100010=LEB\u0152UF", "", true},
        {"sharp s", "00100010=WEISS", "00080005=ISO_IR 100|00100010=Wei\xDF", "", true},
        {"Greek", "00080005=ISO_IR 126|00100010=\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2",
         UTF8 "00100010=\u0394\u0399\u039F\u039D\u03A5\u03A3\u0399\u039F\u03A3", "", true},
        {"Cyrillic", "00080005=ISO_IR 144|00100010=\xBB\xEE\xDA\xE1\xD5\xDC\xD1\xE3\xE0\xD3",
         UTF8 "00100010=\u043B\u044E\u043A\u0441\u0435\u043C\u0431\u0443\u0440\u0433", "", true},
        {"Cyrillic, same charset",
         "00080005=ISO_IR 144|00100010=\xBB\xEE\xDA\xE1\xD5\xDC\xD1\xE3\xE0\xD3",
         "00080005=ISO_IR 144|00100010=\xDB\xEE\xDA\xE1\xD5\xDC\xD1\xE3\xE0\xD3", "", true},
        {"Cyrillic, case and charset", "00080005=ISO_IR 144|00100010=\xBB\xEE\xDA",
         UTF8 "00100010=\u041B\u042E\u041A", "", true},
        {"full width", UTF8 "00100010=\uFF39amada", "00100010=YAMADA", "", true},
        {"prefix", "00100010=DUP*", "00100010=Dupont^Jean", "", true},
        {"prefix of both", "00100010=dup*^j*", "00100010=Dupont^Jean", "", true},
        {"family name of any given name", "00100010=DUPONT^*", "00100010=DUPONT^JEAN", "", true},
        {"family name of no given name", "00100010=DUPONT^*", "00100010=DUPONT", "", true},
        {"all components starred", "00100010=DUPONT^*^*^*^*", "00100010=DUPONT^JEAN", "", true},
        {"given name wanted", "00100010=DUPONT^?*", "00100010=DUPONT", "", false},
        {"given name alone", "00100010=*^JEAN", "00100010=DUPONT^JEAN^^", "", true},
        {"question", "00100010=DUPON?^JEAN", "00100010=DUPOND^JEAN", "", true},
        {"question is one accented letter", "00100010=LEF?VRE", UTF8 "00100010=LEF\u00C8VRE", "",
         true},
        {"prefix of composed name", "00100010=DUPONT*", "00100010=DUPONT-MARTIN^ANNE", "", true},
        {"anywhere", "00100010=*MARTIN*", "00100010=DUPONT-MARTIN^ANNE", "", true},
        {"alphabetic group", "00100010=yamada^tarou", UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA,
         "", true},
        {"ideographic group, asked bare", UTF8 "00100010=" KANJI,
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", true},
        {"phonetic group, asked bare", UTF8 "00100010=" KANA,
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", true},
        {"phonetic group in katakana", UTF8 "00100010=\u30E4\u30DE\u30C0^\u30BF\u30ED\u30A6",
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", true},
        {"phonetic group in half width", UTF8 "00100010=\uFF94\uFF8F\uFF80\uFF9E*",
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", true},
        {"no group", UTF8 "00100010=\u7530\u4E2D", UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "",
         false},
        {"ideographic group in its place", UTF8 "00100010==" KANJI,
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", true},
        {"ideographic group in the wrong place", UTF8 "00100010==" KANA,
         UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA, "", false},
        {"all groups", UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA,
         UTF8 "00100010=YAMADA^TAROU=" KANJI "=" KANA, "", true},
        {"groups that the candidate lacks", UTF8 "00100010=Yamada^Tarou=" KANJI "=" KANA,
         "00100010=YAMADA^TAROU", "", true},
        {"one group differs", UTF8 "00100010=Yamada^Tarou=\u5C71\u7530^\u6B21\u90CE",
         UTF8 "00100010=Yamada^Tarou=" KANJI, "", false},
        {"no group in common", UTF8 "00100010==" KANJI, "00100010=Yamada^Tarou", "", false},
        {"star and a group", UTF8 "00100010=*=\u5C71\u7530*", UTF8 "00100010=Yamada^Tarou=" KANJI,
         "", true},
        {"star and a group that lacks", UTF8 "00100010=*=\u5C71\u7530*", "00100010=Yamada^Tarou",
         "", false},
        {"stars in groups", "00100010=*=*=*", "00100010=Yamada^Tarou", "", true},
        {"prefix in any group", UTF8 "00100010=\u5C71*", UTF8 "00100010=Yamada^Tarou=" KANJI, "",
         true},
        {"Japanese escapes",
         "00080005=\\ISO 2022 IR 87|00100010==\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B",
         UTF8 "00100010=Yamada^Tarou=" KANJI, "", true},
        {"other name attributes too", "00081070=DURAND^P", "00081070=Durand^p", "", true},
    };
    CHECK(cases);
}

static void dates_match_in_ranges(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"same day", "00080020=20240705", "00080020=20240705", "", true},
        {"other day", "00080020=20240705", "00080020=20240706", "", false},
        {"padding", "00080020=20240705  ", "00080020=20240705", "", true},
        {"old form in the key", "00080020=2024.07.05", "00080020=20240705", "", true},
        {"old form in the candidate", "00080020=20240705", "00080020=2024.07.05", "", true},
        {"first day", "00080020=20240705-20240707", "00080020=20240705", "", true},
        {"last day", "00080020=20240705-20240707", "00080020=20240707", "", true},
        {"between", "00080020=20240705-20240707", "00080020=20240706", "", true},
        {"day before", "00080020=20240705-20240707", "00080020=20240704", "", false},
        {"day after", "00080020=20240705-20240707", "00080020=20240708", "", false},
        {"spaces around the dash", "00080020=20240705 - 20240707", "00080020=20240706", "", true},
        {"until", "00080020=-20240705", "00080020=19991231", "", true},
        {"until, that day", "00080020=-20240705", "00080020=20240705", "", true},
        {"until, after", "00080020=-20240705", "00080020=20240706", "", false},
        {"since", "00080020=20240705-", "00080020=20991231", "", true},
        {"since, that day", "00080020=20240705-", "00080020=20240705", "", true},
        {"since, before", "00080020=20240705-", "00080020=20240704", "", false},
        {"year", "00080020=2024", "00080020=20241231", "", true},
        {"other year", "00080020=2024", "00080020=20250101", "", false},
        {"month", "00080020=202402", "00080020=20240229", "", true},
        {"other month", "00080020=202402", "00080020=20240301", "", false},
        {"years", "00080020=2023-2024", "00080020=20241231", "", true},
        {"until a month", "00080020=-202402", "00080020=20240229", "", true},
        {"since a month", "00080020=202402-", "00080020=20240131", "", false},
        {"wrong way round", "00080020=20240707-20240705", "00080020=20240706", "", false},
        {"old form range", "00080020=2024.07.05-2024.07.07", "00080020=20240706", "", true},
        {"leap day", "00080020=20240229", "00080020=20240229", "", true},
        {"no leap day, found as text", "00080020=20230229", "00080020=20230229", "", true},
        {"no leap day, not between", "00080020=2023", "00080020=20230229", "", false},
        {"no date at all", "00080020=yesterday", "00080020=20240705", "", false},
        {"candidate without", "00080020=2000-", "", "", false},
        {"candidate unknown", "00080020=2000-", "00080020=", "u", true},
        {"several candidate dates", "00181200=2024", "00181200=20230101\\20240101", "", true},
        {"list of dates", "00080020=20240705\\20240707", "00080020=20240707", "", true},
        {"ISO form is none", "00080020=2024-07-05", "00080020=20240705", "", false},
    };
    CHECK(cases);
}

static void times_match_in_ranges(void **state)
{
    (void)state;
    static const struct match_case cases[] = {
        {"same", "00080030=101530", "00080030=101530", "", true},
        {"fraction of the same second", "00080030=101530", "00080030=101530.25", "", true},
        {"next second", "00080030=101530", "00080030=101531", "", false},
        {"hour", "00080030=10", "00080030=105959.999999", "", true},
        {"next hour", "00080030=10", "00080030=110000", "", false},
        {"minute", "00080030=1015", "00080030=101559", "", true},
        {"old form in the key", "00080030=10:15:30", "00080030=101530", "", true},
        {"old form in the candidate", "00080030=1015", "00080030=10:15:59.5", "", true},
        {"fraction", "00080030=101530.25", "00080030=101530.250000", "", true},
        {"coarse fraction", "00080030=101530.2", "00080030=101530.250000", "", true},
        {"other fraction", "00080030=101530.25", "00080030=101530.26", "", false},
        {"candidate less precise", "00080030=101530", "00080030=1015", "", false},
        {"candidate less precise, first instant", "00080030=101500", "00080030=1015", "", true},
        {"range", "00080030=1000-1800", "00080030=120000", "", true},
        {"end of the range", "00080030=1000-1800", "00080030=180059.9", "", true},
        {"after the range", "00080030=1000-1800", "00080030=180100", "", false},
        {"before the range", "00080030=1000-1800", "00080030=0959", "", false},
        {"hours", "00080030=10-12", "00080030=125959", "", true},
        {"until", "00080030=-12", "00080030=000000", "", true},
        {"since", "00080030=22-", "00080030=235959", "", true},
        {"not across midnight", "00080030=2200-0200", "00080030=230000", "", false},
        {"leap second", "00080030=235960", "00080030=235960", "", true},
        {"no such hour", "00080030=25", "00080030=250000", "", false},
        {"no such minute is text", "00080030=1075", "00080030=1075", "", true},
        {"too long a fraction is cut", "00080030=101530", "00080030=101530.1234567", "", true},
        {"point without fraction", "00080030=101530.", "00080030=101530", "", false},
    };
    CHECK(cases);
}

static void moments_match_in_ranges(void **state)
{
    (void)state;
#define DT "0008002A=" // Acquisition DateTime
    static const struct match_case cases[] = {
        {"same", DT "20240705101530", DT "20240705101530", "", true},
        {"day", DT "20240705", DT "20240705235959.9", "", true},
        {"other day", DT "20240705", DT "20240706", "", false},
        {"year", DT "2024", DT "20240706", "", true},
        {"range", DT "20240705-20240706", DT "202407061200", "", true},
        {"range of times", DT "2024070510-2024070512", DT "20240705125959", "", true},
        {"after", DT "2024070510-2024070512", DT "20240705130000", "", false},
        {"since", DT "20240705-", DT "20250101", "", true},
        {"until", DT "-20240705", DT "20240705235959", "", true},
        {"offset of the candidate", DT "2024070510", DT "2024070512+0200", "", true},
        {"offset of the key", DT "2024070512+0200", DT "2024070510", "", true},
        {"offset to the west", DT "2024070505-0500", DT "2024070510", "", true},
        {"offset west is no range", DT "2024070505-0500", DT "20240801", "", false},
        {"years are a range", DT "2023-2024", DT "2024", "", true},
        {"range with offsets west", DT "20240705-0500-20240706-0500", DT "20240707045959", "",
         true},
        {"range with offsets west, after", DT "20240705-0500-20240706-0500", DT "2024070705", "",
         false},
        {"since, offset west", DT "20240705-0500-", DT "2024070505", "", true},
        {"since, offset west, before", DT "20240705-0500-", DT "2024070504", "", false},
        {"until, offset west", DT "-20240705-0500", DT "2024070604", "", true},
        {"offset of the node on both", DT "2024070512", DT "2024070512", "z", true},
        {"offset of the node on the key", DT "2024070512", DT "2024070511+0000", "z", true},
        {"zone of the candidate", DT "2024070511", "00080201=+0200|" DT "2024070513", "", true},
        {"zone of the key", "00080201=-0100|" DT "2024070510", DT "2024070511", "", true},
        {"explicit offset before the zone", DT "2024070511", "00080201=+0900|" DT "2024070513+0200",
         "", true},
        {"no offset of 13 hours west", DT "20240705-1300", DT "20240705", "", false},
        {"date with points is none", DT "2024.07.05", DT "20240705", "", false},
    };
    CHECK(cases);
}

static void dates_and_times_combine(void **state)
{
    (void)state;
#define STUDY(date, time) "00080020=" date "|00080030=" time
    static const struct match_case cases[] = {
        {"apart: time of every day", STUDY("20240705-20240707", "1000-1800"),
         STUDY("20240706", "0900"), "", false},
        {"together: the day between", STUDY("20240705-20240707", "1000-1800"),
         STUDY("20240706", "0900"), "c", true},
        {"together: before", STUDY("20240705-20240707", "1000-1800"), STUDY("20240705", "0959"),
         "c", false},
        {"together: first instant", STUDY("20240705-20240707", "1000-1800"),
         STUDY("20240705", "1000"), "c", true},
        {"together: last instant", STUDY("20240705-20240707", "1000-1800"),
         STUDY("20240707", "180059"), "c", true},
        {"together: after", STUDY("20240705-20240707", "1000-1800"), STUDY("20240707", "1801"), "c",
         false},
        {"together over midnight", STUDY("20240705-20240706", "2200-0200"),
         STUDY("20240706", "0100"), "c", true},
        {"since", STUDY("20240705-", "1000-"), STUDY("20240706", "0100"), "c", true},
        {"since, before", STUDY("20240705-", "1000-"), STUDY("20240705", "0100"), "c", false},
        {"until", STUDY("-20240705", "-1000"), STUDY("20240704", "2300"), "c", true},
        {"until, after", STUDY("-20240705", "-1000"), STUDY("20240705", "2300"), "c", false},
        {"other forms do not combine", STUDY("20240705-20240707", "1000-"),
         STUDY("20240706", "0900"), "c", false},
        {"a single date does not combine", STUDY("20240705", "1000-1800"),
         STUDY("20240705", "0900"), "c", false},
        {"candidate without time is at midnight", STUDY("20240705-20240707", "1000-1800"),
         "00080020=20240706", "c", true},
        {"candidate without time, first day", STUDY("20240705-20240707", "1000-1800"),
         "00080020=20240705", "c", false},
        {"candidate without date", STUDY("20240705-20240707", "1000-1800"), "00080030=1200", "c",
         false},
        {"candidate without date, accepted", STUDY("20240705-20240707", "1000-1800"),
         "00080030=1200", "cu", true},
        {"series", "00080021=20240705-20240707|00080031=1000-1800",
         "00080021=20240706|00080031=0900", "c", true},
        {"content", "00080023=20240705-20240707|00080033=1000-1800",
         "00080023=20240706|00080033=0900", "c", true},
        {"acquisition", "00080022=20240705-20240707|00080032=1000-1800",
         "00080022=20240706|00080032=0900", "c", true},
        {"birth", "00100030=20240705-20240707|00100032=1000-1800",
         "00100030=20240706|00100032=0900", "c", true},
        {"performed step", "00400244=20240705-20240707|00400245=1000-1800",
         "00400244=20240706|00400245=0900", "c", true},
        {"scheduled step, in its item", "[00400100|00400002=20240705-20240707|00400003=1000-1800|]",
         "[00400100|00400002=20240706|00400003=0900|]", "c", true},
        {"dates of other pairs stay apart", "00080020=20240705-20240707|00080031=1000-1800",
         "00080020=20240706|00080031=0900", "c", false},
    };
    CHECK(cases);
}

static void zones_move_times_and_days(void **state)
{
    (void)state;
#define ZONE(z) "00080201=" z "|"
    static const struct match_case cases[] = {
        {"same zone", ZONE("+0100") "00080030=10", ZONE("+0100") "00080030=1030", "", true},
        {"time moves", ZONE("+0000") "00080030=09", ZONE("+0100") "00080030=1030", "", true},
        {"time moved away", ZONE("+0000") "00080030=10", ZONE("+0100") "00080030=1030", "", false},
        {"time moves over midnight", ZONE("+0000") "00080030=23", ZONE("+0100") "00080030=0030", "",
         true},
        {"time moves over midnight, west", ZONE("+0200") "00080030=00",
         ZONE("+0100") "00080030=2330", "", true},
        {"zone of the node for the key", "00080030=10", ZONE("+0000") "00080030=0930", "z", true},
        {"zone of the node for the candidate", ZONE("+0000") "00080030=09", "00080030=1030", "z",
         true},
        {"bad zone is none", ZONE("+1") "00080030=10", "00080030=1030", "", true},
        {"day moves with its time", ZONE("+0000") "00080020=20240704",
         ZONE("+0100") STUDY("20240705", "0030"), "", true},
        {"day stays with its time", ZONE("+0000") "00080020=20240705",
         ZONE("+0100") STUDY("20240705", "0130"), "", true},
        {"day moved away", ZONE("+0000") "00080020=20240705",
         ZONE("+0100") STUDY("20240705", "0030"), "", false},
        {"day without time stays", ZONE("+0000") "00080020=20240705",
         ZONE("+0100") "00080020=20240705", "", true},
        {"combined", ZONE("+0000") STUDY("20240704-20240704", "2300-2359"),
         ZONE("+0100") STUDY("20240705", "0030"), "c", true},
        {"combined, away", ZONE("+0000") STUDY("20240705-20240705", "0000-0059"),
         ZONE("+0100") STUDY("20240705", "0030"), "c", false},
        {"birth dates do not move", ZONE("+0000") "00100030=20240705",
         ZONE("+0900") "00100030=20240705|00100032=0030", "", true},
        {"items inherit the zone", ZONE("+0000") "[00400100|00400003=09|]",
         ZONE("+0100") "[00400100|00400003=1030|]", "", true},
    };
    CHECK(cases);
}

static void sequences_match_item_by_item(void **state)
{
    (void)state;
#define STEP(modality, aet) "[00400100|00080060=" modality "|00400001=" aet "|]|"
    static const struct match_case cases[] = {
        {"same item", STEP("CT", "CT1"), STEP("CT", "CT1"), "", true},
        {"second item", STEP("CT", "CT1"), STEP("MR", "MR1") STEP("CT", "CT1"), "", true},
        {"not over two items", STEP("CT", "MR1"), STEP("MR", "MR1") STEP("CT", "CT1"), "", false},
        {"universal in the item", STEP("CT", ""), STEP("CT", "CT1"), "", true},
        {"no item", STEP("CT", "CT1"), "", "", false},
        {"no item, unknown", STEP("CT", "CT1"), "", "u", true},
        {"empty item", STEP("CT", "CT1"), "[00400100|]", "", false},
        {"wildcard in the item", STEP("CT", "C*"), STEP("CT", "CT1"), "", true},
        {"nested", "[00400100|[00400008|00080100=X1|]|]",
         "[00400100|[00400008|00080100=X0|]|[00400008|00080100=X1|]|]", "", true},
        {"nested, other", "[00400100|[00400008|00080100=X1|]|]",
         "[00400100|[00400008|00080100=X0|]|]", "", false},
        {"charset of the data set is in force in items",
         "00080005=ISO_IR 192|[00400100|00400006=\u00C9LISE|]",
         "00080005=ISO_IR 100|[00400100|00400006=\xC9lise|]", "", true},
        {"beside other keys", "00100020=1|" STEP("CT", ""), "00100020=2|" STEP("CT", "CT1"), "",
         false},
    };
    CHECK(cases);
}

static void one_key_can_be_asked_alone(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    struct dset      *query = dset_new(&a), *candidate = dset_new(&a);
    struct match_opts o = {0};
    fill(query, "00080060=CT|00100020=1|00100010=*");
    fill(candidate, "00080060=CT|00100020=2");
    const struct elem *modality = dset_find(query, TAG(0x0008, 0x0060));
    const struct elem *id = dset_find(query, TAG(0x0010, 0x0020));
    const struct elem *name = dset_find(query, TAG(0x0010, 0x0010));
    assert_true(is_match_elem(query, modality, candidate, &o));
    assert_false(is_match_elem(query, id, candidate, &o));
    assert_true(is_match_elem(query, name, candidate, &o));
    assert_true(is_universal(query, name));
    assert_false(is_universal(query, id));
}

static void spans_are_what_they_say(void **state)
{
    (void)state;
    const int64_t second = 1000000, hour = second * 3600, day = hour * 24;
    struct span   s = {0};
    assert_true(span_parse(VR_DA, STR("19700102"), 0, &s));
    assert_true(s.lo == day && s.hi == 2 * day - 1 && !s.range);
    assert_true(span_parse(VR_DA, STR("00000101"), 0, &s));
    assert_true(s.lo == -719528 * day);
    assert_true(span_parse(VR_DA, STR("20000229"), 0, &s));
    assert_true(s.lo == 11016 * day);
    assert_true(span_parse(VR_TM, STR("-10"), 0, &s));
    assert_true(s.lo == INT64_MIN && s.hi == 11 * hour - 1 && s.range);
    assert_true(span_parse(VR_DT, STR("1970010101"), 60, &s));
    assert_true(s.lo == 0 && s.hi == hour - 1);
    assert_true(span_parse(VR_DT, STR("99991231235960.999999-1200"), 0, &s));
    static const char *const bad[] = {"",         "x",        "197",       "19701",
                                      "1970010",  "19701301", "19700100",  "19700132",
                                      "20230229", "21000229", "--",        "1970-1971-",
                                      "1970.1.1", "1970.01.", "19700101 x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (span_parse(VR_DA, str_of(bad[i]), 0, &s)) {
            fail_msg("%s", bad[i]);
        }
    }
    int16_t zone = 0;
    assert_true(zone_parse(STR("-0330 "), &zone) && zone == -210);
    assert_true(zone_parse(STR("+1400"), &zone) && zone == 840);
    assert_false(zone_parse(STR("+1500"), &zone));
    assert_false(zone_parse(STR("-1300"), &zone));
    assert_false(zone_parse(STR("0100"), &zone));
    assert_false(zone_parse(STR("+0160"), &zone));
    assert_false(zone_parse(STR("+010"), &zone));
    assert_int_equal(zone, 840);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(universal_keys_match_everything),
        cmocka_unit_test(single_values_match_exactly),
        cmocka_unit_test(lists_match_any_value),
        cmocka_unit_test(wildcards_match_texts_only),
        cmocka_unit_test(numbers_match_by_value),
        cmocka_unit_test(binary_numbers_match_by_value),
        cmocka_unit_test(private_keys_follow_their_creator),
        cmocka_unit_test(left_out_values_do_not_match),
        cmocka_unit_test(names_match_however_they_are_written),
        cmocka_unit_test(words_of_names_match_in_any_order),
        cmocka_unit_test(dates_match_in_ranges),
        cmocka_unit_test(times_match_in_ranges),
        cmocka_unit_test(moments_match_in_ranges),
        cmocka_unit_test(dates_and_times_combine),
        cmocka_unit_test(zones_move_times_and_days),
        cmocka_unit_test(sequences_match_item_by_item),
        cmocka_unit_test(one_key_can_be_asked_alone),
        cmocka_unit_test(spans_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
