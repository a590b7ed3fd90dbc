#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/part10.h"
#include "dicom/xml.h"

#define HEAD                                                                                       \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                                 \
    "<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" "                 \
    "xml:space=\"preserve\">\n"
#define TAIL "</NativeDicomModel>\n"

/* ---- values ------------------------------------------------------------------------------- */

static const struct {
    const char *what;
    uint32_t    tag;
    enum vr     vr;
    struct str  value;
    const char *inside; // of the DicomAttribute
    const char *back;   // the value that is read; NULL: the same
} values[] = {
    {"text", 0x00081030, VR_LO, STR("ab"), "<Value number=\"1\">ab</Value>", NULL},
    {"empty", 0x00081030, VR_LO, STR(""), "", NULL},
    {"padding is no value", 0x00081030, VR_LO, STR("  "), "", ""},
    {"two, padded", 0x00080008, VR_CS, STR("A \\B "),
     "<Value number=\"1\">A</Value><Value number=\"2\">B</Value>", "A\\B "},
    {"empty in the middle", 0x00080008, VR_CS, STR("A\\\\B"),
     "<Value number=\"1\">A</Value><Value number=\"2\"></Value><Value number=\"3\">B</Value>",
     NULL},
    {"marks", 0x00081030, VR_LO, STR("<a>&\"b\" "),
     "<Value number=\"1\">&lt;a&gt;&amp;&quot;b&quot;</Value>", "<a>&\"b\" "},
    {"line ends", 0x00204000, VR_LT, STR("a\r\nb\\\tc "),
     "<Value number=\"1\">a&#13;&#10;b\\&#9;c</Value>", NULL},
    {"form feed", 0x00204000, VR_LT, STR("a\fb "),
     "<Value number=\"1\">a\xEF\xBF\xBD"
     "b</Value>",
     "a\xEF\xBF\xBD"
     "b "},
    {"name", 0x00100010, VR_PN, STR("DOE^JOHN"),
     "<PersonName number=\"1\"><Alphabetic><FamilyName>DOE</FamilyName><GivenName>JOHN</GivenName>"
     "</Alphabetic></PersonName>",
     NULL},
    {"name, all parts", 0x00100010, VR_PN, STR("A^B^C^D^E^F=G==H^ "),
     "<PersonName number=\"1\"><Alphabetic><FamilyName>A</FamilyName><GivenName>B</GivenName>"
     "<MiddleName>C</MiddleName><NamePrefix>D</NamePrefix><NameSuffix>E^F</NameSuffix></Alphabetic>"
     "<Ideographic><FamilyName>G</FamilyName></Ideographic>"
     "<Phonetic><FamilyName>=H</FamilyName></Phonetic></PersonName>",
     "A^B^C^D^E^F=G==H"},
    {"name, later parts only", 0x00100010, VR_PN, STR("^^M==^X "),
     "<PersonName number=\"1\"><Alphabetic><MiddleName>M</MiddleName></Alphabetic>"
     "<Phonetic><GivenName>X</GivenName></Phonetic></PersonName>",
     NULL},
    {"decimals as they are", 0x00181063, VR_DS, STR("+1.50 \\ .5"),
     "<Value number=\"1\">+1.50</Value><Value number=\"2\">.5</Value>", "+1.50\\.5"},
    {"US", 0x00280010, VR_US, STR("\xFF\xFF\1\0"),
     "<Value number=\"1\">65535</Value><Value number=\"2\">1</Value>", NULL},
    {"SS", 0x00189219, VR_SS, STR("\xFD\xFF"), "<Value number=\"1\">-3</Value>", NULL},
    {"UL", 0x00081161, VR_UL, STR("\xFF\xFF\xFF\xFF"), "<Value number=\"1\">4294967295</Value>",
     NULL},
    {"SL", 0x00186020, VR_SL, STR("\xFF\xFF\xFF\xFF"), "<Value number=\"1\">-1</Value>", NULL},
    {"UV", 0x00720083, VR_UV, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
     "<Value number=\"1\">18446744073709551615</Value>", NULL},
    {"SV", 0x00720082, VR_SV, STR("\0\0\0\0\0\0\0\x80"),
     "<Value number=\"1\">-9223372036854775808</Value>", NULL},
    {"AT", 0x00280009, VR_AT, STR("\x18\0\x63\x10"), "<Value number=\"1\">00181063</Value>", NULL},
    {"FL", 0x00089459, VR_FL, STR("\xCD\xCC\xCC\x3D"), "<Value number=\"1\">0.1</Value>", NULL},
    {"FL, none", 0x00089459, VR_FL, STR("\0\0\xC0\x7F\0\0\x80\xFF"),
     "<Value number=\"1\">NaN</Value><Value number=\"2\">-INF</Value>", NULL},
    {"FD", 0x00189073, VR_FD, STR("\x9A\x99\x99\x99\x99\x99\xB9\x3F"),
     "<Value number=\"1\">0.1</Value>", NULL},
    {"half a number", 0x00280010, VR_US, STR("\1\2\3"), "<InlineBinary>AQIDAA==</InlineBinary>",
     "\1\2\3"},
    {"bytes", 0x00420011, VR_OB, STR("abcd"), "<InlineBinary>YWJjZA==</InlineBinary>", NULL},
};

static const struct json_opts opts = {.bulk_prefix = {"/b/", 3}};

static struct str written(const struct dset *d, struct buf *b)
{
    struct errmsg e = {0};
    enum err      rc = dsxml_write(d, &opts, b, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(rc, ERR_OK);
    return (struct str){(const char *)b->ptr, b->len};
}

static void check_value(size_t i, struct arena *a)
{
    CLEANUP(buf_done) struct buf want, got;
    buf_init(&want, 1 << 16);
    buf_init(&got, 1 << 16);
    struct dset *d = dset_new(a), *back = NULL;
    assert_int_equal(dset_put(d, values[i].tag, values[i].vr, str_bytes(values[i].value)), ERR_OK);
    /* "half a number": put pads, so only its text is looked at. */
    buf_fmt(&want, HEAD "<DicomAttribute tag=\"%08X\" vr=\"%s\" keyword=\"%s\">",
            (unsigned)values[i].tag, vr_name(values[i].vr), dict_find(values[i].tag)->keyword);
    buf_str(&want, str_of(values[i].inside));
    buf_str(&want, STR("</DicomAttribute>\n" TAIL));
    struct str s = written(d, &got);
    if (values[i].value.len == 3) {
        return;
    }
    if (!str_eq(s, (struct str){(const char *)want.ptr, want.len})) {
        fail_msg("%s:\n%.*s, not\n%.*s", values[i].what, STR_ARG(s), (int)want.len, want.ptr);
    }
    assert_int_equal(dsxml_parse(str_bytes(s), a, &back, NULL), ERR_OK);
    struct dset *same = dset_new(a);
    struct str   v = values[i].back != NULL ? str_of(values[i].back) : values[i].value;
    assert_int_equal(dset_put(same, values[i].tag, values[i].vr, str_bytes(v)), ERR_OK);
    const struct elem *el = dset_find(back, values[i].tag);
    if (el == NULL || el->vr != values[i].vr ||
        !bytes_eq(el->value, dset_find(same, values[i].tag)->value)) {
        fail_msg("%s: reads as \"%.*s\"", values[i].what, el == NULL ? 0 : (int)el->value.len,
                 el == NULL ? (const uint8_t *)"" : el->value.ptr);
    }
}

static void values_are_written_and_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 20);
        check_value(i, &a);
    }
}

/* ---- structure ---------------------------------------------------------------------------- */

static void items_charsets_blocks_and_links(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b, big;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 16);
    buf_init(&big, 1 << 16);
    struct dset *d = dset_new(&a), *item = NULL, *back = NULL;
    assert_int_equal(dset_put_str(d, TAG(8, 5), STR("ISO_IR 100")), ERR_OK);
    assert_int_equal(dset_put_item(d, TAG(8, 0x1110), &item), ERR_OK);
    assert_int_equal(dset_put_text(item, TAG(8, 0x104), STR("\xC3\x89lise")), ERR_OK);
    assert_non_null(buf_grow(&big, 1000));
    assert_int_equal(dset_put(item, TAG(0x28, 0x1201), VR_OW, (struct bytes){big.ptr, 1000}),
                     ERR_OK);
    assert_int_equal(dset_put_item(d, TAG(8, 0x1110), &item), ERR_OK);
    assert_int_equal(dset_put(d, TAG(0x29, 0x11), VR_LO, str_bytes(STR("MINE"))), ERR_OK);
    assert_int_equal(dset_put(d, TAG(0x29, 0x1101), VR_LO, str_bytes(STR("x"))), ERR_OK);
    struct str        s = written(d, &b);
    const char *const parts[] = {
        "<Value number=\"1\">ISO_IR 192</Value>",
        "<Item number=\"1\">",
        "\xC3\x89lise",
        "<BulkData uri=\"/b/00081110/1/00281201\"/>",
        "<Item number=\"2\">\n</Item>",
        "<DicomAttribute tag=\"00290001\" vr=\"LO\" privateCreator=\"MINE\"><Value",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (memmem(s.ptr, s.len, parts[i], strlen(parts[i])) == NULL) {
            fail_msg("no %s in\n%.*s", parts[i], STR_ARG(s));
        }
    }
    assert_null(memmem(s.ptr, s.len, "00290011", 8));
    assert_int_equal(dsxml_parse(str_bytes(s), &a, &back, NULL), ERR_OK);
    const struct elem *seq = dset_find(back, TAG(8, 0x1110));
    assert_int_equal(seq->n_items, 2);
    assert_true(str_eq(dset_text(seq->items[0], TAG(8, 0x104)), STR("\xC3\x89lise")));
    const struct elem *link = dset_find(seq->items[0], TAG(0x28, 0x1201));
    assert_true(link->left_out);
    assert_true(bytes_eq(link->value, str_bytes(STR("/b/00081110/1/00281201"))));
    assert_true(str_eq(dset_str(back, TAG(0x29, 0x1001)), STR("x")));
    assert_true(str_eq(dset_creator(back, TAG(0x29, 0x1001)), STR("MINE")));
}

/* ---- refusals ----------------------------------------------------------------------------- */

#define DOC(inside) "<NativeDicomModel>" inside "</NativeDicomModel>"
#define ATT(tag, vr, inside)                                                                       \
    "<DicomAttribute tag=\"" tag "\" vr=\"" vr "\">" inside "</DicomAttribute>"

static void foreign_documents(void **state)
{
    (void)state;

    static const struct {
        const char *what, *xml;
        enum err    want;
    } cases[] = {
        {"empty model", DOC(""), ERR_OK},
        {"with a prefix",
         "<n:NativeDicomModel xmlns:n=\"x\"><n:DicomAttribute tag=\"00100020\"><n:Value "
         "number='1'>1</n:Value></n:DicomAttribute></n:NativeDicomModel>",
         ERR_OK},
        {"without numbers", DOC(ATT("00080008", "CS", "<Value>A</Value><Value>B</Value>")), ERR_OK},
        {"comment and CDATA",
         "<!-- a --><?pi x?>" DOC(ATT("00080008", "CS", "<Value><![CDATA[A]]><!-- b --></Value>")),
         ERR_OK},
        {"base64 with breaks", DOC(ATT("00420011", "OB", "<InlineBinary> YW\nI= </InlineBinary>")),
         ERR_OK},
        {"latin 1",
         "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" DOC(
             ATT("00081030", "LO", "<Value>\xE9</Value>")),
         ERR_OK},
        {"nothing", "", ERR_SYNTAX},
        {"no XML", "abc", ERR_SYNTAX},
        {"not closed", "<NativeDicomModel>", ERR_SYNTAX},
        {"something behind", DOC("") "x", ERR_SYNTAX},
        {"another root", "<html/>", ERR_SYNTAX},
        {"unknown element", DOC("<x/>"), ERR_SYNTAX},
        {"value outside", DOC("<Value>1</Value>"), ERR_SYNTAX},
        {"attribute in attribute", DOC(ATT("00081030", "LO", ATT("00081030", "LO", ""))),
         ERR_SYNTAX},
        {"bad tag", DOC(ATT("0008103", "LO", "")), ERR_SYNTAX},
        {"no tag", DOC("<DicomAttribute vr=\"LO\"/>"), ERR_SYNTAX},
        {"bad VR", DOC(ATT("00081030", "XX", "")), ERR_SYNTAX},
        {"twice", DOC(ATT("00081030", "LO", "") ATT("00081030", "LO", "")), ERR_SYNTAX},
        {"item in a text", DOC(ATT("00081030", "LO", "<Item/>")), ERR_SYNTAX},
        {"value in a sequence", DOC(ATT("00081110", "SQ", "<Value>1</Value>")), ERR_SYNTAX},
        {"value in a name", DOC(ATT("00100010", "PN", "<Value>1</Value>")), ERR_SYNTAX},
        {"name in a text", DOC(ATT("00081030", "LO", "<PersonName/>")), ERR_SYNTAX},
        {"value of bytes", DOC(ATT("00420011", "OB", "<Value>1</Value>")), ERR_SYNTAX},
        {"no number", DOC(ATT("00280010", "US", "<Value>x</Value>")), ERR_SYNTAX},
        {"too large", DOC(ATT("00280010", "US", "<Value>65536</Value>")), ERR_SYNTAX},
        {"hole of numbers", DOC(ATT("00280010", "US", "<Value number=\"2\">1</Value>")),
         ERR_SYNTAX},
        {"back", DOC(ATT("00080008", "CS", "<Value number='2'>A</Value><Value number='1'/>")),
         ERR_SYNTAX},
        {"a billion", DOC(ATT("00080008", "CS", "<Value number='1000000000'>A</Value>")),
         ERR_SYNTAX},
        {"two kinds", DOC(ATT("00080008", "CS", "<Value>A</Value><BulkData uri='x'/>")),
         ERR_SYNTAX},
        {"two binaries",
         DOC(ATT("00420011", "OB", "<InlineBinary>YWI=</InlineBinary><InlineBinary/>")),
         ERR_SYNTAX},
        {"bad base64", DOC(ATT("00420011", "OB", "<InlineBinary>*</InlineBinary>")), ERR_SYNTAX},
        /* what XML can do to a server */
        {"a file",
         "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>" DOC(
             ATT("00081030", "LO", "<Value>&x;</Value>")),
         ERR_SYNTAX},
        {"a DTD from elsewhere", "<!DOCTYPE a SYSTEM \"http://127.0.0.1/x.dtd\">" DOC(""),
         ERR_SYNTAX},
        {"a billion laughs",
         "<!DOCTYPE a [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c "
         "\"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]>" DOC(
             ATT("00081030", "LO", "<Value>&d;</Value>")),
         ERR_SYNTAX},
        {"parameter entities", "<!DOCTYPE a [<!ENTITY % x SYSTEM \"file:///x\"> %x;]>" DOC(""),
         ERR_SYNTAX},
        {"an unknown entity", DOC(ATT("00081030", "LO", "<Value>&x;</Value>")), ERR_SYNTAX},
        {"XInclude",
         DOC("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"file:///x\"/>"),
         ERR_SYNTAX},
        {"NUL by reference", DOC(ATT("00081030", "LO", "<Value>&#0;</Value>")), ERR_SYNTAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        arena_init(&a, 1 << 22);
        struct dset  *d = NULL;
        struct errmsg e = {0};
        enum err      rc = dsxml_parse(str_bytes(str_of(cases[i].xml)), &a, &d, &e);
        if (rc != cases[i].want || (rc == ERR_OK) != (e.text[0] == '\0')) {
            fail_msg("%s: %s \"%s\"", cases[i].what, err_name(rc), e.text);
        }
    }
}

static enum err nested(size_t levels)
{
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    struct dset                     *d = NULL;
    arena_init(&a, 1 << 24);
    buf_init(&b, 1 << 24);
    buf_str(&b, STR("<NativeDicomModel>"));
    for (size_t i = 0; i < levels; i++) {
        buf_str(&b, STR("<DicomAttribute tag=\"00081110\" vr=\"SQ\"><Item number=\"1\">"));
    }
    buf_str(&b, STR(ATT("00100010", "PN",
                        "<PersonName><Alphabetic><FamilyName>x</FamilyName></Alphabetic>"
                        "</PersonName>")));
    for (size_t i = 0; i < levels; i++) {
        buf_str(&b, STR("</Item></DicomAttribute>"));
    }
    buf_str(&b, STR("</NativeDicomModel>"));
    return dsxml_parse((struct bytes){b.ptr, b.len}, &a, &d, NULL);
}

static void depth_is_a_limit(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_SQ_DEPTH), ERR_OK);
    assert_int_equal(nested(LIMIT_SQ_DEPTH + 1), ERR_LIMIT);
    assert_int_equal(nested(10000), ERR_LIMIT);
}

static void memory_is_a_limit(void **state)
{
    (void)state;
    enum err rc = ERR_LIMIT;
    size_t   cap = 1;
    for (; rc == ERR_LIMIT; cap += 64) {
        CLEANUP(arena_done) struct arena a;
        CLEANUP(buf_done) struct buf     b;
        struct dset                     *d = NULL;
        arena_init(&a, cap);
        rc = dsxml_parse(
            str_bytes(STR(DOC(ATT("00081110", "SQ",
                                  "<Item>" ATT("00290001", "LO", "<Value>a</Value>") "</Item>")))),
            &a, &d, NULL);
        buf_init(&b, cap % 1000);
        enum err written = rc == ERR_OK ? dsxml_write(d, &opts, &b, NULL) : ERR_LIMIT;
        assert_true(written == ERR_LIMIT || written == ERR_OK);
    }
    assert_int_equal(rc, ERR_OK);
}

/* ---- for tests against other programs ----------------------------------------------------- */

static enum err convert(const char *how, struct bytes file, struct arena *a, struct buf *out,
                        struct errmsg *e)
{
    struct dset       *d = NULL;
    struct part10_meta meta;
    struct parse_opts  po = {.lenient = LENIENT_ALL};
    struct dsrc        src = dsrc_of_bytes(&file);
    struct json_opts   o = {.bulk_prefix = STR("/bulk/")};
    struct jsonw       w;
    if (str_eq(str_of(how), STR("to-xml"))) {
        enum err rc = part10_read(&src, &po, a, &meta, &d, e);
        return rc == ERR_OK ? dsxml_write(d, &o, out, e) : rc;
    }
    enum err rc = dsxml_parse(file, a, &d, e);
    jsonw_init(&w, out);
    return rc == ERR_OK ? dsjson_write(d, &o, &w, e) : rc;
}

static int tool(const char *how, const char *path)
{
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b, out;
    struct errmsg                    e = {0};
    FILE                            *f = fopen(path, "rb");
    arena_init(&a, (size_t)1 << 30);
    buf_init(&b, (size_t)1 << 30);
    buf_init(&out, (size_t)1 << 30);
    for (size_t n = 1; n > 0 && f != NULL;) {
        uint8_t part[4096];
        n = fread(part, 1, sizeof(part), f);
        buf_add(&b, (struct bytes){part, n});
    }
    if (f == NULL || fclose(f) != 0 ||
        convert(how, (struct bytes){b.ptr, b.len}, &a, &out, &e) != ERR_OK) {
        (void)fprintf(stderr, "%s: %s\n", path, e.text);
        return EXIT_FAILURE;
    }
    return fwrite(out.ptr, 1, out.len, stdout) == out.len ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return tool(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_written_and_read_back),
        cmocka_unit_test(items_charsets_blocks_and_links),
        cmocka_unit_test(foreign_documents),
        cmocka_unit_test(depth_is_a_limit),
        cmocka_unit_test(memory_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
