#include "base/log.h"
#include "dicomweb/store_model.h"
#include "http/multipart.h"

/* One request. */
struct store {
    struct web          *w;
    struct http_request *r;
    struct upload       *u;
    struct actor         actor;
    struct str           study; // of the URL, or empty
    struct media_type    type;  // of the body
    bool                 multipart;
    bool                 xml; // the answer
    struct told          told;
    bool                 by_model; // metadata and bulk data, else files
    struct store_file    file;
    struct store_model   model;
};

/* ---- before the body ---------------------------------------------------------------------- */

static bool check_study(struct store *s)
{
    s->study = http_param(s->r, "study");
    if (s->study.len > 0 && !is_uid_usable(s->study)) {
        http_error(s->r, 400, "syntax", "the study of the path is no UID");
        return false;
    }
    return true;
}

static bool check_type(struct store *s)
{
    struct errmsg e = {0};
    struct str    type = http_header(s->r, "Content-Type");
    if (http_header(s->r, "Content-Encoding").len > 0) {
        http_error(s->r, 415, "unsupported", "bodies with a Content-Encoding are not taken");
        return false;
    }
    if (type.ptr == NULL || media_parse(type, http_arena(s->r), &s->type, &e) != ERR_OK) {
        http_error(s->r, 400, "syntax", "Content-Type: %s", type.ptr == NULL ? "missing" : e.text);
        return false;
    }
    struct str        parts = media_param(&s->type, "type");
    struct media_type m = s->type;
    s->multipart = is_media(&s->type, "multipart/related");
    if (s->multipart && media_parse(parts.len > 0 ? parts : STR("application/dicom"),
                                    http_arena(s->r), &m, &e) != ERR_OK) {
        http_error(s->r, 400, "syntax", "Content-Type: %s", e.text);
        return false;
    }
    s->by_model = is_model_type(&m);
    if (!s->by_model && !is_media(&m, "application/dicom")) {
        http_error(s->r, 415, "unsupported", "a body of this type is not taken");
        return false;
    }
    return true;
}

static bool check_accept(struct store *s)
{
    static const struct accept_offer offers[] = {
        {"application/dicom+json", NULL, false, false},
        {"application/json", NULL, false, false},
        {"application/dicom+xml", NULL, false, false},
    };

    struct errmsg e = {0};
    struct accept header = {0}, query = {0};
    size_t        at = 0;
    enum err      rc = accept_parse(http_header(s->r, "Accept"), http_arena(s->r), &header, &e);
    if (rc == ERR_OK) {
        rc = accept_parse(http_query(s->r, "accept"), http_arena(s->r), &query, &e);
    }
    if (rc != ERR_OK) {
        http_error(s->r, 400, "syntax", "Accept: %s", e.text);
        return false;
    }
    if (accept_choose(&header, &query, offers, 3, &at) != ERR_OK) {
        http_error(s->r, 406, "unsupported", "answers are application/dicom+json or +xml");
        return false;
    }
    s->xml = at == 2;
    return true;
}

/* ---- the body ----------------------------------------------------------------------------- */

static void part_begin(struct store *s, struct str type, struct str location)
{
    if (s->by_model) {
        store_model_begin(&s->model, type.len > 0 ? type : media_param(&s->type, "type"), location);
        return;
    }
    struct media_type                m;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_HTTP_MEMORY);
    store_file_begin(&s->file);
    if (type.len > 0 &&
        (media_parse(type, &a, &m, &s->file.why) != ERR_OK || !is_media(&m, "application/dicom"))) {
        s->file.rc = err_set(&s->file.why, ERR_SYNTAX, "a part that is not application/dicom");
    }
}

static void part_add(struct store *s, struct bytes piece)
{
    if (s->by_model) {
        store_model_add(&s->model, piece);
    } else {
        store_file_add(&s->file, piece);
    }
}

static void part_end(struct store *s)
{
    if (s->by_model) {
        store_model_end(&s->model);
    } else {
        store_file_end(&s->file);
    }
}

static void part_event(struct store *s, const struct multipart *m, enum multipart_what what,
                       struct bytes data)
{
    switch (what) {
    case MULTIPART_HEAD:
        part_begin(s, multipart_header(m, "content-type"), multipart_header(m, "content-location"));
        break;
    case MULTIPART_DATA: part_add(s, data); break;
    case MULTIPART_END: part_end(s); break;
    case MULTIPART_DONE:
    default: break;
    }
}

/* All that is in a piece of the body. */
static enum err take_parts(struct store *s, struct multipart *m, struct bytes in, struct errmsg *e)
{
    enum multipart_what what = MULTIPART_DONE;
    struct bytes        data = {0};
    enum err            rc;
    while ((rc = multipart_next(m, &in, &what, &data, e)) == ERR_OK) {
        part_event(s, m, what, data);
    }
    return rc == ERR_MORE ? ERR_OK : rc;
}

/* What is wrong with a body is said when it has come; what of it was stored stays. */
static enum err read_rest(struct store *s, struct errmsg *e)
{
    struct bytes piece;
    enum err     rc;
    while ((rc = upload_read(s->u, &piece, e)) == ERR_OK && piece.len > 0) {
    }
    return rc;
}

/* *ret_bad: what is wrong with the body.  Not ERR_OK: the sender has gone. */
static enum err read_parts(struct store *s, enum err *ret_bad, struct errmsg *bad, struct errmsg *e)
{
    CLEANUP(multipart_done) struct multipart m;
    struct bytes                             piece = {0};
    enum err                                 net = ERR_OK;
    *ret_bad = multipart_init(&m, media_param(&s->type, "boundary"), bad);
    while (*ret_bad == ERR_OK && (net = upload_read(s->u, &piece, e)) == ERR_OK && piece.len > 0) {
        *ret_bad = take_parts(s, &m, piece, bad);
    }
    if (net == ERR_OK && *ret_bad != ERR_OK) {
        net = read_rest(s, e);
    } else if (net == ERR_OK) {
        *ret_bad = multipart_end(&m, bad);
    }
    if (m.in_part && !s->by_model) {
        store_file_abort(&s->file);
    }
    return net;
}

static enum err read_single(struct store *s, struct errmsg *e)
{
    struct bytes piece = {0};
    enum err     net;
    part_begin(s, s->type.full, STR(""));
    while ((net = upload_read(s->u, &piece, e)) == ERR_OK && piece.len > 0) {
        part_add(s, piece);
    }
    if (net == ERR_OK) {
        part_end(s);
    } else if (!s->by_model) {
        store_file_abort(&s->file);
    }
    return net;
}

/* The body as a whole.  A full disk while bulk data were spooled is 507. */
static void refuse(struct store *s, enum err bad, const struct errmsg *why)
{
    uint64_t left;
    bool     room = archive_space(s->w->archive, &left, NULL) == ERR_OK;
    if (bad == ERR_SYNTAX || bad == ERR_MORE) {
        http_error(s->r, 400, err_name(bad), "%s", why->text);
    } else if (bad == ERR_LIMIT && !room) {
        http_error(s->r, 507, err_name(bad), "%s", why->text);
    } else {
        http_fail(s->r, bad, why);
    }
}

static void store_body(struct store *s)
{
    struct errmsg e = {0}, bad_why = {0};
    enum err      bad = ERR_OK;
    enum err      net = s->multipart ? read_parts(s, &bad, &bad_why, &e) : read_single(s, &e);
    if (net == ERR_OK && bad == ERR_OK && s->by_model) {
        bad = store_model_commit(&s->model, &bad_why);
    }
    if (net != ERR_OK) {
        log_info("store.broken", "tenant=%s stored=%u failed=%u", s->actor.tenant, s->told.stored,
                 s->told.failed);
    } else if (bad != ERR_OK) {
        refuse(s, bad, &bad_why);
    } else {
        told_answer(&s->told, s->r, s->xml);
    }
}

static void store(struct upload *u, struct http_request *r, void *arg)
{
    struct store  s = {.w = arg, .r = r, .u = u};
    struct errmsg e = {0};
    if (!web_actor(s.w, r, ACT_STORE, &s.actor) || !check_study(&s) || !check_type(&s) ||
        !check_accept(&s)) {
        return;
    }
    if (told_init(&s.told, web_root(r), s.study, &e) != ERR_OK) {
        http_fail(r, ERR_NOMEM, &e);
        return;
    }
    s.file = (struct store_file){
        .archive = s.w->archive,
        .told = &s.told,
        .from = {.tenant_id = s.actor.tenant_id,
                 .tenant = str_of(s.actor.tenant),
                 .calling = STR("STOW-RS"),
                 .called = str_of(s.actor.tenant),
                 .address = arena_str(http_arena(r), http_peer(r)),
                 .study_uid = s.study},
    };
    s.model = (struct store_model){.archive = s.file.archive, .told = &s.told, .from = s.file.from};
    store_model_init(&s.model);
    store_body(&s);
    store_model_done(&s.model);
    told_done(&s.told);
}

static void begin(struct http_request *r, void *arg)
{
    struct web *w = arg;
    upload_begin(w->uploads, r, store, w);
}

const struct web_route store_routes[] = {
    {.method = HTTP_POST, .pattern = "/studies", .begin = begin, .handle = upload_end},
    {.method = HTTP_POST, .pattern = "/studies/{study}", .begin = begin, .handle = upload_end},
};
const size_t store_routes_n = sizeof(store_routes) / sizeof(store_routes[0]);
