#pragma once
/*
 * Streaming tokenizer of a data set (PS3.5 section 7 and annex A): a pull parser over windows of
 * the stream, in constant memory for any size.  Pure: no I/O, no allocation; the struct lives on
 * the caller's stack.  Reads the three uncompressed encodings; for a deflated data set feed it the
 * inflated bytes (struct dspull does, and brings its own windows from a source).
 *
 *   dsread_init(&r, syntax, LENIENT_ALL, 0);
 *   for (;;) {
 *       enum err rc = dsread_next(&r, &t, e);
 *       if (rc == ERR_MORE && !fed_last) { dsread_feed(&r, at, window, is_last); continue; }
 *       ...
 *   }
 *
 * Tokens come in this order, indentation being `depth`:
 *
 *   ELEM (DATA...)                     a value of `len` bytes, in pieces, unless skipped
 *   SEQ { ITEM {...} ITEM_END } SEQ_END
 *   PIXELS { FRAG (DATA...) } PIXELS_END   encapsulated: the first fragment is the offset table
 *   END
 */
#include "base/cur.h"
#include "base/limits.h"
#include "dicom/dset.h"

enum ds_kind {
    DS_ELEM,
    DS_DATA,
    DS_SEQ,
    DS_ITEM,
    DS_ITEM_END,
    DS_SEQ_END,
    DS_PIXELS,
    DS_FRAG,
    DS_PIXELS_END,
    DS_END,
    DS__COUNT
};

struct ds_token {
    enum ds_kind kind;
    unsigned     depth;  // sequences open around it
    uint32_t     tag;    // of the element; of the sequence for items and fragments
    enum vr      vr;     // as encoded, or of the dictionary (implicit VR, resolved by (0028,0103))
    bool         big;    // numbers in the value are big endian
    uint64_t     at;     // stream offset of the header; of the first byte for DATA; for the ends:
                         // of what closes it, be it there or not
    uint64_t     offset; // stream offset of the value
    uint64_t     len;    // of the value; LEN_UNDEFINED when delimited
    struct bytes
        data; // DATA: valid until the next dsread call; whole units of vr_unit(), but at the end
};

struct ds_level {
    uint64_t seq_end, item_end;     // stream offsets; LEN_UNDEFINED when delimited
    uint64_t seq_limit, item_fence; // nearest defined end around: nothing inside may pass it
    uint32_t tag;                   // of the sequence
    uint32_t last;                  // tag read last in this item
    bool     explicit_vr, big, pixels;
    bool     fresh;        // no element read yet: the encoding may still be found out
    bool     from_un;      // a sequence read from UN of undefined length
    bool     signed_pixel; // (0028,0103) is 1 here or around
};

struct dsread {
    unsigned        lenient, seen; // LENIENT_*: allowed; needed so far
    struct cur      win;           // the caller's window
    uint64_t        pos;           // stream offset of the next byte that was not consumed
    uint64_t        left;          // of the open value: not delivered yet
    bool            skipping;      // and not wanted
    bool            last;          // no window comes after this one
    uint8_t         hold[16];      // a header or unit that straddles windows
    size_t          held;
    struct ds_token tok; // of the open value
    int             state;
    unsigned        depth;
    struct ds_level level[LIMIT_SQ_DEPTH + 1]; // 0: the data set itself
};

/* at: stream offset of the first byte of the data set (offsets in tokens count from there). */
void dsread_init(struct dsread *r, const struct syntax *s, unsigned lenient, uint64_t at);

/*
 * The next window: bytes of the stream at offset `at`, which is not beyond dsread_want().  What the
 * reader had already is passed over.  last: the stream ends with it.  The window must live until
 * the next feed.
 */
void dsread_feed(struct dsread *r, uint64_t at, struct bytes window, bool last);

/*
 * ERR_MORE: the window is used up (feed again from dsread_want() on); after the last window: the
 * stream is cut short, and the text says where.  ERR_SYNTAX, ERR_LIMIT (depth): final.
 */
enum err dsread_next(struct dsread *r, struct ds_token *ret, struct errmsg *e) MUST_USE;

/* The rest of the value announced last (ELEM, FRAG) is not wanted: no DATA, and dsread_want() lies
 * behind it. */
void dsread_skip(struct dsread *r);

/* Offset from which the next window is useful. */
uint64_t dsread_want(const struct dsread *r);
