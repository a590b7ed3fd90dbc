#pragma once
/*
 * The heads of JPEG, JPEG-LS and JPEG 2000 bit streams, read before a library sees them: what kind
 * of stream it really is, and how large an image it claims.  ITU-T T.81 annex B, T.87 annex C,
 * T.800 annexes A and I, T.814 annex A.  Pure; any thread; fit for hostile input.
 */
#include "base/buf.h"

enum stream_kind {
    STREAM_JPEG_DCT, // baseline, extended, progressive; 8 or 12 bits
    STREAM_JPEG_LOSSLESS,
    STREAM_JPEG_LS,
    STREAM_J2K,
    STREAM_HTJ2K,
    STREAM__COUNT
};

struct stream {
    struct bytes     data; // of the bit stream, without a JP2 file around it; view of the input
    enum stream_kind kind;
    uint32_t         cols, rows;
    uint16_t         samples;
    uint8_t          bits; // of a sample
    bool             is_signed;
    bool             ycc;    // JPEG: it says of itself that it holds luminance and chroma
    bool             rgb;    // JPEG: it says of itself that it holds red, green and blue
    bool             mct;    // JPEG 2000: colours were mixed, which its decoder undoes
    uint8_t          levels; // JPEG 2000: decompositions of the first tile
    bool             plain;  // JPEG 2000: one tile at the origin, halved no further than one pixel
    uint32_t         reduce; // for the decoder: resolution levels to leave out, at most `levels`
    uint32_t         out_cols, out_rows; // of what comes out then
};

/* ERR_SYNTAX: no such stream, or one without a complete head; ERR_UNSUPPORTED: arithmetic or
 * hierarchical JPEG, subsampled JPEG 2000. */
enum err jpeg_head(struct bytes in, struct stream *ret, struct errmsg *e) MUST_USE;
enum err j2k_head(struct bytes in, uint32_t reduce, struct stream *ret, struct errmsg *e) MUST_USE;

/* Put a TLM marker segment (T.800 A.7.1) in front of the only tile-part of the codestream that
 * begins at `at` in b.  ERR_UNSUPPORTED: it has several, or one of unknown length. */
enum err j2k_add_tlm(struct buf *b, size_t at, struct errmsg *e) MUST_USE;
