#pragma once
/*
 * Inside of archive: live series, their open packs, and what the files of the module share.
 *
 * A series is live while an ingest uses it or it has an open pack of this process; a table finds it
 * by tenant and UIDs.  Each open pack is a slot.  A slot is taken (by an image, by the sealing) and
 * given back by changing its state under the series' lock; who has taken it alone touches its pack.
 *
 * Lock order: registry, series.  No file or database work under either, but for a descriptor that
 * is closed.
 */
#include <stdatomic.h>

#include "archive/archive.h"
#include "archive/imgset.h"
#include "base/limits.h"
#include "base/lock.h"

enum slot_state {
    SLOT_IDLE,
    SLOT_WRITING, // an image is being received
    SLOT_SEALING,
    SLOT_BROKEN, // its pack failed and is closed (pack is NULL); looked at again at retry_ns
};

struct slot {
    struct slot    *next; // of the same series, any order
    struct series  *series;
    struct pack    *pack;
    uint32_t        n;
    enum slot_state state;
    int64_t         row_id; // 0: the index does not know the pack yet
    uint64_t        bytes;  // as of the last image
    uint32_t        images;
    bool            dirty;    // bytes and images are newer than the row
    int64_t         idle_ns;  // when it was given back
    int64_t         retry_ns; // SLOT_BROKEN
};

/* A pack of the series that is not ours, as far as its images are in the set. */
struct other_pack {
    uint32_t n;
    bool     sealed; // nothing can come any more
};

struct series {
    struct series *next; // in its bucket
    unsigned       refs; // guarded by the registry lock: ingests, slots, upkeep
    int64_t        tenant_id;
    char           tenant[33], study_uid[65], series_uid[65];

    struct lock        lock;
    pthread_cond_t     changed; // an image's state, or loading
    bool               loaded, loading;
    int64_t            loaded_ns;
    uint32_t           next_n;
    struct slot       *slots;
    struct imgset      images;
    struct other_pack *others;
    size_t             n_others;
};

struct cache; // catalog.c
struct views; // view.c

struct archive {
    struct db_pool    *db;
    char               root[PACK_PATH];
    int64_t            seal_idle_ns;
    uint64_t           max_pack;
    bool               recover;
    archive_note      *note;
    void              *note_ctx;
    struct pixel_pool *pixel; // not owned; NULL: nothing is recompressed

    struct lock     lock; // the table
    struct series **buckets;
    size_t          n_buckets, n_series;

    struct cache *cache;
    struct views *views;

    struct lock    counting; // so that figures are written in the order in which they were true
    struct upkeep *upkeep;   // NULL: no workers

    struct {
        _Atomic uint64_t stored, duplicates, quarantined, aborted, bytes, sealed, seal_failed,
            recompressed;
        _Atomic int64_t open_packs;
    } stats;
};

/* ---- archive.c */
/* One transaction on a connection of the pool. */
enum err archive_tx(struct archive *a, db_work *work, void *arg, struct errmsg *e);
void     archive_tell(struct archive *a, const char *path, const char *what);

/* ---- live.c */
struct series_key {
    int64_t    tenant_id;
    struct str tenant, study_uid, series_uid;
};
/* The live series, made when it is not there; a reference for the caller. */
enum err       series_ref(struct archive *a, const struct series_key *k, struct series **ret,
                          struct errmsg *e);
struct series *series_peek(struct archive *a, const struct series_key *k); // NULL: not live
void           series_unref(struct archive *a, struct series *s);
/* All live ones, referenced, in one allocation that the caller frees. */
enum err       series_all(struct archive *a, struct series ***ret, size_t *ret_n, struct errmsg *e);
void           live_free(struct archive *a); // nobody uses any: packs are closed

/* Know the images of all packs of the series, those that other processes write included. again:
 * also when that was done before, but for the last moment. */
enum err series_load(struct archive *a, struct series *s, bool again, struct errmsg *e);

/* An idle slot, or a new pack; the caller has it. */
enum err slot_take(struct archive *a, struct series *s, const struct ingest_from *from,
                   struct slot **ret, struct errmsg *e);
/* Back, with its figures; broken: its pack cannot be trusted until it was reopened. */
void     slot_give(struct archive *a, struct slot *sl, bool broken);
/* A pack taken up again: a new slot, idle, its images in the set. Consumes the pack. */
enum err slot_adopt(struct archive *a, struct series *s, struct pack *p, int64_t row_id,
                    struct errmsg *e);
/* Put the images of its pack in the set.  Held: the series' lock. */
enum err slot_know(struct slot *sl, struct errmsg *e);
/* Its pack was written anew: the images lie elsewhere, in another syntax.  Held: the series' lock.
 */
void     slot_moved(struct slot *sl);
bool     has_slot(struct series *s, uint32_t n);
void     slot_mark(struct series *s, uint32_t n); // its row is out of date
/* The caller has it; its pack is closed.  It is gone afterwards. sealed: its images stay. */
void     slot_drop(struct archive *a, struct slot *sl, bool sealed);

/* ---- catalog.c: what the manifests of sealed packs say, cached */
struct catalog {
    size_t            n;
    struct pack_image images[];
};
enum err cache_new(struct cache **ret, struct errmsg *e);
void     cache_free(struct cache *c);
/* Of a sealed pack; given back with catalog_unref. */
enum err catalog_of(struct archive *a, const struct pack_row *row, struct catalog **ret,
                    struct errmsg *e);
void     catalog_unref(struct archive *a, struct catalog *c);
/* The manifest of a sealed pack whose row says where it is; mem is made here. */
enum err manifest_of(const char *path, const struct pack_row *row, struct arena *mem,
                     struct manifest **ret, struct errmsg *e);
/* Path of a row's pack. */
enum err row_path(const struct archive *a, const struct pack_row *row, bool open,
                  char ret[PACK_PATH], struct errmsg *e);
/* Scan a pack that another process has open, or has just sealed. */
enum err row_scan(struct archive *a, const struct pack_row *row, bool check_hash, struct arena *mem,
                  struct pack_scan *ret, struct errmsg *e);

/* ---- view.c */
enum err views_new(struct views **ret, struct errmsg *e);
void     views_free(struct views *c);

/* ---- aside.c */
void parts_clear(struct archive *a); // what ingests of a process that died left in quarantine

/* ---- list.c: a part of a file as a source */
struct fd_window {
    int      fd;
    uint64_t at, len;
};
struct dsrc fd_window_src(struct fd_window *w); // *w must live as long
/* Does the image lie there in this file?  Recompression at sealing moves images. */
bool        is_image_there(int fd, const struct pack_image *p);

/* ---- sealed.c */
/* state, bytes, images and the places of the members, as the headers of a sealed file say;
 * ERR_SYNTAX when it is not whole. */
enum err sealed_row(const char *path, struct arena *mem, struct pack_row *row, struct errmsg *e);
/* In hex, in the arena. */
enum err file_sha256(const char *path, struct arena *mem, struct str *ret, struct errmsg *e);

/* ---- upkeep.c */
enum err upkeep_start(struct archive *a, struct errmsg *e);
void     upkeep_stop(struct archive *a);
void     archive_wake(struct archive *a); // a pack is full
/* Adopt the packs that no living process has open. */
enum err archive_recover(struct archive *a, struct errmsg *e);
