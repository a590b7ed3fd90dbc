#pragma once
/*
 * The codecs: one bit stream to native pixels and back.  PS3.5 section 8.2, annexes A.4 and G.
 *
 * These call libraries that were not written for hostile input: only the garonne-pixel process
 * (pixel/worker.h) and tests call them, the server never.  Pure; any thread.
 */
#include "base/buf.h"
#include "pixel/image.h"

enum codec {
    CODEC_NATIVE,
    CODEC_RLE,
    CODEC_JPEG, // 8 and 12 bit DCT, lossless: told apart by the SOF marker, not by the syntax
    CODEC_JPEG_LS,
    CODEC_J2K,
    CODEC_HTJ2K,
    CODEC__COUNT
};

struct codec_syntax {
    const char *uid;
    enum codec  codec;
    bool        lossless; // what we write in it is exact (JPEG-LS near lossless and J2K: false)
    bool        encodes;  // we can write it
};
/* NULL: no syntax of pixels that we know (video, JPIP). */
const struct codec_syntax *codec_of(struct str syntax_uid);

struct codec_opts {
    uint32_t quality; // JPEG baseline, 1 to 100; 0: 90
    uint32_t levels;  // wavelet decompositions; 0: 5, or more where PS3.5 10.18 wants a thumbnail
    uint32_t reduce;  // decode only (J2K, HTJ2K): resolution levels left out, as far as there are
};

struct codec_in {
    struct image             image; // decode: what the data set claims; encode: what the pixels are
    struct bytes             data;  // the bit stream, all fragments joined; one native frame
    const struct codec_opts *opts;  // NULL: all defaults
};

/* One frame.  *ret: what came out.  Stream and data set disagree in real files: the stream wins for
 * rows, columns and for bits that would not fit; else the data set keeps its bits, and signed
 * samples get their sign extended to the allocated bits.  Never planar.  Colour comes out as RGB
 * where the stream says how (JPEG 2000 MCT, JPEG with a YBR photometric interpretation):
 * ret->photometric tells.  out: appended, and left alone on failure.  ERR_SYNTAX: broken stream,
 * with what the library said, or another number of pixels or samples than claimed;
 * ERR_UNSUPPORTED; ERR_LIMIT. */
enum err codec_decode(const struct codec_syntax *s, const struct codec_in *in, struct image *ret,
                      struct buf *out, struct errmsg *e) MUST_USE;

/* One native frame to a bit stream: exact where s->lossless.  ret: the image as the new data set
 * must describe it (photometric YBR_FULL_422 of JPEG, YBR_RCT of J2K, planar false; native
 * YBR_FULL_422 becomes YBR_FULL).  HTJ2K RPCL (1.2.840.10008.1.2.4.202) has RPCL progression and a
 * TLM marker.  ERR_UNSUPPORTED with the reason: 32 bit, float, 1 bit, bits in use besides those
 * stored, palette colour where a lossy syntax would ruin it ... */
enum err codec_encode(const struct codec_syntax *s, const struct codec_in *in, struct image *ret,
                      struct buf *out, struct errmsg *e) MUST_USE;
