#pragma once
/*
 * A whole object in another transfer syntax, streaming: one frame in memory at a time, any size.
 *
 * Lossless stays lossless: compressed and native pixels are rewritten in any lossless syntax or
 * natively.  Lossy pixels may be decoded to native or lossless ones but never be compressed lossily
 * again, and lossless ones become lossy only when `lossy` allows it; then (0028,2110), (0028,2112),
 * (0028,2114) say so and the SOP Instance UID is a new one (PS3.3 C.7.6.1.1.5): the caller asks for
 * that knowingly.  Digital signatures make any change of pixels ERR_UNSUPPORTED.
 */
#include "dicom/dset.h"
#include "pixel/worker.h"

/* Could an object be given in that other syntax?  Quick, by syntaxes alone. */
bool is_transcodable(struct str from_uid, struct str to_uid, bool lossy);

typedef enum err transcode_sink(void *ctx, struct bytes piece, struct errmsg *e);

/* The data set in src (from 0, in from_uid) to sink, in to_uid; no meta information. Syntaxes that
 * dicom/convert.h can do alone go that way.  ERR_UNSUPPORTED with words that a person may read:
 * what cannot be converted and why. */
enum err transcode_object(struct pixel_pool *p, const struct dsrc *src, struct str from_uid,
                          struct str to_uid, bool lossy, transcode_sink *sink, void *ctx,
                          struct errmsg *e) MUST_USE;

/* One frame of an object, number from 0, in to_uid's coding (native when that is uncompressed), and
 * what it is. */
enum err transcode_frame(struct pixel_pool *p, const struct dsrc *src, struct str from_uid,
                         uint32_t frame, struct str to_uid, struct image *ret, struct buf *out,
                         struct errmsg *e) MUST_USE;
