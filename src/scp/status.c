/* From enum err to the status of each service: the one table of this surface. */
#include "base/limits.h"
#include "dicom/tags.h"
#include "scp/scp_priv.h"

static const struct {
    uint16_t store, query;
} status[] = {
    [ERR_OK] = {ST_SUCCESS, ST_SUCCESS},
    [ERR_MORE] = {ST_CANNOT, ST_CANNOT},
    [ERR_SYNTAX] = {ST_CANNOT, ST_NOT_OF_CLASS},
    [ERR_LIMIT] = {ST_NO_RESOURCES, ST_NO_RESOURCES},
    [ERR_UNSUPPORTED] = {ST_CANNOT, ST_CANNOT},
    [ERR_NOTFOUND] = {ST_NOT_OF_CLASS, ST_CANNOT},
    [ERR_EXISTS] = {ST_CANNOT, ST_CANNOT},
    [ERR_CONFLICT] = {ST_NO_RESOURCES,
                      ST_NO_RESOURCES}, // of the database: the sender may try again
    [ERR_DENIED] = {0x0124, 0x0124},    // refused: not authorized, PS3.7 C.5.20
    [ERR_TIMEOUT] = {ST_NO_RESOURCES, ST_NO_RESOURCES},
    [ERR_CLOSED] = {ST_NO_RESOURCES, ST_NO_RESOURCES},
    [ERR_IO] = {ST_NO_RESOURCES, ST_NO_RESOURCES},
    [ERR_NOMEM] = {ST_NO_RESOURCES, ST_NO_RESOURCES},
};

_Static_assert(sizeof(status) / sizeof(status[0]) == ERR__COUNT, "a status for every error");

const uint32_t    qr_unique_key[] = {DT_PatientID, DT_StudyInstanceUID, DT_SeriesInstanceUID,
                                     DT_SOPInstanceUID};
const char *const qr_level_name[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};

uint16_t store_status(enum err rc)
{
    return status[rc].store;
}

uint16_t query_status(enum err rc)
{
    return status[rc].query;
}

struct cmd answer_to(const struct request *r, uint16_t code, const struct errmsg *why)
{
    return (struct cmd){
        .field = r->cmd.field | 0x8000,
        .responded_id = r->cmd.message_id,
        .class_uid = r->cmd.class_uid,
        .sop_uid = r->cmd.sop_uid,
        .status = code,
        .comment = code != ST_SUCCESS && why != NULL ? str_of(why->text) : STR(""),
    };
}

enum err send_answer(struct served *s, const struct request *r, uint16_t code,
                     const struct errmsg *why, struct errmsg *e)
{
    struct cmd c = answer_to(r, code, why);
    return msg_send(s->assoc, r->context, &c, NULL, e);
}

enum qr_service qr_class(struct str uid, enum qr_root *ret_root)
{
    static const char head[] = "1.2.840.10008.5.1.4.1.2.";
    const size_t      n = sizeof(head) - 1;
    if (uid.len != n + 3 || memcmp(uid.ptr, head, n) != 0 || uid.ptr[n + 1] != '.') {
        return QR_NONE;
    }
    char root = uid.ptr[n], service = uid.ptr[n + 2];
    if (root < '1' || root > '3' || service < '1' || service > '3') {
        return QR_NONE;
    }
    *ret_root = (enum qr_root)(root - '0');
    return (enum qr_service)(service - '0');
}

const struct syntax *ctx_syntax(const struct assoc_ctx *c)
{
    const struct syntax *s = syntax_find(c->syntaxes[0]);
    return s != NULL ? s : &SYNTAX_EXPLICIT;
}

enum err read_identifier(struct served *s, const struct request *r, const struct identifier *id,
                         struct errmsg *e)
{
    if (!r->cmd.has_data) {
        *id->ret_rc = err_set(id->why, ERR_SYNTAX, "identifier missing");
        return ERR_OK;
    }
    enum err rc = msg_data_all(s->assoc, id->raw, e);
    if (rc == ERR_LIMIT) { // the stream was drained: the association goes on
        *e = (struct errmsg){0};
        *id->ret_rc = err_set(id->why, ERR_LIMIT, "identifier over %d bytes", LIMIT_IDENTIFIER);
        return ERR_OK;
    }
    if (rc != ERR_OK) {
        return rc;
    }
    struct parse_opts opts = {.lenient = LENIENT_ALL};
    struct bytes      in = {id->raw->ptr, id->raw->len};
    *id->ret_rc = dset_parse(in, ctx_syntax(r->ctx), &opts, id->mem, id->ret, id->why);
    if (*id->ret_rc == ERR_MORE) {
        *id->ret_rc = ERR_SYNTAX;
    }
    return ERR_OK;
}

enum err identifier_level(const struct dset *keys, enum qr_root root, enum level *ret,
                          struct errmsg *e)
{
    struct str text = dset_str(keys, DT_QueryRetrieveLevel);
    for (size_t i = 0; i <= LEVEL_IMAGE; i++) {
        bool of_root = !(root == ROOT_STUDY && i == LEVEL_PATIENT) &&
                       !(root == ROOT_PATIENT_STUDY && i > LEVEL_STUDY);
        if (str_eq(text, str_of(qr_level_name[i]))) {
            *ret = (enum level)i;
            return of_root ? ERR_OK
                           : err_set(e, ERR_SYNTAX, "level %s is not of this information model",
                                     qr_level_name[i]);
        }
    }
    return err_set(e, ERR_SYNTAX, "Query/Retrieve Level is none of PATIENT STUDY SERIES IMAGE");
}
