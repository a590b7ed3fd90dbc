#include "dicom/dspull.h"

enum {
    WINDOW = 64 << 10,
    WINDOW_FIRST = 8 << 10, // most headers of images end here, and are followed by a jump
};

static enum err mem_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                         struct errmsg *e)
{
    (void)e;
    struct cur c = cur_of(*(const struct bytes *)ctx);
    if (at > cur_left(&c)) {
        at = cur_left(&c);
    }
    (void)cur_bytes(&c, (size_t)at);
    size_t take = n < cur_left(&c) ? n : cur_left(&c);
    if (take > 0) {
        memcpy(to, c.p, take);
    }
    *ret_n = take;
    return ERR_OK;
}

struct dsrc dsrc_of_bytes(const struct bytes *b)
{
    return (struct dsrc){.read = mem_read, .ctx = (void *)b, .size = b->len};
}

static enum err slice_read(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n,
                           struct errmsg *e)
{
    const struct dsrc_slice *s = ctx;
    uint64_t                 left = at < s->len ? s->len - at : 0;
    if (n > left) {
        n = (size_t)left;
    }
    if (n == 0) {
        *ret_n = 0;
        return ERR_OK;
    }
    return s->base.read(s->base.ctx, s->at + at, to, n, ret_n, e);
}

enum err dsrc_read_full(const struct dsrc *src, uint64_t at, void *to, size_t n, size_t *ret_n,
                        struct errmsg *e)
{
    size_t   got = 0, k = 1;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && got < n && k > 0) {
        rc = src->read(src->ctx, at + got, (uint8_t *)to + got, n - got, &k, e);
        got += rc == ERR_OK ? k : 0;
    }
    *ret_n = got;
    return rc;
}

struct dsrc dsrc_of_slice(struct dsrc_slice *s, struct dsrc base, uint64_t at, uint64_t len)
{
    *s = (struct dsrc_slice){.base = base, .at = at, .len = len};
    return (struct dsrc){.read = slice_read, .ctx = s, .size = len};
}

enum err dspull_init(struct dspull *p, const struct dsrc *src, uint64_t at, const struct syntax *s,
                     unsigned lenient, struct errmsg *e)
{
    p->src = *src;
    p->at = at;
    p->z = NULL;
    p->rest = (struct bytes){0};
    p->grown = false;
    p->no_jump = false;
    p->torn = false;
    buf_init(&p->window, WINDOW);
    buf_init(&p->packed, WINDOW);
    dsread_init(&p->r, s, lenient, s->deflated ? 0 : at);
    bool ok = buf_grow(&p->window, WINDOW) != NULL;
    if (ok && s->deflated) {
        p->z = inflate_new();
        ok = p->z != NULL && buf_grow(&p->packed, WINDOW) != NULL;
    }
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a window");
}

void dspull_done(struct dspull *p)
{
    deflate_free(p->z);
    p->z = NULL;
    buf_done(&p->window);
    buf_done(&p->packed);
}

/* Nothing at `want`: is that the end of the source, or did a jump go past it? */
static enum err end_of_source(struct dspull *p, uint64_t base, uint64_t want, struct errmsg *e)
{
    if (want == base || (p->src.size >= base && p->src.size <= want)) {
        uint64_t at = p->src.size < want && want != base ? p->src.size : want;
        dsread_feed(&p->r, at, (struct bytes){0}, true);
        return ERR_OK;
    }
    size_t   n;
    uint8_t  probe;
    enum err rc = p->src.read(p->src.ctx, want - 1, &probe, 1, &n, e);
    if (rc == ERR_OK && n == 1) {
        dsread_feed(&p->r, want, (struct bytes){0}, true);
    }
    p->no_jump = n == 0; // go on in small steps, to find the end
    return rc;
}

static enum err refill_plain(struct dspull *p, struct errmsg *e)
{
    uint64_t base = p->r.pos + p->r.held;
    uint64_t want = p->no_jump ? base : dsread_want(&p->r);
    size_t   n = 0;
    p->grown = p->grown && want == base;
    enum err rc = p->src.read(p->src.ctx, want, p->window.ptr,
                              p->grown ? p->window.len : WINDOW_FIRST, &n, e);
    p->grown = true;
    if (rc != ERR_OK) {
        return rc;
    }
    if (n == 0) {
        return end_of_source(p, base, want, e);
    }
    dsread_feed(&p->r, want, (struct bytes){p->window.ptr, n}, false);
    return ERR_OK;
}

static enum err refill_packed(struct dspull *p, bool *ret_end, struct errmsg *e)
{
    size_t   n;
    enum err rc = p->src.read(p->src.ctx, p->at, p->packed.ptr, p->packed.len, &n, e);
    if (rc == ERR_OK) {
        p->rest = (struct bytes){p->packed.ptr, n};
        p->at += n;
        p->torn = n == 0;
        *ret_end = p->torn;
    }
    return rc;
}

/* Fill the window with inflated bytes: none at the end. */
static enum err inflate_window(struct dspull *p, size_t *ret_n, bool *ret_end, struct errmsg *e)
{
    struct deflate_io io = {.in = p->rest, .out = p->window.ptr, .room = p->window.len};
    enum err          rc = ERR_OK;
    while (rc == ERR_OK && io.n == 0 && !io.end) {
        rc = deflate_run(p->z, &io, e);
        if (rc == ERR_OK && io.n == 0 && !io.end && io.in.len == 0) {
            rc = refill_packed(p, &io.end, e);
            io.in = p->rest;
        }
    }
    p->rest = io.in;
    *ret_n = io.n;
    *ret_end = io.end;
    return rc;
}

static enum err refill_inflated(struct dspull *p, struct errmsg *e)
{
    size_t   n;
    bool     end;
    enum err rc = inflate_window(p, &n, &end, e);
    if (rc == ERR_OK) {
        dsread_feed(&p->r, p->r.pos + p->r.held, (struct bytes){p->window.ptr, n}, end);
    }
    return rc;
}

enum err dspull_raw(struct dspull *p, struct bytes *ret, struct errmsg *e)
{
    size_t   n = 0;
    bool     end = false;
    enum err rc = ERR_OK;
    if (p->z != NULL) {
        rc = p->r.last ? ERR_OK : inflate_window(p, &n, &end, e);
        p->r.last = end || p->r.last;
        if (rc == ERR_OK && p->torn) {
            rc = err_set(e, ERR_SYNTAX, "deflated data set is cut short");
        }
    } else {
        rc = p->src.read(p->src.ctx, p->at, p->window.ptr, p->window.len, &n, e);
    }
    if (rc == ERR_OK) {
        p->at += p->z == NULL ? n : 0;
        *ret = (struct bytes){p->window.ptr, n};
    }
    return rc;
}

enum err dspull_next(struct dspull *p, struct ds_token *ret, struct errmsg *e)
{
    for (;;) {
        enum err rc = dsread_next(&p->r, ret, e);
        if (rc != ERR_MORE || p->r.last) {
            return rc;
        }
        rc = p->z != NULL ? refill_inflated(p, e) : refill_plain(p, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
}
