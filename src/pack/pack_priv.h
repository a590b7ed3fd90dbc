#pragma once
/*
 * What the files of this module share: the open pack, its origin as JSON, the scan.
 */
#include <xxhash.h>

#include "base/jsonw.h"
#include "pack/jsonr.h"
#include "pack/pack.h"

#define PACK_MANIFEST "manifest.json"
#define PACK_METADATA "metadata.json.gz"
#define PACK_SUMS     "SHA256SUMS"

enum {
    PACK_WINDOW = 256 << 10, // images are read through a window of this size
    PACK_END = 2 * TAR_BLOCK // zeros that end a tar file
};

struct images { // owned array
    struct pack_image *ptr;
    size_t             n, room;
};

struct pack {
    int                fd;
    char               path[PACK_PATH], sealed_path[PACK_PATH];
    struct arena       mem; // the texts of origin
    struct pack_origin origin;
    struct buf         front; // pax header and its content, written with the first image
    struct images      images;
    uint64_t           end;      // where the next header belongs
    uint64_t           reserved; // size of the file
    uint64_t           step;     // of the next reservation
    bool               appends;  // the file system cannot reserve
    bool               dir_synced;
    uint64_t           written; // bytes from here on are zeros
    bool               stale;   // bytes of an aborted image may lie beyond end
    bool               full;    // a reservation failed, and may have taken what space there was

    /* the member being written */
    bool              writing;
    struct tar_member member;
    struct pack_image image;
    uint64_t          header_at, flushed;  // where its header belongs; given to write-back
    uint8_t           lead[2 * TAR_BLOCK]; // header and first block of content, written last: to
                                           // tar, two blocks of zeros are an end, one is a warning
    XXH3_state_t     *hash;
    int64_t           mtime; // of the member; 0: now
};

/* ---- writing a member: shared by images and by sealing */
enum err member_begin(struct pack *p, const char *name, struct errmsg *e);
enum err member_add(struct pack *p, struct bytes piece, struct errmsg *e);
enum err member_end(struct pack *p, struct errmsg *e); // padding and header; not synced
/* The member just ended joins the pack's images. */
enum err pack_image_take(struct pack *p, struct errmsg *e);
/* Drop what lies beyond end, reservation included, so that stale bytes are never taken for a
 * header.
 */
enum err pack_trim(struct pack *p, uint64_t end, struct errmsg *e);
/* Of the same origin and names, without a file. */
enum err pack_new_like(const struct pack *p, struct pack **ret, struct errmsg *e);
enum err pack_lock(struct pack *p, struct errmsg *e); // ERR_CONFLICT
void     pack_free(struct pack *p);                   // gives the lock up; the file stays as it is

/* ---- manifest: the parts of manifest_write */
void manifest_begin(struct jsonw *w, const struct pack_origin *o);
void manifest_image_write(struct jsonw *w, const struct manifest_image *m);
void manifest_end(struct jsonw *w);

/* ---- origin */
#define ORIGIN_NONE                                                                                \
    ((struct pack_origin){                                                                         \
        STR(""),                                                                                   \
        STR(""),                                                                                   \
        STR(""),                                                                                   \
        0,                                                                                         \
        0,                                                                                         \
        STR(""),                                                                                   \
        STR(""),                                                                                   \
        STR(""),                                                                                   \
    })
bool is_origin(const struct pack_origin *o); // tenant, UIDs and number can name a pack
void origin_write(const struct pack_origin *o, struct jsonw *w); // members of an open object
bool origin_key(struct jsonr *r, struct str key, struct pack_origin *o); // false: not one of them
enum err origin_copy(const struct pack_origin *o, struct arena *a, struct pack_origin *ret,
                     struct errmsg *e);
/* The pax member: header block, content, padding. */
void     origin_front(const struct pack_origin *o, struct buf *out);
enum err origin_parse(struct bytes pax, struct arena *a, struct pack_origin *ret, struct errmsg *e);

/* ---- scan */
struct scan_from {
    struct dsrc src;
    int         fd; // lets holes be skipped; -1 when there is no file
};
enum err scan_run(const struct scan_from *from, bool check_hash, struct arena *a,
                  struct images *ret_images, struct pack_scan *ret, struct errmsg *e);
enum err images_add(struct images *v, const struct pack_image *image, struct errmsg *e);
void     images_done(struct images *v);
/* "<uid>.dcm" with a usable UID. */
bool     is_image_name(const char *name, struct str *ret_uid);
enum err hash_range(const struct dsrc *src, uint64_t at, uint64_t size, struct buf *window,
                    uint64_t *ret, struct errmsg *e);
