#pragma once
/*
 * The images of one live series: which SOP Instance UIDs it holds and where their bytes are.
 *
 * Some 120 bytes an image: UIDs lie one after the other in one block of text, SOP classes and
 * transfer syntaxes are numbers of a short table.  Nothing is ever removed; an image that failed to
 * become durable is left in the state IMG_GONE and can be claimed again.  Owned by its series and
 * guarded by the series' lock; indices stay valid, pointers only until the next addition.
 */
#include "base/attr.h"
#include "base/err.h"
#include "pack/pack.h"

enum img_state {
    IMG_GONE,    // not there (any more)
    IMG_CLAIMED, // one writer is making it durable
    IMG_PRESENT,
};

struct img {
    uint64_t at, size, data_at, hash; // as in struct pack_image
    uint32_t uid;                     // where its text begins in the set's texts
    uint32_t pack_n;
    int32_t  number;
    uint16_t class_i, syntax_i; // in the set's names
    uint8_t  uid_len;
    uint8_t  state; // enum img_state
};

struct img_name { // a SOP class or a transfer syntax
    char uid[65];
    bool filed; // the index knows that the series has images of this class
};

struct imgset {
    struct img      *v; // in order of arrival
    size_t           n, room;
    uint32_t        *table; // of index + 1, open addressing; 0: free
    size_t           table_n;
    char            *text;
    size_t           text_len, text_room;
    struct img_name *names;
    size_t           names_n, names_room;
};

void imgset_init(struct imgset *s);
void imgset_done(struct imgset *s); // also the cleanup function

/* The image of that UID in any state; NULL when the set has never seen it. */
struct img *imgset_find(const struct imgset *s, struct str sop_uid);

/* Does the index know that the series has images of that SOP class? */
bool is_class_filed(const struct imgset *s, struct str class_uid);
void imgset_set_filed(struct imgset *s, struct str class_uid);
void imgset_unfile(struct imgset *s); // of no class any more

/* Find or add; a new one is IMG_GONE, with its class and syntax noted.  ERR_NOMEM; ERR_LIMIT: too
 * many different SOP classes and syntaxes in one series. */
enum err imgset_claim(struct imgset *s, struct str sop_uid, struct str class_uid,
                      struct str syntax_uid, struct img **ret, struct errmsg *e) MUST_USE;
/* Its place becomes p's, its state IMG_PRESENT. */
void     img_fill(struct img *i, uint32_t pack_n, const struct pack_image *p);
/* Both at once, for what a manifest or a scan says; an image that is known is left as it is. */
enum err imgset_add(struct imgset *s, uint32_t pack_n, const struct pack_image *p,
                    struct errmsg *e) MUST_USE;
/* An image of that pack, when it is present, lies elsewhere now. */
void     imgset_move(struct imgset *s, uint32_t pack_n, const struct pack_image *p);
/* Back to the form that packs speak. */
void     img_get(const struct imgset *s, const struct img *i, struct pack_image *ret);
