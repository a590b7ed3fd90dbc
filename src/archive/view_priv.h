#pragma once
/*
 * Inside of the views of series: one pack as it was at one moment, counted, shared by the views
 * that it is in.
 */
#include "archive/archive_priv.h"
#include "archive/view.h"

/* Metadata of some images of an open pack, one after the other. */
struct segment {
    _Atomic unsigned  refs;
    size_t            images;
    struct model_body body;
    uint8_t           bytes[];
};

struct view_part {
    _Atomic unsigned   refs;
    int64_t            row_id;
    bool               sealed;
    int                fd;
    uint64_t           tag;
    char               study_uid[65], series_uid[65];
    struct arena       mem; // images, their texts and frames
    struct view_image *images;
    size_t             n;
    size_t             bytes; // of memory, about
    bool               has_body;
    uint64_t           body_at;
    struct model_body  body; // sealed, and made to be joined

    /* Not sealed, or not made to be joined: those of the part before, and one more. */
    struct lock     lock;
    struct segment *segments[LIMIT_VIEW_SEGMENTS];
    size_t          n_segments, covered; // images in them
};

void segment_unref(struct segment *s);

/* A sealed pack. */
enum err part_sealed(struct archive *a, const struct pack_row *row, struct view_part **ret,
                     struct errmsg *e);
/* One that was open when its row was read; live NULL: not one of this process.  What was found out
 * about the images of before (NULL allowed) is kept. */
enum err part_open(struct archive *a, const struct pack_row *row, struct series *live,
                   struct view_part *before, struct view_part **ret, struct errmsg *e);
void     part_unref(struct view_part *p);

size_t                    view_parts(const struct view *v);
struct view_part         *view_part(const struct view *v, size_t i);
/* Images of its parts that are not in it: another pack has them too, or they are rejected. */
bool                      view_has_twins(const struct view *v);
/* Then its metadata: NULL, not made yet; it goes with the view. */
struct segment *_Atomic  *view_segment(struct view *v);
struct view_image *const *view_order(const struct view *v);
/* The view holds more memory now. */
void                      view_grew(struct archive *a, struct view *v, size_t bytes);
