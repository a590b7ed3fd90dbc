#pragma once
/*
 * A series as it is read over HTTP: where each of its objects and frames lies, without any database
 * work while it is known.
 *
 * A view is a snapshot that never changes: images of all packs, first copy of each SOP Instance
 * UID that is not rejected, with the packs' files held open.  Views are cached, the least recently
 * used dropped when all hold more than LIMIT_VIEW_BYTES or LIMIT_VIEW_PACKS files.  At most each
 * LIMIT_SERIES_STALE_MS the index is asked whether the series has changed (sealed, more packs,
 * removed, by this or another process); images of this process's open packs are seen from memory
 * then.
 *
 * Any thread.  Pointers to images, texts and frames live as long as the reference to their view.
 */
#include <stdatomic.h>

#include "archive/archive.h"
#include "pack/model.h"

struct view;

struct view_key {
    int64_t    tenant_id;
    struct str tenant; // code
    struct str study_uid, series_uid;
};

struct view_frame {
    uint64_t at, len;   // in the pack; of several fragments: headers in between included
    uint32_t fragments; // 0: native; 1: the range is the bit stream
    uint8_t  bit;       // native of 1 bit: the lowest bit of the first byte that belongs to it
};

struct view_frames {
    _Atomic unsigned  refs; // of those of open packs; 0: the part's own
    uint32_t          n;
    struct view_frame v[];
};

struct view_part; // one pack

struct view_image {
    struct str                  sop_uid, class_uid, syntax_uid;
    uint64_t                    at, size, data_at, hash; // as in struct pack_image
    int32_t                     number;
    struct view_part           *part;
    /* NULL: not known yet */
    struct view_frames *_Atomic frames;
};

/* What is cached and lately checked, else NULL: never blocks, for an event loop. */
struct view *view_peek(struct archive *a, const struct view_key *k);
/* ERR_NOTFOUND: no such series.  now: look again even if that was done a moment ago. */
enum err     view_get(struct archive *a, const struct view_key *k, bool now, struct view **ret,
                      struct errmsg *e) MUST_USE;
void         view_unref(struct view *v);

size_t             view_count(const struct view *v);
struct view_image *view_at(const struct view *v, size_t i);             // by instance number
struct view_image *view_find(const struct view *v, struct str sop_uid); // NULL
uint64_t           view_tag(const struct view *v);        // another one when anything has changed
bool               view_is_growing(const struct view *v); // it has an open pack

struct str view_series_uid(const struct view_image *i);
/* The pack's descriptor, of the view: not to be closed. */
int        view_fd(const struct view_image *i);

/* A part of a pack as a source. */
struct view_window {
    int      fd;
    uint64_t at, len;
};
struct dsrc        view_src(struct view_window *w); // *w must live as long
/* The PS3.10 file, or its data set alone. */
struct view_window view_file(const struct view_image *i);
struct view_window view_data(const struct view_image *i);
/* The next range of the pack that belongs to a frame in fragments, without their headers; *at
 * begins as 0; *ret_len 0: no more. */
enum err view_frame_piece(const struct view_image *i, const struct view_frame *f, uint64_t *at,
                          uint64_t *ret_offset, uint64_t *ret_len, struct errmsg *e) MUST_USE;

/* Where its frames lie: from the manifest, or, in an open pack, from its header, once.
 * ERR_NOTFOUND: no pixel data; ERR_UNSUPPORTED: they lie nowhere by themselves (deflated, video).
 */
enum err                  view_frames(struct archive *a, struct view *v, struct view_image *i,
                                      const struct view_frames **ret, struct errmsg *e) MUST_USE;
/* What is known already, or NULL: never blocks. */
const struct view_frames *view_frames_peek(const struct view_image *i);

/*
 * The metadata of the series as bodies of one gzip member (pack/model.h): ranges of sealed packs,
 * and for open ones memory that grows with them.
 */
struct view_body {
    struct model_body body;
    int               fd; // -1: in memory
    uint64_t          at;
    const uint8_t    *ptr;
};
/* The array is in the arena. */
enum err view_metadata(struct archive *a, struct view *v, struct arena *mem, struct view_body **ret,
                       size_t *ret_n, struct errmsg *e) MUST_USE;
