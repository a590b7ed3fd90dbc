#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/num.h"
#include "pack/digest.h"
#include "pack/pack_priv.h"
#include "sys/file.h"

struct found { // one member, as the file has it
    char     name[TAR_NAME + 1];
    uint64_t at, size, xxh3;
    char     sha256[65];
    bool     bad; // reported already
};

struct verify {
    struct dsrc   src;
    struct digest digest;
    struct buf    window;
    struct found *found; // owned
    size_t        n, room;
    uint64_t      at;
    pack_bad     *bad;
    void         *ctx;
    bool          any;
};

/* Name the image, or the pack when a member of another kind is concerned. */
static void report(struct verify *v, const char *name, const char *what)
{
    char       text[TAR_NAME + 160];
    struct str uid;
    v->any = true;
    if (is_image_name(name, &uid)) {
        v->bad(v->ctx, uid, what);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s%s%s", name, name[0] != '\0' ? ": " : "", what);
    v->bad(v->ctx, STR(""), text);
}

static void report_found(struct verify *v, struct found *f, const char *what)
{
    if (!f->bad) {
        report(v, f->name, what);
    }
    f->bad = true;
}

/* Is the block the header that Garonne writes for what it says? */
static bool is_header(const struct verify *v, uint64_t at, const uint8_t *block,
                      struct tar_member *ret)
{
    uint8_t    again[TAR_BLOCK];
    struct str uid;
    if (!is_tar_magic(block) || tar_header_parse(block, ret, NULL) != ERR_OK) {
        return false;
    }
    tar_header_write(ret, again);
    bool known = ret->type == 'x'
                     ? at == 0
                     : is_image_name(ret->name, &uid) || strcmp(ret->name, PACK_MANIFEST) == 0 ||
                           strcmp(ret->name, PACK_METADATA) == 0 ||
                           strcmp(ret->name, PACK_SUMS) == 0;
    return known && ret->hash != 0 && memcmp(block, again, TAR_BLOCK) == 0 &&
           v->src.size - at >= TAR_BLOCK;
}

static enum err read_window(struct verify *v, uint64_t at, size_t n, struct bytes *ret,
                            struct errmsg *e)
{
    size_t   got = 0;
    enum err rc = v->src.read(v->src.ctx, at, v->window.ptr, n, &got, e);
    *ret = (struct bytes){v->window.ptr, rc == ERR_OK ? got : 0};
    return rc;
}

static enum err add_found(struct verify *v, const struct found *f, struct errmsg *e)
{
    if (v->n == v->room) {
        size_t        room = v->room == 0 ? 64 : v->room * 2;
        struct found *p = reallocarray(v->found, room, sizeof(*p));
        if (p == NULL) {
            return err_set(e, ERR_NOMEM, "no memory for %zu members", room);
        }
        v->found = p;
        v->room = room;
    }
    v->found[v->n++] = *f;
    return ERR_OK;
}

/* Read content and padding of the member whose header is at v->at. */
static enum err take_member(struct verify *v, const struct tar_member *m, struct errmsg *e)
{
    struct found f = {.at = v->at + TAR_BLOCK, .size = m->size};
    struct bytes b = {0};
    uint64_t     left = m->size, at = f.at;
    memcpy(f.name, m->name, sizeof(f.name));
    digest_begin(&v->digest);
    enum err rc = ERR_OK;
    while (rc == ERR_OK && left > 0) {
        size_t n = left < v->window.len ? (size_t)left : v->window.len;
        rc = read_window(v, at, n, &b, e);
        if (rc == ERR_OK && b.len < n) {
            report_found(v, &f, "the file ends within it");
            v->at = v->src.size;
            return add_found(v, &f, e);
        }
        digest_add(&v->digest, b);
        at += n;
        left -= n;
    }
    size_t pad = (size_t)(tar_padded(m->size) - m->size);
    if (rc == ERR_OK) {
        rc = digest_end(&v->digest, f.sha256, &f.xxh3, e);
    }
    if (rc == ERR_OK) {
        rc = read_window(v, at, pad, &b, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (f.xxh3 != m->hash) {
        report_found(v, &f, "content differs from the hash in its header");
    } else if (b.len < pad) {
        report_found(v, &f, "the file ends within its padding");
    } else if (!is_tar_zero(b)) {
        report_found(v, &f, "padding is not zero");
    }
    v->at = at + b.len;
    return add_found(v, &f, e);
}

/* After a bad header: the next good one, or the end of the file. */
static enum err resync(struct verify *v, struct errmsg *e)
{
    struct bytes      b = {0};
    struct tar_member m;
    for (v->at += TAR_BLOCK; v->at < v->src.size; v->at += b.len) {
        enum err rc = read_window(v, v->at, v->window.len, &b, e);
        if (rc != ERR_OK) {
            return rc;
        }
        for (size_t i = 0; b.len - i >= TAR_BLOCK; i += TAR_BLOCK) {
            if (is_header(v, v->at + i, b.ptr + i, &m)) {
                v->at += i;
                return ERR_OK;
            }
        }
        if (b.len < v->window.len) {
            break;
        }
    }
    v->at = v->src.size;
    return ERR_OK;
}

static void check_end(struct verify *v, struct bytes b)
{
    if (v->src.size - v->at != PACK_END || b.len < PACK_END) {
        report(v, "", "the file does not end where its members do");
    } else if (!is_tar_zero((struct bytes){b.ptr, PACK_END})) {
        report(v, "", "the end of the file is not zero");
    }
}

static enum err walk(struct verify *v, struct errmsg *e)
{
    bool bad_header = false;
    while (v->at < v->src.size) {
        struct bytes      b = {0};
        struct tar_member m;
        enum err          rc = read_window(v, v->at, PACK_END, &b, e);
        if (rc != ERR_OK) {
            return rc;
        }
        bool last = v->n > 0 && strcmp(v->found[v->n - 1].name, PACK_SUMS) == 0;
        if (last || (b.len >= TAR_BLOCK && is_tar_zero((struct bytes){b.ptr, TAR_BLOCK}) &&
                     v->src.size - v->at <= PACK_END)) {
            check_end(v, b);
            return ERR_OK;
        }
        if (b.len >= TAR_BLOCK && is_header(v, v->at, b.ptr, &m)) {
            rc = take_member(v, &m, e);
        } else {
            v->any = true; // who it was is found from the sums
            if (v->at == 0) {
                report(v, "", "pax header is damaged");
            }
            bad_header = true;
            rc = resync(v, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
    report(v, "",
           bad_header ? "a header is damaged, and the end is missing"
                      : "the end of the file is missing");
    return ERR_OK;
}

/* ---- against the sums and the manifest */

static struct found *find(struct verify *v, struct str name, size_t *hint)
{
    for (size_t k = 0; k < v->n; k++) { // both lists are in file order: the first look is a hit
        struct found *f = &v->found[(*hint + k) % v->n];
        if (str_eq(str_of(f->name), name)) {
            *hint = (size_t)(f - v->found) + 1;
            return f;
        }
    }
    return NULL;
}

static enum err read_member(struct verify *v, const struct found *f, struct buf *out,
                            struct errmsg *e)
{
    size_t got = 0;
    buf_init(out, LIMIT_MANIFEST);
    uint8_t *p = f->size <= LIMIT_MANIFEST ? buf_grow(out, (size_t)f->size) : NULL;
    if (p == NULL) {
        return err_set(e, ERR_LIMIT, "%s of %llu bytes", f->name, (unsigned long long)f->size);
    }
    enum err rc = v->src.read(v->src.ctx, f->at, p, out->len, &got, e);
    if (rc == ERR_OK && got < out->len) {
        rc = err_set(e, ERR_IO, "%s was read in part", f->name);
    }
    return rc;
}

/* One line of SHA256SUMS: 64 digits, two spaces, the name. */
static bool sums_next(struct str *left, struct str *ret_sum, struct str *ret_name)
{
    const char *end = left->len > 0 ? memchr(left->ptr, '\n', left->len) : NULL;
    size_t      len = end != NULL ? (size_t)(end - left->ptr) : 0;
    if (len < 67 || len - 66 > TAR_NAME || left->ptr[64] != ' ' || left->ptr[65] != ' ') {
        return false;
    }
    *ret_sum = (struct str){left->ptr, 64};
    *ret_name = (struct str){left->ptr + 66, len - 66};
    *left = (struct str){left->ptr + len + 1, left->len - len - 1};
    return true;
}

static void check_line(struct verify *v, struct str sum, struct str name, size_t *hint)
{
    char text[TAR_NAME + 1];
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    struct found *f = find(v, name, hint);
    if (f == NULL) {
        report(v, text, "not found: its header is damaged");
    } else if (!str_eq(str_of(f->sha256), sum)) {
        report_found(v, f, "content differs from " PACK_SUMS);
    }
}

static enum err check_sums(struct verify *v, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    size_t                       hint = 0, lines = 0, members = 0;
    struct found                *f = find(v, STR(PACK_SUMS), &hint);
    if (f == NULL || f->bad) {
        if (f == NULL) {
            report(v, PACK_SUMS, "not found");
        }
        return ERR_OK;
    }
    enum err rc = read_member(v, f, &text, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct str left = {(const char *)text.ptr, text.len}, sum, name;
    hint = 0;
    while (sums_next(&left, &sum, &name)) {
        check_line(v, sum, name, &hint);
        lines++;
    }
    for (size_t i = 0; i < v->n; i++) {
        members += strcmp(v->found[i].name, PACK_SUMS) != 0 && v->found[i].at != TAR_BLOCK ? 1 : 0;
    }
    if (left.len > 0 || lines < members) {
        report(v, PACK_SUMS, "does not list the members of this file");
    }
    return ERR_OK;
}

static enum err check_manifest(struct verify *v, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf     text = {0};
    CLEANUP(arena_done) struct arena a;
    struct manifest                 *m = NULL;
    size_t                           hint = 0;
    struct found                    *f = find(v, STR(PACK_MANIFEST), &hint);
    arena_init(&a, (size_t)4 * LIMIT_MANIFEST);
    if (f == NULL || f->bad) {
        return ERR_OK; // the sums have told
    }
    enum err rc = read_member(v, f, &text, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct errmsg why = {0};
    if (manifest_parse((struct str){(const char *)text.ptr, text.len}, &a, &m, &why) != ERR_OK) {
        report_found(v, f, why.text);
        return ERR_OK;
    }
    hint = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct manifest_image *want = &m->images[i];
        char                         name[65 + 4];
        (void)snprintf(name, sizeof(name), "%s.dcm", want->image.sop_uid);
        struct found *has = find(v, str_of(name), &hint);
        if (has != NULL && (has->at != want->image.at || has->size != want->image.size ||
                            strcmp(has->sha256, want->sha256) != 0)) {
            report_found(v, has, "is not what the manifest says");
        }
    }
    return ERR_OK;
}

static enum err verify(struct verify *v, struct errmsg *e)
{
    enum err rc = walk(v, e);
    if (rc == ERR_OK && v->n == 0) {
        report(v, "", "no member of a pack was found");
        return ERR_OK;
    }
    if (rc == ERR_OK) {
        rc = check_sums(v, e);
    }
    return rc == ERR_OK ? check_manifest(v, e) : rc;
}

enum err pack_verify(const char *path, pack_bad *bad, void *ctx, struct errmsg *e)
{
    CLEANUP(file_close) int fd = -1;
    struct stat             st;
    struct verify           v = {.bad = bad, .ctx = ctx};
    enum err                rc = file_open(path, O_RDONLY, 0, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (fstat(fd, &st) != 0) {
        return file_errno(e, "stat", path);
    }
    v.src = dsrc_of_fd(&fd, (uint64_t)st.st_size);
    buf_init(&v.window, PACK_WINDOW);
    rc = digest_init(&v.digest, e);
    if (rc == ERR_OK && buf_grow(&v.window, PACK_WINDOW) == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory to verify");
    }
    if (rc == ERR_OK) {
        rc = verify(&v, e);
    }
    digest_done(&v.digest);
    buf_done(&v.window);
    free(v.found);
    if (rc == ERR_OK && v.any) {
        rc = err_set(e, ERR_SYNTAX, "%.200s is damaged", path);
    }
    return rc;
}
