#pragma once
/*
 * Re-encode a data set between implicit little, explicit little, explicit big endian and deflated,
 * streaming: constant memory for any size.  Pixel data and all other values are kept; encapsulated
 * pixel data cannot become native here (the codec modules do that).  PS3.5 sections 7 and A.
 */
#include "dicom/dset.h"

typedef enum err convert_sink(void *ctx, struct bytes piece, struct errmsg *e);

bool     is_convertible(const struct syntax *from, const struct syntax *to);
enum err convert_stream(const struct dsrc *src, uint64_t at, const struct syntax *from,
                        const struct syntax *to, convert_sink *sink, void *ctx,
                        struct errmsg *e) MUST_USE;
