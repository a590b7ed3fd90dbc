#pragma once
/*
 * A data set in memory: sorted elements, nested items, values as raw bytes.  PS3.5 section 7.
 *
 * A dset lives in an arena and dies with it.  Values are views: of the parsed input (which must
 * outlive the dset) or of the arena.  Numeric values are always little endian in memory, whatever
 * the transfer syntax was.  A value longer than the parse option allows is left out: `value` is
 * empty, `len` and `offset` say where it is.  One thread at a time.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "dicom/tag.h"

#define LEN_UNDEFINED UINT64_MAX

struct dset;

struct elem {
    uint32_t tag;
    enum vr  vr;
    bool left_out; // value not in memory; see len, offset (read from JSON or XML: value is the URI)
    bool encapsulated; // pixel data in fragments; items is NULL, offset is of the first item tag,
                       // value (unless left out) the fragments with their headers, little endian,
                       // without the sequence delimiter
    struct bytes  value;
    uint64_t      len;    // of the value in the stream; LEN_UNDEFINED for encapsulated
    uint64_t      offset; // of the value, in the parsed input or source (deflated: once inflated)
    struct dset **items;  // VR_SQ: n_items data sets, in the arena
    size_t        n_items;
};

struct dset {
    struct arena *arena; // not owned
    struct dset
        *parent; // the data set that holds this item: charset and private creators are inherited
    struct elem *elems; // sorted by tag, unique
    size_t       n, room;
};

struct dset *dset_new(struct arena *a); // NULL when the arena is full
struct elem *dset_find(const struct dset *d,
                       uint32_t           tag); // NULL when absent (not searched in items)
bool         has_value(const struct dset *d, uint32_t tag); // present and not of zero length
void         dset_remove(struct dset *d, uint32_t tag);

/* All put functions replace an element of the same tag, copy the value into the arena, pad to even
 * length, and fail with ERR_NOMEM when the arena is full. */
enum err dset_put(struct dset *d, uint32_t tag, enum vr vr, struct bytes value) MUST_USE;
enum err dset_put_str(struct dset *d, uint32_t tag,
                      struct str ascii) MUST_USE; // VR of the dictionary; padded as its VR wants
enum err dset_put_text(struct dset *d, uint32_t tag, struct str utf8)
    MUST_USE; // encoded in the data set's charset (0008,0005); '?' for what it cannot say
enum err dset_put_u16(struct dset *d, uint32_t tag, uint16_t v) MUST_USE; // US
enum err dset_put_u32(struct dset *d, uint32_t tag, uint32_t v) MUST_USE; // UL
enum err dset_put_int(struct dset *d, uint32_t tag, int64_t v) MUST_USE;  // IS
enum err dset_put_item(struct dset *d, uint32_t tag,
                       struct dset **ret_item) MUST_USE; // appends an empty item to SQ tag
/* Deep copy of one element of another data set (any arena, any charset: texts are re-encoded). */
enum err dset_copy(struct dset *d, const struct dset *from, const struct elem *el) MUST_USE;

/* Views of the value without padding (spaces at both ends, trailing NUL; free text keeps the blanks
 * in front of it); empty when absent.  Not character-set
 * decoded: for UI, CS, DA, TM, DS, IS, AE and the like.  Bytes above 0x7E make the answer empty for
 * those VRs. */
struct str   dset_str(const struct dset *d, uint32_t tag);
/* The i-th value of a backslash-separated string; empty past the end. */
struct str   dset_str_at(const struct dset *d, uint32_t tag, size_t i);
/* Value as UTF-8 decoded by the charset in force, in the arena; empty when absent.  Bad bytes
 * become U+FFFD. */
struct str   dset_text(const struct dset *d, uint32_t tag);
bool         dset_int(const struct dset *d, uint32_t tag,
                      int64_t *ret); // US SS UL SL SV UV IS (and DS that is whole): first value; UN of a
                                     // known tag as its dictionary VR
bool         dset_u16(const struct dset *d, uint32_t tag, uint16_t *ret);
/* The Specific Character Set in force here (own or inherited): the raw value of (0008,0005). */
struct bytes dset_charset(const struct dset *d);
/* Private creator text that governs a private element; empty when there is none. */
struct str   dset_creator(const struct dset *d, uint32_t tag);

/* Leniencies for what real devices send.  Each is logged by name in opts->seen when it was needed.
 */
enum lenient {
    LENIENT_ODD_LENGTH = 1 << 0, // odd value length
    LENIENT_ORDER = 1 << 1,      // tags not ascending, or twice (the last wins)
    LENIENT_VR_UNKNOWN =
        1 << 2, // explicit VR with two bytes that are no VR: read as UN, 16-bit length
    LENIENT_SHORT_PIXELS =
        1 << 3, // the stream ends inside pixel data (group 7FE0) at the top level
    LENIENT_NO_DELIMITER = 1 << 4, // end of stream, next item or sequence delimiter instead of
                                   // sequence or item delimiters
    LENIENT_STRAY_DELIM = 1 << 5,  // a delimiter where none is open, or one with a length
    LENIENT_IMPLICIT_IN_EXPLICIT =
        1 << 6, // items in implicit VR in an explicit data set, or the other way round (UN of
                // undefined length being implicit is PS3.5 6.2.2 and needs no leniency)
    LENIENT_SWITCHED =
        1 << 7, // the whole data set is in another of the three uncompressed encodings than said
    LENIENT_TRAILING = 1 << 8, // trailing zero bytes or padding after the last element
    LENIENT_ALL = (1 << 9) - 1,
};

struct parse_opts {
    uint32_t max_value; // longer values are left out; 0: LIMIT_VALUE
    uint32_t stop_tag;  // stop before the first top-level element with tag >= this; 0: read all
    unsigned lenient;   // LENIENT_* allowed; 0: strict
    unsigned seen;      // out: those that were needed
};

/*
 * Parse a whole data set that is in memory (no file meta information).  Deflated syntaxes are
 * inflated into the arena first.  ERR_MORE: the input ends before the end of an element or before
 * stop_tag was reached (with stop_tag: call again with more bytes); ERR_LIMIT: depth or arena;
 * ERR_SYNTAX otherwise, with the offset and tag in the text.
 */
enum err dset_parse(struct bytes in, const struct syntax *s, struct parse_opts *opts,
                    struct arena *a, struct dset **ret, struct errmsg *e) MUST_USE;

/* Where a longer object is read from: a file, a member of a pack. */
struct dsrc {
    /* Up to n bytes at `at`; *ret_n 0 at the end. */
    enum err (*read)(void *ctx, uint64_t at, void *to, size_t n, size_t *ret_n, struct errmsg *e);
    void    *ctx;
    uint64_t size; // UINT64_MAX when unknown
};
struct dsrc dsrc_of_bytes(const struct bytes *b); // *b must live as long
/* All n bytes, or as many as there are. */
enum err    dsrc_read_full(const struct dsrc *src, uint64_t at, void *to, size_t n, size_t *ret_n,
                           struct errmsg *e) MUST_USE;

/* A window of another source. */
struct dsrc_slice {
    struct dsrc base;
    uint64_t    at, len;
};
struct dsrc dsrc_of_slice(struct dsrc_slice *s, struct dsrc base, uint64_t at, uint64_t len);

/* The same from a source, in constant memory besides the values kept (default opts->max_value here:
 * 64 KiB). */
enum err dset_read(const struct dsrc *src, uint64_t at, const struct syntax *s,
                   struct parse_opts *opts, struct arena *a, struct dset **ret,
                   struct errmsg *e) MUST_USE;

/* Write in a syntax; undefined = sequences and items with undefined lengths (else defined, but for
 * sequences in implicit VR that the dictionary does not know: only their undefined length tells
 * what they are).  Group lengths are dropped except group 0000 and 0002, which are computed.
 * Left-out values make ERR_UNSUPPORTED. */
enum err dset_write(const struct dset *d, const struct syntax *s, bool undefined, struct buf *out,
                    struct errmsg *e) MUST_USE;
