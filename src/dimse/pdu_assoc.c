/* A-ASSOCIATE-RQ and -AC: PS3.8 tables 9-11 to 9-20 and D.1, PS3.7 tables D.3-1 to D.3-15. */
#include <inttypes.h>

#include "base/utf8.h"
#include "dimse/pdu.h"

enum {
    ITEM_APPLICATION = 0x10,
    ITEM_CTX_RQ = 0x20,
    ITEM_CTX_AC = 0x21,
    ITEM_ABSTRACT = 0x30,
    ITEM_SYNTAX = 0x40,
    ITEM_USER = 0x50,
    ITEM_MAX_PDU = 0x51,
    ITEM_IMPL_UID = 0x52,
    ITEM_WINDOW = 0x53,
    ITEM_ROLE = 0x54,
    ITEM_IMPL_VERSION = 0x55,
    ITEM_EXT = 0x56,
    ITEM_COMMON_EXT = 0x57,
    ITEM_IDENTITY_RQ = 0x58,
    ITEM_IDENTITY_AC = 0x59,
};

enum { MAX_CTX = 128, AET = 16 }; // ids are the odd numbers of a byte

/* ---- reading */

struct reader {
    struct arena     *arena;
    struct assoc_pdu *out;
    uint8_t           ctx_item; // ITEM_CTX_RQ or ITEM_CTX_AC
    bool              full;     // the arena was
    bool              has_user;
    uint8_t           seen[32]; // bit set of context ids
    struct errmsg    *e;
};

struct item {
    uint8_t    type;
    struct cur body;
};

static struct item item_next(struct cur *c)
{
    struct item it = {.type = cur_u8(c)};
    (void)cur_u8(c);
    uint16_t len = cur_u16be(c);
    it.body = cur_sub(c, len);
    return it;
}

static size_t item_count(struct cur c, uint8_t type)
{
    size_t n = 0;
    while (cur_left(&c) > 0) {
        n += item_next(&c).type == type;
    }
    return n;
}

/* Titles and UIDs are cut at a NUL and trimmed: devices pad with either. */
static struct str text_of(struct reader *r, struct bytes b)
{
    const uint8_t *nul = b.len > 0 ? memchr(b.ptr, 0, b.len) : NULL;
    struct str     s = {"", 0};
    b.len = nul != NULL ? (size_t)(nul - b.ptr) : b.len;
    while (b.len > 0 && b.ptr[b.len - 1] == ' ') {
        b.len--;
    }
    while (b.len > 0 && b.ptr[0] == ' ') {
        b = (struct bytes){b.ptr + 1, b.len - 1};
    }
    if (b.len == 0 || utf8_check(b, &s)) {
        return s;
    }
    char *p = arena_array(r->arena, b.len, char);
    if (p == NULL) {
        r->full = true;
        return s;
    }
    for (size_t i = 0; i < b.len; i++) {
        p[i] = (char)(b.ptr[i] < 0x80 ? b.ptr[i] : '?');
    }
    return (struct str){p, b.len};
}

static struct str rest_text(struct reader *r, struct cur *c)
{
    return text_of(r, cur_bytes(c, cur_left(c)));
}

/* A text behind its 16-bit length. */
static struct str counted_text(struct reader *r, struct cur *c)
{
    uint16_t len = cur_u16be(c);
    return text_of(r, cur_bytes(c, len));
}

static struct bytes counted_bytes(struct cur *c)
{
    uint16_t len = cur_u16be(c);
    return cur_bytes(c, len);
}

static void *array(struct reader *r, size_t n, size_t size)
{
    void *p = n > 0 ? arena_alloc(r->arena, n, size) : NULL;
    r->full = r->full || (n > 0 && p == NULL);
    return p;
}

static enum err read_ctx(struct reader *r, struct cur c)
{
    struct assoc_ctx x = {.id = cur_u8(&c)};
    (void)cur_u8(&c);
    uint8_t result = cur_u8(&c);
    (void)cur_u8(&c);
    size_t n = item_count(c, ITEM_SYNTAX);
    x.syntaxes = array(r, n, sizeof(*x.syntaxes));
    if (r->full) {
        return ERR_LIMIT;
    }
    while (cur_left(&c) > 0) {
        struct item it = item_next(&c);
        if (it.type == ITEM_ABSTRACT && r->ctx_item == ITEM_CTX_RQ) {
            x.abstract = rest_text(r, &it.body);
        } else if (it.type == ITEM_SYNTAX && x.n_syntaxes < n) {
            x.syntaxes[x.n_syntaxes++] = rest_text(r, &it.body);
        }
    }
    if (cur_end(&c) != ERR_OK) {
        return err_set(r->e, ERR_SYNTAX, "presentation context %u: items do not fit", x.id);
    }
    uint8_t bit = (uint8_t)(1U << (x.id & 7));
    if ((x.id & 1) == 0 || (r->seen[x.id >> 3] & bit) != 0) {
        return err_set(r->e, ERR_SYNTAX, "presentation context id %u is even or there twice", x.id);
    }
    r->seen[x.id >> 3] |= bit;
    if (r->ctx_item == ITEM_CTX_AC) {
        x.result = result <= CTX_NO_SYNTAX ? (enum ctx_result)result : CTX_NO_REASON;
    }
    r->out->ctx[r->out->n_ctx++] = x;
    return ERR_OK;
}

static void read_role(struct reader *r, struct cur *c)
{
    struct assoc_role *x = &r->out->role[r->out->n_role++];
    x->class_uid = counted_text(r, c);
    x->scu = cur_u8(c) != 0;
    x->scp = cur_u8(c) != 0;
}

static void read_ext(struct reader *r, struct cur *c, bool common)
{
    struct assoc_ext *x = &r->out->ext[r->out->n_ext++];
    x->common = common;
    x->class_uid = counted_text(r, c);
    if (common) {
        x->service_uid = counted_text(r, c);
        x->info = counted_bytes(c);
        (void)cur_bytes(c, cur_left(c)); // reserved for later versions of the item
    } else {
        x->info = cur_bytes(c, cur_left(c));
    }
}

static void read_identity(struct reader *r, struct cur *c)
{
    struct assoc_user u = {.type = cur_u8(c)};
    u.response_wanted = cur_u8(c) != 0;
    u.primary = counted_bytes(c);
    u.secondary = counted_bytes(c);
    if (u.type != 0) {
        r->out->user = u;
    }
}

static enum err read_user_item(struct reader *r, struct item *it)
{
    struct assoc_pdu *p = r->out;
    switch (it->type) {
    case ITEM_MAX_PDU: p->max_pdu = cur_u32be(&it->body); break;
    case ITEM_IMPL_UID: p->impl_uid = rest_text(r, &it->body); break;
    case ITEM_IMPL_VERSION: p->impl_version = rest_text(r, &it->body); break;
    case ITEM_WINDOW:
        p->has_window = true;
        p->invoked = cur_u16be(&it->body);
        p->performed = cur_u16be(&it->body);
        break;
    case ITEM_ROLE: read_role(r, &it->body); break;
    case ITEM_EXT: read_ext(r, &it->body, false); break;
    case ITEM_COMMON_EXT: read_ext(r, &it->body, true); break;
    case ITEM_IDENTITY_RQ: read_identity(r, &it->body); break;
    case ITEM_IDENTITY_AC: p->user_response = counted_bytes(&it->body); break;
    default: return ERR_OK; // unknown items shall be ignored, PS3.8 9.3.1
    }
    return cur_end(&it->body) == ERR_OK
               ? ERR_OK
               : err_set(r->e, ERR_SYNTAX, "user information item %02x is malformed", it->type);
}

static enum err read_user(struct reader *r, struct cur c)
{
    struct assoc_pdu *p = r->out;
    if (r->has_user) {
        return err_set(r->e, ERR_SYNTAX, "user information is there twice");
    }
    r->has_user = true;
    p->role = array(r, item_count(c, ITEM_ROLE), sizeof(*p->role));
    p->ext = array(r, item_count(c, ITEM_EXT) + item_count(c, ITEM_COMMON_EXT), sizeof(*p->ext));
    while (!r->full && cur_left(&c) > 0) {
        struct item it = item_next(&c);
        enum err    rc = c.err == ERR_OK ? read_user_item(r, &it) : ERR_OK;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return r->full || cur_end(&c) == ERR_OK
               ? ERR_OK
               : err_set(r->e, ERR_SYNTAX, "user information items do not fit");
}

static enum err read_item(struct reader *r, struct item *it)
{
    if (it->type == ITEM_APPLICATION) {
        r->out->application = rest_text(r, &it->body);
        return ERR_OK;
    }
    if (it->type == r->ctx_item) {
        return read_ctx(r, it->body);
    }
    return it->type == ITEM_USER ? read_user(r, it->body) : ERR_OK;
}

static void roles_to_contexts(struct assoc_pdu *p)
{
    for (size_t i = 0; i < p->n_role; i++) {
        for (size_t k = 0; k < p->n_ctx; k++) {
            struct assoc_ctx *x = &p->ctx[k];
            if (str_eq(x->abstract, p->role[i].class_uid)) {
                x->has_role = true;
                x->scu_role = p->role[i].scu;
                x->scp_role = p->role[i].scp;
            }
        }
    }
}

enum err assoc_pdu_parse(uint8_t type, struct bytes body, struct arena *a, struct assoc_pdu *ret,
                         struct errmsg *e)
{
    struct assoc_pdu p = {0};
    struct reader    r = {.arena = a, .out = &p, .e = e};
    struct bytes     copy = arena_bytes(a, body);
    struct cur       c = cur_of(copy);
    r.ctx_item = type == PDU_ASSOC_RQ ? ITEM_CTX_RQ : ITEM_CTX_AC;
    if (copy.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "A-ASSOCIATE PDU of %zu bytes is too large", body.len);
    }
    p.version = cur_u16be(&c);
    (void)cur_u16be(&c);
    p.called = text_of(&r, cur_bytes(&c, AET));
    p.calling = text_of(&r, cur_bytes(&c, AET));
    (void)cur_bytes(&c, 32);
    size_t n = item_count(c, r.ctx_item);
    if (n > MAX_CTX) {
        return err_set(e, ERR_SYNTAX, "%zu presentation contexts", n);
    }
    p.ctx = array(&r, n, sizeof(*p.ctx));
    while (!r.full && cur_left(&c) > 0) {
        struct item it = item_next(&c);
        enum err    rc = c.err == ERR_OK ? read_item(&r, &it) : ERR_OK;
        if (rc != ERR_OK && !r.full) {
            return rc;
        }
    }
    if (r.full) {
        return err_set(e, ERR_LIMIT, "A-ASSOCIATE PDU has too many items");
    }
    if (cur_end(&c) != ERR_OK) {
        return err_set(e, ERR_SYNTAX, "A-ASSOCIATE PDU of %zu bytes is cut or malformed", body.len);
    }
    if (type == PDU_ASSOC_RQ) {
        roles_to_contexts(&p);
    }
    *ret = p;
    return ERR_OK;
}

/* ---- writing */

static size_t item_open(struct buf *out, uint8_t type)
{
    buf_u8(out, type);
    buf_u8(out, 0);
    buf_u16be(out, 0);
    return out->len;
}

static void item_close(struct buf *out, size_t at)
{
    size_t len = out->len - at;
    if (len > UINT16_MAX && out->err == ERR_OK) {
        out->err = ERR_LIMIT;
    }
    if (at >= 2) {
        buf_patch_u16be(out, at - 2, (uint16_t)len);
    }
}

static void put_item(struct buf *out, uint8_t type, struct bytes value)
{
    size_t at = item_open(out, type);
    buf_add(out, value);
    item_close(out, at);
}

static void put_counted(struct buf *out, struct bytes value)
{
    if (value.len > UINT16_MAX && out->err == ERR_OK) {
        out->err = ERR_LIMIT;
    }
    buf_u16be(out, (uint16_t)value.len);
    buf_add(out, value);
}

static void put_title(struct buf *out, struct str s)
{
    uint8_t b[AET];
    memset(b, ' ', sizeof(b));
    if (s.len > 0) {
        memcpy(b, s.ptr, s.len < AET ? s.len : AET);
    }
    buf_add(out, (struct bytes){b, sizeof(b)});
}

static void put_ctx(struct buf *out, uint8_t type, const struct assoc_ctx *x)
{
    bool   answer = type == PDU_ASSOC_AC;
    size_t at = item_open(out, answer ? ITEM_CTX_AC : ITEM_CTX_RQ);
    buf_u8(out, x->id);
    buf_u8(out, 0);
    buf_u8(out, answer ? (uint8_t)x->result : 0);
    buf_u8(out, 0);
    if (!answer) {
        put_item(out, ITEM_ABSTRACT, str_bytes(x->abstract));
    }
    for (size_t i = 0; i < x->n_syntaxes; i++) {
        put_item(out, ITEM_SYNTAX, str_bytes(x->syntaxes[i]));
    }
    item_close(out, at);
}

static void put_role(struct buf *out, struct assoc_role r)
{
    size_t at = item_open(out, ITEM_ROLE);
    put_counted(out, str_bytes(r.class_uid));
    buf_u8(out, r.scu);
    buf_u8(out, r.scp);
    item_close(out, at);
}

/* Roles are of an abstract syntax, which several contexts may share: one item each. */
static bool is_role_written(const struct assoc_pdu *p, size_t ctx)
{
    for (size_t i = 0; i < p->n_role; i++) {
        if (str_eq(p->role[i].class_uid, p->ctx[ctx].abstract)) {
            return true;
        }
    }
    for (size_t i = 0; i < ctx; i++) {
        if (p->ctx[i].has_role && str_eq(p->ctx[i].abstract, p->ctx[ctx].abstract)) {
            return true;
        }
    }
    return false;
}

static void put_roles(struct buf *out, const struct assoc_pdu *p)
{
    for (size_t i = 0; i < p->n_role; i++) {
        put_role(out, p->role[i]);
    }
    for (size_t i = 0; i < p->n_ctx; i++) {
        const struct assoc_ctx *x = &p->ctx[i];
        if (x->has_role && x->abstract.len > 0 && !is_role_written(p, i)) {
            put_role(out, (struct assoc_role){x->abstract, x->scu_role, x->scp_role});
        }
    }
}

static void put_ext(struct buf *out, const struct assoc_ext *x)
{
    size_t at = item_open(out, x->common ? ITEM_COMMON_EXT : ITEM_EXT);
    put_counted(out, str_bytes(x->class_uid));
    if (x->common) {
        put_counted(out, str_bytes(x->service_uid));
        put_counted(out, x->info);
    } else {
        buf_add(out, x->info);
    }
    item_close(out, at);
}

static void put_identity(struct buf *out, const struct assoc_pdu *p)
{
    if (p->user.type != 0) {
        size_t at = item_open(out, ITEM_IDENTITY_RQ);
        buf_u8(out, p->user.type);
        buf_u8(out, p->user.response_wanted);
        put_counted(out, p->user.primary);
        put_counted(out, p->user.secondary);
        item_close(out, at);
    }
    if (p->user_response.ptr != NULL) {
        size_t at = item_open(out, ITEM_IDENTITY_AC);
        put_counted(out, p->user_response);
        item_close(out, at);
    }
}

static void put_user(struct buf *out, const struct assoc_pdu *p)
{
    size_t at = item_open(out, ITEM_USER);
    size_t max = item_open(out, ITEM_MAX_PDU);
    buf_u32be(out, p->max_pdu);
    item_close(out, max);
    if (p->impl_uid.len > 0) {
        put_item(out, ITEM_IMPL_UID, str_bytes(p->impl_uid));
    }
    if (p->has_window) {
        size_t window = item_open(out, ITEM_WINDOW);
        buf_u16be(out, p->invoked);
        buf_u16be(out, p->performed);
        item_close(out, window);
    }
    put_roles(out, p);
    if (p->impl_version.len > 0) {
        put_item(out, ITEM_IMPL_VERSION, str_bytes(p->impl_version));
    }
    for (size_t i = 0; i < p->n_ext; i++) {
        put_ext(out, &p->ext[i]);
    }
    put_identity(out, p);
    item_close(out, at);
}

void assoc_pdu_write(uint8_t type, const struct assoc_pdu *p, struct buf *out)
{
    static const uint8_t zero[32];
    size_t               start = out->len;
    buf_u8(out, type);
    buf_u8(out, 0);
    buf_u32be(out, 0);
    buf_u16be(out, p->version);
    buf_u16be(out, 0);
    put_title(out, p->called);
    put_title(out, p->calling);
    buf_add(out, (struct bytes){zero, sizeof(zero)});
    put_item(out, ITEM_APPLICATION, str_bytes(p->application));
    for (size_t i = 0; i < p->n_ctx; i++) {
        put_ctx(out, type, &p->ctx[i]);
    }
    put_user(out, p);
    if (out->err == ERR_OK) {
        buf_patch_u32be(out, start + 2, (uint32_t)(out->len - start - PDU_HEAD));
    }
}
