#include <stdio.h>

#include "base/log.h"
#include "dicom/part10.h"
#include "dicomweb/store_priv.h"

void store_file_begin(struct store_file *f)
{
    buf_init(&f->front, LIMIT_META);
    f->ingest = NULL;
    f->begun = false;
    f->ids = (struct ingest_ids){0};
    f->class_uid[0] = f->sop_uid[0] = '\0';
    f->rc = ERR_OK;
    f->why = (struct errmsg){0};
}

static void put_uid(char to[65], struct str uid)
{
    (void)snprintf(to, 65, "%.*s", (int)(uid.len < 65 ? uid.len : 64), uid.ptr);
}

/* A file without meta information is none (PS3.10 7.1), whatever it may look like. */
static enum err begin_ingest(struct store_file *f, const struct part10_meta *m)
{
    if (m->guessed || m->class_uid.len == 0 || m->sop_uid.len == 0) {
        return err_set(&f->why, ERR_SYNTAX, "the file meta information does not say what this is");
    }
    put_uid(f->class_uid, m->class_uid);
    put_uid(f->sop_uid, m->sop_uid);
    f->from.strict = true;
    f->from.ret_ids = &f->ids;
    return ingest_begin(f->archive, &f->from, m->class_uid, m->sop_uid,
                        m->syntax_uid.len > 0 ? m->syntax_uid : str_of(m->syntax->uid), &f->ingest,
                        &f->why);
}

/* ERR_MORE: the meta information is not all there. */
static enum err try_front(struct store_file *f)
{
    struct part10_meta m;
    struct bytes       front = {f->front.ptr, f->front.len};
    enum err           rc = part10_parse(front, &m, &f->why);
    if (rc == ERR_MORE) {
        f->why = (struct errmsg){0};
        return rc;
    }
    rc = rc == ERR_OK ? begin_ingest(f, &m) : rc;
    if (rc == ERR_OK) {
        f->begun = true;
        rc = ingest_add(f->ingest, (struct bytes){front.ptr + m.size, front.len - m.size}, &f->why);
    }
    buf_done(&f->front);
    return rc;
}

void store_file_add(struct store_file *f, struct bytes piece)
{
    if (f->rc == ERR_OK && !f->begun) {
        size_t       room = LIMIT_META - f->front.len;
        struct bytes part = {piece.ptr, piece.len < room ? piece.len : room};
        buf_add(&f->front, part);
        piece = (struct bytes){piece.ptr + part.len, piece.len - part.len};
        enum err rc = f->front.err == ERR_OK ? try_front(f) : ERR_NOMEM;
        if (rc == ERR_MORE && f->front.len == LIMIT_META) {
            rc = err_set(&f->why, ERR_SYNTAX, "file meta information without an end");
        }
        f->rc = rc == ERR_MORE ? ERR_OK : rc;
    }
    if (f->rc == ERR_OK && f->begun && piece.len > 0) {
        f->rc = ingest_add(f->ingest, piece, &f->why);
    }
}

void store_file_abort(struct store_file *f)
{
    ingest_abort(f->ingest);
    f->ingest = NULL;
    buf_done(&f->front);
}

void store_file_end(struct store_file *f)
{
    enum ingest_outcome how = INGEST_STORED;
    enum err            rc = f->rc;
    if (rc == ERR_OK && !f->begun) {
        rc = err_set(&f->why, ERR_SYNTAX, "no file meta information");
    }
    if (rc == ERR_OK) {
        rc = ingest_commit(f->ingest, &how, &f->why);
        f->ingest = NULL;
    }
    store_file_abort(f);
    struct instance i = {.class_uid = str_of(f->class_uid),
                         .sop_uid = str_of(f->sop_uid),
                         .study_uid = str_of(f->ids.study_uid),
                         .series_uid = str_of(f->ids.series_uid)};
    if (rc != ERR_OK) {
        told_failed(f->told, &i, rc, &f->why);
        return;
    }
    if (how == INGEST_QUARANTINED) {
        log_warn("store.quarantined", "tenant=%.*s sop=%s", STR_ARG(f->from.tenant), f->sop_uid);
    }
    told_stored(f->told, &i, how == INGEST_QUARANTINED);
}
