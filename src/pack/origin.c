#include <assert.h>
#include <stdio.h>

#include "base/name.h"
#include "pack/pack_priv.h"

/* A version that a later Garonne may raise; readers refuse what they do not know. */
enum { ORIGIN_VERSION = 1, ORIGIN_MAX = 64 << 10 };

bool is_origin(const struct pack_origin *o)
{
    return is_tenant_code(o->tenant) && is_uid_usable(o->study_uid) &&
           is_uid_usable(o->series_uid) && o->n > 0;
}

enum err pack_path(char ret[PACK_PATH], const char *root, const struct pack_origin *o, bool open,
                   struct errmsg *e)
{
    char path[PACK_PATH];
    if (!is_origin(o)) {
        return err_set(e, ERR_SYNTAX, "no path for pack %u of series %.*s", o->n,
                       STR_ARG(o->series_uid));
    }
    unsigned hh = (unsigned)(XXH3_64bits(o->study_uid.ptr, o->study_uid.len) & 0xFF);
    int      len =
        snprintf(path, sizeof(path), "%s/%.*s/%02x/%.*s/%.*s.%u.tar%s", root, STR_ARG(o->tenant),
                 hh, STR_ARG(o->study_uid), STR_ARG(o->series_uid), o->n, open ? ".open" : "");
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return err_set(e, ERR_LIMIT, "path of %d bytes for series %.*s", len,
                       STR_ARG(o->series_uid));
    }
    memcpy(ret, path, (size_t)len + 1);
    return ERR_OK;
}

void origin_write(const struct pack_origin *o, struct jsonw *w)
{
    jsonw_key(w, STR("garonne"));
    jsonw_i64(w, ORIGIN_VERSION);
    jsonw_key(w, STR("tenant"));
    jsonw_str(w, o->tenant);
    jsonw_key(w, STR("study"));
    jsonw_str(w, o->study_uid);
    jsonw_key(w, STR("series"));
    jsonw_str(w, o->series_uid);
    jsonw_key(w, STR("n"));
    jsonw_u64(w, o->n);
    jsonw_key(w, STR("received"));
    jsonw_i64(w, o->received_us);
    jsonw_key(w, STR("calling"));
    jsonw_str(w, o->calling);
    jsonw_key(w, STR("called"));
    jsonw_str(w, o->called);
    jsonw_key(w, STR("address"));
    jsonw_str(w, o->address);
}

bool origin_key(struct jsonr *r, struct str key, struct pack_origin *o)
{
    const struct {
        struct str  key;
        struct str *to;
    } texts[] = {
        {STR("tenant"), &o->tenant},     {STR("study"), &o->study_uid},
        {STR("series"), &o->series_uid}, {STR("calling"), &o->calling},
        {STR("called"), &o->called},     {STR("address"), &o->address},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (str_eq(key, texts[i].key)) {
            *texts[i].to = jsonr_str(r);
            return true;
        }
    }
    if (str_eq(key, STR("n"))) {
        uint64_t n = jsonr_u64(r);
        if (n == 0 || n > UINT32_MAX) {
            cur_fail(&r->c, ERR_SYNTAX);
        }
        o->n = (uint32_t)n;
    } else if (str_eq(key, STR("received"))) {
        o->received_us = jsonr_i64(r);
    } else if (str_eq(key, STR("garonne"))) {
        if (jsonr_u64(r) != ORIGIN_VERSION) {
            cur_fail(&r->c, ERR_UNSUPPORTED);
        }
    } else {
        return false;
    }
    return true;
}

enum err origin_copy(const struct pack_origin *o, struct arena *a, struct pack_origin *ret,
                     struct errmsg *e)
{
    struct pack_origin c = *o;
    struct str *all[] = {&c.tenant, &c.study_uid, &c.series_uid, &c.calling, &c.called, &c.address};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = arena_str(a, *all[i]);
        if (all[i]->ptr == NULL) {
            return err_set(e, ERR_LIMIT, "no memory for the origin of a pack");
        }
    }
    *ret = c;
    return ERR_OK;
}

void origin_front(const struct pack_origin *o, struct buf *out)
{
    CLEANUP(buf_done) struct buf json, pax;
    buf_init(&json, ORIGIN_MAX / 2);
    buf_init(&pax, ORIGIN_MAX);
    struct jsonw w;
    struct bytes text = {0};
    jsonw_init(&w, &json);
    jsonw_obj(&w);
    origin_write(o, &w);
    jsonw_obj_end(&w);
    if (buf_end(&json, &text) == ERR_OK) {
        pax_record_write(&pax, STR("comment"), (struct str){(const char *)text.ptr, text.len});
    }
    enum err rc = buf_end(&pax, &text);
    if (rc != ERR_OK || text.len == 0) {
        out->err = out->err != ERR_OK ? out->err : ERR_LIMIT;
        return;
    }
    struct tar_member m = {
        .name = "PaxHeaders/pack",
        .type = 'x',
        .size = text.len,
        .mtime = o->received_us / 1000000,
        .hash = XXH3_64bits(text.ptr, text.len),
    };
    uint8_t *header = buf_grow(out, TAR_BLOCK);
    if (header != NULL) {
        tar_header_write(&m, header);
    }
    uint8_t *content = buf_grow(out, (size_t)tar_padded(text.len));
    if (content != NULL) {
        memset(content, 0, (size_t)tar_padded(text.len));
        memcpy(content, text.ptr, text.len);
    }
}

enum err origin_parse(struct bytes pax, struct arena *a, struct pack_origin *ret, struct errmsg *e)
{
    while (pax.len > 0) {
        struct str key, value;
        enum err   rc = pax_record_next(&pax, &key, &value, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (!str_eq(key, STR("comment"))) {
            continue;
        }
        struct pack_origin o = ORIGIN_NONE;
        struct jsonr       r;
        struct str         k;
        jsonr_init(&r, str_bytes(value), a);
        jsonr_obj(&r);
        while (jsonr_key(&r, &k)) {
            if (!origin_key(&r, k, &o)) {
                jsonr_skip(&r);
            }
        }
        rc = jsonr_end(&r);
        if (rc != ERR_OK || !is_origin(&o)) {
            return err_set(e, rc != ERR_OK ? rc : ERR_SYNTAX, "origin of the pack cannot be read");
        }
        *ret = o;
        return ERR_OK;
    }
    return err_set(e, ERR_NOTFOUND, "pax header without an origin");
}
