#pragma once
/* Shared by the files of this module: one association being served, and the services' entry points.
 */
#include "scp/scp.h"

struct served {
    struct scp   *scp;
    struct assoc *assoc;
    struct arena  arena; // of the association: tenant, peer
    struct tenant tenant;
    struct peer   peer;
    struct str    address;
    bool          relational; // C-FIND extended negotiation, PS3.4 C.5.1.1
    bool          combined;   // date and time matched as one
};

struct request {
    struct cmd              cmd;
    uint8_t                 context;
    const struct assoc_ctx *ctx; // accepted, never NULL
};

/* PS3.4 tables B.2-1, C.4-1, C.4-2, C.4-3. */
enum {
    ST_SUCCESS = 0x0000,
    ST_CANCEL = 0xFE00,
    ST_PENDING = 0xFF00,
    ST_PENDING_KEYS = 0xFF01,  // an optional key was not matched
    ST_NO_SUCH_CLASS = 0x0122, // SOP class not supported
    ST_UNRECOGNIZED = 0x0211,
    ST_NO_RESOURCES = 0xA700,
    ST_NO_SUBOPERATIONS = 0xA702,
    ST_NO_DESTINATION = 0xA801,
    ST_NOT_OF_CLASS = 0xA900, // data set or identifier does not match the SOP class
    ST_CANNOT = 0xC000,       // cannot understand, unable to process
    ST_SOME_FAILED = 0xB000,  // sub-operations complete with failures; for C-STORE: kept aside
};

enum qr_service { QR_NONE, QR_FIND, QR_MOVE, QR_GET };

enum qr_root { ROOT_PATIENT = 1, ROOT_STUDY = 2, ROOT_PATIENT_STUDY = 3 };

/* 1.2.840.10008.5.1.4.1.2.<root>.<service>; QR_NONE for others. */
enum qr_service qr_class(struct str uid, enum qr_root *ret_root);

uint16_t store_status(enum err rc);
uint16_t query_status(enum err rc);

/* By level: the unique key (PS3.4 C.6), and the value of Query/Retrieve Level. */
extern const uint32_t    qr_unique_key[LEVEL_IMAGE + 1];
extern const char *const qr_level_name[LEVEL_IMAGE + 1];

/* Each returns other than ERR_OK only when the association cannot go on. */
enum err scp_echo(struct served *s, const struct request *r, struct errmsg *e);
enum err scp_store(struct served *s, const struct request *r, struct errmsg *e);
enum err scp_find(struct served *s, const struct request *r, struct errmsg *e);
enum err scp_retrieve(struct served *s, const struct request *r, bool move, struct errmsg *e);

struct cmd answer_to(const struct request *r, uint16_t code, const struct errmsg *why);
enum err   send_answer(struct served *s, const struct request *r, uint16_t code,
                       const struct errmsg *why, struct errmsg *e);

/*
 * The identifier of a C-FIND, C-MOVE or C-GET: where it goes.  *ret_rc is what is wrong with it,
 * told by the answer; the return value is the association's.
 */
struct identifier {
    struct buf    *raw; // the encoded one, which the data set points into
    struct arena  *mem;
    struct dset  **ret;
    enum err      *ret_rc;
    struct errmsg *why;
};
enum err read_identifier(struct served *s, const struct request *r, const struct identifier *id,
                         struct errmsg *e);
enum err identifier_level(const struct dset *keys, enum qr_root root, enum level *ret,
                          struct errmsg *e);
const struct syntax *ctx_syntax(const struct assoc_ctx *c);
