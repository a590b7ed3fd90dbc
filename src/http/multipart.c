#include "http/multipart.h"

#include <assert.h>
#include <openssl/evp.h>

#include "base/utf8.h"

/* ---- writing ------------------------------------------------------------------------------ */

void multipart_boundary(struct bytes seed, char ret[MULTIPART_BOUNDARY])
{
    static const char hex[] = "0123456789abcdef";

    uint8_t  sum[EVP_MAX_MD_SIZE] = {0};
    unsigned n = 0;
    int      ok = EVP_Digest(seed.ptr, seed.len, sum, &n, EVP_sha256(), NULL);
    assert(ok == 1 && n * 2 >= MULTIPART_BOUNDARY - 1);
    (void)ok;
    for (size_t i = 0; i < MULTIPART_BOUNDARY - 1; i++) {
        ret[i] = hex[sum[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    ret[MULTIPART_BOUNDARY - 1] = '\0';
}

void multipart_type(struct buf *out, const char *boundary, const char *type)
{
    buf_fmt(out, "multipart/related; type=\"%s\"; boundary=%s", type, boundary);
}

void multipart_head(struct buf *out, const char *boundary, bool first, const struct http_pair *head,
                    size_t n)
{
    buf_fmt(out, "%s--%s\r\n", first ? "" : "\r\n", boundary);
    for (size_t i = 0; i < n; i++) {
        buf_str(out, head[i].name);
        buf_str(out, STR(": "));
        buf_str(out, head[i].value);
        buf_str(out, STR("\r\n"));
    }
    buf_str(out, STR("\r\n"));
}

void multipart_tail(struct buf *out, const char *boundary)
{
    buf_fmt(out, "\r\n--%s--\r\n", boundary);
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool is_boundary(struct str s)
{
    static const char others[] = "'()+_,-./:=? ";

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return s.len > 0 && s.len <= MULTIPART_BOUNDARY_MAX && s.ptr[s.len - 1] != ' ';
}

enum err multipart_init(struct multipart *m, struct str boundary, struct errmsg *e)
{
    *m = (struct multipart){0};
    buf_init(&m->line, LIMIT_MULTIPART_HEAD);
    if (!is_boundary(boundary)) {
        return err_set(e, ERR_SYNTAX, "the body has no usable boundary");
    }
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.ptr, boundary.len);
    m->delimiter_len = 4 + boundary.len;
    m->matched = m->borrowed = 2; // the first delimiter may be at the very beginning
    return ERR_OK;
}

void multipart_done(struct multipart *m)
{
    buf_done(&m->line);
}

static struct bytes take(struct bytes *in, size_t n)
{
    struct bytes b = {in->ptr, n};
    *in = (struct bytes){in->ptr + n, in->len - n};
    return b;
}

/* How much of the end of b is the beginning of a delimiter.  CR stands at its front and nowhere
 * else in it, so only the last CR can begin one. */
static size_t tail_match(const struct multipart *m, struct bytes b)
{
    size_t         look = b.len < m->delimiter_len - 1 ? b.len : m->delimiter_len - 1;
    const uint8_t *cr = look > 0 ? memrchr(b.ptr + b.len - look, '\r', look) : NULL;
    size_t         n = cr != NULL ? (size_t)(b.ptr + b.len - cr) : 0;
    return n > 0 && memcmp(cr, m->delimiter, n) == 0 ? n : 0;
}

static enum err found(struct multipart *m)
{
    m->matched = m->borrowed = 0;
    m->state = MP_DELIMITER;
    buf_clear(&m->line);
    return ERR_OK;
}

/* A delimiter may have begun in the piece before: go on with it, byte by byte.  What turns out to
 * be data is given out.  ERR_MORE: nothing to give. */
static enum err go_on(struct multipart *m, struct bytes *in, struct bytes *ret_data)
{
    while (m->matched < m->delimiter_len && in->len > 0 && in->ptr[0] == m->delimiter[m->matched]) {
        m->matched++;
        (void)take(in, 1);
    }
    if (m->matched == m->delimiter_len) {
        (void)found(m);
        return ERR_MORE;
    }
    if (in->len == 0) {
        return ERR_MORE;
    }
    *ret_data = (struct bytes){m->delimiter + m->borrowed, m->matched - m->borrowed};
    m->matched = m->borrowed = 0;
    return ret_data->len > 0 ? ERR_OK : ERR_MORE;
}

/* Data up to the delimiter, or up to what may be one.  ERR_MORE: none before it. */
static enum err read_data(struct multipart *m, struct bytes *in, struct bytes *ret_data)
{
    if (m->matched > 0) {
        enum err rc = go_on(m, in, ret_data);
        if (rc == ERR_OK || m->state != MP_DATA || in->len == 0) {
            return rc;
        }
    }
    const uint8_t *at = memmem(in->ptr, in->len, m->delimiter, m->delimiter_len);
    if (at != NULL) {
        *ret_data = take(in, (size_t)(at - in->ptr));
        (void)take(in, m->delimiter_len);
        (void)found(m);
    } else {
        m->matched = tail_match(m, *in);
        *ret_data = take(in, in->len - m->matched);
        (void)take(in, m->matched);
    }
    return ret_data->len > 0 ? ERR_OK : ERR_MORE;
}

/* One more byte of the line.  True: it is all there, its CR LF taken off. */
static bool add_to_line(struct multipart *m, struct bytes *in)
{
    buf_u8(&m->line, take(in, 1).ptr[0]);
    bool all = m->line.err == ERR_OK && m->line.len >= 2 &&
               memcmp(m->line.ptr + m->line.len - 2, "\r\n", 2) == 0;
    m->line.len -= all ? 2 : 0;
    return all;
}

static bool is_blank(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] != ' ' && b.ptr[i] != '\t') {
            return false;
        }
    }
    return true;
}

/* "--" after the boundary: the last one.  Else blanks and the end of the line. */
static enum err read_delimiter(struct multipart *m, struct bytes *in, struct errmsg *e)
{
    while (in->len > 0) {
        bool all = add_to_line(m, in);
        if (m->line.len == 2 && memcmp(m->line.ptr, "--", 2) == 0) {
            m->state = MP_EPILOGUE;
            return ERR_OK;
        }
        if (m->line.err != ERR_OK) {
            return err_set(e, ERR_LIMIT, "the line of a boundary is too long");
        }
        if (all && !is_blank((struct bytes){m->line.ptr, m->line.len})) {
            return err_set(e, ERR_SYNTAX, "something after a boundary in its line");
        }
        if (all) {
            m->state = MP_HEAD;
            buf_clear(&m->line);
            return ERR_OK;
        }
    }
    return ERR_MORE;
}

/* ---- heads -------------------------------------------------------------------------------- */

static struct bytes trimmed(struct bytes b)
{
    while (b.len > 0 && is_blank((struct bytes){b.ptr + b.len - 1, 1})) {
        b.len--;
    }
    while (b.len > 0 && is_blank((struct bytes){b.ptr, 1})) {
        b = (struct bytes){b.ptr + 1, b.len - 1};
    }
    return b;
}

static enum err add_header(struct multipart *m, uint8_t *line, size_t len, struct errmsg *e)
{
    const uint8_t   *colon = memchr(line, ':', len);
    struct http_pair h;
    size_t           n = colon != NULL ? (size_t)(colon - line) : 0;
    if (n == 0 || !utf8_check(trimmed((struct bytes){line, n}), &h.name) || h.name.len == 0) {
        return err_set(e, ERR_SYNTAX, "a header of a part is not \"name: value\"");
    }
    for (size_t i = 0; i < n; i++) {
        line[i] = (uint8_t)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + ('a' - 'A') : line[i]);
    }
    if (!utf8_check(trimmed((struct bytes){line + n + 1, len - n - 1}), &h.value) ||
        memchr(line, '\0', len) != NULL) {
        return err_set(e, ERR_SYNTAX, "a header of a part is not text");
    }
    if (m->headers < MULTIPART_HEADERS) { // more of them mean nothing to us
        m->header[m->headers++] = h;
    }
    return ERR_OK;
}

/* Line breaks before a blank are folds (RFC 5322 2.2.3); the line goes on. */
static void unfold(uint8_t *p, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++) {
        if (p[i] == '\r' && p[i + 1] == '\n' && (p[i + 2] == ' ' || p[i + 2] == '\t')) {
            p[i] = p[i + 1] = ' ';
        }
    }
}

static enum err parse_head(struct multipart *m, struct errmsg *e)
{
    uint8_t *p = m->line.ptr;
    size_t   n = m->line.len;
    unfold(p, n);
    m->headers = 0;
    while (n > 0) {
        const uint8_t *end = memmem(p, n, "\r\n", 2);
        size_t         len = end != NULL ? (size_t)(end - p) : n;
        enum err       rc = add_header(m, p, len, e);
        if (rc != ERR_OK) {
            return rc;
        }
        len += end != NULL ? 2 : 0;
        p += len;
        n -= len;
    }
    return ERR_OK;
}

/* Lines up to an empty one. */
static enum err read_head(struct multipart *m, struct bytes *in, struct errmsg *e)
{
    while (in->len > 0) {
        bool all = add_to_line(m, in);
        bool last =
            all && (m->line.len == 0 ||
                    (m->line.len >= 2 && memcmp(m->line.ptr + m->line.len - 2, "\r\n", 2) == 0));
        if (m->line.err != ERR_OK) {
            return err_set(e, ERR_LIMIT, "head of a part of more than %d bytes",
                           LIMIT_MULTIPART_HEAD);
        }
        if (last) {
            return parse_head(m, e);
        }
        m->line.len += all ? 2 : 0; // the bytes are still there
    }
    return ERR_MORE;
}

/* ---- all together ------------------------------------------------------------------------- */

static enum err begin_part(struct multipart *m, enum multipart_what *ret)
{
    m->state = MP_DATA;
    m->matched = m->borrowed = 2; // a part without data: its delimiter follows the head's last line
    m->in_part = true;
    m->parts++;
    *ret = MULTIPART_HEAD;
    return ERR_OK;
}

/* ERR_MORE: nothing to tell. */
static enum err step(struct multipart *m, struct bytes *in, enum multipart_what *ret,
                     struct bytes *ret_data, struct errmsg *e)
{
    enum err rc;
    switch (m->state) {
    case MP_DATA:
        rc = read_data(m, in, ret_data);
        *ret = MULTIPART_DATA;
        return rc == ERR_OK && !m->in_part ? ERR_MORE : rc; // the preamble is skipped
    case MP_DELIMITER:
        if (m->in_part) {
            m->in_part = false;
            *ret = MULTIPART_END;
            return ERR_OK;
        }
        rc = read_delimiter(m, in, e);
        *ret = MULTIPART_DONE;
        return rc == ERR_OK && m->state == MP_HEAD ? ERR_MORE : rc;
    case MP_HEAD: rc = read_head(m, in, e); return rc == ERR_OK ? begin_part(m, ret) : rc;
    case MP_EPILOGUE: (void)take(in, in->len); return ERR_MORE;
    default: assert(false); return ERR_SYNTAX;
    }
}

enum err multipart_next(struct multipart *m, struct bytes *in, enum multipart_what *ret,
                        struct bytes *ret_data, struct errmsg *e)
{
    enum err rc = ERR_MORE;
    while (rc == ERR_MORE && (in->len > 0 || (m->state == MP_DELIMITER && m->in_part))) {
        rc = step(m, in, ret, ret_data, e);
    }
    return rc;
}

enum err multipart_end(const struct multipart *m, struct errmsg *e)
{
    return m->state == MP_EPILOGUE
               ? ERR_OK
               : err_set(e, ERR_SYNTAX, "the body ends without its last boundary");
}

struct str multipart_header(const struct multipart *m, const char *name)
{
    for (size_t i = 0; i < m->headers; i++) {
        if (str_eq(m->header[i].name, str_of(name))) {
            return m->header[i].value;
        }
    }
    return (struct str){0};
}
