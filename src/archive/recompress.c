#include "archive/recompress.h"

#include <stdio.h>

#include "base/limits.h"
#include "dicom/part10.h"
#include "pack/digest.h"
#include "pack/jsonr.h"
#include "pixel/prove.h"
#include "pixel/transcode.h"
#include "sys/file.h"

#define INTO "1.2.840.10008.1.2.4.202" // HTJ2K RPCL lossless

enum { FRONT = 8 << 10, COPY = 256 << 10 };

struct rewrite {
    struct archive    *a;
    const struct pack *from;
    struct pack       *to;
    struct buf         window; // COPY bytes
    struct digest      digest;
    uint64_t           done; // images in another form

    /* the image at hand */
    struct fd_window data; // its data set
    struct dsrc      src;
    uint8_t          front[FRONT];
    size_t           front_len;
    int64_t          mtime;
};

/* ---- one image */

static enum err image_read_head(struct rewrite *r, const struct pack_image *m,
                                struct part10_meta *ret, struct errmsg *e)
{
    uint8_t           block[TAR_BLOCK];
    struct tar_member t;
    int               fd = pack_fd(r->from);
    r->data = (struct fd_window){.fd = fd, .at = m->data_at, .len = m->size - (m->data_at - m->at)};
    r->src = fd_window_src(&r->data);
    r->front_len = (size_t)(m->data_at - m->at);
    if (r->front_len > FRONT) {
        return err_set(e, ERR_LIMIT, "meta information of %zu bytes", r->front_len);
    }
    enum err rc = file_read_full(fd, m->at - TAR_BLOCK, block, sizeof(block), e);
    rc = rc == ERR_OK ? tar_header_parse(block, &t, e) : rc;
    rc = rc == ERR_OK ? file_read_full(fd, m->at, r->front, r->front_len, e) : rc;
    r->mtime = rc == ERR_OK ? t.mtime : 0;
    return rc == ERR_OK ? part10_parse((struct bytes){r->front, r->front_len}, ret, e) : rc;
}

static enum err each_piece(struct rewrite *r, transcode_sink *sink, void *ctx, struct errmsg *e)
{
    size_t   n = 1;
    enum err rc = ERR_OK;
    for (uint64_t at = 0; rc == ERR_OK && n > 0; at += n) {
        rc = r->src.read(r->src.ctx, at, r->window.ptr, COPY, &n, e);
        rc = rc == ERR_OK && n > 0 ? sink(ctx, (struct bytes){r->window.ptr, n}, e) : rc;
    }
    return rc;
}

static enum err to_digest(void *ctx, struct bytes b, struct errmsg *e)
{
    (void)e;
    digest_add(ctx, b);
    return ERR_OK;
}

static enum err to_pack(void *ctx, struct bytes b, struct errmsg *e)
{
    return pack_image_add(ctx, b, e);
}

/* Byte for byte. */
static enum err image_copy(struct rewrite *r, const struct pack_image *m, struct errmsg *e)
{
    enum err rc =
        pack_image_begin(r->to, str_of(m->sop_uid), str_of(m->class_uid), str_of(m->syntax_uid),
                         (struct bytes){r->front, r->front_len}, e);
    rc = rc == ERR_OK ? each_piece(r, to_pack, r->to, e) : rc;
    return rc == ERR_OK ? pack_image_keep(r->to, r->mtime, e) : rc;
}

static enum err head_make(struct rewrite *r, const struct pack_image *m,
                          const struct part10_meta *was, struct buf *out, struct errmsg *e)
{
    char     sha256[65], text[256];
    enum err rc = ERR_OK;
    digest_begin(&r->digest);
    rc = each_piece(r, to_digest, &r->digest, e);
    rc = rc == ERR_OK ? digest_end(&r->digest, sha256, NULL, e) : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    int                n = snprintf(text, sizeof(text),
                                    "{\"original\":{\"syntax\":\"%s\",\"size\":%llu,\"sha256\":\"%s\"}}",
                                    m->syntax_uid, (unsigned long long)r->data.len, sha256);
    struct part10_meta meta = *was;
    meta.class_uid = str_of(m->class_uid);
    meta.sop_uid = str_of(m->sop_uid);
    meta.syntax_uid = STR(INTO);
    meta.private_creator = STR(GARONNE_IMPLEMENTATION_UID);
    /* Of even length, so that no pad comes into it. */
    text[n] = ' ';
    meta.private_info = (struct bytes){(const uint8_t *)text, (size_t)(n + n % 2)};
    return part10_write(&meta, out, e);
}

static enum err new_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                         struct errmsg *e)
{
    return pack_image_read(ctx, at, to, n, ret_n, e);
}

/* In the other form, proved and smaller; else the pack is as before. */
static enum err image_turn(struct rewrite *r, const struct pack_image *m,
                           const struct part10_meta *was, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf head;
    struct bytes                 front = {0};
    struct str                   own = str_of(m->syntax_uid);
    buf_init(&head, FRONT);
    enum err rc = head_make(r, m, was, &head, e);
    rc = rc == ERR_OK ? buf_end(&head, &front) : rc;
    rc = rc == ERR_OK ? pack_image_begin(r->to, str_of(m->sop_uid), str_of(m->class_uid), STR(INTO),
                                         front, e)
                      : rc;
    if (rc != ERR_OK) {
        return rc;
    }
    rc = transcode_object(r->a->pixel, &r->src, own, STR(INTO), false, to_pack, r->to, e);
    uint64_t    len = rc == ERR_OK ? pack_image_len(r->to) : 0;
    struct dsrc made = {.read = new_read, .ctx = r->to, .size = len};
    if (rc == ERR_OK && len >= r->data.len) {
        rc = err_set(e, ERR_UNSUPPORTED, "compression would not make it smaller");
    }
    rc = rc == ERR_OK ? transcode_prove(r->a->pixel, &r->src, own, &made, STR(INTO), e) : rc;
    rc = rc == ERR_OK ? pack_image_keep(r->to, r->mtime, e) : rc;
    if (rc != ERR_OK) {
        pack_image_abort(r->to);
    }
    return rc;
}

static bool is_plain(const struct pack_image *m)
{
    return str_eq(str_of(m->syntax_uid), str_of(SYNTAX_EXPLICIT.uid)) ||
           str_eq(str_of(m->syntax_uid), str_of(SYNTAX_IMPLICIT.uid));
}

static enum err image_take(struct rewrite *r, const struct pack_image *m, struct errmsg *e)
{
    struct part10_meta meta;
    struct errmsg      why = {0};
    enum err           rc = image_read_head(r, m, &meta, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (is_plain(m)) {
        rc = image_turn(r, m, &meta, &why);
        if (rc == ERR_OK) {
            r->done++;
            return ERR_OK;
        }
        if (rc == ERR_CONFLICT) { // a codec that lies: people must hear of it
            char text[320];
            (void)snprintf(text, sizeof(text), "%s stays uncompressed: %s", m->sop_uid, why.text);
            archive_tell(r->a, "", text);
        }
    }
    return image_copy(r, m, e);
}

/* ---- a pack */

static bool has_plain(const struct pack *p)
{
    for (size_t i = 0; i < pack_count(p); i++) {
        if (is_plain(&pack_images(p)[i])) {
            return true;
        }
    }
    return false;
}

static enum err take_all(struct rewrite *r, struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < pack_count(r->from); i++) {
        rc = image_take(r, &pack_images(r->from)[i], e);
    }
    return rc;
}

enum err recompress(struct archive *a, struct pack **p, uint64_t *ret_images, struct errmsg *e)
{
    struct rewrite r = {.a = a, .from = *p};
    *ret_images = 0;
    if (!has_plain(*p)) {
        return ERR_OK;
    }
    buf_init(&r.window, COPY);
    enum err rc = buf_grow(&r.window, COPY) != NULL ? digest_init(&r.digest, e)
                                                    : err_set(e, ERR_NOMEM, "no memory to copy");
    rc = rc == ERR_OK ? pack_rewrite_begin(*p, &r.to, e) : rc;
    rc = rc == ERR_OK ? take_all(&r, e) : rc;
    if (rc == ERR_OK && r.done > 0) {
        rc = pack_rewrite_end(*p, r.to, e);
        *p = rc == ERR_OK ? r.to : *p;
        r.to = rc == ERR_OK ? NULL : r.to;
        *ret_images = rc == ERR_OK ? r.done : 0;
    }
    pack_rewrite_drop(r.to);
    digest_done(&r.digest);
    buf_done(&r.window);
    return rc;
}

/* ---- what it was */

static void original_parse(struct jsonr *j, struct original *o)
{
    struct str k;
    jsonr_obj(j);
    while (jsonr_key(j, &k)) {
        if (str_eq(k, STR("syntax"))) {
            struct str v = jsonr_str(j);
            (void)snprintf(o->syntax_uid, sizeof(o->syntax_uid), "%.*s", STR_ARG(v));
        } else if (str_eq(k, STR("sha256"))) {
            struct str v = jsonr_str(j);
            (void)snprintf(o->sha256, sizeof(o->sha256), "%.*s", STR_ARG(v));
        } else if (str_eq(k, STR("size"))) {
            o->size = jsonr_u64(j);
        } else {
            jsonr_skip(j);
        }
    }
}

enum err original_of(const struct object_file *f, struct original *ret, struct errmsg *e)
{
    uint8_t                          front[FRONT];
    struct part10_meta               meta;
    struct original                  o = {.size = 0};
    struct jsonr                     j;
    struct str                       k;
    CLEANUP(arena_done) struct arena mem;
    size_t                           n = (size_t)(f->data_at - f->at);
    arena_init(&mem, FRONT);
    if (n > FRONT) {
        return ERR_NOTFOUND;
    }
    enum err rc = file_read_full(f->fd, f->at, front, n, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (part10_parse((struct bytes){front, n}, &meta, NULL) != ERR_OK ||
        !str_eq(meta.private_creator, STR(GARONNE_IMPLEMENTATION_UID))) {
        return ERR_NOTFOUND;
    }
    jsonr_init(&j, meta.private_info, &mem);
    jsonr_obj(&j);
    while (jsonr_key(&j, &k)) {
        if (str_eq(k, STR("original"))) {
            original_parse(&j, &o);
        } else {
            jsonr_skip(&j);
        }
    }
    if (jsonr_end(&j) != ERR_OK || o.size == 0) {
        return ERR_NOTFOUND;
    }
    *ret = o;
    return ERR_OK;
}
