#pragma once
/*
 * Rejecting images and taking that back (IHE IOCM).  A rejected image stays in its pack, but is not
 * found, counted, listed or given out on any surface; sent again it is a duplicate, and stays
 * rejected.  What arrives later in the same series or study is not rejected.
 *
 * The truth is a file beside the packs, <series uid>.rejected.jsonl, to which each change adds a
 * line: {"what":"reject"|"restore","at":MICROSECONDS,"who":…,"code":…,"reason":…,"sops":[UID,…]}.
 * The index keeps what follows from all lines; reindex reads them again.  Any thread, any process.
 */
#include "archive/archive.h"

struct reject {
    int64_t    tenant_id;
    struct str tenant;                         // code
    struct str study_uid, series_uid, sop_uid; // series_uid and sop_uid: empty for all
    bool       restore;                        // take it back
    struct str who, code, reason;              // code: of CID 7011, or empty
};

/* Durable when it returns.  *ret_n: images that were not so before.  ERR_NOTFOUND: there is no such
 * image, or none to restore. */
enum err archive_reject(struct archive *a, const struct reject *r, uint64_t *ret_n,
                        struct errmsg *e) MUST_USE;

/* What the lines of a file come to. */
enum err rejects_parse(struct bytes lines, struct arena *a, struct uid_set *ret,
                       struct errmsg *e) MUST_USE;
