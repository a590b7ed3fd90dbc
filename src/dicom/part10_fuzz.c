#include <stdint.h>
#include <stdlib.h>

#include "dicom/check_priv.h"
#include "dicom/part10.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum_meta(const struct part10_meta *m)
{
    uint64_t sum = sum_bytes(0, str_bytes(m->class_uid));
    sum = sum_bytes(sum, str_bytes(m->sop_uid));
    sum = sum_bytes(sum, str_bytes(m->syntax_uid));
    sum = sum_bytes(sum, str_bytes(m->source_aet));
    sum = sum_bytes(sum, str_bytes(m->sending_aet));
    return sum_bytes(sum, str_bytes(m->receiving_aet));
}

/* What was understood can be written and is understood the same. */
static void check_written(const struct part10_meta *m)
{
    CLEANUP(buf_done) struct buf b;
    struct part10_meta           back;
    buf_init(&b, LIMIT_DSET);
    if (part10_write(m, &b, NULL) != ERR_OK ||
        part10_parse((struct bytes){b.ptr, b.len}, &back, NULL) != ERR_OK ||
        sum_meta(m) != sum_meta(&back) || back.size != b.len) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct bytes       in = {data, size};
    struct dsrc        src = dsrc_of_bytes(&in);
    struct parse_opts  o = {.lenient = LENIENT_ALL};
    struct part10_meta m;
    struct dset       *d;
    uint64_t           sum = 0;
    enum err           rc = part10_parse(in, &m, NULL);
    if (rc == ERR_OK) {
        if (m.size > size || m.syntax == NULL) {
            abort();
        }
        sum = sum_meta(&m);
        check_written(&m);
    }
    if (part10_read(&src, &o, &a, &m, &d, NULL) == ERR_OK) {
        sum ^= sum_dset(d) ^ sum_meta(&m);
    }
    return sum == 1;
}
