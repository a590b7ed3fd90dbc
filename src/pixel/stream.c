#include "pixel/stream.h"

#include <inttypes.h>

#include "base/cur.h"

enum {
    SOI = 0xFFD8,
    SOF0 = 0xC0,
    SOF2 = 0xC2,
    SOF3 = 0xC3,
    DHT = 0xC4,
    JPG = 0xC8,
    DAC = 0xCC,
    SOF15 = 0xCF,
    RST0 = 0xD0,
    EOI = 0xD9,
    SOS = 0xDA,
    APP0 = 0xE0,
    APP14 = 0xEE,
    SOF55 = 0xF7, // JPEG-LS
    TEM = 0x01,

    SOC = 0xFF4F,
    CAP = 0xFF50,
    SIZ = 0xFF51,
    COD = 0xFF52,
    SOT = 0xFF90,
    SOD = 0xFF93,
    TLM = 0xFF55,
    EOC = 0xFFD9,

    TLM_BYTES = 12, // marker, length, index, sizes of the fields, a length of four bytes
    BITS_MAX = 38,  // T.800 table A.11
};

static enum err cut_short(struct errmsg *e, const char *what)
{
    return err_set(e, ERR_SYNTAX, "the %s stream ends, or is broken, in its head", what);
}

/* T.81 B.1.1.2: any number of FF may come before a marker. */
static uint8_t next_marker(struct cur *c)
{
    uint8_t b = cur_u8(c);
    if (b != 0xFF) {
        cur_fail(c, ERR_SYNTAX);
    }
    while (b == 0xFF) {
        b = cur_u8(c);
    }
    return b;
}

static bool is_sof(uint8_t m)
{
    return m == SOF55 || (m >= SOF0 && m <= SOF15 && m != DHT && m != JPG && m != DAC);
}

static enum err sof(uint8_t marker, struct cur *c, struct stream *s, struct errmsg *e)
{
    s->bits = cur_u8(c);
    s->rows = cur_u16be(c);
    s->cols = cur_u16be(c);
    s->samples = cur_u8(c);
    uint8_t id[3] = {0};
    bool    subsampled = false;
    for (unsigned i = 0; i < s->samples; i++) {
        uint8_t name = cur_u8(c);
        uint8_t factors = cur_u8(c);
        (void)cur_u8(c); // quantisation table
        id[i < 3 ? i : 2] = name;
        subsampled = subsampled || (factors != 0x11 && s->samples > 1);
    }
    if (c->err != ERR_OK || s->samples == 0 || s->cols == 0 || s->bits == 0) {
        return cut_short(e, "JPEG");
    }
    if (s->rows == 0) {
        return err_set(e, ERR_UNSUPPORTED, "a JPEG stream that tells its height at the end");
    }
    s->kind = marker == SOF55  ? STREAM_JPEG_LS
              : marker == SOF3 ? STREAM_JPEG_LOSSLESS
                               : STREAM_JPEG_DCT;
    if (marker > SOF3 && marker != SOF55) {
        return err_set(e, ERR_UNSUPPORTED, "hierarchical or arithmetic JPEG (SOF%u)",
                       marker - SOF0);
    }
    s->rgb = s->rgb || (id[0] == 'R' && id[1] == 'G' && id[2] == 'B');
    /* Nobody leaves out half of the red: such a stream has chroma, whatever the data set says. */
    s->ycc = (s->ycc || subsampled) && !s->rgb;
    return ERR_OK;
}

static void app(uint8_t marker, struct cur *c, struct stream *s)
{
    struct bytes b = cur_bytes(c, cur_left(c));
    if (marker == APP0 && b.len >= 5 && memcmp(b.ptr, "JFIF", 5) == 0) {
        s->ycc = true;
    } else if (marker == APP14 && b.len >= 12 && memcmp(b.ptr, "Adobe", 5) == 0) {
        s->rgb = b.ptr[11] == 0;
        s->ycc = b.ptr[11] == 1;
    }
}

enum err jpeg_head(struct bytes in, struct stream *ret, struct errmsg *e)
{
    struct cur    c = cur_of(in);
    struct stream s = {.data = in};
    if (cur_u16be(&c) != SOI) {
        return err_set(e, ERR_SYNTAX, "no JPEG stream");
    }
    while (c.err == ERR_OK) {
        uint8_t m = next_marker(&c);
        if (m == TEM || (m >= RST0 && m < SOI - 0xFF00)) {
            continue; // without a segment
        }
        if (m == SOS || m == EOI) {
            return err_set(e, ERR_SYNTAX, "a JPEG stream without a frame header");
        }
        uint16_t len = cur_u16be(&c);
        if (len < 2) {
            cur_fail(&c, ERR_SYNTAX);
        }
        struct cur segment = cur_sub(&c, len < 2 ? 0 : len - 2U);
        if (c.err == ERR_OK && is_sof(m)) {
            enum err rc = sof(m, &segment, &s, e);
            s.out_cols = s.cols;
            s.out_rows = s.rows;
            *ret = rc == ERR_OK ? s : *ret;
            return rc;
        }
        app(m, &segment, &s);
    }
    return cut_short(e, "JPEG");
}

/* T.800 annex I: the codestream in a JP2 file, which PS3.5 A.4.4 forbids and devices write. */
static struct bytes unwrap(struct bytes in)
{
    static const uint8_t signature[] = {0, 0, 0, 12, 'j', 'P', ' ', ' '};
    struct cur           c = cur_of(in);
    if (in.len < sizeof(signature) || memcmp(in.ptr, signature, sizeof(signature)) != 0) {
        return in;
    }
    while (c.err == ERR_OK) {
        uint32_t len = cur_u32be(&c);
        uint32_t type = cur_u32be(&c);
        uint64_t body = len - 8ULL;
        if (len == 1) {
            uint64_t high = cur_u32be(&c);
            body = (high << 32 | cur_u32be(&c)) - 16;
        } else if (len == 0) {
            body = cur_left(&c);
        }
        if (type == 0x6A703263) { // jp2c
            return cur_bytes(&c, body < cur_left(&c) ? (size_t)body : cur_left(&c));
        }
        (void)cur_bytes(&c, body <= cur_left(&c) ? (size_t)body : SIZE_MAX);
    }
    return (struct bytes){0};
}

static uint32_t reduced(uint32_t n, uint32_t by)
{
    return (uint32_t)(((uint64_t)n + (1ULL << by) - 1) >> by);
}

struct extent {
    uint32_t x1, y1, x0, y0;
    bool     whole; // one tile, at the origin
};

static enum err siz(struct cur *c, struct stream *s, struct extent *x, struct errmsg *e)
{
    (void)cur_u16be(c); // capabilities: the CAP marker has them
    x->x1 = cur_u32be(c);
    x->y1 = cur_u32be(c);
    x->x0 = cur_u32be(c);
    x->y0 = cur_u32be(c);
    uint32_t tile_cols = cur_u32be(c);
    uint32_t tile_rows = cur_u32be(c);
    uint32_t tile_x0 = cur_u32be(c);
    uint32_t tile_y0 = cur_u32be(c);
    x->whole = (x->x0 | x->y0 | tile_x0 | tile_y0) == 0 && tile_cols >= x->x1 && tile_rows >= x->y1;
    s->samples = cur_u16be(c);
    bool alike = true, whole = true;
    for (unsigned i = 0; i < s->samples && c->err == ERR_OK; i++) {
        uint8_t depth = cur_u8(c);
        uint8_t dx = cur_u8(c);
        uint8_t dy = cur_u8(c);
        uint8_t bits = (uint8_t)((depth & 0x7F) + 1);
        alike = alike && (i == 0 || (bits == s->bits && (depth >> 7 != 0) == s->is_signed));
        whole = whole && dx == 1 && dy == 1;
        s->bits = bits;
        s->is_signed = depth >> 7 != 0;
    }
    if (c->err != ERR_OK || s->samples == 0 || x->x1 <= x->x0 || x->y1 <= x->y0 ||
        s->bits > BITS_MAX) {
        return cut_short(e, "JPEG 2000");
    }
    s->cols = x->x1 - x->x0;
    s->rows = x->y1 - x->y0;
    return alike && whole
               ? ERR_OK
               : err_set(e, ERR_UNSUPPORTED, "a JPEG 2000 stream with samples of several sizes");
}

static void cod(struct cur *c, struct stream *s)
{
    (void)cur_bytes(c, 4); // style, progression, layers
    s->mct = cur_u8(c) == 1;
    s->levels = cur_u8(c);
    s->levels = s->levels > 32 ? 32 : s->levels; // T.800 table A.15
}

/* From the first SOT marker on: what is there in the tile-parts is there as a whole.  The libraries
 * make pixels up for what is not. */
static enum err check_parts(struct bytes b, size_t at, struct errmsg *e)
{
    while (b.len > 0 && b.ptr[b.len - 1] == 0) { // padding
        b.len--;
    }
    bool ended = b.len >= 2 && b.ptr[b.len - 2] == 0xFF && b.ptr[b.len - 1] == 0xD9;
    for (unsigned parts = 1;; parts++) {
        if (at > b.len) { // of a part whose last bytes are 0, and no end of codestream
            break;
        }
        struct cur c = cur_of((struct bytes){b.ptr + at, b.len - at});
        uint16_t   m = cur_u16be(&c);
        if (m == EOC || (m != SOT && parts == 2)) {
            return ERR_OK;
        }
        (void)cur_bytes(&c, 4);
        uint32_t len = cur_u32be(&c);
        if (m != SOT || c.err != ERR_OK || (len == 0 && !ended)) {
            break;
        }
        if (len == 0) {
            return ERR_OK;
        }
        if (len < 14 || len > b.len - at) {
            break;
        }
        at += len;
    }
    return err_set(e, ERR_SYNTAX, "the JPEG 2000 stream is cut off");
}

enum err j2k_head(struct bytes in, uint32_t reduce, struct stream *ret, struct errmsg *e)
{
    struct stream s = {.data = unwrap(in), .kind = STREAM_J2K};
    struct cur    c = cur_of(s.data);
    struct extent x = {0};
    if (cur_u16be(&c) != SOC) {
        return err_set(e, ERR_SYNTAX, "no JPEG 2000 stream");
    }
    for (uint16_t m = cur_u16be(&c); m != SOT; m = cur_u16be(&c)) {
        uint16_t   len = cur_u16be(&c);
        struct cur segment = cur_sub(&c, len < 2 ? SIZE_MAX : len - 2U);
        if (c.err != ERR_OK || m == SOD) {
            return cut_short(e, "JPEG 2000");
        }
        if (m == CAP) {
            s.kind = STREAM_HTJ2K;
        } else if (m == COD) {
            cod(&segment, &s);
        } else if (m == SIZ) {
            enum err rc = siz(&segment, &s, &x, e);
            if (rc != ERR_OK) {
                return rc;
            }
        }
    }
    if (s.samples == 0) {
        return cut_short(e, "JPEG 2000");
    }
    uint32_t side = s.cols > s.rows ? s.cols : s.rows;
    s.plain = x.whole && (s.levels == 0 || reduced(side, s.levels - 1U) > 1);
    s.reduce = reduce < s.levels ? reduce : s.levels;
    s.out_cols = reduced(x.x1, s.reduce) - reduced(x.x0, s.reduce);
    s.out_rows = reduced(x.y1, s.reduce) - reduced(x.y0, s.reduce);
    enum err rc = check_parts(s.data, s.data.len - cur_left(&c) - 2, e);
    *ret = rc == ERR_OK ? s : *ret;
    return rc;
}

enum err j2k_add_tlm(struct buf *b, size_t at, struct errmsg *e)
{
    struct bytes stream;
    enum err     rc = buf_end(b, &stream);
    if (rc != ERR_OK || at > stream.len) {
        return err_set(e, rc == ERR_OK ? ERR_SYNTAX : rc, "no codestream to mark");
    }
    struct cur c = cur_of((struct bytes){stream.ptr + at, stream.len - at});
    (void)cur_u16be(&c);
    uint16_t m = cur_u16be(&c);
    while (c.err == ERR_OK && m != SOT) {
        uint16_t len = cur_u16be(&c);
        (void)cur_bytes(&c, len < 2 ? SIZE_MAX : len - 2U);
        m = cur_u16be(&c);
    }
    size_t   sot = stream.len - cur_left(&c) - 2;
    size_t   rest = stream.len - sot;
    uint16_t len = cur_u16be(&c);
    (void)cur_u16be(&c); // tile
    uint32_t part = cur_u32be(&c);
    if (c.err != ERR_OK || len != 10) {
        return cut_short(e, "JPEG 2000");
    }
    /* T.800 A.4.2: 0, up to the end of the codestream, of two bytes. */
    part = part == 0 && rest <= UINT32_MAX ? (uint32_t)(rest - 2) : part;
    if (part + 2ULL != rest) {
        return err_set(e, ERR_UNSUPPORTED, "a codestream of several tile-parts");
    }
    if (buf_grow(b, TLM_BYTES) == NULL) {
        return err_set(e, b->err, "no room for the TLM marker");
    }
    const uint8_t tlm[TLM_BYTES] = {TLM >> 8,
                                    TLM & 0xFF,
                                    0,
                                    TLM_BYTES - 2,
                                    0,    // the first TLM
                                    0x60, // tiles in two bytes, lengths in four
                                    0,
                                    0,
                                    (uint8_t)(part >> 24),
                                    (uint8_t)(part >> 16),
                                    (uint8_t)(part >> 8),
                                    (uint8_t)part};
    memmove(b->ptr + sot + TLM_BYTES, b->ptr + sot, rest);
    memcpy(b->ptr + sot, tlm, TLM_BYTES);
    return ERR_OK;
}
