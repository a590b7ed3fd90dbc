#pragma once
/*
 * What the handlers of WADO-RS and WADO-URI share: who asks for which object, what may be sent.
 *
 * A route runs twice at most: first on the event loop, where nothing may wait (its `begin`), and
 * then, when something had to be asked of the index or the disk, on a worker.
 */
#include "archive/view.h"
#include "dicomweb/pieces.h"
#include "dicomweb/web_priv.h"
#include "http/accept.h"

struct wado {
    struct web          *w;
    struct http_request *r;
    bool                 may_wait; // on a worker
    struct actor         actor;
    struct view_key      key; // of the path, as far as it goes
    struct str           sop_uid;
};

/* UIDs of the path checked, the caller known.  False: answered, or the loop must not go on. */
bool               wado_begin(struct wado *x, struct web *w, struct http_request *r, bool may_wait);
/* The series, or a moment of waiting refused: NULL, answered when there was something to say. */
struct view       *wado_series(struct wado *x);
/* The instance in it; *ret_view is the caller's. */
struct view_image *wado_image(struct wado *x, struct view **ret_view);
/* All series of the study; NULL entries are left out.  On a worker.  False: answered. */
bool               wado_study(struct wado *x, struct view ***ret, size_t *ret_n);
void               wado_unref(struct view **v, size_t n);

/* The best of n offers by the Accept header and the query parameter accept; false: 400 or 406,
 * answered. */
bool wado_choose(struct http_request *r, const struct accept_offer *offer, size_t n, size_t *ret);
/* The same without an answer.  ERR_NOTFOUND: none of them. */
enum err wado_try(struct http_request *r, const struct accept_offer *offer, size_t n, size_t *ret,
                  struct errmsg *e);
/* Does Accept-Encoding allow gzip? */
bool     is_gzip_welcome(const struct http_request *r);

/* ETag of what a tag, its place and its form decide; true: 304 given.  age: seconds that it may be
 * used without asking again. */
bool wado_is_cached(struct http_request *r, uint64_t tag, const char *form, unsigned age);

/* The DICOM media type of frames in a syntax, PS3.18 table 8.7.3-4; NULL: none. */
const char *frame_media(struct str syntax_uid);
/* Its pixels are native, little endian or bytes. */
bool        is_plain_syntax(const struct syntax *s);

/* "Warning: 299 garonne: …", PS3.18 8.4.3 */
void wado_warn(struct http_request *r, const char *fmt, ...) PRINTF(2, 3);
