#include "dicomweb/wado.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- who asks for what */

static bool path_uid(struct http_request *r, const char *name, struct str *ret)
{
    struct str uid = http_param(r, name);
    if (uid.ptr == NULL) {
        return true;
    }
    if (!is_uid_usable(uid)) {
        http_error(r, 400, "syntax", "the %s in the path is no UID", name);
        return false;
    }
    *ret = uid;
    return true;
}

bool wado_begin(struct wado *x, struct web *w, struct http_request *r, bool may_wait)
{
    *x = (struct wado){.w = w, .r = r, .may_wait = may_wait};
    if (!may_wait && !access_is_cached(w->access, r)) {
        return false;
    }
    if (!web_actor(w, r, ACT_READ, &x->actor) || !path_uid(r, "study", &x->key.study_uid) ||
        !path_uid(r, "series", &x->key.series_uid) || !path_uid(r, "instance", &x->sop_uid)) {
        return false;
    }
    x->key.tenant_id = x->actor.tenant_id;
    x->key.tenant = str_of(x->actor.tenant);
    return true;
}

static struct view *series_get(struct wado *x, bool now)
{
    struct errmsg e = {0};
    struct view  *v = NULL;
    enum err      rc = view_get(x->w->archive, &x->key, now, &v, &e);
    if (rc == ERR_NOTFOUND) {
        http_error(x->r, 404, "not_found", "no such series");
    } else if (rc != ERR_OK) {
        http_fail(x->r, rc, &e);
    }
    return rc == ERR_OK ? v : NULL;
}

struct view *wado_series(struct wado *x)
{
    return x->may_wait ? series_get(x, false) : view_peek(x->w->archive, &x->key);
}

struct view_image *wado_image(struct wado *x, struct view **ret_view)
{
    struct view       *v = wado_series(x);
    struct view_image *i = v != NULL ? view_find(v, x->sop_uid) : NULL;
    if (i == NULL && v != NULL && x->may_wait) { // it may just have arrived
        view_unref(v);
        v = series_get(x, true);
        i = v != NULL ? view_find(v, x->sop_uid) : NULL;
        if (v != NULL && i == NULL) {
            http_error(x->r, 404, "not_found", "no such instance");
        }
    }
    if (i == NULL) {
        view_unref(v);
        return NULL;
    }
    *ret_view = v;
    return i;
}

void wado_unref(struct view **v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        view_unref(v[i]);
    }
}

static enum err series_of(struct wado *x, struct arena *mem, struct uid_list *ret, struct errmsg *e)
{
    struct db *db = db_pool_take(archive_db(x->w->archive), e);
    enum err   rc =
        db == NULL ? e->code : series_uids(db, x->key.tenant_id, x->key.study_uid, mem, ret, e);
    db_pool_give(archive_db(x->w->archive), db);
    return rc;
}

static enum err study_views(struct wado *x, const struct uid_list *uids, struct view **v,
                            size_t *ret_n, struct errmsg *e)
{
    *ret_n = 0;
    for (size_t i = 0; i < uids->n; i++) {
        struct view_key k = x->key;
        struct errmsg   mine = {0};
        k.series_uid = uids->v[i];
        enum err rc = view_get(x->w->archive, &k, false, &v[*ret_n], &mine);
        if (rc != ERR_OK && rc != ERR_NOTFOUND) { // not found: an empty one, or gone meanwhile
            return err_set(e, rc, "%s", mine.text);
        }
        *ret_n += rc == ERR_OK;
    }
    return *ret_n > 0 ? ERR_OK : err_set(e, ERR_NOTFOUND, "no such study");
}

bool wado_study(struct wado *x, struct view ***ret, size_t *ret_n)
{
    struct arena   *mem = http_arena(x->r);
    struct uid_list uids = {0};
    struct errmsg   e = {0};
    enum err        rc = series_of(x, mem, &uids, &e);
    struct view   **v = rc == ERR_OK ? arena_array(mem, uids.n + 1, struct view *) : NULL;
    if (rc == ERR_OK && v == NULL) {
        rc = err_set(&e, ERR_LIMIT, "a study of %zu series", uids.n);
    }
    if (rc == ERR_OK && v != NULL) {
        rc = study_views(x, &uids, v, ret_n, &e);
        if (rc != ERR_OK) {
            wado_unref(v, *ret_n);
        }
    }
    if (rc != ERR_OK) {
        http_fail(x->r, rc, &e);
        return false;
    }
    *ret = v;
    return true;
}

/* ---- what may be sent */

static bool is_empty(struct str s)
{
    return s.ptr == NULL || s.len == 0;
}

enum err wado_try(struct http_request *r, const struct accept_offer *offer, size_t n, size_t *ret,
                  struct errmsg *e)
{
    struct accept header = {0}, query = {0};
    struct str    in_header = http_header(r, "Accept"), in_query = http_query(r, "accept");
    enum err rc = is_empty(in_header) ? ERR_OK : accept_parse(in_header, http_arena(r), &header, e);
    if (rc == ERR_OK && !is_empty(in_query)) {
        rc = accept_parse(in_query, http_arena(r), &query, e);
    }
    return rc == ERR_OK ? accept_choose(&header, &query, offer, n, ret) : rc;
}

/* What there is, for a person who asked for something else. */
static void refuse(struct http_request *r, const struct accept_offer *offer, size_t n)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < n; i++) {
        buf_fmt(&b, "%s%s%s%s", i > 0 ? ", " : "",
                offer[i].multipart ? "multipart/related; type=\"" : "", offer[i].media,
                offer[i].multipart ? "\"" : "");
        if (offer[i].syntax != NULL) {
            buf_fmt(&b, "; transfer-syntax=%s", offer[i].syntax);
        }
    }
    http_error(r, 406, "not_acceptable", "available: %.*s", (int)b.len, (const char *)b.ptr);
}

bool wado_choose(struct http_request *r, const struct accept_offer *offer, size_t n, size_t *ret)
{
    struct errmsg e = {0};
    enum err      rc = wado_try(r, offer, n, ret, &e);
    if (rc == ERR_NOTFOUND) {
        refuse(r, offer, n);
    } else if (rc != ERR_OK) {
        http_error(r, 400, "syntax", "Accept: %s", e.text);
    }
    return rc == ERR_OK;
}

/* One element of Accept-Encoding: "gzip", "*;q=0". */
static bool is_coding(struct str one, bool *ret_refused)
{
    const char *semi = memchr(one.ptr, ';', one.len);
    struct str  name = {one.ptr, semi != NULL ? (size_t)(semi - one.ptr) : one.len};
    while (name.len > 0 && (name.ptr[0] == ' ' || name.ptr[0] == '\t')) {
        name = (struct str){name.ptr + 1, name.len - 1};
    }
    while (name.len > 0 && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t')) {
        name.len--;
    }
    struct str rest = semi != NULL ? (struct str){semi + 1, one.len - name.len - 1} : STR("");
    bool       zero = false;
    if (semi != NULL) {
        rest.len = (size_t)(one.ptr + one.len - rest.ptr);
        const char *q = memmem(rest.ptr, rest.len, "q=0", 3);
        zero = q != NULL;
        for (const char *p = q; zero && p != NULL && p < rest.ptr + rest.len; p++) {
            zero = *p < '1' || *p > '9'; // q=0.000 is none, q=0.5 is some
        }
    }
    *ret_refused = zero;
    return (name.len == 4 && strncasecmp(name.ptr, "gzip", 4) == 0) || str_eq(name, STR("*"));
}

bool is_gzip_welcome(const struct http_request *r)
{
    struct str list = http_header(r, "Accept-Encoding");
    while (!is_empty(list)) {
        const char *end = memchr(list.ptr, ',', list.len);
        size_t      n = end != NULL ? (size_t)(end - list.ptr) : list.len;
        bool        refused = false;
        if (is_coding((struct str){list.ptr, n}, &refused)) {
            return !refused;
        }
        n += end != NULL;
        list = (struct str){list.ptr + n, list.len - n};
    }
    return false;
}

bool wado_is_cached(struct http_request *r, uint64_t tag, const char *form, unsigned age)
{
    char text[128], control[64];
    (void)snprintf(text, sizeof(text), "\"%016" PRIx64 "%s%s\"", tag, form[0] != '\0' ? "-" : "",
                   form);
    if (age > 0) {
        (void)snprintf(control, sizeof(control), "private, max-age=%u", age);
    } else {
        (void)snprintf(control, sizeof(control), "private, no-cache");
    }
    http_add_header(r, "Cache-Control", str_of(control));
    http_add_header(r, "Vary", STR("Accept, Accept-Encoding"));
    return http_is_cached(r, str_of(text));
}

const char *frame_media(struct str syntax_uid)
{
    static const struct {
        const char *from, *media;
    } rows[] = {
        {"1.2.840.10008.1.2.5", "image/dicom-rle"}, {"1.2.840.10008.1.2.4.50", "image/jpeg"},
        {"1.2.840.10008.1.2.4.51", "image/jpeg"},   {"1.2.840.10008.1.2.4.57", "image/jpeg"},
        {"1.2.840.10008.1.2.4.70", "image/jpeg"},   {"1.2.840.10008.1.2.4.80", "image/jls"},
        {"1.2.840.10008.1.2.4.81", "image/jls"},    {"1.2.840.10008.1.2.4.90", "image/jp2"},
        {"1.2.840.10008.1.2.4.91", "image/jp2"},    {"1.2.840.10008.1.2.4.92", "image/jpx"},
        {"1.2.840.10008.1.2.4.93", "image/jpx"},    {"1.2.840.10008.1.2.4.110", "image/jxl"},
        {"1.2.840.10008.1.2.4.111", "image/jxl"},   {"1.2.840.10008.1.2.4.112", "image/jxl"},
        {"1.2.840.10008.1.2.4.201", "image/jphc"},  {"1.2.840.10008.1.2.4.202", "image/jphc"},
        {"1.2.840.10008.1.2.4.203", "image/jphc"},  {"1.2.840.10008.1.2.4.100", "video/mpeg2"},
        {"1.2.840.10008.1.2.4.101", "video/mpeg2"}, {"1.2.840.10008.1.2.4.102", "video/mp4"},
        {"1.2.840.10008.1.2.4.103", "video/mp4"},   {"1.2.840.10008.1.2.4.104", "video/mp4"},
        {"1.2.840.10008.1.2.4.105", "video/mp4"},   {"1.2.840.10008.1.2.4.106", "video/mp4"},
        {"1.2.840.10008.1.2.4.107", "video/H265"},  {"1.2.840.10008.1.2.4.108", "video/H265"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (str_eq(syntax_uid, str_of(rows[i].from))) {
            return rows[i].media;
        }
    }
    return NULL;
}

bool is_plain_syntax(const struct syntax *s)
{
    return s != NULL && !s->encapsulated && !s->big_endian && !s->deflated;
}

void wado_warn(struct http_request *r, const char *fmt, ...)
{
    char    text[300], all[340];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)snprintf(all, sizeof(all), "299 garonne: %s", text);
    http_add_header(r, "Warning", str_of(all));
}
