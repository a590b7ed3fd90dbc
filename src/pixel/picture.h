#pragma once
/*
 * A picture as screens show it: 8 bits a sample, grey or RGB, rows from the top; and the files it
 * is sent in (PS3.18 table 8.7.4-1): JPEG by TurboJPEG, PNG by libpng, GIF by giflib.
 *
 * The owner of a struct picture calls picture_done.  Any thread.
 */
#include "base/buf.h"

struct picture {
    uint32_t   w, h;
    unsigned   samples; // 1 or 3
    struct buf px;
};

/* Black.  ERR_LIMIT: a side over LIMIT_PICTURE_SIDE, or over LIMIT_PICTURE bytes. */
enum err picture_init(struct picture *p, uint32_t w, uint32_t h, unsigned samples,
                      struct errmsg *e) MUST_USE;
void     picture_done(struct picture *p); // also the cleanup function

enum picture_format { PICTURE_JPEG, PICTURE_PNG, PICTURE_GIF, PICTURE__COUNT };

const char *picture_media(enum picture_format f); // "image/jpeg"

/* quality: 1 to 100, of JPEG alone; 0: 90.  out: appended. */
enum err picture_write(const struct picture *p, enum picture_format f, uint32_t quality,
                       struct buf *out, struct errmsg *e) MUST_USE;

/* A GIF of several pictures of one size, repeated for ever: colours are reduced to 256 a picture,
 * greys are exact.  Between begin and end no other use of out. */
struct picture_gif {
    void    *file; // of the library; NULL once ended
    uint32_t w, h;
};

enum err picture_gif_begin(struct picture_gif *g, uint32_t w, uint32_t h, bool repeats,
                           struct buf *out, struct errmsg *e) MUST_USE;
enum err picture_gif_add(struct picture_gif *g, const struct picture *p, uint32_t delay_ms,
                         struct errmsg *e) MUST_USE;
/* Always called once, whatever begin and add said. */
enum err picture_gif_end(struct picture_gif *g, struct errmsg *e) MUST_USE;
