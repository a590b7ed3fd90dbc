/* Receiving messages: PS3.7 6.3, PS3.8 annex E.  Values are read where they lie in the buffer. */
#include <inttypes.h>

#include "base/limits.h"
#include "dimse/assoc_priv.h"

static struct deadline sooner(struct deadline a, struct deadline b)
{
    return a.at_ns < b.at_ns ? a : b;
}

/* A release between messages is in order; inside one, something is missing. */
static enum err peer_releases(struct assoc *a, struct errmsg *e)
{
    bool whole = a->part.len == 0 && a->data_ctx == 0;
    a->released = true;
    (void)assoc_step(a, EV_REL_RSP, NULL);
    assoc_linger(a);
    return whole ? ERR_CLOSED : err_set(e, ERR_CLOSED, "released in the middle of a message");
}

/* The next P-DATA-TF, all of it, into a->body.  ERR_MORE: not waiting, and not there. */
static enum err next_data(struct assoc *a, bool wait, struct errmsg *e)
{
    unsigned        raised = 0;
    struct deadline d = deadline_in_ms(wait ? a->idle_ms : 0);
    enum err        rc;
    if (a->ul.state != STA6) {
        return a->released ? ERR_CLOSED : err_set(e, ERR_CLOSED, "association is over");
    }
    if (wait && a->part.len > 0) {
        d = sooner(d, a->part_end);
    }
    struct errmsg why = {0}; // a timeout of a poll is no error
    rc = assoc_turn(a, d, wait ? a->idle_ms : 0, &raised, &why);
    if (rc == ERR_TIMEOUT && !wait) {
        return ERR_MORE;
    }
    if (rc == ERR_TIMEOUT) {
        assoc_abort(a, ABORT_PROVIDER, ABORT_NO_REASON);
        return err_set(e, rc, "nothing from the peer for %" PRId64 " ms", a->idle_ms);
    }
    if (rc != ERR_OK) {
        assoc_linger(a);
        return err_set(e, rc, "%s", why.text);
    }
    if ((raised & UL_RELEASE_IND) != 0) {
        return peer_releases(a, e);
    }
    if (cur_left(&a->body) == 0) {
        return assoc_break(a, err_set(e, ERR_SYNTAX, "P-DATA-TF without a value"),
                           ABORT_PARAM_INVALID);
    }
    return ERR_OK;
}

static enum err next_pdv(struct assoc *a, bool wait, struct pdv *ret, struct errmsg *e)
{
    enum err rc = cur_left(&a->body) == 0 ? next_data(a, wait, e) : ERR_OK;
    if (rc != ERR_OK) {
        return rc;
    }
    rc = pdv_next(&a->body, ret, e);
    if (rc == ERR_OK && assoc_ctx(a, ret->context) == NULL) {
        rc = err_set(e, ERR_SYNTAX, "data for presentation context %u, which was not accepted",
                     ret->context);
    }
    return rc == ERR_OK ? ERR_OK : assoc_break(a, rc, ABORT_PARAM_INVALID);
}

/* A fragment of a command set: complete, it is in *ret_whole. */
static enum err take_fragment(struct assoc *a, const struct pdv *v, struct bytes *ret_whole,
                              struct errmsg *e)
{
    if (!v->command) {
        return err_set(e, ERR_SYNTAX, "data set without a command");
    }
    if (a->part.len == 0 && v->last) {
        *ret_whole = v->data; // the usual case, read in place
        return ERR_OK;
    }
    if (a->part.len == 0) {
        a->part_ctx = v->context;
        a->part_end = deadline_in_ms(a->idle_ms);
    }
    if (v->context != a->part_ctx) {
        return err_set(e, ERR_SYNTAX, "command fragments in contexts %u and %u", a->part_ctx,
                       v->context);
    }
    buf_add(&a->part, v->data);
    struct bytes have;
    if (buf_end(&a->part, &have) != ERR_OK) {
        return err_set(e, ERR_LIMIT, "command set over %d bytes", LIMIT_COMMAND);
    }
    *ret_whole = v->last ? have : (struct bytes){0};
    return v->last ? ERR_OK : ERR_MORE;
}

static enum err take_command(struct assoc *a, uint8_t context, struct bytes whole, struct cmd *ret,
                             struct errmsg *e)
{
    arena_done(&a->msg);
    arena_init(&a->msg, (size_t)2 * LIMIT_COMMAND);
    enum err rc = cmd_parse(whole, &a->msg, ret, e);
    if (a->part.len > 0) {
        buf_done(&a->part); // rare, and may have grown: given back
        buf_init(&a->part, LIMIT_COMMAND);
    }
    if (rc == ERR_OK && ret->has_data) {
        a->data_ctx = context;
    }
    return rc;
}

static enum err receive(struct assoc *a, bool wait, struct cmd *ret, uint8_t *ret_context,
                        struct errmsg *e)
{
    for (;;) {
        struct pdv   v;
        struct bytes whole = {0};
        enum err     rc = next_pdv(a, wait, &v, e);
        if (rc != ERR_OK) {
            return rc;
        }
        rc = take_fragment(a, &v, &whole, e);
        if (rc == ERR_MORE) {
            continue;
        }
        if (rc == ERR_OK) {
            rc = take_command(a, v.context, whole, ret, e);
        }
        if (rc != ERR_OK) {
            return assoc_break(a, rc, ABORT_PARAM_INVALID);
        }
        *ret_context = v.context;
        return ERR_OK;
    }
}

static enum err skip_rest(struct assoc *a, struct errmsg *e)
{
    enum err rc = ERR_OK;
    bool     last = false;
    while (rc == ERR_OK && a->data_ctx != 0) {
        struct bytes piece;
        rc = msg_data(a, &piece, &last, e);
    }
    return rc;
}

enum err msg_recv(struct assoc *a, struct cmd *ret, uint8_t *ret_context, struct errmsg *e)
{
    enum err rc = skip_rest(a, e);
    return rc == ERR_OK ? receive(a, true, ret, ret_context, e) : rc;
}

enum err msg_poll(struct assoc *a, struct cmd *ret, uint8_t *ret_context, struct errmsg *e)
{
    enum err rc = skip_rest(a, e);
    return rc == ERR_OK ? receive(a, false, ret, ret_context, e) : rc;
}

enum err msg_data(struct assoc *a, struct bytes *ret, bool *ret_last, struct errmsg *e)
{
    struct pdv v;
    do {
        if (a->data_ctx == 0) {
            return err_set(e, ERR_CLOSED, "no data set is open");
        }
        enum err rc = next_pdv(a, true, &v, e);
        if (rc != ERR_OK) {
            a->data_ctx = 0;
            return rc;
        }
        if (v.command || v.context != a->data_ctx) {
            rc = err_set(e, ERR_SYNTAX, "%s inside the data set of context %u",
                         v.command ? "command" : "data of another context", a->data_ctx);
            a->data_ctx = 0;
            return assoc_break(a, rc, ABORT_PARAM_UNEXPECTED);
        }
    } while (v.data.len == 0 && !v.last);
    if (v.last) {
        a->data_ctx = 0;
    }
    *ret = v.data;
    *ret_last = v.last;
    return ERR_OK;
}

enum err msg_data_all(struct assoc *a, struct buf *out, struct errmsg *e)
{
    struct bytes piece = {0};
    bool         last = false;
    while (!last) {
        enum err rc = msg_data(a, &piece, &last, e);
        if (rc != ERR_OK) {
            return rc;
        }
        buf_add(out, piece);
    }
    enum err rc = buf_end(out, &piece);
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "data set over %zu bytes", out->max);
}
