#include "dicom/part10.h"

#include <inttypes.h>

#include "base/cur.h"
#include "dicom/dset_priv.h"

enum {
    PREAMBLE = 128,
    PREFIX = 4,
    HEAD = 8,
    META_FIRST = 4 << 10, // read from a source at first
    META_MAX = 1 << 20,   // private information (0002,0102) may be long; this is absurd
    BARE_GROUP_MAX = 0xFF,
    BARE_VALUE_MAX = 1 << 10, // first value of a data set: group length, charset, image type
    TAG_META_LENGTH = 0x00020000,
    TAG_META_VERSION = 0x00020001,
    TAG_META_CLASS = 0x00020002,
    TAG_META_SOP = 0x00020003,
    TAG_META_SYNTAX = 0x00020010,
    TAG_META_IMPL_UID = 0x00020012,
    TAG_META_IMPL_NAME = 0x00020013,
    TAG_META_SOURCE = 0x00020016,
    TAG_META_SENDING = 0x00020017,
    TAG_META_RECEIVING = 0x00020018,
    TAG_META_CREATOR = 0x00020100,
    TAG_META_PRIVATE = 0x00020102,
};

/* The encoding of a data set that nobody named; NULL when its first bytes are no element. */
static const struct syntax *look(struct bytes b)
{
    struct cur c = cur_of(b);
    uint16_t   le = cur_u16le(&c);
    uint16_t   element = cur_u16le(&c);
    uint8_t    a = cur_u8(&c), z = cur_u8(&c);
    if (c.err != ERR_OK || b.len < HEAD) {
        return NULL;
    }
    uint16_t be = (uint16_t)(le << 8 | le >> 8);
    if (vr_parse(a, z) != VR_NONE) {
        uint16_t group = le < be ? le : be;
        bool     known = group > 0 && group <= BARE_GROUP_MAX;
        return !known ? NULL : le < be ? &SYNTAX_EXPLICIT : &SYNTAX_BIG;
    }
    c = cur_of(b);
    (void)cur_u32le(&c);
    bool known = le > 0 && le <= BARE_GROUP_MAX && dict_find(TAG(le, element)) != NULL;
    return known && cur_u32le(&c) <= BARE_VALUE_MAX ? &SYNTAX_IMPLICIT : NULL;
}

static struct str ascii_of(struct bytes b)
{
    while (b.len > 0 && (b.ptr[b.len - 1] == 0 || b.ptr[b.len - 1] == ' ')) {
        b.len--;
    }
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] < ' ' || b.ptr[i] > '~') {
            return STR("");
        }
    }
    return b.len > 0 ? (struct str){(const char *)b.ptr, b.len} : STR("");
}

static void keep(struct part10_meta *m, uint32_t tag, struct bytes value)
{
    switch (tag) {
    case TAG_META_CLASS: m->class_uid = ascii_of(value); break;
    case TAG_META_SOP: m->sop_uid = ascii_of(value); break;
    case TAG_META_SYNTAX: m->syntax_uid = ascii_of(value); break;
    case TAG_META_SOURCE: m->source_aet = ascii_of(value); break;
    case TAG_META_SENDING: m->sending_aet = ascii_of(value); break;
    case TAG_META_RECEIVING: m->receiving_aet = ascii_of(value); break;
    case TAG_META_CREATOR: m->private_creator = ascii_of(value); break;
    case TAG_META_PRIVATE: m->private_info = value; break;
    default: break;
    }
}

/* One element of the meta group: explicit little endian, though some write it implicit. */
static enum err meta_elem(struct cur *c, uint32_t *ret_tag, struct bytes *ret_value)
{
    struct cur at = *c;
    uint16_t   group = cur_u16le(&at);
    uint32_t   tag = TAG(group, cur_u16le(&at));
    struct cur vr_at = at;
    uint8_t    a = cur_u8(&vr_at), z = cur_u8(&vr_at);
    enum vr    vr = vr_parse(a, z);
    uint32_t   len;
    if (vr == VR_NONE) {
        len = cur_u32le(&at);
    } else if (is_vr_long(vr)) {
        (void)cur_u32le(&at);
        len = cur_u32le(&at);
    } else {
        (void)cur_u16le(&at);
        len = cur_u16le(&at);
    }
    if (at.err == ERR_OK && len > META_MAX) {
        return ERR_LIMIT;
    }
    *ret_value = cur_bytes(&at, len);
    if (at.err != ERR_OK) {
        return ERR_MORE;
    }
    *ret_tag = tag;
    *c = at;
    return ERR_OK;
}

/*
 * The elements of group 0002.  The group number says where they end, since group lengths are wrong
 * in real files; the length only spares the wait for what follows.
 */
static enum err meta_parse(struct bytes front, size_t start, bool whole, struct part10_meta *m,
                           struct errmsg *e)
{
    struct cur c = cur_of(front);
    (void)cur_bytes(&c, start);
    size_t end = SIZE_MAX;
    for (;;) {
        size_t     at = front.len - cur_left(&c);
        struct cur peek = c;
        uint16_t   group = cur_u16le(&peek);
        bool over = peek.err == ERR_OK ? group != 2 : at == end || (whole && cur_left(&c) == 0);
        if (over) {
            m->size = at;
            return ERR_OK;
        }
        uint32_t     tag;
        struct bytes value;
        enum err     rc = peek.err != ERR_OK ? ERR_MORE : meta_elem(&c, &tag, &value);
        if (rc != ERR_OK) {
            return err_set(e, rc, "file meta information %s at byte %zu",
                           rc == ERR_MORE ? "is cut short" : "has an absurd length", at);
        }
        if (tag == TAG_META_LENGTH && value.len == 4) {
            struct cur v = cur_of(value);
            end = front.len - cur_left(&c) + cur_u32le(&v);
        }
        keep(m, tag, value);
    }
}

static enum err find_syntax(struct bytes front, bool whole, struct part10_meta *m, struct errmsg *e)
{
    if (m->syntax_uid.len > 0) {
        const struct syntax *s = syntax_find(m->syntax_uid);
        m->syntax = s != NULL ? s : &SYNTAX_EXPLICIT;
        return ERR_OK;
    }
    struct cur c = cur_of(front);
    (void)cur_bytes(&c, m->size);
    if (cur_left(&c) < HEAD && !whole) {
        return err_set(e, ERR_MORE, "no transfer syntax, and no data set to guess it from");
    }
    const struct syntax *s = look((struct bytes){c.p, cur_left(&c)});
    m->syntax = s != NULL ? s : &SYNTAX_EXPLICIT;
    m->syntax_uid = str_of(m->syntax->uid);
    return ERR_OK;
}

static bool has_prefix(struct bytes front)
{
    struct cur c = cur_of(front);
    (void)cur_bytes(&c, PREAMBLE);
    return bytes_eq(cur_bytes(&c, PREFIX), str_bytes(STR("DICM")));
}

/* whole: the file has no more bytes than these. */
static enum err front_parse(struct bytes front, bool whole, struct part10_meta *ret,
                            struct errmsg *e)
{
    struct part10_meta m = {.class_uid = STR(""),
                            .sop_uid = STR(""),
                            .syntax_uid = STR(""),
                            .source_aet = STR(""),
                            .sending_aet = STR(""),
                            .receiving_aet = STR(""),
                            .private_creator = STR("")};
    if (!whole && front.len < PREAMBLE + PREFIX) {
        return err_set(e, ERR_MORE, "%zu bytes are too few for a DICOM file", front.len);
    }
    const struct syntax *bare = look(front);
    struct cur           c = cur_of(front);
    uint16_t             group = cur_u16le(&c);
    enum err             rc = ERR_OK;
    if (has_prefix(front)) {
        rc = meta_parse(front, PREAMBLE + PREFIX, whole, &m, e);
    } else if (bare == NULL) {
        return err_set(e, ERR_SYNTAX, "not a DICOM file: no prefix, and no data set either");
    } else if (group == 2) { // meta information without preamble and prefix
        rc = meta_parse(front, 0, whole, &m, e);
    } else {
        m.guessed = true;
        m.syntax_uid = str_of(bare->uid);
    }
    rc = rc == ERR_OK ? find_syntax(front, whole, &m, e) : rc;
    if (rc == ERR_OK) {
        *ret = m;
    }
    return rc;
}

enum err part10_parse(struct bytes front, struct part10_meta *ret, struct errmsg *e)
{
    return front_parse(front, false, ret, e);
}

static void put(struct buf *b, uint32_t tag, enum vr vr, struct bytes value)
{
    head_write(b, &SYNTAX_EXPLICIT, tag, vr, (uint32_t)(value.len + (value.len & 1)));
    buf_add(b, value);
    if (value.len & 1) {
        buf_u8(b, vr_pad(vr));
    }
}

static void put_if(struct buf *b, uint32_t tag, struct str aet)
{
    if (aet.len > 0) {
        put(b, tag, VR_AE, str_bytes(aet));
    }
}

enum err part10_write(const struct part10_meta *m, struct buf *out, struct errmsg *e)
{
    static const uint8_t preamble[PREAMBLE];
    static const uint8_t version[2] = {0, 1};
    buf_add(out, (struct bytes){preamble, sizeof(preamble)});
    buf_str(out, STR("DICM"));
    put(out, TAG_META_LENGTH, VR_UL, (struct bytes){preamble, 4});
    size_t at = out->len;
    put(out, TAG_META_VERSION, VR_OB, (struct bytes){version, sizeof(version)});
    put(out, TAG_META_CLASS, VR_UI, str_bytes(m->class_uid));
    put(out, TAG_META_SOP, VR_UI, str_bytes(m->sop_uid));
    put(out, TAG_META_SYNTAX, VR_UI, str_bytes(m->syntax_uid));
    put(out, TAG_META_IMPL_UID, VR_UI, str_bytes(STR(GARONNE_IMPLEMENTATION_UID)));
    put(out, TAG_META_IMPL_NAME, VR_SH, str_bytes(STR(GARONNE_IMPLEMENTATION_NAME)));
    put_if(out, TAG_META_SOURCE, m->source_aet);
    put_if(out, TAG_META_SENDING, m->sending_aet);
    put_if(out, TAG_META_RECEIVING, m->receiving_aet);
    if (m->private_creator.len > 0) {
        put(out, TAG_META_CREATOR, VR_UI, str_bytes(m->private_creator));
        put(out, TAG_META_PRIVATE, VR_OB, m->private_info);
    }
    struct bytes all;
    if (buf_end(out, &all) != ERR_OK) {
        return err_set(e, out->err, "file meta information exceeds %zu bytes", out->max);
    }
    buf_patch_u32le(out, at - 4, (uint32_t)(out->len - at));
    return ERR_OK;
}

static enum err read_front(const struct dsrc *src, uint8_t *to, size_t room, size_t *ret_len,
                           struct errmsg *e)
{
    size_t   len = 0, n = 1;
    enum err rc = ERR_OK;
    while (rc == ERR_OK && n > 0 && len < room) {
        rc = src->read(src->ctx, len, to + len, room - len, &n, e);
        len += rc == ERR_OK ? n : 0;
    }
    *ret_len = len;
    return rc;
}

/* Read more and more of the front until the meta information is whole. */
static enum err read_meta(const struct dsrc *src, struct arena *a, struct part10_meta *ret,
                          struct errmsg *e)
{
    for (size_t room = META_FIRST; room <= META_MAX; room *= 2) {
        size_t   len = 0;
        uint8_t *p = arena_alloc(a, room, 1);
        if (p == NULL) {
            break;
        }
        enum err rc = read_front(src, p, room, &len, e);
        if (rc != ERR_OK) {
            return rc;
        }
        bool          whole = len < room || len == src->size;
        struct errmsg why = {0};
        rc = front_parse((struct bytes){p, len}, whole, ret, &why);
        if (rc == ERR_OK) {
            return ERR_OK;
        }
        if (rc != ERR_MORE || whole) { // no more will come
            return err_set(e, rc == ERR_MORE ? ERR_SYNTAX : rc, "%s", why.text);
        }
    }
    return err_set(e, ERR_LIMIT, "file meta information does not fit in memory");
}

enum err part10_read(const struct dsrc *src, struct parse_opts *opts, struct arena *a,
                     struct part10_meta *ret_meta, struct dset **ret, struct errmsg *e)
{
    struct part10_meta m = {0};
    struct dset       *d = NULL;
    enum err           rc = read_meta(src, a, &m, e);
    rc = rc == ERR_OK ? dset_read(src, m.size, m.syntax, opts, a, &d, e) : rc;
    if (rc == ERR_OK) {
        *ret_meta = m;
        *ret = d;
    }
    return rc;
}
