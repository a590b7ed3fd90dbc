/* PS3.5 annex G: PackBits of each byte of the samples, most significant bytes first. */
#include <inttypes.h>

#include "base/cur.h"
#include "pixel/codec_priv.h"

enum { HEAD = 64, SEGMENTS_MAX = 15, RUN_MAX = 128 };

/* Where the bytes of a segment lie in the frame: every `step`-th from `first`. */
struct plane {
    size_t first, step, n;
};

static unsigned segments_of(const struct image *i)
{
    return i->allocated == 1 ? 1 : (unsigned)(i->samples * sample_bytes(i));
}

static struct plane plane_of(const struct image *i, unsigned segment)
{
    if (i->allocated == 1) {
        return (struct plane){0, 1, ((size_t)i->cols * i->rows + 7) / 8};
    }
    size_t width = sample_bytes(i);
    return (struct plane){segment / width * width + (width - 1 - segment % width),
                          width * i->samples, (size_t)i->cols * i->rows};
}

static void literal(struct bytes b, size_t step, uint8_t *to)
{
    if (step == 1 && b.len > 0) {
        memcpy(to, b.ptr, b.len);
        return;
    }
    for (size_t k = 0; k < b.len; k++) {
        to[k * step] = b.ptr[k];
    }
}

static void repeat(uint8_t v, size_t n, size_t step, uint8_t *to)
{
    if (step == 1) {
        memset(to, v, n);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        to[k * step] = v;
    }
}

/* G.3.2. */
static enum err unpack(struct cur *c, const struct plane *p, uint8_t *px)
{
    size_t at = 0;
    while (at < p->n && c->err == ERR_OK) {
        uint8_t  head = cur_u8(c);
        size_t   n = head < 128 ? head + 1U : head > 128 ? 257U - head : 0;
        uint8_t *to = px + p->first + at * p->step;
        n = n < p->n - at ? n : p->n - at; // some fill the last run
        if (head < 128) {
            literal(cur_bytes(c, n), p->step, to);
        } else if (n > 0) {
            repeat(cur_u8(c), n, p->step, to);
        }
        at += n;
    }
    return c->err;
}

enum err rle_decode(struct bytes in, const struct image *i, uint8_t *px, struct errmsg *e)
{
    struct cur c = cur_of(in);
    struct cur head = cur_sub(&c, HEAD);
    uint32_t   n = cur_u32le(&head);
    unsigned   want = segments_of(i);
    if (c.err != ERR_OK || n != want || n > SEGMENTS_MAX) {
        return err_set(e, ERR_SYNTAX, "an RLE frame of %" PRIu32 " segments, %u are needed",
                       c.err == ERR_OK ? n : 0, want);
    }
    uint32_t at = cur_u32le(&head);
    for (unsigned s = 0; s < n; s++) {
        uint32_t next = s + 1 < n ? cur_u32le(&head) : 0;
        uint64_t end = s + 1 < n ? next : in.len;
        if (at < HEAD || at > end || end > in.len) {
            return err_set(e, ERR_SYNTAX, "RLE segment %u lies at %" PRIu32 " to %" PRIu64, s + 1,
                           at, end);
        }
        struct cur   segment = cur_of((struct bytes){in.ptr + at, (size_t)end - at});
        struct plane p = plane_of(i, s);
        if (unpack(&segment, &p, px) != ERR_OK) {
            return err_set(e, ERR_SYNTAX, "RLE segment %u ends before its pixels do", s + 1);
        }
        at = next;
    }
    return ERR_OK;
}

static size_t run_at(const uint8_t *row, size_t k, size_t n)
{
    size_t run = 1;
    while (k + run < n && run < RUN_MAX && row[k + run] == row[k]) {
        run++;
    }
    return run;
}

/* One row, G.3.1: runs of three and more, what lies between them as it is.  to has room for the
 * worst, `packed_max`. */
static size_t pack_row(const uint8_t *row, size_t n, uint8_t *to)
{
    uint8_t *q = to;
    for (size_t k = 0; k < n;) {
        size_t run = run_at(row, k, n);
        if (run >= 3) {
            *q++ = (uint8_t)(257 - run);
            *q++ = row[k];
            k += run;
            continue;
        }
        size_t end = k + 1;
        while (end < n && end - k < RUN_MAX &&
               !(end + 2 < n && row[end] == row[end + 1] && row[end] == row[end + 2])) {
            end++;
        }
        *q++ = (uint8_t)(end - k - 1);
        memcpy(q, row + k, end - k);
        q += end - k;
        k = end;
    }
    return (size_t)(q - to);
}

static size_t packed_max(size_t n)
{
    return n + n / RUN_MAX + 1;
}

/* One segment, row after row; row: room for one. */
static void pack(const struct image *i, const uint8_t *px, const struct plane *p, uint8_t *row,
                 struct buf *out)
{
    const uint8_t *from = px + p->first;
    size_t         width = i->allocated == 1 ? p->n : i->cols;
    for (size_t left = p->n; left > 0; left -= width) {
        uint8_t *to = buf_grow(out, packed_max(width));
        if (to == NULL) {
            return;
        }
        const uint8_t *bytes = from;
        if (p->step > 1) {
            for (size_t k = 0; k < width; k++) {
                row[k] = from[k * p->step];
            }
            bytes = row;
        }
        out->len -= packed_max(width) - pack_row(bytes, width, to);
        from += left > width ? width * p->step : 0;
    }
}

enum err rle_encode(const struct pixels *p, struct image *ret, struct buf *out, struct errmsg *e)
{
    (void)ret;
    const struct image *i = &p->image;
    unsigned            n = segments_of(i);
    if (n > SEGMENTS_MAX) {
        return err_set(e, ERR_UNSUPPORTED, "RLE has no room for %u segments", n);
    }
    size_t                       start = out->len;
    CLEANUP(buf_done) struct buf row;
    buf_init(&row, (size_t)i->cols + 1);
    uint8_t *bytes = buf_grow(&row, i->cols);
    uint8_t *head = buf_grow(out, HEAD);
    if (head == NULL || bytes == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for an RLE frame");
    }
    memset(head, 0, HEAD);
    buf_patch_u32le(out, start, n);
    for (unsigned s = 0; s < n; s++) {
        struct plane plane = plane_of(i, s);
        buf_patch_u32le(out, start + 4 + 4 * (size_t)s, (uint32_t)(out->len - start));
        pack(i, p->px, &plane, bytes, out);
        if ((out->len - start) % 2 != 0) {
            buf_u8(out, 0); // G.4: even segments; 0 is the head of a run that nobody reads
        }
    }
    return ERR_OK;
}
