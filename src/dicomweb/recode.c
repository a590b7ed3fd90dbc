#include "dicomweb/recode.h"

#include <stdio.h>

void frame_type(const char *media, const char *syntax, char ret[128])
{
    (void)snprintf(ret, 128, "%s; transfer-syntax=%s", media, syntax);
}

struct str instance_url(struct wado *x, const struct view_image *i)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    buf_fmt(&b, "%.*s/studies/%.*s/series/%.*s/instances/%.*s", STR_ARG(web_root(x->r)),
            STR_ARG(x->key.study_uid), STR_ARG(x->key.series_uid), STR_ARG(i->sop_uid));
    return arena_str(http_arena(x->r), (struct str){(const char *)b.ptr, b.len});
}

void frame_head(struct buf *out, const char *boundary, bool first, const char *type,
                struct str instance_url, uint32_t number)
{
    CLEANUP(buf_done) struct buf place;
    buf_init(&place, 4096);
    buf_fmt(&place, "%.*s/frames/%u", STR_ARG(instance_url), number + 1);
    const struct http_pair pairs[] = {
        {STR("Content-Type"), str_of(type)},
        {STR("Content-Location"), {(const char *)place.ptr, place.len}},
    };
    multipart_head(out, boundary, first, pairs, 2);
}
