#pragma once
/*
 * An operation that a client has asked for and that is answered by several messages: C-FIND,
 * C-MOVE, C-GET.  Pure: what a received command means for it.  PS3.7 9.1, PS3.4 C.4.
 */
#include "base/err.h"
#include "dimse/cmd.h"

enum { OP_COMMENT = 65 };

struct scu_op {
    struct assoc *assoc; // not owned; not touched here
    uint8_t       context;
    uint16_t      field; // C_FIND_RQ, C_MOVE_RQ, C_GET_RQ
    uint16_t      id;
    bool          done;   // the final response has come
    uint16_t      status; // of the last response
    char          comment[OP_COMMENT];
    bool          has_counts; // of the last response that had them
    uint16_t      remaining, completed, failed, warning;
    uint8_t       store_context; // C-GET: of the C-STORE that waits for scu_answer; 0: none
    uint16_t      store_id;
    struct str    store_class, store_uid; // valid until the next message
};

enum op_what {
    OP_PENDING, // a response, more will come
    OP_FINAL,
    OP_STORE, // a C-STORE sub-operation of C-GET
    OP_STRAY, // neither: the peer is confused
};

/* Takes status, counts and comment of the command over. */
enum op_what op_take(struct scu_op *op, const struct cmd *c, uint8_t context);

bool        is_pending(uint16_t status);
bool        is_warning(uint16_t status);
/* Words for a status of a service's response (field as in C_STORE_RQ), PS3.4 tables B.2-1, C.4-1,
 * C.4-2, C.4-3 and PS3.7 annex C. */
const char *status_text(uint16_t field, uint16_t status);
