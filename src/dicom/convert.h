#pragma once
/*
 * Re-encode a data set between implicit little, explicit little, explicit big endian and deflated,
 * streaming: constant memory for any size.  Pixel data and all other values are kept; encapsulated
 * pixel data cannot become native here (the codec modules do that).  PS3.5 sections 7 and A.
 *
 * Where only deflation differs the bytes are passed on as they are.  Otherwise every leniency but
 * LENIENT_SHORT_PIXELS is allowed, sequences and items get undefined lengths, odd values are padded
 * and group lengths are dropped.
 */
#include "dicom/dset.h"

typedef enum err convert_sink(void *ctx, struct bytes piece, struct errmsg *e);

/* Between the four uncompressed syntaxes, or when it is the same. */
bool     is_convertible(const struct syntax *from, const struct syntax *to);
/* ERR_UNSUPPORTED: not convertible (of data sets without pixel data in fragments more are than
 * is_convertible tells); ERR_SYNTAX: the data set is broken or cut short.  Errors of the source and
 * the sink pass through; the sink may have got a part then. */
enum err convert_stream(const struct dsrc *src, uint64_t at, const struct syntax *from,
                        const struct syntax *to, convert_sink *sink, void *ctx,
                        struct errmsg *e) MUST_USE;
