#include "dicomweb/store_bulk.h"

#include "base/cur.h"
#include "base/limits.h"
#include "dicom/tags.h"
#include "sys/file.h"

enum { CHUNK = 64 << 10, SNIFF = 4096 };

/* ---- which part --------------------------------------------------------------------------- */

static bool ends_with(struct str s, struct str end)
{
    return s.len > end.len && memcmp(s.ptr + s.len - end.len, end.ptr, end.len) == 0 &&
           (end.ptr[0] == '/' || s.ptr[s.len - end.len - 1] == '/');
}

static const struct bulk *find(const struct bulk *b, struct bytes location)
{
    while (b != NULL && !bytes_eq(str_bytes(b->location), location)) {
        b = b->next;
    }
    return b;
}

/* From a URI to the location of its parts: equal, or, when none is, one relative to the other. */
static bool resolve(const struct bulk_source *s, struct elem *el)
{
    struct str         uri = {(const char *)el->value.ptr, el->value.len};
    const struct bulk *b = find(s->first, el->value);
    for (const struct bulk *x = s->first; b == NULL && x != NULL && uri.len > 0; x = x->next) {
        b = ends_with(x->location, uri) || ends_with(uri, x->location) ? x : NULL;
    }
    if (b != NULL) {
        el->value = str_bytes(b->location);
    }
    return b != NULL;
}

static uint64_t length_of(const struct bulk_source *s, struct bytes uri)
{
    uint64_t n = 0;
    for (const struct bulk *b = find(s->first, uri); b != NULL; b = find(b->next, uri)) {
        n += b->len;
    }
    return n;
}

/* ---- which syntax ------------------------------------------------------------------------- */

/* PS3.18 tables 8.7.3-2 to -4: what a type is when its transfer-syntax is not said. */
static const struct {
    const char *media, *syntax;
} defaults[] = {
    {"application/octet-stream", "1.2.840.10008.1.2.1"},
    {"image/jpeg", "1.2.840.10008.1.2.4.70"},
    {"image/jls", "1.2.840.10008.1.2.4.80"},
    {"image/jp2", "1.2.840.10008.1.2.4.90"},
    {"image/jpx", "1.2.840.10008.1.2.4.92"},
    {"image/jphc", "1.2.840.10008.1.2.4.201"},
    {"image/dicom-rle", "1.2.840.10008.1.2.5"},
    {"image/x-dicom-rle", "1.2.840.10008.1.2.5"},
    {"video/mpeg", "1.2.840.10008.1.2.4.100"},
    {"video/mpeg2", "1.2.840.10008.1.2.4.100"},
    {"video/mp4", "1.2.840.10008.1.2.4.102"},
};

/* What many senders call image/jpeg and leave it at that, the frame header tells. */
static const char *jpeg_syntax(const struct bulk_source *s, const struct bulk *b)
{
    uint8_t    head[SNIFF];
    size_t     n = 0;
    struct cur c;
    uint8_t    marker = 0;
    if (file_read_at(s->fd, b->at, head, b->len < SNIFF ? (size_t)b->len : SNIFF, &n, NULL) !=
        ERR_OK) {
        return NULL;
    }
    c = cur_of((struct bytes){head, n});
    (void)cur_u16be(&c); // SOI
    while (c.err == ERR_OK && (marker < 0xC0 || marker > 0xC3)) {
        (void)cur_u8(&c);
        marker = cur_u8(&c);
        uint16_t len = marker < 0xC0 || marker > 0xC3 ? cur_u16be(&c) : 2;
        (void)cur_bytes(&c, len >= 2 ? len - 2U : 0);
    }
    return c.err != ERR_OK  ? NULL
           : marker == 0xC0 ? "1.2.840.10008.1.2.4.50"
           : marker == 0xC1 ? "1.2.840.10008.1.2.4.51"
                            : NULL;
}

static const char *default_syntax(const struct bulk_source *s, const struct bulk *b)
{
    const char *told = str_eq(b->media, STR("image/jpeg")) ? jpeg_syntax(s, b) : NULL;
    for (size_t i = 0; told == NULL && i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        told = str_eq(b->media, str_of(defaults[i].media)) ? defaults[i].syntax : NULL;
    }
    return told;
}

/* The part's parameter, else the metadata's (0002,0010) for plain bytes, else the type's default.
 */
static enum err settle_syntax(struct bulk_source *s, const struct dset *d, struct errmsg *e)
{
    const struct elem *pixels = dset_find(d, DT_PixelData);
    const struct bulk *b =
        pixels != NULL && pixels->left_out ? find(s->first, pixels->value) : NULL;
    const struct syntax *told = syntax_find(dset_str(d, DT_TransferSyntaxUID));
    s->syntax = &SYNTAX_EXPLICIT;
    if (b == NULL) {
        return ERR_OK;
    }
    const char *type = default_syntax(s, b);
    bool        plain = str_eq(b->media, STR("application/octet-stream"));
    if (type == NULL) {
        return err_set(e, ERR_UNSUPPORTED, "pixel data as %.*s", STR_ARG(b->media));
    }
    const struct syntax *y = b->syntax.len > 0       ? syntax_find(b->syntax)
                             : plain && told != NULL ? told
                                                     : syntax_find(str_of(type));
    if (y == NULL || (!plain && !y->encapsulated)) {
        return err_set(e, ERR_UNSUPPORTED, "transfer syntax %.*s of %.*s", STR_ARG(b->syntax),
                       STR_ARG(b->media));
    }
    s->syntax = y->encapsulated ? y : &SYNTAX_EXPLICIT; // what is not, is written anew
    return ERR_OK;
}

/* ---- into memory -------------------------------------------------------------------------- */

static bool is_streamed(const struct elem *el, bool top)
{
    return top && el->left_out && is_vr_long(el->vr) && el->vr != VR_SQ;
}

static enum err load(const struct bulk_source *s, struct elem *el, struct errmsg *e)
{
    uint64_t n = length_of(s, el->value);
    size_t   got = 0;
    if (n > LIMIT_VALUE || el->vr == VR_SQ || (!is_vr_long(el->vr) && n > UINT16_MAX - 1)) {
        return err_set(e, ERR_UNSUPPORTED, "bulk data of (%04X,%04X) do not fit there",
                       tag_group(el->tag), (unsigned)(el->tag & 0xFFFF));
    }
    uint8_t *p = arena_alloc(s->mem, (size_t)n + 2, 1);
    if (p == NULL) {
        return err_set(e, ERR_LIMIT, "too much bulk data inside of sequences");
    }
    for (const struct bulk *b = find(s->first, el->value); b != NULL;
         b = find(b->next, el->value)) {
        enum err rc = file_read_full(s->fd, b->at, p + got, (size_t)b->len, e);
        if (rc != ERR_OK) {
            return rc;
        }
        got += (size_t)b->len;
    }
    if (got % 2 == 1) {
        p[got++] = is_vr_string(el->vr) && el->vr != VR_UI ? ' ' : '\0';
    }
    el->value = (struct bytes){p, got};
    el->len = got;
    el->left_out = false;
    return ERR_OK;
}

static enum err settle(const struct bulk_source *s, struct dset *d, unsigned depth,
                       struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; i < d->n && rc == ERR_OK; i++) {
        struct elem *el = &d->elems[i];
        if (el->left_out && !resolve(s, el)) {
            return err_set(e, ERR_NOTFOUND, "no part for the bulk data of (%04X,%04X)",
                           tag_group(el->tag), (unsigned)(el->tag & 0xFFFF));
        }
        if (el->left_out && !is_streamed(el, depth == 0)) {
            rc = load(s, el, e);
        }
        for (size_t k = 0; k < el->n_items && rc == ERR_OK && depth <= LIMIT_SQ_DEPTH; k++) {
            rc = settle(s, el->items[k], depth + 1, e);
        }
    }
    return rc;
}

enum err bulk_settle(struct bulk_source *s, struct dset *d, struct errmsg *e)
{
    enum err rc = settle(s, d, 0, e);
    rc = rc == ERR_OK ? settle_syntax(s, d, e) : rc;
    while (d->n > 0 && d->elems[0].tag < TAG(0x0003, 0)) {
        dset_remove(d, d->elems[0].tag);
    }
    return rc;
}

/* ---- out ---------------------------------------------------------------------------------- */

static enum err copy_part(const struct bulk_source *s, const struct bulk *b, struct ingest *to,
                          struct errmsg *e)
{
    uint8_t chunk[CHUNK];
    for (uint64_t at = 0; at < b->len;) {
        size_t   n = b->len - at < CHUNK ? (size_t)(b->len - at) : CHUNK;
        enum err rc = file_read_full(s->fd, b->at + at, chunk, n, e);
        rc = rc == ERR_OK ? ingest_add(to, (struct bytes){chunk, n}, e) : rc;
        if (rc != ERR_OK) {
            return rc;
        }
        at += n;
    }
    return ERR_OK;
}

static enum err put_item(struct ingest *to, uint16_t element, uint32_t len, struct errmsg *e)
{
    uint8_t head[8] = {0xFE, 0xFF, (uint8_t)element, (uint8_t)(element >> 8)};
    for (size_t i = 0; i < 4; i++) {
        head[4 + i] = (uint8_t)(len >> (8 * i));
    }
    return ingest_add(to, (struct bytes){head, sizeof(head)}, e);
}

/* A fragment for each part, no offset table. */
static enum err put_fragments(const struct bulk_source *s, struct bytes uri, struct ingest *to,
                              struct errmsg *e)
{
    enum { ITEM = 0xE000, SEQUENCE_END = 0xE0DD };

    enum err rc = put_item(to, ITEM, 0, e);
    for (const struct bulk *b = find(s->first, uri); b != NULL && rc == ERR_OK;
         b = find(b->next, uri)) {
        rc = b->len < UINT32_MAX - 1 ? put_item(to, ITEM, (uint32_t)(b->len + b->len % 2), e)
                                     : err_set(e, ERR_UNSUPPORTED, "a fragment of more than 4 GiB");
        rc = rc == ERR_OK ? copy_part(s, b, to, e) : rc;
        if (rc == ERR_OK && b->len % 2 == 1) {
            rc = ingest_add(to, (struct bytes){(const uint8_t *)"", 1}, e);
        }
    }
    return rc == ERR_OK ? put_item(to, SEQUENCE_END, 0, e) : rc;
}

static enum err put_head(const struct elem *el, enum vr vr, uint32_t len, struct ingest *to,
                         struct errmsg *e)
{
    const char                  *name = vr_name(vr);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 12);
    buf_u16le(&b, tag_group(el->tag));
    buf_u16le(&b, (uint16_t)el->tag);
    buf_str(&b, str_of(name));
    buf_u16le(&b, 0);
    buf_u32le(&b, len);
    struct bytes head;
    return buf_end(&b, &head) == ERR_OK ? ingest_add(to, head, e)
                                        : err_set(e, ERR_NOMEM, "no memory for an element");
}

static enum err put_streamed(const struct bulk_source *s, const struct elem *el, struct ingest *to,
                             struct errmsg *e)
{
    uint64_t n = length_of(s, el->value);
    bool     text = is_vr_string(el->vr);
    if (el->tag == DT_PixelData && s->syntax->encapsulated) {
        enum err rc = put_head(el, VR_OB, UINT32_MAX, to, e);
        return rc == ERR_OK ? put_fragments(s, el->value, to, e) : rc;
    }
    if (n >= UINT32_MAX - 1) {
        return err_set(e, ERR_UNSUPPORTED, "a value of more than 4 GiB");
    }
    enum err rc = put_head(el, el->vr, (uint32_t)(n + n % 2), to, e);
    for (const struct bulk *b = find(s->first, el->value); b != NULL && rc == ERR_OK;
         b = find(b->next, el->value)) {
        rc = copy_part(s, b, to, e);
    }
    if (rc == ERR_OK && n % 2 == 1) {
        rc = ingest_add(to, (struct bytes){(const uint8_t *)(text ? " " : ""), 1}, e);
    }
    return rc;
}

/* Elements from..to, all in memory. */
static enum err put_run(const struct dset *d, size_t from, size_t end, struct ingest *to,
                        struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, (size_t)LIMIT_DSET * 2);
    struct dset run = {
        .arena = d->arena, .elems = d->elems + from, .n = end - from, .room = end - from};
    struct bytes out;
    enum err     rc = dset_write(&run, &SYNTAX_EXPLICIT, false, &b, e);
    if (rc == ERR_OK && buf_end(&b, &out) != ERR_OK) {
        rc = err_set(e, ERR_LIMIT, "metadata of one instance are too large");
    }
    return rc == ERR_OK && out.len > 0 ? ingest_add(to, out, e) : rc;
}

enum err bulk_write(const struct bulk_source *s, const struct dset *d, struct ingest *to,
                    struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; i < d->n && rc == ERR_OK;) {
        size_t end = i;
        while (end < d->n && !is_streamed(&d->elems[end], true)) {
            end++;
        }
        rc = end > i ? put_run(d, i, end, to, e) : ERR_OK;
        if (rc == ERR_OK && end < d->n) {
            rc = put_streamed(s, &d->elems[end++], to, e);
        }
        i = end;
    }
    return rc;
}
