#pragma once
/*
 * The query of a search, PS3.18 8.3.4: keys, includefield, limit, offset.  Pure.
 */
#include "dicom/dset.h"
#include "http/uri.h"
#include "index/index.h"

struct qido {
    struct dset    *keys;    // in ISO_IR 192
    const uint32_t *include; // top-level tags asked for besides those of the level
    size_t          n_include;
    bool            include_all;
    bool            fuzzy; // asked for
    uint64_t        limit; // at most LIMIT_QIDO_PAGE
    uint64_t        offset;
    bool            limited; // the caller named a limit within ours
};

/* Unknown names are ERR_SYNTAX with the parameter named: a key that is not looked at would answer
 * another question. */
enum err qido_parse(const struct uri *u, struct arena *a, struct qido *ret,
                    struct errmsg *e) MUST_USE;
/* Keyword or eight hexadecimal digits. */
bool     attribute_parse(struct str s, uint32_t *ret_tag);
