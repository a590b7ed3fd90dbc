#pragma once
/*
 * Bulk data of a STOW-RS request back into the data sets that name them.
 */
#include "archive/archive.h"

struct bulk { // views of the request's arena
    struct bulk *next;
    struct str   location, media, syntax; // syntax: the parameter, or empty
    uint64_t     at, len;                 // in the spool
};

struct bulk_source {
    struct bulk         *first;
    int                  fd;
    struct arena        *mem;
    const struct syntax *syntax; // of the object, from bulk_settle
};

/* Takes group 0002 out, settles the transfer syntax, and reads into memory what cannot be streamed.
 * ERR_NOTFOUND: a part is not there. */
enum err bulk_settle(struct bulk_source *s, struct dset *d, struct errmsg *e);
/* The data set as it is to be stored. */
enum err bulk_write(const struct bulk_source *s, const struct dset *d, struct ingest *to,
                    struct errmsg *e);
