/*
 * GET /api/v1/studies/{study}/instances: what the first-image reader needs of a whole study, in one
 * answer that is a hundredth of its DICOM metadata: 3,000 images in less than 100 KB compressed.
 *
 * Headers are read from the packs, open ones as well, so a study that is still arriving can be
 * read; the result is kept per series.
 */
#include <xxhash.h>

#include "api/api_priv.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "dicom/tags.h"

static const struct {
    const char *name;
    uint32_t    tag;
} study_facts[] = {
    {"uid", DT_StudyInstanceUID},
    {"date", DT_StudyDate},
    {"time", DT_StudyTime},
    {"description", DT_StudyDescription},
    {"accession", DT_AccessionNumber},
    {"name", DT_PatientName},
    {"pid", DT_PatientID},
    {"birth", DT_PatientBirthDate},
    {"sex", DT_PatientSex},
};

static const struct {
    const char *name;
    uint32_t    tag;
} series_facts[] = {
    {"uid", DT_SeriesInstanceUID},         {"number", DT_SeriesNumber},   {"modality", DT_Modality},
    {"description", DT_SeriesDescription}, {"body", DT_BodyPartExamined},
};

struct making {
    struct api   *api;
    struct buf    out;
    struct jsonw  w;
    size_t        series;
    struct errmsg e;
};

static void put_fact(struct jsonw *w, const struct dset *d, const char *name, uint32_t tag)
{
    struct str s = dset_text(d, tag);
    if (s.len > 0) {
        jsonw_key(w, str_of(name));
        jsonw_str(w, s);
    }
}

/* An image whose header cannot be read is listed with what is known of it rather than hidden. */
static enum err read_facts(struct api *api, const struct object *o, struct arena *a,
                           struct image_facts *ret, struct errmsg *e)
{
    struct object_file               f;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    struct errmsg     why = {0};
    struct dset      *header = NULL;
    struct parse_opts opts = {.max_value = 256, .stop_tag = DT_PixelData, .lenient = LENIENT_ALL};
    enum err          rc = object_open(api->conf.archive, o, &f, &why);
    if (rc == ERR_OK) {
        const struct syntax *s = syntax_find(str_of(o->image.syntax_uid));
        rc = dset_read(&f.src, 0, s != NULL ? s : &SYNTAX_EXPLICIT, &opts, &mem, &header, &why);
        object_close(&f);
    }
    if (rc != ERR_OK) {
        log_error("instances.header", "sop=%s why=%s", o->image.sop_uid, log_q(str_of(why.text)).z);
        header = NULL;
    }
    return image_facts(header, &o->image, a, ret, e);
}

static uint64_t stamp_of(const struct object *o, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        uint64_t of[] = {h, o[i].image.hash, o[i].image.size};
        h = XXH3_64bits(of, sizeof(of));
    }
    return h;
}

/* The images of one series as members of the object that is open. */
static enum err put_images(struct making *m, int64_t series_id, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_INSTANCES);
    struct object *o = NULL;
    size_t         n = 0;
    enum err       rc = archive_list(m->api->conf.archive, series_id, &mem, &o, &n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    uint64_t stamp = stamp_of(o, n);
    if (image_cache_get(m->api->cache, series_id, stamp, &m->out)) {
        return ERR_OK;
    }
    struct image_facts *f = arena_array(&mem, n > 0 ? n : 1, struct image_facts);
    if (f == NULL) {
        return err_set(e, ERR_LIMIT, "a series of %zu images is too long", n);
    }
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        rc = read_facts(m->api, &o[i], &mem, &f[i], e);
    }
    if (rc == ERR_OK) {
        size_t from = m->out.len;
        images_write(&m->w, f, n);
        if (m->out.err == ERR_OK) {
            image_cache_put(m->api->cache, series_id, stamp,
                            (struct bytes){m->out.ptr + from, m->out.len - from});
        }
    }
    return rc;
}

static enum err put_series(struct making *m, const struct find_row *row, struct errmsg *e)
{
    if (m->series++ == 0) {
        jsonw_obj(&m->w);
        for (size_t i = 0; i < sizeof(study_facts) / sizeof(study_facts[0]); i++) {
            put_fact(&m->w, row->dset, study_facts[i].name, study_facts[i].tag);
        }
        jsonw_key(&m->w, STR("series"));
        jsonw_arr(&m->w);
    }
    jsonw_obj(&m->w);
    for (size_t i = 0; i < sizeof(series_facts) / sizeof(series_facts[0]); i++) {
        put_fact(&m->w, row->dset, series_facts[i].name, series_facts[i].tag);
    }
    enum err rc = put_images(m, row->ids.series_id, e);
    jsonw_obj_end(&m->w);
    return rc;
}

static enum err put_study(struct making *m, struct db *db, int64_t tenant_id, struct str uid,
                          struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_FIND_ROW);
    struct dset *keys = dset_new(&mem);
    struct find *f = NULL;
    enum err     rc = keys == NULL ? ERR_NOMEM : dset_put_str(keys, DT_StudyInstanceUID, uid);
    rc = rc != ERR_OK ? err_set(e, rc, "the question cannot be asked")
                      : index_find(db, tenant_id, LEVEL_SERIES, keys, &f, e);
    while (rc == ERR_OK) {
        CLEANUP(arena_done) struct arena one;
        arena_init(&one, LIMIT_FIND_ROW);
        struct find_row row;
        rc = find_next(f, &one, &row, e);
        if (rc == ERR_OK) {
            rc = put_series(m, &row, e);
        }
    }
    find_free(f);
    return rc == ERR_NOTFOUND && m->series > 0 ? ERR_OK : rc;
}

void instances_handle(struct http_request *r, void *arg)
{
    struct making   m = {.api = arg};
    struct actor    who;
    struct errmsg   e = {0};
    struct db_pool *pool = archive_db(m.api->conf.archive);
    struct str      uid = http_param(r, "study");
    if (!access_actor(m.api->conf.access, r, ACT_READ, STR(""), &who)) {
        return;
    }
    if (!is_uid_usable(uid)) {
        http_error(r, 400, "syntax", "no Study Instance UID");
        return;
    }
    buf_init(&m.out, LIMIT_INSTANCES);
    jsonw_init(&m.w, &m.out);
    struct db *db = db_pool_take(pool, &e);
    enum err   rc = db == NULL ? e.code : put_study(&m, db, who.tenant_id, uid, &e);
    db_pool_give(pool, db);
    if (rc == ERR_OK) {
        jsonw_arr_end(&m.w);
        jsonw_obj_end(&m.w);
        http_add_header(r, "Cache-Control", STR("no-store"));
        answer_json(r, &m.out);
    } else if (rc == ERR_NOTFOUND) {
        http_error(r, 404, "notfound", "no such study here");
    } else {
        http_fail(r, rc, &e);
    }
    buf_done(&m.out);
}
