#include <errno.h>

#include "base/utf8.h"
#include "dicom/charset_priv.h"

enum { REPLACEMENT = 0xFFFD, RUN = 64 }; // RUN: characters of two bytes converted at a time

struct set_info {
    const char *iconv;  // its name; NULL: converted here
    const char *escape; // PS3.3 tables C.12-3 and C.12-4, without the ESC
    bool        g0;
    uint8_t     width; // bytes of a character; 0: stands alone
};

static const struct set_info sets[SET__COUNT] = {
    [SET_NONE] = {NULL, "", false, 1},
    [SET_ASCII] = {NULL, "(B", true, 1},
    [SET_ROMAN] = {NULL, "(J", true, 1},
    [SET_KANA] = {NULL, ")I", false, 1},
    [SET_LATIN1] = {NULL, "-A", false, 1},
    [SET_LATIN2] = {"ISO-8859-2", "-B", false, 1},
    [SET_LATIN3] = {"ISO-8859-3", "-C", false, 1},
    [SET_LATIN4] = {"ISO-8859-4", "-D", false, 1},
    [SET_CYRILLIC] = {"ISO-8859-5", "-L", false, 1},
    [SET_ARABIC] = {"ISO-8859-6", "-G", false, 1},
    [SET_GREEK] = {"ISO-8859-7", "-F", false, 1},
    [SET_HEBREW] = {"ISO-8859-8", "-H", false, 1},
    [SET_LATIN5] = {"ISO-8859-9", "-M", false, 1},
    [SET_THAI] = {"ISO-8859-11", "-T", false, 1},
    [SET_LATIN9] = {"ISO-8859-15", "-b", false, 1},
    [SET_JIS208] = {"EUC-JP", "$B", true, 2},
    [SET_JIS212] = {"EUC-JP", "$(D", true, 2},
    [SET_KS] = {"EUC-KR", "$)C", false, 2},
    [SET_GB] = {"GB2312", "$)A", false, 2},
    [SET_UTF8] = {NULL, "", false, 0},
    [SET_GB18030] = {"GB18030", "", false, 0},
    [SET_GBK] = {"GBK", "", false, 0},
    [SET_SJIS] = {"CP932", "", false, 0},
    [SET_CP1252] = {NULL, "", false, 0},
};

/* Not in the standard, but sent: the 1978 JIS, and one-sided designations of the other sets. */
static const struct {
    const char *escape;
    enum set    set;
    bool        g0;
} foreign[] = {
    {"$@", SET_JIS208, true}, {"$(B", SET_JIS208, true}, {"$(C", SET_KS, true},
    {"$(A", SET_GB, true},    {"$A", SET_GB, true},      {"(I", SET_KANA, true},
};

void conv_init(struct conv *c, bool encode)
{
    memset(c->is_open, 0, sizeof(c->is_open));
    c->encode = encode;
}

/* Not so when the C library lacks the set (its extra gconv modules are not installed). */
static bool is_usable(iconv_t cd)
{
    return (intptr_t)cd != -1;
}

void conv_done(struct conv *c)
{
    for (size_t i = 0; i < SET__COUNT; i++) {
        if (c->is_open[i] && is_usable(c->cd[i])) {
            (void)iconv_close(c->cd[i]);
        }
    }
}

static iconv_t conv_get(struct conv *c, enum set s)
{
    if (!c->is_open[s]) {
        c->cd[s] =
            c->encode ? iconv_open(sets[s].iconv, "UTF-8") : iconv_open("UTF-8", sets[s].iconv);
        c->is_open[s] = true;
    }
    return c->cd[s];
}

bool is_set_g0(enum set s)
{
    return sets[s].g0;
}

size_t set_width(enum set s)
{
    return sets[s].width;
}

struct str set_escape(enum set s)
{
    return str_of(sets[s].escape);
}

static bool begins(struct bytes at, const char *with)
{
    size_t n = strlen(with);
    return n > 0 && at.len >= n && memcmp(at.ptr, with, n) == 0;
}

enum set set_of_escape(struct bytes at, size_t *ret_len, bool *ret_g0)
{
    for (size_t i = 0; i < SET__COUNT; i++) {
        if (begins(at, sets[i].escape)) {
            *ret_len = strlen(sets[i].escape);
            *ret_g0 = sets[i].g0;
            return (enum set)i;
        }
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (begins(at, foreign[i].escape)) {
            *ret_len = strlen(foreign[i].escape);
            *ret_g0 = foreign[i].g0;
            return foreign[i].set;
        }
    }
    return SET_NONE;
}

/* Windows-1252 where ISO 8859-1 has nothing to show (80 to 9F): writers that say ISO_IR 100 and
 * mean the code page of their Windows are common. */
static uint32_t latin1(uint8_t b)
{
    static const uint16_t c1[32] = {0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                    0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0xFFFD, 0x017D, 0xFFFD,
                                    0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                    0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178};
    return b >= 0x80 && b < 0xA0 ? c1[b - 0x80] : b;
}

/* skip: bytes to leave out for each that mean nothing. */
static void run_iconv(struct conv *c, enum set s, struct bytes run, size_t skip, struct buf *out)
{
    iconv_t cd = conv_get(c, s);
    char   *in = (char *)run.ptr; // iconv does not write there, for all its prototype
    size_t  left = run.len;
    while (left > 0 && out->err == ERR_OK) {
        char   room[512];
        char  *to = room;
        size_t to_left = sizeof(room);
        size_t rc = (size_t)-1;
        errno = EILSEQ;
        if (is_usable(cd)) {
            rc = iconv(cd, &in, &left, &to, &to_left);
        }
        int why = errno;
        buf_add(out, (struct bytes){(const uint8_t *)room, sizeof(room) - to_left});
        if (rc == (size_t)-1 && why != E2BIG) {
            utf8_add(out, REPLACEMENT);
            size_t n = skip < left ? skip : left;
            in += n;
            left -= n;
            if (is_usable(cd)) {
                (void)iconv(cd, NULL, NULL, NULL, NULL);
            }
        }
    }
}

/* Sets of two bytes by way of the EUC encoding that holds them. */
static void decode_pairs(struct conv *c, enum set s, struct bytes run, struct buf *out)
{
    size_t width = s == SET_JIS212 ? 3 : 2;
    for (size_t i = 0; i + 1 < run.len;) {
        uint8_t euc[3 * RUN];
        size_t  n = 0;
        for (; i + 1 < run.len && n + width <= sizeof(euc); i += 2) {
            if (width == 3) {
                euc[n++] = 0x8F;
            }
            euc[n++] = run.ptr[i] | 0x80;
            euc[n++] = run.ptr[i + 1] | 0x80;
        }
        run_iconv(c, s, (struct bytes){euc, n}, width, out);
    }
}

static uint32_t decode_byte(enum set s, uint8_t b)
{
    switch ((int)s) {
    case SET_ASCII:
    case SET_ROMAN:
        return s == SET_ROMAN && b == 0x5C   ? 0xA5
               : s == SET_ROMAN && b == 0x7E ? 0x203E
               : b < 0x80                    ? b
                                             : REPLACEMENT;
    case SET_KANA:
        b |= 0x80; // also seen in G0
        return b >= 0xA1 && b <= 0xDF ? 0xFF61U + (b - 0xA1U) : REPLACEMENT;
    case SET_LATIN1:
    case SET_CP1252: return latin1(b);
    default: return REPLACEMENT;
    }
}

void set_decode(struct conv *c, enum set s, struct bytes run, struct buf *out)
{
    if (s == SET_UTF8) {
        utf8_clean(out, run);
    } else if (s == SET_ASCII) {
        buf_add(out, run);
    } else if (sets[s].iconv == NULL) {
        for (size_t i = 0; i < run.len; i++) {
            utf8_add(out, decode_byte(s, run.ptr[i]));
        }
    } else if (sets[s].width == 2) {
        decode_pairs(c, s, run, out);
    } else {
        run_iconv(c, s, run, 1, out);
    }
}

static size_t encode_byte(enum set s, uint32_t code, uint8_t *ret)
{
    unsigned first = s == SET_ROMAN || s == SET_CP1252 ? 0 : 0xA0;
    if (code >= first && code < 0x100 && decode_byte(s, (uint8_t)code) == code) {
        *ret = (uint8_t)code; // most are where Unicode has them
        return 1;
    }
    for (unsigned b = first; b < 0x100; b++) {
        if (decode_byte(s, (uint8_t)b) == code && code != REPLACEMENT) {
            *ret = (uint8_t)b;
            return 1;
        }
    }
    return 0;
}

static size_t encode_iconv(struct conv *c, enum set s, struct str character, uint8_t ret[8])
{
    iconv_t cd = conv_get(c, s);
    if (!is_usable(cd)) {
        return 0;
    }
    char  *in = (char *)character.ptr; // not written to
    char  *to = (char *)ret;
    size_t left = character.len;
    size_t room = 8;
    if (iconv(cd, &in, &left, &to, &room) != 0) { // also when it made up a likeness
        (void)iconv(cd, NULL, NULL, NULL, NULL);
        return 0;
    }
    size_t n = 8 - room;
    switch ((int)s) {
    case SET_JIS208:
    case SET_KS:
    case SET_GB: return n == 2 && ret[0] >= 0xA1 && ret[1] >= 0xA1 ? 2 : 0;
    case SET_JIS212: // single shift 3 in front
        if (n != 3 || ret[0] != 0x8F) {
            return 0;
        }
        memmove(ret, ret + 1, 2);
        return 2;
    default: return sets[s].width == 1 && (n != 1 || ret[0] < 0xA0) ? 0 : n;
    }
}

size_t set_encode(struct conv *c, enum set s, uint32_t code, struct str character, uint8_t ret[8])
{
    size_t n;
    if (s == SET_NONE) {
        n = 0;
    } else if (s == SET_ASCII) {
        ret[0] = (uint8_t)code;
        n = code < 0x80 ? 1 : 0;
    } else if (sets[s].iconv == NULL) {
        n = encode_byte(s, code, ret);
    } else {
        n = encode_iconv(c, s, character, ret);
        if (n == 1 && ret[0] < 0x80 && code >= 0x80) {
            n = 0; // code pages with a yen sign at 5C: it would be read as a delimiter
        }
    }
    for (size_t i = 0; i < n && sets[s].g0; i++) {
        ret[i] &= 0x7F;
    }
    return n;
}

size_t set_step(enum set s, const uint8_t *p, size_t n)
{
    size_t want = 1;
    if (s == SET_GB18030 || s == SET_GBK) {
        bool lead = p[0] >= 0x81 && p[0] <= 0xFE && n > 1;
        if (lead && s == SET_GB18030 && p[1] >= '0' && p[1] <= '9') {
            want = 4;
        } else if (lead && p[1] >= 0x40 && p[1] != 0x7F && p[1] != 0xFF) {
            want = 2;
        }
    } else if (s == SET_SJIS) {
        bool lead = (p[0] >= 0x81 && p[0] <= 0x9F) || (p[0] >= 0xE0 && p[0] <= 0xFC);
        want = lead && n > 1 && p[1] >= 0x40 && p[1] != 0x7F && p[1] <= 0xFC ? 2 : 1;
    }
    return want <= n ? want : 1;
}
