#pragma once
/*
 * Upper-layer PDUs and their items, PS3.8 section 9.3 and annex D.3, PS3.7 annex D.3.3.  Pure:
 * bytes in, views out; the A-ASSOCIATE structs use an arena.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cur.h"

enum { PDU_HEAD = 6, PDV_HEAD = 6 };

enum pdu_type {
    PDU_ASSOC_RQ = 1,
    PDU_ASSOC_AC,
    PDU_ASSOC_RJ,
    PDU_DATA,
    PDU_RELEASE_RQ,
    PDU_RELEASE_RP,
    PDU_ABORT
};

struct pdu {
    uint8_t      type;
    struct bytes body; // view of the input buffer
};

struct pdv {
    uint8_t      context; // presentation context id: odd, 1..255
    bool         command; // else data set
    bool         last;    // last fragment of the message
    struct bytes data;    // view of the PDU body
};

/*
 * Cut one PDU off the front of in.  ERR_MORE when it is not all there yet, ERR_LIMIT when its
 * length field exceeds max, before a single body byte has been received.  On success *ret_size
 * is the number of bytes to drop from the front of the receive buffer.
 */
enum err pdu_cut(struct bytes in, uint32_t max, struct pdu *ret, size_t *ret_size,
                 struct errmsg *e);

/* Read the next value of a P-DATA-TF body; call until cur_left() is 0. */
enum err pdv_next(struct cur *body, struct pdv *ret, struct errmsg *e);

enum ctx_result { CTX_ACCEPTED, CTX_USER_REJECTED, CTX_NO_REASON, CTX_NO_ABSTRACT, CTX_NO_SYNTAX };

struct assoc_ctx {
    uint8_t         id;
    bool            has_role, scu_role, scp_role; // role selection for the abstract syntax: of the
                                                  // requestor as SCU, SCP
    enum ctx_result result;                       // AC only
    struct str      abstract;                     // RQ; filled in on both sides once associated
    struct str     *syntaxes;                     // RQ: proposed; AC: syntaxes[0] is the chosen one
    size_t          n_syntaxes;
};

struct assoc_role { // SCP/SCU Role Selection 0x54: what the requestor may be
    struct str class_uid;
    bool       scu, scp;
};

struct assoc_ext { // SOP Class Extended (0x56) or Common Extended (0x57) Negotiation
    struct str   class_uid;
    struct bytes info;        // common: the list of related general SOP classes as it lies
    bool         common;      // 0x57
    struct str   service_uid; // common only
};

struct assoc_user {    // User Identity Negotiation 0x58 / 0x59
    uint8_t      type; // 1 name, 2 name + passcode, 3 Kerberos, 4 SAML, 5 JWT; 0: none
    bool         response_wanted;
    struct bytes primary, secondary; // secrets: never logged
};

struct assoc_pdu { // A-ASSOCIATE-RQ or -AC
    uint16_t           version;
    struct str         called, calling; // trimmed
    struct str         application;     // context name
    struct assoc_ctx  *ctx;             // by position
    size_t             n_ctx;
    struct assoc_role *role; // as read; for writing, the roles of ctx that are not here are added
    size_t             n_role;
    uint32_t           max_pdu; // 0: no limit
    struct str         impl_uid, impl_version;
    bool               has_window;
    uint16_t           invoked, performed; // asynchronous operations window
    struct assoc_ext  *ext;
    size_t             n_ext;
    struct assoc_user  user;
    struct bytes       user_response; // AC; NULL: none
};

/*
 * The body of an A-ASSOCIATE-RQ or -AC; all views are in the arena.  In a request the roles are
 * copied to the contexts; an answer names no abstract syntaxes, so there the roles stay in role.
 * Bytes that are no UTF-8 become '?' in texts.  ERR_LIMIT: the arena is full.
 */
enum err assoc_pdu_parse(uint8_t type, struct bytes body, struct arena *a, struct assoc_pdu *ret,
                         struct errmsg *e);
void     assoc_pdu_write(uint8_t type, const struct assoc_pdu *p, struct buf *out); // whole PDU

struct assoc_rj {
    uint8_t result, source, reason;
}; // PS3.8 9.3.4

struct assoc_abort {
    uint8_t source, reason; // PS3.8 9.3.8: source 0 service-user, 2 service-provider
};

enum { ABORT_USER = 0, ABORT_PROVIDER = 2 };

enum abort_reason { // of the provider
    ABORT_NO_REASON = 0,
    ABORT_PDU_UNKNOWN = 1,
    ABORT_PDU_UNEXPECTED = 2,
    ABORT_PARAM_UNKNOWN = 4,
    ABORT_PARAM_UNEXPECTED = 5,
    ABORT_PARAM_INVALID = 6
};

void        pdu_reject_write(struct assoc_rj rj, struct buf *out);
void        pdu_abort_write(uint8_t source, uint8_t reason, struct buf *out);
void        pdu_release_write(uint8_t type, struct buf *out); // RQ or RP
enum err    pdu_reject_parse(struct bytes body, struct assoc_rj *ret, struct errmsg *e);
enum err    pdu_abort_parse(struct bytes body, struct assoc_abort *ret, struct errmsg *e);
enum err    pdu_release_parse(struct bytes body, struct errmsg *e);
const char *reject_text(struct assoc_rj rj); // words for people
const char *abort_text(struct assoc_abort a);
const char *ctx_result_text(enum ctx_result r);
