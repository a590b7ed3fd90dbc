/*
 * JSON of strangers: whatever is read must be written, and what was written reads as the same.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "dicom/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct dset *a, const struct dset *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct elem *x = &a->elems[i], *y = &b->elems[i];
        if (x->tag != y->tag || x->vr != y->vr || x->n_items != y->n_items ||
            x->left_out != y->left_out) {
            return false;
        }
        for (size_t k = 0; k < x->n_items; k++) {
            if (!is_same(x->items[k], y->items[k])) {
                return false;
            }
        }
    }
    return true;
}

static struct str written(const struct dset *d, struct buf *b)
{
    static const struct json_opts o = {
        .bulk_prefix = {"/", 1}, .inline_max = UINT32_MAX, .group_length = true};
    struct jsonw w;
    struct str   s = {0};
    jsonw_init(&w, b);
    enum err rc = dsjson_write(d, &o, &w, NULL);
    assert(rc == ERR_OK);
    bool text = utf8_check((struct bytes){b->ptr, b->len}, &s);
    assert(text);
    return s;
}

/* The first text may say less exactly what strings of numbers said; from then on nothing changes.
 */
static void check_written(const struct dset *d, struct arena *a)
{
    struct buf   b[3];
    struct dset *again = NULL, *third = NULL;
    for (size_t i = 0; i < 3; i++) {
        buf_init(&b[i], 64 << 20);
    }
    enum err rc = dsjson_parse(written(d, &b[0]), a, &again, NULL);
    assert(rc == ERR_OK || rc == ERR_LIMIT);
    if (rc == ERR_OK) {
        assert(is_same(d, again));
        struct str s = written(again, &b[1]);
        rc = dsjson_parse(s, a, &third, NULL);
        assert(rc == ERR_LIMIT || str_eq(written(third, &b[2]), s));
    }
    for (size_t i = 0; i < 3; i++) {
        buf_done(&b[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena  a;
    struct str    json;
    struct dset  *d = NULL, **list = NULL;
    size_t        n = 0;
    struct errmsg e = {0};
    if (!utf8_check((struct bytes){data, size}, &json)) {
        return 0;
    }
    arena_init(&a, 16 << 20);
    enum err rc = dsjson_parse(json, &a, &d, &e);
    assert((rc == ERR_OK) == (d != NULL) && rc == e.code);
    if (rc == ERR_OK) {
        check_written(d, &a);
    }
    if (dsjson_parse_list(json, &a, &list, &n, NULL) == ERR_OK) {
        for (size_t i = 0; i < n; i++) {
            assert(list[i] != NULL);
        }
    }
    arena_done(&a);
    return 0;
}
