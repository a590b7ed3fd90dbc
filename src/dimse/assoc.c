/* The life of an association: established, released, aborted. */
#include "dimse/assoc.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/limits.h"
#include "dicom/part10.h"
#include "dimse/assoc_priv.h"

#define APPLICATION "1.2.840.10008.3.1.1.1" // PS3.7 annex A.2.1, the only one there is

enum {
    FIRST_BUF = 16 << 10, // nearly every A-ASSOCIATE-RQ fits
    MAX_CTX = 128,
};

static int64_t or_default(int64_t v, int64_t standard)
{
    return v != 0 ? v : standard;
}

/* NULL: no memory, s is freed. */
static struct assoc *assoc_new(struct sock *s, const struct assoc_conf *c, struct errmsg *e)
{
    struct assoc *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        sock_free(s);
        (void)err_set(e, ERR_NOMEM, "no memory for an association");
        return NULL;
    }
    a->sock = s;
    a->artim_ms = or_default(c->artim_ms, LIMIT_ARTIM_MS);
    a->idle_ms = or_default(c->idle_ms, LIMIT_IDLE_MS);
    a->send_ms = or_default(c->send_ms, LIMIT_SEND_MS);
    a->max_pdu = c->max_pdu != 0 ? c->max_pdu : LIMIT_PDU_MAX;
    a->window = c->window != 0 ? c->window : 1;
    a->artim = DEADLINE_NEVER;
    arena_init(&a->mem, LIMIT_PDU_ARENA);
    arena_init(&a->msg, (size_t)2 * LIMIT_COMMAND);
    buf_init(&a->out, LIMIT_PDU_ASSOC);
    buf_init(&a->command, LIMIT_COMMAND);
    buf_init(&a->part, LIMIT_COMMAND);
    a->ul = (struct ul){.state = STA1, .out = &a->out};
    if (inbuf_resize(&a->in, FIRST_BUF, e) != ERR_OK) {
        assoc_free(a);
        return NULL;
    }
    return a;
}

void assoc_free(struct assoc *a)
{
    if (a == NULL) {
        return;
    }
    if (a->ul.state != STA1) {
        assoc_abort(a, ABORT_USER, 0);
    }
    sock_free(a->sock);
    free(a->in.ptr);
    free(a->stage.ptr);
    buf_done(&a->out);
    buf_done(&a->command);
    buf_done(&a->part);
    arena_done(&a->msg);
    arena_done(&a->mem);
    free(a);
}

void assoc_wake(struct assoc *a)
{
    sock_wake(a->sock);
}

/* Both sides know each other's limits: buffers take their size for data. */
static enum err associated(struct assoc *a, uint32_t peer_max, struct errmsg *e)
{
    if (peer_max != 0 && peer_max < PDV_HEAD + 2) {
        return err_set(e, ERR_SYNTAX, "maximum PDU length of %" PRIu32 " bytes", peer_max);
    }
    uint32_t max = peer_max == 0 || peer_max > LIMIT_PDU_SEND ? LIMIT_PDU_SEND : peer_max;
    a->payload = (max - PDV_HEAD) & ~1U; // fragments are of even length, PS3.8 annex D.1
    for (size_t i = 0; i < a->answer.n_ctx; i++) {
        const struct assoc_ctx *x = &a->answer.ctx[i];
        if (x->result == CTX_ACCEPTED) {
            a->by_id[x->id / 2] = x;
        }
    }
    buf_done(&a->out);
    buf_init(&a->out, LIMIT_PDU_ASSOC);
    /* Two PDUs: the kernel's next bytes can be taken together with the end of this one. */
    size_t size = 2 * ((size_t)a->max_pdu + PDU_HEAD);
    size_t have = a->in.wr - a->in.rd;
    return inbuf_resize(&a->in, size > have ? size : have, e);
}

/* ---- server */

static enum err wait_request(struct assoc *a, struct errmsg *e)
{
    (void)assoc_step(a, EV_CONN_IN, e);
    while (a->ul.state == STA2) {
        unsigned raised = 0;
        enum err rc = assoc_turn(a, a->artim, 0, &raised, e);
        if (rc == ERR_TIMEOUT) {
            (void)assoc_step(a, EV_ARTIM, NULL);
            return err_set(e, rc, "no A-ASSOCIATE-RQ within %" PRId64 " ms", a->artim_ms);
        }
        if ((raised & UL_REJECTED) != 0) {
            assoc_linger(a);
            return err_set(e, ERR_DENIED, "rejected: %s", reject_text(a->ul.refuse));
        }
        if (rc != ERR_OK || a->ul.state != STA3) {
            err_context(e, "before the association");
            assoc_linger(a);
            return rc != ERR_OK ? rc : ERR_CLOSED;
        }
    }
    return ERR_OK;
}

enum err assoc_wait(struct sock *s, const struct assoc_conf *c, struct assoc **ret,
                    struct errmsg *e)
{
    struct assoc *a = assoc_new(s, c, e);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    enum err rc = wait_request(a, e);
    if (rc != ERR_OK) {
        assoc_free(a);
        return rc;
    }
    *ret = a;
    return ERR_OK;
}

const struct assoc_pdu *assoc_request(const struct assoc *a)
{
    return &a->request;
}

const struct assoc_pdu *assoc_answer(const struct assoc *a)
{
    return &a->answer;
}

struct sock *assoc_sock(struct assoc *a)
{
    return a->sock;
}

bool is_associated(const struct assoc *a)
{
    return a->ul.state == STA6;
}

void assoc_reject(struct assoc *a, struct assoc_rj rj)
{
    uint8_t raw[PDU_HEAD + 4] = {PDU_ASSOC_RJ, 0, 0, 0, 0, 4, 0, rj.result, rj.source, rj.reason};
    if (a->ul.state == STA3) {
        a->ul.send = (struct bytes){raw, sizeof(raw)};
        (void)assoc_step(a, EV_REJECT, NULL);
        a->ul.send = (struct bytes){0};
        assoc_linger(a);
    }
}

static bool choose_one(struct assoc *a, size_t i, assoc_choose *choose, void *arg)
{
    const struct assoc_ctx *rq = &a->request.ctx[i];
    struct assoc_ctx        c = *rq;
    size_t                  syntax = 0;
    c.result = choose(arg, &c, &syntax);
    c.scu_role = c.scu_role && rq->scu_role;
    c.scp_role = c.scp_role && rq->scp_role;
    c.has_role = rq->has_role;
    if (c.result == CTX_ACCEPTED && syntax >= rq->n_syntaxes) {
        c.result = CTX_NO_SYNTAX;
    }
    /* An answer has one syntax; of a rejected context it means nothing, but some insist on it. */
    c.syntaxes = arena_new(&a->mem, struct str);
    if (c.syntaxes == NULL) {
        return false;
    }
    c.syntaxes[0] = c.result == CTX_ACCEPTED ? rq->syntaxes[syntax] : STR("1.2.840.10008.1.2");
    c.n_syntaxes = 1;
    a->answer.ctx[i] = c;
    return true;
}

static uint16_t granted(uint16_t asked, uint16_t ours) // 0 is no limit, PS3.7 D.3.3.3
{
    return asked == 0 || asked > ours ? ours : asked;
}

static enum err answer(struct assoc *a, const struct assoc_ext *ext, size_t n_ext, struct errmsg *e)
{
    struct assoc_pdu p = {
        .version = 1,
        .called = a->request.called,
        .calling = a->request.calling,
        .application = STR(APPLICATION),
        .ctx = a->answer.ctx,
        .n_ctx = a->answer.n_ctx,
        .max_pdu = a->max_pdu,
        .impl_uid = STR(GARONNE_IMPLEMENTATION_UID),
        .impl_version = STR(GARONNE_IMPLEMENTATION_NAME),
        .has_window = a->request.has_window,
        .invoked = granted(a->request.invoked, a->window),
        .performed = 1,
    };
    p.ext = n_ext > 0 ? arena_array(&a->mem, n_ext, struct assoc_ext) : NULL;
    if (n_ext > 0 && p.ext == NULL) {
        return err_set(e, ERR_LIMIT, "too many extended negotiation items");
    }
    for (size_t i = 0; i < n_ext; i++) {
        p.ext[i] = ext[i];
    }
    p.n_ext = n_ext;
    a->answer = p;
    return ERR_OK;
}

/* The PDU of p goes out with the step. */
static enum err send_assoc(struct assoc *a, uint8_t type, const struct assoc_pdu *p,
                           enum ul_event ev, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf whole;
    buf_init(&whole, LIMIT_PDU_ASSOC);
    assoc_pdu_write(type, p, &whole);
    enum err rc = buf_end(&whole, &a->ul.send);
    if (rc == ERR_OK) {
        rc = assoc_step(a, ev, e);
    } else {
        (void)err_set(e, rc, "A-ASSOCIATE PDU is too large");
    }
    a->ul.send = (struct bytes){0};
    return rc;
}

enum err assoc_accept(struct assoc *a, assoc_choose *choose, void *arg,
                      const struct assoc_ext *reply_ext, size_t n_ext, struct errmsg *e)
{
    size_t n = a->request.n_ctx;
    if (a->ul.state != STA3) {
        return err_set(e, ERR_CLOSED, "association is over");
    }
    a->answer.ctx = n > 0 ? arena_array(&a->mem, n, struct assoc_ctx) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (a->answer.ctx == NULL || !choose_one(a, i, choose, arg)) {
            return err_set(e, ERR_LIMIT, "too many presentation contexts");
        }
    }
    a->answer.n_ctx = n;
    enum err rc = answer(a, reply_ext, n_ext, e);
    if (rc == ERR_OK) {
        rc = associated(a, a->request.max_pdu, e);
    }
    return rc == ERR_OK ? send_assoc(a, PDU_ASSOC_AC, &a->answer, EV_ACCEPT, e) : rc;
}

/* ---- client */

static enum err send_request(struct assoc *a, const struct assoc_pdu *rq, struct errmsg *e)
{
    struct assoc_ctx ctx[MAX_CTX];
    struct assoc_pdu p = *rq;
    if (rq->n_ctx > MAX_CTX) {
        return err_set(e, ERR_LIMIT, "%zu presentation contexts, an association has %d", rq->n_ctx,
                       MAX_CTX);
    }
    for (size_t i = 0; i < rq->n_ctx; i++) {
        ctx[i] = rq->ctx[i];
        ctx[i].id = (uint8_t)(2 * i + 1);
    }
    p.version = 1;
    p.application = STR(APPLICATION);
    p.ctx = ctx;
    p.max_pdu = a->max_pdu;
    p.impl_uid = STR(GARONNE_IMPLEMENTATION_UID);
    p.impl_version = STR(GARONNE_IMPLEMENTATION_NAME);
    /* Kept as the peer reads it: in our arena, roles at their contexts. */
    CLEANUP(buf_done) struct buf whole;
    buf_init(&whole, LIMIT_PDU_ASSOC);
    assoc_pdu_write(PDU_ASSOC_RQ, &p, &whole);
    struct bytes b;
    enum err     rc = buf_end(&whole, &b);
    if (rc != ERR_OK) {
        return err_set(e, rc, "A-ASSOCIATE-RQ is too large");
    }
    struct bytes body = {b.ptr + PDU_HEAD, b.len - PDU_HEAD};
    rc = assoc_pdu_parse(PDU_ASSOC_RQ, body, &a->mem, &a->request, e);
    if (rc == ERR_OK) {
        (void)assoc_step(a, EV_ASSOC_REQ, e);
        a->ul.send = b;
        rc = assoc_step(a, EV_CONN_UP, e);
        a->ul.send = (struct bytes){0};
    }
    return rc;
}

static bool is_proposed(const struct assoc_ctx *rq, const struct assoc_ctx *ac)
{
    for (size_t i = 0; ac->n_syntaxes > 0 && i < rq->n_syntaxes; i++) {
        if (str_eq(rq->syntaxes[i], ac->syntaxes[0])) {
            return true;
        }
    }
    return ac->result != CTX_ACCEPTED;
}

static void take_role(const struct assoc_pdu *p, struct assoc_ctx *x)
{
    for (size_t i = 0; i < p->n_role; i++) {
        if (str_eq(p->role[i].class_uid, x->abstract)) {
            x->has_role = true;
            x->scu_role = p->role[i].scu;
            x->scp_role = p->role[i].scp;
        }
    }
}

/* The answer may only speak of what was proposed. */
static enum err check_answer(struct assoc *a, struct errmsg *e)
{
    for (size_t i = 0; i < a->answer.n_ctx; i++) {
        struct assoc_ctx *x = &a->answer.ctx[i];
        size_t            at = x->id / 2;
        if (at >= a->request.n_ctx) {
            return err_set(e, ERR_SYNTAX, "answer to context %u, which was not proposed", x->id);
        }
        x->abstract = a->request.ctx[at].abstract;
        if (!is_proposed(&a->request.ctx[at], x)) {
            return err_set(e, ERR_SYNTAX, "context %u accepted with a syntax not proposed", x->id);
        }
        take_role(&a->answer, x);
    }
    return associated(a, a->answer.max_pdu, e);
}

static enum err wait_answer(struct assoc *a, struct errmsg *e)
{
    struct deadline d = deadline_in_ms(a->artim_ms);
    unsigned        raised = 0;
    enum err        rc = assoc_turn(a, d, 0, &raised, e);
    if (rc == ERR_OK && (raised & UL_REJECTED) != 0) {
        return err_set(e, ERR_DENIED, "association rejected%s: %s",
                       a->rj.result == 2 ? " for now" : "", reject_text(a->rj));
    }
    if (rc == ERR_OK) {
        rc = check_answer(a, e);
        return rc == ERR_SYNTAX ? assoc_break(a, rc, ABORT_PARAM_INVALID) : rc;
    }
    return rc == ERR_TIMEOUT
               ? err_set(e, rc, "no answer to A-ASSOCIATE-RQ within %" PRId64 " ms", a->artim_ms)
               : rc;
}

enum err assoc_connect(struct sock *s, const struct assoc_conf *c, const struct assoc_pdu *rq,
                       struct assoc **ret, struct errmsg *e)
{
    struct assoc *a = assoc_new(s, c, e);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    enum err rc = send_request(a, rq, e);
    if (rc == ERR_OK) {
        rc = wait_answer(a, e);
    }
    if (rc != ERR_OK) {
        assoc_free(a);
        return rc;
    }
    *ret = a;
    return ERR_OK;
}

/* ---- both */

const struct assoc_ctx *assoc_ctx(const struct assoc *a, uint8_t id)
{
    return (id & 1) != 0 ? a->by_id[id / 2] : NULL;
}

const struct assoc_ctx *assoc_ctx_for(const struct assoc *a, struct str abstract, struct str syntax)
{
    for (size_t i = 0; i < MAX_CTX; i++) {
        const struct assoc_ctx *x = a->by_id[i];
        if (x != NULL && str_eq(x->abstract, abstract) &&
            (syntax.len == 0 || str_eq(x->syntaxes[0], syntax))) {
            return x;
        }
    }
    return NULL;
}

uint16_t assoc_next_id(struct assoc *a)
{
    a->last_id = (uint16_t)(a->last_id == UINT16_MAX ? 1 : a->last_id + 1);
    return a->last_id;
}

/* Sta7 and the collision states, to the end. */
static enum err released(struct assoc *a, struct errmsg *e)
{
    struct deadline d = deadline_in_ms(a->artim_ms);
    while (a->ul.state != STA1 && a->ul.state != STA13) {
        unsigned raised = 0;
        enum err rc = assoc_turn(a, d, 0, &raised, e);
        a->body = (struct cur){0}; // data that was under way: nobody waits for it any more
        if (rc != ERR_OK) {
            return rc == ERR_TIMEOUT
                       ? err_set(e, rc, "no answer to A-RELEASE-RQ within %" PRId64 " ms",
                                 a->artim_ms)
                       : rc;
        }
        bool rsp = (raised & UL_RELEASE_IND) != 0 && a->ul.state == STA9;
        if (rsp || a->ul.state == STA12) {
            (void)assoc_step(a, EV_REL_RSP, NULL);
        }
    }
    assoc_linger(a);
    return ERR_OK;
}

enum err assoc_release(struct assoc *a, struct errmsg *e)
{
    if (a->ul.state != STA6) {
        return err_set(e, ERR_CLOSED, "association is over");
    }
    a->body = (struct cur){0};
    enum err rc = assoc_step(a, EV_REL_REQ, e);
    if (rc == ERR_OK) {
        rc = released(a, e);
    }
    if (rc != ERR_OK) {
        assoc_abort(a, ABORT_USER, 0);
    }
    return rc;
}

void assoc_abort(struct assoc *a, uint8_t source, uint8_t reason)
{
    if (a->ul.state != STA1 && a->ul.state != STA2 && a->ul.state != STA13) {
        a->ul.abort = (struct assoc_abort){source, reason};
        (void)assoc_step(a, source == ABORT_USER ? EV_ABORT_REQ : EV_PDU_BAD, NULL);
    }
    assoc_linger(a);
}
