#include "archive/search.h"

#include "archive/archive_priv.h"
#include "dicom/tags.h"

struct run {
    struct archive           *a;
    const struct search      *s;
    const struct search_sink *sink;
    struct arena              row, image; // reset for each candidate
    unsigned                  looked;
    bool                      unmatched_key;
};

bool is_search_control(uint32_t tag)
{
    return tag == DT_SpecificCharacterSet || tag == DT_QueryRetrieveLevel ||
           tag == DT_TimezoneOffsetFromUTC || tag == DT_RetrieveAETitle ||
           tag == DT_InstanceAvailability;
}

/*
 * Above the image level an attribute that the index does not keep is an unsupported optional key:
 * not matched, and said so.  At the image level the header has everything there is, so a missing
 * attribute is one without a value.
 */
static bool is_answer(struct run *q, const struct dset *candidate)
{
    const struct dset *keys = q->s->keys;
    for (size_t i = 0; i < keys->n; i++) {
        const struct elem *key = &keys->elems[i];
        if (is_search_control(key->tag) || is_universal(keys, key)) {
            continue;
        }
        if (q->s->level != LEVEL_IMAGE && dset_find(candidate, key->tag) == NULL) {
            q->unmatched_key = true;
            continue;
        }
        if (!is_match_elem(keys, key, candidate, &q->s->opts)) {
            return false;
        }
    }
    return true;
}

static enum err tell(struct run *q, const struct series_ids *ids, const struct dset *d,
                     struct errmsg *e)
{
    if (is_answer(q, d)) {
        struct search_found f = {*ids, d, q->unmatched_key};
        enum err            rc = q->sink->found(q->sink->ctx, &f, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return q->looked++ % 32 == 0 && q->sink->tick != NULL ? q->sink->tick(q->sink->ctx, e) : ERR_OK;
}

static enum err read_header(struct run *q, const struct object *o, struct dset **ret,
                            struct errmsg *e)
{
    struct object_file f;
    enum err           rc = object_open(q->a, o, &f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct parse_opts opts = {
        .max_value = LIMIT_FIND_VALUE, .stop_tag = DT_PixelData, .lenient = LENIENT_ALL};
    const struct syntax *s = syntax_find(str_of(o->image.syntax_uid));
    rc = dset_read(&f.src, 0, s != NULL ? s : &SYNTAX_EXPLICIT, &opts, &q->image, ret, e);
    object_close(&f);
    return rc;
}

/* What no header holds, because it is of all images together. */
static enum err put_sums(struct dset *header, const struct dset *row, struct errmsg *e)
{
    static const uint32_t tags[] = {
        DT_ModalitiesInStudy,
        DT_SOPClassesInStudy,
        DT_NumberOfStudyRelatedSeries,
        DT_NumberOfStudyRelatedInstances,
        DT_NumberOfSeriesRelatedInstances,
    };

    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        const struct elem *el = dset_find(row, tags[i]);
        enum err           rc = el != NULL ? dset_copy(header, row, el) : ERR_OK;
        if (rc != ERR_OK) {
            return err_set(e, rc, "no memory for the header of an image");
        }
    }
    return ERR_OK;
}

static enum err search_images(struct run *q, const struct find_row *row, struct errmsg *e)
{
    const struct series_ids         *ids = &row->ids;
    CLEANUP(arena_done) struct arena list;
    arena_init(&list, LIMIT_OBJECT_LIST);
    struct object *o;
    size_t         n;
    enum err       rc = archive_list(q->a, ids->series_id, &list, &o, &n, e);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        struct dset  *header = NULL;
        struct errmsg why = {0};
        arena_done(&q->image);
        arena_init(&q->image, LIMIT_FIND_ROW);
        if (read_header(q, &o[i], &header, &why) != ERR_OK) {
            archive_tell(q->a, o[i].path, why.text);
            continue;
        }
        rc = put_sums(header, row->dset, e);
        rc = rc == ERR_OK ? tell(q, ids, header, e) : rc;
    }
    return rc;
}

static enum err search_rows(struct run *q, struct find *f, struct errmsg *e)
{
    for (;;) {
        struct find_row row;
        arena_done(&q->row);
        arena_init(&q->row, LIMIT_FIND_ROW);
        enum err rc = find_next(f, &q->row, &row, e);
        if (rc == ERR_OK) {
            rc = q->s->level == LEVEL_IMAGE ? search_images(q, &row, e)
                                            : tell(q, &row.ids, row.dset, e);
        } else if (rc == ERR_NOTFOUND) {
            return ERR_OK;
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

enum err archive_search(struct archive *a, const struct search *s, const struct search_sink *sink,
                        struct errmsg *e)
{
    struct run   q = {.a = a, .s = s, .sink = sink};
    struct find *f = NULL;
    struct db   *db = db_pool_take(a->db, e);
    enum level   level = s->level == LEVEL_IMAGE ? LEVEL_SERIES : s->level;
    enum err     rc = db == NULL ? e->code : index_find(db, s->tenant_id, level, s->keys, &f, e);
    if (rc == ERR_OK) {
        find_set(f, &(struct find_opts){.expect = s->level == LEVEL_IMAGE ? 0 : s->expect,
                                        .words = s->opts.words});
        rc = search_rows(&q, f, e);
        find_free(f);
    }
    arena_done(&q.row);
    arena_done(&q.image);
    db_pool_give(a->db, db);
    return rc;
}
