#pragma once
/*
 * Inside of api: one file a subject.
 */
#include "api/api.h"
#include "base/jsonw.h"
#include "base/limits.h"

struct site;
struct hub;
struct image_cache;

struct api {
    struct api_conf     conf;
    struct site        *site; // NULL: no pages
    struct hub         *hub;
    struct image_cache *cache;
};

/* ---- site.c: the pages */
enum err site_open(const char *folder, struct site **ret, struct errmsg *e) MUST_USE;
void     site_free(struct site *s);
void     site_handle(struct http_request *r, void *arg); // arg: struct api

/* ---- cache.c */
enum err image_cache_new(struct image_cache **ret, struct errmsg *e) MUST_USE;
void     image_cache_free(struct image_cache *c);
/* Appends what is known of the series under that stamp. */
bool     image_cache_get(struct image_cache *c, int64_t series_id, uint64_t stamp, struct buf *to);
void image_cache_put(struct image_cache *c, int64_t series_id, uint64_t stamp, struct bytes json);

/* ---- session.c */
void session_begin(struct http_request *r, void *arg);
void session_tell(struct http_request *r, void *arg);
void session_end(struct http_request *r, void *arg);

/* ---- events.c: who listens, and the thread that looks for changes while somebody does */
enum err hub_new(struct db_pool *db, struct hub **ret, struct errmsg *e) MUST_USE;
void     hub_quit(struct hub *h);
void     hub_free(struct hub *h);
void     events_handle(struct http_request *r, void *arg);

/* ---- studies.c: the study list */
void studies_handle(struct http_request *r, void *arg);

/* ---- instances.c: the lean instance index */
void instances_handle(struct http_request *r, void *arg);

/* ---- image.c: what the reader must know of one image, as JSON values */
enum image_attr {
    IMAGE_NUMBER,
    IMAGE_FRAMES,
    IMAGE_ROWS,
    IMAGE_COLS,
    IMAGE_SAMPLES,
    IMAGE_PHOTO,
    IMAGE_PLANAR,
    IMAGE_ALLOC,
    IMAGE_STORED,
    IMAGE_SIGNED,
    IMAGE_PADDING,
    IMAGE_SLOPE,
    IMAGE_INTERCEPT,
    IMAGE_WC,
    IMAGE_WW,
    IMAGE_VOI,
    IMAGE_SHAPE,
    IMAGE_SPACING,
    IMAGE_POS,
    IMAGE_ORIENT,
    IMAGE_LOSSY,
    IMAGE_TIME,
    IMAGE_SYNTAX,
    IMAGE_CLASS,
    IMAGE__COUNT
};

extern const char *const image_attr_name[IMAGE__COUNT];

struct image_facts {
    struct str sop;
    struct str value[IMAGE__COUNT]; // JSON; len 0: absent
};

/* d: the header, read up to the pixel data.  In the arena. */
enum err image_facts(const struct dset *d, const struct pack_image *p, struct arena *a,
                     struct image_facts *ret, struct errmsg *e) MUST_USE;
/* A series' images as the members "prefix", "sop", "all" and "each" of the object that is open:
 * what all have in common is said once. */
void     images_write(struct jsonw *w, const struct image_facts *f, size_t n);

/* JSON as body, compressed when the client takes gzip and it is worth it.  Takes json. */
void answer_json(struct http_request *r, struct buf *json);
