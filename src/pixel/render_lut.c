/* Look-up tables: one descriptor, three numbers, for all of them (PS3.3 C.11.1.1.1). */
#include <inttypes.h>

#include "base/cur.h"
#include "pixel/render_priv.h"

/* Devices write more than the bits they announce: all that is there counts then. */
static uint32_t largest(const struct lut *l)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t v = lut_at(l, (double)l->first + i);
        max = v > max ? v : max;
    }
    return max;
}

enum err lut_parse(const struct dset *d, uint32_t descriptor, uint32_t data, bool is_signed,
                   struct lut *ret, struct errmsg *e)
{
    const struct elem *el = dset_find(d, data);
    struct lut         l = {0};
    int32_t            n, bits;
    if (!attr_short(d, descriptor, 0, false, &n) ||
        !attr_short(d, descriptor, 1, is_signed, &l.first) ||
        !attr_short(d, descriptor, 2, false, &bits) || el == NULL || el->value.len == 0) {
        return err_set(e, ERR_SYNTAX, "the table (%04X,%04X) is incomplete", data >> 16,
                       data & 0xFFFF);
    }
    l.p = el->value.ptr;
    l.n = n == 0 ? 65536 : (uint32_t)n;
    l.wide = bits > 8 || el->value.len / 2 >= l.n; // 8 bits, each in a word
    size_t there = l.wide ? el->value.len / 2 : el->value.len;
    l.n = l.n > there ? (uint32_t)there : l.n;
    if (l.n == 0 || bits < 1 || bits > 16) {
        return err_set(e, ERR_SYNTAX, "the table (%04X,%04X) has %zu entries of %" PRId32 " bits",
                       data >> 16, data & 0xFFFF, there, bits);
    }
    l.max = (1U << bits) - 1;
    uint32_t seen = largest(&l);
    while (l.max < seen) {
        l.max = l.max << 1 | 1;
    }
    *ret = l;
    return ERR_OK;
}

uint32_t lut_at(const struct lut *l, double v)
{
    double         at = v - l->first;
    uint32_t       i = at <= 0 ? 0 : at >= l->n - 1 ? l->n - 1 : (uint32_t)at;
    const uint8_t *p = l->p + (size_t)i * (l->wide ? 2 : 1);
    return l->wide ? (uint32_t)(p[0] | p[1] << 8) : *p;
}

/* ---- segments, PS3.3 C.7.9.2 */

struct segments {
    struct bytes all;
    bool         wide;
    uint16_t    *to;
    uint32_t     n, at;
    uint64_t     steps; // a table may point at itself again and again
};

static uint16_t seg_word(const struct segments *s, struct cur *c)
{
    return s->wide ? cur_u16le(c) : cur_u8(c);
}

static void seg_discrete(struct segments *s, struct cur *c, uint32_t len)
{
    for (uint32_t i = 0; i < len && s->at < s->n && c->err == ERR_OK; i++) {
        uint16_t v = seg_word(s, c);
        if (c->err == ERR_OK) {
            s->to[s->at++] = v;
        }
    }
}

static void seg_linear(struct segments *s, struct cur *c, uint32_t len)
{
    int32_t end = seg_word(s, c);
    if (s->at == 0 || c->err != ERR_OK) {
        cur_fail(c, ERR_SYNTAX); // nothing to begin at
        return;
    }
    int32_t from = s->to[s->at - 1];
    for (uint32_t i = 1; i <= len && s->at < s->n; i++) {
        double v = from + (double)(end - from) * i / len;
        s->to[s->at++] = (uint16_t)(v + 0.5);
    }
}

static void seg_run(struct segments *s, struct cur *c, bool indirect, uint32_t max);

static void seg_indirect(struct segments *s, struct cur *c, uint32_t count)
{
    uint32_t   lo = s->wide ? cur_u16le(c) : cur_u8(c) | (uint32_t)cur_u8(c) << 8;
    uint32_t   hi = s->wide ? cur_u16le(c) : cur_u8(c) | (uint32_t)cur_u8(c) << 8;
    uint32_t   offset = hi << 16 | lo; // in bytes
    struct cur sub = cur_of(s->all);
    (void)cur_bytes(&sub, offset);
    if (c->err == ERR_OK) {
        seg_run(s, &sub, true, count);
        c->err = sub.err != ERR_OK ? ERR_SYNTAX : c->err;
    }
}

static void seg_run(struct segments *s, struct cur *c, bool indirect, uint32_t max)
{
    enum { DISCRETE, LINEAR, INDIRECT };

    for (uint32_t k = 0; k < max && s->at < s->n && cur_left(c) > 0; k++) {
        uint16_t op = seg_word(s, c);
        uint16_t len = seg_word(s, c);
        if (++s->steps > LIMIT_LUT_SEGMENTS || op > INDIRECT || (op == INDIRECT && indirect)) {
            cur_fail(c, ERR_SYNTAX);
        } else if (op == DISCRETE) {
            seg_discrete(s, c, len);
        } else if (op == LINEAR) {
            seg_linear(s, c, len);
        } else {
            seg_indirect(s, c, len);
        }
        if (c->err != ERR_OK) {
            return;
        }
    }
}

enum err lut_expand(struct bytes segments, bool wide, uint16_t *to, uint32_t n, struct errmsg *e)
{
    struct segments s = {.all = segments, .wide = wide, .n = n};
    struct cur      c = cur_of(segments);
    s.to = to;
    seg_run(&s, &c, false, UINT32_MAX);
    if (c.err != ERR_OK || s.at != n) {
        return err_set(e, ERR_SYNTAX, "a segmented table gives %" PRIu32 " of %" PRIu32 " entries",
                       s.at, n);
    }
    return ERR_OK;
}
