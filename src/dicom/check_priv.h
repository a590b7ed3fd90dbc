#pragma once
/*
 * What the tests and fuzz targets of this module share: data sets compared, sums over everything a
 * view shows (so that a sanitizer sees every byte), sources that give a byte at a time.
 */
#include "base/limits.h"
#include "dicom/dspull.h"

/* Same elements and values.  With `vrs` off only values count: implicit VR forgets what was UN, and
 * OB from OW. */
static inline bool same_dset(const struct dset *a, const struct dset *b, bool vrs);

static inline bool same_elem(const struct elem *a, const struct elem *b, bool vrs)
{
    if (a->tag != b->tag || (vrs && a->vr != b->vr) || a->left_out != b->left_out ||
        a->encapsulated != b->encapsulated || a->n_items != b->n_items) {
        return false;
    }
    for (size_t i = 0; i < a->n_items; i++) {
        if (!same_dset(a->items[i], b->items[i], vrs)) {
            return false;
        }
    }
    /* An odd value is padded when it is written. */
    size_t n = a->value.len < b->value.len ? a->value.len : b->value.len;
    return a->value.len + (a->value.len & 1) == b->value.len + (b->value.len & 1) &&
           (n == 0 || memcmp(a->value.ptr, b->value.ptr, n) == 0);
}

/* Group lengths are dropped by writers and not compared. */
static inline size_t past_group_lengths(const struct dset *d, size_t i)
{
    while (i < d->n && (d->elems[i].tag & 0xFFFF) == 0) {
        i++;
    }
    return i;
}

static inline bool same_dset(const struct dset *a, const struct dset *b, bool vrs)
{
    size_t i = past_group_lengths(a, 0), k = past_group_lengths(b, 0);
    while (i < a->n && k < b->n) {
        if (!same_elem(&a->elems[i], &b->elems[k], vrs)) {
            return false;
        }
        i = past_group_lengths(a, i + 1);
        k = past_group_lengths(b, k + 1);
    }
    return i == a->n && k == b->n;
}

static inline uint64_t sum_bytes(uint64_t sum, struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        sum = (sum ^ b.ptr[i]) * 0x100000001B3U; // FNV-1a
    }
    return sum;
}

static inline uint64_t sum_dset(const struct dset *d)
{
    uint64_t sum = d->n;
    for (size_t i = 0; i < d->n; i++) {
        const struct elem *el = &d->elems[i];
        sum = sum_bytes(sum ^ el->tag ^ (uint64_t)el->vr << 32, el->value);
        for (size_t k = 0; k < el->n_items; k++) {
            sum = sum * 31 + sum_dset(el->items[k]);
        }
    }
    return sum;
}

/* Everything the tokenizer tells about a stream when its windows are `step` bytes long, but not
 * how values were cut into pieces.  *ret_rc is how it ended. */
static inline uint64_t sum_tokens(struct bytes in, const struct syntax *s, unsigned lenient,
                                  size_t step, enum err *ret_rc)
{
    struct dsread   r;
    struct ds_token t;
    uint64_t        sum = 0, fed = 0;
    enum err        rc;
    dsread_init(&r, s, lenient, 0);
    for (;;) {
        rc = dsread_next(&r, &t, NULL);
        if (rc == ERR_MORE && !r.last) {
            struct cur c = cur_of(in);
            (void)cur_bytes(&c, (size_t)fed);
            size_t n = cur_left(&c) < step ? cur_left(&c) : step;
            fed += n;
            dsread_feed(&r, fed - n, cur_bytes(&c, n), fed == in.len);
            continue;
        }
        if (rc != ERR_OK) {
            break;
        }
        if (t.kind == DS_DATA) {
            sum = sum_bytes(sum, t.data);
            continue;
        }
        sum = (sum ^ (uint64_t)t.kind ^ (uint64_t)t.depth << 8 ^ (uint64_t)t.vr << 16 ^
               (uint64_t)t.tag << 24) *
                  0x100000001B3U +
              t.at * 3 + t.offset * 5 + t.len * 7;
        if (t.kind == DS_END) {
            break;
        }
    }
    *ret_rc = rc;
    return sum ^ r.seen;
}
