#pragma once
/*
 * What one frame of pixels is: the Image Pixel module, PS3.3 C.7.6.3.  Geometry is multiplied here
 * and nowhere else.
 *
 * Pixels in memory are always native, little endian, the frames of PS3.5 A.2: allocated bits a
 * sample, samples interleaved unless `planar`.  Pure.
 */
#include "base/slice.h"
#include "dicom/dset.h"

enum photometric { // PS3.3 C.7.6.3.1.2
    PHOTO_MONOCHROME1,
    PHOTO_MONOCHROME2,
    PHOTO_PALETTE,
    PHOTO_RGB,
    PHOTO_YBR_FULL,
    PHOTO_YBR_FULL_422,
    PHOTO_YBR_PARTIAL_420,
    PHOTO_YBR_ICT,
    PHOTO_YBR_RCT,
    PHOTO_OTHER, // retired ones (HSV, ARGB, CMYK): shown as they are
    PHOTO__COUNT
};

enum sample_kind { SAMPLE_INT, SAMPLE_FLOAT, SAMPLE_DOUBLE }; // (7FE0,0010), 0008, 0009

struct image {
    uint32_t         cols, rows;
    uint16_t         samples;                     // per pixel: 1 or 3
    uint16_t         allocated, stored, high_bit; // allocated: 1, 8, 16, 32 (64 for doubles)
    bool             is_signed;
    bool             planar; // Planar Configuration 1
    enum photometric photometric;
    enum sample_kind kind;
};

/* From the attributes of d; *ret_frames: Number of Frames, 1 when absent.  ERR_NOTFOUND: no pixels
 * in it; ERR_SYNTAX: attributes that contradict each other; ERR_LIMIT: a frame over LIMIT_FRAME. */
enum err         image_of(const struct dset *d, struct image *ret, uint32_t *ret_frames,
                          struct errmsg *e) MUST_USE;
struct str       photometric_name(enum photometric p); // the defined term
enum photometric photometric_parse(struct str term);

/* Bytes of one native frame; YBR_FULL_422 native has two thirds.  1 bit: rounded up to a byte. */
enum err image_bytes(const struct image *i, size_t *ret, struct errmsg *e) MUST_USE;
