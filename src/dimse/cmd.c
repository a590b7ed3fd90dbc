#include "dimse/cmd.h"

#include <inttypes.h>

#include "base/cur.h"
#include "base/utf8.h"

enum {
    EL_GROUP_LENGTH = 0x0000,
    EL_AFFECTED_CLASS = 0x0002,
    EL_REQUESTED_CLASS = 0x0003,
    EL_FIELD = 0x0100,
    EL_MESSAGE_ID = 0x0110,
    EL_RESPONDED_ID = 0x0120,
    EL_DESTINATION = 0x0600,
    EL_PRIORITY = 0x0700,
    EL_DATA_SET_TYPE = 0x0800,
    EL_STATUS = 0x0900,
    EL_COMMENT = 0x0902,
    EL_AFFECTED_SOP = 0x1000,
    EL_REQUESTED_SOP = 0x1001,
    EL_EVENT_TYPE = 0x1002,
    EL_ACTION_TYPE = 0x1008,
    EL_REMAINING = 0x1020,
    EL_COMPLETED = 0x1021,
    EL_FAILED = 0x1022,
    EL_WARNING = 0x1023,
    EL_ORIGINATOR_AET = 0x1030,
    EL_ORIGINATOR_ID = 0x1031,
};

enum { NO_DATA_SET = 0x0101, HAS_DATA_SET = 0x0000, COMMENT_CHARS = 64 };

/* ---- reading */

static struct bytes trim(struct bytes b)
{
    while (b.len > 0 && (b.ptr[b.len - 1] == ' ' || b.ptr[b.len - 1] == 0)) {
        b.len--;
    }
    while (b.len > 0 && b.ptr[0] == ' ') {
        b = (struct bytes){b.ptr + 1, b.len - 1};
    }
    return b;
}

/* The view as text; a copy with '?' for each byte above 0x7E when it is no UTF-8. */
static bool text_of(struct bytes raw, struct arena *a, struct str *ret)
{
    struct bytes b = trim(raw);
    *ret = (struct str){"", 0};
    if (b.len == 0 || utf8_check(b, ret)) {
        return true;
    }
    char *p = arena_array(a, b.len, char);
    if (p == NULL) {
        return false;
    }
    for (size_t i = 0; i < b.len; i++) {
        p[i] = (char)(b.ptr[i] < 0x80 ? b.ptr[i] : '?');
    }
    *ret = (struct str){p, b.len};
    return true;
}

static struct str *text_slot(struct cmd *c, uint16_t el)
{
    switch (el) {
    case EL_AFFECTED_CLASS:
    case EL_REQUESTED_CLASS: return &c->class_uid;
    case EL_AFFECTED_SOP:
    case EL_REQUESTED_SOP: return &c->sop_uid;
    case EL_DESTINATION: return &c->move_destination;
    case EL_COMMENT: return &c->comment;
    case EL_ORIGINATOR_AET: return &c->originator_aet;
    default: return NULL;
    }
}

static uint16_t *number_slot(struct cmd *c, uint16_t el)
{
    switch (el) {
    case EL_FIELD: return &c->field;
    case EL_MESSAGE_ID: return &c->message_id;
    case EL_RESPONDED_ID: return &c->responded_id;
    case EL_PRIORITY: return &c->priority;
    case EL_STATUS: return &c->status;
    case EL_EVENT_TYPE: return &c->event_type;
    case EL_ACTION_TYPE: return &c->action_type;
    case EL_REMAINING: return &c->remaining;
    case EL_COMPLETED: return &c->completed;
    case EL_FAILED: return &c->failed;
    case EL_WARNING: return &c->warning;
    case EL_ORIGINATOR_ID: return &c->originator_id;
    default: return NULL;
    }
}

struct seen {
    bool field, id, data_set_type, status;
};

static void note(struct cmd *c, struct seen *s, uint16_t el)
{
    s->field = s->field || el == EL_FIELD;
    s->status = s->status || el == EL_STATUS;
    s->id = s->id || el == EL_MESSAGE_ID || el == EL_RESPONDED_ID;
    c->requested = c->requested || el == EL_REQUESTED_CLASS || el == EL_REQUESTED_SOP;
    c->has_remaining = c->has_remaining || el == EL_REMAINING;
    c->has_counts = c->has_counts || (el >= EL_REMAINING && el <= EL_WARNING);
}

static enum err read_element(struct cmd *c, struct seen *s, uint16_t el, struct bytes v,
                             struct arena *a)
{
    struct str *text = text_slot(c, el);
    uint16_t   *number = number_slot(c, el);
    struct cur  cur = cur_of(v);
    if (text != NULL && !text_of(v, a, text)) {
        return ERR_LIMIT;
    }
    if ((number != NULL || el == EL_DATA_SET_TYPE) && v.len != 2) {
        /* An empty optional number is the same as none. */
        return v.len == 0 ? ERR_OK : ERR_SYNTAX;
    }
    if (number != NULL) {
        *number = cur_u16le(&cur);
    } else if (el == EL_DATA_SET_TYPE) {
        c->has_data = cur_u16le(&cur) != NO_DATA_SET;
        s->data_set_type = true;
    }
    note(c, s, el);
    return ERR_OK;
}

static bool is_response(const struct cmd *c)
{
    return (c->field & 0x8000) != 0;
}

static enum err check(const struct cmd *c, const struct seen *s, struct errmsg *e)
{
    if (!s->field) {
        return err_set(e, ERR_SYNTAX, "command set without Command Field");
    }
    if (!s->data_set_type || !s->id) {
        return err_set(e, ERR_SYNTAX, "command %04x without %s", c->field,
                       s->id ? "Command Data Set Type" : "message id");
    }
    return is_response(c) && !s->status
               ? err_set(e, ERR_SYNTAX, "response %04x without Status", c->field)
               : ERR_OK;
}

enum err cmd_parse(struct bytes in, struct arena *a, struct cmd *ret, struct errmsg *e)
{
    struct cmd   c = {0};
    struct seen  s = {0};
    struct bytes copy = arena_bytes(a, in);
    struct cur   cur = cur_of(copy);
    if (copy.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "command set of %zu bytes is too large", in.len);
    }
    while (cur_left(&cur) > 0) {
        uint16_t     group = cur_u16le(&cur);
        uint16_t     el = cur_u16le(&cur);
        uint32_t     len = cur_u32le(&cur);
        struct bytes v = cur_bytes(&cur, len);
        if (cur.err != ERR_OK || group != 0) {
            return err_set(e, ERR_SYNTAX, "command set: element %04x,%04x of %" PRIu32 " bytes",
                           group, el, len);
        }
        enum err rc = read_element(&c, &s, el, v, a);
        if (rc != ERR_OK) {
            return err_set(e, rc, "command set: value of %04x is malformed", el);
        }
    }
    enum err rc = check(&c, &s, e);
    if (rc == ERR_OK) {
        *ret = c;
    }
    return rc;
}

/* ---- writing */

static void head(struct buf *out, uint16_t el, size_t len)
{
    buf_u16le(out, 0);
    buf_u16le(out, el);
    buf_u32le(out, (uint32_t)len);
}

static void put_number(struct buf *out, uint16_t el, uint16_t v)
{
    head(out, el, 2);
    buf_u16le(out, v);
}

static void put_text(struct buf *out, uint16_t el, struct str s, uint8_t pad)
{
    if (s.len > 0) {
        head(out, el, s.len + (s.len & 1));
        buf_str(out, s);
        if ((s.len & 1) != 0) {
            buf_u8(out, pad);
        }
    }
}

/* Error Comment is in the default repertoire: a command set has no character set. */
static void put_comment(struct buf *out, struct str s)
{
    char   text[COMMENT_CHARS];
    size_t n = 0;
    for (size_t at = 0; at < s.len && n < COMMENT_CHARS;) {
        uint32_t code = utf8_next(s, &at);
        text[n++] = (char)(code >= 0x20 && code < 0x7F && code != '\\' ? code : '?');
    }
    while (n > 0 && text[n - 1] == ' ') {
        n--;
    }
    put_text(out, EL_COMMENT, (struct str){text, n}, ' ');
}

static void put_counts(struct buf *out, const struct cmd *c)
{
    if (c->has_remaining) {
        put_number(out, EL_REMAINING, c->remaining);
    }
    put_number(out, EL_COMPLETED, c->completed);
    put_number(out, EL_FAILED, c->failed);
    put_number(out, EL_WARNING, c->warning);
}

static bool has_priority(uint16_t field)
{
    return field == C_STORE_RQ || field == C_FIND_RQ || field == C_GET_RQ || field == C_MOVE_RQ;
}

static void put_ids(struct buf *out, const struct cmd *c)
{
    if (is_response(c) || c->field == C_CANCEL_RQ) {
        put_number(out, EL_RESPONDED_ID, c->responded_id);
    } else {
        put_number(out, EL_MESSAGE_ID, c->message_id);
    }
}

void cmd_write(const struct cmd *c, struct buf *out)
{
    size_t start = out->len;
    head(out, EL_GROUP_LENGTH, 4);
    buf_u32le(out, 0);
    put_text(out, c->requested ? EL_REQUESTED_CLASS : EL_AFFECTED_CLASS, c->class_uid, 0);
    put_number(out, EL_FIELD, c->field);
    put_ids(out, c);
    put_text(out, EL_DESTINATION, c->move_destination, ' ');
    if (has_priority(c->field)) {
        put_number(out, EL_PRIORITY, c->priority);
    }
    put_number(out, EL_DATA_SET_TYPE, c->has_data ? HAS_DATA_SET : NO_DATA_SET);
    if (is_response(c)) {
        put_number(out, EL_STATUS, c->status);
        put_comment(out, c->comment);
    }
    put_text(out, c->requested ? EL_REQUESTED_SOP : EL_AFFECTED_SOP, c->sop_uid, 0);
    if ((c->field & 0x7FFF) == N_EVENT_REPORT_RQ) {
        put_number(out, EL_EVENT_TYPE, c->event_type);
    }
    if ((c->field & 0x7FFF) == N_ACTION_RQ) {
        put_number(out, EL_ACTION_TYPE, c->action_type);
    }
    if (c->has_counts) {
        put_counts(out, c);
    }
    if (c->originator_aet.len > 0) {
        put_text(out, EL_ORIGINATOR_AET, c->originator_aet, ' ');
        put_number(out, EL_ORIGINATOR_ID, c->originator_id);
    }
    if (out->err == ERR_OK) {
        buf_patch_u32le(out, start + 8, (uint32_t)(out->len - start - 12));
    }
}
