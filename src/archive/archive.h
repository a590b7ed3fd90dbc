#pragma once
/*
 * The archive: ingest, list, read, seal, recover.  Packs are the truth, the index is a cache.
 *
 * One struct archive per process; all functions may be called by any thread unless said otherwise.
 * Several processes may use one archive (a server and commands beside it).
 */
#include "dicom/dset.h"
#include "index/index.h"
#include "pack/pack.h"
#include "pixel/worker.h"

/* What a person should hear of, with the file that it is about: a program logs it.  Called by any
 * thread, background workers included; no lock is held. */
typedef void archive_note(void *ctx, const char *path, const char *what);

struct archive_conf {
    const char *data;         // folder: packs under <data>/archive, index.sqlite beside
    const char *db_url;       // NULL: sqlite:<data>/index.sqlite
    int64_t     seal_idle_ms; // 0: LIMIT_SEAL_IDLE_MS
    uint64_t    max_pack;     // 0: LIMIT_PACK_BYTES
    bool recover; // adopt packs that a crash left open (serve, import; not for read-only commands)
    bool background;         // run the workers that count each second and seal what is idle
    archive_note      *note; // packs that could not be sealed or adopted …; NULL: nobody listens
    void              *note_ctx;
    struct pixel_pool *pixel; // NULL: nothing is recompressed at sealing
};

struct archive;

enum err archive_open(const struct archive_conf *c, struct archive **ret, struct errmsg *e);
void archive_close(struct archive *a); // counts written; open packs stay open for the next start
struct db_pool *archive_db(struct archive *a);
const char     *archive_root(const struct archive *a); // "<data>/archive"

/* Tenants and peers as JSON in <root>/registry.json, after every change. */
enum err archive_registry_write(struct archive *a, struct errmsg *e);

/* ---- ingest: one object, one thread */
struct ingest_from {
    int64_t            tenant_id;
    struct str         tenant;                   // code
    struct str         calling, called, address; // borrowed for the life of the ingest
    struct str         study_uid; // not empty: ERR_DENIED when the object is of another study
    bool               strict;    // ERR_DENIED as well: the data set is of another class than told
    struct ingest_ids *ret_ids;   // NULL, or what the data set says, known when commit returns
};

struct ingest_ids {
    char study_uid[65], series_uid[65];
};

enum ingest_outcome { INGEST_STORED, INGEST_DUPLICATE, INGEST_QUARANTINED };

struct ingest;
/* syntax_uid: of the data set that follows.  UIDs must be usable (tag.h) else ERR_SYNTAX. */
enum err ingest_begin(struct archive *a, const struct ingest_from *from, struct str class_uid,
                      struct str sop_uid, struct str syntax_uid, struct ingest **ret,
                      struct errmsg *e);
enum err ingest_add(struct ingest *i, struct bytes piece, struct errmsg *e);
/* Durable when it returns ERR_OK.  Consumes i, also on failure. ERR_LIMIT: disk full; ERR_SYNTAX:
 * no Study or Series Instance UID, or the data set names another SOP instance than the command. */
enum err ingest_commit(struct ingest *i, enum ingest_outcome *ret, struct errmsg *e);
void     ingest_abort(struct ingest *i);

/* ---- reading */
struct object {
    struct pack_image image;
    char              path[PACK_PATH]; // of the pack file
    bool              open;            // still in an open pack
};
/* Images of a series in all its packs, first copy of each SOP Instance UID that is not rejected, in
 * instance-number order where known, else as received. */
enum err archive_list(struct archive *a, int64_t series_id, struct arena *mem, struct object **ret,
                      size_t *ret_n, struct errmsg *e);

/* An opened object: a window on the pack.  Survives sealing (rename) while open. */
struct object_file {
    int               fd;
    struct pack_image image;    // as it lies there: sealing may have moved and recompressed it
    uint64_t          at, size; // of the .dcm file
    uint64_t          data_at, data_len; // of the data set
    struct dsrc
        src; // of the data set: positions from 0; ctx points into this struct, so do not copy it
};
enum err object_open(struct archive *a, const struct object *o, struct object_file *ret,
                     struct errmsg *e);
void     object_close(struct object_file *f);

/* ---- upkeep */
enum err
         archive_seal(struct archive *a, int64_t idle_ms, size_t *ret_sealed,
                      struct errmsg *e); // packs idle for at least that long; 0: all that have no writer
enum err archive_count(struct archive *a, struct errmsg *e); // write the counters of open packs now

struct reindex_stats {
    uint64_t packs, images, tenants, peers, failed;
};

enum err archive_reindex(struct archive *a, archive_note *note, void *ctx,
                         struct reindex_stats *ret, struct errmsg *e);

struct verify_stats {
    uint64_t packs, images, bytes, bad;
};
enum err archive_verify(struct archive *a, archive_note *note, void *ctx, struct verify_stats *ret,
                        struct errmsg *e);

/* Figures for /metrics; lock-free. */
struct archive_stats {
    uint64_t stored, duplicates, quarantined, aborted, bytes, sealed, seal_failed, recompressed;
    int64_t  open_packs;
};

void     archive_get_stats(const struct archive *a, struct archive_stats *ret);
/* Free bytes on the archive's file system, and whether a new image would be refused. */
enum err archive_space(const struct archive *a, uint64_t *ret_free, struct errmsg *e);
