#include "dicomweb/pieces.h"

#include <fcntl.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/limits.h"
#include "sys/file.h"

enum { WINDOW = 64 << 10, GZIP = 15 + 16 };

struct pieces *pieces_new(void)
{
    return calloc(1, sizeof(struct pieces)); // allow-banned: pieces_free
}

void pieces_free(struct pieces *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n_views; i++) {
        view_unref(p->views[i]);
    }
    for (size_t i = 0; i < p->n_texts; i++) {
        buf_done(&p->texts[i]);
    }
    free(p->views);
    free(p->texts);
    free(p->v);
    free(p);
}

/* Room for one more of a list; room is doubled.  False: no memory, which is remembered. */
static bool more(struct pieces *p, void *list, size_t n, size_t size)
{
    void **at = list;
    if ((n & (n - 1)) != 0) { // only powers of two are full
        return true;
    }
    void *to = reallocarray(*at, n == 0 ? 1 : n * 2, size);
    if (to == NULL) {
        p->failed = true;
        return false;
    }
    *at = to;
    return true;
}

void pieces_keep(struct pieces *p, struct view *v)
{
    if (more(p, &p->views, p->n_views, sizeof(struct view *))) {
        p->views[p->n_views++] = v;
    } else {
        view_unref(v);
    }
}

static void add(struct pieces *p, struct piece x)
{
    if (x.len > 0 && more(p, &p->v, p->n, sizeof(x))) {
        p->v[p->n++] = x;
        p->len += x.len;
    }
}

void pieces_file(struct pieces *p, int fd, uint64_t at, uint64_t len)
{
    add(p, (struct piece){.fd = fd, .at = at, .len = len});
}

void pieces_memory(struct pieces *p, const uint8_t *ptr, size_t len)
{
    add(p, (struct piece){.ptr = ptr, .fd = -1, .len = len});
}

void pieces_buf(struct pieces *p, struct buf *b)
{
    p->failed = p->failed || b->err != ERR_OK;
    if (more(p, &p->texts, p->n_texts, sizeof(*b))) {
        p->texts[p->n_texts++] = *b;
        pieces_memory(p, b->ptr, b->len);
        *b = (struct buf){.max = b->max};
    }
}

const uint8_t *pieces_text(struct pieces *p, struct bytes b)
{
    struct buf copy;
    buf_init(&copy, b.len);
    buf_add(&copy, b);
    const uint8_t *ptr = copy.ptr;
    pieces_buf(p, &copy);
    buf_done(&copy); // empty, but where there was no memory
    return ptr;
}

void pieces_take(struct pieces *p, struct pieces *from)
{
    p->failed = p->failed || from->failed;
    for (size_t i = 0; i < from->n; i++) {
        add(p, from->v[i]);
    }
    for (size_t i = 0; i < from->n_texts; i++) {
        if (more(p, &p->texts, p->n_texts, sizeof(struct buf))) {
            p->texts[p->n_texts++] = from->texts[i];
            from->texts[i] = (struct buf){0};
        }
    }
    for (size_t i = 0; i < from->n_views; i++) {
        pieces_keep(p, from->views[i]);
    }
    from->n_views = 0;
    pieces_free(from);
}

/* ---- reading */

struct reader {
    struct pieces *p;
    size_t         i;
    uint64_t       at; // in piece i
    bool           inflating, ended;
    z_stream       z;
    uint8_t        window[]; // WINDOW, when inflating
};

static void reader_free(void *arg)
{
    struct reader *x = arg;
    if (x->inflating) {
        (void)inflateEnd(&x->z);
    }
    pieces_free(x->p);
    free(x);
}

static enum err read_raw(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct reader *x = arg;
    size_t         got = 0;
    while (got < n && x->i < x->p->n) {
        const struct piece *q = &x->p->v[x->i];
        uint64_t            left = q->len - x->at;
        size_t              k = left < n - got ? (size_t)left : n - got;
        if (q->ptr != NULL) {
            memcpy(to + got, q->ptr + x->at, k);
        } else {
            enum err rc = file_read_full(q->fd, q->at + x->at, to + got, k, NULL);
            if (rc != ERR_OK) {
                return rc;
            }
        }
        got += k;
        x->at += k;
        if (x->at == q->len) {
            x->i++;
            x->at = 0;
        }
    }
    *ret_n = got;
    return ERR_OK;
}

static void seek_raw(void *arg, uint64_t at)
{
    struct reader *x = arg;
    while (x->i < x->p->n && at >= x->p->v[x->i].len) {
        at -= x->p->v[x->i++].len;
    }
    x->at = at;
}

static enum err read_plain(void *arg, uint8_t *to, size_t n, size_t *ret_n)
{
    struct reader *x = arg;
    x->z.next_out = to;
    x->z.avail_out = n < UINT32_MAX ? (uInt)n : UINT32_MAX;
    while (!x->ended && x->z.avail_out > 0) {
        if (x->z.avail_in == 0) {
            size_t   got = 0;
            enum err rc = read_raw(x, x->window, WINDOW, &got);
            if (rc != ERR_OK) {
                return rc;
            }
            x->z.next_in = x->window;
            x->z.avail_in = (uInt)got;
        }
        int r = inflate(&x->z, Z_NO_FLUSH);
        x->ended = r == Z_STREAM_END;
        if (r != Z_OK && r != Z_STREAM_END) {
            return ERR_SYNTAX;
        }
    }
    *ret_n = n - x->z.avail_out;
    return ERR_OK;
}

/* ---- answers */

static void fail(struct http_request *r, struct pieces *p)
{
    pieces_free(p);
    http_error(r, 503, "nomem", "no memory for an answer");
}

static void answer_file(struct http_request *r, unsigned status, const char *type, struct pieces *p)
{
    struct http_file f = {
        .fd = fcntl(p->v[0].fd, F_DUPFD_CLOEXEC, 0), .at = p->v[0].at, .len = p->v[0].len};
    pieces_free(p);
    if (f.fd < 0) {
        http_error(r, 503, "limit", "no descriptor for an answer");
        return;
    }
    http_answer_file(r, status, type, f);
}

void pieces_answer(struct http_request *r, unsigned status, const char *type, struct pieces *p)
{
    struct reader *x = NULL;
    if (!p->failed && p->n == 1 && p->v[0].ptr == NULL) {
        answer_file(r, status, type, p);
        return;
    }
    if (!p->failed && p->len == 0) {
        pieces_free(p);
        http_answer(r, status, type, (struct bytes){0});
        return;
    }
    if (p->failed || (x = calloc(1, sizeof(*x))) == NULL) { // allow-banned: reader_free
        fail(r, p);
        return;
    }
    x->p = p;
    http_answer_stream(
        r, status, type,
        &(struct http_stream){
            .len = p->len, .read = read_raw, .done = reader_free, .seek = seek_raw, .arg = x});
}

void pieces_answer_plain(struct http_request *r, unsigned status, const char *type,
                         struct pieces *p, uint64_t plain)
{
    struct reader *x = NULL;
    if (p->failed || (x = calloc(1, sizeof(*x) + WINDOW)) == NULL) { // allow-banned: reader_free
        fail(r, p);
        return;
    }
    x->p = p;
    x->inflating = inflateInit2(&x->z, GZIP) == Z_OK;
    if (!x->inflating) {
        x->p = NULL;
        reader_free(x);
        fail(r, p);
        return;
    }
    http_answer_stream(
        r, status, type,
        &(struct http_stream){.len = plain, .read = read_plain, .done = reader_free, .arg = x});
}
