/* The driver of the state machine: socket, receive buffer, ARTIM. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/limits.h"
#include "dimse/assoc_priv.h"

/* ---- receive buffer */

enum err inbuf_resize(struct inbuf *in, size_t size, struct errmsg *e)
{
    size_t   have = in->wr - in->rd;
    uint8_t *p = size >= have ? malloc(size) : NULL;
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a receive buffer of %zu bytes", size);
    }
    if (have > 0) {
        memcpy(p, in->ptr + in->rd, have);
    }
    free(in->ptr);
    *in = (struct inbuf){.ptr = p, .size = size, .wr = have};
    return ERR_OK;
}

static struct bytes unread(const struct inbuf *in)
{
    return (struct bytes){in->ptr + in->rd, in->wr - in->rd};
}

/* Room for a PDU of `whole` bytes at rd; all that is unread moves to the front when it must. */
static enum err make_room(struct inbuf *in, size_t whole, struct errmsg *e)
{
    if (in->rd == in->wr) {
        in->rd = in->wr = 0;
    }
    if (whole > in->size) {
        return inbuf_resize(in, whole, e);
    }
    if (whole > in->size - in->rd) {
        memmove(in->ptr, in->ptr + in->rd, in->wr - in->rd);
        in->wr -= in->rd;
        in->rd = 0;
    }
    return ERR_OK;
}

/* Largest body that is awaited.  Association PDUs may be longer than data, while they are due. */
static uint32_t body_limit(const struct assoc *a, uint8_t type)
{
    bool due = (type == PDU_ASSOC_RQ && a->ul.state == STA2) ||
               (type == PDU_ASSOC_AC && a->ul.state == STA5);
    return due ? LIMIT_PDU_ASSOC : a->max_pdu;
}

static bool is_known(uint8_t type)
{
    return type >= PDU_ASSOC_RQ && type <= PDU_ABORT;
}

static enum err pdu_read(struct assoc *a, struct deadline d, int64_t pdu_ms, struct pdu *ret,
                         struct errmsg *e)
{
    struct inbuf *in = &a->in;
    bool          begun = false;
    for (;;) {
        struct bytes have = unread(in);
        size_t       size = 0;
        uint32_t     limit = have.len > 0 ? body_limit(a, have.ptr[0]) : 0;
        if (have.len > 0 && !is_known(have.ptr[0])) {
            a->ul.abort.reason = ABORT_PDU_UNKNOWN;
            return err_set(e, ERR_SYNTAX, "PDU of unknown type %02x", have.ptr[0]);
        }
        enum err rc = pdu_cut(have, limit, ret, &size, e);
        if (rc != ERR_MORE) {
            in->rd += size;
            return rc;
        }
        size_t whole = PDU_HEAD;
        if (have.len >= PDU_HEAD) {
            struct cur len = cur_of((struct bytes){have.ptr + 2, 4});
            whole += cur_u32be(&len);
        }
        rc = make_room(in, whole, e);
        if (rc != ERR_OK) {
            return rc;
        }
        if (pdu_ms > 0 && !begun && have.len > 0) {
            begun = true; // a deadline on the whole of it: drops do not keep it alive
            d = deadline_in_ms(pdu_ms);
        }
        size_t n = 0;
        rc = sock_read(a->sock, in->ptr + in->wr, in->size - in->wr, d, &n, e);
        if (rc != ERR_OK) {
            return rc;
        }
        in->wr += n;
    }
}

/* ---- state machine */

enum err assoc_write(struct assoc *a, struct iovec *iov, int n, int64_t ms, struct errmsg *e)
{
    enum err rc = sock_write(a->sock, iov, n, deadline_in_ms(ms), e);
    if (rc != ERR_OK) {
        a->lost = true; // part of a PDU may have gone out
    }
    return rc;
}

static enum err flush(struct assoc *a, bool aborting, struct errmsg *e)
{
    struct bytes b;
    enum err     rc = buf_end(&a->out, &b);
    if (rc != ERR_OK) {
        a->lost = true;
        rc = err_set(e, rc, "PDU is too large to be sent");
    } else if (b.len > 0 && !a->lost) {
        struct iovec iov = {(void *)b.ptr, b.len};
        rc = assoc_write(a, &iov, 1, aborting ? LIMIT_LINGER_MS : a->send_ms, e);
    }
    buf_clear(&a->out);
    return rc;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

enum err assoc_step(struct assoc *a, enum ul_event ev, struct errmsg *e)
{
    ul_step(&a->ul, ev);
    bool     aborting = a->out.len > 0 && a->out.ptr[0] == PDU_ABORT;
    enum err rc = flush(a, aborting, e);
    if ((a->ul.todo & UL_ARTIM_START) != 0) {
        a->artim = deadline_in_ms(aborting ? least(LIMIT_LINGER_MS, a->artim_ms) : a->artim_ms);
    }
    if ((a->ul.todo & UL_ARTIM_STOP) != 0) {
        a->artim = DEADLINE_NEVER;
    }
    return rc;
}

/* The reason why the provider itself cannot take this request, PS3.8 9.3.4. */
static struct assoc_rj refusal(const struct assoc_pdu *rq)
{
    if ((rq->version & 1) == 0) {
        return (struct assoc_rj){.result = 1, .source = 2, .reason = 2};
    }
    if (!str_eq(rq->application, STR("1.2.840.10008.3.1.1.1"))) {
        return (struct assoc_rj){.result = 1, .source = 1, .reason = 2};
    }
    return (struct assoc_rj){0};
}

static enum err take_request(struct assoc *a, struct bytes body, struct errmsg *e)
{
    if (a->ul.state != STA2) {
        return ERR_OK; // unexpected: what it says does not matter
    }
    enum err rc = assoc_pdu_parse(PDU_ASSOC_RQ, body, &a->mem, &a->request, e);
    if (rc == ERR_OK) {
        a->ul.refuse = refusal(&a->request);
    }
    return rc;
}

static enum err take_answer(struct assoc *a, struct bytes body, struct errmsg *e)
{
    return a->ul.state == STA5 ? assoc_pdu_parse(PDU_ASSOC_AC, body, &a->mem, &a->answer, e)
                               : ERR_OK;
}

static enum err take_abort(struct assoc *a, struct bytes body, struct errmsg *e)
{
    struct assoc_abort why;
    enum err           rc = pdu_abort_parse(body, &why, e);
    if (rc == ERR_OK) {
        a->peer_aborted = true;
        (void)err_set(e, ERR_CLOSED, "%s", abort_text(why));
    }
    return rc;
}

/* The event that a whole PDU is. */
static enum ul_event pdu_event(struct assoc *a, const struct pdu *p, enum err *ret_rc,
                               struct errmsg *e)
{
    static const enum ul_event events[] = {
        [PDU_ASSOC_RQ] = EV_PDU_RQ,       [PDU_ASSOC_AC] = EV_PDU_AC,
        [PDU_ASSOC_RJ] = EV_PDU_RJ,       [PDU_DATA] = EV_PDU_DATA,
        [PDU_RELEASE_RQ] = EV_PDU_REL_RQ, [PDU_RELEASE_RP] = EV_PDU_REL_RP,
        [PDU_ABORT] = EV_PDU_ABORT,
    };

    enum err rc = ERR_OK;
    if (p->type == PDU_ASSOC_RQ) {
        rc = take_request(a, p->body, e);
    } else if (p->type == PDU_ASSOC_AC) {
        rc = take_answer(a, p->body, e);
    } else if (p->type == PDU_ASSOC_RJ) {
        rc = pdu_reject_parse(p->body, &a->rj, e);
    } else if (p->type == PDU_ABORT) {
        rc = take_abort(a, p->body, e);
    } else if (p->type != PDU_DATA) {
        rc = pdu_release_parse(p->body, e);
    }
    *ret_rc = rc;
    a->ul.abort.reason = rc == ERR_OK ? ABORT_PDU_UNEXPECTED : ABORT_PARAM_INVALID;
    return rc == ERR_OK ? events[p->type] : EV_PDU_BAD;
}

static const char *const state_names[STA__COUNT] = {
    [STA1] = "idle",
    [STA2] = "awaiting a request",
    [STA3] = "awaiting our answer",
    [STA4] = "awaiting the connection",
    [STA5] = "awaiting an answer",
    [STA6] = "associated",
    [STA7] = "awaiting the end of a release",
    [STA8] = "awaiting our release",
    [STA9] = "in a release collision",
    [STA10] = "in a release collision",
    [STA11] = "in a release collision",
    [STA12] = "in a release collision",
    [STA13] = "awaiting the close",
};

enum err assoc_turn(struct assoc *a, struct deadline d, int64_t pdu_ms, unsigned *ret_raised,
                    struct errmsg *e)
{
    struct pdu    p = {0};
    enum ul_state before = a->ul.state;
    a->ul.abort.reason = ABORT_PARAM_INVALID;
    enum err      rc = pdu_read(a, d, pdu_ms, &p, e);
    enum ul_event ev = EV_PDU_BAD;
    if (rc == ERR_TIMEOUT) {
        return rc;
    }
    if (rc == ERR_OK) {
        ev = pdu_event(a, &p, &rc, e);
    } else if (rc == ERR_SYNTAX || rc == ERR_LIMIT) {
        a->lost = before == STA13; // bytes that cannot be cut are not answered again
    } else {
        ev = EV_CONN_DOWN;
        a->lost = true;
    }
    a->ul.todo = 0;
    (void)assoc_step(a, ev, NULL); // what cannot be written shows when the answer is read
    *ret_raised = a->ul.todo;
    if ((a->ul.todo & UL_DATA_IN) != 0) {
        a->body = cur_of(p.body);
    }
    if (rc == ERR_OK && a->ul.state == STA13 && before != STA13 &&
        (a->ul.todo & UL_REJECTED) == 0) {
        return err_set(e, ERR_SYNTAX, "unexpected PDU of type %02x while %s", p.type,
                       state_names[before]);
    }
    return rc == ERR_OK && (a->ul.todo & UL_ABORTED) != 0 ? ERR_CLOSED : rc;
}

/* Bytes that are no PDUs: read and forgotten, so that our abort is not lost to a reset. */
static enum err discard(struct assoc *a)
{
    size_t n = 0;
    a->in.rd = a->in.wr = 0;
    return sock_read(a->sock, a->in.ptr, a->in.size, a->artim, &n, NULL);
}

void assoc_linger(struct assoc *a)
{
    bool garbage = false;
    a->body = (struct cur){0};
    while (a->ul.state == STA13) {
        unsigned raised = 0;
        enum err rc = garbage ? discard(a) : assoc_turn(a, a->artim, 0, &raised, NULL);
        if (rc == ERR_TIMEOUT) {
            (void)assoc_step(a, EV_ARTIM, NULL);
        } else if (garbage && rc != ERR_OK) {
            (void)assoc_step(a, EV_CONN_DOWN, NULL);
        }
        garbage = garbage || rc == ERR_SYNTAX || rc == ERR_LIMIT;
    }
}

enum err assoc_break(struct assoc *a, enum err code, uint8_t reason)
{
    if (a->ul.state == STA6) {
        a->ul.abort.reason = reason;
        (void)assoc_step(a, EV_PDU_BAD, NULL);
    }
    assoc_linger(a);
    return code;
}
