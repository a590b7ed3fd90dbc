/*
 * libxml2's SAX events into a data set.  The words of the model are a table of which element may
 * stand in which; what is not in it is refused.
 */
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <pthread.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/num.h"
#include "base/utf8.h"
#include "dicom/model_priv.h"
#include "dicom/xml.h"

enum word {
    WORD_NONE,
    WORD_MODEL,
    WORD_ATTRIBUTE,
    WORD_ITEM,
    WORD_VALUE,
    WORD_BINARY,
    WORD_BULK,
    WORD_NAME,
    WORD_GROUP, // Alphabetic …
    WORD_PART,  // FamilyName …
};

static const struct {
    const char *name;
    enum word   word;
    size_t      at; // which group, which part
    unsigned    within;
} words[] = {
    {"NativeDicomModel", WORD_MODEL, 0, 1U << WORD_NONE},
    {"DicomAttribute", WORD_ATTRIBUTE, 0, 1U << WORD_MODEL | 1U << WORD_ITEM},
    {"Item", WORD_ITEM, 0, 1U << WORD_ATTRIBUTE},
    {"Value", WORD_VALUE, 0, 1U << WORD_ATTRIBUTE},
    {"InlineBinary", WORD_BINARY, 0, 1U << WORD_ATTRIBUTE},
    {"BulkData", WORD_BULK, 0, 1U << WORD_ATTRIBUTE},
    {"PersonName", WORD_NAME, 0, 1U << WORD_ATTRIBUTE},
    {"Alphabetic", WORD_GROUP, 0, 1U << WORD_NAME},
    {"Ideographic", WORD_GROUP, 1, 1U << WORD_NAME},
    {"Phonetic", WORD_GROUP, 2, 1U << WORD_NAME},
    {"FamilyName", WORD_PART, 0, 1U << WORD_GROUP},
    {"GivenName", WORD_PART, 1, 1U << WORD_GROUP},
    {"MiddleName", WORD_PART, 2, 1U << WORD_GROUP},
    {"NamePrefix", WORD_PART, 3, 1U << WORD_GROUP},
    {"NameSuffix", WORD_PART, 4, 1U << WORD_GROUP},
};

enum {
    NAME_GROUPS = 3,
    NAME_PARTS = 5,
    NAME_ALL = NAME_GROUPS * NAME_PARTS,
    XML_DEPTH = 2 * LIMIT_SQ_DEPTH + 6, // attribute and item for each level, a name below
    XML_VALUES = 1 << 20,               // "number" of a value: empty ones before it are made
};

/* Of one open DicomAttribute. */
struct attribute {
    uint32_t     tag;
    enum vr      vr;
    size_t       values; // so far
    enum word    kind;   // what it holds
    struct dset *in;
};

struct reader {
    xmlParserCtxt   *ctxt;
    struct arena    *arena;
    struct errmsg   *e;
    enum err         err;
    struct dset     *top;
    enum word        stack[XML_DEPTH];
    size_t           depth;
    struct attribute at[LIMIT_SQ_DEPTH + 1]; // one for each level of items
    struct dset     *item[LIMIT_SQ_DEPTH + 1];
    size_t           level;
    struct buf       value; // of the attribute, as it will lie in the data set
    struct buf       text;  // of the element that is open
    struct buf       part[NAME_GROUPS][NAME_PARTS];
    size_t           group, name_part;
    struct bytes     uri;
};

static void fail(struct reader *r, enum err code, const char *what)
{
    if (r->err == ERR_OK) {
        r->err = err_set(r->e, code, "XML in line %d: %s", xmlSAX2GetLineNumber(r->ctxt), what);
        xmlStopParser(r->ctxt);
    }
}

static struct str text_of(const struct buf *b)
{
    return (struct str){(const char *)b->ptr, b->len};
}

/* ---- XML attributes ----------------------------------------------------------------------- */

/* Five pointers each: name, prefix, URI, value, end of the value. */
static struct str xml_attr(const xmlChar **v, int n, const char *name)
{
    for (; n > 0; n--, v += 5) {
        if (strcmp((const char *)v[0], name) == 0) {
            return (struct str){(const char *)v[3], (size_t)(v[4] - v[3])};
        }
    }
    return (struct str){0};
}

/* ---- attributes --------------------------------------------------------------------------- */

static struct attribute *here(struct reader *r)
{
    return &r->at[r->level];
}

static struct str value_of(const struct elem *el)
{
    return (struct str){(const char *)el->value.ptr, el->value.len}; // read from UTF-8
}

/* The block of a creator: the one it has, or the first that is free. */
static uint32_t block_of(struct reader *r, struct dset *d, uint32_t tag, struct str creator)
{
    uint32_t group = tag & 0xFFFF0000;
    for (uint32_t block = 0x10; block <= 0xFF; block++) {
        const struct elem *el = dset_find(d, group | block);
        if (el != NULL && str_eq(model_trim_end(value_of(el)), creator)) {
            return block;
        }
        bool used = el != NULL;
        for (size_t i = 0; i < d->n && !used; i++) {
            used = d->elems[i].tag >> 8 == (group | block << 8) >> 8;
        }
        if (!used) {
            if (dset_put(d, group | block, VR_LO, str_bytes(creator)) != ERR_OK) {
                fail(r, ERR_LIMIT, "too large a data set");
            }
            return block;
        }
    }
    fail(r, ERR_LIMIT, "no free private block");
    return 0;
}

static void begin_attribute(struct reader *r, const xmlChar **v, int n)
{
    struct str tag = xml_attr(v, n, "tag"), vr = xml_attr(v, n, "vr");
    struct str creator = xml_attr(v, n, "privateCreator");
    uint64_t   number = 0;
    if (tag.len != 8 || !parse_u64_base(tag, 16, &number)) {
        fail(r, ERR_SYNTAX, "tag is not eight hexadecimal digits");
        return;
    }
    struct attribute at = {.tag = (uint32_t)number, .in = r->item[r->level]};
    at.vr = vr.ptr == NULL ? dict_vr(at.tag)
            : vr.len == 2  ? vr_parse((uint8_t)vr.ptr[0], (uint8_t)vr.ptr[1])
                           : VR_NONE;
    if (at.vr == VR_NONE) {
        fail(r, ERR_SYNTAX, "unknown VR");
        return;
    }
    if (is_tag_private(at.tag) && (at.tag & 0xFFFF) <= 0xFF && creator.ptr != NULL &&
        creator.len > 0) {
        at.tag |= block_of(r, at.in, at.tag, creator) << 8;
    }
    if (r->err == ERR_OK && dset_find(at.in, at.tag) != NULL) {
        fail(r, ERR_SYNTAX, "attribute twice");
    }
    buf_clear(&r->value);
    *here(r) = at;
}

static void put(struct reader *r, const struct attribute *at)
{
    struct bytes v = {0};
    if (buf_end(&r->value, &v) != ERR_OK) {
        fail(r, ERR_LIMIT, "a value is too long");
    } else if (dset_put(at->in, at->tag, at->vr, v) != ERR_OK) {
        fail(r, ERR_LIMIT, "too large a data set");
    }
}

static void end_attribute(struct reader *r)
{
    struct attribute *at = here(r);
    if (at->kind == WORD_ITEM) {
        return;
    }
    put(r, at);
    struct elem *el = r->err == ERR_OK && at->kind == WORD_BULK ? dset_find(at->in, at->tag) : NULL;
    if (el != NULL) {
        el->left_out = true;
        el->value = r->uri;
    }
}

static void begin_item(struct reader *r)
{
    struct attribute *at = here(r);
    struct dset      *item = NULL;
    if (at->vr != VR_SQ) {
        fail(r, ERR_SYNTAX, "an item in what is no sequence");
    } else if (r->level >= LIMIT_SQ_DEPTH) {
        fail(r, ERR_LIMIT, "items nested too deep");
    } else if (dset_put_item(at->in, at->tag, &item) != ERR_OK) {
        fail(r, ERR_LIMIT, "too large a data set");
    } else {
        r->item[++r->level] = item;
    }
}

static void begin_bulk(struct reader *r, const xmlChar **v, int n)
{
    struct str uri = xml_attr(v, n, "uri");
    uri = uri.ptr != NULL ? uri : xml_attr(v, n, "uuid");
    r->uri = arena_bytes(r->arena, str_bytes(uri));
    if (uri.len > 0 && r->uri.ptr == NULL) {
        fail(r, ERR_LIMIT, "too large a data set");
    }
}

/* ---- values ------------------------------------------------------------------------------- */

/* Its "number" counts from 1; numbers left out are empty values. */
static void begin_value(struct reader *r, enum word word, const xmlChar **v, int n)
{
    struct attribute *at = here(r);
    struct str        number = xml_attr(v, n, "number");
    uint32_t          want = (uint32_t)at->values + 1;
    bool              string = is_vr_string(at->vr);
    if ((number.ptr != NULL && !parse_u32(number, &want)) || want <= at->values ||
        want > XML_VALUES) {
        fail(r, ERR_SYNTAX, "values are not in order");
    } else if ((word == WORD_NAME) != (at->vr == VR_PN) ||
               (!string && model_number_size(at->vr) == 0)) {
        fail(r, ERR_SYNTAX, "a value that is not for this VR");
    } else if (!string && want > at->values + 1) {
        fail(r, ERR_SYNTAX, "a number is missing");
    }
    for (; r->err == ERR_OK && at->values < want; at->values++) {
        if (string && at->values > 0) {
            buf_u8(&r->value, '\\');
        }
    }
    for (size_t i = 0; i < NAME_ALL && word == WORD_NAME; i++) {
        buf_clear(&r->part[i / NAME_PARTS][i % NAME_PARTS]);
    }
}

static struct str trimmed(struct str s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) != NULL) {
        s.len--;
    }
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) != NULL) {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    return s;
}

static void end_value(struct reader *r)
{
    struct attribute *at = here(r);
    struct str        s = text_of(&r->text);
    if (is_vr_string(at->vr)) {
        buf_str(&r->value, s);
    } else if (!model_add_number(&r->value, at->vr, trimmed(s))) {
        fail(r, ERR_SYNTAX, "not a value of this VR");
    }
}

/* "Family^Given=…": nothing behind the last part that says something. */
static void end_name(struct reader *r)
{
    size_t marks = 0;
    for (size_t g = 0; g < NAME_GROUPS; g++) {
        size_t carets = 0;
        for (size_t p = 0; p < NAME_PARTS; p++) {
            struct str s = text_of(&r->part[g][p]);
            for (; s.len > 0 && marks > 0; marks--) {
                buf_u8(&r->value, '=');
            }
            for (; s.len > 0 && carets > 0; carets--) {
                buf_u8(&r->value, '^');
            }
            buf_str(&r->value, s);
            carets++;
        }
        marks++;
    }
}

/* Lines of base64 come with breaks. */
static void end_binary(struct reader *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->text.len; i++) {
        if (strchr(" \t\r\n", r->text.ptr[i]) == NULL) {
            r->text.ptr[n++] = r->text.ptr[i];
        }
    }
    r->text.len = n;
    if (here(r)->vr == VR_SQ || !model_unbase64(text_of(&r->text), &r->value)) {
        fail(r, ERR_SYNTAX, "bad base64");
    }
}

/* ---- events ------------------------------------------------------------------------------- */

/* Of what an attribute holds there is one kind, and of bytes and references one. */
static void begin_content(struct reader *r, enum word word)
{
    struct attribute *at = here(r);
    bool              many = word == WORD_ITEM || word == WORD_VALUE || word == WORD_NAME;
    if (at->kind != WORD_NONE && (at->kind != word || !many)) {
        fail(r, ERR_SYNTAX, "two kinds of value in one attribute");
    }
    at->kind = word;
}

static size_t find_word(const char *name)
{
    size_t i = 0;
    while (i < sizeof(words) / sizeof(words[0]) && strcmp(words[i].name, name) != 0) {
        i++;
    }
    return i;
}

static void begin(struct reader *r, size_t which, const xmlChar **v, int n)
{
    enum word word = words[which].word;
    bool      content = word == WORD_ITEM || word == WORD_VALUE || word == WORD_BINARY ||
                   word == WORD_BULK || word == WORD_NAME;
    if (content) {
        begin_content(r, word);
    }
    if (r->err != ERR_OK) {
        return;
    }
    switch (word) {
    case WORD_ATTRIBUTE: begin_attribute(r, v, n); break;
    case WORD_ITEM: begin_item(r); break;
    case WORD_VALUE:
    case WORD_NAME: begin_value(r, word, v, n); break;
    case WORD_BULK: begin_bulk(r, v, n); break;
    case WORD_GROUP: r->group = words[which].at; break;
    case WORD_PART: r->name_part = words[which].at; break;
    case WORD_NONE:
    case WORD_MODEL:
    case WORD_BINARY:
    default: break;
    }
}

/* Nine parameters are the library's idea.  NOLINTNEXTLINE(readability-function-size) */
static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int namespaces_n, const xmlChar **namespaces, int n, int defaulted,
                     const xmlChar **v)
{
    struct reader *r = ctx;
    (void)prefix, (void)uri, (void)namespaces_n, (void)namespaces, (void)defaulted;
    if (r->err != ERR_OK) {
        return;
    }
    size_t    which = find_word((const char *)name);
    enum word outer = r->depth > 0 ? r->stack[r->depth - 1] : WORD_NONE;
    if (which == sizeof(words) / sizeof(words[0]) || (words[which].within >> outer & 1) == 0) {
        fail(r, ERR_SYNTAX, "an element that does not belong here");
        return;
    }
    if (r->depth == XML_DEPTH) {
        fail(r, ERR_LIMIT, "nested too deep");
        return;
    }
    r->stack[r->depth++] = words[which].word;
    buf_clear(&r->text);
    begin(r, which, v, n);
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct reader *r = ctx;
    (void)name, (void)prefix, (void)uri;
    if (r->err != ERR_OK) {
        return;
    }
    if (r->text.err != ERR_OK) {
        fail(r, ERR_LIMIT, "a text is too long");
        return;
    }
    switch (r->stack[--r->depth]) {
    case WORD_ATTRIBUTE: end_attribute(r); break;
    case WORD_ITEM: r->level--; break;
    case WORD_VALUE: end_value(r); break;
    case WORD_NAME: end_name(r); break;
    case WORD_BINARY: end_binary(r); break;
    case WORD_PART:
        buf_clear(&r->part[r->group][r->name_part]);
        buf_str(&r->part[r->group][r->name_part], text_of(&r->text));
        break;
    case WORD_NONE:
    case WORD_MODEL:
    case WORD_BULK:
    case WORD_GROUP:
    default: break;
    }
    buf_clear(&r->text);
}

static void on_text(void *ctx, const xmlChar *text, int n)
{
    struct reader *r = ctx;
    enum word      in = r->depth > 0 ? r->stack[r->depth - 1] : WORD_NONE;
    if (r->err == ERR_OK && (in == WORD_VALUE || in == WORD_BINARY || in == WORD_PART) && n > 0) {
        buf_add(&r->text, (struct bytes){text, (size_t)n});
    }
}

/* A document type brings entities, and entities bring files and bombs. */
static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *external,
                       const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    fail(ctx, ERR_SYNTAX, "a document type is not taken");
}

static void on_reference(void *ctx, const xmlChar *name)
{
    (void)name;
    fail(ctx, ERR_SYNTAX, "an entity is not taken");
}

/* ---- the document ------------------------------------------------------------------------- */

static xmlParserInput *refuse_input(const char *url, const char *id, xmlParserCtxt *ctxt)
{
    (void)url, (void)id, (void)ctxt;
    return NULL;
}

static void library_init(void)
{
    xmlInitParser();
    xmlSetExternalEntityLoader(refuse_input); // of the whole process: nothing here fetches any
}

static void reader_init(struct reader *r, struct arena *a, struct errmsg *e)
{
    *r = (struct reader){.arena = a, .e = e};
    buf_init(&r->value, LIMIT_DSET);
    buf_init(&r->text, LIMIT_DSET);
    for (size_t i = 0; i < NAME_ALL; i++) {
        buf_init(&r->part[i / NAME_PARTS][i % NAME_PARTS], LIMIT_VALUE);
    }
}

static void reader_done(struct reader *r)
{
    buf_done(&r->value);
    buf_done(&r->text);
    for (size_t i = 0; i < NAME_ALL; i++) {
        buf_done(&r->part[i / NAME_PARTS][i % NAME_PARTS]);
    }
}

static enum err run(struct reader *r, struct bytes xml)
{
    r->ctxt = xml.len > 0 && xml.len <= LIMIT_DSET
                  ? xmlCreateMemoryParserCtxt((const char *)xml.ptr, (int)xml.len)
                  : NULL;
    if (r->ctxt == NULL) {
        return err_set(r->e, xml.len > LIMIT_DSET ? ERR_LIMIT : ERR_SYNTAX,
                       "no XML document of a size that is taken");
    }
    *r->ctxt->sax = (xmlSAXHandler){
        .initialized = XML_SAX2_MAGIC,
        .startElementNs = on_start,
        .endElementNs = on_end,
        .characters = on_text,
        .ignorableWhitespace = on_text,
        .cdataBlock = on_text,
        .internalSubset = on_doctype,
        .reference = on_reference,
    };
    r->ctxt->userData = r;
    (void)xmlCtxtUseOptions(r->ctxt, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    (void)xmlParseDocument(r->ctxt);
    if (r->err == ERR_OK && (r->ctxt->wellFormed == 0 || r->depth != 0)) {
        const xmlError *why = xmlCtxtGetLastError(r->ctxt);
        struct str      what = {0};
        bool            text =
            why != NULL && why->message != NULL &&
            utf8_check((struct bytes){(const uint8_t *)why->message, strlen(why->message)}, &what);
        what = trimmed(text ? what : STR("not well formed"));
        r->err = err_set(r->e, ERR_SYNTAX, "XML in line %d: %.*s", why != NULL ? why->line : 0,
                         STR_ARG(what));
    }
    xmlFreeDoc(r->ctxt->myDoc);
    r->ctxt->myDoc = NULL;
    xmlFreeParserCtxt(r->ctxt);
    return r->err;
}

enum err dsxml_parse(struct bytes xml, struct arena *a, struct dset **ret, struct errmsg *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct reader         r;
    (void)pthread_once(&once, library_init);
    reader_init(&r, a, e);
    r.top = dset_new(a);
    r.item[0] = r.top;
    enum err rc = r.top == NULL ? err_set(e, ERR_LIMIT, "too large a data set") : run(&r, xml);
    if (rc == ERR_OK && model_set_utf8(r.top) != ERR_OK) {
        rc = err_set(e, ERR_LIMIT, "too large a data set");
    }
    reader_done(&r);
    if (rc == ERR_OK) {
        *ret = r.top;
    }
    return rc;
}
