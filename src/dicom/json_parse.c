#include <math.h>
#include <stdio.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "base/utf8.h"
#include "dicom/json.h"
#include "dicom/model_priv.h"

enum { DS_MAX = 16 };

/* Text and place; failures are sticky through the cursor, the first one is told. */
struct reader {
    struct cur     c;
    const uint8_t *start;
    struct arena  *arena;
    struct errmsg *e;
    struct buf     value;    // of the element being read, as it will lie in the data set
    struct buf     text;     // scratch: one string
    struct buf     group[3]; // scratch: one name
};

/* The members of one attribute object; what matters is read after "vr" is known. */
struct attribute {
    uint32_t   tag;
    enum vr    vr;
    struct cur value, binary, bulk; // p is NULL: not there
};

static enum err read_dset(struct reader *r, struct dset *d, unsigned depth);

static enum err fail(struct reader *r, enum err code, const char *what)
{
    size_t at = (size_t)(r->c.p - r->start);
    cur_fail(&r->c, code);
    return err_set(r->e, r->c.err, "JSON at byte %zu: %s", at, what);
}

/* ---- tokens ------------------------------------------------------------------------------- */

/* The next character that is not a space; 0 at the end or after a failure. */
static char peek(struct reader *r)
{
    while (cur_left(&r->c) > 0) {
        char c = (char)*r->c.p;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return c;
        }
        (void)cur_u8(&r->c);
    }
    return '\0';
}

static bool take(struct reader *r, char want)
{
    if (peek(r) != want) {
        return false;
    }
    (void)cur_u8(&r->c);
    return true;
}

static bool expect(struct reader *r, char want)
{
    if (take(r, want)) {
        return true;
    }
    char what[] = "' ' expected";
    what[1] = want;
    (void)fail(r, ERR_SYNTAX, what);
    return false;
}

/* Between members: true when another one follows. */
static bool another(struct reader *r, char close)
{
    if (take(r, ',')) {
        return true;
    }
    (void)expect(r, close);
    return false;
}

static bool take_word(struct reader *r, const char *word)
{
    struct str   w = str_of(word);
    struct cur   ahead = r->c;
    struct bytes b = cur_bytes(&ahead, w.len);
    if (!bytes_eq(b, str_bytes(w))) {
        return false;
    }
    r->c = ahead;
    return true;
}

static uint32_t hex4(struct reader *r)
{
    struct bytes b = cur_bytes(&r->c, 4);
    uint64_t     v = 0;
    if (b.len < 4 || !parse_u64_base((struct str){(const char *)b.ptr, 4}, 16, &v)) {
        (void)fail(r, ERR_SYNTAX, "bad \\u escape");
        return 0;
    }
    return (uint32_t)v;
}

/* \uXXXX after the u; halves of pairs that stand alone mean nothing. */
static uint32_t unicode_escape(struct reader *r)
{
    uint32_t hi = hex4(r);
    if (hi < 0xD800 || hi > 0xDFFF) {
        return hi;
    }
    struct cur ahead = r->c;
    if (hi > 0xDBFF || cur_u8(&ahead) != '\\' || cur_u8(&ahead) != 'u') {
        return 0xFFFD;
    }
    struct cur back = r->c;
    r->c = ahead;
    uint32_t lo = hex4(r);
    if (r->c.err == ERR_OK && (lo < 0xDC00 || lo > 0xDFFF)) {
        r->c = back;
        return 0xFFFD;
    }
    return 0x10000 + ((hi - 0xD800) << 10) + (lo & 0x3FF);
}

static void escape(struct reader *r, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    char        c = (char)cur_u8(&r->c);
    const char *at = c == '\0' ? NULL : strchr(from, c);
    if (at != NULL) {
        buf_u8(out, (uint8_t)to[at - from]);
    } else if (c == 'u') {
        utf8_add(out, unicode_escape(r));
    } else {
        (void)fail(r, ERR_SYNTAX, "bad escape");
    }
}

/* Append a string; the cursor is at its first quotation mark. */
static enum err read_string(struct reader *r, struct buf *out)
{
    if (!expect(r, '"')) {
        return r->c.err;
    }
    while (r->c.err == ERR_OK) {
        const uint8_t *run = r->c.p;
        size_t         n = 0, left = cur_left(&r->c);
        while (n < left && run[n] != '"' && run[n] != '\\' && run[n] >= 0x20) {
            n++;
        }
        buf_add(out, cur_bytes(&r->c, n));
        if (cur_left(&r->c) == 0) {
            return fail(r, ERR_SYNTAX, "string without an end");
        }
        uint8_t c = cur_u8(&r->c);
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            return fail(r, ERR_SYNTAX, "control character in a string");
        }
        escape(r, out);
    }
    return out->err != ERR_OK ? fail(r, out->err, "a string is too long") : r->c.err;
}

static size_t take_digits(struct reader *r)
{
    size_t n = 0;
    while (cur_left(&r->c) > 0 && *r->c.p >= '0' && *r->c.p <= '9') {
        (void)cur_u8(&r->c);
        n++;
    }
    return n;
}

static bool take_byte(struct reader *r, const char *any)
{
    if (cur_left(&r->c) == 0 || *r->c.p == '\0' || strchr(any, *r->c.p) == NULL) {
        return false;
    }
    (void)cur_u8(&r->c);
    return true;
}

/* The text of a number as RFC 8259 has it; empty after a failure. */
static struct str read_number(struct reader *r)
{
    (void)peek(r);
    struct cur from = r->c;
    (void)take_byte(r, "-");
    bool zero = take_byte(r, "0");
    bool good = zero || take_digits(r) > 0;
    if (good && take_byte(r, ".")) {
        good = take_digits(r) > 0;
    }
    if (good && take_byte(r, "eE")) {
        (void)take_byte(r, "+-");
        good = take_digits(r) > 0;
    }
    if (!good) {
        (void)fail(r, ERR_SYNTAX, "a value expected");
        return (struct str){0};
    }
    return (struct str){(const char *)from.p, cur_left(&from) - cur_left(&r->c)};
}

/* Step over one value of any kind. */
static enum err skip_value(struct reader *r, unsigned depth)
{
    char c = peek(r);
    if (depth >= LIMIT_JSON_DEPTH) {
        return fail(r, ERR_LIMIT, "nested too deep");
    }
    if (c == '"') {
        buf_clear(&r->text);
        return read_string(r, &r->text);
    }
    if (c != '{' && c != '[') {
        if (!take_word(r, "null") && !take_word(r, "true") && !take_word(r, "false")) {
            (void)read_number(r);
        }
        return r->c.err;
    }
    char close = c == '{' ? '}' : ']';
    (void)cur_u8(&r->c);
    if (take(r, close)) {
        return ERR_OK;
    }
    do {
        if (c == '{') {
            buf_clear(&r->text);
            (void)read_string(r, &r->text);
            (void)expect(r, ':');
        }
        (void)skip_value(r, depth + 1);
    } while (r->c.err == ERR_OK && another(r, close));
    return r->c.err;
}

/* ---- values of one VR --------------------------------------------------------------------- */

static struct str text_of(const struct buf *b)
{
    return (struct str){(const char *)b->ptr, b->len};
}

/* A string, a number or null as text in r->text; null gives an empty one. */
static enum err read_scalar(struct reader *r)
{
    buf_clear(&r->text);
    if (peek(r) == '"') {
        return read_string(r, &r->text);
    }
    if (!take_word(r, "null")) {
        buf_str(&r->text, read_number(r));
    }
    return r->c.err;
}

/* A JSON number as IS or DS: short enough for the VR when that loses nothing. */
static void add_decimal(struct reader *r, enum vr vr, struct str s)
{
    int64_t i = 0;
    double  v = 0, back = 0;
    if (vr == VR_IS && model_whole(s, &i)) {
        buf_fmt(&r->value, "%lld", (long long)i);
        return;
    }
    if (!parse_double(s, &v)) {
        (void)fail(r, ERR_SYNTAX, "number out of range");
        return;
    }
    char text[40];
    for (int digits = 17; vr == VR_DS && s.len > DS_MAX && digits >= 9; digits--) {
        int n = snprintf(text, sizeof(text), "%.*g", digits, v);
        if (n > 0 && n <= DS_MAX && parse_double((struct str){text, (size_t)n}, &back) &&
            back == v) {
            s = (struct str){text, (size_t)n};
        }
    }
    buf_str(&r->value, s);
}

static enum err read_name(struct reader *r)
{
    static const char *const names[] = {"Alphabetic", "Ideographic", "Phonetic"};

    for (size_t i = 0; i < 3; i++) {
        buf_clear(&r->group[i]);
    }
    if (take_word(r, "null")) {
        return ERR_OK;
    }
    if (peek(r) == '"') { // early implementations wrote the name as it is
        return read_string(r, &r->group[0]);
    }
    if (!expect(r, '{') || take(r, '}')) {
        return r->c.err;
    }
    do {
        struct buf *to = NULL;
        buf_clear(&r->text);
        (void)read_string(r, &r->text);
        for (size_t i = 0; i < 3; i++) {
            to = str_eq(text_of(&r->text), str_of(names[i])) ? &r->group[i] : to;
        }
        (void)expect(r, ':');
        if (peek(r) == '"' && to != NULL) {
            buf_clear(to);
            (void)read_string(r, to);
        } else {
            (void)skip_value(r, 0);
        }
    } while (r->c.err == ERR_OK && another(r, '}'));
    return r->c.err;
}

static void add_name(struct reader *r)
{
    size_t n = 3;
    if (read_name(r) != ERR_OK) {
        return;
    }
    while (n > 0 && r->group[n - 1].len == 0) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buf_u8(&r->value, '=');
        }
        buf_str(&r->value, text_of(&r->group[i]));
    }
}

static void add_string(struct reader *r, enum vr vr)
{
    bool number = peek(r) != '"' && peek(r) != 'n';
    if (vr == VR_PN) {
        add_name(r);
    } else if (read_scalar(r) == ERR_OK) {
        if (number && (vr == VR_IS || vr == VR_DS)) {
            add_decimal(r, vr, text_of(&r->text));
        } else {
            buf_str(&r->value, text_of(&r->text));
        }
    }
}

/* Numbers that some write as strings are taken.  null has no binary form: behind the last number it
 * says nothing, in front of one it would move it. */
static void add_number(struct reader *r, enum vr vr, bool *ended)
{
    if (read_scalar(r) != ERR_OK) {
        return;
    }
    struct str s = text_of(&r->text);
    bool       good = !*ended;
    if (s.len == 0) {
        *ended = good = true;
    } else {
        good = good && model_add_number(&r->value, vr, s);
    }
    if (!good) {
        (void)fail(r, ERR_SYNTAX, "not a value of this VR");
    }
}

/* ---- attributes --------------------------------------------------------------------------- */

static enum err put(struct reader *r, struct dset *d, const struct attribute *at)
{
    struct bytes v = {0};
    enum err     rc = buf_end(&r->value, &v);
    if (rc != ERR_OK) {
        return fail(r, rc, "a value is too long");
    }
    if (dset_put(d, at->tag, at->vr, v) != ERR_OK) {
        return fail(r, ERR_LIMIT, "too large a data set");
    }
    return ERR_OK;
}

static enum err read_items(struct reader *r, struct dset *d, uint32_t tag, unsigned depth)
{
    if (depth >= LIMIT_SQ_DEPTH) {
        return fail(r, ERR_LIMIT, "items nested too deep");
    }
    if (!expect(r, '[') || take(r, ']')) {
        return r->c.err;
    }
    do {
        struct dset *item = NULL;
        if (dset_put_item(d, tag, &item) != ERR_OK) {
            return fail(r, ERR_LIMIT, "too large a data set");
        }
        bool null = peek(r) == 'n' && take_word(r, "null"); // an empty item
        if (!null) {
            (void)read_dset(r, item, depth + 1);
        }
    } while (r->c.err == ERR_OK && another(r, ']'));
    return r->c.err;
}

static enum err read_values(struct reader *r, struct dset *d, const struct attribute *at)
{
    bool ended = false, first = true;
    if (!expect(r, '[')) {
        return r->c.err;
    }
    if (take(r, ']')) {
        return put(r, d, at);
    }
    if (!is_vr_string(at->vr) && model_number_size(at->vr) == 0) {
        return fail(r, ERR_SYNTAX, "Value is not for this VR");
    }
    do {
        if (model_number_size(at->vr) > 0) {
            add_number(r, at->vr, &ended);
            continue;
        }
        if (!first) {
            buf_u8(&r->value, '\\');
        }
        first = false;
        add_string(r, at->vr);
    } while (r->c.err == ERR_OK && another(r, ']'));
    return r->c.err == ERR_OK ? put(r, d, at) : r->c.err;
}

static enum err read_binary(struct reader *r, struct dset *d, const struct attribute *at)
{
    if (at->vr == VR_SQ || peek(r) != '"') {
        return fail(r, ERR_SYNTAX, "InlineBinary is not for this VR");
    }
    buf_clear(&r->text);
    if (read_string(r, &r->text) != ERR_OK) {
        return r->c.err;
    }
    if (!model_unbase64(text_of(&r->text), &r->value)) {
        return fail(r, ERR_SYNTAX, "bad base64");
    }
    return put(r, d, at);
}

static enum err read_bulk(struct reader *r, struct dset *d, const struct attribute *at)
{
    if (peek(r) != '"') {
        return fail(r, ERR_SYNTAX, "BulkDataURI is no text");
    }
    buf_clear(&r->text);
    if (read_string(r, &r->text) != ERR_OK || put(r, d, at) != ERR_OK) {
        return r->c.err;
    }
    struct elem *el = dset_find(d, at->tag);
    el->left_out = true;
    el->value = arena_bytes(r->arena, str_bytes(text_of(&r->text)));
    if (el->value.ptr == NULL && r->text.len > 0) {
        return fail(r, ERR_LIMIT, "too large a data set");
    }
    return ERR_OK;
}

static enum err read_attribute(struct reader *r, struct dset *d, const struct attribute *at,
                               unsigned depth)
{
    struct cur here = r->c;
    buf_clear(&r->value);
    if (at->bulk.p != NULL) {
        r->c = at->bulk;
        (void)read_bulk(r, d, at);
    } else if (at->binary.p != NULL) {
        r->c = at->binary;
        (void)read_binary(r, d, at);
    } else if (at->value.p != NULL && at->vr == VR_SQ) {
        r->c = at->value;
        if (put(r, d, at) == ERR_OK) {
            (void)read_items(r, d, at->tag, depth);
        }
    } else if (at->value.p != NULL) {
        r->c = at->value;
        (void)read_values(r, d, at);
    } else {
        (void)put(r, d, at);
    }
    if (r->c.err == ERR_OK) {
        r->c = here;
    }
    return r->c.err;
}

static void read_vr(struct reader *r, struct attribute *at)
{
    buf_clear(&r->text);
    if (read_string(r, &r->text) != ERR_OK) {
        return;
    }
    at->vr = r->text.len == 2 ? vr_parse(r->text.ptr[0], r->text.ptr[1]) : VR_NONE;
    if (at->vr == VR_NONE) {
        (void)fail(r, ERR_SYNTAX, "unknown VR");
    }
}

/* {"vr":…,"Value":…}: find the members, then read the value, which may stand before its VR. */
static enum err find_members(struct reader *r, struct attribute *at)
{
    if (!expect(r, '{') || take(r, '}')) {
        return r->c.err;
    }
    do {
        buf_clear(&r->text);
        (void)read_string(r, &r->text);
        (void)expect(r, ':');
        (void)peek(r);
        struct str name = text_of(&r->text);
        struct cur here = r->c;
        if (str_eq(name, STR("vr"))) {
            read_vr(r, at);
            continue;
        }
        struct cur *member = str_eq(name, STR("Value"))          ? &at->value
                             : str_eq(name, STR("InlineBinary")) ? &at->binary
                             : str_eq(name, STR("BulkDataURI"))  ? &at->bulk
                                                                 : NULL;
        (void)skip_value(r, 0);
        if (member != NULL && r->c.err == ERR_OK &&
            *here.p != 'n') { // null: as if it was not there
            *member = here;
        }
    } while (r->c.err == ERR_OK && another(r, '}'));
    if ((at->value.p != NULL) + (at->binary.p != NULL) + (at->bulk.p != NULL) > 1) {
        return fail(r, ERR_SYNTAX, "two values in one attribute");
    }
    return r->c.err;
}

static enum err read_dset(struct reader *r, struct dset *d, unsigned depth)
{
    if (!expect(r, '{') || take(r, '}')) {
        return r->c.err;
    }
    do {
        uint64_t tag = 0;
        buf_clear(&r->text);
        if (read_string(r, &r->text) != ERR_OK || !expect(r, ':')) {
            return r->c.err;
        }
        if (r->text.len != 8 || !parse_u64_base(text_of(&r->text), 16, &tag)) {
            return fail(r, ERR_SYNTAX, "not a tag of eight hexadecimal digits");
        }
        struct attribute at = {.tag = (uint32_t)tag, .vr = dict_vr((uint32_t)tag)};
        if (dset_find(d, at.tag) != NULL) {
            return fail(r, ERR_SYNTAX, "attribute twice");
        }
        if (find_members(r, &at) == ERR_OK) {
            (void)read_attribute(r, d, &at, depth);
        }
    } while (r->c.err == ERR_OK && another(r, '}'));
    return r->c.err;
}

/* ---- whole texts -------------------------------------------------------------------------- */

static void reader_init(struct reader *r, struct str json, struct arena *a, struct errmsg *e)
{
    *r = (struct reader){.c = cur_of(str_bytes(json)), .arena = a, .e = e};
    r->start = r->c.p;
    buf_init(&r->value, LIMIT_DSET);
    buf_init(&r->text, LIMIT_DSET);
    for (size_t i = 0; i < 3; i++) {
        buf_init(&r->group[i], LIMIT_VALUE);
    }
}

static void reader_done(struct reader *r)
{
    buf_done(&r->value);
    buf_done(&r->text);
    for (size_t i = 0; i < 3; i++) {
        buf_done(&r->group[i]);
    }
}

static enum err read_top(struct reader *r, struct dset **ret)
{
    struct dset *d = dset_new(r->arena);
    if (d == NULL) {
        return fail(r, ERR_LIMIT, "too large a data set");
    }
    if (read_dset(r, d, 0) != ERR_OK) {
        return r->c.err;
    }
    if (model_set_utf8(d) != ERR_OK) {
        return fail(r, ERR_LIMIT, "too large a data set");
    }
    *ret = d;
    return ERR_OK;
}

static enum err read_end(struct reader *r)
{
    return peek(r) == '\0' && cur_left(&r->c) == 0 ? r->c.err
                                                   : fail(r, ERR_SYNTAX, "text after the end");
}

enum err dsjson_parse(struct str json, struct arena *a, struct dset **ret, struct errmsg *e)
{
    struct reader r;
    struct dset  *d = NULL;
    reader_init(&r, json, a, e);
    enum err rc = read_top(&r, &d);
    rc = rc == ERR_OK ? read_end(&r) : rc;
    reader_done(&r);
    if (rc == ERR_OK) {
        *ret = d;
    }
    return rc;
}

/* The list grows by doubling inside the arena; what it outgrows stays there. */
static bool append(struct arena *a, struct dset ***list, size_t n, struct dset *d)
{
    if ((n & (n - 1)) == 0) { // 0, 1, 2, 4, …: full
        struct dset **more = arena_array(a, n == 0 ? 1 : 2 * n, struct dset *);
        if (more == NULL) {
            return false;
        }
        if (n > 0) {
            memcpy(more, *list, n * sizeof(struct dset *));
        }
        *list = more;
    }
    (*list)[n] = d;
    return true;
}

enum err dsjson_parse_list(struct str json, struct arena *a, struct dset ***ret, size_t *ret_n,
                           struct errmsg *e)
{
    struct reader r;
    struct dset **list = NULL;
    size_t        n = 0;
    reader_init(&r, json, a, e);
    bool many = take(&r, '[');
    if (!many || !take(&r, ']')) {
        do {
            struct dset *d = NULL;
            if (read_top(&r, &d) == ERR_OK && !append(a, &list, n, d)) {
                (void)fail(&r, ERR_LIMIT, "too many data sets");
            }
            n++;
        } while (r.c.err == ERR_OK && many && another(&r, ']'));
    }
    enum err rc = r.c.err == ERR_OK ? read_end(&r) : r.c.err;
    reader_done(&r);
    if (rc == ERR_OK) {
        *ret = list;
        *ret_n = n;
    }
    return rc;
}
