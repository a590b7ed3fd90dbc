#pragma once
/*
 * Inside of archive: rejected images in the index.
 */
#include "archive/archive.h"

#define REJECT_SUFFIX ".rejected.jsonl"

/* The index says what the file says. */
enum err rejects_apply(struct archive *a, int64_t series_id, const struct uid_set *to,
                       struct errmsg *e);
