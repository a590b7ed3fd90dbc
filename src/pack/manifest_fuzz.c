#include <assert.h>
#include <stdint.h>

#include "base/utf8.h"
#include "pack/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    assert(ok);
}

/* Whatever parses can be written, and the text of the second parse is the text of the first. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str       in;
    struct manifest *m = NULL, *again = NULL;
    struct errmsg    e = {0};
    struct bytes     one = {0}, two = {0};
    if (!utf8_check((struct bytes){data, size}, &in)) {
        in = (struct str){(const char *)data, size}; // the parser looks for itself
    }
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b, c;
    arena_init(&a, 64 << 20);
    buf_init(&b, 64 << 20);
    buf_init(&c, 64 << 20);
    if (manifest_parse(in, &a, &m, &e) != ERR_OK) {
        must(e.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct manifest_image *x = &m->images[i];
        must(x->image.data_at >= x->image.at);
        must(x->image.data_at - x->image.at <= x->image.size);
        for (uint32_t k = 0; x->frame_at != NULL && k < x->frames; k++) {
            must(x->frame_at[k] >= x->image.at && x->frame_len[k] <= x->image.size);
        }
    }
    manifest_write(m, &b);
    must(buf_end(&b, &one) == ERR_OK);
    must(manifest_parse((struct str){(const char *)one.ptr, one.len}, &a, &again, &e) == ERR_OK);
    manifest_write(again, &c);
    must(buf_end(&c, &two) == ERR_OK && bytes_eq(one, two));
    return 0;
}
