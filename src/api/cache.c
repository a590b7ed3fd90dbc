/* Lean indexes of series, the least recently used dropped.  A series that gained an image, or whose
 * images were recompressed, has another stamp. */
#include <stdlib.h>

#include "api/api_priv.h"
#include "base/lock.h"

struct entry {
    struct entry *next; // by use, newest first
    int64_t       series_id;
    uint64_t      stamp;
    size_t        len;
    uint8_t       json[];
};

struct image_cache {
    struct lock   lock;
    struct entry *newest;
    size_t        bytes;
};

enum err image_cache_new(struct image_cache **ret, struct errmsg *e)
{
    struct image_cache *c = calloc(1, sizeof(*c)); // allow-banned: freed in image_cache_free
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the cache of image lists");
    }
    lock_init(&c->lock, LOCK_LEAF);
    *ret = c;
    return ERR_OK;
}

static void drop(struct image_cache *c, struct entry **at)
{
    struct entry *n = *at;
    *at = n->next;
    c->bytes -= n->len;
    free(n);
}

void image_cache_free(struct image_cache *c)
{
    if (c == NULL) {
        return;
    }
    while (c->newest != NULL) {
        drop(c, &c->newest);
    }
    lock_done(&c->lock);
    free(c);
}

bool image_cache_get(struct image_cache *c, int64_t series_id, uint64_t stamp, struct buf *to)
{
    bool hit = false;
    lock_take(&c->lock);
    for (struct entry **at = &c->newest; *at != NULL; at = &(*at)->next) {
        struct entry *n = *at;
        if (n->series_id == series_id && n->stamp == stamp) {
            *at = n->next;
            n->next = c->newest;
            c->newest = n;
            buf_add(to, (struct bytes){n->json, n->len});
            hit = true;
            break;
        }
    }
    lock_give(&c->lock);
    return hit;
}

void image_cache_put(struct image_cache *c, int64_t series_id, uint64_t stamp, struct bytes json)
{
    struct entry *n = malloc(sizeof(*n) + json.len); // allow-banned: freed in drop
    if (n == NULL || json.len > LIMIT_IMAGE_CACHE / 4) {
        free(n);
        return;
    }
    *n = (struct entry){.series_id = series_id, .stamp = stamp, .len = json.len};
    memcpy(n->json, json.ptr, json.len);
    lock_take(&c->lock);
    n->next = c->newest;
    c->newest = n;
    c->bytes += n->len;
    size_t kept = 0;
    for (struct entry **at = &c->newest; *at != NULL;) {
        bool old = *at != n && (*at)->series_id == series_id;
        if (old || kept + (*at)->len > LIMIT_IMAGE_CACHE) {
            drop(c, at);
        } else {
            kept += (*at)->len;
            at = &(*at)->next;
        }
    }
    lock_give(&c->lock);
}
