#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dicom/part10.h"
#include "pack/pack_priv.h"
#include "sys/file.h"

enum {
    FRONT_SMALL = 4 << 10,  // holds the meta information of nearly every file
    FRONT_LARGE = 64 << 10, // of every other
};

void images_done(struct images *v)
{
    free(v->ptr);
    *v = (struct images){0};
}

enum err images_add(struct images *v, const struct pack_image *image, struct errmsg *e)
{
    if (v->n == v->room) {
        size_t             room = v->room == 0 ? 64 : v->room * 2;
        struct pack_image *p = reallocarray(v->ptr, room, sizeof(*p));
        if (p == NULL) {
            return err_set(e, ERR_NOMEM, "no memory for %zu images", room);
        }
        v->ptr = p;
        v->room = room;
    }
    v->ptr[v->n++] = *image;
    return ERR_OK;
}

static enum err read_fd(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n, struct errmsg *e)
{
    return file_read_at(*(const int *)ctx, at, to, n, ret_n, e);
}

struct dsrc dsrc_of_fd(int *fd, uint64_t size)
{
    return (struct dsrc){.read = read_fd, .ctx = fd, .size = size};
}

bool is_image_name(const char *name, struct str *ret_uid)
{
    struct str s = str_of(name);
    if (s.len < 5 || memcmp(s.ptr + s.len - 4, ".dcm", 4) != 0) {
        return false;
    }
    *ret_uid = (struct str){s.ptr, s.len - 4};
    return is_uid_usable(*ret_uid);
}

enum err hash_range(const struct dsrc *src, uint64_t at, uint64_t size, struct buf *window,
                    uint64_t *ret, struct errmsg *e)
{
    buf_clear(window);
    uint8_t      *p = buf_grow(window, size < PACK_WINDOW ? (size_t)size + 1 : PACK_WINDOW);
    XXH3_state_t *h = XXH3_createState();
    enum err      rc = p != NULL && h != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "no memory");
    if (rc == ERR_OK) {
        (void)XXH3_64bits_reset(h);
    }
    while (rc == ERR_OK && size > 0) {
        size_t n = size < PACK_WINDOW ? (size_t)size : PACK_WINDOW, got = 0;
        rc = src->read(src->ctx, at, p, n, &got, e);
        if (rc == ERR_OK && got < n) {
            rc = err_set(e, ERR_SYNTAX, "file ends before %" PRIu64, at + n);
        }
        if (rc == ERR_OK) {
            (void)XXH3_64bits_update(h, p, n);
            at += n;
            size -= n;
        }
    }
    if (rc == ERR_OK) {
        *ret = XXH3_64bits_digest(h);
    }
    (void)XXH3_freeState(h);
    return rc;
}

enum stage { STAGE_IMAGES, STAGE_MANIFEST, STAGE_METADATA, STAGE_SUMS };

struct scan {
    const struct scan_from *from;
    bool                    check_hash;
    struct arena           *arena;
    struct images          *images;
    struct pack_scan        r;
    uint64_t                at; // of the header to read next
    enum stage              stage;
    uint64_t                budget; // bytes that looking for the next good header may hash
    struct buf              front;  // header and first bytes of a member
    struct buf              window; // for hashing and searching
};

static enum err read_some(struct scan *s, uint64_t at, size_t n, struct bytes *ret,
                          struct errmsg *e)
{
    size_t got = 0;
    buf_clear(&s->front);
    uint8_t *p = buf_grow(&s->front, n);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for %zu bytes", n);
    }
    enum err rc = s->from->src.read(s->from->src.ctx, at, p, n, &got, e);
    *ret = (struct bytes){p, rc == ERR_OK ? got : 0};
    return rc;
}

/* Does the content of a member whose header is at `at` lie within the file? */
static bool is_inside(const struct scan *s, uint64_t at, uint64_t size)
{
    uint64_t all = s->from->src.size;
    return all > at && all - at >= TAR_BLOCK && all - at - TAR_BLOCK >= size;
}

/* ERR_SYNTAX: the content is not what the header says. */
static enum err check_content(struct scan *s, uint64_t at, const struct tar_member *m,
                              struct errmsg *e)
{
    uint64_t h;
    if (m->hash == 0) { // a foreign tar: nothing to hold it to
        return ERR_OK;
    }
    enum err rc = hash_range(&s->from->src, at + TAR_BLOCK, m->size, &s->window, &h, e);
    if (rc == ERR_OK && h != m->hash) {
        rc = err_set(e, ERR_SYNTAX, "content of %s differs from its hash", m->name);
    }
    return rc;
}

static void copy_uid(char to[65], struct str uid)
{
    size_t n = is_uid_usable(uid) ? uid.len : 0;
    memcpy(to, uid.ptr, n);
    to[n] = '\0';
}

/* Class, syntax and data set position from the meta information, as far as it can be read. */
static enum err read_meta(struct scan *s, struct pack_image *image, struct bytes front,
                          struct errmsg *e)
{
    struct part10_meta meta;
    enum err           rc = part10_parse(front, &meta, NULL);
    if (rc == ERR_MORE && front.len < image->size) {
        size_t n = image->size < FRONT_LARGE ? (size_t)image->size : FRONT_LARGE;
        rc = read_some(s, image->at, n, &front, e);
        if (rc != ERR_OK) {
            return rc;
        }
        rc = part10_parse(front, &meta, NULL);
    }
    image->data_at = image->at;
    if (rc == ERR_OK) {
        copy_uid(image->class_uid, meta.class_uid);
        copy_uid(image->syntax_uid, meta.syntax_uid);
        image->data_at += meta.size;
    }
    return ERR_OK;
}

static enum err take_image(struct scan *s, const struct tar_member *m, struct str uid,
                           struct bytes front, struct errmsg *e)
{
    struct pack_image image = {
        .at = s->at + TAR_BLOCK, .size = m->size, .hash = m->hash, .number = INT32_MIN};
    copy_uid(image.sop_uid, uid);
    enum err rc = read_meta(s, &image, front, e);
    if (rc == ERR_OK) {
        rc = images_add(s->images, &image, e);
    }
    s->at += TAR_BLOCK + tar_padded(m->size);
    s->r.good_end = s->at;
    return rc;
}

static enum err take_origin(struct scan *s, const struct tar_member *m, struct errmsg *e)
{
    struct bytes raw = {0};
    if (m->size > FRONT_LARGE) {
        return err_set(e, ERR_SYNTAX, "pax header of %llu bytes", (unsigned long long)m->size);
    }
    enum err rc = read_some(s, s->at + TAR_BLOCK, (size_t)m->size, &raw, e);
    if (rc != ERR_OK) {
        return rc;
    }
    raw = arena_bytes(s->arena, raw);
    if (raw.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "no memory for a pax header");
    }
    rc = origin_parse(raw, s->arena, &s->r.origin, NULL);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        return err_set(e, rc, "pax header cannot be read");
    }
    s->at += TAR_BLOCK + tar_padded(m->size);
    return ERR_OK;
}

static enum err take_sealed(struct scan *s, const struct tar_member *m, struct errmsg *e)
{
    static const char *const names[] = {PACK_MANIFEST, PACK_METADATA, PACK_SUMS};
    if (s->stage >= STAGE_SUMS || strcmp(m->name, names[s->stage]) != 0) {
        return err_set(e, ERR_SYNTAX, "unexpected member %s", m->name);
    }
    s->stage++;
    if (s->stage == STAGE_MANIFEST) {
        s->r.sealed.manifest_at = s->at + TAR_BLOCK;
        s->r.sealed.manifest_len = m->size;
    } else if (s->stage == STAGE_METADATA) {
        s->r.sealed.metadata_at = s->at + TAR_BLOCK;
        s->r.sealed.metadata_len = m->size;
    }
    s->at += TAR_BLOCK + tar_padded(m->size);
    return ERR_OK;
}

/* One member.  ERR_NOTFOUND: zeros or the end of the file; ERR_SYNTAX: something is wrong here. */
static enum err step(struct scan *s, struct errmsg *e)
{
    struct tar_member m;
    struct bytes      in = {0};
    struct str        uid = {0};
    enum err          rc = read_some(s, s->at, TAR_BLOCK + FRONT_SMALL, &in, e);
    if (rc == ERR_OK && in.len < TAR_BLOCK) {
        rc = is_tar_zero(in) ? ERR_NOTFOUND : ERR_SYNTAX;
    }
    if (rc == ERR_OK) {
        rc = tar_header_parse(in.ptr, &m, e);
    }
    if (rc == ERR_OK && !is_inside(s, s->at, m.size)) {
        rc = err_set(e, ERR_SYNTAX, "%s is cut", m.name);
    }
    if (rc == ERR_OK && s->check_hash) {
        rc = check_content(s, s->at, &m, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (m.type == 'x' && s->at == 0) {
        return take_origin(s, &m, e);
    }
    if (m.type == '0' && s->stage == STAGE_IMAGES && is_image_name(m.name, &uid)) {
        size_t front = in.len - TAR_BLOCK < m.size ? in.len - TAR_BLOCK : (size_t)m.size;
        return take_image(s, &m, uid, (struct bytes){in.ptr + TAR_BLOCK, front}, e);
    }
    return m.type == '0' ? take_sealed(s, &m, e)
                         : err_set(e, ERR_SYNTAX, "member %s of another type", m.name);
}

/* Step over a hole in the file: reserved space holds nothing. */
static uint64_t next_data(const struct scan *s, uint64_t at)
{
    off_t to = s->from->fd < 0 ? -1 : lseek(s->from->fd, (off_t)at, SEEK_DATA);
    if (to < 0) {
        return s->from->fd >= 0 && errno == ENXIO ? UINT64_MAX : at;
    }
    return (uint64_t)to <= at ? at : (uint64_t)to - (uint64_t)to % TAR_BLOCK;
}

/* Is there an image of ours at this block, whole? */
static bool is_good_image(struct scan *s, uint64_t at, const uint8_t *block)
{
    struct tar_member m;
    struct str        uid;
    if (!is_tar_magic(block) || tar_header_parse(block, &m, NULL) != ERR_OK || m.type != '0' ||
        m.hash == 0 || !is_image_name(m.name, &uid) || !is_inside(s, at, m.size)) {
        return false;
    }
    if (m.size > s->budget) { // an image full of headers: do not hash it again for each
        s->budget = 0;
        s->r.damaged++; // more than a torn end can be
        return false;
    }
    s->budget -= m.size;
    return check_content(s, at, &m, NULL) == ERR_OK;
}

/*
 * After a bad place: the next image that is whole, or ERR_NOTFOUND.  That one exists means damage,
 * not a torn end: what follows was acknowledged and must not be cut off.
 */
static enum err search(struct scan *s, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf chunk;
    buf_init(&chunk, PACK_WINDOW);
    uint8_t *p = buf_grow(&chunk, PACK_WINDOW);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory");
    }
    uint64_t at = s->at;
    while ((at = next_data(s, at)) < s->from->src.size) {
        size_t   got = 0;
        enum err rc = s->from->src.read(s->from->src.ctx, at, p, PACK_WINDOW, &got, e);
        if (rc != ERR_OK) {
            return rc;
        }
        s->r.torn = s->r.torn || !is_tar_zero((struct bytes){p, got});
        for (size_t i = 0; got - i >= TAR_BLOCK; i += TAR_BLOCK) {
            if (is_good_image(s, at + i, p + i)) {
                s->r.damaged += at + i > s->at ? 1 : 0;
                s->at = at + i;
                return ERR_OK;
            }
        }
        if (got < PACK_WINDOW) {
            break;
        }
        at += got;
    }
    return ERR_NOTFOUND;
}

/* Without check_hash only the last image of an open pack is held to its hash: an earlier one was
 * synced before the next began. */
static enum err check_last(struct scan *s, struct errmsg *e)
{
    if (s->images->n == 0) {
        return ERR_OK;
    }
    const struct pack_image *last = &s->images->ptr[s->images->n - 1];
    struct tar_member        m = {.size = last->size, .hash = last->hash};
    struct errmsg            why = {0};
    enum err                 rc = check_content(s, last->at - TAR_BLOCK, &m, &why);
    if (rc == ERR_SYNTAX) {
        s->r.torn = true;
        s->r.good_end = s->images->n > 1 ? last->at - TAR_BLOCK : 0;
        s->images->n--;
        return ERR_OK;
    }
    return rc == ERR_OK ? rc : err_set(e, rc, "%s", why.text);
}

static enum err finish(struct scan *s, struct errmsg *e)
{
    uint64_t     size = s->from->src.size;
    struct bytes end = {0};
    enum err     rc = ERR_OK;
    bool         sealed = false;
    if (s->stage == STAGE_SUMS && size - s->at == PACK_END) {
        rc = read_some(s, s->at, PACK_END, &end, e);
        sealed = rc == ERR_OK && end.len == PACK_END && is_tar_zero(end);
    }
    s->r.torn = s->r.torn || (s->stage != STAGE_IMAGES && !sealed);
    if (sealed) {
        s->r.sealed.bytes = size;
        s->r.torn = false;
    } else {
        s->r.sealed = (struct pack_sealed){0};
    }
    if (rc == ERR_OK && s->stage == STAGE_IMAGES && !s->check_hash) {
        rc = check_last(s, e);
    }
    return rc;
}

static enum err scan_loop(struct scan *s, struct errmsg *e)
{
    for (;;) {
        struct errmsg why = {0};
        enum err      rc = step(s, &why);
        if (rc == ERR_OK) {
            continue;
        }
        if (rc != ERR_NOTFOUND && rc != ERR_SYNTAX && rc != ERR_UNSUPPORTED) {
            return err_set(e, rc, "%s", why.text);
        }
        bool bad = rc != ERR_NOTFOUND;
        if (s->stage != STAGE_IMAGES) {
            s->r.torn = s->r.torn || bad;
            return ERR_OK;
        }
        bool torn = s->r.torn;
        rc = search(s, e);
        if (rc == ERR_NOTFOUND) {
            s->r.torn = s->r.torn || bad;
            return ERR_OK;
        }
        if (rc != ERR_OK) {
            return rc;
        }
        s->r.torn = torn;
    }
}

enum err scan_run(const struct scan_from *from, bool check_hash, struct arena *a,
                  struct images *ret_images, struct pack_scan *ret, struct errmsg *e)
{
    struct scan s = {
        .from = from,
        .check_hash = check_hash,
        .arena = a,
        .images = ret_images,
        .r.origin = ORIGIN_NONE,
        .budget = from->src.size > UINT64_MAX / 4 ? UINT64_MAX : 4 * from->src.size,
    };
    buf_init(&s.front, FRONT_LARGE + TAR_BLOCK);
    buf_init(&s.window, PACK_WINDOW);
    enum err rc = scan_loop(&s, e);
    if (rc == ERR_OK) {
        rc = finish(&s, e);
    }
    buf_done(&s.front);
    buf_done(&s.window);
    if (rc == ERR_OK) {
        *ret = s.r;
    }
    return rc;
}

static enum err scan_to_arena(const struct scan_from *from, bool check_hash, struct arena *a,
                              struct pack_scan *ret, struct errmsg *e)
{
    CLEANUP(images_done) struct images images = {0};
    struct pack_scan                   r;
    enum err                           rc = scan_run(from, check_hash, a, &images, &r, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (images.n > 0) {
        r.images = arena_array(a, images.n, struct pack_image);
        if (r.images == NULL) {
            return err_set(e, ERR_LIMIT, "no memory for %zu images", images.n);
        }
        memcpy(r.images, images.ptr, images.n * sizeof(*images.ptr));
    }
    r.n = images.n;
    *ret = r;
    return ERR_OK;
}

enum err pack_scan_src(const struct dsrc *src, bool check_hash, struct arena *a,
                       struct pack_scan *ret, struct errmsg *e)
{
    const struct scan_from from = {.src = *src, .fd = -1};
    return scan_to_arena(&from, check_hash, a, ret, e);
}

enum err pack_scan_fd(int fd, bool check_hash, struct arena *a, struct pack_scan *ret,
                      struct errmsg *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return file_errno(e, "stat", "pack");
    }
    const struct scan_from from = {.src = dsrc_of_fd(&fd, (uint64_t)st.st_size), .fd = fd};
    return scan_to_arena(&from, check_hash, a, ret, e);
}
