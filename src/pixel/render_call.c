#include "pixel/render_call.h"

#include "pixel/worker_wire.h"

enum err pixel_render(struct pixel_pool *p, const struct render_args *a, struct bytes job,
                      struct render_size *ret, struct buf *out, struct errmsg *e)
{
    struct render_size     size = {0};
    const struct pixel_ask ask = {.op = PIXEL_OP_RENDER,
                                  .args = a,
                                  .args_len = sizeof(*a),
                                  .in = job,
                                  .ret = &size,
                                  .ret_len = sizeof(size)};
    enum err               rc = pixel_call(p, &ask, out, e);
    if (rc == ERR_OK && (size.w == 0 || size.h == 0 || size.w > LIMIT_PICTURE_SIDE ||
                         size.h > LIMIT_PICTURE_SIDE)) {
        rc = err_set(e, ERR_SYNTAX, "the pixel worker gave a picture of no size");
    }
    if (rc == ERR_OK) {
        *ret = size;
    }
    return rc;
}
