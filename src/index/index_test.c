#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "db/fault.h"
#include "db/pg_test.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "index/index.h"

/* Every test runs on each engine that is here, on an index of its own. */
static char lite_url[128], lite_path[96], pg_url[PG_TEST_URL];

struct fixture {
    struct db_pool *pool;
    struct db      *db;
    int64_t         tenant, other;
    struct arena    a;
    struct errmsg   e;
};

static void good(enum err rc, const struct errmsg *e)
{
    if (rc != ERR_OK) {
        fail_msg("%s: %s", err_name(rc), e->text);
    }
}

static int64_t add_tenant(struct fixture *f, const char *code, const char *aet)
{
    int64_t       id = 0;
    struct tenant t = {.code = str_of(code), .name = STR("A hospital"), .aet = str_of(aet)};
    t.services = SERVICE_PACS | SERVICE_ARCHIVE;
    good(tenant_add(f->db, &t, &id, &f->e), &f->e);
    return id;
}

static void open_at(struct fixture *f, const char *url)
{
    *f = (struct fixture){0};
    arena_init(&f->a, 64 << 20);
    good(db_pool_new(url, 4, &f->pool, &f->e), &f->e);
    f->db = db_pool_take(f->pool, &f->e);
    assert_non_null(f->db);
}

static void close_at(struct fixture *f)
{
    db_pool_give(f->pool, f->db);
    db_pool_free(f->pool);
    arena_done(&f->a);
}

static void remove_lite(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", lite_path, ends[i]);
        (void)unlink(path);
    }
}

static void clear(const char *url)
{
    remove_lite();
    if (url == pg_url) {
        struct fixture f;
        open_at(&f, url);
        good(db_script(f.db, STR("DROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n"), &f.e),
             &f.e);
        close_at(&f);
    }
}

typedef void index_test(struct fixture *f);

static void on_each_engine(index_test *test)
{
    const char *urls[] = {lite_url, pg_url};
    for (size_t i = 0; i < 2; i++) {
        if (urls[i][0] == 0) {
            continue;
        }
        struct fixture f;
        clear(urls[i]);
        open_at(&f, urls[i]);
        good(index_migrate(f.db, &f.e), &f.e);
        f.tenant = add_tenant(&f, "PURPAN", "PURPAN");
        f.other = add_tenant(&f, "RANGUEIL", "RANGUEIL");
        test(&f);
        close_at(&f);
    }
}

/* ---- headers */

struct field {
    uint32_t    tag;
    const char *text; // UTF-8
};

static struct dset *header_of(struct arena *a, const struct field *fields, size_t n)
{
    struct dset *d = dset_new(a);
    assert_non_null(d);
    assert_int_equal(dset_put_str(d, DT_SpecificCharacterSet, STR("ISO_IR 192")), ERR_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(dset_put_text(d, fields[i].tag, str_of(fields[i].text)), ERR_OK);
    }
    return d;
}

#define HEADER(a, ...)                                                                             \
    header_of(a, (const struct field[]){__VA_ARGS__},                                              \
              sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field))

/* A header with UIDs "1.study", "1.study.series". */
static struct dset *plain(struct arena *a, int study, int series, const char *modality)
{
    char s[32], r[32];
    (void)snprintf(s, sizeof(s), "1.%d", study);
    (void)snprintf(r, sizeof(r), "1.%d.%d", study, series);
    return HEADER(a, {DT_StudyInstanceUID, s}, {DT_SeriesInstanceUID, r}, {DT_Modality, modality},
                  {DT_SOPClassUID, "1.2.840.10008.5.1.4.1.1.2"}, {DT_PatientID, "P1"},
                  {DT_PatientName, "DUPONT^JEAN"}, {DT_StudyDate, "20260102"});
}

static void put(struct dset *d, uint32_t tag, const char *text)
{
    assert_int_equal(dset_put_text(d, tag, str_of(text)), ERR_OK);
}

static struct series_ids file(struct fixture *f, int64_t tenant, const struct dset *d)
{
    struct series_ids ids = {0};
    good(index_file(f->db, tenant, d, &ids, &f->e), &f->e);
    return ids;
}

/* The rows that answer keys, in order; matched by is_match. */
static struct find_row *found(struct fixture *f, int64_t tenant, enum level level,
                              const struct dset *keys, size_t *ret_n, size_t *ret_candidates)
{
    struct find      *find = NULL;
    struct find_row  *rows = arena_array(&f->a, 1000, struct find_row);
    struct match_opts o = {0};
    size_t            n = 0, candidates = 0;
    good(index_find(f->db, tenant, level, keys, &find, &f->e), &f->e);
    enum err rc = ERR_OK;
    while ((rc = find_next(find, &f->a, &rows[n], &f->e)) == ERR_OK) {
        candidates++;
        n += is_match(keys, rows[n].dset, &o) ? 1 : 0;
        assert_true(n < 1000);
    }
    assert_int_equal(rc, ERR_NOTFOUND);
    find_free(find);
    *ret_n = n;
    if (ret_candidates != NULL) {
        *ret_candidates = candidates;
    }
    return rows;
}

static void expect(const struct dset *d, uint32_t tag, const char *want)
{
    struct str s = dset_text(d, tag);
    if (!str_eq(s, str_of(want))) {
        fail_msg("%08X is \"%.*s\", not \"%s\"", (unsigned)tag, STR_ARG(s), want);
    }
}

/* ---- tenants and peers */

static void tenants_are_kept(struct fixture *f)
{
    struct tenant t = {0}, *list = NULL;
    size_t        n = 0;
    int64_t       id = 0;
    good(tenant_by_aet(f->db, STR("RANGUEIL"), &f->a, &t, &f->e), &f->e);
    assert_int_equal(t.id, f->other);
    assert_int_equal(t.services, 3);
    t.name = STR("H\xC3\xB4pital");
    t.aet = STR("RANGUEIL2");
    good(tenant_update(f->db, &t, &f->e), &f->e);
    good(tenant_by_code(f->db, STR("RANGUEIL"), &f->a, &t, &f->e), &f->e);
    assert_true(str_eq(t.name, STR("H\xC3\xB4pital")));
    assert_int_equal(tenant_by_aet(f->db, STR("RANGUEIL"), &f->a, &t, &f->e), ERR_NOTFOUND);
    f->e = (struct errmsg){0};

    static const struct {
        const char *what, *code, *aet;
        enum err    want;
    } cases[] = {
        {"same code", "PURPAN", "X", ERR_EXISTS},
        {"same AE title", "X", "PURPAN", ERR_EXISTS},
        {"lower case", "purpan", "X", ERR_SYNTAX},
        {"a path", "../X", "X", ERR_SYNTAX},
        {"empty code", "", "X", ERR_SYNTAX},
        {"long code", "X23456789012345678901234567890123", "X", ERR_SYNTAX},
        {"empty AE title", "X", "", ERR_SYNTAX},
        {"long AE title", "X", "12345678901234567", ERR_SYNTAX},
        {"spaces", "X", " X", ERR_SYNTAX},
        {"backslash", "X", "A\\B", ERR_SYNTAX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct errmsg e = {0};
        struct tenant x = {.code = str_of(cases[i].code), .aet = str_of(cases[i].aet)};
        if (tenant_add(f->db, &x, &id, &e) != cases[i].want) {
            fail_msg("%s: %s", cases[i].what, err_name(e.code));
        }
    }
    for (int i = 0; i < 20; i++) {
        char code[16];
        (void)snprintf(code, sizeof(code), "T%02d", i);
        (void)add_tenant(f, code, code);
    }
    good(tenant_list(f->db, &f->a, &list, &n, &f->e), &f->e);
    assert_int_equal(n, 22);
    assert_true(str_eq(list[0].code, STR("PURPAN")));
    assert_true(str_eq(list[21].code, STR("T19")));
}

static void a_tenant_with_studies_stays(struct fixture *f)
{
    struct peer p = {.tenant_id = f->tenant, .aet = STR("CT1"), .host = STR(""), .cert = STR("")};
    int64_t     id = 0;
    good(peer_add(f->db, &p, &id, &f->e), &f->e);
    (void)file(f, f->tenant, plain(&f->a, 1, 1, "CT"));
    assert_int_equal(tenant_remove(f->db, f->tenant, &f->e), ERR_CONFLICT);
    f->e = (struct errmsg){0};
    p.tenant_id = f->other;
    good(peer_add(f->db, &p, &id, &f->e), &f->e);
    good(tenant_remove(f->db, f->other, &f->e), &f->e);
    assert_int_equal(tenant_remove(f->db, f->other, &f->e), ERR_NOTFOUND);
}

static void peers_are_kept(struct fixture *f)
{
    struct peer p = {
        .tenant_id = f->tenant,
        .aet = STR("CT1"),
        .host = STR("192.0.2.1"),
        .port = 11112,
        .cert = STR("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
        .tls = true,
        .charset = STR("ISO_IR 100"),
    };
    struct peer got = {0}, *list = NULL;
    size_t      n = 0;
    int64_t     id = 0, id2 = 0;
    good(peer_add(f->db, &p, &id, &f->e), &f->e);
    assert_int_equal(peer_add(f->db, &p, &id2, &f->e), ERR_EXISTS);
    f->e = (struct errmsg){0};
    p.tenant_id = f->other; // the same title elsewhere is another peer
    good(peer_add(f->db, &p, &id2, &f->e), &f->e);
    good(peer_by_aet(f->db, f->tenant, STR("CT1"), &f->a, &got, &f->e), &f->e);
    assert_int_equal(got.id, id);
    assert_int_equal(got.port, 11112);
    assert_true(got.tls);
    assert_true(str_eq(got.cert, p.cert));
    assert_true(str_eq(got.charset, p.charset));
    got.host = STR("");
    got.tls = false;
    good(peer_update(f->db, &got, &f->e), &f->e);
    good(peer_by_aet(f->db, f->tenant, STR("CT1"), &f->a, &got, &f->e), &f->e);
    assert_int_equal(got.host.len, 0);
    good(peer_list(f->db, 0, &f->a, &list, &n, &f->e), &f->e);
    assert_int_equal(n, 2);
    good(peer_list(f->db, f->other, &f->a, &list, &n, &f->e), &f->e);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].id, id2);
    good(peer_remove(f->db, f->other, STR("CT1"), &f->e), &f->e);
    assert_int_equal(peer_remove(f->db, f->other, STR("CT1"), &f->e), ERR_NOTFOUND);
    f->e = (struct errmsg){0};
    p.cert = STR("abc");
    assert_int_equal(peer_add(f->db, &p, &id, &f->e), ERR_SYNTAX);
}

/* ---- filing */

static void a_series_is_filed_once(struct fixture *f)
{
    struct series_ids a = file(f, f->tenant, plain(&f->a, 1, 1, "CT"));
    assert_true(a.new_series);
    struct series_ids b = file(f, f->tenant, plain(&f->a, 1, 1, "CT"));
    assert_false(b.new_series);
    assert_int_equal(a.series_id, b.series_id);
    struct series_ids c = file(f, f->tenant, plain(&f->a, 1, 2, "SR"));
    assert_true(c.new_series);
    assert_int_equal(c.study_id, a.study_id);
    assert_int_equal(c.patient_id, a.patient_id);
    struct series_ids d = file(f, f->tenant, plain(&f->a, 1, 3, "CT"));
    assert_int_equal(d.study_id, a.study_id);
    (void)file(f, f->tenant, plain(&f->a, 1, 4, ""));
    struct series_ids x = file(f, f->other, plain(&f->a, 1, 1, "CT")); // same UIDs, another tenant
    assert_true(x.new_series);
    assert_int_not_equal(x.study_id, a.study_id);
    assert_int_not_equal(x.patient_id, a.patient_id);

    struct series_ids got = {0};
    good(series_by_uid(f->db, f->tenant, STR("1.1"), STR("1.1.2"), &got, &f->e), &f->e);
    assert_int_equal(got.series_id, c.series_id);
    assert_int_equal(series_by_uid(f->db, f->other, STR("1.1"), STR("1.1.2"), &got, &f->e),
                     ERR_NOTFOUND);
    size_t           n = 0;
    struct find_row *rows = found(f, f->tenant, LEVEL_STUDY, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, 1);
    expect(rows[0].dset, DT_ModalitiesInStudy, "CT\\SR");
    expect(rows[0].dset, DT_SOPClassesInStudy, "1.2.840.10008.5.1.4.1.1.2");
    expect(rows[0].dset, DT_NumberOfStudyRelatedSeries, "4");

    struct dset *loop = plain(&f->a, 1, 1, "CT"); // a further class in a series that is known
    put(loop, DT_SOPClassUID, "1.2.840.10008.5.1.4.1.1.2.1");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(file(f, f->tenant, loop).series_id, a.series_id);
    }
    rows = found(f, f->tenant, LEVEL_STUDY, dset_new(&f->a), &n, NULL);
    expect(rows[0].dset, DT_SOPClassesInStudy,
           "1.2.840.10008.5.1.4.1.1.2\\1.2.840.10008.5.1.4.1.1.2.1");
    expect(rows[0].dset, DT_NumberOfStudyRelatedSeries, "4");

    f->e = (struct errmsg){0};
    struct dset *bad = plain(&f->a, 2, 1, "CT");
    put(bad, DT_SeriesInstanceUID, "../etc");
    assert_int_equal(index_file(f->db, f->tenant, bad, &got, &f->e), ERR_SYNTAX);
}

static const struct field patient_fields[] = {
    {DT_PatientID, "AB 12"},
    {DT_IssuerOfPatientID, "CHU"},
    {DT_PatientName, "Sm\xC3\xADth^J\xC3\xB6rg=\xE5\xB1\xB1\xE7\x94\xB0=\xE3\x82\x84\xE3\x81\xBE"},
    {DT_PatientBirthDate, "19570304"},
    {DT_PatientSex, "F"},
    {DT_PatientBirthTime, "1200"},
    {DT_OtherPatientIDs, "X1\\X2"},
    {DT_PatientComments, "two\r\nlines"},
    {DT_EthnicGroup, "x"},
};

static const struct field study_fields[] = {
    {DT_StudyDate, "20260304"},
    {DT_StudyTime, "101112.123456"},
    {DT_AccessionNumber, "A-77"},
    {DT_StudyID, "S7"},
    {DT_StudyDescription, "Scanner thorax"},
    {DT_ReferringPhysicianName, "Geli\xC3\xA8vre^A"},
    {DT_TimezoneOffsetFromUTC, "+0100"},
    {DT_PatientAge, "069Y"},
    {DT_PatientWeight, "71.5"},
    {DT_AdmittingDiagnosesDescription, "d"},
    {DT_RequestedProcedureDescription, "TDM"},
};

static const struct field series_fields[] = {
    {DT_Modality, "CT"},
    {DT_SeriesNumber, "3"},
    {DT_SeriesDescription, "5mm"},
    {DT_SeriesDate, "20260305"},
    {DT_SeriesTime, "1000"},
    {DT_BodyPartExamined, "CHEST"},
    {DT_ProtocolName, "p"},
    {DT_StationName, "st"},
    {DT_InstitutionName, "in"},
    {DT_Manufacturer, "ma"},
    {DT_ManufacturerModelName, "mo"},
    {DT_PerformingPhysicianName, "Perf^A"},
    {DT_PerformedProcedureStepStartDate, "20260306"},
    {DT_PerformedProcedureStepStartTime, "0900"},
    {DT_Laterality, "L"},
    {DT_OperatorsName, "Op^A\\Op^B"},
    {DT_FrameOfReferenceUID, "1.2.3"},
    {DT_PerformedProcedureStepID, "77"},
};

#define N(array) (sizeof(array) / sizeof((array)[0]))

static void put_all(struct dset *d, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(d, fields[i].tag, fields[i].text);
    }
}

static void expect_all(const struct dset *d, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        expect(d, fields[i].tag, fields[i].text);
    }
}

static void every_attribute_comes_back(struct fixture *f)
{
    struct dset *d = HEADER(&f->a, {DT_StudyInstanceUID, "1.2"}, {DT_SeriesInstanceUID, "1.2.3"},
                            {DT_SOPClassUID, "1.9"});
    struct dset *item = NULL;
    put_all(d, patient_fields, N(patient_fields));
    put_all(d, study_fields, N(study_fields));
    put_all(d, series_fields, N(series_fields));
    assert_int_equal(dset_put_item(d, DT_RequestAttributesSequence, &item), ERR_OK);
    put(item, DT_RequestedProcedureID, "R-1");
    struct series_ids ids = file(f, f->tenant, d);
    struct pack_row   p = {.tenant_id = f->tenant, .series_id = ids.series_id, .n = 1};
    int64_t           pack = 0;
    p.images = 12;
    p.sha256 = STR("");
    good(pack_row_add(f->db, &p, &pack, &f->e), &f->e);

    size_t           n = 0;
    struct find_row *r = found(f, f->tenant, LEVEL_PATIENT, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, 1);
    assert_int_equal(r->ids.patient_id, ids.patient_id);
    expect_all(r->dset, patient_fields, N(patient_fields));
    expect(r->dset, DT_NumberOfPatientRelatedStudies, "1");
    expect(r->dset, DT_NumberOfPatientRelatedSeries, "1");
    expect(r->dset, DT_NumberOfPatientRelatedInstances, "12");

    struct dset *keys = dset_new(&f->a);
    for (int counted = 0; counted < 2; counted++) {
        r = found(f, f->tenant, LEVEL_STUDY, keys, &n, NULL);
        assert_int_equal(n, 1);
        assert_int_equal(r->ids.study_id, ids.study_id);
        expect_all(r->dset, patient_fields, N(patient_fields));
        expect_all(r->dset, study_fields, N(study_fields));
        expect(r->dset, DT_StudyInstanceUID, "1.2");
        expect(r->dset, DT_NumberOfStudyRelatedInstances, "12");
        expect(r->dset, DT_NumberOfPatientRelatedInstances, counted != 0 ? "12" : "");
        put(keys, DT_NumberOfPatientRelatedStudies, "");
    }
    r = found(f, f->tenant, LEVEL_SERIES, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, 1);
    assert_int_equal(r->ids.series_id, ids.series_id);
    expect_all(r->dset, patient_fields, N(patient_fields));
    expect_all(r->dset, study_fields, N(study_fields));
    expect_all(r->dset, series_fields, N(series_fields));
    expect(r->dset, DT_SeriesInstanceUID, "1.2.3");
    expect(r->dset, DT_NumberOfSeriesRelatedInstances, "12");
    const struct elem *seq = dset_find(r->dset, DT_RequestAttributesSequence);
    assert_true(seq != NULL && seq->n_items == 1);
    expect(seq->items[0], DT_RequestedProcedureID, "R-1");
    (void)found(f, f->other, LEVEL_SERIES, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, 0);
}

static void absurd_values_are_left_out(struct fixture *f)
{
    char         huge[5000];
    struct dset *d = plain(&f->a, 1, 1, "CT");
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = 0;
    put(d, DT_PatientComments, huge);
    put(d, DT_StudyDescription, huge);
    put(d, DT_StudyDate, "not a date");
    put(d, DT_StudyTime, "noon");
    put(d, DT_SeriesNumber, "seven");
    huge[1000] = 0;
    put(d, DT_PatientID, huge);
    put(d, DT_PatientName, huge);
    assert_int_equal(
        dset_put(d, DT_AccessionNumber, VR_SH, (struct bytes){(const uint8_t *)"A\0B", 3}), ERR_OK);
    (void)file(f, f->tenant, d);
    struct dset     *keys = HEADER(&f->a, {DT_PatientID, huge});
    size_t           n = 0;
    struct find_row *r = found(f, f->tenant, LEVEL_SERIES, keys, &n, NULL);
    assert_int_equal(n, 1);
    expect(r->dset, DT_PatientComments, "");
    expect(r->dset, DT_StudyDescription, "");
    expect(r->dset, DT_StudyDate, "not a date");
    expect(r->dset, DT_StudyTime, "");
    expect(r->dset, DT_AccessionNumber, "A");
    keys = HEADER(&f->a, {DT_StudyDate, "not a date"});
    (void)found(f, f->tenant, LEVEL_STUDY, keys, &n, NULL);
    assert_int_equal(n, 1);
}

static void patients_are_told_apart(struct fixture *f)
{
    struct dset *d[6];
    for (int i = 0; i < 6; i++) {
        d[i] = plain(&f->a, i, 1, "CT");
    }
    put(d[1], DT_IssuerOfPatientID, "ELSEWHERE"); // another P1
    put(d[2], DT_PatientID, "");                  // two unknown persons
    put(d[3], DT_PatientID, "");
    put(d[4], DT_StudyDate, "20270101"); // a newer study of P1
    put(d[4], DT_PatientName, "MARTIN^JEAN");
    put(d[5], DT_StudyDate, "20100101"); // an older one
    put(d[5], DT_PatientName, "DURAND^JEAN");
    struct series_ids ids[6];
    for (int i = 0; i < 6; i++) {
        ids[i] = file(f, f->tenant, d[i]);
    }
    assert_int_not_equal(ids[0].patient_id, ids[1].patient_id);
    assert_int_not_equal(ids[2].patient_id, ids[3].patient_id);
    assert_int_equal(ids[0].patient_id, ids[4].patient_id);
    assert_int_equal(ids[0].patient_id, ids[5].patient_id);

    size_t           n = 0;
    struct dset     *keys = HEADER(&f->a, {DT_PatientName, "martin*"});
    struct find_row *r = found(f, f->tenant, LEVEL_PATIENT, keys, &n, NULL);
    assert_int_equal(n, 1); // the newest name
    expect(r->dset, DT_NumberOfPatientRelatedStudies, "3");
    r = found(f, f->tenant, LEVEL_STUDY, keys, &n, NULL);
    assert_int_equal(n, 1); // the study of that name alone
    assert_int_equal(r->ids.study_id, ids[4].study_id);
    r = found(f, f->tenant, LEVEL_STUDY, HEADER(&f->a, {DT_PatientID, "P1"}), &n, NULL);
    assert_int_equal(n, 4);
    expect(r[0].dset, DT_StudyDate, "20270101"); // newest first
    expect(r[3].dset, DT_StudyDate, "20100101");
}

/* ---- packs */

static void expect_counts(struct fixture *f, int series, int images, const char *modalities)
{
    size_t           n = 0;
    char             text[16];
    struct dset     *keys = HEADER(&f->a, {DT_StudyInstanceUID, "1.1"});
    struct find_row *r = found(f, f->tenant, LEVEL_STUDY, keys, &n, NULL);
    if (series == 0) {
        assert_int_equal(n, 0);
        return;
    }
    assert_int_equal(n, 1);
    (void)snprintf(text, sizeof(text), "%d", series);
    expect(r->dset, DT_NumberOfStudyRelatedSeries, text);
    (void)snprintf(text, sizeof(text), "%d", images);
    expect(r->dset, DT_NumberOfStudyRelatedInstances, text);
    expect(r->dset, DT_ModalitiesInStudy, modalities);
}

static int64_t add_pack(struct fixture *f, int64_t series_id, uint32_t n, uint32_t images)
{
    int64_t         id = 0;
    struct pack_row p = {.tenant_id = f->tenant, .series_id = series_id, .n = n, .images = images};
    p.sha256 = STR("");
    p.bytes = (uint64_t)images * 1000;
    good(pack_row_add(f->db, &p, &id, &f->e), &f->e);
    return id;
}

static void sums_follow_the_packs(struct fixture *f)
{
    struct series_ids ct = file(f, f->tenant, plain(&f->a, 1, 1, "CT"));
    struct series_ids sr = file(f, f->tenant, plain(&f->a, 1, 2, "SR"));
    int64_t           a = add_pack(f, ct.series_id, 1, 0);
    int64_t           b = add_pack(f, ct.series_id, 2, 5);
    int64_t           c = add_pack(f, sr.series_id, 1, 1);
    struct pack_row   again = {.tenant_id = f->tenant, .series_id = ct.series_id, .n = 2};
    int64_t           id = 0;
    again.sha256 = STR("");
    assert_int_equal(pack_row_add(f->db, &again, &id, &f->e), ERR_EXISTS);
    f->e = (struct errmsg){0};
    expect_counts(f, 2, 6, "CT\\SR");
    good(pack_row_count(f->db, a, 10000, 10, &f->e), &f->e);
    good(pack_row_count(f->db, a, 12000, 12, &f->e), &f->e);
    expect_counts(f, 2, 18, "CT\\SR");
    good(pack_row_count(f->db, a, 3000, 3, &f->e), &f->e); // some were torn
    expect_counts(f, 2, 9, "CT\\SR");

    struct pack_row sealed = {.id = a, .bytes = 4000, .images = 4, .manifest_at = 1};
    sealed.manifest_len = 2;
    sealed.metadata_at = 3;
    sealed.metadata_len = UINT64_C(1) << 40;
    sealed.sha256 = STR("00ff");
    good(pack_row_seal(f->db, &sealed, &f->e), &f->e);
    expect_counts(f, 2, 10, "CT\\SR");

    struct pack_row *rows = NULL;
    size_t           n = 0;
    good(pack_rows_of_series(f->db, ct.series_id, &f->a, &rows, &n, &f->e), &f->e);
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].state, PACK_SEALED);
    assert_int_equal(rows[0].manifest_at, 1);
    assert_true(rows[0].metadata_len == UINT64_C(1) << 40);
    assert_true(str_eq(rows[0].sha256, STR("00ff")));
    assert_true(str_eq(rows[0].study_uid, STR("1.1")));
    assert_true(str_eq(rows[0].series_uid, STR("1.1.1")));
    assert_true(str_eq(rows[0].tenant_code, STR("PURPAN")));
    good(pack_rows_open(f->db, &f->a, &rows, &n, &f->e), &f->e);
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].id, b);
    good(pack_rows_after(f->db, &(struct pack_page){.after = a, .max = 1}, &f->a, &rows, &n, &f->e),
         &f->e);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].id, b);
    good(pack_rows_after(f->db, &(struct pack_page){f->other, 0, 10}, &f->a, &rows, &n, &f->e),
         &f->e);
    assert_int_equal(n, 0);

    struct index_counts k = {0};
    good(index_count(f->db, f->tenant, &k, &f->e), &f->e);
    assert_int_equal(k.patients, 1);
    assert_int_equal(k.studies, 1);
    assert_int_equal(k.series, 2);
    assert_int_equal(k.packs_open, 2);
    assert_int_equal(k.packs_sealed, 1);
    assert_int_equal(k.images, 10);
    assert_int_equal(k.bytes, 10000);
    good(index_count(f->db, f->other, &k, &f->e), &f->e);
    assert_int_equal(k.studies + k.packs_open + k.images, 0);

    good(pack_row_remove(f->db, c, &f->e), &f->e);
    expect_counts(f, 1, 9, "CT");
    good(pack_row_remove(f->db, b, &f->e), &f->e);
    expect_counts(f, 1, 4, "CT");
    good(pack_row_remove(f->db, a, &f->e), &f->e);
    expect_counts(f, 0, 0, "");
    good(index_count(f->db, 0, &k, &f->e), &f->e);
    assert_int_equal(k.patients + k.studies + k.series, 0);
    assert_int_equal(k.tenants, 2);
    assert_int_equal(pack_row_remove(f->db, a, &f->e), ERR_NOTFOUND);
    f->e = (struct errmsg){0};
    assert_int_equal(pack_row_count(f->db, a, 1, 1, &f->e), ERR_NOTFOUND);
    f->e = (struct errmsg){0};
    struct series_ids anew = file(f, f->tenant, plain(&f->a, 1, 1, "CT"));
    assert_int_not_equal(anew.series_id, ct.series_id); // numbers are not used twice
}

static void quarantine_is_listed(struct fixture *f)
{
    struct quarantine_row  q = {.tenant_id = f->tenant,
                                .study_uid = STR("1"),
                                .series_uid = STR("2"),
                                .sop_uid = STR("3"),
                                .calling = STR("CT1"),
                                .bytes = 7};
    struct quarantine_row *rows = NULL;
    size_t                 n = 0;
    for (int i = 0; i < 5; i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "q/3.%d.dcm", i);
        q.path = str_of(path);
        q.received_us = i;
        good(quarantine_add(f->db, &q, &f->e), &f->e);
        q.received_us = i + 100; // once more changes nothing
        good(quarantine_add(f->db, &q, &f->e), &f->e);
    }
    good(quarantine_list(f->db, f->tenant, &f->a, &rows, &n, &f->e), &f->e);
    assert_int_equal(n, 5);
    assert_int_equal(rows[0].received_us, 4);
    assert_true(str_eq(rows[0].path, STR("q/3.4.dcm")));
    good(quarantine_remove(f->db, rows[0].id, &f->e), &f->e);
    assert_int_equal(quarantine_remove(f->db, rows[0].id, NULL), ERR_NOTFOUND);
    good(quarantine_list(f->db, f->tenant, &f->a, &rows, &n, &f->e), &f->e);
    assert_int_equal(n, 4);
    good(quarantine_list(f->db, f->other, &f->a, &rows, &n, &f->e), &f->e);
    assert_int_equal(n, 0);
}

/* ---- faults */

struct work {
    const struct dset *d;
    struct series_ids  ids;
    int64_t            tenant, pack;
};

static enum err file_and_pack(struct db *db, void *arg, struct errmsg *e)
{
    struct work *w = arg;
    enum err     rc = index_file(db, w->tenant, w->d, &w->ids, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct pack_row p = {
        .tenant_id = w->tenant, .series_id = w->ids.series_id, .n = 1, .images = 2};
    p.sha256 = STR("");
    return pack_row_add(db, &p, &w->pack, e);
}

static enum err take_away(struct db *db, void *arg, struct errmsg *e)
{
    return pack_row_remove(db, ((struct work *)arg)->pack, e);
}

static int64_t rows_of(struct fixture *f)
{
    struct index_counts k = {0};
    good(index_count(f->db, 0, &k, &f->e), &f->e);
    return k.patients + k.studies + k.series + k.packs_open + k.images;
}

/* The n-th statement fails, for each n until the work is through: all of it or nothing. */
static void fail_each(struct fixture *f, db_work *work, struct work *w, int64_t before,
                      int64_t after)
{
    enum err rc = ERR_IO;
    unsigned n = 1;
    for (; rc != ERR_OK; n++) {
        struct errmsg e = {0};
        db_fault_set(n, ERR_IO);
        rc = db_tx(f->db, work, w, &e);
        db_fault_set(0, ERR_OK);
        assert_true(rc == ERR_OK || rc == ERR_IO);
        assert_int_equal(rows_of(f), rc == ERR_OK ? after : before);
        assert_true(n < 100);
    }
    assert_true(n > 5);
}

static void nothing_is_half_filed(struct fixture *f)
{
    struct work w = {.d = plain(&f->a, 1, 1, "CT"), .tenant = f->tenant};
    fail_each(f, file_and_pack, &w, 0, 6);
    fail_each(f, take_away, &w, 6, 0);
    // a conflict half-way is only a delay
    for (unsigned n = 1; n < 12; n++) {
        db_fault_set(n, ERR_CONFLICT);
        good(db_tx(f->db, file_and_pack, &w, &f->e), &f->e);
        db_fault_set(0, ERR_OK);
        assert_int_equal(rows_of(f), 6);
        good(db_tx(f->db, take_away, &w, &f->e), &f->e);
    }
}

/* ---- several processes */

enum { KIDS = 3, SERIES_EACH = 40 };

/* In a child: series of studies that the others file as well. */
static int file_many(const char *url, int64_t tenant, int kid)
{
    struct db_pool *p = NULL;
    struct errmsg   e = {0};
    struct arena    a;
    arena_init(&a, 64 << 20);
    (void)db_pool_new(url, 1, &p, &e);
    struct db *db = db_pool_take(p, &e);
    for (int i = 0; db != NULL && i < SERIES_EACH && e.code == ERR_OK; i++) {
        static const char *const modality[KIDS] = {"CT", "MR", "US"};

        struct work w = {.d = plain(&a, i / 4, i * KIDS + kid, modality[kid]), .tenant = tenant};
        if (db_tx(db, file_and_pack, &w, &e) == ERR_OK) {
            (void)pack_row_count(db, w.pack, 3000, 3, &e);
        }
    }
    if (e.code != ERR_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    db_pool_give(p, db);
    db_pool_free(p);
    arena_done(&a);
    return e.code == ERR_OK ? 0 : 1;
}

static void processes_file_the_same_studies(struct fixture *f)
{
    const char *url = is_db_postgres(f->db) ? pg_url : lite_url;
    int64_t     tenant = f->tenant;
    close_at(f); // a connection does not survive fork
    pid_t kids[KIDS];
    for (int k = 0; k < KIDS; k++) {
        kids[k] = fork();
        if (kids[k] == 0) {
            _exit(file_many(url, tenant, k));
        }
    }
    for (int k = 0; k < KIDS; k++) {
        int status = -1;
        assert_int_equal(waitpid(kids[k], &status, 0), kids[k]);
        assert_int_equal(status, 0);
    }
    open_at(f, url);
    struct index_counts c = {0};
    good(index_count(f->db, tenant, &c, &f->e), &f->e);
    assert_int_equal(c.patients, 1);
    assert_int_equal(c.studies, SERIES_EACH / 4);
    assert_int_equal(c.series, SERIES_EACH * KIDS);
    assert_int_equal(c.images, SERIES_EACH * KIDS * 3);
    size_t           n = 0;
    struct find_row *r = found(f, tenant, LEVEL_STUDY, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, SERIES_EACH / 4);
    for (size_t i = 0; i < n; i++) {
        expect(r[i].dset, DT_NumberOfStudyRelatedSeries, "12");
        expect(r[i].dset, DT_NumberOfStudyRelatedInstances, "36");
        assert_int_equal(dset_text(r[i].dset, DT_ModalitiesInStudy).len, 8);
    }
}

/* ---- search */

static uint32_t dice; // always the same tests

static unsigned roll(unsigned n)
{
    dice = dice * 1664525U + 1013904223U;
    return (dice >> 8) % n;
}

static const char *const names[] = {
    "DUPONT^JEAN",
    "Dupond^Marie",
    "DURAND",
    "D'ARTAGNAN^CHARLES",
    "dartagnan^c",
    "LEF\xC3\x88VRE^ZO\xC3\x89",
    "LEFEVRE^ZOE",
    "C\xC5\x92UR^JACQUES",
    "COEUR^JACQUES",
    "VAN DER BERG^A^B^DR",
    "VAN-DER-BERG^A",
    "Yamada^Tarou=\xE5\xB1\xB1\xE7\x94\xB0^\xE5\xA4\xAA=\xE3\x82\x84\xE3\x81\xBE\xE3\x81\xA0",
    "=\xE5\xB1\xB1\xE7\x94\xB0^\xE8\x8A\xB1",
    "YAMADA",
    "A_B%C^[X]",
    "DUPONT^JEAN\\ALIAS^B",
    "",
    "X",
};

static const char *const name_queries[] = {
    "DUPONT^JEAN",
    "dupont*",
    "DUP*^*",
    "DUPON?^*",
    "*JEAN*",
    "LEFEVRE^ZOE",
    "LEF\xC3\xA8vre*",
    "C?UR*",
    "COEUR*",
    "C\xC5\x93ur^*",
    "DURAND^*",
    "DURAND^^",
    "D ARTAGNAN*",
    "DARTAGNAN*",
    "VAN DER*",
    "*BERG^A*",
    "\xE5\xB1\xB1\xE7\x94\xB0*",
    "=\xE5\xB1\xB1\xE7\x94\xB0*",
    "YAMADA*=\xE5\xB1\xB1*",
    "*=*=\xE3\x82\x84*",
    "YAMADA",
    "A_B*",
    "A%*",
    "*[X]",
    "ALIAS*",
    "DUPONT^JEAN\\YAMADA*",
    "?",
    "X",
    "*\\X",
    "nobody",
    "****",
    "^",
    "*^*^*^*",
    "DUPONT^JEAN^^^*",
};

static const char *const texts[] = {
    "A12", "a12", " A12", "A 1  2", "123\xC3\x89", "E123", "99", "A\\B", "", "A*2", "L'EAU",
};

static const char *const text_queries[] = {
    "A12",  "A*",        "a*", "*2",      "A?2", "A 1*", "A 1 2",
    "E123", "\xC3\xA9*", "9*", "A12\\99", "??",  "L*",   "\"\"",
};

static const char *const dates[] = {
    "20260101", "20260102", "20251231", "20240229", "2026.01.03", "19991231", "", "bad", "2026",
};

static const char *const date_queries[] = {
    "20260101",      "20260101-",  "-20251231", "20251230-20260102",  "2026", "202601",
    "20240229",      "2026.01.03", "bad",       "20260102\\19991231", "-",    "20270101-20271231",
    "bad\\20260101",
};

static const char *const codes[] = {"CT", "MR", "SR", "ct", "US", "CT\\MR", ""};
static const char *const code_queries[] = {"CT", "MR", "C*", "?R", "CT\\US", "X", "*"};

#define PICK(list) (list)[roll(N(list))]

static void file_at_random(struct fixture *f, int study)
{
    static const char *const zones[] = {"+0100", "-0500", "+1400", ""};

    for (int series = 0; series < 2; series++) {
        struct dset *d = plain(&f->a, study, series, PICK(codes));
        put(d, DT_PatientID, PICK(texts));
        put(d, DT_PatientName, PICK(names));
        put(d, DT_PatientBirthDate, PICK(dates));
        put(d, DT_PatientSex, PICK(codes));
        put(d, DT_StudyDate, PICK(dates));
        put(d, DT_StudyTime, roll(2) == 0 ? "2330" : "0010");
        put(d, DT_AccessionNumber, PICK(texts));
        put(d, DT_StudyID, PICK(texts));
        put(d, DT_StudyDescription, PICK(texts));
        put(d, DT_ReferringPhysicianName, PICK(names));
        put(d, DT_TimezoneOffsetFromUTC, PICK(zones));
        (void)file(f, f->tenant, d);
    }
}

static struct dset *query_at_random(struct fixture *f)
{
    struct dset *q = HEADER(&f->a, {DT_QueryRetrieveLevel, "STUDY"});
    for (unsigned n = 1 + roll(2); n > 0; n--) {
        switch (roll(12)) {
        case 0: put(q, DT_PatientID, PICK(text_queries)); break;
        case 1: put(q, DT_AccessionNumber, PICK(text_queries)); break;
        case 2: put(q, DT_StudyID, PICK(text_queries)); break;
        case 3: put(q, DT_StudyDescription, PICK(text_queries)); break;
        case 4: put(q, DT_PatientBirthDate, PICK(date_queries)); break;
        case 5: put(q, DT_StudyDate, PICK(date_queries)); break;
        case 6: put(q, DT_PatientSex, PICK(code_queries)); break;
        case 7: put(q, DT_ModalitiesInStudy, PICK(code_queries)); break;
        case 8: put(q, DT_Modality, PICK(code_queries)); break;
        case 9: put(q, DT_StudyInstanceUID, roll(2) == 0 ? "1.3\\1.5 \\1.777" : "1.4"); break;
        case 10: put(q, DT_ReferringPhysicianName, PICK(name_queries)); break;
        default: put(q, DT_PatientName, PICK(name_queries)); break;
        }
    }
    if (roll(8) == 0) {
        put(q, DT_TimezoneOffsetFromUTC, "-1100");
    }
    return q;
}

static bool is_same(const struct series_ids *a, const struct series_ids *b)
{
    return a->patient_id == b->patient_id && a->study_id == b->study_id &&
           a->series_id == b->series_id;
}

struct trial {
    enum level       level;
    struct find_row *all; // every row of the level
    size_t           n_all, narrowed, total;
};

/* What SQL finds and is_match() keeps is what is_match() keeps of everything, in the same order:
 * the first row of all that was missed, or n_all. */
static size_t try_query(struct fixture *f, struct trial *t, const struct dset *q,
                        const struct match_opts *o)
{
    struct find *find = NULL;
    struct arena a;
    size_t       at = 0;
    arena_init(&a, 1 << 24);
    good(index_find(f->db, f->tenant, t->level, q, &find, &f->e), &f->e);
    find_set(find, &(struct find_opts){.expect = roll(4), .words = o->words});
    for (struct find_row r; find_next(find, &a, &r, &f->e) == ERR_OK; t->narrowed++) {
        if (!is_match(q, r.dset, o)) {
            continue;
        }
        while (at < t->n_all && !is_match(q, t->all[at].dset, o)) {
            at++;
        }
        if (at == t->n_all || !is_same(&r.ids, &t->all[at].ids)) {
            break;
        }
        at++;
    }
    assert_int_equal(f->e.code, ERR_OK);
    while (at < t->n_all && !is_match(q, t->all[at].dset, o)) {
        at++;
    }
    t->total += t->n_all;
    find_free(find);
    arena_done(&a);
    return at;
}

static void fail_query(const struct dset *q, const struct trial *t, size_t missed)
{
    for (size_t i = 0; i < q->n; i++) {
        print_error("%08X = %.*s\n", (unsigned)q->elems[i].tag, (int)q->elems[i].value.len,
                    q->elems[i].value.ptr);
    }
    fail_msg("level %u: study %d was not found", (unsigned)t->level,
             (int)t->all[missed].ids.study_id);
}

static void a_search_finds_a_superset(struct fixture *f)
{
    enum { STUDIES = 120, QUERIES = 500 };

    static const struct match_opts opts[] = {
        {0},
        {.fold = true},
        {.all = true},
        {.combined = true},
        {.zone_minutes = 120},
        {.empty = true},
        {.words = true},
    };

    dice = 1;
    for (int i = 0; i < STUDIES; i++) {
        file_at_random(f, i);
    }
    for (unsigned level = LEVEL_PATIENT; level <= LEVEL_SERIES; level++) {
        struct trial t = {.level = (enum level)level};
        t.all = found(f, f->tenant, t.level, dset_new(&f->a), &t.n_all, NULL);
        assert_in_range(t.n_all, 10, STUDIES * 2);
        for (int k = 0; k < QUERIES; k++) {
            struct dset *q = query_at_random(f);
            size_t       missed = try_query(f, &t, q, &opts[roll(N(opts))]);
            if (missed < t.n_all) {
                fail_query(q, &t, missed);
            }
        }
        print_message("level %u: %zu candidates of %zu\n", level, t.narrowed, t.total);
        assert_true(t.narrowed < t.total * 3 / 4);
    }
}

static void a_search_left_half_way_harms_nothing(struct fixture *f)
{
    for (int i = 0; i < 30; i++) {
        (void)file(f, f->tenant, plain(&f->a, i, 1, "CT"));
    }
    struct find    *find = NULL;
    struct find_row r;
    good(index_find(f->db, f->tenant, LEVEL_STUDY, dset_new(&f->a), &find, &f->e), &f->e);
    good(find_next(find, &f->a, &r, &f->e), &f->e);
    (void)file(f, f->tenant, plain(&f->a, 100, 1, "CT")); // on the same connection
    good(find_next(find, &f->a, &r, &f->e), &f->e);
    find_free(find);
    find_free(NULL);
    assert_int_equal(index_find(f->db, f->tenant, LEVEL_IMAGE, dset_new(&f->a), &find, &f->e),
                     ERR_UNSUPPORTED);
    f->e = (struct errmsg){0};
    size_t n = 0;
    (void)found(f, f->tenant, LEVEL_STUDY, dset_new(&f->a), &n, NULL);
    assert_int_equal(n, 31);
    db_fault_set(1, ERR_CLOSED);
    good(index_find(f->db, f->tenant, LEVEL_STUDY, dset_new(&f->a), &find, &f->e), &f->e);
    assert_int_equal(find_next(find, &f->a, &r, &f->e), ERR_CLOSED);
    find_free(find);
}

static size_t ids_of(struct fixture *f, enum level level, uint64_t expect, int64_t ids[100])
{
    struct find    *find = NULL;
    struct find_row r;
    size_t          n = 0;
    enum err        rc = ERR_OK;
    good(index_find(f->db, f->tenant, level, dset_new(&f->a), &find, &f->e), &f->e);
    find_set(find, &(struct find_opts){.expect = expect});
    while ((rc = find_next(find, &f->a, &r, &f->e)) == ERR_OK) {
        assert_true(n < 100);
        ids[n++] = level == LEVEL_SERIES ? r.ids.series_id : r.ids.study_id;
    }
    assert_int_equal(rc, ERR_NOTFOUND);
    find_free(find);
    return n;
}

/* Many of one date, several series each, and some without a date. */
static void more_than_expected_comes_in_the_same_order(struct fixture *f)
{
    for (int i = 0; i < 30; i++) {
        struct dset *d = plain(&f->a, i / 2, i % 2, "CT");
        if (i % 10 >= 8) {
            dset_remove(d, DT_StudyDate);
        } else if (i % 3 == 0) {
            put(d, DT_StudyDate, "20250506");
        }
        (void)file(f, f->tenant, d);
    }
    for (unsigned level = LEVEL_STUDY; level <= LEVEL_SERIES; level++) {
        int64_t all[100], some[100];
        size_t  n = ids_of(f, (enum level)level, 0, all);
        assert_int_equal(n, level == LEVEL_STUDY ? 15 : 30);
        for (uint64_t k = 1; k <= n + 1; k++) {
            assert_int_equal(ids_of(f, (enum level)level, k, some), n);
            assert_memory_equal(all, some, n * sizeof(*all));
        }
    }
}

#define EACH(name)                                                                                 \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        (void)state;                                                                               \
        on_each_engine(name);                                                                      \
    }
EACH(tenants_are_kept)
EACH(a_tenant_with_studies_stays)
EACH(peers_are_kept)
EACH(a_series_is_filed_once)
EACH(every_attribute_comes_back)
EACH(absurd_values_are_left_out)
EACH(patients_are_told_apart)
EACH(sums_follow_the_packs)
EACH(quarantine_is_listed)
EACH(nothing_is_half_filed)
EACH(processes_file_the_same_studies)
EACH(a_search_finds_a_superset)
EACH(a_search_left_half_way_harms_nothing)
EACH(more_than_expected_comes_in_the_same_order)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_are_kept_),
        cmocka_unit_test(a_tenant_with_studies_stays_),
        cmocka_unit_test(peers_are_kept_),
        cmocka_unit_test(a_series_is_filed_once_),
        cmocka_unit_test(every_attribute_comes_back_),
        cmocka_unit_test(absurd_values_are_left_out_),
        cmocka_unit_test(patients_are_told_apart_),
        cmocka_unit_test(sums_follow_the_packs_),
        cmocka_unit_test(quarantine_is_listed_),
        cmocka_unit_test(nothing_is_half_filed_),
        cmocka_unit_test(processes_file_the_same_studies_),
        cmocka_unit_test(a_search_finds_a_superset_),
        cmocka_unit_test(a_search_left_half_way_harms_nothing_),
        cmocka_unit_test(more_than_expected_comes_in_the_same_order_),
    };
    char dir[] = "/tmp/garonne-ix-XXXXXX";
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    (void)snprintf(lite_path, sizeof(lite_path), "%s/t.sqlite", dir);
    (void)snprintf(lite_url, sizeof(lite_url), "sqlite:%s", lite_path);
    (void)pg_test_start(pg_url);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pg_test_stop(pg_url);
    remove_lite();
    (void)rmdir(dir);
    return rc;
}
