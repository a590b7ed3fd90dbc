#include "pack/tar.h"

#include <stdio.h>

#include "base/num.h"

/* IEEE 1003.1 pax, "ustar Interchange Format": where the fields lie. */
enum {
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_CHECKSUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_GNAME = 297,
    AT_MAJOR = 329,
    AT_MINOR = 337,
    LEN_ID = 8,
    LEN_SIZE = 12,
    LEN_GNAME = 32,
};

static const uint64_t OCTAL_MAX = 077777777777; // eleven digits: 8 GiB less one

static const uint8_t MAGIC[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};

/* Digits and a NUL that fill the field. */
static void put_octal(uint8_t *field, size_t len, uint64_t v)
{
    field[len - 1] = 0;
    for (size_t i = len - 1; i > 0; i--, v >>= 3) {
        field[i - 1] = (uint8_t)('0' + (v & 7));
    }
}

static void put_size(uint8_t field[LEN_SIZE], uint64_t v)
{
    if (v <= OCTAL_MAX) {
        put_octal(field, LEN_SIZE, v);
        return;
    }
    field[0] = 0x80;
    for (size_t i = LEN_SIZE; i > 1; i--, v >>= 8) {
        field[i - 1] = (uint8_t)v;
    }
}

static uint32_t checksum(const uint8_t block[TAR_BLOCK])
{
    uint32_t sum = 8 * ' '; // the field itself counts as spaces
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += i >= AT_CHECKSUM && i < AT_CHECKSUM + 8 ? 0U : block[i];
    }
    return sum;
}

static uint64_t clamp_time(int64_t t)
{
    if (t < 0) {
        return 0;
    }
    return (uint64_t)t < OCTAL_MAX ? (uint64_t)t : OCTAL_MAX;
}

void tar_header_write(const struct tar_member *m, uint8_t ret[TAR_BLOCK])
{
    memset(ret, 0, TAR_BLOCK);
    memcpy(ret, m->name, strnlen(m->name, TAR_NAME));
    put_octal(ret + AT_MODE, LEN_ID, 0644);
    put_octal(ret + AT_UID, LEN_ID, 0);
    put_octal(ret + AT_GID, LEN_ID, 0);
    put_size(ret + AT_SIZE, m->size);
    put_octal(ret + AT_MTIME, LEN_SIZE, clamp_time(m->mtime));
    ret[AT_TYPE] = (uint8_t)m->type;
    memcpy(ret + AT_MAGIC, MAGIC, sizeof(MAGIC));
    if (m->hash != 0) {
        (void)snprintf((char *)ret + AT_GNAME, LEN_GNAME, "x%016llx", (unsigned long long)m->hash);
    }
    put_octal(ret + AT_MAJOR, LEN_ID, 0);
    put_octal(ret + AT_MINOR, LEN_ID, 0);
    put_octal(ret + AT_CHECKSUM, 7, checksum(ret));
    ret[AT_CHECKSUM + 7] = ' ';
}

/* A field of text: up to its first NUL. */
static struct str text_field(const uint8_t *field, size_t len)
{
    return (struct str){(const char *)field, strnlen((const char *)field, len)};
}

static bool get_octal(const uint8_t *field, size_t len, uint64_t *ret)
{
    struct str s = text_field(field, len);
    while (s.len > 0 && s.ptr[s.len - 1] == ' ') {
        s.len--;
    }
    return parse_u64_base(s, 8, ret);
}

static bool get_size(const uint8_t field[LEN_SIZE], uint64_t *ret)
{
    if (field[0] != 0x80) {
        return get_octal(field, LEN_SIZE, ret);
    }
    uint64_t v = 0;
    for (size_t i = 1; i < LEN_SIZE; i++) {
        if (i < LEN_SIZE - 8 && field[i] != 0) {
            return false;
        }
        v = v << 8 | field[i];
    }
    *ret = v;
    return v <= INT64_MAX;
}

static uint64_t get_hash(const uint8_t gname[LEN_GNAME])
{
    struct str s = text_field(gname, LEN_GNAME);
    uint64_t   v = 0;
    return s.len == 17 && s.ptr[0] == 'x' && parse_u64_base((struct str){s.ptr + 1, 16}, 16, &v)
               ? v
               : 0;
}

bool is_tar_zero(struct bytes b)
{
    return b.len == 0 || (b.ptr[0] == 0 && memcmp(b.ptr, b.ptr + 1, b.len - 1) == 0);
}

bool is_tar_magic(const uint8_t block[TAR_BLOCK])
{
    return memcmp(block + AT_MAGIC, MAGIC, sizeof(MAGIC)) == 0;
}

enum err tar_header_parse(const uint8_t block[TAR_BLOCK], struct tar_member *ret, struct errmsg *e)
{
    uint64_t size, sum, mtime;
    if (is_tar_zero((struct bytes){block, TAR_BLOCK})) {
        return err_set(e, ERR_NOTFOUND, "end of archive");
    }
    if (!is_tar_magic(block)) {
        return err_set(e, ERR_SYNTAX, "no tar header");
    }
    if (!get_octal(block + AT_CHECKSUM, 8, &sum) || sum != checksum(block)) {
        return err_set(e, ERR_SYNTAX, "tar header with a wrong checksum");
    }
    if (!get_size(block + AT_SIZE, &size) || !get_octal(block + AT_MTIME, LEN_SIZE, &mtime)) {
        return err_set(e, ERR_SYNTAX, "tar header with a bad size or time");
    }
    *ret = (struct tar_member){
        .type = (char)block[AT_TYPE],
        .size = size,
        .mtime = (int64_t)(mtime < OCTAL_MAX ? mtime : OCTAL_MAX),
        .hash = get_hash(block + AT_GNAME),
    };
    struct str name = text_field(block, TAR_NAME);
    memcpy(ret->name, name.ptr, name.len);
    return ERR_OK;
}

uint64_t tar_padded(uint64_t size)
{
    return size > UINT64_MAX - TAR_BLOCK ? UINT64_MAX / TAR_BLOCK * TAR_BLOCK
                                         : (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

static size_t digits(size_t n)
{
    size_t d = 1;
    for (; n >= 10; n /= 10) {
        d++;
    }
    return d;
}

void pax_record_write(struct buf *out, struct str key, struct str value)
{
    /* The length counts its own digits: adding them can take one more. */
    size_t body = key.len + value.len + 3;
    size_t len = body + digits(body);
    len = body + digits(len);
    buf_fmt(out, "%zu ", len);
    buf_str(out, key);
    buf_u8(out, '=');
    buf_str(out, value);
    buf_u8(out, '\n');
}

enum err pax_record_next(struct bytes *in, struct str *ret_key, struct str *ret_value,
                         struct errmsg *e)
{
    const char *p = (const char *)in->ptr;
    size_t      d = 0;
    uint64_t    len;
    while (d < in->len && d < 20 && p[d] != ' ') {
        d++;
    }
    if (d == in->len || !parse_u64((struct str){p, d}, &len) || len > in->len || len < d + 4 ||
        p[len - 1] != '\n') {
        return err_set(e, ERR_SYNTAX, "broken pax record");
    }
    struct str  record = {p + d + 1, (size_t)len - d - 2};
    const char *eq = memchr(record.ptr, '=', record.len);
    if (eq == NULL || eq == record.ptr) {
        return err_set(e, ERR_SYNTAX, "pax record without a key");
    }
    *ret_key = (struct str){record.ptr, (size_t)(eq - record.ptr)};
    *ret_value = (struct str){eq + 1, record.len - ret_key->len - 1};
    *in = (struct bytes){in->ptr + len, in->len - (size_t)len};
    return ERR_OK;
}
