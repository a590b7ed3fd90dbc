#pragma once
/*
 * Is an object in another transfer syntax still the same?  Decoded pixels byte by byte, and every
 * other element of the data set, but for those that the compression of pixels must change
 * (Photometric Interpretation, Planar Configuration, offset tables) and group lengths.
 *
 * DESIGN section 1, promise 4: only what this function has seen may replace an original.
 */
#include "pixel/worker.h"

/* ERR_CONFLICT: they differ, and where; other errors: it could not be told. */
enum err transcode_prove(struct pixel_pool *p, const struct dsrc *original, struct str original_uid,
                         const struct dsrc *made, struct str made_uid, struct errmsg *e) MUST_USE;
