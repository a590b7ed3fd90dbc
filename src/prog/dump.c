/*
 * garonne dump FILE… [--json]: what a DICOM file says, one element a line as dcmdump prints it.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cur.h"
#include "dicom/charset.h"
#include "dicom/json.h"
#include "dicom/part10.h"
#include "prog/cli.h"
#include "sys/file.h"

enum {
    VALUE_COLUMN = 40, // width of the value, so that the lengths stand below each other
    BINARY_SHOWN = 16, // values of a binary element that are printed
    TAG_ITEM_GROUP = 0xFFFE,
    ITEM_HEAD = 8,
};

struct view {
    const struct dsrc *src;
    unsigned           depth;
    struct errmsg     *e;
};

/* Text for a terminal: control characters do not get there. */
static void add_text(struct buf *b, struct bytes utf8)
{
    for (size_t i = 0; i < utf8.len; i++) {
        if (utf8.ptr[i] < ' ' || utf8.ptr[i] == 0x7F) {
            buf_fmt(b, "\\x%02x", utf8.ptr[i]);
        } else {
            buf_u8(b, utf8.ptr[i]);
        }
    }
}

static void add_string(struct buf *b, const struct dset *d, const struct elem *el)
{
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, LIMIT_DSET);
    struct bytes raw = el->value;
    while (raw.len > 0 && (raw.ptr[raw.len - 1] == ' ' || raw.ptr[raw.len - 1] == 0)) {
        raw.len--;
    }
    charset_decode(dset_charset(d), el->vr, raw, &text);
    buf_u8(b, '[');
    add_text(b, (struct bytes){text.ptr, text.len});
    buf_u8(b, ']');
}

/* The next number of the VR's kind; little endian in memory. */
static void add_number(struct buf *b, enum vr vr, struct cur *c)
{
    size_t   unit = vr_unit(vr);
    uint64_t v = unit == 8   ? cur_u64le(c)
                 : unit == 4 ? cur_u32le(c)
                 : unit == 2 ? cur_u16le(c)
                             : cur_u8(c);
    uint32_t low = (uint32_t)v;
    float    f;
    double   g;
    memcpy(&f, &low, sizeof(f));
    memcpy(&g, &v, sizeof(g));
    switch ((int)vr) {
    case VR_SS: buf_fmt(b, "%" PRId16, (int16_t)v); break;
    case VR_SL: buf_fmt(b, "%" PRId32, (int32_t)v); break;
    case VR_SV: buf_fmt(b, "%" PRId64, (int64_t)v); break;
    case VR_US:
    case VR_UL:
    case VR_UV: buf_fmt(b, "%" PRIu64, v); break;
    case VR_FL:
    case VR_OF: buf_fmt(b, "%.9g", (double)f); break;
    case VR_FD:
    case VR_OD: buf_fmt(b, "%.17g", g); break;
    case VR_AT: buf_fmt(b, "(%04x,%04" PRIx16 ")", (unsigned)v, cur_u16le(c)); break;
    default: buf_fmt(b, "%0*" PRIx64, (int)unit * 2, v); break;
    }
}

static size_t width_of(enum vr vr)
{
    return vr == VR_AT ? 4 : vr_unit(vr);
}

static void add_binary(struct buf *b, enum vr vr, struct bytes raw, uint64_t len)
{
    struct cur c = cur_of(raw);
    size_t     n = 0;
    for (; cur_left(&c) >= width_of(vr) && n < BINARY_SHOWN; n++) {
        if (n > 0) {
            buf_u8(b, '\\');
        }
        add_number(b, vr, &c);
    }
    if (n * width_of(vr) + width_of(vr) <= len) {
        buf_str(b, STR("..."));
    }
}

/* Values separated by backslashes, or as many as fit the length. */
static uint64_t vm_of(const struct elem *el)
{
    bool one = el->vr == VR_ST || el->vr == VR_LT || el->vr == VR_UT || el->vr == VR_UR ||
               el->vr == VR_OB || el->vr == VR_OW || el->vr == VR_OF || el->vr == VR_OD ||
               el->vr == VR_OL || el->vr == VR_OV || el->vr == VR_UN || el->vr == VR_SQ;
    if (el->len == 0) {
        return 0;
    }
    if (one || el->encapsulated) {
        return 1;
    }
    if (!is_vr_string(el->vr)) {
        return el->len / width_of(el->vr);
    }
    uint64_t n = 1;
    for (size_t i = 0; i < el->value.len; i++) {
        n += el->value.ptr[i] == '\\';
    }
    return n;
}

static void print_line(const struct view *v, uint32_t tag, const char *vr, const struct buf *value,
                       const char *tail)
{
    struct bytes text = {value->ptr, value->len};
    (void)printf("%*s(%04x,%04x) %s %.*s%*s # %s\n", (int)v->depth * 2, "", tag >> 16, tag & 0xFFFF,
                 vr, (int)text.len, (const char *)text.ptr,
                 text.len < VALUE_COLUMN ? VALUE_COLUMN - (int)text.len : 0, "", tail);
}

static void print_elem(const struct view *v, const struct elem *el, const struct buf *value)
{
    const struct dict_entry *entry = dict_find(el->tag);
    char                     len[24] = "u/l", tail[160];
    if (el->len != LEN_UNDEFINED) {
        (void)snprintf(len, sizeof(len), "%3" PRIu64, el->len);
    }
    (void)snprintf(tail, sizeof(tail), "%s, %" PRIu64 " %s", len, vm_of(el),
                   entry != NULL ? entry->keyword : "Unknown");
    print_line(v, el->tag, vr_name(el->vr), value, tail);
}

static enum err print_dset(struct view *v, const struct dset *d);

static enum err print_items(struct view *v, const struct elem *el)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; i < el->n_items && rc == ERR_OK; i++) {
        CLEANUP(buf_done) struct buf value;
        buf_init(&value, LIMIT_VALUE);
        buf_fmt(&value, "(Item with %zu elements)", el->items[i]->n);
        v->depth++;
        print_line(v, 0xFFFEE000, "na", &value, "Item");
        v->depth++;
        rc = print_dset(v, el->items[i]);
        v->depth -= 2;
    }
    return rc;
}

/* Fragments are read one by one from the file, whatever their size. */
static enum err print_fragments(struct view *v, const struct elem *el)
{
    uint64_t at = el->offset;
    enum err rc = ERR_OK;
    v->depth++;
    for (;;) {
        uint8_t head[ITEM_HEAD + BINARY_SHOWN];
        size_t  n;
        rc = v->src->read(v->src->ctx, at, head, sizeof(head), &n, v->e);
        struct cur c = cur_of((struct bytes){head, rc == ERR_OK ? n : 0});
        uint32_t   group = cur_u16le(&c), element = cur_u16le(&c), len = cur_u32le(&c);
        if (c.err != ERR_OK || group != TAG_ITEM_GROUP || element != 0xE000) {
            break;
        }
        CLEANUP(buf_done) struct buf value;
        char                         tail[32];
        size_t                       have = cur_left(&c) < len ? cur_left(&c) : len;
        buf_init(&value, LIMIT_VALUE);
        add_binary(&value, VR_OB, cur_bytes(&c, have), len);
        (void)snprintf(tail, sizeof(tail), "%3" PRIu32 ", 1 Item", len);
        print_line(v, 0xFFFEE000, "pi", &value, tail);
        at += (uint64_t)ITEM_HEAD + len;
    }
    v->depth--;
    return rc;
}

/* The value of an element that is no sequence, as text. */
static enum err add_value(const struct view *v, const struct dset *d, const struct elem *el,
                          struct buf *b)
{
    uint8_t      front[BINARY_SHOWN * 8];
    struct bytes raw = el->value;
    if (el->len == 0) {
        buf_str(b, STR("(no value available)"));
        return ERR_OK;
    }
    if (el->left_out && is_vr_string(el->vr)) {
        buf_str(b, STR("(not shown)"));
        return ERR_OK;
    }
    if (el->left_out && v->src != NULL) {
        size_t   want = el->len < sizeof(front) ? (size_t)el->len : sizeof(front), n;
        enum err rc = v->src->read(v->src->ctx, el->offset, front, want, &n, v->e);
        if (rc != ERR_OK) {
            return rc;
        }
        raw = (struct bytes){front, n};
    }
    if (is_vr_string(el->vr)) {
        add_string(b, d, el);
    } else {
        add_binary(b, el->vr, raw, el->len);
    }
    return ERR_OK;
}

static enum err print_dset(struct view *v, const struct dset *d)
{
    enum err rc = ERR_OK;
    for (size_t i = 0; i < d->n && rc == ERR_OK; i++) {
        const struct elem           *el = &d->elems[i];
        CLEANUP(buf_done) struct buf value;
        buf_init(&value, LIMIT_DSET);
        if (el->vr == VR_SQ) {
            buf_fmt(&value, "(Sequence with %s length #=%zu)",
                    el->len == LEN_UNDEFINED ? "undefined" : "explicit", el->n_items);
        } else if (el->encapsulated) {
            buf_str(&value, STR("(PixelSequence)"));
        } else {
            rc = add_value(v, d, el, &value);
        }
        print_elem(v, el, &value);
        if (rc == ERR_OK && el->vr == VR_SQ) {
            rc = print_items(v, el);
        } else if (rc == ERR_OK && el->encapsulated && v->src != NULL) {
            rc = print_fragments(v, el);
        }
    }
    return rc;
}

/* Group 0002 is a small data set of its own. */
static enum err print_meta(struct view *v, const struct part10_meta *m, struct arena *a)
{
    enum { PREAMBLE = 132 };

    size_t   len = m->size > PREAMBLE ? m->size - PREAMBLE : 0, n;
    uint8_t *p = len > 0 ? arena_alloc(a, len, 1) : NULL;
    if (p == NULL) {
        return ERR_OK; // a bare data set
    }
    enum err rc = v->src->read(v->src->ctx, PREAMBLE, p, len, &n, v->e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct parse_opts o = {.lenient = LENIENT_ALL};
    struct dset      *d;
    rc = dset_parse((struct bytes){p, n}, &SYNTAX_EXPLICIT, &o, a, &d, NULL);
    if (rc != ERR_OK) {
        return ERR_OK; // it was understood well enough to read on
    }
    (void)puts("\n# Dicom-Meta-Information-Header");
    return print_dset(v, d);
}

static enum err print_file_json(const struct dset *d, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    struct jsonw                 w;
    struct json_opts             o = {.bulk_prefix = STR("")};
    buf_init(&b, LIMIT_MANIFEST);
    jsonw_init(&w, &b);
    enum err rc = dsjson_write(d, &o, &w, e);
    if (rc == ERR_OK) {
        print_json(&b);
    }
    return rc;
}

static enum err print_file(const char *path, const struct dsrc *src, bool json, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct parse_opts  o = {.lenient = LENIENT_ALL};
    struct part10_meta m;
    struct dset       *d;
    enum err           rc = part10_read(src, &o, &a, &m, &d, e);
    if (rc != ERR_OK || json) {
        return rc == ERR_OK ? print_file_json(d, e) : rc;
    }
    struct view v = {.src = src, .e = e};
    (void)printf("# %s\n", path);
    rc = print_meta(&v, &m, &a);
    (void)printf("\n# Dicom-Data-Set\n# Used TransferSyntax: %s%s\n", m.syntax->name,
                 m.guessed ? " (guessed)" : "");
    /* Deflated values that are not in memory lie nowhere in the file. */
    v.src = m.syntax->deflated ? NULL : src;
    return rc == ERR_OK ? print_dset(&v, d) : rc;
}

static enum err dump_file(const char *path, bool json, struct errmsg *e)
{
    int         fd;
    struct stat st;
    enum err    rc = file_open(path, O_RDONLY | O_CLOEXEC, 0, &fd, e);
    if (rc != ERR_OK) {
        return rc;
    }
    bool        sized = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    struct dsrc src = dsrc_of_fd(&fd, sized ? (uint64_t)st.st_size : UINT64_MAX);
    rc = print_file(path, &src, json, e);
    file_close(&fd);
    return rc;
}

int cmd_dump(int argc, char **argv)
{
    bool             json = false;
    int              n = 0;
    const struct opt opts[] = {{"--json", NULL, &json}};
    if (!opts_parse(argc, argv, opts, 1, &n)) {
        return EXIT_USAGE;
    }
    if (n == 0) {
        return usage("garonne dump FILE… [--json]");
    }
    int result = EXIT_DONE;
    for (int i = 1; i <= n; i++) {
        struct errmsg e = {0};
        if (dump_file(argv[i], json, &e) != ERR_OK) {
            result = fail(&e, argv[i]);
        }
    }
    return result;
}
