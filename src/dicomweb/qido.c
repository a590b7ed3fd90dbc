#include "dicomweb/qido.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/tags.h"

bool attribute_parse(struct str s, uint32_t *ret_tag)
{
    const struct dict_entry *d = dict_find_keyword(s);
    uint64_t                 v = 0;
    if (d != NULL) {
        *ret_tag = d->tag;
        return true;
    }
    if (s.len != 8 || !parse_u64_base(s, 16, &v)) {
        return false;
    }
    *ret_tag = (uint32_t)v;
    return true;
}

/* The value as a data set keeps it: lists of UIDs come with commas (8.3.4.1), binary numbers as
 * text. */
static enum err put_value(struct dset *d, uint32_t tag, struct str v, struct errmsg *e)
{
    enum vr  vr = dict_vr(tag);
    enum err rc;
    int64_t  number = 0;
    bool     binary = vr == VR_US || vr == VR_SS || vr == VR_UL || vr == VR_SL;
    if (tag == DT_SpecificCharacterSet) {
        return ERR_OK; // ours is UTF-8; matching looks past it in any case
    }
    if (v.len == 0) {
        rc = dset_put(d, tag, vr, (struct bytes){0});
    } else if (vr == VR_UI) {
        struct str copy = arena_str(d->arena, v);
        for (char *p = (char *)(uintptr_t)copy.ptr; copy.ptr != NULL && p < copy.ptr + v.len; p++) {
            if (*p == ',') {
                *p = '\\';
            }
        }
        rc = copy.ptr == NULL ? ERR_NOMEM : dset_put_str(d, tag, copy);
    } else if (binary) {
        if (!parse_i64(v, &number)) {
            return err_set(e, ERR_SYNTAX, "a number is wanted, not \"%.*s\"", (int)(v.len % 64),
                           v.ptr);
        }
        uint8_t b[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                        (uint8_t)(number >> 24)};
        rc = dset_put(d, tag, vr, (struct bytes){b, vr == VR_US || vr == VR_SS ? 2 : 4});
    } else if (vr == VR_SQ || vr == VR_UN) {
        return err_set(e, ERR_SYNTAX, "an attribute of this kind has no value to look for");
    } else {
        rc = dset_put_text(d, tag, v);
    }
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "the value is too long");
}

/* "A.B.C=v": an item of A with an item of B with the key C (8.3.4.1). */
static enum err put_key(struct dset *d, struct str path, struct str v, struct errmsg *e)
{
    struct str rest = path;
    for (unsigned depth = 0;; depth++) {
        uint32_t   tag = 0;
        struct str name = {0};
        (void)str_next(&rest, '.', &name);
        if (!attribute_parse(name, &tag)) {
            return err_set(e, ERR_SYNTAX, "no attribute is called so");
        }
        if (rest.ptr == NULL) {
            return put_value(d, tag, v, e);
        }
        if (dict_vr(tag) != VR_SQ || depth >= LIMIT_SQ_DEPTH) {
            return err_set(e, ERR_SYNTAX, "only sequences have parts");
        }
        struct elem *el = dset_find(d, tag); // several keys of one item go together
        enum err     rc = ERR_OK;
        if (el != NULL && el->n_items > 0) {
            d = el->items[0];
        } else {
            rc = dset_put_item(d, tag, &d);
        }
        if (rc != ERR_OK) {
            return err_set(e, rc, "too many keys");
        }
    }
}

static enum err put_include(struct qido *q, uint32_t *list, struct str v, struct errmsg *e)
{
    while (v.ptr != NULL && v.len > 0) {
        struct str path = {0}, name = {0};
        (void)str_next(&v, ',', &path);
        (void)str_next(&path, '.', &name); // a part of a sequence: the whole of it comes
        if (name.len == 0 && path.ptr == NULL) {
            continue; // "KVP,"
        }
        if (str_eq(name, STR("all"))) {
            q->include_all = true;
            continue;
        }
        if (q->n_include == URI_QUERIES) {
            return err_set(e, ERR_LIMIT, "more than %d fields", URI_QUERIES);
        }
        if (!attribute_parse(name, &list[q->n_include])) {
            return err_set(e, ERR_SYNTAX, "no attribute is called so");
        }
        q->n_include++;
    }
    return ERR_OK;
}

static enum err put_number(struct str v, uint64_t *ret, struct errmsg *e)
{
    return parse_u64_base(v, 10, ret) ? ERR_OK : err_set(e, ERR_SYNTAX, "not a whole number");
}

static enum err put_bool(struct str v, bool *ret, struct errmsg *e)
{
    *ret = str_eq(v, STR("true"));
    return *ret || str_eq(v, STR("false")) ? ERR_OK : err_set(e, ERR_SYNTAX, "true or false");
}

static enum err put(struct qido *q, uint32_t *list, const struct http_pair *p, struct errmsg *e)
{
    if (str_eq(p->name, STR("accept")) || str_eq(p->name, STR("charset"))) {
        return ERR_OK; // of the answer, 8.3.3
    }
    if (str_eq(p->name, STR("includefield"))) {
        return put_include(q, list, p->value, e);
    }
    if (str_eq(p->name, STR("fuzzymatching"))) {
        return put_bool(p->value, &q->fuzzy, e);
    }
    if (str_eq(p->name, STR("limit"))) {
        q->limited = true;
        return put_number(p->value, &q->limit, e);
    }
    if (str_eq(p->name, STR("offset"))) {
        return put_number(p->value, &q->offset, e);
    }
    return put_key(q->keys, p->name, p->value, e);
}

enum err qido_parse(const struct uri *u, struct arena *a, struct qido *ret, struct errmsg *e)
{
    uint32_t *list = arena_array(a, URI_QUERIES, uint32_t);
    *ret = (struct qido){.keys = dset_new(a), .include = list, .limit = LIMIT_QIDO_PAGE};
    enum err rc = list != NULL && ret->keys != NULL
                      ? dset_put_str(ret->keys, DT_SpecificCharacterSet, STR("ISO_IR 192"))
                      : ERR_NOMEM;
    if (rc != ERR_OK) {
        return err_set(e, ERR_NOMEM, "no memory for the query");
    }
    for (size_t i = 0; i < u->queries && rc == ERR_OK; i++) {
        rc = put(ret, list, &u->query[i], e);
        if (rc != ERR_OK) {
            err_context(e, "%.*s", (int)(u->query[i].name.len < 64 ? u->query[i].name.len : 64),
                        u->query[i].name.ptr);
        }
    }
    if (ret->limit > LIMIT_QIDO_PAGE) {
        ret->limit = LIMIT_QIDO_PAGE;
        ret->limited = false;
    }
    return rc;
}
