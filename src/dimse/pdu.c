#include "dimse/pdu.h"

#include <inttypes.h>

enum err pdu_cut(struct bytes in, uint32_t max, struct pdu *ret, size_t *ret_size, struct errmsg *e)
{
    if (in.len < PDU_HEAD) {
        return ERR_MORE;
    }
    struct cur c = cur_of(in);
    uint8_t    type = cur_u8(&c);
    (void)cur_u8(&c); // reserved: not tested, PS3.8 9.3.1
    uint32_t len = cur_u32be(&c);

    if (len > max) {
        return err_set(e, ERR_LIMIT, "PDU type %02x: length %" PRIu32 " over %" PRIu32, type, len,
                       max);
    }
    if (len > cur_left(&c)) {
        return ERR_MORE;
    }
    *ret = (struct pdu){.type = type, .body = cur_bytes(&c, len)};
    *ret_size = PDU_HEAD + (size_t)len;
    return ERR_OK;
}

enum err pdv_next(struct cur *body, struct pdv *ret, struct errmsg *e)
{
    uint32_t   len = cur_u32be(body);
    struct cur item = cur_sub(body, len);
    struct pdv v = {.context = cur_u8(&item)};
    uint8_t    head = cur_u8(&item);

    v.command = (head & 1) != 0;
    v.last = (head & 2) != 0;
    v.data = cur_bytes(&item, cur_left(&item));
    if (cur_end(&item) != ERR_OK) {
        cur_fail(body, item.err);
        return err_set(e, item.err, "PDV of %" PRIu32 " bytes does not fit its PDU", len);
    }
    if ((v.context & 1) == 0) {
        cur_fail(body, ERR_SYNTAX);
        return err_set(e, ERR_SYNTAX, "even presentation context %u", v.context);
    }
    *ret = v;
    return ERR_OK;
}

static void four_bytes(uint8_t type, uint32_t v, struct buf *out)
{
    buf_u8(out, type);
    buf_u8(out, 0);
    buf_u32be(out, 4);
    buf_u32be(out, v);
}

void pdu_reject_write(struct assoc_rj rj, struct buf *out)
{
    four_bytes(PDU_ASSOC_RJ,
               (uint32_t)rj.result << 16 | (uint32_t)rj.source << 8 | (uint32_t)rj.reason, out);
}

void pdu_abort_write(uint8_t source, uint8_t reason, struct buf *out)
{
    four_bytes(PDU_ABORT, (uint32_t)source << 8 | (uint32_t)reason, out);
}

void pdu_release_write(uint8_t type, struct buf *out)
{
    four_bytes(type, 0, out);
}

static enum err four_parse(struct bytes body, uint8_t ret[4], struct errmsg *e)
{
    if (body.len != 4) {
        return err_set(e, ERR_SYNTAX, "PDU of 4 bytes has %zu", body.len);
    }
    memcpy(ret, body.ptr, 4);
    return ERR_OK;
}

enum err pdu_reject_parse(struct bytes body, struct assoc_rj *ret, struct errmsg *e)
{
    uint8_t  b[4];
    enum err rc = four_parse(body, b, e);
    if (rc == ERR_OK) {
        *ret = (struct assoc_rj){.result = b[1], .source = b[2], .reason = b[3]};
    }
    return rc;
}

enum err pdu_abort_parse(struct bytes body, struct assoc_abort *ret, struct errmsg *e)
{
    uint8_t  b[4];
    enum err rc = four_parse(body, b, e);
    if (rc == ERR_OK) {
        *ret = (struct assoc_abort){.source = b[2], .reason = b[3]};
    }
    return rc;
}

enum err pdu_release_parse(struct bytes body, struct errmsg *e)
{
    uint8_t b[4];
    return four_parse(body, b, e);
}

const char *reject_text(struct assoc_rj rj)
{
    static const struct {
        uint8_t     source, reason;
        const char *text;
    } words[] = {
        {1, 1, "no reason given"},
        {1, 2, "application context name not supported"},
        {1, 3, "calling AE title not recognized"},
        {1, 7, "called AE title not recognized"},
        {2, 1, "no reason given by the upper layer"},
        {2, 2, "protocol version not supported"},
        {3, 1, "temporary congestion"},
        {3, 2, "local limit exceeded"},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].source == rj.source && words[i].reason == rj.reason) {
            return words[i].text;
        }
    }
    return "unknown reason";
}

const char *abort_text(struct assoc_abort a)
{
    static const char *const provider[] = {
        [ABORT_NO_REASON] = "aborted by the peer's upper layer, no reason given",
        [ABORT_PDU_UNKNOWN] = "aborted by the peer: unrecognized PDU",
        [ABORT_PDU_UNEXPECTED] = "aborted by the peer: unexpected PDU",
        [ABORT_PARAM_UNKNOWN] = "aborted by the peer: unrecognized PDU parameter",
        [ABORT_PARAM_UNEXPECTED] = "aborted by the peer: unexpected PDU parameter",
        [ABORT_PARAM_INVALID] = "aborted by the peer: invalid PDU parameter value",
    };
    if (a.source == ABORT_USER) {
        return "aborted by the peer";
    }
    if (a.source == ABORT_PROVIDER && a.reason < sizeof(provider) / sizeof(provider[0]) &&
        provider[a.reason] != NULL) {
        return provider[a.reason];
    }
    return "aborted by the peer, unknown reason";
}

const char *ctx_result_text(enum ctx_result r)
{
    switch (r) {
    case CTX_ACCEPTED: return "accepted";
    case CTX_USER_REJECTED: return "rejected by the user";
    case CTX_NO_REASON: return "rejected, no reason given";
    case CTX_NO_ABSTRACT: return "SOP class not supported";
    case CTX_NO_SYNTAX: return "transfer syntaxes not supported";
    default: return "rejected, unknown reason";
    }
}
