#include "dicomweb/store_model.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cur.h"
#include "base/log.h"
#include "base/utf8.h"
#include "dicom/json.h"
#include "dicom/tags.h"
#include "dicom/xml.h"
#include "dicomweb/store_bulk.h"
#include "sys/file.h"

void store_model_init(struct store_model *m)
{
    arena_init(&m->mem, LIMIT_STORE_MODEL);
    buf_init(&m->text, LIMIT_STORE_TEXT);
    m->fd = -1;
    m->last = &m->first;
}

void store_model_done(struct store_model *m)
{
    file_close(&m->fd);
    buf_done(&m->text);
    arena_done(&m->mem);
}

bool is_model_type(const struct media_type *t)
{
    return is_media(t, "application/dicom+json") || is_media(t, "application/json") ||
           is_media(t, "application/dicom+xml");
}

static void fail(struct store_model *m, enum err rc, const char *what)
{
    if (m->rc == ERR_OK) {
        m->rc = err_set(&m->why, rc, "%s", what);
    }
}

/* ---- parts -------------------------------------------------------------------------------- */

static void begin_bulk(struct store_model *m, const struct media_type *t, struct str location)
{
    struct bulk *b = arena_new(&m->mem, struct bulk);
    if (location.len == 0) {
        fail(m, ERR_SYNTAX, "a part of bulk data without Content-Location");
        return;
    }
    if (b != NULL) {
        b->location = arena_str(&m->mem, location);
        b->at = m->spooled;
        b->syntax = media_param(t, "transfer-syntax");
        b->media = t->full;
    }
    if (b == NULL || b->location.ptr == NULL) {
        fail(m, ERR_LIMIT, "too many parts of bulk data");
        return;
    }
    if (m->fd < 0) {
        m->fd = open(archive_root(m->archive), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    if (m->fd < 0) {
        m->rc = file_errno(&m->why, "spool", archive_root(m->archive));
        return;
    }
    m->open = *m->last = b;
    m->last = &b->next;
}

void store_model_begin(struct store_model *m, struct str type, struct str location)
{
    struct media_type t = {0};
    uint64_t          left;
    m->open = NULL;
    m->in_text = false;
    buf_clear(&m->text);
    if (m->rc == ERR_OK) {
        m->rc = media_parse(type, &m->mem, &t, &m->why);
    }
    if (m->rc == ERR_OK) {
        m->rc = archive_space(m->archive, &left, &m->why);
    }
    if (m->rc != ERR_OK) {
        return;
    }
    m->in_text = is_model_type(&t);
    m->xml = is_media(&t, "application/dicom+xml");
    if (!m->in_text) {
        begin_bulk(m, &t, location);
    }
}

void store_model_add(struct store_model *m, struct bytes piece)
{
    if (m->rc != ERR_OK) {
        return;
    }
    if (m->in_text) {
        buf_add(&m->text, piece);
        return;
    }
    m->rc = file_write_at(m->fd, m->spooled, piece, &m->why);
    m->spooled += piece.len;
    m->open->len += piece.len;
}

static void add_sets(struct store_model *m, struct dset **sets, size_t n)
{
    if (m->n_sets + n > m->room) {
        size_t        room = (m->n_sets + n) * 2;
        struct dset **more = arena_array(&m->mem, room, struct dset *);
        if (more == NULL) {
            fail(m, ERR_LIMIT, "too many data sets");
            return;
        }
        if (m->n_sets > 0) {
            memcpy(more, m->sets, m->n_sets * sizeof(struct dset *));
        }
        m->sets = more;
        m->room = room;
    }
    for (size_t i = 0; sets != NULL && i < n; i++) {
        m->sets[m->n_sets++] = sets[i];
    }
}

void store_model_end(struct store_model *m)
{
    struct bytes  text = {0};
    struct str    json = {0};
    struct dset **sets = NULL, *one = NULL;
    size_t        n = 1;
    if (m->rc != ERR_OK || !m->in_text) {
        return;
    }
    if (buf_end(&m->text, &text) != ERR_OK) {
        fail(m, ERR_LIMIT, "metadata of one part are too large");
    } else if (m->xml) {
        m->rc = dsxml_parse(text, &m->mem, &one, &m->why);
        sets = &one;
    } else if (!utf8_check(text, &json)) {
        fail(m, ERR_SYNTAX, "metadata are not UTF-8");
    } else {
        m->rc = dsjson_parse_list(json, &m->mem, &sets, &n, &m->why);
    }
    if (m->rc == ERR_OK) {
        add_sets(m, sets, n);
    }
}

/* ---- objects ------------------------------------------------------------------------------ */

static void commit_one(struct store_model *m, struct dset *d)
{
    struct errmsg       why = {0};
    struct ingest_ids   ids = {0};
    enum ingest_outcome how = INGEST_STORED;
    struct instance     i = {.class_uid = dset_str(d, DT_SOPClassUID),
                             .sop_uid = dset_str(d, DT_SOPInstanceUID)};
    struct ingest      *in = NULL;
    struct bulk_source  from = {.first = m->first, .fd = m->fd, .mem = &m->mem};
    m->from.ret_ids = &ids;
    enum err rc = bulk_settle(&from, d, &why);
    rc = rc == ERR_OK ? ingest_begin(m->archive, &m->from, i.class_uid, i.sop_uid,
                                     str_of(from.syntax->uid), &in, &why)
                      : rc;
    rc = rc == ERR_OK ? bulk_write(&from, d, in, &why) : rc;
    if (rc != ERR_OK) {
        ingest_abort(in);
    } else {
        rc = ingest_commit(in, &how, &why);
    }
    if (rc != ERR_OK) {
        told_failed(m->told, &i, rc, &why);
        return;
    }
    i.study_uid = str_of(ids.study_uid);
    i.series_uid = str_of(ids.series_uid);
    told_stored(m->told, &i, how == INGEST_QUARANTINED);
}

enum err store_model_commit(struct store_model *m, struct errmsg *e)
{
    if (m->rc != ERR_OK) {
        return err_set(e, m->rc, "%s", m->why.text);
    }
    for (size_t i = 0; i < m->n_sets; i++) {
        commit_one(m, m->sets[i]);
    }
    return ERR_OK;
}
