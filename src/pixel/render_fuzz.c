/* Attributes, tables, overlays and presentation states of any kind.  The first bytes: what is
 * wanted; the rest is a job of native frames. */
#include "base/cur.h"
#include "base/limits.h"
#include "pixel/render_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cur                   c = cur_of((struct bytes){data, len});
    unsigned                     bits = cur_u8(&c);
    struct render_args           a = {.has_window = bits & 1,
                                      .center = (int8_t)cur_u8(&c),
                                      .width = cur_u8(&c) + 1,
                                      .function = bits >> 1 & 1,
                                      .format = (bits >> 2) % PICTURE__COUNT,
                                      .view_w = cur_u8(&c),
                                      .view_h = cur_u8(&c),
                                      .x = cur_u8(&c),
                                      .w = (int8_t)cur_u8(&c),
                                      .delay_ms = 40,
                                      .syntax = "1.2.840.10008.1.2.1"};
    struct render_size           size;
    struct bytes                 job = cur_bytes(&c, cur_left(&c));
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 16 << 20);
    if (render_job_run(&a, job, NULL, &size, &out, NULL) == ERR_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < out.len; i++) {
            sum += out.ptr[i];
        }
        if (size.w == 0 || size.h == 0 || sum == 0) {
            __builtin_trap();
        }
    }
    return 0;
}
