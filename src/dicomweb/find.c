/* QIDO-RS, PS3.18 10.6: studies, series and instances, at every level and relational. */
#include <assert.h>

#include "archive/search.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "dicom/json.h"
#include "dicom/tags.h"
#include "dicom/xml.h"
#include "dicomweb/qido.h"
#include "dicomweb/wado.h"
#include "http/multipart.h"

/* What an answer holds without being asked, by level: tables 10.6.3-3 to -5. */
static const uint32_t study_fields[] = {DT_TimezoneOffsetFromUTC,
                                        DT_StudyDate,
                                        DT_StudyTime,
                                        DT_AccessionNumber,
                                        DT_ModalitiesInStudy,
                                        DT_StudyDescription,
                                        DT_PatientName,
                                        DT_PatientID,
                                        DT_IssuerOfPatientID,
                                        DT_PatientBirthDate,
                                        DT_PatientSex,
                                        DT_StudyInstanceUID,
                                        DT_ReferringPhysicianName,
                                        DT_StudyID,
                                        DT_NumberOfStudyRelatedSeries,
                                        DT_NumberOfStudyRelatedInstances};
static const uint32_t series_fields[] = {DT_TimezoneOffsetFromUTC,
                                         DT_Modality,
                                         DT_SeriesDescription,
                                         DT_SeriesInstanceUID,
                                         DT_SeriesNumber,
                                         DT_SeriesDate,
                                         DT_SeriesTime,
                                         DT_BodyPartExamined,
                                         DT_NumberOfSeriesRelatedInstances,
                                         DT_PerformedProcedureStepStartDate,
                                         DT_PerformedProcedureStepStartTime,
                                         DT_RequestAttributesSequence};
static const uint32_t image_fields[] = {
    DT_TimezoneOffsetFromUTC, DT_SOPClassUID,   DT_SOPInstanceUID,
    DT_InstanceNumber,        DT_Rows,          DT_Columns,
    DT_BitsAllocated,         DT_NumberOfFrames};

static const struct {
    const uint32_t *tags;
    size_t          n;
} fields[] = {
    [LEVEL_STUDY] = {study_fields, sizeof(study_fields) / sizeof(study_fields[0])},
    [LEVEL_SERIES] = {series_fields, sizeof(series_fields) / sizeof(series_fields[0])},
    [LEVEL_IMAGE] = {image_fields, sizeof(image_fields) / sizeof(image_fields[0])},
};

enum form { FORM_JSON, FORM_PLAIN_JSON, FORM_XML, FORMS };

static const struct accept_offer offers[FORMS] = {
    [FORM_JSON] = {.media = "application/dicom+json"},
    [FORM_PLAIN_JSON] = {.media = "application/json"},
    [FORM_XML] = {.media = "application/dicom+xml", .multipart = true},
};

struct answer {
    const struct qido *q;
    enum level         level;
    enum level         from; // levels above are known from the path, and not repeated
    struct str         root; // of RetrieveURL
    enum form          form;
    struct buf         out;
    struct jsonw       w;
    char               boundary[MULTIPART_BOUNDARY]; // FORM_XML
    uint64_t           matches, rows;
    bool               more;      // there was another one after the last
    bool               unmatched; // a key was not looked at
};

static enum err copy(struct dset *to, const struct dset *from, const uint32_t *tags, size_t n)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        const struct elem *el = dset_find(from, tags[i]);
        rc = el != NULL && !el->left_out ? dset_copy(to, from, el) : ERR_OK;
    }
    return rc;
}

static enum err retrieve_url(const struct answer *a, struct dset *to)
{
    static const struct {
        const char *step;
        uint32_t    tag;
    } parts[] = {{"/studies/", DT_StudyInstanceUID},
                 {"/series/", DT_SeriesInstanceUID},
                 {"/instances/", DT_SOPInstanceUID}};
    CLEANUP(buf_done) struct buf url;
    buf_init(&url, LIMIT_HTTP_MEMORY);
    buf_str(&url, a->root);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && i <= a->level - LEVEL_STUDY; i++) {
        buf_str(&url, str_of(parts[i].step));
        buf_str(&url, dset_str(to, parts[i].tag));
    }
    return url.err != ERR_OK
               ? url.err
               : dset_put_str(to, DT_RetrieveURL, (struct str){(const char *)url.ptr, url.len});
}

static enum err fill(const struct answer *a, const struct dset *d, struct dset *to)
{
    static const uint32_t uids[] = {DT_StudyInstanceUID, DT_SeriesInstanceUID, DT_SOPInstanceUID};

    assert(a->level >= LEVEL_STUDY && a->level <= LEVEL_IMAGE);
    enum err rc = dset_put_str(to, DT_SpecificCharacterSet, STR("ISO_IR 192"));
    for (size_t i = 0; a->q->include_all && i < d->n && rc == ERR_OK; i++) {
        rc = d->elems[i].left_out ? ERR_OK : copy(to, d, &d->elems[i].tag, 1);
    }
    for (int l = (int)a->from; l <= (int)a->level && rc == ERR_OK; l++) {
        rc = copy(to, d, fields[l].tags, fields[l].n);
    }
    for (size_t i = 0; i < a->q->keys->n && rc == ERR_OK; i++) {
        rc = copy(to, d, &a->q->keys->elems[i].tag, 1);
    }
    rc = rc == ERR_OK ? copy(to, d, a->q->include, a->q->n_include) : rc;
    rc = rc == ERR_OK ? copy(to, d, uids, (size_t)(a->level - LEVEL_STUDY) + 1) : rc;
    rc = rc == ERR_OK ? dset_put_str(to, DT_SpecificCharacterSet, STR("ISO_IR 192")) : rc;
    rc = rc == ERR_OK ? dset_put_str(to, DT_InstanceAvailability, STR("ONLINE")) : rc;
    return rc == ERR_OK ? retrieve_url(a, to) : rc;
}

static enum err put_row(struct answer *a, const struct dset *row, struct errmsg *e)
{
    static const struct http_pair head = {STR("Content-Type"), STR("application/dicom+xml")};

    struct json_opts opts = {.inline_max = LIMIT_FIND_VALUE};
    if (a->form != FORM_XML) {
        return dsjson_write(row, &opts, &a->w, e);
    }
    multipart_head(&a->out, a->boundary, a->rows == 0, &head, 1);
    return dsxml_write(row, &opts, &a->out, e);
}

static enum err found(void *ctx, const struct search_found *f, struct errmsg *e)
{
    struct answer *a = ctx;
    a->unmatched = a->unmatched || f->unmatched_key;
    if (a->matches++ < a->q->offset) {
        return ERR_OK;
    }
    if (a->rows == a->q->limit) {
        a->more = true;
        return ERR_CLOSED; // enough
    }
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    struct dset *row = dset_new(&mem);
    enum err     rc = row != NULL ? fill(a, f->dset, row) : ERR_NOMEM;
    if (rc != ERR_OK) {
        return err_set(e, ERR_LIMIT, "a match is larger than %d bytes", LIMIT_FIND_ROW);
    }
    rc = put_row(a, row, e);
    a->rows++;
    return rc;
}

static enum err path_keys(struct http_request *r, struct dset *keys, struct errmsg *e)
{
    static const struct {
        const char *name;
        uint32_t    tag;
    } parts[] = {{"study", DT_StudyInstanceUID}, {"series", DT_SeriesInstanceUID}};

    for (size_t i = 0; i < 2; i++) {
        struct str uid = http_param(r, parts[i].name);
        if (uid.ptr == NULL) {
            continue;
        }
        if (!is_uid_usable(uid)) {
            return err_set(e, ERR_SYNTAX, "the %s in the path is no UID", parts[i].name);
        }
        enum err rc = dset_put_str(keys, parts[i].tag, uid);
        if (rc != ERR_OK) {
            return err_set(e, rc, "no memory for the path");
        }
    }
    return ERR_OK;
}

static void warn(struct http_request *r, const struct answer *a)
{
    if (a->more && !a->q->limited) {
        http_add_header(r, "Warning",
                        STR("299 garonne \"The number of results exceeded the maximum supported by "
                            "the server. Additional results can be requested.\""));
    }
    if (a->unmatched) {
        http_add_header(r, "Warning",
                        STR("299 garonne \"One or more keys are not kept at this level and were "
                            "not matched.\""));
    }
}

/* Nobody can know the boundary before, so no name can hold it. */
static void begin(struct answer *a, uint64_t id)
{
    int64_t seed[3] = {(int64_t)id, clock_mono_ns(), clock_wall_us()};
    buf_init(&a->out, LIMIT_QIDO_ANSWER);
    if (a->form == FORM_XML) {
        multipart_boundary((struct bytes){(const uint8_t *)seed, sizeof(seed)}, a->boundary);
        return;
    }
    jsonw_init(&a->w, &a->out);
    jsonw_arr(&a->w);
}

static void send(struct http_request *r, struct answer *a)
{
    warn(r, a);
    if (a->form != FORM_XML) {
        jsonw_arr_end(&a->w);
        http_answer_buf(r, 200, offers[a->form].media, &a->out);
        return;
    }
    if (a->rows == 0) { // a multipart has one part at least
        http_answer(r, 204, NULL, (struct bytes){0});
        return;
    }
    CLEANUP(buf_done) struct buf type;
    buf_init(&type, 256);
    multipart_tail(&a->out, a->boundary);
    multipart_type(&type, a->boundary, offers[FORM_XML].media);
    buf_u8(&type, '\0');
    http_answer_buf(r, 200, type.err == ERR_OK ? (const char *)type.ptr : NULL, &a->out);
}

static enum level from_of(const struct http_request *r)
{
    return http_param(r, "series").ptr != NULL  ? LEVEL_IMAGE
           : http_param(r, "study").ptr != NULL ? LEVEL_SERIES
                                                : LEVEL_STUDY;
}

static void run(struct http_request *r, struct web *w, const struct actor *actor, struct answer *a)
{
    struct errmsg e = {0};
    int64_t       t0 = clock_mono_ns();
    struct search s = {
        .tenant_id = actor->tenant_id,
        .level = a->level,
        .keys = a->q->keys,
        .expect = a->q->offset + a->q->limit + 1,
        .opts = {.zone_minutes = w->zone_minutes, .combined = true, .words = a->q->fuzzy}};
    begin(a, http_id(r));
    enum err rc =
        archive_search(w->archive, &s, &(struct search_sink){.found = found, .ctx = a}, &e);
    rc = a->more && rc == ERR_CLOSED ? ERR_OK : rc;
    log_info("qido", "tenant=%s level=%d answers=%llu ms=%lld err=%s", actor->tenant, (int)a->level,
             (unsigned long long)a->rows, (long long)((clock_mono_ns() - t0) / 1000000),
             err_name(rc));
    if (rc == ERR_OK) {
        send(r, a);
    } else {
        http_fail(r, rc, &e);
    }
    buf_done(&a->out);
}

static void search(struct http_request *r, struct web *w, enum level level)
{
    struct actor  actor;
    struct errmsg e = {0};
    struct qido   q = {0};
    size_t        form = 0;
    if (!web_actor(w, r, ACT_FIND, &actor) || !wado_choose(r, offers, FORMS, &form)) {
        return;
    }
    enum err rc = qido_parse(http_uri(r), http_arena(r), &q, &e);
    rc = rc == ERR_OK ? path_keys(r, q.keys, &e) : rc;
    if (rc != ERR_OK) {
        http_fail(r, rc, &e);
        return;
    }
    struct answer a = {
        .q = &q, .level = level, .from = from_of(r), .root = web_root(r), .form = (enum form)form};
    run(r, w, &actor, &a);
}

static void find_studies(struct http_request *r, void *arg)
{
    search(r, arg, LEVEL_STUDY);
}

static void find_series(struct http_request *r, void *arg)
{
    search(r, arg, LEVEL_SERIES);
}

static void find_instances(struct http_request *r, void *arg)
{
    search(r, arg, LEVEL_IMAGE);
}

#define ROW(pattern, handle)                                                                       \
    {                                                                                              \
        HTTP_GET, true, pattern, handle, NULL, 0                                                   \
    }

const struct web_route find_routes[] = {
    ROW("/studies", find_studies),
    ROW("/series", find_series),
    ROW("/instances", find_instances),
    ROW("/studies/{study}/series", find_series),
    ROW("/studies/{study}/instances", find_instances),
    ROW("/studies/{study}/series/{series}/instances", find_instances),
};
const size_t find_routes_n = sizeof(find_routes) / sizeof(find_routes[0]);
