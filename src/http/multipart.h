#pragma once
/*
 * Multipart bodies, RFC 2046 5.1.1 and RFC 2387: heads as bytes for who writes, a pull parser for
 * who reads.  Pure, one thread at a time.
 *
 * Written:  head data head data … tail, all of known length before the first byte is sent, so an
 * answer can say its Content-Length and serve ranges.
 *
 * Read: pieces go in as they come from the network, cut anywhere; what comes out are part heads,
 * views of part data and ends.  Memory is one head, whatever the body's size.  Content-Length of a
 * part is not believed.  Text before the first and after the last delimiter is skipped (RFC 2046:
 * preamble, epilogue); a body without the last delimiter is an error.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "http/uri.h"

enum {
    MULTIPART_BOUNDARY_MAX = 128, // RFC 2046 5.1.1 allows 70, Orthanc sends 73
    MULTIPART_BOUNDARY = 41,      // ours, with its NUL
    MULTIPART_HEADERS = 16,       // of one part that are kept; real ones have 1 to 4
};

/*
 * The same seed gives the same boundary, which a range over a multipart needs.  Let the seed hold
 * something that depends on the content (its ETag): then no content can be made to hold the
 * boundary that it will be sent with.
 */
void multipart_boundary(struct bytes seed, char ret[MULTIPART_BOUNDARY]);
/* Content-Type of the whole: multipart/related; type="…"; boundary=… */
void multipart_type(struct buf *out, const char *boundary, const char *type);
/* What goes before the data of a part; first: nothing was written yet. */
void multipart_head(struct buf *out, const char *boundary, bool first, const struct http_pair *head,
                    size_t n);
void multipart_tail(struct buf *out, const char *boundary);

enum multipart_what {
    MULTIPART_HEAD, // a part begins; headers() are its
    MULTIPART_DATA, // a piece of it
    MULTIPART_END,  // of the part
    MULTIPART_DONE, // the last delimiter was there; what follows is skipped
};

enum multipart_state {
    MP_DATA,      // looking for the delimiter
    MP_DELIMITER, // it was there; what line is it?
    MP_HEAD,
    MP_EPILOGUE
};

struct multipart {
    enum multipart_state state;
    bool                 in_part;                               // else the preamble
    uint8_t              delimiter[4 + MULTIPART_BOUNDARY_MAX]; // CR LF - - boundary
    size_t               delimiter_len;
    size_t               matched;  // bytes of the delimiter seen at the end of what came
    size_t               borrowed; // of these, CR LF that are not part of the data
    struct buf           line;     // rest of a delimiter's line, or the head
    struct http_pair     header[MULTIPART_HEADERS]; // views of line, names in lower case
    size_t               headers;
    uint64_t             parts;
};

/* ERR_SYNTAX: not a boundary. */
enum err multipart_init(struct multipart *m, struct str boundary, struct errmsg *e) MUST_USE;
void     multipart_done(struct multipart *m); // also the cleanup function

/*
 * Takes bytes off the front of *in until there is something to say.  ERR_MORE: *in is used up.
 * *ret_data is for MULTIPART_DATA, never empty, a view of *in or of m until the next call.
 * ERR_LIMIT: a part's head is over LIMIT_MULTIPART_HEAD.  After an error only multipart_done().
 */
enum err   multipart_next(struct multipart *m, struct bytes *in, enum multipart_what *ret,
                          struct bytes *ret_data, struct errmsg *e) MUST_USE;
/* The body is over: was its last delimiter there? */
enum err   multipart_end(const struct multipart *m, struct errmsg *e) MUST_USE;
/* Of the part that has begun, until its first data; name in lower case, ptr NULL: none. */
struct str multipart_header(const struct multipart *m, const char *name);
