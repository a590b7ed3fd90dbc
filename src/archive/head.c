#include <stdio.h>

#include "archive/ingest_priv.h"
#include "dicom/part10.h"

/* Where the front of a data set is cut for a look: behind Instance Number; behind the last
 * attribute that the index keeps, or, for headers that are larger than what we keep or broken
 * further on, nearer. */
enum { STOP_UIDS = 0x00200014, STOP_INDEX = 0x00400281 };

static const uint32_t stops_index[] = {STOP_INDEX, 0x00290000, STOP_UIDS, 0x0020000F};

/* A prefix that ends inside something is no short data set. */
enum { LENIENT_PREFIX = LENIENT_ALL & ~(LENIENT_SHORT_PIXELS | LENIENT_NO_DELIMITER) };

void head_init(struct head *h)
{
    *h = (struct head){.number = INT32_MIN};
    buf_init(&h->kept, LIMIT_INGEST_HEAD);
    arena_init(&h->mem, LIMIT_DSET);
}

void head_done(struct head *h)
{
    buf_done(&h->kept);
    arena_done(&h->mem);
}

static enum err look(struct bytes front, const char *syntax_uid, uint32_t stop, struct arena *mem,
                     struct dset **ret, struct errmsg *e)
{
    const struct syntax *s = syntax_find(str_of(syntax_uid));
    struct parse_opts    o = {.max_value = LIMIT_HEAD_VALUE,
                              .stop_tag = stop,
                              .lenient = stop == 0 ? (unsigned)LENIENT_ALL : LENIENT_PREFIX};
    // PS3.5 A.4: what is unknown is explicit little endian
    return dset_parse(front, s != NULL ? s : &SYNTAX_EXPLICIT, &o, mem, ret, e);
}

static enum err uid_take(const struct dset *d, uint32_t tag, const char *what, char ret[65],
                         struct errmsg *e)
{
    struct str uid = dset_str(d, tag);
    if (uid.len == 0) {
        return err_set(e, ERR_SYNTAX, "the data set has no %s Instance UID", what);
    }
    if (!is_uid_usable(uid)) {
        return err_set(e, ERR_SYNTAX, "the data set's %s Instance UID is not usable", what);
    }
    (void)snprintf(ret, 65, "%.*s", STR_ARG(uid));
    return ERR_OK;
}

/* Is it what the sender said that it sends? */
static enum err belongs(const struct ingest *i, const struct dset *d, struct errmsg *e)
{
    struct str class_uid = dset_str(d, TAG(0x0008, 0x0016));
    if (i->from.study_uid.len > 0 && !str_eq(i->from.study_uid, str_of(i->head.study_uid))) {
        return err_set(e, ERR_DENIED, "the data set is of study %s", i->head.study_uid);
    }
    if (i->from.strict && class_uid.len > 0 && !str_eq(class_uid, str_of(i->class_uid))) {
        return err_set(e, ERR_DENIED, "the data set is of another SOP class than %s", i->class_uid);
    }
    return ERR_OK;
}

static enum err uids_take(struct ingest *i, const struct dset *d, struct errmsg *e)
{
    struct str sop = dset_str(d, TAG(0x0008, 0x0018));
    if (sop.len > 0 && !str_eq(sop, str_of(i->sop_uid))) {
        return err_set(e, ERR_SYNTAX, "the data set is another SOP instance than %s", i->sop_uid);
    }
    enum err rc = uid_take(d, TAG(0x0020, 0x000D), "Study", i->head.study_uid, e);
    if (rc == ERR_OK) {
        rc = uid_take(d, TAG(0x0020, 0x000E), "Series", i->head.series_uid, e);
    }
    if (rc == ERR_OK) {
        rc = belongs(i, d, e);
    }
    if (rc == ERR_OK && i->from.ret_ids != NULL) {
        memcpy(i->from.ret_ids->study_uid, i->head.study_uid, sizeof(i->head.study_uid));
        memcpy(i->from.ret_ids->series_uid, i->head.series_uid, sizeof(i->head.series_uid));
    }
    int64_t number;
    if (rc == ERR_OK && dset_int(d, TAG(0x0020, 0x0013), &number) && number > INT32_MIN &&
        number <= INT32_MAX) {
        i->head.number = (int32_t)number;
    }
    return rc;
}

enum err head_uids(struct ingest *i, struct bytes front, enum head_end end, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_DSET);
    struct errmsg mine = {0};
    struct dset  *d = NULL;
    enum err      rc = look(front, i->syntax_uid, end == HEAD_ALL ? 0 : STOP_UIDS, &mem, &d, &mine);
    if (rc == ERR_MORE && end == HEAD_MORE_COMES) {
        return ERR_MORE;
    }
    if (rc == ERR_MORE) {
        rc = ERR_SYNTAX;
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "front of the data set: %.200s", mine.text);
    }
    bool missing =
        dset_find(d, TAG(0x0020, 0x000D)) == NULL || dset_find(d, TAG(0x0020, 0x000E)) == NULL;
    if (missing && end == HEAD_MORE_COMES) { // tags out of order: perhaps it comes
        return ERR_MORE;
    }
    return uids_take(i, d, e);
}

enum err header_look(struct bytes front, const char *syntax_uid, enum head_end end,
                     struct arena *mem, struct dset **ret)
{
    enum err rc = ERR_SYNTAX;
    for (size_t s = 0; rc != ERR_OK && s < sizeof(stops_index) / sizeof(stops_index[0]); s++) {
        rc = look(front, syntax_uid, stops_index[s], mem, ret, NULL);
        if (rc == ERR_MORE && end == HEAD_ALL) { // a data set that ends before
            rc = look(front, syntax_uid, 0, mem, ret, NULL);
        }
        if (rc == ERR_MORE && end == HEAD_MORE_COMES) {
            return ERR_MORE;
        }
    }
    return rc == ERR_OK ? ERR_OK : ERR_SYNTAX;
}

enum err head_dset(struct ingest *i, enum head_end end, struct errmsg *e)
{
    struct head *h = &i->head;
    arena_done(&h->mem);
    arena_init(&h->mem, (size_t)LIMIT_DSET * 2);
    h->dset = NULL;
    enum err rc = header_look((struct bytes){h->kept.ptr, h->kept.len}, i->syntax_uid, end, &h->mem,
                              &h->dset);
    return rc == ERR_SYNTAX ? err_set(e, rc, "the header cannot be read") : rc;
}

enum err head_part10(const struct ingest *i, struct buf *out, struct errmsg *e)
{
    struct part10_meta m = {.class_uid = str_of(i->class_uid),
                            .sop_uid = str_of(i->sop_uid),
                            .syntax_uid = str_of(i->syntax_uid),
                            .source_aet = i->from.calling};
    return part10_write(&m, out, e);
}

enum err header_read(const struct dsrc *src, const char *syntax_uid, struct arena *mem,
                     struct dset **ret, struct errmsg *e)
{
    enum { FIRST = 64 << 10, STEP = 8 };

    for (size_t want = FIRST;; want *= STEP) {
        want = want < LIMIT_INGEST_HEAD ? want : LIMIT_INGEST_HEAD;
        want = src->size < want ? (size_t)src->size : want;
        uint8_t *p = arena_alloc(mem, want + 1, 1);
        size_t   got = 0;
        if (p == NULL) {
            return err_set(e, ERR_LIMIT, "no memory for a header");
        }
        enum err rc = src->read(src->ctx, 0, p, want, &got, e);
        if (rc != ERR_OK) {
            return rc;
        }
        enum head_end end = got == src->size          ? HEAD_ALL
                            : got < LIMIT_INGEST_HEAD ? HEAD_MORE_COMES
                                                      : HEAD_FULL;
        if (got < want) { // shorter than it says
            end = HEAD_FULL;
        }
        rc = header_look((struct bytes){p, got}, syntax_uid, end, mem, ret);
        if (rc != ERR_MORE) {
            return rc == ERR_OK ? ERR_OK : err_set(e, rc, "the header cannot be read");
        }
    }
}
