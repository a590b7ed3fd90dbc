#pragma once
/*
 * A client of other DICOM nodes: what `garonne echo|send|find|get|move` and C-MOVE sub-operations
 * use.  PS3.7 9.3, PS3.4 A, B and C.  One thread per association.
 *
 * Errors are the association's (assoc.h) unless said otherwise; what the peer answered is in the
 * status, which status_text() puts in words.
 */
#include "dicom/dset.h"
#include "dimse/assoc.h"
#include "dimse/scu_op.h"
#include "dimse/scu_plan.h"
#include "sys/tls.h"

struct scu_peer {
    struct str        host;
    uint16_t          port;
    struct str        called, calling;
    const struct tls *tls;      // NULL: plain
    const char       *tls_host; // name its certificate must have; NULL: any name
    struct str        cert;     // SHA-256 its certificate must have, lower-case hex; empty: any
    struct assoc_user user;     // identity, or type 0
    struct assoc_conf conf;
    int64_t           connect_ms; // connection and TLS; 0: LIMIT_ARTIM_MS
};

/* Connection, TLS, association.  ERR_DENIED: rejected, or another certificate; ERR_UNSUPPORTED: not
 * one context was accepted. */
enum err scu_connect(const struct scu_peer *p, const struct scu_plan *plan, struct assoc **ret,
                     struct errmsg *e);

enum err scu_echo(struct assoc *a, uint16_t *ret_status, struct errmsg *e);

struct scu_object {
    struct str  class_uid, sop_uid, syntax_uid;
    struct dsrc src;   // of the data set, positions from 0
    int         fd;    // the same bytes in a file, faster when nothing is converted; or -1
    uint64_t    fd_at; // of the data set in it
    uint64_t    fd_len;
    uint16_t    priority;
    struct str  originator_aet; // of the C-MOVE that this is a sub-operation of, or empty
    uint16_t    originator_id;
};

/*
 * C-STORE, converted where the accepted syntax is another.  ERR_UNSUPPORTED: no accepted context
 * fits, nothing was sent; other errors of the object (its source, its encoding): is_associated()
 * tells whether the association can be used further.
 */
enum err scu_store(struct assoc *a, const struct scu_object *o, uint16_t *ret_status,
                   struct errmsg *e);

/*
 * Queries and retrievals: begun by one of these, then answers are fetched one by one.  keys are
 * encoded in the accepted syntax.  ERR_UNSUPPORTED: the class was not accepted.
 */
enum err scu_find(struct assoc *a, struct str class_uid, const struct dset *keys,
                  struct scu_op *ret, struct errmsg *e);
enum err scu_move(struct assoc *a, struct str class_uid, const struct dset *keys,
                  struct str destination, struct scu_op *ret, struct errmsg *e);
enum err scu_get(struct assoc *a, struct str class_uid, const struct dset *keys, struct scu_op *ret,
                 struct errmsg *e);

/*
 * The next response of a C-FIND or C-MOVE; *ret is its data set in mem, or NULL when it has none (a
 * C-MOVE's progress is in op).  ERR_NOTFOUND, without text: the final response has come, op->status
 * tells how it went and *ret is its data set, if any (Failed SOP Instance UID List).
 */
enum err scu_next(struct scu_op *op, struct arena *mem, struct dset **ret, struct errmsg *e);

/* The next object of a C-GET.  Its data set is read with msg_data(), then scu_answer() is due. */
struct scu_incoming {
    struct str class_uid, sop_uid; // valid until the next message
    struct str syntax_uid;         // valid as long as the association
};

/* ERR_NOTFOUND, without text: the final response has come. */
enum err scu_incoming(struct scu_op *op, struct scu_incoming *ret, struct errmsg *e);
enum err scu_answer(struct scu_op *op, uint16_t status, struct errmsg *e);

/* C-CANCEL; answers that are under way still come, then the final one. */
enum err scu_cancel(const struct scu_op *op, struct errmsg *e);
