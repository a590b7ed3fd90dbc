#pragma once
/*
 * An association: the upper-layer state machine (ul_fsm.h) driven over a socket, and DIMSE messages
 * on it, PS3.8, PS3.7. Server and client side.  Owned and used by one thread; another may call
 * assoc_wake().
 *
 * Blocking with deadlines: ARTIM (PS3.8 9.1.5), idle between messages, send.  Memory: one receive
 * buffer of the announced maximum PDU and one arena, whatever the peer sends.  Errors: ERR_CLOSED
 * released or gone, ERR_TIMEOUT, ERR_SYNTAX (we sent A-ABORT), ERR_LIMIT.
 */
#include "dimse/cmd.h"
#include "dimse/pdu.h"
#include "sys/sock.h"

struct assoc;

struct assoc_conf {
    uint32_t max_pdu;                    // announced; 0: LIMIT_PDU_MAX
    int64_t  artim_ms, idle_ms, send_ms; // 0: those of limits.h
    uint16_t window; // operations that a peer may have outstanding, when it asks; 0: 1.  They are
                     // done in order in any case.
};

/* ---- server.  Takes s (freed with the association, and on failure).  Reads the A-ASSOCIATE-RQ. */
enum err                assoc_wait(struct sock *s, const struct assoc_conf *c, struct assoc **ret,
                                   struct errmsg *e);
/* What was asked: views valid as long as the association. */
const struct assoc_pdu *assoc_request(const struct assoc *a);
void assoc_reject(struct assoc *a, struct assoc_rj rj); // and wait for the close, ARTIM
/*
 * Accept.  For each proposed context choose() gives the result and, when accepted, the index of the
 * syntax in its list; roles it may grant by changing c->scu_role, c->scp_role.  reply_ext, NULL
 * allowed: extended negotiation answers.
 */
typedef enum ctx_result assoc_choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax);
enum err                assoc_accept(struct assoc *a, assoc_choose *choose, void *arg,
                                     const struct assoc_ext *reply_ext, size_t n_ext, struct errmsg *e);

/* ---- client.  Takes s as above.  rq: called, calling, contexts (ids are assigned 1, 3, 5 …),
 * roles, user identity; max_pdu and implementation are filled in.  ERR_DENIED: rejected, in words.
 */
enum err assoc_connect(struct sock *s, const struct assoc_conf *c, const struct assoc_pdu *rq,
                       struct assoc **ret, struct errmsg *e);

/* ---- both */
/* Accepted context by id, or by abstract syntax (and transfer syntax UID; empty: any); NULL when
 * there is none. */
const struct assoc_ctx *assoc_ctx(const struct assoc *a, uint8_t id);
const struct assoc_ctx *assoc_ctx_for(const struct assoc *a, struct str abstract,
                                      struct str syntax);
const struct assoc_pdu *assoc_answer(const struct assoc *a); // the A-ASSOCIATE-AC
struct sock            *assoc_sock(struct assoc *a);
bool                    is_associated(const struct assoc *a); // messages can still be exchanged

/*
 * Wait for the next command; its strings are valid until the next msg_recv.  A data set
 * (cmd->has_data) is then read with msg_data; what was not read of it is skipped by the next
 * msg_recv.
 * ERR_CLOSED with *e empty: released in order.
 */
enum err msg_recv(struct assoc *a, struct cmd *ret, uint8_t *ret_context, struct errmsg *e);
/* The same without waiting: ERR_MORE when nothing is there (to look for C-CANCEL between answers).
 */
enum err msg_poll(struct assoc *a, struct cmd *ret, uint8_t *ret_context, struct errmsg *e);
/* Next piece of the data set: a view of the receive buffer, valid until the next call.  *ret_last
 * with the last piece (which may be empty). */
enum err msg_data(struct assoc *a, struct bytes *ret, bool *ret_last, struct errmsg *e);
/* Rest of the data set into buf (its max is the limit: ERR_LIMIT after draining the stream). */
enum err msg_data_all(struct assoc *a, struct buf *out, struct errmsg *e);

/* Command and, when data is not NULL, a data set that is in memory; as few segments as possible. */
enum err msg_send(struct assoc *a, uint8_t context, const struct cmd *c, const struct bytes *data,
                  struct errmsg *e);
/* Command (has_data) now, data set in pieces: begin, add …, end.  The command goes out with the
 * first PDU's worth of data. */
enum err msg_send_begin(struct assoc *a, uint8_t context, const struct cmd *c, struct errmsg *e);
enum err msg_send_add(struct assoc *a, struct bytes piece, struct errmsg *e);
/* n bytes of a file from `at`.  ERR_IO: it cannot be read, and the message is cancelled. */
enum err msg_send_file(struct assoc *a, int fd, uint64_t at, uint64_t n, struct errmsg *e);
enum err msg_send_end(struct assoc *a, struct errmsg *e);
/* Gives up a message that was begun: it costs nothing while it is still in the buffer (about 128
 * KiB), later the association is aborted.  Sending another message instead does the same. */
void     msg_send_cancel(struct assoc *a);

uint16_t assoc_next_id(struct assoc *a);                   // message ids of requests
enum err assoc_release(struct assoc *a, struct errmsg *e); // client: A-RELEASE and its answer
void     assoc_abort(struct assoc *a, uint8_t source, uint8_t reason);
void     assoc_free(struct assoc *a); // aborts when still associated; NULL is fine
void     assoc_wake(struct assoc *a); // any thread: the owner's call returns ERR_CLOSED
