#include <stdio.h>
#include <time.h>

#include "base/limits.h"
#include "base/num.h"
#include "base/utf8.h"
#include "dicom/json.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "index/index_priv.h"

const struct column patient_columns[PATIENT_COLUMNS] = {
    {DT_PatientID, VR_LO},        {DT_IssuerOfPatientID, VR_LO}, {DT_PatientName, VR_PN},
    {DT_PatientBirthDate, VR_DA}, {DT_PatientSex, VR_CS},
};

const struct column study_columns[STUDY_COLUMNS] = {
    {DT_StudyDate, VR_DA}, {DT_StudyTime, VR_TM},        {DT_AccessionNumber, VR_SH},
    {DT_StudyID, VR_SH},   {DT_StudyDescription, VR_LO}, {DT_ReferringPhysicianName, VR_PN},
};

const struct column series_columns[SERIES_COLUMNS] = {
    {DT_Modality, VR_CS},
    {DT_SeriesNumber, VR_IS},
    {DT_SeriesDescription, VR_LO},
    {DT_SeriesDate, VR_DA},
    {DT_SeriesTime, VR_TM},
    {DT_BodyPartExamined, VR_CS},
    {DT_ProtocolName, VR_LO},
    {DT_StationName, VR_SH},
    {DT_InstitutionName, VR_LO},
    {DT_Manufacturer, VR_LO},
    {DT_ManufacturerModelName, VR_LO},
    {DT_PerformingPhysicianName, VR_PN},
    {DT_PerformedProcedureStepStartDate, VR_DA},
    {DT_PerformedProcedureStepStartTime, VR_TM},
};

static const uint32_t more_patient[] = {
    DT_PatientBirthTime,        DT_IssuerOfPatientIDQualifiersSequence,
    DT_OtherPatientIDs,         DT_OtherPatientNames,
    DT_OtherPatientIDsSequence, DT_EthnicGroup,
    DT_PatientComments,         DT_PatientSpeciesDescription,
    DT_PatientBreedDescription, DT_ResponsiblePerson,
};

static const uint32_t more_study[] = {
    DT_TimezoneOffsetFromUTC,
    DT_IssuerOfAccessionNumberSequence,
    DT_ProcedureCodeSequence,
    DT_PhysiciansOfRecord,
    DT_NameOfPhysiciansReadingStudy,
    DT_AdmittingDiagnosesDescription,
    DT_PatientAge,
    DT_PatientSize,
    DT_PatientWeight,
    DT_Occupation,
    DT_AdditionalPatientHistory,
    DT_RequestingPhysician,
    DT_RequestingService,
    DT_RequestedProcedureDescription,
};

static const uint32_t more_series[] = {
    DT_Laterality,
    DT_PatientPosition,
    DT_FrameOfReferenceUID,
    DT_OperatorsName,
    DT_InstitutionalDepartmentName,
    DT_DeviceSerialNumber,
    DT_SoftwareVersions,
    DT_RequestAttributesSequence,
    DT_ReferencedPerformedProcedureStepSequence,
    DT_PerformedProcedureStepEndDate,
    DT_PerformedProcedureStepEndTime,
    DT_PerformedProcedureStepID,
    DT_PerformedProcedureStepDescription,
};

/* ---- seldom attributes */

/* Room in `more` for one attribute: a JSON text of that length. */
static bool is_small(const struct elem *el, unsigned depth)
{
    size_t n = el->value.len;
    if (el->left_out || depth > 4 || el->n_items > 16) {
        return false;
    }
    for (size_t i = 0; i < el->n_items; i++) {
        for (size_t k = 0; k < el->items[i]->n; k++) {
            const struct elem *inner = &el->items[i]->elems[k];
            if (!is_small(inner, depth + 1)) {
                return false;
            }
            n += inner->value.len + 32;
        }
    }
    return n <= LIMIT_INDEX_VALUE;
}

static enum err copy_all(struct dset *to, const struct dset *from, const uint32_t *tags, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct elem *el = dset_find(from, tags[i]);
        if (el != NULL && has_value(from, tags[i]) && is_small(el, 0)) {
            enum err rc = dset_copy(to, from, el);
            if (rc != ERR_OK) {
                return rc;
            }
        }
    }
    return ERR_OK;
}

/* A date that its column could not keep is kept here, as it came. */
static enum err copy_odd_dates(struct dset *to, const struct dset *from, const struct column *c,
                               size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (c[i].vr == VR_DA && has_value(from, c[i].tag) &&
            column_value(from, &c[i]).ptr == NULL) {
            enum err rc = copy_all(to, from, &c[i].tag, 1);
            if (rc != ERR_OK) {
                return rc;
            }
        }
    }
    return ERR_OK;
}

#define N(array) (sizeof(array) / sizeof((array)[0]))

static enum err collect(const struct dset *header, enum level level, struct dset *more)
{
    enum err rc = ERR_OK;
    if (level == LEVEL_PATIENT || level == LEVEL_STUDY) {
        rc = copy_all(more, header, more_patient, N(more_patient));
        rc = rc != ERR_OK ? rc : copy_odd_dates(more, header, patient_columns, PATIENT_COLUMNS);
    }
    if (rc == ERR_OK && level == LEVEL_STUDY) {
        rc = copy_all(more, header, more_study, N(more_study));
        rc = rc != ERR_OK ? rc : copy_odd_dates(more, header, study_columns, STUDY_COLUMNS);
    }
    if (rc == ERR_OK && level == LEVEL_SERIES) {
        rc = copy_all(more, header, more_series, N(more_series));
        rc = rc != ERR_OK ? rc : copy_odd_dates(more, header, series_columns, SERIES_COLUMNS);
    }
    return rc;
}

enum err more_write(const struct dset *header, enum level level, struct buf *b, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct dset *more = dset_new(&a);
    enum err     rc = more == NULL ? ERR_NOMEM : ERR_OK;
    rc = rc != ERR_OK ? rc : dset_put_str(more, DT_SpecificCharacterSet, STR("ISO_IR 192"));
    rc = rc != ERR_OK ? rc : collect(header, level, more);
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for attributes of the index");
    }
    dset_remove(more, DT_SpecificCharacterSet);
    if (more->n == 0) {
        return ERR_OK;
    }
    rc = dset_put_str(more, DT_SpecificCharacterSet, STR("ISO_IR 192"));
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for attributes of the index");
    }
    struct jsonw w;
    jsonw_init(&w, b);
    return dsjson_write(more, &(struct json_opts){0}, &w, e);
}

/* ---- values of columns */

void date_text(int64_t us, int days, char ret[DATE_TEXT])
{
    const int64_t day = INT64_C(86400000000);
    int64_t       d = us / day - (us % day < 0 ? 1 : 0) + days;
    time_t        s = (time_t)(d * 86400);
    struct tm     tm = {0};
    (void)gmtime_r(&s, &tm);
    unsigned y = (unsigned)(tm.tm_year + 1900);
    (void)snprintf(ret, DATE_TEXT, "%04u%02u%02u", y % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                   (unsigned)tm.tm_mday % 100);
}

static struct str date_value(const struct dset *d, uint32_t tag)
{
    struct span s = {0};
    char        text[DATE_TEXT];
    if (!span_parse(VR_DA, dset_str_at(d, tag, 0), 0, &s) || s.range) {
        return (struct str){0};
    }
    date_text(s.lo, 0, text);
    return arena_str(d->arena, str_of(text));
}

static struct str time_value(const struct dset *d, uint32_t tag)
{
    char        text[20];
    size_t      n = 0;
    struct str  raw = dset_str_at(d, tag, 0);
    struct span s = {0};
    if (!span_parse(VR_TM, raw, 0, &s) || s.range) {
        return (struct str){0};
    }
    for (size_t i = 0; i < raw.len && n < sizeof(text); i++) {
        if (raw.ptr[i] != ':') {
            text[n++] = raw.ptr[i];
        }
    }
    return arena_str(d->arena, (struct str){text, n});
}

static struct str integer_value(const struct dset *d, uint32_t tag)
{
    int64_t    v = 0;
    struct str s = dset_str_at(d, tag, 0);
    return parse_i64(s, &v) ? s : (struct str){0};
}

/* Codes are in upper case (PS3.5 6.2), but not all devices know. */
static struct str upper_value(const struct dset *d, uint32_t tag)
{
    struct str s = dset_text(d, tag);
    char      *p = arena_alloc(d->arena, s.len + 1, 1);
    for (size_t i = 0; p != NULL && i < s.len; i++) {
        p[i] = s.ptr[i];
        if (p[i] >= 'a' && p[i] <= 'z') {
            p[i] = (char)(p[i] - 'a' + 'A');
        }
    }
    return p != NULL ? (struct str){p, s.len} : (struct str){0};
}

struct str column_value(const struct dset *d, const struct column *c)
{
    struct str s = {0};
    switch ((int)c->vr) {
    case VR_DA: s = date_value(d, c->tag); break;
    case VR_TM: s = time_value(d, c->tag); break;
    case VR_IS: s = integer_value(d, c->tag); break;
    case VR_CS: s = upper_value(d, c->tag); break;
    default: s = dset_text(d, c->tag); break;
    }
    const char *nul = s.len > 0 ? memchr(s.ptr, 0, s.len) : NULL;
    s.len = nul != NULL ? (size_t)(nul - s.ptr) : s.len;
    return s.len == 0 || s.len > LIMIT_INDEX_VALUE ? (struct str){0} : s;
}

struct str str_cut(struct str s, size_t max)
{
    if (s.len > max) {
        s.len = max;
        while (s.len > 0 && ((uint8_t)s.ptr[s.len] & 0xC0) == 0x80) {
            s.len--;
        }
    }
    return s;
}

/* The first value or group, and what follows its delimiter. */
static struct str split(struct str s, char at, struct str *rest)
{
    const char *p = s.len > 0 ? memchr(s.ptr, at, s.len) : NULL;
    *rest = p == NULL ? (struct str){0} : (struct str){p + 1, s.len - (size_t)(p - s.ptr) - 1};
    return p == NULL ? s : (struct str){s.ptr, (size_t)(p - s.ptr)};
}

struct keys keys_of(struct buf *scratch, enum vr vr, struct str text)
{
    struct str   more, rest;
    struct bytes all = {0};
    struct str   one = split(text, '\\', &more);
    buf_clear(scratch);
    text_key(scratch, vr, one);
    if (vr == VR_PN && more.len > 0) { // names that should not be here, but are found all the same
        for (struct str s = more; s.len > 0; s = more) {
            buf_u8(scratch, '=');
            text_key(scratch, vr, split(s, '\\', &more));
        }
    }
    if (buf_end(scratch, &all) != ERR_OK) {
        return (struct keys){0};
    }
    struct str key = {(const char *)all.ptr, all.len};
    if (vr != VR_PN) {
        return (struct keys){.first = str_cut(key, LIMIT_INDEX_KEY)};
    }
    key = split(key, '=', &rest);
    return (struct keys){str_cut(key, LIMIT_INDEX_KEY), str_cut(rest, LIMIT_INDEX_KEY)};
}

void bind_text(struct db_stmt *q, int i, struct str v)
{
    if (v.len == 0) {
        db_bind_null(q, i);
    } else {
        db_bind_str(q, i, v);
    }
}

struct str col_copy(struct db_stmt *q, int col, struct arena *a, enum err *rc)
{
    struct str s = db_col_str(q, col);
    struct str copy = arena_str(a, s.ptr != NULL ? s : STR(""));
    if (copy.ptr == NULL) {
        *rc = ERR_LIMIT;
        return STR("");
    }
    return copy;
}

void *list_room(struct arena *a, void *list, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0) { // room is a power of two
        return list;
    }
    void *more = arena_alloc(a, n == 0 ? 1 : n * 2, size);
    if (more != NULL && n > 0) {
        memcpy(more, list, n * size);
    }
    return more;
}
