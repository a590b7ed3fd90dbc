#include "dicom/xml.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/cur.h"
#include "base/limits.h"
#include "base/num.h"
#include "base/utf8.h"
#include "dicom/model_priv.h"

enum { TAG_CHARSET = TAG(0x0008, 0x0005), INLINE_MAX = 256, NAME_PARTS = 5 };

struct writer {
    const struct json_opts *o;
    struct buf             *out;
    struct errmsg          *e;
    size_t                  inline_max;
    bool                    recoded; // texts change their charset, so (0008,0005) must say so
    struct buf              text;    // scratch: the decoded value
    enum err                text_err;
    struct buf              path; // "00409096/2/", for URIs
    unsigned                depth;
};

static enum err put_dset(struct writer *x, const struct dset *d);

/* Line breaks as references: a parser may turn them into others (XML 1.0 2.11). */
static void put_char(struct buf *out, uint32_t c)
{
    switch (c) {
    case '&': buf_str(out, STR("&amp;")); break;
    case '<': buf_str(out, STR("&lt;")); break;
    case '>': buf_str(out, STR("&gt;")); break;
    case '"': buf_str(out, STR("&quot;")); break;
    case '\t': buf_str(out, STR("&#9;")); break;
    case '\n': buf_str(out, STR("&#10;")); break;
    case '\r': buf_str(out, STR("&#13;")); break;
    default: utf8_add(out, c < ' ' || c == 0xFFFE || c == 0xFFFF ? 0xFFFD : c); break;
    }
}

static bool is_simple(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == ' ' || c == '-' || c == '_';
}

static void put_escaped(struct buf *out, struct str s)
{
    size_t at = 0;
    while (at < s.len && is_simple(s.ptr[at])) {
        at++;
    }
    buf_str(out, (struct str){s.ptr, at});
    while (at < s.len) {
        size_t   before = at;
        uint32_t c = utf8_next(s, &at);
        at += at == before; // a NUL
        put_char(out, c);
    }
}

/* ---- values ------------------------------------------------------------------------------- */

static void put_name_parts(struct buf *out, struct str s)
{
    static const char *const names[NAME_PARTS] = {"FamilyName", "GivenName", "MiddleName",
                                                  "NamePrefix", "NameSuffix"};

    for (size_t i = 0; i < NAME_PARTS && s.len > 0; i++) {
        const char *cut = i + 1 < NAME_PARTS ? memchr(s.ptr, '^', s.len) : NULL;
        size_t      n = cut != NULL ? (size_t)(cut - s.ptr) : s.len;
        struct str  part = {s.ptr, n};
        n += cut != NULL;
        s = (struct str){s.ptr + n, s.len - n};
        if (part.len > 0) {
            buf_fmt(out, "<%s>", names[i]);
            put_escaped(out, part);
            buf_fmt(out, "</%s>", names[i]);
        }
    }
}

static void put_name(struct buf *out, struct str s, size_t number)
{
    static const char *const groups[] = {"Alphabetic", "Ideographic", "Phonetic"};

    buf_fmt(out, "<PersonName number=\"%zu\">", number);
    for (size_t i = 0; i < 3 && s.len > 0; i++) {
        const char *cut = i < 2 ? memchr(s.ptr, '=', s.len) : NULL;
        size_t      n = cut != NULL ? (size_t)(cut - s.ptr) : s.len;
        struct str  group = model_trim_end((struct str){s.ptr, n});
        n += cut != NULL;
        s = (struct str){s.ptr + n, s.len - n};
        if (group.len > 0) {
            buf_fmt(out, "<%s>", groups[i]);
            put_name_parts(out, group);
            buf_fmt(out, "</%s>", groups[i]);
        }
    }
    buf_str(out, STR("</PersonName>"));
}

static void put_string(struct buf *out, enum vr vr, struct str s, size_t number)
{
    s = vr == VR_DS || vr == VR_IS ? model_trim(s) : model_trim_end(s);
    if (vr == VR_PN) {
        put_name(out, s, number);
        return;
    }
    buf_fmt(out, "<Value number=\"%zu\">", number);
    put_escaped(out, s);
    buf_str(out, STR("</Value>"));
}

static void put_strings(struct writer *x, const struct dset *d, const struct elem *el)
{
    struct str all = model_text(d, el, &x->text);
    x->text_err = x->text_err != ERR_OK ? x->text_err : x->text.err;
    if (model_trim_end(all).len == 0) { // padding alone is no value
        return;
    }
    const char *cut = NULL;
    size_t      number = 1;
    while (!model_is_single(el->vr) && (cut = memchr(all.ptr, '\\', all.len)) != NULL) {
        size_t n = (size_t)(cut - all.ptr);
        put_string(x->out, el->vr, (struct str){all.ptr, n}, number++);
        all = (struct str){all.ptr + n + 1, all.len - n - 1};
    }
    put_string(x->out, el->vr, all, number);
}

/* The shortest text that reads back the same; the names of XML Schema for what is not finite. */
static void put_float(struct buf *out, double v, bool single)
{
    char text[40];
    if (!isfinite(v)) {
        buf_str(out, isnan(v) ? STR("NaN") : v > 0 ? STR("INF") : STR("-INF"));
        return;
    }
    int n = 0;
    for (int digits = single ? 6 : 15; digits <= (single ? 9 : 17); digits++) {
        double back = 0;
        n = snprintf(text, sizeof(text), "%.*g", digits, v);
        if (n > 0 && parse_double((struct str){text, (size_t)n}, &back) &&
            (single ? (float)back == (float)v : back == v)) {
            break;
        }
    }
    buf_str(out, (struct str){text, n > 0 ? (size_t)n : 0});
}

static void put_number(struct buf *out, enum vr vr, struct cur *c)
{
    uint32_t word = 0;
    uint64_t wide = 0;
    float    f = 0;
    double   d = 0;
    switch ((int)vr) {
    case VR_US: buf_fmt(out, "%u", cur_u16le(c)); break;
    case VR_SS: buf_fmt(out, "%d", (int16_t)cur_u16le(c)); break;
    case VR_UL: buf_fmt(out, "%" PRIu32, cur_u32le(c)); break;
    case VR_SL: buf_fmt(out, "%" PRId32, (int32_t)cur_u32le(c)); break;
    case VR_UV: buf_fmt(out, "%" PRIu64, cur_u64le(c)); break;
    case VR_SV: buf_fmt(out, "%" PRId64, (int64_t)cur_u64le(c)); break;
    case VR_AT:
        word = (uint32_t)cur_u16le(c) << 16;
        buf_fmt(out, "%08X", (unsigned)(word | cur_u16le(c)));
        break;
    case VR_FL:
        word = cur_u32le(c);
        memcpy(&f, &word, sizeof(f));
        put_float(out, (double)f, true);
        break;
    default: // FD
        wide = cur_u64le(c);
        memcpy(&d, &wide, sizeof(d));
        put_float(out, d, false);
        break;
    }
}

static void put_numbers(struct writer *x, const struct elem *el)
{
    struct cur c = cur_of(el->value);
    for (size_t number = 1; cur_left(&c) > 0; number++) {
        buf_fmt(x->out, "<Value number=\"%zu\">", number);
        put_number(x->out, el->vr, &c);
        buf_str(x->out, STR("</Value>"));
    }
}

static void put_bulk(struct writer *x, uint32_t tag)
{
    buf_str(x->out, STR("<BulkData uri=\""));
    put_escaped(x->out, x->o->bulk_prefix);
    buf_add(x->out, (struct bytes){x->path.ptr, x->path.len});
    buf_fmt(x->out, "%08X\"/>", (unsigned)tag);
}

static enum err put_items(struct writer *x, const struct elem *el)
{
    size_t here = x->path.len;
    if (x->depth >= LIMIT_SQ_DEPTH) {
        return err_set(x->e, ERR_LIMIT, "items deeper than %d in (%04X,%04X)", LIMIT_SQ_DEPTH,
                       (unsigned)(el->tag >> 16), (unsigned)(el->tag & 0xFFFF));
    }
    x->depth++;
    for (size_t i = 0; i < el->n_items; i++) {
        buf_fmt(&x->path, "%08X/%zu/", (unsigned)el->tag, i + 1);
        buf_fmt(x->out, "<Item number=\"%zu\">\n", i + 1);
        enum err rc = put_dset(x, el->items[i]);
        if (rc != ERR_OK) {
            return rc;
        }
        buf_str(x->out, STR("</Item>\n"));
        x->path.len = here;
    }
    x->depth--;
    return ERR_OK;
}

/* ---- elements ----------------------------------------------------------------------------- */

static enum err put_value(struct writer *x, const struct dset *d, const struct elem *el, bool bulk)
{
    size_t size = model_number_size(el->vr);
    if (bulk) {
        put_bulk(x, el->tag);
    } else if (el->items != NULL) {
        return put_items(x, el);
    } else if (el->value.len == 0) {
        return ERR_OK;
    } else if (el->tag == TAG_CHARSET && x->recoded) {
        buf_str(x->out, STR("<Value number=\"1\">ISO_IR 192</Value>"));
    } else if (is_vr_string(el->vr)) {
        put_strings(x, d, el);
    } else if (size > 0 && el->value.len % size == 0) {
        put_numbers(x, el);
    } else {
        buf_str(x->out, STR("<InlineBinary>"));
        model_base64(x->out, el->value);
        buf_str(x->out, STR("</InlineBinary>"));
    }
    return ERR_OK;
}

static bool is_creator(uint32_t tag)
{
    return is_tag_private(tag) && (tag & 0xFFFF) >= 0x10 && (tag & 0xFFFF) <= 0xFF;
}

/* Is something in the block that this element reserves?  Then its elements name the creator. */
static bool is_block_used(const struct dset *d, size_t i)
{
    uint32_t first = (d->elems[i].tag & 0xFFFF0000) | (d->elems[i].tag & 0xFF) << 8;
    while (i < d->n && d->elems[i].tag < first) {
        i++;
    }
    return i < d->n && d->elems[i].tag <= (first | 0xFF);
}

static void put_head(struct writer *x, const struct dset *d, const struct elem *el)
{
    const struct dict_entry *known = dict_find(el->tag);
    enum vr                  vr = el->items != NULL ? VR_SQ : el->vr == VR_NONE ? VR_UN : el->vr;
    bool                     in_block = is_tag_private(el->tag) && (el->tag & 0xFFFF) >= 0x1000;
    struct str               creator = in_block ? dset_creator(d, el->tag) : (struct str){0};
    uint32_t                 tag = creator.len > 0 ? el->tag & 0xFFFF00FF : el->tag;
    buf_fmt(x->out, "<DicomAttribute tag=\"%08X\" vr=\"%s\"", (unsigned)tag, vr_name(vr));
    if (known != NULL && !is_tag_private(el->tag) && known->keyword[0] != '\0') {
        buf_fmt(x->out, " keyword=\"%s\"", known->keyword);
    }
    if (creator.len > 0) {
        buf_str(x->out, STR(" privateCreator=\""));
        put_escaped(x->out, creator);
        buf_str(x->out, STR("\""));
    }
    buf_str(x->out, STR(">"));
}

static enum err put_elem(struct writer *x, const struct dset *d, size_t i)
{
    const struct elem *el = &d->elems[i];
    bool               bulk = model_is_bulk(el, x->inline_max);
    if ((bulk && x->o->bulk_prefix.len == 0) || (!x->o->group_length && (el->tag & 0xFFFF) == 0)) {
        return ERR_OK;
    }
    if (is_creator(el->tag) && is_block_used(d, i) &&
        dset_creator(d, (el->tag & 0xFFFF0000) | (el->tag & 0xFF) << 8).len > 0) {
        return ERR_OK;
    }
    put_head(x, d, el);
    enum err rc = put_value(x, d, el, bulk);
    buf_str(x->out, STR("</DicomAttribute>\n"));
    return rc;
}

static enum err put_dset(struct writer *x, const struct dset *d)
{
    bool missing = x->recoded && x->depth == 0 && dset_find(d, TAG_CHARSET) == NULL;
    for (size_t i = 0; i <= d->n; i++) {
        if (missing && (i == d->n || d->elems[i].tag > TAG_CHARSET)) {
            buf_str(x->out, STR("<DicomAttribute tag=\"00080005\" vr=\"CS\" "
                                "keyword=\"SpecificCharacterSet\">"
                                "<Value number=\"1\">ISO_IR 192</Value></DicomAttribute>\n"));
            missing = false;
        }
        enum err rc = i < d->n ? put_elem(x, d, i) : ERR_OK;
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

enum err dsxml_write(const struct dset *d, const struct json_opts *o, struct buf *out,
                     struct errmsg *e)
{
    struct writer x = {.o = o, .out = out, .e = e, .recoded = model_has_wide(d)};
    x.inline_max = o->inline_max > 0 ? o->inline_max : INLINE_MAX;
    buf_init(&x.text, (size_t)LIMIT_VALUE * 4); // a byte may become a character of three
    buf_init(&x.path, (size_t)LIMIT_SQ_DEPTH * 32);
    buf_str(out, STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<NativeDicomModel xmlns=\"http://dicom.nema.org/PS3.19/models/NativeDICOM\" "
                     "xml:space=\"preserve\">\n"));
    enum err rc = put_dset(&x, d);
    buf_str(out, STR("</NativeDicomModel>\n"));
    buf_done(&x.text);
    buf_done(&x.path);
    if (rc == ERR_OK && x.text_err != ERR_OK) {
        rc = err_set(e, x.text_err, "a text is too long for XML");
    }
    if (rc == ERR_OK && out->err != ERR_OK) {
        rc = err_set(e, out->err, "XML of a data set is larger than %zu bytes", out->max);
    }
    return rc;
}
