#pragma once
/*
 * Frames decoded, or coded in another way than they lie: by the pixel workers.
 */
#include "dicomweb/wado.h"
#include "http/multipart.h"

struct recode {
    const uint32_t *list; // numbers from 0; NULL: the first n
    size_t          n;
    const char     *target, *media; // transfer syntax, media type of a part
    bool            multipart;      // else n is 1
};

/* Content-Type of a part: "image/jphc; transfer-syntax=…". */
void       frame_type(const char *media, const char *syntax, char ret[128]);
/* The head of a part: frame number from 0. */
void       frame_head(struct buf *out, const char *boundary, bool first, const char *type,
                      struct str instance_url, uint32_t number);
/* ".../instances/{sop}", in the request's arena. */
struct str instance_url(struct wado *x, const struct view_image *i);

/* One frame at once, several while they are sent.  On a worker; takes the reference of v. */
void recode_answer(struct wado *x, struct view *v, const struct view_image *i,
                   const struct recode *how);
