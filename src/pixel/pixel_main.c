/*
 * garonne-pixel: the process in which codecs and rendering run, started by pixel/worker.c and of no
 * use by itself.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "pixel/render_job.h"
#include "pixel/worker_wire.h"

static struct str uid_of(const char z[WIRE_UID])
{
    return (struct str){z, strnlen(z, WIRE_UID)};
}

static enum err find_syntax(const char z[WIRE_UID], const struct codec_syntax **ret,
                            struct errmsg *e)
{
    *ret = codec_of(uid_of(z));
    return *ret != NULL ? ERR_OK
                        : err_set(e, ERR_UNSUPPORTED, "no codec for transfer syntax %.*s",
                                  STR_ARG(uid_of(z)));
}

static enum err op_decode(const void *args, struct bytes in, void *ret, struct buf *out,
                          struct errmsg *e)
{
    const struct wire_decode  *a = args;
    const struct codec_syntax *s;
    struct codec_opts          o = {.reduce = a->reduce};
    struct codec_in            c = {.data = in, .opts = &o};
    struct image               got;
    enum err                   rc = find_syntax(a->syntax, &s, e);
    rc = rc == ERR_OK ? image_of_wire(&a->said, &c.image, e) : rc;
    rc = rc == ERR_OK ? codec_decode(s, &c, &got, out, e) : rc;
    if (rc == ERR_OK) {
        *(struct wire_image *)ret = wire_of_image(&got);
    }
    return rc;
}

static enum err op_encode(const void *args, struct bytes in, void *ret, struct buf *out,
                          struct errmsg *e)
{
    const struct wire_encode  *a = args;
    const struct codec_syntax *s;
    struct codec_opts          o = {.quality = a->quality, .levels = a->levels};
    struct codec_in            c = {.data = in, .opts = &o};
    struct image               got;
    enum err                   rc = find_syntax(a->syntax, &s, e);
    rc = rc == ERR_OK ? image_of_wire(&a->image, &c.image, e) : rc;
    rc = rc == ERR_OK ? codec_encode(s, &c, &got, out, e) : rc;
    if (rc == ERR_OK) {
        *(struct wire_image *)ret = wire_of_image(&got);
    }
    return rc;
}

static enum err decode(struct str syntax_uid, const struct image *said, struct bytes stream,
                       struct image *ret, struct buf *out, struct errmsg *e)
{
    const struct codec_syntax *s = codec_of(syntax_uid);
    const struct codec_in      in = {.image = *said, .data = stream};
    return s != NULL ? codec_decode(s, &in, ret, out, e)
                     : err_set(e, ERR_UNSUPPORTED, "no codec for transfer syntax %.*s",
                               STR_ARG(syntax_uid));
}

static enum err op_render(const void *args, struct bytes in, void *ret, struct buf *out,
                          struct errmsg *e)
{
    return render_job_run(args, in, decode, ret, out, e);
}

static const struct pixel_op_row ops[] = {
    {PIXEL_OP_DECODE, sizeof(struct wire_decode), sizeof(struct wire_image), op_decode},
    {PIXEL_OP_ENCODE, sizeof(struct wire_encode), sizeof(struct wire_image), op_encode},
    {PIXEL_OP_RENDER, sizeof(struct render_args), sizeof(struct render_size), op_render},
};

int main(void)
{
    int       type = 0;
    socklen_t n = sizeof(type);
    if (getsockopt(WIRE_SOCK, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_SEQPACKET) {
        (void)fputs("garonne-pixel is started by garonne, not by hand\n", stderr);
        return 2;
    }
    return pixel_worker_run(ops, sizeof(ops) / sizeof(ops[0]));
}
