/* C-STORE and C-ECHO: the data set streams from the association's receive buffer to the pack. */
#include "base/log.h"
#include "scp/scp_priv.h"

enum err scp_echo(struct served *s, const struct request *r, struct errmsg *e)
{
    s->scp->stats.echoes++;
    return send_answer(s, r, ST_SUCCESS, NULL, e);
}

/* Hand the pieces over as they arrive.  After a failure (*why) the rest is read and dropped, so
 * that the sender gets its answer. */
static enum err stream(struct served *s, struct ingest *i, enum err *rc, struct errmsg *why,
                       struct errmsg *e)
{
    bool last = false;
    while (!last) {
        struct bytes piece;
        enum err     net = msg_data(s->assoc, &piece, &last, e);
        if (net != ERR_OK) {
            return net;
        }
        if (*rc == ERR_OK) {
            *rc = ingest_add(i, piece, why);
        }
    }
    return ERR_OK;
}

static uint16_t outcome_status(enum ingest_outcome o, struct errmsg *why)
{
    if (o == INGEST_QUARANTINED) {
        (void)err_set(why, ERR_CONFLICT, "other content under this UID exists: set aside");
        return ST_SOME_FAILED;
    }
    return ST_SUCCESS;
}

enum err scp_store(struct served *s, const struct request *r, struct errmsg *e)
{
    struct errmsg      why = {0};
    struct ingest     *i = NULL;
    struct ingest_from from = {
        .tenant_id = s->tenant.id,
        .tenant = s->tenant.code,
        .calling = s->peer.aet,
        .called = s->tenant.aet,
        .address = s->address,
    };
    enum err rc = r->cmd.has_data ? ingest_begin(s->scp->archive, &from, r->cmd.class_uid,
                                                 r->cmd.sop_uid, r->ctx->syntaxes[0], &i, &why)
                                  : err_set(&why, ERR_SYNTAX, "C-STORE without a data set");
    enum err net = r->cmd.has_data ? stream(s, i, &rc, &why, e) : ERR_OK;
    if (net != ERR_OK || rc != ERR_OK) {
        ingest_abort(i);
    }
    if (net != ERR_OK) {
        return net;
    }
    enum ingest_outcome o = INGEST_STORED;
    if (rc == ERR_OK) {
        rc = ingest_commit(i, &o, &why);
    }
    s->scp->stats.stores++;
    if (rc != ERR_OK) {
        s->scp->stats.store_failures++;
        log_warn("store.failed", "tenant=%.*s sop=%.*s err=%s why=%s", STR_ARG(s->tenant.code),
                 STR_ARG(r->cmd.sop_uid), err_name(rc), log_q(str_of(why.text)).z);
    } else if (o == INGEST_QUARANTINED) {
        log_warn("store.quarantined", "tenant=%.*s sop=%.*s", STR_ARG(s->tenant.code),
                 STR_ARG(r->cmd.sop_uid));
    }
    return send_answer(s, r, rc == ERR_OK ? outcome_status(o, &why) : store_status(rc), &why, e);
}
