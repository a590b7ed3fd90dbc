/*
 * XML of strangers: whatever is read must be written, and what was written reads as the same.
 */
#include <assert.h>

#include "base/utf8.h"
#include "dicom/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct dset *a, const struct dset *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        const struct elem *x = &a->elems[i], *y = &b->elems[i];
        same = x->tag == y->tag && x->vr == y->vr && x->n_items == y->n_items &&
               x->left_out == y->left_out;
        for (size_t k = 0; same && k < x->n_items; k++) {
            same = is_same(x->items[k], y->items[k]);
        }
    }
    return same;
}

static struct bytes written(const struct dset *d, struct buf *b)
{
    static const struct json_opts o = {
        .bulk_prefix = {"/", 1}, .inline_max = UINT32_MAX, .group_length = true};

    struct str s;
    enum err   rc = dsxml_write(d, &o, b, NULL);
    bool       text = utf8_check((struct bytes){b->ptr, b->len}, &s);
    assert(rc == ERR_OK && text);
    return str_bytes(s);
}

/* Blocks of private attributes are settled by the first reading. */
static void check_written(const struct dset *d, struct arena *a)
{
    struct dset                 *again = NULL, *third = NULL;
    CLEANUP(buf_done) struct buf one, two;
    buf_init(&one, 64 << 20);
    buf_init(&two, 64 << 20);
    enum err rc = dsxml_parse(written(d, &one), a, &again, NULL);
    assert(rc == ERR_OK || rc == ERR_LIMIT);
    if (rc == ERR_OK) {
        rc = dsxml_parse(written(again, &two), a, &third, NULL);
        assert(rc == ERR_LIMIT || (rc == ERR_OK && is_same(again, third)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    struct dset                     *d = NULL;
    arena_init(&a, 16 << 20);
    if (dsxml_parse((struct bytes){data, size}, &a, &d, NULL) == ERR_OK) {
        check_written(d, &a);
    }
    return 0;
}
