#include "http/accept.h"

#include <strings.h>

/* ---- the text ----------------------------------------------------------------------------- */

struct text {
    struct str    rest;
    struct arena *a;
};

static bool is_token_char(char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || (c != '\0' && strchr(others, c) != NULL);
}

static void skip(struct text *t, size_t n)
{
    t->rest = (struct str){t->rest.ptr + n, t->rest.len - n};
}

static void skip_spaces(struct text *t)
{
    while (t->rest.len > 0 && (t->rest.ptr[0] == ' ' || t->rest.ptr[0] == '\t')) {
        skip(t, 1);
    }
}

static bool take(struct text *t, char c)
{
    bool here = t->rest.len > 0 && t->rest.ptr[0] == c;
    if (here) {
        skip(t, 1);
    }
    return here;
}

/* ptr NULL: none, or no memory for it. */
static struct str take_token(struct text *t, bool slash)
{
    size_t n = 0;
    while (n < t->rest.len && (is_token_char(t->rest.ptr[n]) || (slash && t->rest.ptr[n] == '/'))) {
        n++;
    }
    struct str s = n > 0 ? arena_str(t->a, (struct str){t->rest.ptr, n}) : (struct str){0};
    skip(t, n);
    return s;
}

static struct str lower(struct str s)
{
    char *p = (char *)(uintptr_t)s.ptr; // NOLINT(performance-no-int-to-ptr): our own copy
    for (size_t i = 0; i < s.len; i++) {
        p[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + ('a' - 'A') : p[i]);
    }
    return s;
}

/* After the opening quote.  ptr NULL: it never closes. */
static struct str take_quoted(struct text *t)
{
    char  *to = arena_alloc(t->a, t->rest.len + 1, 1);
    size_t n = 0;
    while (to != NULL && t->rest.len > 0) {
        if (take(t, '"')) {
            return (struct str){to, n};
        }
        if (t->rest.ptr[0] == '\\' && t->rest.len > 1) {
            skip(t, 1);
        }
        to[n++] = t->rest.ptr[0];
        skip(t, 1);
    }
    return (struct str){0};
}

/* ---- media types -------------------------------------------------------------------------- */

/* What is after a ';'.  "a/b;" and "a/b;;c=d" are let pass, as RFC 9110 5.6.6 wants. */
static enum err read_param(struct text *t, struct media_type *m, struct errmsg *e)
{
    skip_spaces(t);
    if (t->rest.len == 0 || t->rest.ptr[0] == ';' || t->rest.ptr[0] == ',') {
        return ERR_OK;
    }
    struct str name = lower(take_token(t, false));
    if (name.ptr == NULL) {
        return err_set(e, ERR_SYNTAX, "a parameter of a media type without a name");
    }
    struct str value = STR("");
    if (take(t, '=')) {
        value = take(t, '"') ? take_quoted(t) : take_token(t, true);
    }
    if (value.ptr == NULL) {
        return err_set(e, ERR_SYNTAX, "bad value of the parameter %.*s of a media type",
                       STR_ARG(name));
    }
    if (m->params < MEDIA_PARAMS) { // more of them mean nothing to us
        m->param[m->params++] = (struct http_pair){name, value};
    }
    return ERR_OK;
}

/* ptr NULL: no memory. */
static struct str join(struct arena *a, struct str type, struct str subtype)
{
    char *p = arena_alloc(a, type.len + subtype.len + 2, 1);
    if (p == NULL) {
        return (struct str){0};
    }
    memcpy(p, type.ptr, type.len);
    p[type.len] = '/';
    memcpy(p + type.len + 1, subtype.ptr, subtype.len);
    return (struct str){p, type.len + 1 + subtype.len};
}

/* Up to the end of the text or a comma. */
static enum err read_media(struct text *t, struct media_type *ret, struct errmsg *e)
{
    struct media_type m = {.type = lower(take_token(t, false))};
    if (m.type.ptr == NULL || !take(t, '/')) {
        return err_set(e, ERR_SYNTAX, "not a media type");
    }
    m.subtype = lower(take_token(t, false));
    if (m.subtype.ptr == NULL) {
        return err_set(e, ERR_SYNTAX, "a media type without its second half");
    }
    m.full = join(t->a, m.type, m.subtype);
    if (m.full.ptr == NULL) {
        return err_set(e, ERR_LIMIT, "a media type is too long");
    }
    for (skip_spaces(t); take(t, ';'); skip_spaces(t)) {
        enum err rc = read_param(t, &m, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    if (t->rest.len > 0 && t->rest.ptr[0] != ',') {
        return err_set(e, ERR_SYNTAX, "something after a media type that is no parameter");
    }
    *ret = m;
    return ERR_OK;
}

enum err media_parse(struct str s, struct arena *a, struct media_type *ret, struct errmsg *e)
{
    struct text       t = {s, a};
    struct media_type m = {0};
    skip_spaces(&t);
    enum err rc = read_media(&t, &m, e);
    if (rc == ERR_OK && t.rest.len > 0) {
        rc = err_set(e, ERR_SYNTAX, "more than one media type");
    }
    if (rc == ERR_OK) {
        *ret = m;
    }
    return rc;
}

struct str media_param(const struct media_type *m, const char *name)
{
    for (size_t i = 0; i < m->params; i++) {
        if (str_eq(m->param[i].name, str_of(name))) {
            return m->param[i].value;
        }
    }
    return (struct str){0};
}

bool is_media(const struct media_type *m, const char *full)
{
    return str_eq(m->full, str_of(full));
}

/* ---- lists -------------------------------------------------------------------------------- */

static bool digits_of(struct str s, unsigned *ret)
{
    unsigned weight = ACCEPT_Q_MAX / 10, v = 0;
    for (size_t i = 0; i < s.len; i++, weight /= 10) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        v += weight * (unsigned)(s.ptr[i] - '0');
    }
    *ret = v;
    return true;
}

/* "0.5", "1", "0", "1.000"; RFC 9110 12.4.2. */
static bool parse_weight(struct str s, unsigned *ret)
{
    unsigned   v = 0;
    bool       one = s.len > 0 && s.ptr[0] == '1';
    struct str after = s.len > 2 ? (struct str){s.ptr + 2, s.len - 2} : (struct str){"", 0};
    if (s.len == 0 || s.len > 5 || (!one && s.ptr[0] != '0') || (s.len > 1 && s.ptr[1] != '.') ||
        !digits_of(after, &v) || (one && v > 0)) {
        return false;
    }
    *ret = one ? ACCEPT_Q_MAX : v;
    return true;
}

static enum err read_range(struct text *t, struct accept_range *ret, struct errmsg *e)
{
    enum err rc = read_media(t, &ret->media, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct str q = media_param(&ret->media, "q");
    ret->q = ACCEPT_Q_MAX;
    if (q.ptr != NULL && !parse_weight(q, &ret->q)) {
        return err_set(e, ERR_SYNTAX, "a weight that is not 0 to 1");
    }
    if (str_eq(ret->media.type, STR("*")) && !str_eq(ret->media.subtype, STR("*"))) {
        return err_set(e, ERR_SYNTAX, "a wildcard type with a subtype");
    }
    return ERR_OK;
}

enum err accept_parse(struct str list, struct arena *a, struct accept *ret, struct errmsg *e)
{
    struct text t = {list, a};
    size_t      most = 1, n = 0;
    for (size_t i = 0; i < list.len; i++) {
        most += list.ptr[i] == ',';
    }
    most = most < ACCEPT_RANGES ? most : ACCEPT_RANGES;
    struct accept_range *range = arena_array(a, most, struct accept_range);
    if (range == NULL) {
        return err_set(e, ERR_LIMIT, "no memory for a list of media types");
    }
    for (skip_spaces(&t); t.rest.len > 0; skip_spaces(&t)) {
        if (take(&t, ',')) {
            continue;
        }
        if (n == most) {
            return err_set(e, ERR_LIMIT, "more than %d media types", ACCEPT_RANGES);
        }
        enum err rc = read_range(&t, &range[n++], e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    *ret = (struct accept){range, n};
    return ERR_OK;
}

/* ---- the choice --------------------------------------------------------------------------- */

/* How closely a range fits an offer; greater wins. */
enum fit { FIT_NOT, FIT_ANY, FIT_TYPE, FIT_MEDIA, FIT_SYNTAX };

/* Any of the range's transfer-syntax parameters. */
static enum fit fit_syntax(const struct media_type *m, const struct accept_offer *o)
{
    enum fit best = FIT_NOT;
    bool     named = false;
    for (size_t i = 0; i < m->params; i++) {
        if (!str_eq(m->param[i].name, STR("transfer-syntax"))) {
            continue;
        }
        named = true;
        if (o->syntax != NULL && str_eq(m->param[i].value, str_of(o->syntax))) {
            return FIT_SYNTAX;
        }
        best = str_eq(m->param[i].value, STR("*")) ? FIT_MEDIA : best;
    }
    return named ? best : o->by_default || o->syntax == NULL ? FIT_MEDIA : FIT_NOT;
}

static bool is_of_type(struct str full, const char *type)
{
    size_t n = strlen(type);
    return full.len > n && full.ptr[n] == '/' && memcmp(full.ptr, type, n) == 0;
}

static enum fit fit_of(const struct media_type *m, const struct accept_offer *o)
{
    struct str full = o->multipart ? STR("multipart/related") : str_of(o->media);
    if (str_eq(m->type, STR("*"))) {
        return FIT_ANY;
    }
    if (str_eq(m->subtype, STR("*"))) {
        return is_of_type(full, m->type.ptr) ? FIT_TYPE : FIT_NOT;
    }
    if (!str_eq(m->full, full)) {
        return FIT_NOT;
    }
    struct str parts = o->multipart ? media_param(m, "type") : (struct str){0};
    if (o->multipart && parts.ptr == NULL) {
        return FIT_TYPE; // any multipart
    }
    if (parts.ptr != NULL &&
        (parts.len != strlen(o->media) || strncasecmp(parts.ptr, o->media, parts.len) != 0)) {
        return FIT_NOT;
    }
    return fit_syntax(m, o);
}

static unsigned weight_of(const struct accept *list, const struct accept_offer *o)
{
    enum fit best = FIT_NOT;
    unsigned q = 0;
    for (size_t i = 0; i < list->n; i++) {
        enum fit f = fit_of(&list->range[i].media, o);
        if (f > best || (f == best && f != FIT_NOT && list->range[i].q > q)) {
            best = f;
            q = list->range[i].q;
        }
    }
    return q;
}

static bool choose(const struct accept *list, const struct accept_offer *offer, size_t n,
                   size_t *ret)
{
    unsigned best = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned q = weight_of(list, &offer[i]);
        if (q > best) {
            best = q;
            *ret = i;
        }
    }
    return best > 0;
}

enum err accept_choose(const struct accept *header, const struct accept *query,
                       const struct accept_offer *offer, size_t n, size_t *ret)
{
    bool asked = header != NULL && header->n > 0, queried = query != NULL && query->n > 0;
    if (queried && choose(query, offer, n, ret)) {
        return ERR_OK;
    }
    if (asked && choose(header, offer, n, ret)) {
        return ERR_OK;
    }
    if (asked || queried || n == 0) {
        return ERR_NOTFOUND;
    }
    *ret = 0;
    return ERR_OK;
}
