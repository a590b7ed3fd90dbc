#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

#include "archive/view_priv.h"

enum {
    LEVEL = 1,        // sent once or twice, then sealed and compressed better
    RAW_WINDOW = -15, // zlib: 32 KiB, no wrapping
    TEXT = 256 << 10, // JSON gathered before it is compressed
    TEXT_MAX = LIMIT_DSET * 2
};

/* One piece in the making. */
struct maker {
    struct buf        text, out;
    struct arena      mem; // a data set
    z_stream          z;
    struct model_body body;
};

static enum err compress_text(struct maker *m, bool all, struct errmsg *e)
{
    m->body.crc = (uint32_t)crc32(m->body.crc, m->text.ptr, (uInt)m->text.len); // TEXT_MAX fits
    m->body.plain += m->text.len;
    m->z.next_in = m->text.ptr;
    m->z.avail_in = (uInt)m->text.len;
    do {
        uint8_t block[16 << 10];
        m->z.next_out = block;
        m->z.avail_out = sizeof(block);
        (void)deflate(&m->z, all ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        buf_add(&m->out, (struct bytes){block, sizeof(block) - m->z.avail_out});
    } while (m->z.avail_out == 0);
    buf_clear(&m->text);
    return m->out.err == ERR_OK ? ERR_OK
                                : err_set(e, m->out.err, "no memory for the metadata of a series");
}

static enum err put_image(struct maker *m, const struct view_image *i, struct errmsg *e)
{
    const struct model_of of = {.study_uid = str_of(i->part->study_uid),
                                .series_uid = str_of(i->part->series_uid),
                                .sop_uid = i->sop_uid,
                                .class_uid = i->class_uid};
    struct view_window    w = view_file(i);
    struct dsrc           src = view_src(&w);
    const struct syntax  *s = NULL;
    struct dset          *d = NULL;
    arena_done(&m->mem);
    arena_init(&m->mem, LIMIT_DSET);
    enum err rc = model_read(&src, &m->mem, &s, &d, e);
    if (rc == ERR_OK && (m->body.plain > 0 || m->text.len > 0)) {
        buf_u8(&m->text, ',');
    }
    rc = rc == ERR_OK ? model_write(&of, d, NULL, &m->text, e) : rc;
    return rc == ERR_OK && m->text.len >= TEXT ? compress_text(m, false, e) : rc;
}

static enum err put_images(struct maker *m, struct view_image *const *v, size_t n, struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        rc = put_image(m, v[i], e);
    }
    return rc == ERR_OK ? compress_text(m, true, e) : rc;
}

static enum err segment_make(struct view_image *const *v, size_t n, struct segment **ret,
                             struct errmsg *e)
{
    struct maker m = {0};
    if (deflateInit2(&m.z, LEVEL, Z_DEFLATED, RAW_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return err_set(e, ERR_NOMEM, "no memory to compress");
    }
    buf_init(&m.text, TEXT_MAX);
    buf_init(&m.out, LIMIT_MANIFEST);
    arena_init(&m.mem, LIMIT_DSET);
    enum err        rc = put_images(&m, v, n, e);
    struct segment *s = rc == ERR_OK ? calloc(1, sizeof(*s) + m.out.len) : NULL;
    if (s != NULL) {
        s->refs = 1;
        s->images = n;
        s->body = m.body;
        s->body.deflated = m.out.len;
        memcpy(s->bytes, m.out.ptr, m.out.len);
        *ret = s;
    } else if (rc == ERR_OK) {
        rc = err_set(e, ERR_NOMEM, "no memory for the metadata of a series");
    }
    (void)deflateEnd(&m.z);
    buf_done(&m.text);
    buf_done(&m.out);
    arena_done(&m.mem);
    return rc;
}

void segment_unref(struct segment *s)
{
    if (s != NULL && atomic_fetch_sub(&s->refs, 1) == 1) {
        free(s);
    }
}

/* ---- the bodies of a view */

struct bodies {
    struct view_body *v;
    size_t            n;
    size_t            grew; // bytes now kept in memory
};

static void add_segment(struct bodies *b, const struct segment *s)
{
    b->v[b->n++] = (struct view_body){.body = s->body, .fd = -1, .ptr = s->bytes};
}

/* The images of an open pack that no segment covers yet become one.  Held: its lock. */
static enum err segments_fill(struct view_part *p, struct bodies *b, struct errmsg *e)
{
    size_t n = p->n - p->covered;
    if (n == 0) {
        return ERR_OK;
    }
    struct view_image **v = calloc(n, sizeof(struct view_image *));
    struct segment     *s = NULL;
    if (v == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the metadata of %zu images", n);
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = &p->images[p->covered + i];
    }
    enum err rc = segment_make(v, n, &s, e);
    free(v);
    if (rc == ERR_OK && s != NULL) {
        p->segments[p->n_segments++] = s;
        p->covered = p->n;
        b->grew += sizeof(*s) + (size_t)s->body.deflated;
    }
    return rc;
}

static enum err part_bodies(struct view_part *p, struct bodies *b, struct errmsg *e)
{
    if (p->has_body) {
        b->v[b->n++] = (struct view_body){.body = p->body, .fd = p->fd, .at = p->body_at};
        return ERR_OK;
    }
    lock_take(&p->lock);
    enum err rc = segments_fill(p, b, e);
    for (size_t i = 0; rc == ERR_OK && i < p->n_segments; i++) {
        add_segment(b, p->segments[i]);
    }
    lock_give(&p->lock);
    return rc;
}

/* Images that lie in several packs are said once: one piece, of the view's own. */
static enum err twin_bodies(struct view *v, struct bodies *b, struct errmsg *e)
{
    struct segment *_Atomic *at = view_segment(v);
    struct segment          *s = atomic_load(at), *other = NULL;
    if (s == NULL) {
        enum err rc = segment_make(view_order(v), view_count(v), &s, e);
        if (rc != ERR_OK) {
            return rc;
        }
        b->grew += sizeof(*s) + (size_t)s->body.deflated;
        if (!atomic_compare_exchange_strong(at, &other, s)) {
            segment_unref(s);
            s = other;
            b->grew = 0;
        }
    }
    add_segment(b, s);
    return ERR_OK;
}

enum err view_metadata(struct archive *a, struct view *v, struct arena *mem, struct view_body **ret,
                       size_t *ret_n, struct errmsg *e)
{
    struct bodies b = {0};
    size_t        room = 1;
    for (size_t i = 0; i < view_parts(v); i++) {
        room += view_part(v, i)->sealed ? 1 : LIMIT_VIEW_SEGMENTS;
    }
    b.v = arena_array(mem, room, struct view_body);
    if (b.v == NULL) {
        return err_set(e, ERR_LIMIT, "a series of %zu packs", view_parts(v));
    }
    enum err rc = view_has_twins(v) ? twin_bodies(v, &b, e) : ERR_OK;
    for (size_t i = 0; rc == ERR_OK && !view_has_twins(v) && i < view_parts(v); i++) {
        rc = view_part(v, i)->n > 0 ? part_bodies(view_part(v, i), &b, e) : ERR_OK;
    }
    if (b.grew > 0) {
        view_grew(a, v, b.grew);
    }
    if (rc == ERR_OK) {
        *ret = b.v;
        *ret_n = b.n;
    }
    return rc;
}
