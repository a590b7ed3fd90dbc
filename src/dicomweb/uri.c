/* WADO-URI, PS3.18 section 9: one instance by query parameters, as a file or as a picture. */
#include "dicomweb/rendered.h"
#include "dicomweb/retrieve.h"

static bool is_there(struct str s)
{
    return s.ptr != NULL && s.len > 0;
}

/* False: 400, answered. */
static bool query_uid(struct http_request *r, const char *name, struct str *ret)
{
    struct str uid = http_query(r, name);
    if (!is_there(uid) || !is_uid_usable(uid)) {
        http_error(r, 400, "syntax", "%s is missing or no UID", name);
        return false;
    }
    *ret = uid;
    return true;
}

/* Does the list of media types name it? */
static bool has_media(struct http_request *r, struct str list, const char *media)
{
    struct accept a = {0};
    if (accept_parse(list, http_arena(r), &a, NULL) != ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (is_media(&a.range[i].media, media)) {
            return true;
        }
    }
    return false;
}

/* PS3.18 9.1.2: what makes the request wrong, whatever there is.  False: answered. */
static bool check(struct http_request *r, struct str *ret_syntax)
{
    if (!str_eq(http_query(r, "requestType"), STR("WADO"))) {
        http_error(r, 400, "syntax", "requestType must be WADO");
        return false;
    }
    if (is_there(http_query(r, "anonymize"))) {
        http_error(r, 400, "unsupported", "anonymize is not supported here");
        return false;
    }
    *ret_syntax = http_query(r, "transferSyntax");
    if (is_there(*ret_syntax) && !is_uid_legal(*ret_syntax) && !str_eq(*ret_syntax, STR("*"))) {
        http_error(r, 400, "syntax", "transferSyntax is no UID");
        return false;
    }
    return true;
}

/* The first of the list that some object is rendered as; what is not known is refused by name.
 * None: the default of the object, PS3.18 9.1.2.1.4. */
static struct str rendered_media(struct http_request *r, struct str list)
{
    static const char *const known[] = {"image/jpeg", "image/png", "image/gif", "text/html",
                                        "application/pdf"};
    if (!is_there(list)) {
        return STR("");
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (has_media(r, list, known[i])) {
            return str_of(known[i]);
        }
    }
    return list;
}

static void get_uri(struct http_request *r, void *arg)
{
    struct wado  x;
    struct view *v = NULL;
    struct str   syntax = {0}, type = http_query(r, "contentType");
    if (!wado_begin(&x, arg, r, true) || !check(r, &syntax) ||
        !query_uid(r, "studyUID", &x.key.study_uid) ||
        !query_uid(r, "seriesUID", &x.key.series_uid) || !query_uid(r, "objectUID", &x.sop_uid)) {
        return;
    }
    struct view_image *i = wado_image(&x, &v);
    if (i == NULL) {
        return;
    }
    if (has_media(r, type, "application/dicom")) {
        retrieve_file(&x, v, i, syntax);
        return;
    }
    rendered_uri(&x, v, i, rendered_media(r, type));
}

const struct web_route uri_routes[] = {
    {.blocking = true, .pattern = "/wado", .handle = get_uri},
};
const size_t uri_routes_n = sizeof(uri_routes) / sizeof(uri_routes[0]);
