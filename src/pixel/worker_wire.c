#include "pixel/worker_wire.h"

struct wire_image wire_of_image(const struct image *i)
{
    return (struct wire_image){
        .cols = i->cols,
        .rows = i->rows,
        .samples = i->samples,
        .allocated = i->allocated,
        .stored = i->stored,
        .high_bit = i->high_bit,
        .is_signed = i->is_signed,
        .planar = i->planar,
        .photometric = i->photometric,
        .kind = i->kind,
    };
}

enum err image_of_wire(const struct wire_image *w, struct image *ret, struct errmsg *e)
{
    bool ok = w->samples <= 4 && w->allocated <= 64 && w->stored <= w->allocated &&
              w->high_bit < 64 && w->is_signed <= 1 && w->planar <= 1 &&
              w->photometric < PHOTO__COUNT && w->kind <= SAMPLE_DOUBLE;
    if (!ok) {
        return err_set(e, ERR_SYNTAX, "no image: %ux%u, %u samples of %u bits", w->cols, w->rows,
                       w->samples, w->allocated);
    }
    *ret = (struct image){
        .cols = w->cols,
        .rows = w->rows,
        .samples = (uint16_t)w->samples,
        .allocated = (uint16_t)w->allocated,
        .stored = (uint16_t)w->stored,
        .high_bit = (uint16_t)w->high_bit,
        .is_signed = w->is_signed == 1,
        .planar = w->planar == 1,
        .photometric = (enum photometric)w->photometric,
        .kind = (enum sample_kind)w->kind,
    };
    return ERR_OK;
}
