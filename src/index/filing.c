#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "dicom/tags.h"
#include "index/index_priv.h"

static const char SERIES_BY_UID[] =
    "SELECT study.patient_id, study.study_id, series.series_id FROM study "
    "JOIN series ON series.study_id = study.study_id AND series.tenant_id = study.tenant_id "
    "WHERE study.tenant_id = ?1 AND study.uid = ?2 AND series.uid = ?3";
static const char STUDY_BY_UID[] =
    "SELECT patient_id, study_id FROM study WHERE tenant_id = ?1 AND uid = ?2";
static const char STUDY_ADD[] =
    "INSERT INTO study (tenant_id, patient_id, uid, n_series, n_images, modalities, sop_classes, "
    "study_date, study_time, accession, study_no, description, referring, "
    "pid, issuer, name, birth_date, sex, more, "
    "pid_key, name_key, accession_key, study_no_key, description_key, referring_key, alt) "
    "VALUES (?1, ?2, ?3, 0, 0, '|', '|', COALESCE(?4, ''), COALESCE(?5, ''), ?6, ?7, ?8, ?9, ?10, "
    "?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22) "
    "ON CONFLICT (tenant_id, uid) DO NOTHING RETURNING study_id";
/* ?2 ?4: what to append; ?3 ?5: the pattern that tells that it is there. */
static const char STUDY_JOIN[] =
    "UPDATE study SET n_series = n_series + 1, changed_us = ?6, "
    "modalities = CASE WHEN modalities LIKE ?3 ESCAPE '!' THEN modalities "
    "ELSE modalities || ?2 END, "
    "sop_classes = CASE WHEN sop_classes LIKE ?5 ESCAPE '!' OR LENGTH(sop_classes) > 4000 "
    "THEN sop_classes ELSE sop_classes || ?4 END WHERE study_id = ?1";
/* The same of a further class in a series that is known: ultrasound has stills and loops in one. */
static const char STUDY_MEET[] =
    "UPDATE study SET sop_classes = sop_classes || ?2 WHERE study_id = ?1 "
    "AND sop_classes NOT LIKE ?3 ESCAPE '!' AND LENGTH(sop_classes) <= 4000";
static const char PATIENT_BY_IDENT[] =
    "SELECT patient_id, newest FROM patient WHERE tenant_id = ?1 AND ident = ?2";
static const char PATIENT_ADD[] =
    "INSERT INTO patient (tenant_id, ident, newest, pid, issuer, name, birth_date, sex, more, "
    "pid_key, name_key, alt) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
    "ON CONFLICT (tenant_id, ident) DO NOTHING RETURNING patient_id";
static const char PATIENT_RENEW[] =
    "UPDATE patient SET newest = ?3, pid = ?4, issuer = ?5, name = ?6, birth_date = ?7, sex = ?8, "
    "more = ?9, pid_key = ?10, name_key = ?11, alt = ?12 "
    "WHERE tenant_id = ?1 AND ident = ?2 AND newest <= ?3";
static const char SERIES_ADD[] =
    "INSERT INTO series (tenant_id, study_id, uid, n_images, sop_class, modality, number, "
    "description, series_date, series_time, body_part, protocol, station, institution, "
    "manufacturer, model, performer, pps_date, pps_time, more) "
    "VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, "
    "?19) ON CONFLICT (tenant_id, uid, study_id) DO NOTHING RETURNING series_id";

/* One header on its way into the index. */
struct filing {
    struct db         *db;
    int64_t            tenant_id;
    const struct dset *header;
    struct str         study_uid, series_uid, class_uid;
    struct buf         scratch, alt, more;
};

enum err series_by_uid(struct db *db, int64_t tenant_id, struct str study_uid,
                       struct str series_uid, struct series_ids *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(db, SERIES_BY_UID);
    db_bind_int(q, 1, tenant_id);
    db_bind_str(q, 2, study_uid);
    db_bind_str(q, 3, series_uid);
    if (!db_step(q)) {
        enum err rc = db_end(q, e);
        return rc != ERR_OK ? rc : err_set(e, ERR_NOTFOUND, "no series %.*s", STR_ARG(series_uid));
    }
    *ret = (struct series_ids){
        .patient_id = db_col_int(q, 0),
        .study_id = db_col_int(q, 1),
        .series_id = db_col_int(q, 2),
    };
    return ERR_OK;
}

/* ---- binding */

/* The key of a column's value from parameter i on; the groups beyond the first join f->alt. */
static void bind_key(struct filing *f, struct db_stmt *q, int i, const struct column *c)
{
    struct str  s = column_value(f->header, c);
    struct keys k = keys_of(&f->scratch, c->vr, s.ptr != NULL ? s : STR(""));
    bind_text(q, i, k.first);
    if (k.rest.len > 0) {
        buf_str(&f->alt, f->alt.len > 0 ? STR("=") : STR(""));
        buf_str(&f->alt, k.rest);
    }
}

static void bind_columns(const struct filing *f, struct db_stmt *q, int i, const struct column *c,
                         int n)
{
    for (int k = 0; k < n; k++) {
        struct str s = column_value(f->header, &c[k]);
        bind_text(q, i + k, s.ptr != NULL ? s : STR(""));
    }
}

static struct str buf_text(const struct buf *b)
{
    return b->err == ERR_OK ? (struct str){(const char *)b->ptr, b->len} : (struct str){0};
}

static enum err bind_more(struct filing *f, struct db_stmt *q, int i, enum level level,
                          struct errmsg *e)
{
    buf_clear(&f->more);
    enum err rc = more_write(f->header, level, &f->more, e);
    bind_text(q, i, buf_text(&f->more));
    return rc;
}

/* ---- patient */

/* Images without an identifier are never taken for one person: their study tells them apart. */
static void ident_write(const struct filing *f, struct buf *b)
{
    struct str pid = column_value(f->header, &patient_columns[0]);
    struct str issuer = column_value(f->header, &patient_columns[1]);
    if (pid.len == 0) {
        buf_u8(b, '0');
        buf_str(b, f->study_uid);
        return;
    }
    buf_u8(b, '1');
    buf_str(b, pid);
    if (issuer.len > 0) {
        buf_str(b, STR("^^^"));
        buf_str(b, issuer);
    }
}

static enum err patient_bind(struct filing *f, struct db_stmt *q, struct str ident,
                             struct str newest, struct errmsg *e)
{
    db_bind_int(q, 1, f->tenant_id);
    db_bind_str(q, 2, ident);
    db_bind_str(q, 3, newest);
    bind_columns(f, q, 4, patient_columns, PATIENT_COLUMNS);
    enum err rc = bind_more(f, q, 9, LEVEL_PATIENT, e);
    buf_clear(&f->alt);
    bind_key(f, q, 10, &patient_columns[0]);
    bind_key(f, q, 11, &patient_columns[2]);
    bind_text(q, 12, str_cut(buf_text(&f->alt), LIMIT_INDEX_KEY));
    return rc;
}

static enum err patient_find(struct filing *f, struct str ident, struct str newest, int64_t *ret,
                             bool *ret_older, struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, PATIENT_BY_IDENT);
    db_bind_int(q, 1, f->tenant_id);
    db_bind_str(q, 2, ident);
    if (!db_step(q)) {
        enum err rc = db_end(q, e);
        return rc != ERR_OK ? rc : ERR_NOTFOUND;
    }
    struct str have = db_col_str(q, 1);
    int        cmp = memcmp(have.ptr, newest.ptr, have.len < newest.len ? have.len : newest.len);
    *ret_older = cmp < 0 || (cmp == 0 && have.len <= newest.len);
    *ret = db_col_int(q, 0);
    return ERR_OK;
}

static enum err patient_add(struct filing *f, struct str ident, struct str newest, int64_t *ret,
                            struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, PATIENT_ADD);
    enum err   rc = patient_bind(f, q, ident, newest, e);
    bool       row = rc == ERR_OK && db_step(q);
    if (row) {
        *ret = db_col_int(q, 0);
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    return rc != ERR_OK || row ? rc : ERR_NOTFOUND;
}

/* Sorts as the study's date and time do, absent ones first; the UID decides between equals, so that
 * an index that is rebuilt in another order says the same. */
static struct str newest_write(const struct filing *f, char *to, size_t size)
{
    struct str date = column_value(f->header, &study_columns[0]);
    struct str time = column_value(f->header, &study_columns[1]);
    int        n =
        snprintf(to, size, "%.*s %.*s %.*s", STR_ARG(date), STR_ARG(time), STR_ARG(f->study_uid));
    return (struct str){to, n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1};
}

/* The patient of a new study: found, renewed when this study is not older, or made. */
static enum err patient_file(struct filing *f, int64_t *ret, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf id;
    buf_init(&id, (size_t)LIMIT_INDEX_VALUE * 2 + 8);
    ident_write(f, &id);
    struct str ident = buf_text(&id);
    char       text[160];
    struct str newest = newest_write(f, text, sizeof(text));
    bool       older = false;
    enum err   rc = patient_find(f, ident, newest, ret, &older, e);
    if (rc == ERR_NOTFOUND) {
        rc = patient_add(f, ident, newest, ret, e);
        if (rc == ERR_NOTFOUND) { // another node was faster
            rc = patient_find(f, ident, newest, ret, &older, e);
            return rc == ERR_NOTFOUND ? err_set(e, ERR_CONFLICT, "patient row came and went") : rc;
        }
        return rc;
    }
    if (rc == ERR_OK && older) {
        auto_stmt *q = db_query(f->db, PATIENT_RENEW);
        rc = patient_bind(f, q, ident, newest, e);
        return rc != ERR_OK ? rc : db_end(q, e);
    }
    return rc;
}

/* ---- study */

static enum err study_find(struct filing *f, struct series_ids *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, STUDY_BY_UID);
    db_bind_int(q, 1, f->tenant_id);
    db_bind_str(q, 2, f->study_uid);
    if (!db_step(q)) {
        enum err rc = db_end(q, e);
        return rc != ERR_OK ? rc : ERR_NOTFOUND;
    }
    ret->patient_id = db_col_int(q, 0);
    ret->study_id = db_col_int(q, 1);
    return ERR_OK;
}

static enum err study_add(struct filing *f, struct series_ids *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, STUDY_ADD);
    db_bind_int(q, 1, f->tenant_id);
    db_bind_int(q, 2, ret->patient_id);
    db_bind_str(q, 3, f->study_uid);
    bind_columns(f, q, 4, study_columns, STUDY_COLUMNS);
    bind_columns(f, q, 10, patient_columns, PATIENT_COLUMNS);
    enum err rc = bind_more(f, q, 15, LEVEL_STUDY, e);
    buf_clear(&f->alt);
    bind_key(f, q, 16, &patient_columns[0]);
    bind_key(f, q, 17, &patient_columns[2]);
    bind_key(f, q, 18, &study_columns[2]);
    bind_key(f, q, 19, &study_columns[3]);
    bind_key(f, q, 20, &study_columns[4]);
    bind_key(f, q, 21, &study_columns[5]);
    bind_text(q, 22, str_cut(buf_text(&f->alt), LIMIT_INDEX_KEY));
    bool row = rc == ERR_OK && db_step(q);
    if (row) {
        ret->study_id = db_col_int(q, 0);
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    return rc != ERR_OK || row ? rc : ERR_NOTFOUND;
}

static enum err study_file(struct filing *f, struct series_ids *ret, struct errmsg *e)
{
    enum err rc = study_find(f, ret, e);
    if (rc != ERR_NOTFOUND) {
        return rc;
    }
    rc = patient_file(f, &ret->patient_id, e);
    rc = rc != ERR_OK ? rc : study_add(f, ret, e);
    if (rc == ERR_NOTFOUND) { // another node was faster
        rc = study_find(f, ret, e);
    }
    return rc == ERR_NOTFOUND ? err_set(e, ERR_CONFLICT, "study row came and went") : rc;
}

/* "CT|" to append, and "%|CT|%" to look for; an empty value is always there. */
static void bind_member(struct filing *f, struct db_stmt *q, int i, struct str v)
{
    buf_clear(&f->scratch);
    buf_str(&f->scratch, v);
    buf_u8(&f->scratch, '|');
    db_bind_str(q, i, buf_text(&f->scratch));
    buf_clear(&f->scratch);
    buf_str(&f->scratch, v.len > 0 ? STR("%|") : STR("%"));
    for (size_t k = 0; k < v.len; k++) {
        if (strchr("!%_", v.ptr[k]) != NULL) {
            buf_u8(&f->scratch, '!');
        }
        buf_u8(&f->scratch, (uint8_t)v.ptr[k]);
    }
    buf_str(&f->scratch, v.len > 0 ? STR("|%") : STR(""));
    db_bind_str(q, i + 1, buf_text(&f->scratch));
}

static enum err study_join(struct filing *f, int64_t study_id, struct errmsg *e)
{
    struct str modality = column_value(f->header, &series_columns[0]);
    auto_stmt *q = db_query(f->db, STUDY_JOIN);
    db_bind_int(q, 1, study_id);
    bind_member(f, q, 2, str_cut(modality, 16));
    bind_member(f, q, 4, f->class_uid);
    db_bind_int(q, 6, clock_wall_us());
    return db_end(q, e);
}

static enum err study_meet(struct filing *f, int64_t study_id, struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, STUDY_MEET);
    db_bind_int(q, 1, study_id);
    bind_member(f, q, 2, f->class_uid);
    return db_end(q, e);
}

/* ---- series */

static enum err series_add(struct filing *f, struct series_ids *ret, struct errmsg *e)
{
    auto_stmt *q = db_query(f->db, SERIES_ADD);
    db_bind_int(q, 1, f->tenant_id);
    db_bind_int(q, 2, ret->study_id);
    db_bind_str(q, 3, f->series_uid);
    db_bind_str(q, 4, f->class_uid);
    bind_columns(f, q, 5, series_columns, SERIES_COLUMNS);
    enum err rc = bind_more(f, q, 5 + SERIES_COLUMNS, LEVEL_SERIES, e);
    bool     row = rc == ERR_OK && db_step(q);
    if (row) {
        ret->series_id = db_col_int(q, 0);
        ret->new_series = true;
    }
    rc = rc != ERR_OK ? rc : db_end(q, e);
    return rc != ERR_OK || row ? rc : ERR_NOTFOUND;
}

static enum err file_all(struct filing *f, struct series_ids *ret, struct errmsg *e)
{
    enum err rc = series_by_uid(f->db, f->tenant_id, f->study_uid, f->series_uid, ret, NULL);
    if (rc != ERR_NOTFOUND) {
        return rc == ERR_OK ? study_meet(f, ret->study_id, e)
                            : err_set(e, rc, "cannot look up the series");
    }
    rc = study_file(f, ret, e);
    rc = rc != ERR_OK ? rc : series_add(f, ret, e);
    if (rc == ERR_OK) {
        return study_join(f, ret->study_id, e);
    }
    return rc != ERR_NOTFOUND ? rc
                              : series_by_uid(f->db, f->tenant_id, f->study_uid, f->series_uid, ret,
                                              e); // another node was faster
}

enum err index_file(struct db *db, int64_t tenant_id, const struct dset *header,
                    struct series_ids *ret, struct errmsg *e)
{
    struct filing f = {
        .db = db,
        .tenant_id = tenant_id,
        .header = header,
        .study_uid = dset_str(header, DT_StudyInstanceUID),
        .series_uid = dset_str(header, DT_SeriesInstanceUID),
        .class_uid = dset_str(header, DT_SOPClassUID),
    };
    if (!is_uid_usable(f.study_uid) || !is_uid_usable(f.series_uid)) {
        return err_set(e, ERR_SYNTAX, "no usable Study or Series Instance UID");
    }
    if (!is_uid_usable(f.class_uid)) {
        f.class_uid = STR("");
    }
    buf_init(&f.scratch, (size_t)LIMIT_INDEX_VALUE * 8);
    buf_init(&f.alt, (size_t)LIMIT_INDEX_VALUE * 8);
    buf_init(&f.more, LIMIT_DB_TEXT);
    struct series_ids ids = {0};
    enum err          rc = file_all(&f, &ids, e);
    buf_done(&f.scratch);
    buf_done(&f.alt);
    buf_done(&f.more);
    if (rc == ERR_OK) {
        *ret = ids;
    }
    return rc;
}
