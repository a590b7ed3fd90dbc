#include <stdio.h>

#include "base/log.h"
#include "dicom/json.h"
#include "dicom/tags.h"
#include "dicom/xml.h"
#include "dicomweb/store_priv.h"

/* PS3.18 tables I.2-1 and I.2-2. */
enum {
    WARNING_NOT_KEPT = 0xB000, // the one word there is for "other content of that name is stored"
    FAILURE_RESOURCES = 0xA700,
    FAILURE_NOT_OF_CLASS = 0xA900,
    FAILURE_SYNTAX = 0xC000,
    FAILURE_SYNTAX_UID = 0xC122,
    FAILURE_PROCESSING = 0x0110,
};

/* The one table of this surface, from our errors to its reasons. */
static const uint16_t reasons[] = {
    [ERR_OK] = FAILURE_PROCESSING,          [ERR_MORE] = FAILURE_SYNTAX,
    [ERR_SYNTAX] = FAILURE_SYNTAX,          [ERR_LIMIT] = FAILURE_RESOURCES,
    [ERR_UNSUPPORTED] = FAILURE_SYNTAX_UID,
    [ERR_NOTFOUND] = FAILURE_SYNTAX, // bulk data that did not come
    [ERR_EXISTS] = FAILURE_PROCESSING,
    [ERR_CONFLICT] = FAILURE_RESOURCES,  // of the database: the sender may try again
    [ERR_DENIED] = FAILURE_NOT_OF_CLASS, // or not of the study
    [ERR_TIMEOUT] = FAILURE_RESOURCES,      [ERR_CLOSED] = FAILURE_RESOURCES,
    [ERR_IO] = FAILURE_RESOURCES,           [ERR_NOMEM] = FAILURE_RESOURCES,
};

_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == ERR__COUNT, "a reason for every error");

enum err told_init(struct told *t, struct str root, struct str study, struct errmsg *e)
{
    *t = (struct told){.root = root, .study = study, .one_study = true};
    arena_init(&t->mem, LIMIT_STORE_ANSWER);
    t->d = dset_new(&t->mem);
    return t->d != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for an answer");
}

void told_done(struct told *t)
{
    arena_done(&t->mem);
}

static struct dset *add_item(struct told *t, uint32_t sequence, const struct instance *i)
{
    struct dset *item = NULL;
    enum err     rc = dset_put_item(t->d, sequence, &item);
    if (rc == ERR_OK && i->class_uid.len > 0) {
        rc = dset_put_str(item, DT_ReferencedSOPClassUID, i->class_uid);
    }
    if (rc == ERR_OK && i->sop_uid.len > 0) {
        rc = dset_put_str(item, DT_ReferencedSOPInstanceUID, i->sop_uid);
    }
    t->too_many = t->too_many || rc != ERR_OK;
    return rc == ERR_OK ? item : NULL;
}

static void add_link(struct told *t, struct dset *d, const struct instance *i)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_HTTP_MEMORY);
    buf_str(&b, t->root);
    buf_fmt(&b, "/studies/%.*s", STR_ARG(i->study_uid));
    if (i->sop_uid.len > 0) {
        buf_fmt(&b, "/series/%.*s/instances/%.*s", STR_ARG(i->series_uid), STR_ARG(i->sop_uid));
    }
    struct str url = {(const char *)b.ptr, b.len};
    t->too_many = t->too_many || b.err != ERR_OK ||
                  dset_put(d, DT_RetrieveURL, VR_UR, str_bytes(url)) != ERR_OK;
}

void told_stored(struct told *t, const struct instance *i, bool warning)
{
    t->stored++;
    t->warned += warning ? 1 : 0;
    if (t->first_study[0] == '\0') {
        (void)snprintf(t->first_study, sizeof(t->first_study), "%.*s", STR_ARG(i->study_uid));
    }
    t->one_study = t->one_study && str_eq(i->study_uid, str_of(t->first_study));
    struct dset *item = add_item(t, DT_ReferencedSOPSequence, i);
    if (item != NULL) {
        add_link(t, item, i);
    }
    if (item != NULL && warning) {
        t->too_many =
            dset_put_u16(item, DT_WarningReason, WARNING_NOT_KEPT) != ERR_OK || t->too_many;
    }
}

void told_failed(struct told *t, const struct instance *i, enum err rc, const struct errmsg *why)
{
    bool named = i->class_uid.len > 0 && i->sop_uid.len > 0;
    log_warn("store.failed", "sop=%.*s err=%s why=%s", STR_ARG(i->sop_uid), err_name(rc),
             log_q(str_of(why->text)).z);
    t->failed++;
    t->nameless += named ? 0 : 1;
    t->full = t->full || rc == ERR_LIMIT;
    t->broken = t->broken || (reasons[rc] == FAILURE_RESOURCES && rc != ERR_LIMIT);
    struct dset *item = add_item(t, named ? DT_FailedSOPSequence : DT_OtherFailuresSequence, i);
    if (item != NULL) {
        t->too_many = dset_put_u16(item, DT_FailureReason, reasons[rc]) != ERR_OK || t->too_many;
    }
}

static unsigned status_of(const struct told *t)
{
    if (t->stored > 0) {
        return t->failed + t->warned > 0 ? 202 : 200;
    }
    return t->full ? 507 : t->broken ? 503 : t->nameless == t->failed ? 400 : 409;
}

static enum err encode(struct told *t, bool xml, struct buf *b, struct errmsg *e)
{
    struct json_opts o = {0};
    struct jsonw     w;
    if (xml) {
        return dsxml_write(t->d, &o, b, e);
    }
    jsonw_init(&w, b);
    return dsjson_write(t->d, &o, &w, e);
}

void told_answer(struct told *t, struct http_request *r, bool xml)
{
    struct errmsg   e = {0};
    struct instance study = {.study_uid = t->study.len > 0 ? t->study
                                          : t->one_study   ? str_of(t->first_study)
                                                           : STR("")};
    if (t->stored + t->failed == 0) {
        http_error(r, 400, "syntax", "nothing to store in the body");
        return;
    }
    if (t->stored > 0 && study.study_uid.len > 0) {
        add_link(t, t->d, &study);
    }
    struct buf b;
    buf_init(&b, LIMIT_STORE_ANSWER);
    enum err rc = t->too_many ? err_set(&e, ERR_LIMIT, "too many instances for one answer")
                              : encode(t, xml, &b, &e);
    unsigned status = status_of(t);
    if (rc != ERR_OK) {
        buf_done(&b);
        http_fail(r, rc, &e);
        return;
    }
    if (status == 503 || status == 507) {
        http_add_header(r, "Retry-After", STR("60"));
    }
    http_answer_buf(r, status, xml ? "application/dicom+xml" : "application/dicom+json", &b);
}
