#include <assert.h>
#include <stdlib.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/limits.h"
#include "dicom/frames.h"
#include "dicom/tags.h"
#include "pack/digest.h"
#include "pack/model.h"
#include "pack/pack_priv.h"
#include "sys/file.h"

enum {
    FLUSH = 64 << 10,         // JSON gathered before it goes to the file
    RAW_WINDOW = -15,         // zlib: 32 KiB, no wrapping: that is written here
    GZIP_LEVEL = 6,           // metadata compresses 10:1 and is read far more often than written
    JSON_MAX = LIMIT_DSET * 2 // one instance
};

struct sealer {
    struct pack      *p;
    struct digest     whole;  // of the file
    struct digest     image;  // of the image being checked
    struct digest     member; // of the member being written
    struct buf        window, json, sums;
    z_stream          z;
    bool              deflating;
    struct model_body body; // of the metadata

    /* the image being read */
    struct arena         arena; // its data set
    struct dsrc_slice    slice;
    struct dsrc          src;
    const struct syntax *syntax; // NULL when it cannot be read

    struct pack_sealed r;
};

/* ---- members behind the images */

static enum err seal_begin(struct sealer *s, const char *name, struct errmsg *e)
{
    digest_begin(&s->member);
    return member_begin(s->p, name, e);
}

static enum err seal_add(struct sealer *s, struct bytes b, struct errmsg *e)
{
    digest_add(&s->member, b);
    return member_add(s->p, b, e);
}

static void sums_line(struct sealer *s, const char sha256[65], const char *name)
{
    buf_str(&s->sums, str_of(sha256));
    buf_str(&s->sums, STR("  "));
    buf_str(&s->sums, str_of(name));
    buf_u8(&s->sums, '\n');
}

/* Where the content lies and how long it is. */
static enum err seal_end(struct sealer *s, uint64_t *ret_at, uint64_t *ret_len, struct errmsg *e)
{
    char     sha256[65];
    enum err rc = digest_end(&s->member, sha256, NULL, e);
    if (rc == ERR_OK) {
        rc = member_end(s->p, e);
    }
    if (rc == ERR_OK) {
        sums_line(s, sha256, s->p->member.name);
        *ret_at = s->p->header_at + TAR_BLOCK;
        *ret_len = s->p->member.size;
        s->p->end = *ret_at + tar_padded(*ret_len);
        s->p->writing = false;
    }
    return rc;
}

/* JSON gathered so far to the member, when it is enough or all. */
static enum err flush_plain(struct sealer *s, bool all, struct errmsg *e)
{
    struct bytes b = {0};
    if (!all && s->json.len < FLUSH) {
        return ERR_OK;
    }
    enum err rc = buf_end(&s->json, &b);
    rc = rc == ERR_OK ? seal_add(s, b, e) : err_set(e, rc, "no memory for the manifest");
    buf_clear(&s->json);
    return rc;
}

static enum err flush_gzip(struct sealer *s, bool all, struct errmsg *e)
{
    uint8_t      out[16 << 10];
    struct bytes b = {0};
    enum err     rc = buf_end(&s->json, &b);
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for the metadata");
    }
    s->body.crc = (uint32_t)crc32(s->body.crc, b.ptr, (uInt)b.len); // JSON_MAX fits
    s->body.plain += b.len;
    s->z.next_in = b.ptr;
    s->z.avail_in = (uInt)b.len;
    do {
        s->z.next_out = out;
        s->z.avail_out = sizeof(out);
        int r = deflate(&s->z, all ? Z_SYNC_FLUSH : Z_NO_FLUSH); // ends at a whole byte
        assert(r != Z_STREAM_ERROR);
        rc = seal_add(s, (struct bytes){out, sizeof(out) - s->z.avail_out}, e);
    } while (rc == ERR_OK && s->z.avail_out == 0);
    buf_clear(&s->json);
    return rc;
}

/* ---- reading the images */

/* Feed a range of the file to the digests. */
static enum err read_range(struct sealer *s, uint64_t at, uint64_t size, bool is_image,
                           struct errmsg *e)
{
    enum err rc = ERR_OK;
    while (rc == ERR_OK && size > 0) {
        size_t n = size < s->window.len ? (size_t)size : s->window.len;
        rc = file_read_full(s->p->fd, at, s->window.ptr, n, e);
        if (rc == ERR_OK) {
            digest_add(&s->whole, (struct bytes){s->window.ptr, n});
            if (is_image) {
                digest_add(&s->image, (struct bytes){s->window.ptr, n});
            }
            at += n;
            size -= n;
        }
    }
    return rc;
}

/* The data set of an image, without long values.  ret NULL: it cannot be parsed. */
static enum err read_dset(struct sealer *s, const struct pack_image *i, struct dset **ret,
                          struct errmsg *e)
{
    s->src = dsrc_of_slice(&s->slice, dsrc_of_fd(&s->p->fd, s->p->reserved), i->at, i->size);
    arena_done(&s->arena);
    arena_init(&s->arena, LIMIT_DSET);
    return model_read(&s->src, &s->arena, &s->syntax, ret, e);
}

static void read_facts(const struct dset *d, struct manifest_image *m)
{
    int64_t  v;
    uint16_t rows, columns;
    if (d == NULL) {
        return;
    }
    if (dset_int(d, DT_InstanceNumber, &v) && v > INT32_MIN && v <= INT32_MAX) {
        m->image.number = (int32_t)v;
    }
    if (dset_u16(d, DT_Rows, &rows) && dset_u16(d, DT_Columns, &columns) && rows > 0 &&
        columns > 0) {
        m->rows = rows;
        m->columns = columns;
    }
}

/* How many frames there are, and where they lie as far as that can be told. */
static enum err read_frames(struct sealer *s, const struct dset *d, struct manifest_image *m,
                            struct errmsg *e)
{
    struct frames f = {0};
    struct errmsg why = {0};
    int64_t       n;
    if (d == NULL || dset_find(d, DT_PixelData) == NULL) {
        return ERR_OK;
    }
    m->frames = dset_int(d, DT_NumberOfFrames, &n) && n > 0 && n <= INT32_MAX ? (uint32_t)n : 1;
    if (s->syntax == NULL || s->syntax->deflated) {
        return ERR_OK;
    }
    enum err rc = frames_find(d, &s->src, &s->arena, &f, &why);
    if (rc == ERR_IO || rc == ERR_NOMEM) {
        return err_set(e, rc, "%s", why.text);
    }
    if (rc != ERR_OK || f.n == 0 || f.n > UINT32_MAX) {
        return ERR_OK;
    }
    uint64_t *at = arena_array(&s->arena, f.n, uint64_t);
    uint64_t *len = arena_array(&s->arena, f.n, uint64_t);
    uint32_t *fragments = arena_array(&s->arena, f.n, uint32_t);
    if (at == NULL || len == NULL || fragments == NULL) {
        return ERR_OK;
    }
    bool split = false;
    for (size_t i = 0; i < f.n; i++) {
        at[i] = m->image.at + f.v[i].offset;
        len[i] = f.v[i].len;
        fragments[i] = f.v[i].fragments;
        split = split || f.v[i].fragments > 1;
    }
    m->frames = (uint32_t)f.n;
    m->frame_at = at;
    m->frame_len = len;
    m->frame_fragments = split ? fragments : NULL;
    return ERR_OK;
}

static enum err check_image(struct sealer *s, const struct pack_image *i, char ret_sha256[65],
                            struct errmsg *e)
{
    uint8_t           block[TAR_BLOCK];
    uint64_t          xxh3 = 0;
    struct tar_member m = {0};
    struct str        uid;
    digest_begin(&s->image);
    enum err rc = file_read_full(s->p->fd, i->at - TAR_BLOCK, block, sizeof(block), e);
    if (rc == ERR_OK) {
        rc = read_range(s, i->at, i->size, true, e);
    }
    if (rc == ERR_OK) {
        rc = digest_end(&s->image, ret_sha256, &xxh3, e);
    }
    if (rc == ERR_OK && (tar_header_parse(block, &m, NULL) != ERR_OK || m.size != i->size ||
                         !is_image_name(m.name, &uid) || !str_eq(uid, str_of(i->sop_uid)) ||
                         (i->hash != 0 && (m.hash != i->hash || xxh3 != i->hash)))) {
        rc = err_set(e, ERR_SYNTAX, "image %s differs from what was received", i->sop_uid);
    }
    return rc;
}

/* Check every image, and say in the manifest what it is. */
static enum err write_manifest(struct sealer *s, struct errmsg *e)
{
    struct pack *p = s->p;
    struct jsonw w;
    uint64_t     at = 0;
    enum err     rc = seal_begin(s, PACK_MANIFEST, e);
    jsonw_init(&w, &s->json);
    manifest_begin(&w, &p->origin);
    for (size_t i = 0; rc == ERR_OK && i < p->images.n; i++) {
        struct manifest_image m = {.image = p->images.ptr[i]};
        struct dset          *d = NULL;
        char                  name[65 + 4];
        rc = read_range(s, at, m.image.at - at, false, e); // the header, the padding before it
        if (rc == ERR_OK) {
            rc = check_image(s, &m.image, m.sha256, e);
        }
        if (rc == ERR_OK) {
            rc = read_dset(s, &m.image, &d, e);
        }
        if (rc == ERR_OK) {
            read_facts(d, &m);
            rc = read_frames(s, d, &m, e);
        }
        if (rc == ERR_OK) {
            manifest_image_write(&w, &m);
            (void)snprintf(name, sizeof(name), "%s.dcm", m.image.sop_uid);
            sums_line(s, m.sha256, name);
            rc = flush_plain(s, false, e);
        }
        at = m.image.at + m.image.size;
    }
    if (rc == ERR_OK) {
        manifest_end(&w);
        rc = flush_plain(s, true, e);
    }
    if (rc == ERR_OK) {
        rc = seal_end(s, &s->r.manifest_at, &s->r.manifest_len, e);
    }
    return rc;
}

static enum err write_models(struct sealer *s, struct errmsg *e)
{
    const struct pack *p = s->p;
    enum err           rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < p->images.n; i++) {
        const struct pack_image *m = &p->images.ptr[i];
        const struct model_of    of = {.study_uid = p->origin.study_uid,
                                       .series_uid = p->origin.series_uid,
                                       .sop_uid = str_of(m->sop_uid),
                                       .class_uid = str_of(m->class_uid)};
        struct dset             *d = NULL;
        rc = read_dset(s, m, &d, e);
        if (rc == ERR_OK && i > 0) {
            buf_u8(&s->json, ',');
        }
        if (rc == ERR_OK) {
            rc = model_write(&of, d, NULL, &s->json, e);
        }
        if (rc == ERR_OK && (s->json.len >= FLUSH || i + 1 == p->images.n)) {
            rc = flush_gzip(s, i + 1 == p->images.n, e);
        }
    }
    return rc;
}

static enum err write_metadata(struct sealer *s, struct errmsg *e)
{
    uint8_t  tail[MODEL_TAIL];
    enum err rc = seal_begin(s, PACK_METADATA, e);
    s->z = (z_stream){0};
    s->body = (struct model_body){0};
    s->deflating =
        deflateInit2(&s->z, GZIP_LEVEL, Z_DEFLATED, RAW_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    if (rc == ERR_OK && !s->deflating) {
        rc = err_set(e, ERR_NOMEM, "no memory to compress");
    }
    buf_clear(&s->json);
    if (rc == ERR_OK) {
        rc = seal_add(s, (struct bytes){model_head, MODEL_HEAD}, e);
    }
    if (rc == ERR_OK) {
        rc = write_models(s, e);
    }
    if (rc == ERR_OK) {
        model_tail(&s->body, 1, tail);
        rc = seal_add(s, (struct bytes){tail, MODEL_TAIL}, e);
    }
    if (rc == ERR_OK) {
        rc = seal_end(s, &s->r.metadata_at, &s->r.metadata_len, e);
    }
    return rc;
}

static enum err write_sums(struct sealer *s, struct errmsg *e)
{
    struct bytes sums = {0};
    uint64_t     at, len;
    enum err     rc = buf_end(&s->sums, &sums);
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for the sums");
    }
    rc = seal_begin(s, PACK_SUMS, e);
    if (rc == ERR_OK) {
        rc = seal_add(s, sums, e);
    }
    return rc == ERR_OK ? seal_end(s, &at, &len, e) : rc;
}

/* The end of the file, all of it on the disk, and its digest. */
static enum err write_end(struct sealer *s, struct errmsg *e)
{
    struct pack *p = s->p;
    s->r.bytes = p->end + PACK_END;
    if (ftruncate(p->fd, (off_t)s->r.bytes) != 0) {
        return file_errno(e, "truncate", p->path);
    }
    p->reserved = s->r.bytes;
    const struct pack_image *last = &p->images.ptr[p->images.n - 1];
    uint64_t                 at = last->at + last->size;
    enum err                 rc = read_range(s, at, s->r.bytes - at, false, e);
    if (rc == ERR_OK) {
        rc = digest_end(&s->whole, s->r.sha256, NULL, e);
    }
    return rc == ERR_OK ? file_sync(p->fd, e) : rc;
}

static enum err sealer_init(struct sealer *s, struct pack *p, struct errmsg *e)
{
    *s = (struct sealer){.p = p};
    arena_init(&s->arena, LIMIT_DSET);
    buf_init(&s->window, PACK_WINDOW);
    buf_init(&s->json, JSON_MAX);
    buf_init(&s->sums, LIMIT_MANIFEST);
    enum err rc = digest_init(&s->whole, e);
    if (rc == ERR_OK) {
        rc = digest_init(&s->image, e);
    }
    if (rc == ERR_OK) {
        rc = digest_init(&s->member, e);
    }
    if (rc == ERR_OK && buf_grow(&s->window, PACK_WINDOW) == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory to seal");
    }
    return rc;
}

static void sealer_done(struct sealer *s)
{
    digest_done(&s->whole);
    digest_done(&s->image);
    digest_done(&s->member);
    buf_done(&s->window);
    buf_done(&s->json);
    buf_done(&s->sums);
    arena_done(&s->arena);
    if (s->deflating) {
        (void)deflateEnd(&s->z);
    }
}

static enum err seal(struct sealer *s, struct errmsg *e)
{
    const struct pack *p = s->p;
    enum err           rc = write_manifest(s, e);
    if (rc == ERR_OK) {
        rc = write_metadata(s, e);
    }
    if (rc == ERR_OK) {
        rc = write_sums(s, e);
    }
    if (rc == ERR_OK) {
        rc = write_end(s, e);
    }
    if (rc == ERR_OK && access(p->sealed_path, F_OK) == 0) {
        rc = err_set(e, ERR_EXISTS, "%.200s exists", p->sealed_path);
    }
    if (rc == ERR_OK && rename(p->path, p->sealed_path) != 0) {
        rc = file_errno(e, "rename to", p->sealed_path);
    }
    return rc;
}

enum err pack_seal(struct pack *p, struct pack_sealed *ret, struct errmsg *e)
{
    struct sealer s;
    pack_image_abort(p);
    if (p->images.n == 0) {
        pack_close(p);
        return err_set(e, ERR_NOTFOUND, "no image to seal");
    }
    uint64_t images_end = p->end;
    enum err rc = p->stale ? pack_trim(p, p->end, e) : ERR_OK;
    if (rc == ERR_OK) {
        rc = sealer_init(&s, p, e);
        if (rc == ERR_OK) {
            rc = seal(&s, e);
        }
        sealer_done(&s);
    }
    if (rc != ERR_OK) {
        err_context(e, "seal %s", p->path);
        p->writing = false;
        p->end = images_end;
        pack_close(p); // cut back to the images
        return rc;
    }
    /* Sealed under its name from here on, whether or not the folder can be synced. */
    rc = file_sync_dir_of(p->sealed_path, e);
    pack_free(p);
    if (rc == ERR_OK) {
        *ret = s.r;
    }
    return rc;
}
