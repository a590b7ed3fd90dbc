#pragma once
/*
 * Where the frames of an object lie in its file: what manifests record and frame retrieval sends.
 * Native pixel data: computed from the image attributes.  Encapsulated (PS3.5 A.4): by the extended
 * or basic offset table where it agrees with the fragments, else one fragment a frame, else by the
 * fragments that begin a bit stream.  Not for deflated syntaxes, whose frames do not lie anywhere.
 */
#include "dicom/dset.h"

struct frame {
    uint64_t offset;    // in the source, of the first byte of pixels
    uint64_t len;       // to the last byte, the headers of fragments in between included
    uint32_t fragments; // 0: native; 1: the range is the bit stream; more: see frame_piece
    uint8_t  bit;       // native of 1 bit: the lowest bit of the first byte that belongs to it
};

struct frames {
    struct frame *v; // in the arena
    size_t        n;
};

/*
 * d: read from src by dset_read or part10_read (offsets count from the start of src), the value may
 * be left out.  An object cut short gives fewer frames, the last one clipped.  ERR_NOTFOUND: no
 * pixel data; ERR_SYNTAX: the attributes or fragments make no sense; ERR_UNSUPPORTED: the frames
 * cannot be told apart (video streams); ERR_LIMIT: the arena is full.
 */
enum err frames_find(const struct dset *d, const struct dsrc *src, struct arena *a,
                     struct frames *ret, struct errmsg *e) MUST_USE;

/* The next range of the source that belongs to the frame; *at begins as 0.  ret_len 0: no more. */
enum err frame_piece(const struct dsrc *src, const struct frame *f, uint64_t *at,
                     uint64_t *ret_offset, uint64_t *ret_len, struct errmsg *e) MUST_USE;
