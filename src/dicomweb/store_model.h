#pragma once
/*
 * STOW-RS of metadata and bulk data, PS3.18 10.5.2: data sets in JSON or XML, and parts that their
 * BulkDataURIs name by Content-Location.  Bulk data of any size lie in an unnamed file beside the
 * archive until the body has ended; then each data set becomes an object.
 */
#include "dicomweb/store_priv.h"

struct bulk; // one part

struct store_model {
    struct archive    *archive; // the caller's, as are told and from
    struct told       *told;
    struct ingest_from from;

    struct arena  mem;
    struct dset **sets;
    size_t        n_sets, room;
    struct bulk  *first, **last; // in order of arrival
    struct bulk  *open;          // arriving
    struct buf    text;          // metadata arriving
    bool          in_text, xml;
    int           fd; // -1: no bulk data so far
    uint64_t      spooled;
    enum err      rc; // of the whole body: it is stored as a whole, or not
    struct errmsg why;
};

void     store_model_init(struct store_model *m);
void     store_model_done(struct store_model *m); // also the cleanup function
bool     is_model_type(const struct media_type *t);
void     store_model_begin(struct store_model *m, struct str type, struct str location);
void     store_model_add(struct store_model *m, struct bytes piece);
void     store_model_end(struct store_model *m);
/* After the last part.  ERR_OK: each data set is durable or has failed, and is told. */
enum err store_model_commit(struct store_model *m, struct errmsg *e);
