#pragma once
/*
 * The part of a data set that the index is told: read in the same way from an object that is being
 * received and from one in a pack, so that a rebuilt index says what the lost one said.
 */
#include "dicom/dset.h"

enum head_end {
    HEAD_MORE_COMES, // ERR_MORE is an answer
    HEAD_FULL,       // no more can be kept
    HEAD_ALL,        // that is the whole data set
};

/* As far as the last attribute that the index keeps; of a header that is broken or longer than
 * LIMIT_INGEST_HEAD, what comes before.  ERR_MORE, ERR_SYNTAX. */
enum err header_look(struct bytes front, const char *syntax_uid, enum head_end end,
                     struct arena *mem, struct dset **ret) MUST_USE;
/* The same of a data set in a source. */
enum err header_read(const struct dsrc *src, const char *syntax_uid, struct arena *mem,
                     struct dset **ret, struct errmsg *e) MUST_USE;
