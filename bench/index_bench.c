/*
 * C-FIND at the study level, in the index alone: from the keys to the last candidate that matched.
 *
 *   index_bench URL [QUERIES]      of an index that index_gen made; a JSON object a line
 *
 * Values are those of studies taken at random, so large tenants and common names weigh as they do
 * in life.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "dicom/match.h"
#include "dicom/tags.h"
#include "index/index.h"

static const char LAST_STUDY[] = "SELECT MAX(study_id) FROM study";
static const char A_STUDY[] =
    "SELECT tenant_id, uid, study_date, accession, study_no, referring, pid, name, birth_date, "
    "modalities FROM study WHERE study_id = ?1";

struct sample {
    int64_t    tenant;
    struct str uid, date, accession, study_no, referring, pid, name, birth, modality;
};

static struct str copy(struct db_stmt *q, int col, struct arena *a)
{
    struct str s = db_col_str(q, col);
    return arena_str(a, s.ptr != NULL ? s : STR(""));
}

static bool take_sample(struct db *db, int64_t id, struct arena *a, struct sample *ret)
{
    auto_stmt *q = db_query(db, A_STUDY);
    db_bind_int(q, 1, id);
    if (!db_step(q)) {
        return false;
    }
    *ret = (struct sample){
        .tenant = db_col_int(q, 0),
        .uid = copy(q, 1, a),
        .date = copy(q, 2, a),
        .accession = copy(q, 3, a),
        .study_no = copy(q, 4, a),
        .referring = copy(q, 5, a),
        .pid = copy(q, 6, a),
        .name = copy(q, 7, a),
        .birth = copy(q, 8, a),
        .modality = copy(q, 9, a),
    };
    ret->modality = (struct str){ret->modality.ptr + 1, 2};
    return true;
}

static void put(struct dset *d, uint32_t tag, const char *before, struct str v, const char *after)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%s%.*s%s", before, STR_ARG(v), after);
    if (dset_put_text(d, tag, str_of(text)) != ERR_OK) {
        abort();
    }
}

static struct str until(struct str s, char c)
{
    const char *p = memchr(s.ptr, c, s.len);
    return p != NULL ? (struct str){s.ptr, (size_t)(p - s.ptr)} : s;
}

static struct str first(struct str s, size_t n)
{
    return (struct str){s.ptr, s.len < n ? s.len : n};
}

/* `days` days of the sample's month that hold its own. */
static void put_range(struct dset *d, struct str date, uint32_t days)
{
    char     text[64];
    uint32_t day = 1;
    if (!parse_u32((struct str){date.ptr + 6, 2}, &day)) {
        day = 1;
    }
    day = day + days > 29 ? 29 - days : day;
    (void)snprintf(text, sizeof(text), "%.6s%02u-%.6s%02u", date.ptr, day, date.ptr,
                   day + days - 1);
    put(d, DT_StudyDate, text, STR(""), "");
}

enum what {
    PATIENT_ID,
    PATIENT_ID_PREFIX,
    NAME,
    NAME_PREFIX,
    NAME_3,
    NAME_AND_BIRTH,
    BIRTH,
    ACCESSION,
    STUDY_UID,
    STUDY_ID,
    REFERRING,
    DATE,
    DATE_WEEK,
    DATE_MONTH,
    MODALITY_DATE,
    MODALITY_WEEK,
    NAME_AND_DATE,
    LEADING_STAR,
    EVERYTHING,
    MODALITY,
    WHAT__COUNT
};

static const char *const what_names[WHAT__COUNT] = {
    [PATIENT_ID] = "PatientID",
    [PATIENT_ID_PREFIX] = "PatientID, prefix of 6",
    [NAME] = "PatientName",
    [NAME_PREFIX] = "PatientName, surname*",
    [NAME_3] = "PatientName, prefix of 3, first 100",
    [NAME_AND_BIRTH] = "PatientName, surname*, PatientBirthDate",
    [BIRTH] = "PatientBirthDate",
    [ACCESSION] = "AccessionNumber",
    [STUDY_UID] = "StudyInstanceUID",
    [STUDY_ID] = "StudyID",
    [REFERRING] = "ReferringPhysicianName, surname*",
    [DATE] = "StudyDate",
    [DATE_WEEK] = "StudyDate, 7 days",
    [DATE_MONTH] = "StudyDate, 28 days, first 100",
    [MODALITY_DATE] = "ModalitiesInStudy, StudyDate",
    [MODALITY_WEEK] = "ModalitiesInStudy, StudyDate, 7 days",
    [NAME_AND_DATE] = "PatientName, prefix of 3, StudyDate, 28 days",
    [LEADING_STAR] = "PatientName, *end of surname*, first 100",
    [EVERYTHING] = "no key, first 100",
    [MODALITY] = "ModalitiesInStudy, first 100",
};

static size_t build(struct dset *d, enum what w, const struct sample *s)
{
    struct str surname = until(s->name, '^');
    size_t     max = SIZE_MAX;
    switch (w) {
    case PATIENT_ID: put(d, DT_PatientID, "", s->pid, ""); break;
    case PATIENT_ID_PREFIX: put(d, DT_PatientID, "", first(s->pid, 6), "*"); break;
    case NAME: put(d, DT_PatientName, "", s->name, ""); break;
    case NAME_PREFIX: put(d, DT_PatientName, "", surname, "*"); break;
    case NAME_3:
        put(d, DT_PatientName, "", first(surname, 3), "*");
        max = 100;
        break;
    case NAME_AND_BIRTH:
        put(d, DT_PatientName, "", surname, "*");
        put(d, DT_PatientBirthDate, "", s->birth, "");
        break;
    case BIRTH: put(d, DT_PatientBirthDate, "", s->birth, ""); break;
    case ACCESSION: put(d, DT_AccessionNumber, "", s->accession, ""); break;
    case STUDY_UID: put(d, DT_StudyInstanceUID, "", s->uid, ""); break;
    case STUDY_ID: put(d, DT_StudyID, "", s->study_no, ""); break;
    case REFERRING: put(d, DT_ReferringPhysicianName, "", until(s->referring, '^'), "*"); break;
    case DATE: put_range(d, s->date, 1); break;
    case DATE_WEEK: put_range(d, s->date, 7); break;
    case DATE_MONTH:
        put_range(d, s->date, 28);
        max = 100;
        break;
    case MODALITY_DATE:
        put(d, DT_ModalitiesInStudy, "", s->modality, "");
        put_range(d, s->date, 1);
        break;
    case MODALITY_WEEK:
        put(d, DT_ModalitiesInStudy, "", s->modality, "");
        put_range(d, s->date, 7);
        break;
    case NAME_AND_DATE:
        put(d, DT_PatientName, "", first(surname, 3), "*");
        put_range(d, s->date, 28);
        break;
    case LEADING_STAR:
        put(d, DT_PatientName, "*", (struct str){surname.ptr + 2, surname.len - 2}, "*");
        max = 100;
        break;
    case MODALITY:
        put(d, DT_ModalitiesInStudy, "", s->modality, "");
        max = 100;
        break;
    case EVERYTHING: max = 100; break;
    case WHAT__COUNT: break;
    }
    return max;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* One search; candidates and matches are added to the sums. */
static enum err search(struct db *db, const struct dset *keys, int64_t tenant, size_t max,
                       size_t sums[2], struct errmsg *e)
{
    struct find      *f = NULL;
    struct match_opts o = {.combined = true};
    struct find_row   r;
    size_t            n = 0;
    enum err          rc = index_find(db, tenant, LEVEL_STUDY, keys, &f, e);
    if (rc == ERR_OK && max < SIZE_MAX) {
        find_set(f, &(struct find_opts){.expect = max + 1});
    }
    while (rc == ERR_OK && n < max) {
        struct arena a;
        arena_init(&a, 1 << 20);
        rc = find_next(f, &a, &r, e);
        if (rc == ERR_OK) {
            sums[0]++;
            n += is_match(keys, r.dset, &o) ? 1 : 0;
        }
        arena_done(&a);
    }
    sums[1] += n;
    find_free(f);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static enum err measure(struct db *db, enum what w, size_t queries, int64_t last, struct errmsg *e)
{
    int64_t *ns = calloc(queries, sizeof(*ns));
    size_t   sums[2] = {0};
    enum err rc = ns == NULL ? ERR_NOMEM : ERR_OK;
    uint64_t dice = 88172645463325252U + w;
    for (size_t i = 0; i < queries && rc == ERR_OK; i++) {
        struct arena  a;
        struct sample s;
        arena_init(&a, 1 << 20);
        do {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
        } while (!take_sample(db, 1 + (int64_t)((dice >> 11) % (uint64_t)last), &a, &s));
        struct dset *keys = dset_new(&a);
        size_t       max = keys != NULL ? build(keys, w, &s) : 0;
        int64_t      t = clock_mono_ns();
        rc = search(db, keys, s.tenant, max, sums, e);
        ns[i] = clock_mono_ns() - t;
        arena_done(&a);
    }
    size_t p50 = queries / 2, p95 = queries * 95 / 100;
    if (rc == ERR_OK) {
        qsort(ns, queries, sizeof(*ns), compare);
        (void)printf("{\"engine\":\"%s\",\"keys\":\"%s\",\"p50_ms\":%.2f,\"p95_ms\":%.2f,"
                     "\"max_ms\":%.2f,\"matches\":%.1f,\"candidates\":%.1f}\n",
                     is_db_postgres(db) ? "postgresql" : "sqlite", what_names[w],
                     (double)ns[p50] / 1e6, (double)ns[p95] / 1e6, (double)ns[queries - 1] / 1e6,
                     (double)sums[1] / (double)queries, (double)sums[0] / (double)queries);
        (void)fflush(stdout);
    }
    free(ns);
    return rc;
}

static int64_t last_study(struct db *db)
{
    auto_stmt *q = db_query(db, LAST_STUDY);
    return db_step(q) ? db_col_int(q, 0) : 0;
}

int main(int argc, char **argv)
{
    struct errmsg   e = {0};
    struct db_pool *pool = NULL;
    uint64_t        queries = 200;
    if (argc < 2 || argc > 3 || (argc == 3 && !parse_u64(str_of(argv[2]), &queries))) {
        (void)fprintf(stderr, "usage: index_bench URL [QUERIES]\n");
        return 2;
    }
    enum err   rc = db_pool_new(argv[1], 1, &pool, &e);
    struct db *db = rc == ERR_OK ? db_pool_take(pool, &e) : NULL;
    int64_t    last = db != NULL ? last_study(db) : 0;
    rc = last > 0 ? ERR_OK : ERR_NOTFOUND;
    for (unsigned w = 0; w < WHAT__COUNT && rc == ERR_OK; w++) {
        rc = measure(db, (enum what)w, (size_t)queries, last, &e);
    }
    if (rc != ERR_OK) {
        (void)fprintf(stderr, "%s: %s\n", err_name(rc), e.text);
    }
    db_pool_give(pool, db);
    db_pool_free(pool);
    return rc == ERR_OK ? 0 : 1;
}
