#pragma once
/*
 * Media types and what a client accepts: RFC 9110 8.3.1 and 12.5.1, RFC 2387 (multipart/related),
 * PS3.18 8.7.3 (the parameters `type` and `transfer-syntax`) and 8.3.3.1 (the query parameter
 * `accept`).  Pure; what is parsed lives in the arena given.
 *
 * One leniency, which half of all DICOMweb clients need: an unquoted parameter value may hold '/'
 * (multipart/related; type=application/dicom).
 */
#include "base/arena.h"
#include "base/err.h"
#include "http/uri.h"

enum {
    MEDIA_PARAMS = 8,   // type, transfer-syntax, boundary, start, charset, q and some to ignore
    ACCEPT_RANGES = 64, // a viewer that lists every syntax of every image type sends 40
    ACCEPT_Q_MAX = 1000 // "q=1": weights have three decimals
};

struct media_type {
    struct str       type, subtype; // lower case; "*" in a range
    struct str       full;          // "type/subtype"
    size_t           params;
    struct http_pair param[MEDIA_PARAMS]; // names in lower case, values without quotes
};

/* One media type and nothing after it. */
enum err   media_parse(struct str s, struct arena *a, struct media_type *ret,
                       struct errmsg *e) MUST_USE;
/* First parameter of that name (lower case); ptr NULL: none. */
struct str media_param(const struct media_type *m, const char *name);
/* Without parameters; full in lower case. */
bool       is_media(const struct media_type *m, const char *full);

struct accept_range {
    struct media_type media;
    unsigned          q; // 0 to ACCEPT_Q_MAX
};

struct accept {
    struct accept_range *range;
    size_t               n;
};

/* The list of an Accept header or query parameter, in its order; empty elements are skipped.
 * ERR_LIMIT: more than ACCEPT_RANGES. */
enum err accept_parse(struct str list, struct arena *a, struct accept *ret,
                      struct errmsg *e) MUST_USE;

/* What the server can send. */
struct accept_offer {
    const char *media;      // "application/dicom+json"; of a multipart: of its parts
    const char *syntax;     // transfer syntax UID, NULL: has none
    bool        multipart;  // multipart/related; type="media"
    bool        by_default; // a range that names media, but no transfer syntax, means this
                            // (PS3.18 8.7.3.5.2)
};

/*
 * The best of n offers, which come in the server's order of preference, the default of the resource
 * first: by q, then by that order.  A range says no more than it says: `type/subtype` is not met by
 * a multipart of it, and without `transfer-syntax` it is met by the offers that are by_default or
 * have no syntax; a wildcard is met by all.  The most specific range that fits an offer gives its
 * q.  An offer of the query is taken before any of the header (PS3.18 8.7.8.1).  NULL or an empty
 * list for either: not there; no list at all accepts everything.  ERR_NOTFOUND: 406.
 */
enum err accept_choose(const struct accept *header, const struct accept *query,
                       const struct accept_offer *offer, size_t n, size_t *ret) MUST_USE;
