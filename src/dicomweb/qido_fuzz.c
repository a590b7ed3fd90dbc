#include <assert.h>

#include "base/limits.h"
#include "dicom/json.h"
#include "dicom/match.h"
#include "dicomweb/qido.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood can be said, and asked: of itself. */
static void check(const struct qido *q, struct arena *a)
{
    CLEANUP(buf_done) struct buf out;
    struct jsonw                 w;
    struct match_opts            o = {.combined = true, .words = q->fuzzy};
    struct dset                 *again = NULL;
    assert(q->limit <= LIMIT_QIDO_PAGE && q->n_include <= URI_QUERIES);
    for (size_t i = 0; i < q->n_include; i++) {
        (void)dict_find(q->include[i]);
    }
    (void)is_match(q->keys, q->keys, &o);
    buf_init(&out, 16 << 20);
    jsonw_init(&w, &out);
    if (dsjson_write(q->keys, &(struct json_opts){.inline_max = 1 << 20}, &w, NULL) == ERR_OK) {
        assert(dsjson_parse((struct str){(const char *)out.ptr, out.len}, a, &again, NULL) !=
               ERR_SYNTAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    struct uri                       u;
    struct qido                      q;
    struct errmsg                    e = {0};
    arena_init(&a, LIMIT_HTTP_ARENA);
    if (uri_parse((struct bytes){data, size}, &a, &u, NULL) != ERR_OK) {
        return 0;
    }
    enum err rc = qido_parse(&u, &a, &q, &e);
    assert((rc == ERR_OK) == (e.code == ERR_OK));
    if (rc == ERR_OK) {
        check(&q, &a);
    }
    return 0;
}
