#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "db/where.h"
#include "dicom/json.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "index/index_priv.h"

/*
 * Searches.  A key narrows in SQL when it has a column for it, otherwise not at all: what comes out
 * is a superset, and is_match() decides.  So a condition is never stricter than is_match():
 * patterns are compared as keys without case and accents, '?' (which may be a ligature) as '*', and
 * dates are widened by the days that a time zone can move them.
 */

/* Hidden: rejected to the last image.  Counts leave that out. */
static const char STUDIES[] =
    "SELECT study.patient_id, study.study_id, study.uid, "
    "study.n_series - CASE WHEN study.rejected = 0 THEN 0 ELSE (SELECT COUNT(*) FROM series h "
    "WHERE h.study_id = study.study_id AND h.rejected > 0 AND h.n_images <= 0) END, "
    "study.n_images, "
    "study.modalities, study.sop_classes, study.study_date, study.study_time, "
    "study.accession, study.study_no, study.description, study.referring, study.pid, "
    "study.issuer, study.name, study.birth_date, study.sex, study.more FROM study";
static const char STUDIES_COUNTED[] =
    "SELECT study.patient_id, study.study_id, study.uid, "
    "study.n_series - CASE WHEN study.rejected = 0 THEN 0 ELSE (SELECT COUNT(*) FROM series h "
    "WHERE h.study_id = study.study_id AND h.rejected > 0 AND h.n_images <= 0) END, "
    "study.n_images, "
    "study.modalities, study.sop_classes, study.study_date, study.study_time, "
    "study.accession, study.study_no, study.description, study.referring, study.pid, "
    "study.issuer, study.name, study.birth_date, study.sex, study.more, (SELECT COUNT(*) "
    "FROM study s WHERE s.patient_id = study.patient_id AND (s.n_images > 0 OR s.rejected = "
    "0)), (SELECT SUM(s.n_series - CASE WHEN s.rejected = 0 THEN 0 ELSE (SELECT COUNT(*) "
    "FROM series h WHERE h.study_id = s.study_id AND h.rejected > 0 AND h.n_images <= 0) "
    "END) FROM study s WHERE s.patient_id = study.patient_id), (SELECT SUM(s.n_images) FROM "
    "study s WHERE s.patient_id = study.patient_id) FROM study";
static const char SERIES[] =
    "SELECT study.patient_id, study.study_id, study.uid, "
    "study.n_series - CASE WHEN study.rejected = 0 THEN 0 ELSE (SELECT COUNT(*) FROM series h "
    "WHERE h.study_id = study.study_id AND h.rejected > 0 AND h.n_images <= 0) END, "
    "study.n_images, "
    "study.modalities, study.sop_classes, study.study_date, study.study_time, "
    "study.accession, study.study_no, study.description, study.referring, study.pid, "
    "study.issuer, study.name, study.birth_date, study.sex, study.more, series.series_id, "
    "series.uid, series.n_images, series.modality, series.number, series.description, "
    "series.series_date, series.series_time, series.body_part, series.protocol, "
    "series.station, series.institution, series.manufacturer, series.model, "
    "series.performer, series.pps_date, series.pps_time, series.more FROM study JOIN series "
    "ON series.study_id = study.study_id";
static const char PATIENTS[] =
    "SELECT patient.patient_id, patient.pid, patient.issuer, patient.name, "
    "patient.birth_date, patient.sex, patient.more, (SELECT COUNT(*) FROM study s WHERE "
    "s.patient_id = patient.patient_id AND (s.n_images > 0 OR s.rejected = 0)), (SELECT "
    "SUM(s.n_series - CASE WHEN s.rejected = 0 THEN 0 ELSE (SELECT COUNT(*) FROM series h "
    "WHERE h.study_id = s.study_id AND h.rejected > 0 AND h.n_images <= 0) END) FROM study s "
    "WHERE s.patient_id = patient.patient_id), (SELECT SUM(s.n_images) FROM study s WHERE "
    "s.patient_id = patient.patient_id) FROM patient";

static const char STUDY_VISIBLE[] = "(study.n_images > 0 OR study.rejected = 0)";
static const char SERIES_VISIBLE[] = "(series.n_images > 0 OR series.rejected = 0)";
static const char PATIENT_VISIBLE[] =
    "EXISTS (SELECT 1 FROM study s WHERE s.patient_id = patient.patient_id AND (s.n_images > "
    "0 OR s.rejected = 0))";

static const char STUDY_ALT[] =
    "SELECT 1 FROM study WHERE tenant_id = ?1 AND alt IS NOT NULL LIMIT 1";
static const char PATIENT_ALT[] =
    "SELECT 1 FROM patient WHERE tenant_id = ?1 AND alt IS NOT NULL LIMIT 1";

/* Columns of STUDIES; those of SERIES and of the counts follow. */
enum {
    COL_STUDY_ID = 1,
    COL_STUDY_UID,
    COL_N_SERIES,
    COL_N_IMAGES,
    COL_MODALITIES,
    COL_CLASSES,
    COL_STUDY,
    COL_PATIENT = COL_STUDY + STUDY_COLUMNS,
    COL_STUDY_MORE = COL_PATIENT + PATIENT_COLUMNS,
    COL_COUNTS,
    COL_SERIES_ID = COL_COUNTS,
    COL_SERIES_UID,
    COL_SERIES_IMAGES,
    COL_SERIES,
    COL_SERIES_MORE = COL_SERIES + SERIES_COLUMNS,
};

enum { COL_P_PATIENT = 1, COL_P_MORE = COL_P_PATIENT + PATIENT_COLUMNS, COL_P_COUNTS };

/* The last row read: where a second statement goes on. */
struct place {
    char    date[DATE_TEXT];
    int64_t study_id, series_id;
};

struct find {
    enum level         level;
    bool               counted, words;
    struct db         *db; // not owned
    int64_t            tenant_id;
    const struct dset *keys;   // not owned
    uint64_t           expect; // rows of the first statement; 0: all
    uint64_t           n;      // rows so far
    struct place       last;
    bool               again; // rows up to last are read once more and passed over
    struct db_stmt    *q;     // owned; NULL: not begun
};

/* ---- conditions */

enum { NAME_WORDS = 8 }; // more do not narrow any more

enum rule_kind {
    RULE_TEXT,   // a column of keys
    RULE_NAME,   // the same, and the other groups in alt
    RULE_UID,    // exact
    RULE_DATE,   // widened by the time zone
    RULE_BIRTH,  // not widened
    RULE_MEMBER, // a value anywhere in a column of codes
};

static const struct rule {
    uint32_t       tag;
    enum rule_kind kind;
    enum level     level; // and below
    const char    *column;
    const char    *patient_column; // at the patient level
} rules[] = {
    {DT_PatientID, RULE_TEXT, LEVEL_PATIENT, "study.pid_key", "patient.pid_key"},
    {DT_PatientName, RULE_NAME, LEVEL_PATIENT, "study.name_key", "patient.name_key"},
    {DT_PatientBirthDate, RULE_BIRTH, LEVEL_PATIENT, "study.birth_date", "patient.birth_date"},
    {DT_PatientSex, RULE_MEMBER, LEVEL_PATIENT, "study.sex", "patient.sex"},
    {DT_StudyInstanceUID, RULE_UID, LEVEL_STUDY, "study.uid", NULL},
    {DT_StudyDate, RULE_DATE, LEVEL_STUDY, "study.study_date", NULL},
    {DT_AccessionNumber, RULE_TEXT, LEVEL_STUDY, "study.accession_key", NULL},
    {DT_StudyID, RULE_TEXT, LEVEL_STUDY, "study.study_no_key", NULL},
    {DT_StudyDescription, RULE_TEXT, LEVEL_STUDY, "study.description_key", NULL},
    {DT_ReferringPhysicianName, RULE_NAME, LEVEL_STUDY, "study.referring_key", NULL},
    {DT_ModalitiesInStudy, RULE_MEMBER, LEVEL_STUDY, "study.modalities", NULL},
    {DT_SOPClassesInStudy, RULE_MEMBER, LEVEL_STUDY, "study.sop_classes", NULL},
    {DT_SeriesInstanceUID, RULE_UID, LEVEL_SERIES, "series.uid", NULL},
    {DT_Modality, RULE_MEMBER, LEVEL_SERIES, "series.modality", NULL},
};

/* A search being put together. */
struct search {
    struct where       w;
    const struct dset *keys;
    bool               patients; // at the patient level
    int64_t            tenant_id;
    bool               postgres;
    bool               words;  // names are matched word by word
    bool               alt;    // some names of the tenant have other groups
    bool               narrow; // another key than the date finds few rows
    struct buf         key, pattern;
};

static struct str buf_text(const struct buf *b)
{
    return b->err == ERR_OK ? (struct str){(const char *)b->ptr, b->len} : STR("");
}

/* A pattern that finds at least what `key` finds: no '?', and carets at its end are as good as none
 * ("DUPONT^*" finds DUPONT).  around: anywhere in the column. */
static struct str widen(struct search *s, struct str key, bool name, bool around)
{
    bool wild = has_wildcard(key);
    key = str_cut(key, LIMIT_INDEX_KEY); // as the column was
    size_t n = key.len;
    while (wild && n > 0 &&
           (key.ptr[n - 1] == '*' || key.ptr[n - 1] == '?' || (name && key.ptr[n - 1] == '^'))) {
        n--;
    }
    buf_clear(&s->pattern);
    buf_str(&s->pattern, around ? STR("*") : STR(""));
    for (size_t i = 0; i < n; i++) {
        buf_u8(&s->pattern, (uint8_t)(key.ptr[i] == '?' ? '*' : key.ptr[i]));
    }
    bool open = around || n < key.len || (wild && key.len == LIMIT_INDEX_KEY);
    buf_str(&s->pattern, open ? STR("*") : STR(""));
    return buf_text(&s->pattern);
}

static void text_condition(struct search *s, const struct rule *r, enum vr vr, struct str values)
{
    struct str v;
    where_any(&s->w);
    while (str_next(&values, '\\', &v)) {
        buf_clear(&s->key);
        text_key(&s->key, vr, v);
        if (s->key.len > 0) {
            where_like(&s->w, s->patients ? r->patient_column : r->column,
                       widen(s, buf_text(&s->key), false, false));
        }
    }
    where_any_end(&s->w);
}

/* A pattern without a fixed beginning: PostgreSQL would read every row of the tenant, not the index
 * that holds the names. */
static void name_pattern(struct search *s, const char *column, struct str pattern)
{
    static const char study[] = "study.";
    char              alias[64];
    bool              open =
        pattern.len > 0 && pattern.ptr[0] == '*' && strncmp(column, study, sizeof(study) - 1) == 0;
    if (!open || !s->postgres) {
        where_like(&s->w, column, pattern);
        return;
    }
    (void)snprintf(alias, sizeof(alias), "n.%s", column + sizeof(study) - 1);
    where_begin(&s->w,
                "study.study_id IN (SELECT n.study_id FROM study n WHERE n.study_id IS NOT NULL");
    where_eq_int(&s->w, "n.tenant_id", s->tenant_id);
    where_like(&s->w, alias, pattern);
    where_end(&s->w);
}

/* One value: its first group in the column, the others in alt; without '=' it may be any group. */
static void name_value(struct search *s, const struct rule *r, struct str key)
{
    const char *column = s->patients ? r->patient_column : r->column;
    const char *alt = s->patients ? "patient.alt" : "study.alt";
    bool        one = key.len == 0 || memchr(key.ptr, '=', key.len) == NULL;
    struct str  group;
    for (bool first = true; str_next(&key, '=', &group); first = false) {
        if (group.len == 0 || is_wild_match(group, STR(""))) {
            continue; // asks for anything
        }
        if (first) {
            name_pattern(s, column, widen(s, group, true, false));
        }
        if (s->alt && (one || !first)) {
            where_like(&s->w, alt, widen(s, group, true, true));
        }
    }
}

/* A value of stars and delimiters alone, beside others: anybody with a name. */
static bool has_open_value(struct str values)
{
    struct str v;
    while (str_next(&values, '\\', &v)) {
        size_t i = 0;
        while (i < v.len && strchr("*^= ", v.ptr[i]) != NULL) {
            i++;
        }
        if (v.len > 0 && i == v.len) {
            return true;
        }
    }
    return false;
}

/* Each word somewhere in the name; of several values (seldom) none narrows. */
static void words_condition(struct search *s, const struct rule *r, struct str values)
{
    const char *column = s->patients ? r->patient_column : r->column;
    size_t      at = 0;
    if (memchr(values.ptr, '\\', values.len) != NULL) {
        return;
    }
    buf_clear(&s->key);
    text_key(&s->key, VR_PN, values);
    struct str key = buf_text(&s->key);
    for (unsigned n = 0; n < NAME_WORDS && at < key.len; n++) {
        size_t from = at;
        while (at < key.len && strchr(" ^=,*?", key.ptr[at]) == NULL) {
            at++;
        }
        if (at > from) {
            struct str pattern = widen(s, (struct str){key.ptr + from, at - from}, true, true);
            where_any(&s->w);
            name_pattern(s, column, pattern);
            if (s->alt) {
                where_like(&s->w, s->patients ? "patient.alt" : "study.alt", pattern);
            }
            where_any_end(&s->w);
        }
        at++;
    }
}

static void name_condition(struct search *s, const struct rule *r, struct str values)
{
    struct str v;
    if (has_open_value(values)) {
        return;
    }
    if (s->words) {
        words_condition(s, r, values);
        return;
    }
    where_any(&s->w);
    while (str_next(&values, '\\', &v)) {
        buf_clear(&s->key);
        text_key(&s->key, VR_PN, v);
        name_value(s, r, buf_text(&s->key));
    }
    where_any_end(&s->w);
}

static void member_condition(struct search *s, const struct rule *r, struct str values)
{
    struct str v;
    where_any(&s->w);
    while (str_next(&values, '\\', &v)) {
        buf_clear(&s->key);
        for (size_t i = 0; i < v.len; i++) { // codes are stored in upper case
            char c = v.ptr[i];
            buf_u8(&s->key, (uint8_t)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c));
        }
        where_like(&s->w, s->patients ? r->patient_column : r->column,
                   widen(s, buf_text(&s->key), false, true));
    }
    where_any_end(&s->w);
}

static enum err uid_condition(struct search *s, const struct rule *r, struct str values,
                              struct errmsg *e)
{
    size_t     n = 0;
    struct str v, rest = values;
    while (str_next(&rest, '\\', &v)) {
        n++;
    }
    struct str *list = arena_array(s->keys->arena, n, struct str);
    if (list == NULL) {
        return err_set(e, ERR_LIMIT, "list of %zu UIDs is too long", n);
    }
    n = 0;
    while (str_next(&values, '\\', &v)) {
        while (v.len > 0 && v.ptr[0] == ' ') {
            v = (struct str){v.ptr + 1, v.len - 1};
        }
        while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == 0)) {
            v.len--;
        }
        if (v.len > 0) {
            list[n++] = v;
        }
    }
    where_in_str(&s->w, r->column, list, n);
    return ERR_OK;
}

/* One range that holds all values; false when one of them is no date. */
static bool dates_hull(struct str values, int64_t *ret_lo, int64_t *ret_hi)
{
    bool       all = true;
    struct str v;
    *ret_lo = INT64_MAX;
    *ret_hi = INT64_MIN;
    while (str_next(&values, '\\', &v)) {
        struct span span = {0};
        if (!span_parse(VR_DA, v, 0, &span)) {
            all = false;
            continue;
        }
        *ret_lo = span.lo < *ret_lo ? span.lo : *ret_lo;
        *ret_hi = span.hi > *ret_hi ? span.hi : *ret_hi;
    }
    return all;
}

static void range_condition(struct search *s, const char *column, int64_t lo, int64_t hi, int days)
{
    char from[DATE_TEXT] = "", to[DATE_TEXT] = "";
    if (lo > INT64_MIN) {
        date_text(lo, -days, from);
    }
    if (hi < INT64_MAX) {
        date_text(hi, days, to);
    }
    where_range_str(&s->w, column, str_of(from), str_of(to));
}

/* A text that is no date can only find what is no date. */
static void birth_condition(struct search *s, const struct rule *r, struct str values)
{
    int64_t lo, hi;
    if (dates_hull(values, &lo, &hi)) {
        range_condition(s, s->patients ? r->patient_column : r->column, lo, hi, 0);
    } else if (lo == INT64_MAX) {
        where_text(&s->w, s->patients ? "patient.birth_date IS NULL" : "study.birth_date IS NULL");
    }
}

static void date_condition(struct search *s, const struct rule *r, struct str values)
{
    int64_t lo, hi;
    if (!dates_hull(values, &lo, &hi)) {
        if (lo == INT64_MAX) {
            where_eq_str(&s->w, r->column, STR(""));
        }
        return;
    }
    // SQLite would read a long range of days for the sake of their order, rather than a few rows
    bool wide = lo == INT64_MIN || hi == INT64_MAX || hi - lo > INT64_C(31) * 86400 * 1000000;
    range_condition(s, wide && s->narrow ? "(study.study_date || '')" : r->column, lo, hi,
                    has_value(s->keys, DT_TimezoneOffsetFromUTC) ? 2 : 1);
}

static enum err add_condition(struct search *s, const struct rule *r, struct errmsg *e)
{
    struct str values = dset_text(s->keys, r->tag);
    switch (r->kind) {
    case RULE_TEXT: text_condition(s, r, dict_vr(r->tag), values); break;
    case RULE_NAME: name_condition(s, r, values); break;
    case RULE_MEMBER: member_condition(s, r, values); break;
    case RULE_DATE: date_condition(s, r, values); break;
    case RULE_BIRTH: birth_condition(s, r, values); break;
    case RULE_UID: return uid_condition(s, r, values, e);
    }
    return ERR_OK;
}

/* A key that narrows: "" in quotation marks asks for no value (C.2.2.2.7), which is_match sees. */
static bool is_asked(const struct dset *keys, uint32_t tag)
{
    const struct elem *el = dset_find(keys, tag);
    return el != NULL && !is_universal(keys, el) && dset_text(keys, tag).len > 0 &&
           !str_eq(dset_text(keys, tag), STR("\"\""));
}

static enum err has_alt(struct db *db, bool patients, int64_t tenant_id, bool *ret,
                        struct errmsg *e)
{
    auto_stmt *q = db_query(db, patients ? PATIENT_ALT : STUDY_ALT);
    db_bind_int(q, 1, tenant_id);
    *ret = db_step(q);
    return db_end(q, e);
}

/* An indexed key with at least three characters before the first wildcard. */
static bool is_narrow(const struct dset *keys)
{
    static const uint32_t tags[] = {
        DT_StudyInstanceUID, DT_AccessionNumber,  DT_PatientID,         DT_StudyID,
        DT_PatientName,      DT_PatientBirthDate, DT_SeriesInstanceUID,
    };

    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        struct str text = is_asked(keys, tags[i]) ? dset_text(keys, tags[i]) : STR("");
        size_t     n = 0;
        while (n < text.len && strchr("*?\\-", text.ptr[n]) == NULL) {
            n++;
        }
        if (n >= 3) {
            return true;
        }
    }
    return false;
}

static enum err search_build(struct search *s, struct db *db, int64_t tenant_id, enum level level,
                             struct errmsg *e)
{
    enum err rc = ERR_OK;
    s->tenant_id = tenant_id;
    s->postgres = is_db_postgres(db);
    s->narrow = !is_db_postgres(db) && is_narrow(s->keys); // PostgreSQL looks at the values
    where_eq_int(&s->w, s->patients ? "patient.tenant_id" : "study.tenant_id", tenant_id);
    if (is_asked(s->keys, DT_PatientName) || is_asked(s->keys, DT_ReferringPhysicianName)) {
        rc = has_alt(db, s->patients, tenant_id, &s->alt, e);
    }
    for (size_t i = 0; rc == ERR_OK && i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (rules[i].level <= level && is_asked(s->keys, rules[i].tag)) {
            rc = add_condition(s, &rules[i], e);
        }
    }
    if (s->patients) {
        where_text(&s->w, PATIENT_VISIBLE);
    } else {
        where_text(&s->w, STUDY_VISIBLE);
    }
    if (level == LEVEL_SERIES) {
        where_eq_int(&s->w, "series.tenant_id", tenant_id);
        where_text(&s->w, SERIES_VISIBLE);
    }
    return rc;
}

static bool wants_counts(const struct dset *keys)
{
    return dset_find(keys, DT_NumberOfPatientRelatedStudies) != NULL ||
           dset_find(keys, DT_NumberOfPatientRelatedSeries) != NULL ||
           dset_find(keys, DT_NumberOfPatientRelatedInstances) != NULL;
}

static struct db_stmt *search_run(const struct search *s, const struct find *f)
{
    if (f->level == LEVEL_PATIENT) {
        return db_query_where(f->db, PATIENTS, &s->w,
                              "ORDER BY patient.newest DESC, patient.patient_id DESC");
    }
    if (f->level == LEVEL_STUDY) {
        return db_query_where(
            f->db, f->counted ? STUDIES_COUNTED : STUDIES, &s->w,
            "ORDER BY study.study_date DESC, study.study_time DESC, study.study_id DESC");
    }
    return db_query_where(f->db, SERIES, &s->w,
                          "ORDER BY study.study_date DESC, study.study_time DESC, "
                          "study.study_id DESC, series.number, series.series_id");
}

/* The rows that were read before are of the last one's date or newer. */
static void go_on(struct search *s, const struct find *f)
{
    if (f->last.date[0] == '\0') {
        where_eq_str(&s->w, "study.study_date", STR(""));
    } else {
        where_range_str(&s->w, "study.study_date", STR(""), str_of(f->last.date));
    }
}

static enum err find_run(struct find *f, struct errmsg *e)
{
    struct search s = {.keys = f->keys, .patients = f->level == LEVEL_PATIENT, .words = f->words};
    where_init(&s.w);
    buf_init(&s.key, LIMIT_DB_TEXT);
    buf_init(&s.pattern, LIMIT_DB_TEXT);
    enum err rc = search_build(&s, f->db, f->tenant_id, f->level, e);
    if (rc == ERR_OK && f->again) {
        go_on(&s, f);
    } else if (rc == ERR_OK && f->expect > 0) {
        where_limit(&s.w, (int64_t)f->expect, 0);
    }
    if (rc == ERR_OK) {
        db_done(&f->q);
        f->q = search_run(&s, f);
    }
    where_done(&s.w);
    buf_done(&s.key);
    buf_done(&s.pattern);
    return rc;
}

enum err index_find(struct db *db, int64_t tenant_id, enum level level, const struct dset *keys,
                    struct find **ret, struct errmsg *e)
{
    if (level == LEVEL_IMAGE) {
        return err_set(e, ERR_UNSUPPORTED, "the index does not hold images");
    }
    struct find *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a search");
    }
    *f = (struct find){.level = level,
                       .counted =
                           level == LEVEL_PATIENT || (level == LEVEL_STUDY && wants_counts(keys)),
                       .db = db,
                       .tenant_id = tenant_id,
                       .keys = keys};
    *ret = f;
    return ERR_OK;
}

void find_set(struct find *f, const struct find_opts *o)
{
    f->words = o->words;
    f->expect = f->level != LEVEL_PATIENT && o->expect < INT64_MAX ? o->expect : 0;
}

void find_free(struct find *f)
{
    if (f != NULL) {
        db_done(&f->q);
        free(f);
    }
}

/* ---- candidates */

static enum err put_columns(struct dset *d, struct db_stmt *q, int at, const struct column *c,
                            int n)
{
    enum err rc = ERR_OK;
    for (int i = 0; i < n && rc == ERR_OK; i++) {
        struct str s = db_col_str(q, at + i);
        if (s.len > 0) {
            rc = dset_put(d, c[i].tag, c[i].vr, str_bytes(s));
        }
    }
    return rc;
}

/* "|CT|SR|" as CT\SR. */
static enum err put_members(struct dset *d, uint32_t tag, struct str list)
{
    if (list.len <= 2) {
        return ERR_OK;
    }
    struct str v = arena_str(d->arena, (struct str){list.ptr + 1, list.len - 2});
    if (v.ptr == NULL) {
        return ERR_NOMEM;
    }
    char *p = arena_alloc(d->arena, v.len, 1);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < v.len; i++) {
        p[i] = v.ptr[i];
        if (p[i] == '|') {
            p[i] = '\\';
        }
    }
    return dset_put_str(d, tag, (struct str){p, v.len});
}

/* Attributes of the column `more`; what is there already stays. */
static enum err put_more(struct dset *d, struct str json, struct errmsg *e)
{
    struct dset *more = NULL;
    if (json.len == 0) {
        return ERR_OK;
    }
    enum err rc = dsjson_parse(json, d->arena, &more, e);
    for (size_t i = 0; rc == ERR_OK && i < more->n; i++) {
        if (dset_find(d, more->elems[i].tag) == NULL) {
            rc = dset_copy(d, more, &more->elems[i]);
        }
    }
    return rc;
}

static enum err put_counts(struct dset *d, struct db_stmt *q, int at)
{
    static const uint32_t tags[] = {
        DT_NumberOfPatientRelatedStudies,
        DT_NumberOfPatientRelatedSeries,
        DT_NumberOfPatientRelatedInstances,
    };

    enum err rc = ERR_OK;
    for (int i = 0; i < 3 && rc == ERR_OK; i++) {
        rc = dset_put_int(d, tags[i], db_col_int(q, at + i));
    }
    return rc;
}

static enum err put_patient(struct dset *d, struct db_stmt *q, struct errmsg *e)
{
    enum err rc = put_columns(d, q, COL_P_PATIENT, patient_columns, PATIENT_COLUMNS);
    rc = rc != ERR_OK ? rc : put_counts(d, q, COL_P_COUNTS);
    return rc != ERR_OK ? rc : put_more(d, db_col_str(q, COL_P_MORE), e);
}

static enum err put_study(struct dset *d, struct db_stmt *q, struct errmsg *e)
{
    enum err rc = put_columns(d, q, COL_STUDY, study_columns, STUDY_COLUMNS);
    rc = rc != ERR_OK ? rc : put_columns(d, q, COL_PATIENT, patient_columns, PATIENT_COLUMNS);
    rc = rc != ERR_OK ? rc : dset_put_str(d, DT_StudyInstanceUID, db_col_str(q, COL_STUDY_UID));
    rc = rc != ERR_OK ? rc
                      : dset_put_int(d, DT_NumberOfStudyRelatedSeries, db_col_int(q, COL_N_SERIES));
    rc = rc != ERR_OK
             ? rc
             : dset_put_int(d, DT_NumberOfStudyRelatedInstances, db_col_int(q, COL_N_IMAGES));
    rc = rc != ERR_OK ? rc : put_members(d, DT_ModalitiesInStudy, db_col_str(q, COL_MODALITIES));
    rc = rc != ERR_OK ? rc : put_members(d, DT_SOPClassesInStudy, db_col_str(q, COL_CLASSES));
    return rc != ERR_OK ? rc : put_more(d, db_col_str(q, COL_STUDY_MORE), e);
}

static enum err put_series(struct dset *d, struct db_stmt *q, struct errmsg *e)
{
    enum err rc = put_columns(d, q, COL_SERIES, series_columns, SERIES_COLUMNS);
    rc = rc != ERR_OK ? rc : dset_put_str(d, DT_SeriesInstanceUID, db_col_str(q, COL_SERIES_UID));
    rc = rc != ERR_OK
             ? rc
             : dset_put_int(d, DT_NumberOfSeriesRelatedInstances, db_col_int(q, COL_SERIES_IMAGES));
    return rc != ERR_OK ? rc : put_more(d, db_col_str(q, COL_SERIES_MORE), e);
}

static enum err fill(const struct find *f, struct dset *d, struct find_row *row, struct errmsg *e)
{
    enum err rc = dset_put_str(d, DT_SpecificCharacterSet, STR("ISO_IR 192"));
    row->ids.patient_id = db_col_int(f->q, 0);
    if (f->level == LEVEL_PATIENT) {
        return rc != ERR_OK ? rc : put_patient(d, f->q, e);
    }
    row->ids.study_id = db_col_int(f->q, COL_STUDY_ID);
    rc = rc != ERR_OK ? rc : put_study(d, f->q, e);
    if (rc == ERR_OK && f->level == LEVEL_SERIES) {
        row->ids.series_id = db_col_int(f->q, COL_SERIES_ID);
        return put_series(d, f->q, e);
    }
    return rc == ERR_OK && f->counted ? put_counts(d, f->q, COL_COUNTS) : rc;
}

static void remember(struct find *f)
{
    if (f->expect > 0 && ++f->n == f->expect) {
        struct str date = str_cut(db_col_str(f->q, COL_STUDY), DATE_TEXT - 1);
        f->last = (struct place){.study_id = db_col_int(f->q, COL_STUDY_ID)};
        memcpy(f->last.date, date.ptr, date.len);
        if (f->level == LEVEL_SERIES) {
            f->last.series_id = db_col_int(f->q, COL_SERIES_ID);
        }
    }
}

static bool is_last(const struct find *f)
{
    return db_col_int(f->q, COL_STUDY_ID) == f->last.study_id &&
           (f->level != LEVEL_SERIES || db_col_int(f->q, COL_SERIES_ID) == f->last.series_id);
}

/* More rows are wanted than were expected: all others, in a second statement.  Should the last row
 * have gone meanwhile, nothing follows: better none than one twice. */
static enum err step_again(struct find *f, bool *ret_row, struct errmsg *e)
{
    f->again = true;
    enum err rc = find_run(f, e);
    f->expect = 0;
    bool row = rc == ERR_OK && db_step(f->q);
    while (row && !is_last(f)) {
        row = db_step(f->q);
    }
    *ret_row = row && db_step(f->q);
    return rc;
}

static enum err step(struct find *f, struct errmsg *e)
{
    enum err rc = f->q == NULL ? find_run(f, e) : ERR_OK;
    bool     row = false;
    if (rc == ERR_OK && f->expect > 0 && f->n == f->expect) {
        rc = step_again(f, &row, e);
    } else if (rc == ERR_OK) {
        row = db_step(f->q);
    }
    if (rc == ERR_OK && !row) {
        rc = db_end(f->q, e);
        rc = rc != ERR_OK ? rc : ERR_NOTFOUND;
    }
    return rc;
}

enum err find_next(struct find *f, struct arena *a, struct find_row *ret, struct errmsg *e)
{
    enum err rc = step(f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    remember(f);
    struct find_row row = {.dset = dset_new(a)};
    rc = row.dset == NULL ? ERR_NOMEM : fill(f, row.dset, &row, e);
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for a row of the index");
    }
    *ret = row;
    return ERR_OK;
}
