#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/json.h"
#include "dicom/tags.h"
#include "dicomweb/qido.h"

static enum err parse(const char *query, struct arena *a, struct qido *ret, struct errmsg *e)
{
    struct uri u;
    char       target[8192];
    (void)snprintf(target, sizeof(target), "/studies?%s", query);
    assert_int_equal(uri_parse(str_bytes(str_of(target)), a, &u, NULL), ERR_OK);
    return qido_parse(&u, a, ret, e);
}

static void keys_become_a_data_set(void **state)
{
    (void)state;

    static const struct {
        const char *what, *query, *want; // as DICOM JSON, without (0008,0005)
    } cases[] = {
        {"a keyword", "PatientID=P1", "\"00100020\":{\"vr\":\"LO\",\"Value\":[\"P1\"]}"},
        {"a tag", "00100020=P1", "\"00100020\":{\"vr\":\"LO\",\"Value\":[\"P1\"]}"},
        {"a tag in small letters", "0020000d=1.2",
         "\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\"]}"},
        {"no value", "PatientID=", "\"00100020\":{\"vr\":\"LO\"}"},
        {"no equals sign", "PatientID", "\"00100020\":{\"vr\":\"LO\"}"},
        {"UIDs with commas", "StudyInstanceUID=1.2,1.3",
         "\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\",\"1.3\"]}"},
        {"UIDs with backslashes", "StudyInstanceUID=1.2%5C1.3",
         "\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.2\",\"1.3\"]}"},
        {"commas of other texts stay", "StudyDescription=a,b",
         "\"00081030\":{\"vr\":\"LO\",\"Value\":[\"a,b\"]}"},
        {"a number", "Rows=512", "\"00280010\":{\"vr\":\"US\",\"Value\":[512]}"},
        {"a sequence", "RequestAttributesSequence.ScheduledProcedureStepID=X",
         "\"00400275\":{\"vr\":\"SQ\",\"Value\":[{\"00400009\":{\"vr\":\"SH\",\"Value\":[\"X\"]}}]"
         "}"},
        {"two parts of an item", "00400275.00400009=X&00400275.00401001=Y",
         "\"00400275\":{\"vr\":\"SQ\",\"Value\":[{\"00400009\":{\"vr\":\"SH\",\"Value\":[\"X\"]},"
         "\"00401001\":{\"vr\":\"SH\",\"Value\":[\"Y\"]}}]}"},
        {"a character set is no key", "SpecificCharacterSet=ISO_IR+100&PatientID=P1",
         "\"00100020\":{\"vr\":\"LO\",\"Value\":[\"P1\"]}"},
        {"plus is a space", "PatientName=A+B",
         "\"00100010\":{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":\"A B\"}]}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        CLEANUP(buf_done) struct buf     out;
        struct qido                      q;
        struct errmsg                    e = {0};
        struct jsonw                     w;
        arena_init(&a, 1 << 20);
        buf_init(&out, 1 << 20);
        jsonw_init(&w, &out);
        if (parse(cases[i].query, &a, &q, &e) != ERR_OK) {
            fail_msg("%s: %s", cases[i].what, e.text);
        }
        dset_remove(q.keys, DT_SpecificCharacterSet);
        assert_int_equal(dsjson_write(q.keys, &(struct json_opts){0}, &w, &e), ERR_OK);
        char want[1024];
        (void)snprintf(want, sizeof(want), "{%s}", cases[i].want);
        if (!str_eq((struct str){(const char *)out.ptr, out.len}, str_of(want))) {
            fail_msg("%s: %.*s", cases[i].what, (int)out.len, (const char *)out.ptr);
        }
    }
}

static void the_rest_of_the_query_is_kept(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    struct qido                      q;
    arena_init(&a, 4 << 20);
    assert_int_equal(parse("", &a, &q, NULL), ERR_OK);
    assert_true(q.limit == LIMIT_QIDO_PAGE && q.offset == 0 && !q.limited && !q.fuzzy);
    assert_int_equal(
        parse("limit=3&offset=7&fuzzymatching=true&includefield=all&accept=x/y", &a, &q, NULL),
        ERR_OK);
    assert_true(q.limit == 3 && q.offset == 7 && q.limited && q.fuzzy && q.include_all);
    assert_int_equal(q.keys->n, 1); // the character set
    assert_int_equal(parse("limit=1000000", &a, &q, NULL), ERR_OK);
    assert_true(q.limit == LIMIT_QIDO_PAGE && !q.limited);
    assert_int_equal(parse("includefield=KVP,00080070&includefield=RequestAttributesSequence."
                           "ScheduledProcedureStepID,,",
                           &a, &q, NULL),
                     ERR_OK);
    assert_int_equal(q.n_include, 3);
    assert_int_equal(q.include[0], DT_KVP);
    assert_int_equal(q.include[1], DT_Manufacturer);
    assert_int_equal(q.include[2], DT_RequestAttributesSequence);
}

static void what_is_not_understood_is_named(void **state)
{
    (void)state;

    static const struct {
        const char *query, *named;
        enum err    want;
    } cases[] = {
        {"PatientNme=X", "PatientNme", ERR_SYNTAX},
        {"0010002=X", "0010002", ERR_SYNTAX},
        {"0010002G=X", "0010002G", ERR_SYNTAX},
        {"PatientID&limit=x", "limit", ERR_SYNTAX},
        {"limit=-1", "limit", ERR_SYNTAX},
        {"limit=99999999999999999999", "limit", ERR_SYNTAX},
        {"offset=", "offset", ERR_SYNTAX},
        {"fuzzymatching=yes", "fuzzymatching", ERR_SYNTAX},
        {"includefield=X", "includefield", ERR_SYNTAX},
        {"Rows=x", "Rows", ERR_SYNTAX},
        {"PatientID.Rows=1", "PatientID.Rows", ERR_SYNTAX},
        {"00400275.=1", "00400275.", ERR_SYNTAX},
        {"RequestAttributesSequence=1", "RequestAttributesSequence", ERR_SYNTAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(arena_done) struct arena a;
        struct qido                      q;
        struct errmsg                    e = {0};
        arena_init(&a, 1 << 20);
        enum err rc = parse(cases[i].query, &a, &q, &e);
        if (rc != cases[i].want || strstr(e.text, cases[i].named) == NULL) {
            fail_msg("%s: %s, %s", cases[i].query, err_name(rc), e.text);
        }
    }
}

static void a_huge_query_is_refused(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    struct qido                      q;
    struct errmsg                    e = {0};
    struct uri                       u;
    arena_init(&a, 4 << 20);
    buf_init(&b, 1 << 20);
    buf_str(&b, STR("/studies?includefield=KVP"));
    for (int i = 0; i < URI_QUERIES; i++) {
        buf_str(&b, STR(",KVP"));
    }
    assert_int_equal(uri_parse((struct bytes){b.ptr, b.len}, &a, &u, NULL), ERR_OK);
    assert_int_equal(qido_parse(&u, &a, &q, &e), ERR_LIMIT);
    buf_clear(&b);
    buf_str(&b, STR("/studies?"));
    for (int i = 0; i < LIMIT_SQ_DEPTH + 2; i++) {
        buf_str(&b, STR("00400275."));
    }
    buf_str(&b, STR("00400009=X"));
    e = (struct errmsg){0};
    assert_int_equal(uri_parse((struct bytes){b.ptr, b.len}, &a, &u, NULL), ERR_OK);
    assert_int_equal(qido_parse(&u, &a, &q, &e), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_a_data_set),
        cmocka_unit_test(the_rest_of_the_query_is_kept),
        cmocka_unit_test(what_is_not_understood_is_named),
        cmocka_unit_test(a_huge_query_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
