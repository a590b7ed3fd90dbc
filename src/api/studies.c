/*
 * GET /api/v1/studies: one page of the study list.
 *
 *   q         words, each of which must be in the name, the identifier or the accession number
 *   date      YYYYMMDD, or a range with '-'
 *   modality  one of them, or several with '\'
 *   sort      date (default), name, pid, accession, description, modality, images; "-" in front:
 * down offset, limit
 *
 * The index answers newest first.  Another order is that of the LIMIT_STUDY_LIST newest that match;
 * "more" says that there are others.
 */
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/jsonw.h"
#include "base/num.h"
#include "dicom/match.h"
#include "dicom/tags.h"

enum column {
    COL_UID,
    COL_DATE,
    COL_TIME,
    COL_NAME,
    COL_PID,
    COL_BIRTH,
    COL_SEX,
    COL_ACCESSION,
    COL_DESCRIPTION,
    COL_MODALITIES,
    COL_REFERRING,
    COL__COUNT
};

static const struct {
    const char *name;
    uint32_t    tag;
} columns[COL__COUNT] = {
    [COL_UID] = {"uid", DT_StudyInstanceUID},
    [COL_DATE] = {"date", DT_StudyDate},
    [COL_TIME] = {"time", DT_StudyTime},
    [COL_NAME] = {"name", DT_PatientName},
    [COL_PID] = {"pid", DT_PatientID},
    [COL_BIRTH] = {"birth", DT_PatientBirthDate},
    [COL_SEX] = {"sex", DT_PatientSex},
    [COL_ACCESSION] = {"accession", DT_AccessionNumber},
    [COL_DESCRIPTION] = {"description", DT_StudyDescription},
    [COL_MODALITIES] = {"modalities", DT_ModalitiesInStudy},
    [COL_REFERRING] = {"referring", DT_ReferringPhysicianName},
};

struct row {
    int64_t    id;
    struct str text[COL__COUNT];
    int64_t    series, images;
    struct str key; // what the order goes by
};

enum { WORDS = 8 };

enum order {
    ORDER_DATE,
    ORDER_NAME,
    ORDER_PID,
    ORDER_ACCESSION,
    ORDER_TEXT,
    ORDER_MODALITY,
    ORDER_IMAGES
};

static const struct {
    const char *name;
    enum order  order;
    enum column column;
} orders[] = {
    {"date", ORDER_DATE, COL_DATE},
    {"name", ORDER_NAME, COL_NAME},
    {"pid", ORDER_PID, COL_PID},
    {"accession", ORDER_ACCESSION, COL_ACCESSION},
    {"description", ORDER_TEXT, COL_DESCRIPTION},
    {"modality", ORDER_MODALITY, COL_MODALITIES},
    {"images", ORDER_IMAGES, COL_UID},
};

struct listing {
    struct api  *api;
    int64_t      tenant_id;
    struct str   date, modality;
    struct str   word[WORDS]; // folded
    size_t       words;
    struct str   longest; // of the words, as written
    uint32_t     offset, limit;
    size_t       order; // in orders
    bool         down, more;
    struct arena mem;
    struct row  *rows;
    size_t       n, room;
    size_t       cap; // rows of one source
};

/* ---- question */

static struct str fold(struct arena *a, enum vr vr, struct str s)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_STUDY_KEY);
    text_key(&b, vr, s);
    return b.err == ERR_OK ? arena_str(a, (struct str){(const char *)b.ptr, b.len}) : STR("");
}

static void cut_words(struct listing *l, struct str q)
{
    size_t i = 0;
    while (i < q.len && l->words < WORDS) {
        while (i < q.len && strchr(" ^,\\\t", q.ptr[i]) != NULL) {
            i++;
        }
        size_t from = i;
        while (i < q.len && strchr(" ^,\\\t", q.ptr[i]) == NULL) {
            i++;
        }
        struct str w = {q.ptr + from, i - from};
        if (w.len > 0 && w.len <= 64) {
            l->word[l->words++] = fold(&l->mem, VR_PN, w);
            l->longest = w.len > l->longest.len ? w : l->longest;
        }
    }
}

static bool number_of(struct str s, uint32_t max, uint32_t absent, uint32_t *ret)
{
    *ret = absent;
    return s.ptr == NULL || (parse_u32(s, ret) && *ret <= max);
}

static bool order_of(struct listing *l, struct str s)
{
    l->down = s.ptr == NULL || (s.len > 0 && s.ptr[0] == '-');
    if (s.ptr == NULL) {
        return true;
    }
    if (l->down) {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (str_eq(s, str_of(orders[i].name))) {
            l->order = i;
            return true;
        }
    }
    return false;
}

static bool parse_question(struct http_request *r, struct listing *l)
{
    struct str  q = http_query(r, "q");
    struct span span;
    l->date = http_query(r, "date");
    l->modality = http_query(r, "modality");
    if (!number_of(http_query(r, "limit"), LIMIT_STUDY_PAGE, 50, &l->limit) ||
        !number_of(http_query(r, "offset"), LIMIT_STUDY_LIST, 0, &l->offset) ||
        !order_of(l, http_query(r, "sort"))) {
        http_error(r, 400, "syntax", "limit, offset or sort is wrong");
        return false;
    }
    if (l->date.len > 0 && !span_parse(VR_DA, l->date, 0, &span)) {
        http_error(r, 400, "syntax", "date is YYYYMMDD or a range of them");
        return false;
    }
    cut_words(l, q.ptr != NULL ? q : STR(""));
    return true;
}

/* ---- candidates */

static enum err keys_make(const struct listing *l, uint32_t tag, bool anywhere, struct arena *a,
                          struct dset **ret)
{
    struct dset *d = dset_new(a);
    enum err     rc =
        d == NULL ? ERR_NOMEM : dset_put_str(d, DT_SpecificCharacterSet, STR("ISO_IR 192"));
    if (rc == ERR_OK && l->date.len > 0) {
        rc = dset_put_str(d, DT_StudyDate, l->date);
    }
    if (rc == ERR_OK && l->modality.len > 0) {
        rc = dset_put_str(d, DT_ModalitiesInStudy, l->modality);
    }
    if (rc == ERR_OK && tag != 0) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 1024);
        buf_fmt(&b, "%s%.*s*", anywhere ? "*" : "", STR_ARG(l->longest));
        rc = b.err == ERR_OK ? dset_put_text(d, tag, (struct str){(const char *)b.ptr, b.len})
                             : b.err;
    }
    *ret = d;
    return rc;
}

static bool has_words(struct listing *l, const struct row *row, struct arena *scratch)
{
    struct str in[] = {fold(scratch, VR_PN, row->text[COL_NAME]),
                       fold(scratch, VR_PN, row->text[COL_PID]),
                       fold(scratch, VR_PN, row->text[COL_ACCESSION])};
    for (size_t i = 0; i < l->words; i++) {
        bool found = l->word[i].len == 0;
        for (size_t k = 0; k < sizeof(in) / sizeof(in[0]) && !found; k++) {
            found = memmem(in[k].ptr, in[k].len, l->word[i].ptr, l->word[i].len) != NULL;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static struct row *rows_room(struct listing *l)
{
    if (l->n == l->room) {
        size_t      room = l->room == 0 ? 256 : l->room * 2;
        struct row *v = arena_array(&l->mem, room, struct row);
        if (v == NULL) {
            return NULL;
        }
        if (l->n > 0) {
            memcpy(v, l->rows, l->n * sizeof(*v));
        }
        l->rows = v;
        l->room = room;
    }
    return &l->rows[l->n];
}

static void row_read(const struct find_row *found, struct row *to)
{
    *to = (struct row){.id = found->ids.study_id};
    for (enum column c = 0; c < COL__COUNT; c++) {
        to->text[c] = dset_text(found->dset, columns[c].tag);
    }
    (void)dset_int(found->dset, DT_NumberOfStudyRelatedSeries, &to->series);
    (void)dset_int(found->dset, DT_NumberOfStudyRelatedInstances, &to->images);
}

static enum err row_keep(struct listing *l, struct row row, struct errmsg *e)
{
    struct row *to = rows_room(l);
    for (enum column c = 0; to != NULL && c < COL__COUNT; c++) {
        row.text[c] = arena_str(&l->mem, row.text[c]);
        if (row.text[c].ptr == NULL) {
            to = NULL;
        }
    }
    if (to == NULL) {
        return err_set(e, ERR_LIMIT, "the list is too large");
    }
    *to = row;
    l->n++;
    return ERR_OK;
}

static enum err collect(struct listing *l, struct find *f, const struct dset *keys,
                        struct errmsg *e)
{
    struct match_opts opts = {
        .zone_minutes = l->api->conf.zone_minutes, .combined = true, .fold = true};
    enum err                         rc = ERR_OK;
    size_t                           kept = 0;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    for (size_t looked = 0; rc == ERR_OK; looked++) {
        struct find_row found;
        struct row      row;
        arena_done(&mem);
        arena_init(&mem, LIMIT_FIND_ROW);
        rc = find_next(f, &mem, &found, e);
        if (rc != ERR_OK) {
            return rc == ERR_NOTFOUND ? ERR_OK : rc;
        }
        if (kept == l->cap || looked == LIMIT_STUDY_LOOKED) {
            l->more = true;
            return ERR_OK;
        }
        row_read(&found, &row);
        if (is_match(keys, found.dset, &opts) && has_words(l, &row, &mem)) {
            rc = row_keep(l, row, e);
            kept++;
        }
    }
    return rc;
}

static enum err look(struct listing *l, struct db *db, uint32_t tag, bool anywhere,
                     struct errmsg *e)
{
    struct dset *keys = NULL;
    struct find *f = NULL;
    enum err     rc = keys_make(l, tag, anywhere, &l->mem, &keys);
    if (rc != ERR_OK) {
        return err_set(e, rc, "the question cannot be asked");
    }
    rc = index_find(db, l->tenant_id, LEVEL_STUDY, keys, &f, e);
    if (rc == ERR_OK) {
        find_set(f, &(struct find_opts){.expect = l->cap});
        rc = collect(l, f, keys, e);
        find_free(f);
    }
    return rc;
}

static enum err look_all(struct listing *l, struct errmsg *e)
{
    struct db_pool *pool = archive_db(l->api->conf.archive);
    struct db      *db = db_pool_take(pool, e);
    if (db == NULL) {
        return e->code;
    }
    enum err rc = ERR_OK;
    if (l->words == 0) {
        rc = look(l, db, 0, false, e);
    } else {
        rc = look(l, db, DT_PatientName, true, e);
        rc = rc == ERR_OK ? look(l, db, DT_PatientID, false, e) : rc;
        rc = rc == ERR_OK ? look(l, db, DT_AccessionNumber, false, e) : rc;
    }
    db_pool_give(pool, db);
    return rc;
}

/* ---- order */

static int by_id(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int cmp_str(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int    c = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int               c = cmp_str(x->key, y->key);
    c = c != 0 ? c : cmp_str(x->text[COL_DATE], y->text[COL_DATE]);
    c = c != 0 ? c : cmp_str(x->text[COL_TIME], y->text[COL_TIME]);
    return c != 0 ? c : by_id(a, b);
}

/* Dates sort with their times, names and texts without case and accents, empty ones last. */
static struct str key_of(struct listing *l, const struct row *row)
{
    CLEANUP(buf_done) struct buf b;
    struct str                   text = row->text[orders[l->order].column];
    buf_init(&b, LIMIT_STUDY_KEY);
    switch (orders[l->order].order) {
    case ORDER_DATE: break; // by_key goes by it anyway
    case ORDER_NAME:
    case ORDER_TEXT:
        text_key(&b, orders[l->order].order == ORDER_NAME ? VR_PN : VR_LO, text);
        for (size_t i = 0; i < b.len && orders[l->order].order == ORDER_NAME; i++) {
            b.ptr[i] = b.ptr[i] == '^' ? 1 : b.ptr[i]; // DUPONT^JEAN before DUPONT-AIGNAN^ANNE
        }
        break;
    case ORDER_IMAGES: buf_fmt(&b, "%020lld", (long long)row->images); break;
    case ORDER_PID:
    case ORDER_ACCESSION:
    case ORDER_MODALITY: buf_str(&b, text); break;
    }
    return arena_str(&l->mem, (struct str){(const char *)b.ptr, b.len});
}

static void put_in_order(struct listing *l)
{
    size_t kept = 0;
    if (l->n == 0) {
        return;
    }
    qsort(l->rows, l->n, sizeof(l->rows[0]), by_id);
    for (size_t i = 0; i < l->n; i++) {
        if (kept == 0 || l->rows[kept - 1].id != l->rows[i].id) {
            l->rows[kept++] = l->rows[i];
        }
    }
    l->n = kept;
    for (size_t i = 0; i < l->n; i++) {
        l->rows[i].key = key_of(l, &l->rows[i]);
    }
    qsort(l->rows, l->n, sizeof(l->rows[0]), by_key);
    for (size_t i = 0; l->down && i < l->n / 2; i++) {
        struct row other = l->rows[i];
        l->rows[i] = l->rows[l->n - 1 - i];
        l->rows[l->n - 1 - i] = other;
    }
}

/* ---- answer */

static void row_write(struct jsonw *w, const struct row *row)
{
    jsonw_obj(w);
    for (enum column c = 0; c < COL__COUNT; c++) {
        if (row->text[c].len > 0) {
            jsonw_key(w, str_of(columns[c].name));
            jsonw_str(w, row->text[c]);
        }
    }
    jsonw_key(w, STR("series"));
    jsonw_i64(w, row->series);
    jsonw_key(w, STR("images"));
    jsonw_i64(w, row->images);
    jsonw_obj_end(w);
}

static void answer(struct http_request *r, const struct listing *l)
{
    struct buf   b;
    struct jsonw w;
    size_t       end = (size_t)l->offset + l->limit;
    buf_init(&b, LIMIT_LIST_ARENA);
    jsonw_init(&w, &b);
    jsonw_obj(&w);
    jsonw_key(&w, STR("studies"));
    jsonw_arr(&w);
    for (size_t i = l->offset; i < l->n && i < end; i++) {
        row_write(&w, &l->rows[i]);
    }
    jsonw_arr_end(&w);
    jsonw_key(&w, STR("found")); // at least
    jsonw_u64(&w, l->n);
    jsonw_key(&w, STR("more"));
    jsonw_bool(&w, l->more);
    jsonw_obj_end(&w);
    http_add_header(r, "Cache-Control", STR("no-store"));
    answer_json(r, &b);
}

void studies_handle(struct http_request *r, void *arg)
{
    struct listing l = {.api = arg};
    struct actor   who;
    struct errmsg  e = {0};
    if (!access_actor(l.api->conf.access, r, ACT_FIND, STR(""), &who)) {
        return;
    }
    l.tenant_id = who.tenant_id;
    arena_init(&l.mem, LIMIT_LIST_ARENA);
    if (parse_question(r, &l)) {
        bool   newest_first = orders[l.order].order == ORDER_DATE && l.down;
        size_t page = (size_t)l.offset + l.limit;
        l.cap = newest_first && page < LIMIT_STUDY_LIST ? page : LIMIT_STUDY_LIST;
        enum err rc = look_all(&l, &e);
        if (rc == ERR_OK) {
            put_in_order(&l);
            answer(r, &l);
        } else {
            http_fail(r, rc, &e);
        }
    }
    arena_done(&l.mem);
}
