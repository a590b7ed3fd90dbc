#include "dicom/dsread.h"

#include <assert.h>
#include <inttypes.h>

#include "dicom/dset_priv.h"

enum { ST_HEAD, ST_ITEM, ST_FRAG, ST_VALUE, ST_TRAIL, ST_END, ST_FAILED };

enum {
    TAG_PIXEL_REPRESENTATION = 0x00280103,
    TAG_PIXEL_DATA = 0x7FE00010,
    GROUP_PIXELS = 0x7FE0,
    HEAD_SHORT = 8,
    HEAD_LONG = 12,
    FIRST_LENGTH = 0x2020,
    LOW_GROUP = 0xFF,
    SMALL_SKIP = 8, // shorter values are read over, longer ones jumped over
};

#define TAG_FMT      "(%04X,%04X)"
#define TAG_ARG(tag) (unsigned)((tag) >> 16), (unsigned)((tag)&0xFFFF)

struct head {
    uint32_t tag;
    enum vr  vr;
    uint32_t len;
    size_t   size;
};

static uint16_t get_u16(const uint8_t *p, bool big)
{
    return (uint16_t)(big ? p[0] << 8 | p[1] : p[1] << 8 | p[0]);
}

static uint32_t get_u32(const uint8_t *p, bool big)
{
    return big ? (uint32_t)get_u16(p, big) << 16 | get_u16(p + 2, big)
               : (uint32_t)get_u16(p + 2, big) << 16 | get_u16(p, big);
}

static uint32_t get_tag(const uint8_t *p, bool big)
{
    return TAG(get_u16(p, big), get_u16(p + 2, big));
}

/* n bytes in a row that are not consumed yet, or NULL when the window holds fewer. */
static const uint8_t *peek(struct dsread *r, size_t n)
{
    if (r->held == 0 && cur_left(&r->win) >= n) {
        return r->win.p;
    }
    while (r->held < n && cur_left(&r->win) > 0) {
        r->hold[r->held++] = cur_u8(&r->win);
    }
    return r->held < n ? NULL : r->hold;
}

static void take(struct dsread *r, size_t n)
{
    if (r->held > 0) {
        assert(r->held == n);
        r->held = 0;
    } else {
        (void)cur_bytes(&r->win, n);
    }
    r->pos += n;
}

static size_t unread(const struct dsread *r)
{
    return r->held + cur_left(&r->win);
}

static enum err fail(struct dsread *r, enum err code)
{
    r->state = ST_FAILED;
    return code;
}

/* May this deviation pass?  It is noted when it does. */
static bool tolerate(struct dsread *r, enum lenient which)
{
    if ((r->lenient & (unsigned)which) == 0) {
        return false;
    }
    r->seen |= (unsigned)which;
    return true;
}

static enum err cut_short(struct dsread *r, struct errmsg *e)
{
    if (!r->last) {
        return ERR_MORE;
    }
    return err_set(e, ERR_MORE, "data set is cut short at offset %" PRIu64 " near " TAG_FMT,
                   r->pos + unread(r), TAG_ARG(r->level[r->depth].last));
}

static struct ds_token make(const struct dsread *r, enum ds_kind kind, unsigned depth)
{
    uint32_t tag = r->depth > 0 ? r->level[r->depth].tag : 0;
    return (struct ds_token){
        .kind = kind, .depth = depth, .tag = tag, .vr = VR_NONE, .at = r->pos, .offset = r->pos};
}

static enum err end_item(struct dsread *r, struct ds_token *ret)
{
    *ret = make(r, DS_ITEM_END, r->depth);
    r->state = ST_ITEM;
    return ERR_OK;
}

static enum err end_seq(struct dsread *r, uint64_t at, struct ds_token *ret)
{
    enum ds_kind kind = r->level[r->depth].pixels ? DS_PIXELS_END : DS_SEQ_END;
    *ret = make(r, kind, r->depth - 1);
    ret->at = at;
    r->depth--;
    r->state = ST_HEAD;
    return ERR_OK;
}

static enum err end_all(struct dsread *r, struct ds_token *ret)
{
    r->state = ST_END;
    r->depth = 0;
    *ret = make(r, DS_END, 0);
    return ERR_OK;
}

/* The stream is over, or only this window, where a header should stand. */
static enum err starved(struct dsread *r, struct ds_token *ret, struct errmsg *e)
{
    const struct ds_level *l = &r->level[r->depth];
    if (!r->last) {
        return ERR_MORE;
    }
    bool ragged = unread(r) > 0;
    if (r->depth == 0) {
        if (!ragged || tolerate(r, LENIENT_TRAILING)) {
            return end_all(r, ret);
        }
    } else if (ragged) {
        if (l->pixels && r->depth == 1 && tolerate(r, LENIENT_SHORT_PIXELS)) {
            r->held = 0;
            r->win.p = r->win.end;
            return end_seq(r, r->pos, ret);
        }
    } else if (r->state == ST_HEAD) {
        if (l->item_end == LEN_UNDEFINED && tolerate(r, LENIENT_NO_DELIMITER)) {
            return end_item(r, ret);
        }
    } else if (l->seq_end == LEN_UNDEFINED && tolerate(r, LENIENT_NO_DELIMITER)) {
        return end_seq(r, r->pos, ret);
    }
    return cut_short(r, e);
}

/* Implicit VR: the dictionary, with its alternatives decided as PS3.5 A.1 and 8 want. */
static enum vr implicit_vr(const struct ds_level *l, uint32_t tag)
{
    const struct dict_entry *d = dict_find(tag);
    if (d == NULL) {
        return VR_UN;
    }
    if (d->vr == VR_OW || d->vr2 == VR_OW || d->vr3 == VR_OW) {
        return VR_OW;
    }
    if (d->vr2 == VR_SS || d->vr3 == VR_SS) {
        return l->signed_pixel ? VR_SS : VR_US;
    }
    return d->vr == VR_NONE ? VR_UN : d->vr;
}

static bool is_letter_pair(const uint8_t *p)
{
    return p[0] >= 'A' && p[0] <= 'Z' && p[1] >= 'A' && p[1] <= 'Z';
}

/* A length that the first element of a data set or item has; two letters or blanks where the VR
 * stands are a larger one. */
static bool is_small(uint32_t len)
{
    return len < FIRST_LENGTH || len == LEN32_UNDEFINED;
}

/*
 * First header of the data set: is it in another of the three encodings than said?  A VR tells
 * explicit from implicit; data sets begin in low groups, so only one byte order makes one of it.
 */
static void find_switched(struct dsread *r, const uint8_t *p)
{
    struct ds_level *l = &r->level[0];
    bool             has_vr = vr_parse(p[4], p[5]) != VR_NONE;
    uint16_t         said = get_u16(p, l->big), other = get_u16(p, !l->big);
    bool             turned = said > LOW_GROUP && other > 0 && other <= LOW_GROUP;
    bool             big = turned ? !l->big : l->big;
    if (!has_vr && (big || !is_small(get_u32(p + 4, false)))) {
        return; // an unknown VR, or nothing that we know
    }
    if ((has_vr != l->explicit_vr || big != l->big) && tolerate(r, LENIENT_SWITCHED)) {
        l->explicit_vr = has_vr;
        l->big = big;
    }
}

/* First header of an item: devices that paste items of another encoding exist on both sides. */
static void find_item_encoding(struct dsread *r, const uint8_t *p)
{
    struct ds_level *l = &r->level[r->depth];
    bool             has_vr = vr_parse(p[4], p[5]) != VR_NONE;
    uint32_t         len = get_u32(p + 4, l->big);
    uint64_t         room = l->item_fence - r->pos - HEAD_SHORT;
    if (get_u16(p, l->big) == 0xFFFE) {
        return;
    }
    if (l->explicit_vr) {
        bool implicit = is_small(len) && (len <= room || len == LEN32_UNDEFINED);
        if (!has_vr && implicit && tolerate(r, LENIENT_IMPLICIT_IN_EXPLICIT)) {
            l->explicit_vr = false;
        }
    } else if (has_vr && (len > room || dict_vr(get_tag(p, l->big)) == vr_parse(p[4], p[5])) &&
               tolerate(r, LENIENT_IMPLICIT_IN_EXPLICIT)) {
        l->explicit_vr = true;
    }
}

/* Two bytes that are no VR.  New VRs have 32-bit lengths and two zero bytes before them (PS3.5
 * 7.1.2); anything else is taken for a broken short one. */
static enum err unknown_vr(struct dsread *r, const uint8_t *p, uint32_t tag, bool *ret_long,
                           struct errmsg *e)
{
    if (!tolerate(r, LENIENT_VR_UNKNOWN)) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 ": VR %02X %02X is none",
                       TAG_ARG(tag), r->pos, p[4], p[5]);
    }
    *ret_long = is_letter_pair(p + 4) && p[6] == 0 && p[7] == 0;
    return ERR_OK;
}

/* The header at p (8 bytes), which may need four more. */
static enum err read_head(struct dsread *r, const uint8_t *p, struct head *ret, struct errmsg *e)
{
    const struct ds_level *l = &r->level[r->depth];
    struct head            h = {.tag = get_tag(p, l->big), .size = HEAD_SHORT};
    if (!l->explicit_vr) {
        h.vr = implicit_vr(l, h.tag);
        h.len = get_u32(p + 4, l->big);
        *ret = h;
        return ERR_OK;
    }
    h.vr = vr_parse(p[4], p[5]);
    bool     is_long = is_vr_long(h.vr);
    enum err rc = h.vr == VR_NONE ? unknown_vr(r, p, h.tag, &is_long, e) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    h.vr = h.vr == VR_NONE ? VR_UN : h.vr;
    if (!is_long) {
        h.len = get_u16(p + 6, l->big);
        *ret = h;
        return ERR_OK;
    }
    if (l->item_fence - r->pos < HEAD_LONG) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 ": its item ends in its header",
                       TAG_ARG(h.tag), r->pos);
    }
    p = peek(r, HEAD_LONG);
    if (p == NULL) {
        return cut_short(r, e);
    }
    h.len = get_u32(p + 8, l->big);
    h.size = HEAD_LONG;
    *ret = h;
    return ERR_OK;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Open the sequence or the fragments whose header has just been taken. */
static enum err push(struct dsread *r, const struct head *h, bool pixels, struct errmsg *e)
{
    const struct ds_level *up = &r->level[r->depth];
    if (r->depth == LIMIT_SQ_DEPTH) {
        return err_set(e, ERR_LIMIT,
                       TAG_FMT " at offset %" PRIu64 ": more than %d nested sequences",
                       TAG_ARG(h->tag), r->pos, LIMIT_SQ_DEPTH);
    }
    bool     undefined = h->len == LEN32_UNDEFINED;
    uint64_t end = undefined ? LEN_UNDEFINED : r->pos + h->len;
    bool     from_un = h->vr == VR_UN && !pixels;
    r->level[++r->depth] = (struct ds_level){.seq_end = end,
                                             .seq_limit = min_u64(end, up->item_fence),
                                             .item_end = LEN_UNDEFINED,
                                             .tag = h->tag,
                                             .explicit_vr = up->explicit_vr && !from_un,
                                             .big = up->big && !from_un,
                                             .pixels = pixels,
                                             .from_un = from_un,
                                             .signed_pixel = up->signed_pixel};
    r->state = pixels ? ST_FRAG : ST_ITEM;
    return ERR_OK;
}

static bool holds_fragments(const struct head *h)
{
    return h->tag == TAG_PIXEL_DATA || h->vr == VR_OB || h->vr == VR_OW;
}

static enum err open_undefined(struct dsread *r, const struct head *h, struct ds_token *t,
                               struct errmsg *e)
{
    bool pixels = holds_fragments(h);
    if (!pixels && h->vr != VR_SQ && h->vr != VR_UN && r->level[r->depth].explicit_vr) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 ": %s of undefined length",
                       TAG_ARG(h->tag), t->at, vr_name(h->vr));
    }
    t->kind = pixels ? DS_PIXELS : DS_SEQ;
    t->len = LEN_UNDEFINED;
    enum err rc = push(r, h, pixels, e);
    t->vr = !pixels ? VR_SQ : h->vr == VR_OW ? VR_OW : VR_OB;
    return rc;
}

static void open_value(struct dsread *r, const struct ds_token *t)
{
    r->tok = *t;
    r->left = t->len;
    r->skipping = false;
    r->state = ST_VALUE;
}

static enum err check_length(struct dsread *r, const struct head *h, uint64_t fence,
                             struct errmsg *e)
{
    if (h->len > fence - r->pos) {
        return err_set(e, ERR_SYNTAX,
                       TAG_FMT " at offset %" PRIu64 ": %" PRIu32 " bytes do not fit the %" PRIu64
                               " around it",
                       TAG_ARG(h->tag), r->pos, h->len, fence - r->pos);
    }
    if (h->len % 2 != 0 && !tolerate(r, LENIENT_ODD_LENGTH)) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 ": odd length %" PRIu32,
                       TAG_ARG(h->tag), r->pos, h->len);
    }
    return ERR_OK;
}

/* An element that is no delimiter; p holds its first 8 bytes. */
static enum err read_elem(struct dsread *r, const uint8_t *p, struct ds_token *ret,
                          struct errmsg *e)
{
    struct ds_level *l = &r->level[r->depth];
    struct head      h = {0};
    enum err         rc = read_head(r, p, &h, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (!l->fresh && h.tag <= l->last && !tolerate(r, LENIENT_ORDER)) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 " after " TAG_FMT,
                       TAG_ARG(h.tag), r->pos, TAG_ARG(l->last));
    }
    struct ds_token t = {.kind = DS_ELEM,
                         .depth = r->depth,
                         .tag = h.tag,
                         .vr = h.vr,
                         .big = l->big,
                         .at = r->pos,
                         .offset = r->pos + h.size,
                         .len = h.len};
    l->fresh = false;
    l->last = h.tag;
    take(r, h.size);
    bool is_long = h.size == HEAD_LONG || !l->explicit_vr;
    if (is_long && h.len == LEN32_UNDEFINED) {
        rc = open_undefined(r, &h, &t, e);
    } else {
        rc = check_length(r, &h, l->item_fence, e);
        if (rc == ERR_OK && h.vr == VR_SQ) {
            t.kind = DS_SEQ;
            rc = push(r, &h, false, e);
        } else if (rc == ERR_OK) {
            open_value(r, &t);
        }
    }
    if (rc == ERR_OK) {
        *ret = t;
    }
    return rc;
}

/* (FFFE,xxxx) where an element should stand. *ret_again: nothing to report, read on. */
static enum err read_delim(struct dsread *r, const uint8_t *p, bool *ret_again,
                           struct ds_token *ret, struct errmsg *e)
{
    const struct ds_level *l = &r->level[r->depth];
    uint32_t               tag = get_tag(p, l->big);
    bool                   open = r->depth > 0 && l->item_end == LEN_UNDEFINED;
    bool                   clean = get_u32(p + 4, l->big) == 0;
    if (tag == TAG_ITEM_END && open && (clean || tolerate(r, LENIENT_STRAY_DELIM))) {
        take(r, HEAD_SHORT);
        enum err rc = end_item(r, ret);
        ret->at -= HEAD_SHORT;
        return rc;
    }
    bool next = tag == TAG_ITEM || (tag == TAG_SEQ_END && l->seq_end == LEN_UNDEFINED);
    if (open && next && tolerate(r, LENIENT_NO_DELIMITER)) {
        return end_item(r, ret);
    }
    if (tag != TAG_ITEM && tolerate(r, LENIENT_STRAY_DELIM)) {
        take(r, HEAD_SHORT);
        *ret_again = true;
        return ERR_OK;
    }
    return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 " where none is open", TAG_ARG(tag),
                   r->pos);
}

static enum err no_room(struct dsread *r, uint64_t fence, struct errmsg *e)
{
    return err_set(e, ERR_SYNTAX,
                   "offset %" PRIu64 ": %" PRIu64
                   " bytes left of an item or sequence are no header",
                   r->pos, fence - r->pos);
}

static enum err step_head(struct dsread *r, bool *ret_again, struct ds_token *ret, struct errmsg *e)
{
    struct ds_level *l = &r->level[r->depth];
    if (r->depth > 0 && r->pos == l->item_end) {
        return end_item(r, ret);
    }
    if (l->item_fence - r->pos < HEAD_SHORT) {
        return no_room(r, l->item_fence, e);
    }
    const uint8_t *p = peek(r, HEAD_SHORT);
    if (p == NULL) {
        return starved(r, ret, e);
    }
    if (l->fresh && r->depth == 0) {
        find_switched(r, p);
    } else if (l->fresh) {
        find_item_encoding(r, p);
    }
    static const uint8_t zeros[HEAD_SHORT];
    if (r->depth == 0 && !l->fresh && memcmp(p, zeros, HEAD_SHORT) == 0 &&
        tolerate(r, LENIENT_TRAILING)) {
        r->state = ST_TRAIL;
        *ret_again = true;
        return ERR_OK;
    }
    if (get_u16(p, l->big) == 0xFFFE) {
        return read_delim(r, p, ret_again, ret, e);
    }
    return read_elem(r, p, ret, e);
}

/* Items of a sequence: PS3.5 7.5. */
static enum err open_item(struct dsread *r, const struct head *h, struct ds_token *ret,
                          struct errmsg *e)
{
    struct ds_level       *l = &r->level[r->depth];
    const struct ds_level *up = &r->level[r->depth - 1];
    struct ds_token        t = {.kind = DS_ITEM,
                                .depth = r->depth,
                                .tag = l->tag,
                                .vr = VR_NONE,
                                .big = l->big,
                                .at = r->pos - HEAD_SHORT,
                                .offset = r->pos};
    bool                   undefined = h->len == LEN32_UNDEFINED;
    enum err               rc = undefined ? ERR_OK : check_length(r, h, l->seq_limit, e);
    if (rc != ERR_OK) {
        return rc;
    }
    t.len = undefined ? LEN_UNDEFINED : h->len;
    l->item_end = undefined ? LEN_UNDEFINED : r->pos + h->len;
    l->item_fence = min_u64(l->item_end, l->seq_limit);
    l->explicit_vr = up->explicit_vr && !l->from_un;
    l->signed_pixel = up->signed_pixel;
    l->fresh = true;
    l->last = 0;
    r->state = ST_HEAD;
    *ret = t;
    return ERR_OK;
}

static enum err open_fragment(struct dsread *r, const struct head *h, struct ds_token *ret,
                              struct errmsg *e)
{
    const struct ds_level *l = &r->level[r->depth];
    struct ds_token        t = {.kind = DS_FRAG,
                                .depth = r->depth,
                                .tag = l->tag,
                                .vr = VR_OB,
                                .at = r->pos - HEAD_SHORT,
                                .offset = r->pos,
                                .len = h->len};
    if (h->len == LEN32_UNDEFINED) {
        return err_set(e, ERR_SYNTAX, "fragment at offset %" PRIu64 " of undefined length", r->pos);
    }
    enum err rc = check_length(r, h, l->seq_limit, e);
    if (rc == ERR_OK) {
        open_value(r, &t);
        *ret = t;
    }
    return rc;
}

/* Where an item, a fragment or the end of the sequence should stand. */
static enum err step_item(struct dsread *r, bool *ret_again, struct ds_token *ret, struct errmsg *e)
{
    struct ds_level *l = &r->level[r->depth];
    if (r->pos == l->seq_end) {
        return end_seq(r, r->pos, ret);
    }
    if (l->seq_limit - r->pos < HEAD_SHORT) {
        return no_room(r, l->seq_limit, e);
    }
    const uint8_t *p = peek(r, HEAD_SHORT);
    if (p == NULL) {
        return starved(r, ret, e);
    }
    if (l->from_un && get_u16(p, !l->big) == 0xFFFE) {
        l->big = !l->big; // UN in big endian: written either way
    }
    struct head h = {.tag = get_tag(p, l->big), .len = get_u32(p + 4, l->big), .size = HEAD_SHORT};
    bool stray = h.tag == TAG_ITEM_END || (h.tag == TAG_SEQ_END && l->seq_end != LEN_UNDEFINED);
    bool dirty = h.tag == TAG_SEQ_END && h.len != 0;
    if ((stray || dirty) && !tolerate(r, LENIENT_STRAY_DELIM)) {
        return err_set(e, ERR_SYNTAX, TAG_FMT " at offset %" PRIu64 " in " TAG_FMT, TAG_ARG(h.tag),
                       r->pos, TAG_ARG(l->tag));
    }
    if (h.tag != TAG_ITEM && h.tag != TAG_SEQ_END && !stray) {
        return err_set(e, ERR_SYNTAX,
                       TAG_FMT " at offset %" PRIu64 " in place of an item of " TAG_FMT,
                       TAG_ARG(h.tag), r->pos, TAG_ARG(l->tag));
    }
    take(r, HEAD_SHORT);
    if (stray) {
        *ret_again = true;
        return ERR_OK;
    }
    if (h.tag == TAG_SEQ_END) {
        return end_seq(r, r->pos - HEAD_SHORT, ret);
    }
    return l->pixels ? open_fragment(r, &h, ret, e) : open_item(r, &h, ret, e);
}

/* (0028,0103) decides US or SS of what follows in implicit VR. */
static void watch(struct dsread *r, struct bytes piece)
{
    if (r->tok.tag != TAG_PIXEL_REPRESENTATION || piece.len == 0) {
        return;
    }
    if (!r->tok.big && r->left == r->tok.len) {
        r->level[r->depth].signed_pixel = (piece.ptr[0] & 1) != 0;
    } else if (r->tok.big && r->left == piece.len) {
        r->level[r->depth].signed_pixel = (piece.ptr[piece.len - 1] & 1) != 0;
    }
}

static struct bytes take_piece(struct dsread *r, size_t n)
{
    struct bytes piece = {r->held > 0 ? r->hold : r->win.p, n};
    watch(r, piece);
    take(r, n);
    r->left -= n;
    return piece;
}

/* Bytes of the open value that can go out now, in whole units. */
static size_t ready(struct dsread *r)
{
    size_t unit = r->skipping ? 1 : vr_unit(r->tok.vr);
    size_t n = cur_left(&r->win);
    if (r->held > 0 && r->skipping) {
        return (size_t)min_u64(r->held, r->left);
    }
    if (r->held > 0 || (n < unit && n < r->left)) {
        size_t want = r->left < unit ? (size_t)r->left : unit;
        return peek(r, want) != NULL ? want : r->last ? r->held : 0;
    }
    if (n >= r->left) {
        return (size_t)r->left;
    }
    return n - n % unit;
}

static enum err step_value(struct dsread *r, bool *ret_again, struct ds_token *ret,
                           struct errmsg *e)
{
    const struct ds_level *l = &r->level[r->depth];
    if (r->left == 0) {
        r->state = l->pixels ? ST_FRAG : ST_HEAD;
        *ret_again = true;
        return ERR_OK;
    }
    size_t n = ready(r);
    if (n > 0) {
        struct ds_token t = r->tok;
        t.kind = DS_DATA;
        t.at = r->pos;
        t.data = take_piece(r, n);
        *ret_again = r->skipping;
        if (!r->skipping) {
            *ret = t;
        }
        return ERR_OK;
    }
    bool at_top = r->depth == (l->pixels ? 1 : 0) && tag_group(r->tok.tag) == GROUP_PIXELS;
    if (r->last && at_top && tolerate(r, LENIENT_SHORT_PIXELS)) {
        r->state = l->pixels ? ST_FRAG : ST_HEAD;
        return l->pixels ? end_seq(r, r->pos, ret) : end_all(r, ret);
    }
    return cut_short(r, e);
}

/* Nothing but zeros may follow the data set. */
static enum err step_trail(struct dsread *r, struct ds_token *ret, struct errmsg *e)
{
    while (unread(r) > 0) {
        size_t         n = r->held > 0 ? r->held : 1;
        const uint8_t *p = peek(r, n);
        for (size_t i = 0; i < n; i++) {
            if (p[i] != 0) {
                return err_set(e, ERR_SYNTAX, "garbage after the data set at offset %" PRIu64,
                               r->pos + i);
            }
        }
        take(r, n);
    }
    return r->last ? end_all(r, ret) : ERR_MORE;
}

static enum err step(struct dsread *r, bool *ret_again, struct ds_token *ret, struct errmsg *e)
{
    switch (r->state) {
    case ST_HEAD: return step_head(r, ret_again, ret, e);
    case ST_ITEM:
    case ST_FRAG: return step_item(r, ret_again, ret, e);
    case ST_VALUE: return step_value(r, ret_again, ret, e);
    case ST_TRAIL: return step_trail(r, ret, e);
    case ST_END: return end_all(r, ret);
    default: return err_set(e, ERR_SYNTAX, "read on after an error");
    }
}

enum err dsread_next(struct dsread *r, struct ds_token *ret, struct errmsg *e)
{
    bool     again;
    enum err rc;
    do {
        again = false;
        rc = step(r, &again, ret, e);
    } while (rc == ERR_OK && again);
    return rc == ERR_OK || rc == ERR_MORE ? rc : fail(r, rc);
}

void dsread_init(struct dsread *r, const struct syntax *s, unsigned lenient, uint64_t at)
{
    /* Levels above 0 are set when they are opened: clearing them all would cost more than a
     * command set takes to read. */
    r->lenient = lenient;
    r->seen = 0;
    r->win = (struct cur){0};
    r->pos = at;
    r->left = 0;
    r->skipping = false;
    r->last = false;
    r->held = 0;
    r->tok = (struct ds_token){0};
    r->state = ST_HEAD;
    r->depth = 0;
    r->level[0] = (struct ds_level){.seq_end = LEN_UNDEFINED,
                                    .item_end = LEN_UNDEFINED,
                                    .seq_limit = UINT64_MAX,
                                    .item_fence = UINT64_MAX,
                                    .explicit_vr = s->explicit_vr,
                                    .big = s->big_endian,
                                    .fresh = true};
}

uint64_t dsread_want(const struct dsread *r)
{
    bool jump = r->state == ST_VALUE && r->skipping && r->left > SMALL_SKIP && r->held == 0;
    return r->pos + r->held + (jump ? r->left : 0);
}

void dsread_feed(struct dsread *r, uint64_t at, struct bytes window, bool last)
{
    assert(at <= dsread_want(r));
    uint64_t base = r->pos + r->held;
    r->win = cur_of(window);
    r->last = last;
    if (at > base) {
        r->left -= at - base;
        r->pos += at - base;
    } else if (base > at) {
        uint64_t drop = min_u64(base - at, window.len);
        (void)cur_bytes(&r->win, (size_t)drop);
    }
}

void dsread_skip(struct dsread *r)
{
    if (r->state == ST_VALUE) {
        r->skipping = true;
    }
}
