/* An association: who calls whom, what is agreed on, then one request after another. */
#include "scp/scp.h"

#include <netdb.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "scp/scp_priv.h"

/* PS3.8 9.3.4: source 1 is the service user, source 3 the service provider (presentation). */
static const struct assoc_rj RJ_CALLED = {1, 1, 7}, RJ_CALLING = {1, 1, 3}, RJ_CONTEXT = {1, 1, 2},
                             RJ_BUSY = {2, 3, 1}, RJ_LATER = {2, 1, 1};

static bool is_address_of(struct str host, struct str address)
{
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    char             name[256], text[64];
    bool             ok = false;
    if (host.len == 0 || str_eq(host, address)) {
        return true;
    }
    if (host.len >= sizeof(name)) {
        return false;
    }
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    if (getaddrinfo(name, NULL, &hints, &found) != 0) {
        return false;
    }
    for (struct addrinfo *x = found; x != NULL && !ok; x = x->ai_next) {
        ok = getnameinfo(x->ai_addr, x->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
                 0 &&
             str_eq(str_of(text), address);
    }
    freeaddrinfo(found);
    return ok;
}

/* The peer as the index knows it, or the reason why not. */
static enum err identify(struct served *s, const struct assoc_pdu *rq, struct assoc_rj *ret_rj,
                         struct errmsg *e)
{
    struct db *db = db_pool_take(archive_db(s->scp->archive), e);
    *ret_rj = RJ_LATER;
    if (db == NULL) {
        return e->code;
    }
    enum err rc = tenant_by_aet(db, rq->called, &s->arena, &s->tenant, e);
    if (rc == ERR_NOTFOUND) {
        *ret_rj = RJ_CALLED;
    } else if (rc == ERR_OK) {
        rc = peer_by_aet(db, s->tenant.id, rq->calling, &s->arena, &s->peer, e);
        *ret_rj = rc == ERR_NOTFOUND ? RJ_CALLING : RJ_LATER;
    }
    db_pool_give(archive_db(s->scp->archive), db);
    if (rc != ERR_OK) {
        return rc;
    }
    struct str cert = sock_cert_sha256(assoc_sock(s->assoc));
    *ret_rj = RJ_CALLING;
    if (!is_address_of(s->peer.host, s->address)) {
        return err_set(e, ERR_DENIED, "peer %.*s does not call from its address",
                       STR_ARG(rq->calling));
    }
    if (s->peer.cert.len > 0 && !str_eq(s->peer.cert, cert)) {
        return err_set(e, ERR_DENIED, "peer %.*s shows another certificate, or none",
                       STR_ARG(rq->calling));
    }
    return ERR_OK;
}

/*
 * The transfer syntax of a context.  Storage: the caller's first choice, since it is kept as
 * received, but explicit before implicit (which loses the VR of private elements).  Queries: an
 * uncompressed one.
 */
static bool choose_syntax(const struct assoc_ctx *c, bool storage, size_t *ret)
{
    for (size_t i = 0; i < c->n_syntaxes; i++) {
        const struct syntax *s = syntax_find(c->syntaxes[i]);
        bool                 better =
            s != NULL && s->explicit_vr && !s->encapsulated && !s->big_endian && !s->deflated;
        if (better && (i == 0 || !storage || str_eq(c->syntaxes[0], str_of(SYNTAX_IMPLICIT.uid)))) {
            *ret = i;
            return true;
        }
    }
    for (size_t i = 0; i < c->n_syntaxes; i++) {
        const struct syntax *s = syntax_find(c->syntaxes[i]);
        if (storage || (s != NULL && !s->encapsulated)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Storage is every class that is not known to be something else: retired, private and future ones
 * are kept too. */
static bool is_storage(struct str uid)
{
    const struct uid_entry *u = uid_find(uid);
    return u == NULL || u->kind == UID_STORAGE;
}

static enum ctx_result choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax)
{
    (void)arg;
    enum qr_root root;
    bool         storage = is_storage(c->abstract);
    bool         verification = str_eq(c->abstract, STR("1.2.840.10008.1.1"));
    if (!storage && !verification && qr_class(c->abstract, &root) == QR_NONE) {
        return CTX_NO_ABSTRACT;
    }
    if (!storage) {
        c->scp_role = false; // the roles are only granted for C-GET
        c->scu_role = true;
    }
    return choose_syntax(c, storage, ret_syntax) ? CTX_ACCEPTED : CTX_NO_SYNTAX;
}

/* Answers to the extended negotiation of C-FIND: relational queries and combined date-time
 * matching, PS3.4 C.5.1.1. */
static size_t extended(struct served *s, const struct assoc_pdu *rq, uint8_t answers[][3],
                       struct assoc_ext *ret, size_t room)
{
    size_t       n = 0;
    enum qr_root root;
    for (size_t i = 0; i < rq->n_ext && n < room; i++) {
        const struct assoc_ext *x = &rq->ext[i];
        if (qr_class(x->class_uid, &root) == QR_NONE || x->info.len == 0) {
            continue;
        }
        size_t len = x->info.len < 3 ? x->info.len
                                     : 3; // fuzzy matching (byte 3) is what names get in any case
        for (size_t k = 0; k < len; k++) {
            answers[n][k] = x->info.ptr[k] == 1 ? 1 : 0;
        }
        s->relational = s->relational || answers[n][0] == 1;
        s->combined = s->combined || (len > 1 && answers[n][1] == 1);
        ret[n] = (struct assoc_ext){.class_uid = x->class_uid, .info = {answers[n], len}};
        n++;
    }
    return n;
}

static enum err serve_request(struct served *s, const struct request *r, struct errmsg *e)
{
    enum qr_root root = ROOT_STUDY;
    switch (r->cmd.field) {
    case C_ECHO_RQ: return scp_echo(s, r, e);
    case C_STORE_RQ: return scp_store(s, r, e);
    case C_FIND_RQ:
        if (qr_class(r->ctx->abstract, &root) == QR_FIND) {
            return scp_find(s, r, e);
        }
        break;
    case C_MOVE_RQ:
    case C_GET_RQ:
        if (qr_class(r->ctx->abstract, &root) == (r->cmd.field == C_MOVE_RQ ? QR_MOVE : QR_GET)) {
            return scp_retrieve(s, r, r->cmd.field == C_MOVE_RQ, e);
        }
        break;
    case C_CANCEL_RQ: return ERR_OK; // of an operation that is over
    default: break;
    }
    if ((r->cmd.field & 0x8000) != 0) {
        return err_set(e, ERR_SYNTAX, "response %04x without a request", r->cmd.field);
    }
    bool          last = !r->cmd.has_data;
    struct errmsg why = {0};
    while (!last) {
        struct bytes piece;
        enum err     rc = msg_data(s->assoc, &piece, &last, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    (void)err_set(&why, ERR_UNSUPPORTED, "operation %04x is not of this presentation context",
                  r->cmd.field);
    return send_answer(s, r, ST_UNRECOGNIZED, &why, e);
}

static enum err serve(struct served *s, struct errmsg *e)
{
    for (;;) {
        struct request r = {0};
        enum err       rc = msg_recv(s->assoc, &r.cmd, &r.context, e);
        if (rc != ERR_OK) {
            return rc;
        }
        r.ctx = assoc_ctx(s->assoc, r.context);
        if (r.ctx == NULL) {
            assoc_abort(s->assoc, 2, 0);
            return err_set(e, ERR_SYNTAX,
                           "message in presentation context %u, which was not accepted", r.context);
        }
        rc = serve_request(s, &r, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

static void refuse(struct served *s, struct assoc_rj rj, const struct errmsg *e)
{
    const struct assoc_pdu *rq = assoc_request(s->assoc);
    s->scp->stats.rejected++;
    log_warn("assoc.reject", "peer=%.*s calling=%s called=%s reason=%s why=%s", STR_ARG(s->address),
             log_q(rq->calling).z, log_q(rq->called).z, log_q(str_of(reject_text(rj))).z,
             log_q(str_of(e->text)).z);
    assoc_reject(s->assoc, rj);
}

static void run(struct served *s, struct errmsg *e)
{
    enum { EXT = 16 };

    uint8_t                 answers[EXT][3];
    struct assoc_ext        ext[EXT];
    struct assoc_rj         rj = RJ_BUSY;
    const struct assoc_pdu *rq = assoc_request(s->assoc);
    if (s->scp->stats.open > (long long)s->scp->max_associations) {
        (void)err_set(e, ERR_LIMIT, "%u associations are open", s->scp->max_associations);
        refuse(s, rj, e);
        return;
    }
    if (!str_eq(rq->application, STR("1.2.840.10008.3.1.1.1"))) {
        (void)err_set(e, ERR_UNSUPPORTED, "application context");
        refuse(s, RJ_CONTEXT, e);
        return;
    }
    if (identify(s, rq, &rj, e) != ERR_OK) {
        refuse(s, rj, e);
        return;
    }
    size_t n = extended(s, rq, answers, ext, EXT);
    if (assoc_accept(s->assoc, choose, s, ext, n, e) != ERR_OK) {
        return;
    }
    log_info("assoc.open", "tenant=%.*s peer=%.*s calling=%s", STR_ARG(s->tenant.code),
             STR_ARG(s->address), log_q(rq->calling).z);
    (void)serve(s, e);
}

void scp_run(struct scp *scp, struct sock *sock)
{
    static atomic_ullong next_id = 1;
    struct errmsg        e = {0};
    char                 address[64];
    struct served        s = {.scp = scp};
    int64_t              t0 = clock_mono_ns();

    log_set_id(next_id++);
    struct str peer = sock_peer(sock);
    size_t     n = peer.len < sizeof(address) ? peer.len : sizeof(address) - 1;
    memcpy(address, peer.ptr, n);
    s.address = (struct str){address, n};
    arena_init(&s.arena, LIMIT_ASSOC_ARENA);
    scp->stats.associations++;
    scp->stats.open++;
    if (assoc_wait(sock, &scp->assoc, &s.assoc, &e) == ERR_OK) {
        run(&s, &e);
        assoc_free(s.assoc);
    }
    scp->stats.open--;
    if (e.code != ERR_OK && e.code != ERR_CLOSED) {
        scp->stats.aborted++;
    }
    log_at(e.code == ERR_OK || e.code == ERR_CLOSED ? LOG_INFO : LOG_WARN, "assoc.close",
           "peer=%.*s ms=%lld err=%s why=%s", STR_ARG(s.address),
           (long long)((clock_mono_ns() - t0) / 1000000), err_name(e.code),
           log_q(str_of(e.text)).z);
    arena_done(&s.arena);
    log_set_id(0);
}
