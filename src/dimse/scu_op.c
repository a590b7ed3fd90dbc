#include "dimse/scu_op.h"

#include <string.h>

enum { RESPONSE = 0x8000 };

bool is_pending(uint16_t status)
{
    return status == 0xFF00 || status == 0xFF01;
}

/* PS3.7 annex C.4. */
bool is_warning(uint16_t status)
{
    return status == 0x0001 || (status & 0xF000) == 0xB000 || status == 0x0107 || status == 0x0116;
}

static void take_response(struct scu_op *op, const struct cmd *c)
{
    size_t n = c->comment.len < OP_COMMENT ? c->comment.len : OP_COMMENT - 1;
    op->status = c->status;
    memcpy(op->comment, n > 0 ? c->comment.ptr : "", n);
    op->comment[n] = '\0';
    if (c->has_counts) {
        op->has_counts = true;
        op->remaining = c->remaining;
        op->completed = c->completed;
        op->failed = c->failed;
        op->warning = c->warning;
    }
}

enum op_what op_take(struct scu_op *op, const struct cmd *c, uint8_t context)
{
    if (op->field == C_GET_RQ && c->field == C_STORE_RQ) {
        op->store_context = context;
        op->store_id = c->message_id;
        op->store_class = c->class_uid;
        op->store_uid = c->sop_uid;
        return c->has_data ? OP_STORE : OP_STRAY;
    }
    if (c->field != (op->field | RESPONSE) || c->responded_id != op->id || context != op->context) {
        return OP_STRAY;
    }
    take_response(op, c);
    op->done = !is_pending(c->status);
    return op->done ? OP_FINAL : OP_PENDING;
}

const char *status_text(uint16_t field, uint16_t status)
{
    enum { STORE = 1, QUERY = 2, ANY = STORE | QUERY };

    static const struct {
        uint16_t    mask, status;
        uint8_t     of;
        const char *text;
    } words[] = {
        {0xFFFF, 0x0000, ANY, "success"},
        {0xFFFF, 0xFE00, ANY, "cancelled"},
        {0xFFFF, 0xFF00, ANY, "pending"},
        {0xFFFF, 0xFF01, ANY, "pending, optional keys not supported"},
        {0xFFFF, 0xA701, QUERY, "out of resources: cannot count matches"},
        {0xFFFF, 0xA702, QUERY, "out of resources: cannot perform sub-operations"},
        {0xFF00, 0xA700, ANY, "out of resources"},
        {0xFFFF, 0xA801, QUERY, "move destination unknown"},
        {0xFF00, 0xA900, STORE, "data set does not match SOP class"},
        {0xFF00, 0xA900, QUERY, "identifier does not match SOP class"},
        {0xFFFF, 0xB000, STORE, "stored, with coercion of data elements"},
        {0xFFFF, 0xB007, STORE, "stored, data set does not match SOP class"},
        {0xFFFF, 0xB006, STORE, "stored, elements discarded"},
        {0xFFFF, 0xB000, QUERY, "complete, some sub-operations failed"},
        {0xF000, 0xC000, STORE, "cannot understand"},
        {0xF000, 0xC000, QUERY, "unable to process"},
        {0xFFFF, 0x0107, ANY, "attribute list error"},
        {0xFFFF, 0x0110, ANY, "processing failure"},
        {0xFFFF, 0x0111, ANY, "duplicate SOP instance"},
        {0xFFFF, 0x0112, ANY, "no such SOP instance"},
        {0xFFFF, 0x0117, ANY, "invalid SOP instance UID"},
        {0xFFFF, 0x0118, ANY, "no such SOP class"},
        {0xFFFF, 0x0119, ANY, "class and instance conflict"},
        {0xFFFF, 0x0122, ANY, "SOP class not supported"},
        {0xFFFF, 0x0124, ANY, "not authorized"},
        {0xFFFF, 0x0210, ANY, "duplicate invocation"},
        {0xFFFF, 0x0211, ANY, "unrecognized operation"},
        {0xFFFF, 0x0212, ANY, "mistyped argument"},
        {0xFFFF, 0x0213, ANY, "resource limitation"},
        {0xF000, 0xB000, ANY, "warning"},
        {0xF000, 0xA000, ANY, "failure"},
    };

    const unsigned of = field == C_STORE_RQ ? STORE : QUERY;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((words[i].of & of) != 0 && (status & words[i].mask) == words[i].status) {
            return words[i].text;
        }
    }
    return "unknown status";
}
