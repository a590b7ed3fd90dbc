#include "dimse/scu.h"

#include <inttypes.h>

#include "base/limits.h"
#include "dicom/convert.h"

#define VERIFICATION "1.2.840.10008.1.1"

enum { COPY = 64 << 10, CANNOT_UNDERSTAND = 0xC000 };

/* ---- connecting */

static enum err secure(struct sock *s, const struct scu_peer *p, struct deadline d,
                       struct errmsg *e)
{
    enum err rc = sock_start_tls(s, p->tls, p->tls_host, d, e);
    if (rc == ERR_OK && p->cert.len > 0 && !str_eq(p->cert, sock_cert_sha256(s))) {
        return err_set(e, ERR_DENIED, "the peer shows another certificate, SHA-256 %.*s",
                       STR_ARG(sock_cert_sha256(s)));
    }
    return rc;
}

static bool is_any_accepted(const struct assoc_pdu *ac)
{
    for (size_t i = 0; i < ac->n_ctx; i++) {
        if (ac->ctx[i].result == CTX_ACCEPTED) {
            return true;
        }
    }
    return false;
}

enum err scu_connect(const struct scu_peer *p, const struct scu_plan *plan, struct assoc **ret,
                     struct errmsg *e)
{
    struct sock     *s = NULL;
    struct assoc    *a = NULL;
    struct deadline  d = deadline_in_ms(p->connect_ms != 0 ? p->connect_ms : LIMIT_ARTIM_MS);
    struct assoc_pdu rq = {
        .called = p->called,
        .calling = p->calling,
        .ctx = (struct assoc_ctx *)plan->ctx,
        .n_ctx = plan->n,
        .user = p->user,
    };
    enum err rc = sock_connect(p->host, p->port, d, &s, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (p->tls != NULL && (rc = secure(s, p, d, e)) != ERR_OK) {
        sock_free(s);
        return rc;
    }
    rc = assoc_connect(s, &p->conf, &rq, &a, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (plan->n > 0 && !is_any_accepted(assoc_answer(a))) {
        (void)assoc_release(a, NULL);
        rc = err_set(e, ERR_UNSUPPORTED, "none of the presentation contexts was accepted: %s",
                     ctx_result_text(assoc_answer(a)->n_ctx > 0 ? assoc_answer(a)->ctx[0].result
                                                                : CTX_NO_REASON));
        assoc_free(a);
        return rc;
    }
    *ret = a;
    return ERR_OK;
}

/* ---- one request, one response */

static enum err stray(struct assoc *a, const struct cmd *c, struct errmsg *e)
{
    enum err rc = err_set(e, ERR_SYNTAX, "command %04x, message %u is no answer to ours", c->field,
                          c->responded_id);
    assoc_abort(a, ABORT_USER, 0);
    return rc;
}

static enum err response(struct assoc *a, uint16_t field, uint16_t id, uint16_t *ret_status,
                         struct errmsg *e)
{
    struct cmd c;
    uint8_t    context = 0;
    enum err   rc = msg_recv(a, &c, &context, e);
    if (rc == ERR_CLOSED) {
        return err_set(e, rc, "released before the answer");
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (c.field != (field | 0x8000) || c.responded_id != id) {
        return stray(a, &c, e);
    }
    *ret_status = c.status;
    return ERR_OK;
}

enum err scu_echo(struct assoc *a, uint16_t *ret_status, struct errmsg *e)
{
    const struct assoc_ctx *ctx = assoc_ctx_for(a, STR(VERIFICATION), STR(""));
    if (ctx == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "verification was not accepted");
    }
    const struct cmd c = {
        .field = C_ECHO_RQ, .message_id = assoc_next_id(a), .class_uid = STR(VERIFICATION)};
    enum err rc = msg_send(a, ctx->id, &c, NULL, e);
    return rc == ERR_OK ? response(a, C_ECHO_RQ, c.message_id, ret_status, e) : rc;
}

/* ---- C-STORE */

static enum err to_message(void *arg, struct bytes piece, struct errmsg *e)
{
    return msg_send_add(arg, piece, e);
}

static enum err copy(struct assoc *a, const struct dsrc *src, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf room;
    buf_init(&room, COPY);
    uint8_t *p = buf_grow(&room, COPY);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for copying");
    }
    for (uint64_t at = 0; at < src->size;) {
        size_t   n = 0;
        uint64_t left = src->size - at;
        enum err rc = src->read(src->ctx, at, p, left < COPY ? (size_t)left : COPY, &n, e);
        if (rc == ERR_OK && n == 0) {
            return src->size == UINT64_MAX
                       ? ERR_OK
                       : err_set(e, ERR_IO, "object ends at %" PRIu64 " of %" PRIu64 " bytes", at,
                                 src->size);
        }
        rc = rc == ERR_OK ? msg_send_add(a, (struct bytes){p, n}, e) : rc;
        if (rc != ERR_OK) {
            return rc;
        }
        at += n;
    }
    return ERR_OK;
}

static enum err send_data(struct assoc *a, const struct scu_object *o, struct str syntax_uid,
                          struct errmsg *e)
{
    if (!str_eq(o->syntax_uid, syntax_uid)) {
        return convert_stream(&o->src, 0, syntax_find(o->syntax_uid), syntax_find(syntax_uid),
                              to_message, a, e);
    }
    return o->fd >= 0 ? msg_send_file(a, o->fd, o->fd_at, o->fd_len, e) : copy(a, &o->src, e);
}

enum err scu_store(struct assoc *a, const struct scu_object *o, uint16_t *ret_status,
                   struct errmsg *e)
{
    const struct assoc_ctx *ctx = scu_ctx_for(a, o->class_uid, o->syntax_uid);
    if (ctx == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "no accepted context for class %.*s in syntax %.*s",
                       STR_ARG(o->class_uid), STR_ARG(o->syntax_uid));
    }
    const struct cmd c = {
        .field = C_STORE_RQ,
        .message_id = assoc_next_id(a),
        .class_uid = o->class_uid,
        .sop_uid = o->sop_uid,
        .priority = o->priority,
        .originator_aet = o->originator_aet,
        .originator_id = o->originator_id,
    };
    enum err rc = msg_send_begin(a, ctx->id, &c, e);
    if (rc == ERR_OK) {
        rc = send_data(a, o, ctx->syntaxes[0], e);
    }
    if (rc == ERR_OK) {
        rc = msg_send_end(a, e);
    }
    if (rc != ERR_OK) {
        msg_send_cancel(a);
        return rc;
    }
    return response(a, C_STORE_RQ, c.message_id, ret_status, e);
}

/* ---- C-FIND, C-MOVE, C-GET */

static enum err ask(struct assoc *a, struct cmd *c, const struct dset *keys, struct scu_op *ret,
                    struct errmsg *e)
{
    const struct assoc_ctx *ctx = assoc_ctx_for(a, c->class_uid, STR(""));
    if (ctx == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "class %.*s was not accepted", STR_ARG(c->class_uid));
    }
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, LIMIT_IDENTIFIER);
    const struct syntax *s = syntax_find(ctx->syntaxes[0]);
    struct bytes         data = {0};
    enum err             rc = dset_write(keys, s != NULL ? s : &SYNTAX_IMPLICIT, false, &out, e);
    if (rc == ERR_OK && buf_end(&out, &data) != ERR_OK) {
        rc = err_set(e, out.err, "identifier over %d bytes", LIMIT_IDENTIFIER);
    }
    c->message_id = assoc_next_id(a);
    if (rc == ERR_OK) {
        rc = msg_send(a, ctx->id, c, &data, e);
    }
    if (rc == ERR_OK) {
        *ret =
            (struct scu_op){.assoc = a, .context = ctx->id, .field = c->field, .id = c->message_id};
    }
    return rc;
}

enum err scu_find(struct assoc *a, struct str class_uid, const struct dset *keys,
                  struct scu_op *ret, struct errmsg *e)
{
    struct cmd c = {.field = C_FIND_RQ, .class_uid = class_uid};
    return ask(a, &c, keys, ret, e);
}

enum err scu_move(struct assoc *a, struct str class_uid, const struct dset *keys,
                  struct str destination, struct scu_op *ret, struct errmsg *e)
{
    struct cmd c = {.field = C_MOVE_RQ, .class_uid = class_uid, .move_destination = destination};
    return ask(a, &c, keys, ret, e);
}

enum err scu_get(struct assoc *a, struct str class_uid, const struct dset *keys, struct scu_op *ret,
                 struct errmsg *e)
{
    struct cmd c = {.field = C_GET_RQ, .class_uid = class_uid};
    return ask(a, &c, keys, ret, e);
}

static enum err receive_op(struct scu_op *op, struct cmd *ret, enum op_what *ret_what,
                           struct errmsg *e)
{
    uint8_t  context = 0;
    enum err rc = msg_recv(op->assoc, ret, &context, e);
    if (rc == ERR_CLOSED) {
        return err_set(e, rc, "released before the last answer");
    }
    if (rc != ERR_OK) {
        return rc;
    }
    *ret_what = op_take(op, ret, context);
    return *ret_what == OP_STRAY ? stray(op->assoc, ret, e) : ERR_OK;
}

static enum err read_answer(struct scu_op *op, struct arena *mem, struct dset **ret,
                            struct errmsg *e)
{
    CLEANUP(buf_done) struct buf raw;
    buf_init(&raw, LIMIT_FIND_ROW);
    enum err rc = msg_data_all(op->assoc, &raw, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct bytes            copied = arena_bytes(mem, (struct bytes){raw.ptr, raw.len});
    const struct assoc_ctx *ctx = assoc_ctx(op->assoc, op->context);
    const struct syntax    *s = ctx != NULL ? syntax_find(ctx->syntaxes[0]) : NULL;
    struct parse_opts       opts = {.lenient = LENIENT_ALL};
    if (copied.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "answer of %zu bytes", raw.len);
    }
    rc = dset_parse(copied, s != NULL ? s : &SYNTAX_IMPLICIT, &opts, mem, ret, e);
    return rc == ERR_MORE ? err_set(e, ERR_SYNTAX, "an answer is cut short") : rc;
}

enum err scu_next(struct scu_op *op, struct arena *mem, struct dset **ret, struct errmsg *e)
{
    struct cmd   c;
    enum op_what what = OP_STRAY;
    *ret = NULL;
    if (op->done) {
        return ERR_NOTFOUND;
    }
    enum err rc = receive_op(op, &c, &what, e);
    if (rc == ERR_OK && c.has_data) {
        rc = read_answer(op, mem, ret, e);
    }
    return rc == ERR_OK && what == OP_FINAL ? ERR_NOTFOUND : rc;
}

enum err scu_incoming(struct scu_op *op, struct scu_incoming *ret, struct errmsg *e)
{
    while (!op->done) {
        struct cmd   c;
        enum op_what what = OP_STRAY;
        enum err     rc = op->store_context != 0 ? scu_answer(op, CANNOT_UNDERSTAND, e) : ERR_OK;
        rc = rc == ERR_OK ? receive_op(op, &c, &what, e) : rc;
        if (rc != ERR_OK) {
            return rc;
        }
        if (what == OP_STORE) {
            *ret = (struct scu_incoming){
                .class_uid = c.class_uid,
                .sop_uid = c.sop_uid,
                .syntax_uid = assoc_ctx(op->assoc, op->store_context)->syntaxes[0],
            };
            return ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}

enum err scu_answer(struct scu_op *op, uint16_t status, struct errmsg *e)
{
    uint8_t          context = op->store_context;
    const struct cmd c = {
        .field = C_STORE_RSP,
        .responded_id = op->store_id,
        .status = status,
        .class_uid = op->store_class,
        .sop_uid = op->store_uid,
    };
    op->store_context = 0;
    return context != 0 ? msg_send(op->assoc, context, &c, NULL, e) : ERR_OK;
}

enum err scu_cancel(const struct scu_op *op, struct errmsg *e)
{
    const struct cmd c = {.field = C_CANCEL_RQ, .responded_id = op->id};
    return op->done ? ERR_OK : msg_send(op->assoc, op->context, &c, NULL, e);
}
