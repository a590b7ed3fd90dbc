#include <stdlib.h>

#include "base/limits.h"
#include "base/num.h"
#include "pack/pack_priv.h"

static struct str hex16(uint64_t v, char to[17])
{
    for (size_t i = 0; i < 16; i++) {
        to[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
    }
    to[16] = '\0';
    return (struct str){to, 16};
}

static void put_text(struct jsonw *w, struct str key, const char *value)
{
    jsonw_key(w, key);
    jsonw_str(w, str_of(value));
}

static void put_number(struct jsonw *w, struct str key, uint64_t value)
{
    jsonw_key(w, key);
    jsonw_u64(w, value);
}

static void put_frames(struct jsonw *w, const struct manifest_image *m)
{
    jsonw_key(w, STR("frame_at"));
    jsonw_arr(w);
    for (size_t i = 0; i < m->frames; i++) {
        jsonw_u64(w, m->frame_at[i]);
    }
    jsonw_arr_end(w);
    jsonw_key(w, STR("frame_len"));
    jsonw_arr(w);
    for (size_t i = 0; i < m->frames; i++) {
        jsonw_u64(w, m->frame_len[i]);
    }
    jsonw_arr_end(w);
    if (m->frame_fragments == NULL) {
        return;
    }
    jsonw_key(w, STR("frame_fragments"));
    jsonw_arr(w);
    for (size_t i = 0; i < m->frames; i++) {
        jsonw_u64(w, m->frame_fragments[i]);
    }
    jsonw_arr_end(w);
}

void manifest_begin(struct jsonw *w, const struct pack_origin *o)
{
    jsonw_obj(w);
    origin_write(o, w);
    jsonw_key(w, STR("images"));
    jsonw_arr(w);
}

void manifest_image_write(struct jsonw *w, const struct manifest_image *m)
{
    char hash[17];
    jsonw_obj(w);
    put_text(w, STR("sop"), m->image.sop_uid);
    put_text(w, STR("class"), m->image.class_uid);
    put_text(w, STR("syntax"), m->image.syntax_uid);
    put_number(w, STR("at"), m->image.at);
    put_number(w, STR("size"), m->image.size);
    put_number(w, STR("data_at"), m->image.data_at);
    put_text(w, STR("sha256"), m->sha256);
    jsonw_key(w, STR("xxh3"));
    jsonw_str(w, hex16(m->image.hash, hash));
    if (m->image.number != INT32_MIN) {
        jsonw_key(w, STR("number"));
        jsonw_i64(w, m->image.number);
    }
    if (m->rows > 0 && m->columns > 0) {
        put_number(w, STR("rows"), m->rows);
        put_number(w, STR("columns"), m->columns);
    }
    if (m->frames > 0) {
        put_number(w, STR("frames"), m->frames);
    }
    if (m->frames > 0 && m->frame_at != NULL && m->frame_len != NULL) {
        put_frames(w, m);
    }
    jsonw_obj_end(w);
}

void manifest_end(struct jsonw *w)
{
    jsonw_arr_end(w);
    jsonw_obj_end(w);
    buf_u8(w->out, '\n');
}

void manifest_write(const struct manifest *m, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    manifest_begin(&w, &m->origin);
    for (size_t i = 0; i < m->n; i++) {
        manifest_image_write(&w, &m->images[i]);
    }
    manifest_end(&w);
}

/* ---- reading */

struct numbers { // owned array, used again for each image
    uint64_t *ptr;
    size_t    n, room;
};

struct reader {
    struct jsonr           r;
    struct arena          *arena;
    struct numbers         at, len, fragments;
    struct manifest_image *images; // owned until copied to the arena
    size_t                 n, room;
};

static void fail(struct reader *m, enum err code)
{
    cur_fail(&m->r.c, code);
}

static bool is_hex(struct str s, size_t len)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))) {
            return false;
        }
    }
    return s.len == len;
}

static void get_uid(struct reader *m, char to[65], bool may_be_empty)
{
    struct str s = jsonr_str(&m->r);
    if (s.len == 0 && may_be_empty) {
        return;
    }
    if (!is_uid_usable(s)) {
        fail(m, ERR_SYNTAX);
        return;
    }
    memcpy(to, s.ptr, s.len);
    to[s.len] = '\0';
}

static void get_hex(struct reader *m, char *to, size_t len)
{
    struct str s = jsonr_str(&m->r);
    if (!is_hex(s, len)) {
        fail(m, ERR_SYNTAX);
        return;
    }
    memcpy(to, s.ptr, len);
    to[len] = '\0';
}

static uint64_t get_hash(struct reader *m)
{
    char     hex[17] = "";
    uint64_t v = 0;
    get_hex(m, hex, 16);
    return parse_u64_base(str_of(hex), 16, &v) ? v : 0;
}

static int32_t get_number(struct reader *m)
{
    int64_t v = jsonr_i64(&m->r);
    if (v <= INT32_MIN || v > INT32_MAX) {
        fail(m, ERR_SYNTAX);
        return INT32_MIN;
    }
    return (int32_t)v;
}

static uint32_t get_u32(struct reader *m)
{
    uint64_t v = jsonr_u64(&m->r);
    if (v > UINT32_MAX) {
        fail(m, ERR_SYNTAX);
        return 0;
    }
    return (uint32_t)v;
}

static void get_numbers(struct reader *m, struct numbers *v)
{
    v->n = 0;
    jsonr_arr(&m->r);
    while (jsonr_item(&m->r)) {
        if (v->n == v->room) {
            size_t    room = v->room == 0 ? 64 : v->room * 2;
            uint64_t *p = reallocarray(v->ptr, room, sizeof(*p));
            if (p == NULL) {
                fail(m, ERR_NOMEM);
                return;
            }
            v->ptr = p;
            v->room = room;
        }
        v->ptr[v->n++] = jsonr_u64(&m->r);
    }
}

static bool image_key(struct reader *m, struct str k, struct manifest_image *i)
{
    struct pack_image *p = &i->image;
    if (str_eq(k, STR("sop"))) {
        get_uid(m, p->sop_uid, false);
    } else if (str_eq(k, STR("class"))) {
        get_uid(m, p->class_uid, true);
    } else if (str_eq(k, STR("syntax"))) {
        get_uid(m, p->syntax_uid, true);
    } else if (str_eq(k, STR("at"))) {
        p->at = jsonr_u64(&m->r);
    } else if (str_eq(k, STR("size"))) {
        p->size = jsonr_u64(&m->r);
    } else if (str_eq(k, STR("data_at"))) {
        p->data_at = jsonr_u64(&m->r);
    } else if (str_eq(k, STR("sha256"))) {
        get_hex(m, i->sha256, 64);
    } else if (str_eq(k, STR("xxh3"))) {
        p->hash = get_hash(m);
    } else if (str_eq(k, STR("number"))) {
        p->number = get_number(m);
    } else {
        return false;
    }
    return true;
}

static bool pixel_key(struct reader *m, struct str k, struct manifest_image *i)
{
    if (str_eq(k, STR("rows"))) {
        i->rows = get_u32(m);
    } else if (str_eq(k, STR("columns"))) {
        i->columns = get_u32(m);
    } else if (str_eq(k, STR("frames"))) {
        i->frames = get_u32(m);
    } else if (str_eq(k, STR("frame_at"))) {
        get_numbers(m, &m->at);
    } else if (str_eq(k, STR("frame_len"))) {
        get_numbers(m, &m->len);
    } else if (str_eq(k, STR("frame_fragments"))) {
        get_numbers(m, &m->fragments);
    } else {
        return false;
    }
    return true;
}

/* Does a range lie within another?  The first within the second. */
static bool is_within(uint64_t at, uint64_t len, uint64_t outer, uint64_t outer_len)
{
    return at >= outer && at - outer <= outer_len && len <= outer_len - (at - outer);
}

static bool is_frames(const struct reader *m, const struct manifest_image *i)
{
    if (m->at.n != i->frames || m->len.n != i->frames ||
        (m->fragments.n != 0 && m->fragments.n != i->frames)) {
        return false;
    }
    for (size_t k = 0; k < m->at.n; k++) {
        if (!is_within(m->at.ptr[k], m->len.ptr[k], i->image.at, i->image.size) ||
            (m->fragments.n > 0 && m->fragments.ptr[k] > UINT32_MAX)) {
            return false;
        }
    }
    return true;
}

static void take_frames(struct reader *m, struct manifest_image *i)
{
    if (m->at.n == 0 && m->len.n == 0 && m->fragments.n == 0) {
        return; // known to have frames, but not where (a deflated data set)
    }
    if (m->r.c.err != ERR_OK || !is_frames(m, i)) {
        fail(m, ERR_SYNTAX);
        return;
    }
    i->frame_at = arena_array(m->arena, m->at.n, uint64_t);
    i->frame_len = arena_array(m->arena, m->at.n, uint64_t);
    if (m->fragments.n > 0) {
        i->frame_fragments = arena_array(m->arena, m->at.n, uint32_t);
    }
    if (i->frame_at == NULL || i->frame_len == NULL ||
        (m->fragments.n > 0 && i->frame_fragments == NULL)) {
        fail(m, ERR_LIMIT);
        return;
    }
    memcpy(i->frame_at, m->at.ptr, m->at.n * sizeof(uint64_t));
    memcpy(i->frame_len, m->len.ptr, m->at.n * sizeof(uint64_t));
    for (size_t k = 0; k < m->fragments.n; k++) {
        i->frame_fragments[k] = (uint32_t)m->fragments.ptr[k];
    }
}

static void add_image(struct reader *m, const struct manifest_image *i)
{
    if (m->n == m->room) {
        size_t                 room = m->room == 0 ? 64 : m->room * 2;
        struct manifest_image *p = reallocarray(m->images, room, sizeof(*p));
        if (p == NULL) {
            fail(m, ERR_NOMEM);
            return;
        }
        m->images = p;
        m->room = room;
    }
    m->images[m->n++] = *i;
}

static void read_image(struct reader *m)
{
    struct manifest_image i = {.image.number = INT32_MIN};
    struct str            k;
    m->at.n = 0;
    m->len.n = 0;
    m->fragments.n = 0;
    jsonr_obj(&m->r);
    while (jsonr_key(&m->r, &k)) {
        if (!image_key(m, k, &i) && !pixel_key(m, k, &i)) {
            jsonr_skip(&m->r);
        }
    }
    if (i.image.sop_uid[0] == '\0' || i.sha256[0] == '\0' ||
        i.image.size > UINT64_MAX - i.image.at ||
        !is_within(i.image.data_at, 0, i.image.at, i.image.size)) {
        fail(m, ERR_SYNTAX);
    }
    take_frames(m, &i);
    if (m->r.c.err == ERR_OK) {
        add_image(m, &i);
    }
}

static void read_manifest(struct reader *m, struct pack_origin *o)
{
    struct str k;
    jsonr_obj(&m->r);
    while (jsonr_key(&m->r, &k)) {
        if (str_eq(k, STR("images"))) {
            jsonr_arr(&m->r);
            while (jsonr_item(&m->r)) {
                read_image(m);
            }
        } else if (!origin_key(&m->r, k, o)) {
            jsonr_skip(&m->r);
        }
    }
}

static enum err to_arena(struct reader *m, const struct pack_origin *o, struct manifest **ret,
                         struct errmsg *e)
{
    struct manifest *out = arena_new(m->arena, struct manifest);
    enum err         rc = out != NULL ? origin_copy(o, m->arena, &out->origin, e) : ERR_LIMIT;
    if (rc == ERR_OK && m->n > 0) {
        out->images = arena_array(m->arena, m->n, struct manifest_image);
        if (out->images != NULL) {
            memcpy(out->images, m->images, m->n * sizeof(*m->images));
        } else {
            rc = ERR_LIMIT;
        }
    }
    if (rc != ERR_OK) {
        return err_set(e, rc, "no memory for a manifest of %zu images", m->n);
    }
    out->n = m->n;
    *ret = out;
    return ERR_OK;
}

enum err manifest_parse(struct str json, struct arena *a, struct manifest **ret, struct errmsg *e)
{
    struct pack_origin o = ORIGIN_NONE;
    struct reader      m = {.arena = a};
    jsonr_init(&m.r, str_bytes(json), a);
    read_manifest(&m, &o);
    enum err rc = jsonr_end(&m.r);
    if (rc == ERR_OK && !is_origin(&o)) {
        rc = ERR_SYNTAX;
    }
    if (rc == ERR_OK) {
        rc = to_arena(&m, &o, ret, e);
    } else {
        (void)err_set(e, rc, "manifest of %zu bytes cannot be read (image %zu)", json.len, m.n);
    }
    free(m.images);
    free(m.at.ptr);
    free(m.len.ptr);
    free(m.fragments.ptr);
    return rc;
}
