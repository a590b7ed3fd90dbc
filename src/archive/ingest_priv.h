#pragma once
/*
 * Inside of ingest: the object being received, and its three files.  head.c finds out where the
 * object belongs, ingest.c streams it into a pack, aside.c deals with one that is there already.
 */
#include "archive/archive_priv.h"
#include "archive/header.h"
#include "archive/recompress.h"
#include "pack/digest.h"

enum ingest_stage {
    STAGE_HEAD,  // not known yet where it belongs: the front is kept
    STAGE_STORE, // into slot's pack
    STAGE_ASIDE, // its SOP Instance UID is there already
};

struct head {
    struct buf   kept; // front of the data set, at most LIMIT_INGEST_HEAD
    size_t       next; // bytes that make another look worth while
    struct arena mem;  // of dset
    struct dset *dset; // what the index wants to know; views of kept.  NULL: it knows already
    bool         want_dset;
    char         study_uid[65], series_uid[65];
    int32_t      number; // Instance Number, INT32_MIN: none
};

/* A data set received beside the packs: compared with what is stored as it comes, and written down
 * from the first difference on. */
struct aside {
    int                fd; // -1: nothing written so far
    char               path[PACK_PATH];
    uint64_t           data_at; // of the data set in the file aside
    uint64_t           len;     // bytes of the data set so far
    bool               opened;
    struct object_file stored;
    bool            twin; // stored was recompressed: original says what it was, digest what comes
    struct original original;
    struct digest   digest;
};

struct ingest {
    struct archive    *a;
    struct ingest_from from;
    char               class_uid[65], sop_uid[65], syntax_uid[65];
    enum ingest_stage  stage;
    int64_t            received_us;
    struct series     *s;
    struct slot       *slot;
    bool               broken; // the slot's pack failed
    uint64_t           len;    // of the data set
    struct head        head;
    struct aside       aside;
    struct errmsg      why; // first failure; nothing is taken any more
};

/* ---- head.c */
void     head_init(struct head *h);
void     head_done(struct head *h);
/* Study and series, the SOP Instance UID compared with the command's.  ERR_MORE, ERR_SYNTAX. */
enum err head_uids(struct ingest *i, struct bytes front, enum head_end end, struct errmsg *e);
/* The header for the index, from what is kept; what cannot be read is done without. */
enum err head_dset(struct ingest *i, enum head_end end, struct errmsg *e);
/* Preamble and meta information. */
enum err head_part10(const struct ingest *i, struct buf *out, struct errmsg *e);

/* ---- aside.c */
/* stored: what has the UID.  It is compared when the transfer syntaxes are the same, now or before
 * it was recompressed. */
enum err aside_begin(struct ingest *i, const struct object *stored, struct errmsg *e);
enum err aside_add(struct ingest *i, struct bytes piece, struct errmsg *e);
enum err aside_commit(struct ingest *i, enum ingest_outcome *ret, struct errmsg *e);
void     aside_abort(struct aside *s); // also after commit
/* The same for what is in the tail of i's own pack: another thread was faster with that UID. */
enum err aside_tail(struct ingest *i, const struct object *stored, enum ingest_outcome *ret,
                    struct errmsg *e);
