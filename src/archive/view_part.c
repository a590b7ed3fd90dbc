#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/view_priv.h"
#include "dicom/frames.h"
#include "dicom/part10.h"
#include "sys/file.h"

static struct view_part *part_new(const struct pack_row *row)
{
    struct view_part *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->refs = 1;
    p->row_id = row->id;
    p->fd = -1;
    (void)snprintf(p->study_uid, sizeof(p->study_uid), "%.*s", STR_ARG(row->study_uid));
    (void)snprintf(p->series_uid, sizeof(p->series_uid), "%.*s", STR_ARG(row->series_uid));
    lock_init(&p->lock, LOCK_LEAF);
    return p;
}

static void frames_unref(struct view_frames *f)
{
    if (f != NULL && atomic_load(&f->refs) > 0 && atomic_fetch_sub(&f->refs, 1) == 1) {
        free(f);
    }
}

void part_unref(struct view_part *p)
{
    if (p == NULL || atomic_fetch_sub(&p->refs, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        frames_unref(atomic_load(&p->images[i].frames));
    }
    for (size_t i = 0; i < p->n_segments; i++) {
        segment_unref(p->segments[i]);
    }
    file_close(&p->fd);
    arena_done(&p->mem);
    lock_done(&p->lock);
    free(p);
}

/* The same text as the image before, or a copy. */
static struct str same_or_copy(struct view_part *p, struct str before, const char *z)
{
    struct str s = str_of(z);
    return str_eq(before, s) ? before : arena_str(&p->mem, s);
}

static enum err image_add(struct view_part *p, const struct pack_image *from, struct errmsg *e)
{
    struct view_image *to = &p->images[p->n];
    const struct str   none = {0};
    to->sop_uid = arena_str(&p->mem, str_of(from->sop_uid));
    to->class_uid = same_or_copy(p, p->n > 0 ? to[-1].class_uid : none, from->class_uid);
    to->syntax_uid = same_or_copy(p, p->n > 0 ? to[-1].syntax_uid : none, from->syntax_uid);
    if (to->sop_uid.ptr == NULL || to->class_uid.ptr == NULL || to->syntax_uid.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "a pack of more than %zu images", p->n);
    }
    if (from->data_at < from->at || from->data_at - from->at > from->size) {
        return err_set(e, ERR_SYNTAX, "image %s lies nowhere", from->sop_uid);
    }
    to->at = from->at;
    to->size = from->size;
    to->data_at = from->data_at;
    to->hash = from->hash;
    to->number = from->number;
    to->part = p;
    p->n++;
    p->tag = (p->tag ^ from->hash ^ from->at) * 1099511628211U;
    return ERR_OK;
}

static enum err images_room(struct view_part *p, size_t n, size_t frames, struct errmsg *e)
{
    size_t bytes = n * (sizeof(struct view_image) + (size_t)3 * (LIMIT_UID + 1) + 64) +
                   n * sizeof(struct view_frames) + frames * sizeof(struct view_frame);
    arena_init(&p->mem, bytes + (64 << 10));
    p->images = arena_array(&p->mem, n == 0 ? 1 : n, struct view_image);
    return p->images != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for %zu images", n);
}

/* ---- sealed */

/*
 * Where the first bit of a native 1-bit frame is, PS3.5 8.1.1: frames follow each other without
 * padding.  The manifest does not say how many bits a pixel has, but where the second frame begins.
 */
static uint8_t first_bit(const struct manifest_image *m, uint32_t i, uint64_t pixels)
{
    bool packed = i > 0 && m->frame_at[i] - m->frame_at[0] == pixels * i / 8;
    return packed ? (uint8_t)(pixels * i % 8) : 0;
}

static enum err frames_add(struct view_part *p, const struct manifest_image *m, struct errmsg *e)
{
    struct view_image   *to = &p->images[p->n - 1];
    const struct syntax *s = syntax_find(to->syntax_uid);
    bool                 native = s == NULL || !s->encapsulated;
    uint64_t             pixels = native ? (uint64_t)m->rows * m->columns : 0;
    struct view_frames  *f =
        arena_alloc(&p->mem, 1, sizeof(*f) + m->frames * sizeof(struct view_frame));
    if (f == NULL) {
        return err_set(e, ERR_LIMIT, "an image of %u frames", m->frames);
    }
    f->n = m->frames;
    for (uint32_t i = 0; i < m->frames; i++) {
        uint32_t fragments = m->frame_fragments != NULL ? m->frame_fragments[i] : 1;
        f->v[i] = (struct view_frame){.at = m->frame_at[i],
                                      .len = m->frame_len[i],
                                      .fragments = native ? 0 : fragments,
                                      .bit = first_bit(m, i, pixels)};
    }
    atomic_store(&to->frames, f);
    return ERR_OK;
}

static enum err from_manifest(struct view_part *p, const struct manifest *m, struct errmsg *e)
{
    size_t frames = 0;
    for (size_t i = 0; i < m->n; i++) {
        frames += m->images[i].frame_at != NULL ? m->images[i].frames : 0;
    }
    enum err rc = images_room(p, m->n, frames, e);
    for (size_t i = 0; rc == ERR_OK && i < m->n; i++) {
        rc = image_add(p, &m->images[i].image, e);
        if (rc == ERR_OK && m->images[i].frame_at != NULL) {
            rc = frames_add(p, &m->images[i], e);
        }
    }
    return rc;
}

static enum err from_list(struct view_part *p, const struct pack_image *v, size_t n,
                          struct errmsg *e)
{
    enum err rc = images_room(p, n, 0, e);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        rc = image_add(p, &v[i], e);
    }
    return rc;
}

/* The metadata member, when it is one that can be joined with others. */
static void find_body(struct view_part *p, uint64_t at, uint64_t len)
{
    uint8_t head[MODEL_HEAD], tail[MODEL_TAIL];
    if (len < MODEL_HEAD + MODEL_TAIL ||
        file_read_full(p->fd, at, head, sizeof(head), NULL) != ERR_OK ||
        file_read_full(p->fd, at + len - sizeof(tail), tail, sizeof(tail), NULL) != ERR_OK) {
        return;
    }
    p->has_body = model_body_of(head, tail, len, &p->body);
    p->body_at = at + MODEL_HEAD;
}

static enum err sealed_fill(struct view_part *p, const char *path, const struct pack_row *row,
                            struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem = {0};
    enum err                         rc = file_open(path, O_RDONLY, 0, &p->fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (row->manifest_len == 0) { // a row that does not know: the headers of the file do
        struct pack_scan scan = {0};
        arena_init(&mem, LIMIT_SCAN);
        rc = pack_scan_fd(p->fd, false, &mem, &scan, e);
        if (rc == ERR_OK) {
            rc = from_list(p, scan.images, scan.n, e);
            find_body(p, scan.sealed.metadata_at, scan.sealed.metadata_len);
        }
        return rc;
    }
    struct manifest *m = NULL;
    rc = manifest_of(path, row, &mem, &m, e);
    if (rc == ERR_OK) {
        rc = from_manifest(p, m, e);
        find_body(p, row->metadata_at, row->metadata_len);
    }
    return rc;
}

enum err part_sealed(struct archive *a, const struct pack_row *row, struct view_part **ret,
                     struct errmsg *e)
{
    char              path[PACK_PATH];
    enum err          rc = row_path(a, row, false, path, e);
    struct view_part *p = rc == ERR_OK ? part_new(row) : NULL;
    if (p == NULL) {
        return rc != ERR_OK ? rc : err_set(e, ERR_NOMEM, "no memory for a pack");
    }
    p->sealed = true;
    p->tag = 1;
    rc = sealed_fill(p, path, row, e);
    p->bytes = sizeof(*p) + p->mem.used;
    if (rc != ERR_OK) {
        part_unref(p);
        return rc;
    }
    *ret = p;
    return ERR_OK;
}

/* ---- open */

static enum err open_file(struct archive *a, const struct pack_row *row, int *ret_fd,
                          struct errmsg *e)
{
    char          path[PACK_PATH];
    struct errmsg mine = {0};
    enum err      rc = ERR_NOTFOUND;
    for (int open = 1; rc == ERR_NOTFOUND && open >= 0; open--) { // sealed meanwhile?
        mine = (struct errmsg){0};
        rc = row_path(a, row, open == 1, path, &mine);
        rc = rc == ERR_OK ? file_open(path, O_RDONLY, 0, ret_fd, &mine) : rc;
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "%s", mine.text);
}

static int by_place(const void *pa, const void *pb)
{
    const struct pack_image *a = pa, *b = pb;
    return a->at < b->at ? -1 : a->at > b->at;
}

/* In the order of the file, from memory.  ERR_NOTFOUND: not a pack of this process. */
static enum err from_live(struct view_part *p, struct series *s, uint32_t n, struct errmsg *e)
{
    struct pack_image *v = NULL;
    size_t             k = 0;
    lock_take(&s->lock);
    struct slot *sl = s->slots;
    while (sl != NULL && sl->n != n) {
        sl = sl->next;
    }
    if (sl != NULL) {
        v = calloc(s->images.n + 1, sizeof(*v));
    }
    for (size_t i = 0; v != NULL && i < s->images.n; i++) {
        const struct img *m = &s->images.v[i];
        if (m->pack_n == n && m->state == IMG_PRESENT) {
            img_get(&s->images, m, &v[k++]);
        }
    }
    lock_give(&s->lock);
    if (v == NULL) {
        return sl == NULL ? ERR_NOTFOUND : err_set(e, ERR_NOMEM, "no memory for a list of images");
    }
    qsort(v, k, sizeof(*v), by_place);
    enum err rc = from_list(p, v, k, e);
    free(v);
    return rc;
}

static enum err from_scan(struct view_part *p, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, LIMIT_SCAN);
    struct pack_scan scan = {0};
    enum err         rc = pack_scan_fd(p->fd, false, &mem, &scan, e);
    return rc == ERR_OK ? from_list(p, scan.images, scan.n, e) : rc;
}

/* Images are only ever added at the end: what was found out about the first ones still holds. */
static void keep_known(struct view_part *p, struct view_part *before)
{
    size_t same = 0;
    while (same < p->n && same < before->n && p->images[same].at == before->images[same].at &&
           p->images[same].hash == before->images[same].hash) {
        struct view_frames *f = atomic_load(&before->images[same].frames);
        if (f != NULL && atomic_load(&f->refs) > 0) {
            (void)atomic_fetch_add(&f->refs, 1);
            atomic_store(&p->images[same].frames, f);
            p->bytes += sizeof(*f) + f->n * sizeof(f->v[0]);
        }
        same++;
    }
    lock_take(&before->lock);
    size_t keep = before->n_segments + 1 < LIMIT_VIEW_SEGMENTS ? before->n_segments : 0;
    for (size_t i = 0; i < keep && p->covered + before->segments[i]->images <= same; i++) {
        struct segment *s = before->segments[i];
        (void)atomic_fetch_add(&s->refs, 1);
        p->segments[p->n_segments++] = s;
        p->covered += s->images;
        p->bytes += sizeof(*s) + (size_t)s->body.deflated;
    }
    lock_give(&before->lock);
}

/* In the file that is open? */
static bool is_there(const struct view_part *p)
{
    const struct view_image *i = &p->images[p->n - 1];
    struct pack_image        m = {.at = i->at, .size = i->size};
    (void)snprintf(m.sop_uid, sizeof(m.sop_uid), "%.*s", STR_ARG(i->sop_uid));
    return is_image_there(p->fd, &m);
}

enum err part_open(struct archive *a, const struct pack_row *row, struct series *live,
                   struct view_part *before, struct view_part **ret, struct errmsg *e)
{
    struct view_part *p = part_new(row);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a pack");
    }
    enum err rc = open_file(a, row, &p->fd, e);
    if (rc == ERR_OK) {
        enum err mine = live != NULL ? from_live(p, live, row->n, e) : ERR_NOTFOUND;
        if (mine == ERR_OK && p->n > 0 && !is_there(p)) { // sealed and recompressed meanwhile
            mine = ERR_NOTFOUND;
            arena_done(&p->mem);
            p->n = 0;
        }
        rc = mine == ERR_NOTFOUND ? from_scan(p, e) : mine;
    }
    if (rc != ERR_OK) {
        part_unref(p);
        return rc;
    }
    p->bytes = sizeof(*p) + p->mem.used;
    if (before != NULL) {
        keep_known(p, before);
    }
    *ret = p;
    return ERR_OK;
}

/* ---- what an image says */

struct str view_series_uid(const struct view_image *i)
{
    return str_of(i->part->series_uid);
}

int view_fd(const struct view_image *i)
{
    return i->part->fd;
}

static enum err window_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                            struct errmsg *e)
{
    const struct view_window *w = ctx;
    uint64_t                  left = at < w->len ? w->len - at : 0;
    return file_read_at(w->fd, w->at + at, to, n < left ? n : (size_t)left, ret_n, e);
}

struct dsrc view_src(struct view_window *w)
{
    return (struct dsrc){.read = window_read, .ctx = w, .size = w->len};
}

struct view_window view_file(const struct view_image *i)
{
    return (struct view_window){.fd = i->part->fd, .at = i->at, .len = i->size};
}

struct view_window view_data(const struct view_image *i)
{
    return (struct view_window){
        .fd = i->part->fd, .at = i->data_at, .len = i->size - (i->data_at - i->at)};
}

enum err view_frame_piece(const struct view_image *i, const struct view_frame *f, uint64_t *at,
                          uint64_t *ret_offset, uint64_t *ret_len, struct errmsg *e)
{
    struct view_window w = {.fd = view_fd(i), .at = 0, .len = f->at + f->len};
    struct dsrc        src = view_src(&w);
    struct frame       frame = {.offset = f->at, .len = f->len, .fragments = f->fragments};
    return frame_piece(&src, &frame, at, ret_offset, ret_len, e);
}

const struct view_frames *view_frames_peek(const struct view_image *i)
{
    return atomic_load(&i->frames);
}

static enum err frames_read(const struct view_image *i, struct arena *mem, struct frames *ret,
                            struct errmsg *e)
{
    struct view_window   w = view_file(i);
    struct dsrc          src = view_src(&w);
    const struct syntax *s = NULL;
    struct dset         *d = NULL;
    enum err             rc = model_read(&src, mem, &s, &d, e);
    if (rc != ERR_OK || d == NULL) {
        return rc != ERR_OK ? rc : err_set(e, ERR_SYNTAX, "the object cannot be parsed");
    }
    if (s != NULL && s->deflated) {
        return err_set(e, ERR_UNSUPPORTED, "frames of a deflated object lie nowhere");
    }
    return frames_find(d, &src, mem, ret, e);
}

enum err view_frames(struct archive *a, struct view *v, struct view_image *i,
                     const struct view_frames **ret, struct errmsg *e)
{
    struct view_frames *known = atomic_load(&i->frames);
    if (known != NULL) {
        *ret = known;
        return ERR_OK;
    }
    CLEANUP(arena_done) struct arena mem;
    struct frames                    f = {0};
    arena_init(&mem, LIMIT_DSET);
    enum err rc = frames_read(i, &mem, &f, e);
    if (rc != ERR_OK) {
        return rc;
    }
    size_t bytes = sizeof(*known) + f.n * sizeof(known->v[0]);
    known = calloc(1, bytes);
    if (known == NULL || f.n > UINT32_MAX) {
        free(known);
        return err_set(e, ERR_NOMEM, "no memory for %zu frames", f.n);
    }
    known->refs = 1;
    known->n = (uint32_t)f.n;
    for (size_t k = 0; k < f.n; k++) {
        known->v[k] = (struct view_frame){.at = i->at + f.v[k].offset,
                                          .len = f.v[k].len,
                                          .fragments = f.v[k].fragments,
                                          .bit = f.v[k].bit};
    }
    struct view_frames *other = NULL;
    if (atomic_compare_exchange_strong(&i->frames, &other, known)) {
        view_grew(a, v, bytes);
    } else { // another thread was faster
        free(known);
        known = other;
    }
    *ret = known;
    return ERR_OK;
}
