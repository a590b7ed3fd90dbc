#include <assert.h>

#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell(const struct multipart *m, enum multipart_what what, struct bytes piece,
                 struct buf *out)
{
    if (what == MULTIPART_DATA) {
        buf_add(out, piece);
    } else {
        buf_fmt(out, "<%d>", (int)what);
    }
    for (size_t i = 0; what == MULTIPART_HEAD && i < m->headers; i++) {
        buf_str(out, m->header[i].name);
        buf_str(out, m->header[i].value);
    }
}

static enum err feed(struct multipart *m, struct bytes in, struct buf *out)
{
    enum multipart_what what = MULTIPART_DONE;
    struct bytes        piece = {0};
    enum err            rc;
    while ((rc = multipart_next(m, &in, &what, &piece, NULL)) == ERR_OK) {
        tell(m, what, piece, out);
    }
    assert(rc != ERR_MORE || in.len == 0);
    return rc == ERR_MORE ? ERR_OK : rc;
}

/* All that is said, as bytes. */
static enum err run(struct bytes body, const uint8_t cuts[4], struct buf *out)
{
    CLEANUP(multipart_done) struct multipart m;
    enum err                                 rc = multipart_init(&m, STR("b"), NULL);
    size_t                                   at = 0, turn = 0;
    while (rc == ERR_OK && at < body.len) {
        size_t       left = body.len - at, step = 1 + (size_t)cuts[turn++ % 4];
        struct bytes in = {body.ptr + at, step < left ? step : left};
        at += in.len;
        rc = feed(&m, in, out);
    }
    return rc == ERR_OK ? multipart_end(&m, NULL) : rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t whole[4] = {255, 255, 255, 255};

    if (size < 4) {
        return 0;
    }
    CLEANUP(buf_done) struct buf a, b;
    buf_init(&a, SIZE_MAX);
    buf_init(&b, SIZE_MAX);
    enum err one = run((struct bytes){data + 4, size - 4}, whole, &a);
    enum err two = run((struct bytes){data + 4, size - 4}, data, &b);
    assert(one == two);
    if (one == ERR_OK) { // where the cuts are makes no difference
        assert(bytes_eq((struct bytes){a.ptr, a.len}, (struct bytes){b.ptr, b.len}));
    }
    return 0;
}
