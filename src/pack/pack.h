#pragma once
/*
 * The series pack, DESIGN section 3: one plain tar file with the images of a series.
 *
 *   pax header
 * comment={"garonne":1,"tenant":…,"study":…,"series":…,"n":…,"received":…,"calling":…,"called":…,"address":…}
 *   <SOP UID>.dcm   PS3.10 file, as received (meta information ours)            … repeated
 *   manifest.json metadata.json.gz SHA256SUMS, two zero blocks                    sealed packs only
 *
 * An open pack is <series>.<n>.tar.open, a sealed one <series>.<n>.tar.  An open pack has one
 * writer at a time, which holds an exclusive lock (OFD) on the file: other processes can tell a
 * live pack from one that a crash left behind. The writer reserves the header block, streams the
 * image to the tail, patches the header and fdatasyncs; an image that is not finished is truncated
 * away.  Space is preallocated, so that a sync is a data flush.
 *
 * struct pack is used by one thread at a time (the archive hands it over); everything else is pure
 * or const. Errors: ERR_LIMIT is a full disk.
 */
#include "base/arena.h"
#include "dicom/dset.h"
#include "pack/tar.h"

struct pack_origin { // what reindex needs; recorded in the pax header of the first member
    struct str tenant, study_uid, series_uid;
    uint32_t   n;
    int64_t    received_us;
    struct str calling, called, address;
};

struct pack_image {
    char     sop_uid[65], class_uid[65], syntax_uid[65];
    uint64_t at, size; // of the .dcm file within the pack
    uint64_t data_at;  // of the data set within the pack (after the meta information)
    uint64_t hash;     // XXH3-64 of the file
    int32_t  number; // Instance Number; INT32_MIN when absent (open packs: not known until sealed)
};

/* ---- paths */
enum { PACK_PATH = 512 };
/* "<root>/<tenant>/<hh>/<study>/<series>.<n>.tar[.open]"; hh: two hex digits of the XXH3 of the
 * study UID, so that no folder holds more than 1/256 of a tenant's studies. */
enum err pack_path(char ret[PACK_PATH], const char *root, const struct pack_origin *o, bool open,
                   struct errmsg *e);

/* ---- writing */
struct pack;

enum err pack_create(const char *root, const struct pack_origin *o, struct pack **ret,
                     struct errmsg *e); // ERR_EXISTS
/* Take up an open pack again: scan, drop what is torn, lock.  ERR_CONFLICT: another process writes
 * it; ERR_SYNTAX: damaged in the middle, left as it is for people to look at. */
enum err pack_reopen(const char *root, const struct pack_origin *o, struct pack **ret,
                     struct errmsg *e);
void pack_close(struct pack *p); // unlock and close; the file stays open for the next writer (tail
                                 // reservation given back)
size_t                    pack_count(const struct pack *p);
const struct pack_image  *pack_images(const struct pack *p); // valid until the next commit
uint64_t                  pack_bytes(const struct pack *p);  // used so far
const struct pack_origin *pack_get_origin(const struct pack *p);
int                       pack_fd(const struct pack *p);

/* One image at a time: begin, add …, commit or abort.  head: preamble and meta information. */
enum err pack_image_begin(struct pack *p, struct str sop_uid, struct str class_uid,
                          struct str syntax_uid, struct bytes head, struct errmsg *e);
enum err pack_image_add(struct pack *p, struct bytes piece,
                        struct errmsg *e); // write-back starts while data arrive
/* Patch the header, fdatasync: durable when it returns ERR_OK.  ret_image, NULL allowed: a copy. */
enum err pack_image_commit(struct pack *p, struct pack_image *ret_image, struct errmsg *e);
void     pack_image_abort(struct pack *p);
/* Read back the data set of the image being written, as far as it was added: at from 0. */
enum err pack_image_read(const struct pack *p, uint64_t at, void *to, size_t n, size_t *ret_n,
                         struct errmsg *e);

uint64_t pack_image_len(const struct pack *p); // of that data set so far

/* ---- the same images in another form, before sealing.  A pack aside takes all of them with
 * pack_image_begin, _add and _keep; then it replaces p at once and is p from there on. */
enum err pack_rewrite_begin(const struct pack *p, struct pack **ret, struct errmsg *e);
/* As commit, but nothing is synced before pack_rewrite_end.  mtime: of the member, seconds. */
enum err pack_image_keep(struct pack *p, int64_t mtime, struct errmsg *e);
/* On success p is gone and q is the open pack; on failure both are as before. */
enum err pack_rewrite_end(struct pack *p, struct pack *q, struct errmsg *e);
void     pack_rewrite_drop(struct pack *q);

/* ---- sealing: manifest, metadata, sums, fsync, rename.  Consumes p (closed on success and on
 * failure). */
struct pack_sealed {
    uint64_t bytes, manifest_at, manifest_len, metadata_at, metadata_len;
    char     sha256[65];
};
enum err pack_seal(struct pack *p, struct pack_sealed *ret, struct errmsg *e);

/* ---- reading */
struct dsrc dsrc_of_fd(int *fd, uint64_t size); // a whole file; *fd must live as long

struct manifest_image {
    struct pack_image image;
    char              sha256[65];
    uint32_t          rows, columns, frames; // 0 when not an image
    uint64_t         *frame_at, *frame_len;  // frames entries, offsets in the pack; NULL when none.
                                    // Fragmented frames: first to last byte, fragments inside
    uint32_t         *frame_fragments; // of each frame; NULL: all are native, or one fragment each
};

struct manifest {
    struct pack_origin     origin;
    struct manifest_image *images;
    size_t                 n;
};
enum err manifest_parse(struct str json, struct arena *a, struct manifest **ret, struct errmsg *e);
void     manifest_write(const struct manifest *m, struct buf *out);

/* Scan a tar file, sealed or open, without trust in its end: images whose header, size and (check)
 * hash are right.  Without check_hash the hash of the last image alone is checked, and that only in
 * an open pack: the others were synced before the next began.  A bad place that good images follow
 * is stepped over and counted, one that none follows is where the pack was torn. */
struct pack_scan {
    struct pack_origin origin; // empty tenant when there was no pax header
    struct pack_image *images;
    size_t             n;
    uint64_t           good_end; // where the next header belongs
    bool               torn;     // something that is no zero block lies after good_end
    size_t             damaged;  // bad places before good_end: the disk's fault, not a crash's
    struct pack_sealed sealed;   // bytes > 0: manifest, metadata and sums members were found
};
enum err pack_scan_fd(int fd, bool check_hash, struct arena *a, struct pack_scan *ret,
                      struct errmsg *e);
enum err pack_scan_src(const struct dsrc *src, bool check_hash, struct arena *a,
                       struct pack_scan *ret, struct errmsg *e);

/* Check every image of a sealed pack against its SHA256SUMS, and the file's structure.  bad is
 * called for every finding, with the SOP Instance UID ("" for the pack itself) and words. Returns
 * ERR_SYNTAX when anything was found. */
typedef void pack_bad(void *ctx, struct str sop_uid, const char *what);
enum err     pack_verify(const char *path, pack_bad *bad, void *ctx, struct errmsg *e);
