#pragma once
/*
 * Search at any level: candidates of the index, or the headers of the images themselves, decided by
 * dicom/match.h.  The one way that C-FIND and QIDO-RS look for something.
 */
#include "archive/archive.h"
#include "dicom/match.h"

struct search {
    int64_t            tenant_id;
    enum level         level;
    const struct dset *keys; // any charset; keys of the levels above may be among them
    struct match_opts  opts;
    uint64_t           expect; // matches that are wanted at most; 0: all
};

struct search_found {
    struct series_ids  ids;
    const struct dset *dset; // everything known at that level and above
    bool unmatched_key; // a key that the index does not keep was not looked at (PS3.4 C.4.1.1.4)
};

struct search_sink {
    /* ERR_OK goes on; anything else ends the search, which returns it. */
    enum err (*found)(void *ctx, const struct search_found *f, struct errmsg *e);
    /* Now and then, found or not; NULL allowed.  The same returns. */
    enum err (*tick)(void *ctx, struct errmsg *e);
    void *ctx;
};

/* Newest first.  An image whose header cannot be read is left out, and noted. */
enum err archive_search(struct archive *a, const struct search *s, const struct search_sink *sink,
                        struct errmsg *e) MUST_USE;

/* Keys that steer a query instead of describing what is looked for. */
bool is_search_control(uint32_t tag);
