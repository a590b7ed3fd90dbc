#pragma once
/*
 * Inside of STOW-RS, PS3.18 10.5: one request on its upload's thread.  store.c reads the body,
 * store_file.c takes Part 10 files, store_answer.c tells what became of them.
 */
#include "dicom/dset.h"
#include "dicomweb/upload.h"
#include "dicomweb/web_priv.h"
#include "http/accept.h"

/* What became of the instances so far, as the data set of the answer (PS3.18 10.5.3). */
struct told {
    struct arena mem;
    struct dset *d;
    struct str   root;  // of links, borrowed
    struct str   study; // of the URL; empty: none
    char         first_study[65];
    bool         one_study; // all instances stored so far are of that one
    unsigned     stored, warned, failed, nameless;
    bool         full, broken; // some failed for want of room; for another reason of ours
    bool         too_many;     // more than can be told
};

struct instance {
    struct str class_uid, sop_uid; // empty: not known
    struct str study_uid, series_uid;
};

enum err told_init(struct told *t, struct str root, struct str study, struct errmsg *e) MUST_USE;
void     told_done(struct told *t);
void     told_stored(struct told *t, const struct instance *i, bool warning);
void told_failed(struct told *t, const struct instance *i, enum err rc, const struct errmsg *why);
/* Answers r; status by PS3.18 table 10.5.3-1. */
void told_answer(struct told *t, struct http_request *r, bool xml);

/* One Part 10 file, piece by piece, into the archive. */
struct store_file {
    struct archive    *archive;
    struct told       *told;
    struct ingest_from from;
    struct ingest_ids  ids;
    struct ingest     *ingest;
    struct buf         front; // until the meta information is whole
    bool               begun; // what follows is data set
    char               class_uid[65], sop_uid[65];
    enum err           rc;
    struct errmsg      why;
};

void store_file_begin(struct store_file *f);
void store_file_add(struct store_file *f, struct bytes piece);
/* Durable and told when it returns. */
void store_file_end(struct store_file *f);
void store_file_abort(struct store_file *f); // the body broke off
