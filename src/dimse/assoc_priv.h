#pragma once
/*
 * What the files of an association share: assoc.c (its life), assoc_io.c (socket, state machine),
 * msg_recv.c and msg_send.c (messages).  One thread, the owner's.
 */
#include "dimse/assoc.h"
#include "dimse/ul_fsm.h"

struct inbuf { // received and not yet consumed: ptr[rd..wr)
    uint8_t *ptr;
    size_t   size, rd, wr;
};

struct stage { // PDUs of a data set that is sent in pieces, as they go over the wire
    uint8_t *ptr;
    size_t   size, len;
    size_t   head; // of the PDU that is still open
    bool     open;
    bool     begun;   // a message is
    bool     flushed; // a part of it went out
    uint8_t  context;
};

struct assoc {
    struct sock            *sock; // owned
    struct ul               ul;
    int64_t                 artim_ms, idle_ms, send_ms;
    struct deadline         artim;
    struct arena            mem; // request, answer
    struct assoc_pdu        request, answer;
    const struct assoc_ctx *by_id[128]; // accepted; index: id / 2
    uint32_t                max_pdu;    // announced by us
    uint16_t                window;
    uint16_t                last_id;
    struct assoc_rj         rj;   // what the peer rejected with
    bool                    lost; // the connection is gone, or its framing cannot be trusted
    bool                    released, peer_aborted;

    /* receiving */
    uint8_t         part_ctx;
    uint8_t         data_ctx; // 0: no data set is open
    struct inbuf    in;
    struct cur      body;     // rest of the P-DATA-TF in `in`
    struct arena    msg;      // strings of the last command
    struct buf      part;     // command set whose last fragment has not come
    struct deadline part_end; // for the whole command set

    /* sending */
    struct buf   out;     // A-ASSOCIATE, A-RELEASE, A-ABORT
    struct buf   command; // encoded
    size_t       payload; // most data bytes of one PDV
    struct stage stage;
};

/* ---- assoc_io.c */

/* One event through the state machine, and what it asks for. */
enum err assoc_step(struct assoc *a, enum ul_event ev, struct errmsg *e);
/*
 * Wait for one PDU until d and take it through the state machine; from its first byte on it has
 * pdu_ms (0: d holds).  What was raised is in *ret_raised (UL_*).  ERR_TIMEOUT: nothing happened
 * yet.
 */
enum err assoc_turn(struct assoc *a, struct deadline d, int64_t pdu_ms, unsigned *ret_raised,
                    struct errmsg *e);
/* In Sta13: until the peer closes, or ARTIM. */
void     assoc_linger(struct assoc *a);
/* A-ABORT (provider, reason) for what the peer did; returns code, with the text set by the caller.
 */
enum err assoc_break(struct assoc *a, enum err code, uint8_t reason);
/* A buffer of size bytes that keeps what is unread. */
enum err inbuf_resize(struct inbuf *in, size_t size, struct errmsg *e);
enum err assoc_write(struct assoc *a, struct iovec *iov, int n, int64_t ms, struct errmsg *e);
