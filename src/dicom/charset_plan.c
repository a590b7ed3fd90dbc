#include "base/num.h"
#include "dicom/charset_priv.h"

enum { TERM = 24 }; // longest term worth reading, folded

struct term {
    uint32_t ir; // ISO-IR number; 0: none
    enum set g0, g1, alone;
};

static const struct term numbered[] = {
    {6, SET_ASCII, SET_NONE, SET_NONE},       {13, SET_ROMAN, SET_KANA, SET_NONE},
    {14, SET_ROMAN, SET_NONE, SET_NONE},      {58, SET_ASCII, SET_GB, SET_NONE},
    {87, SET_JIS208, SET_NONE, SET_NONE},     {100, SET_ASCII, SET_LATIN1, SET_NONE},
    {101, SET_ASCII, SET_LATIN2, SET_NONE},   {109, SET_ASCII, SET_LATIN3, SET_NONE},
    {110, SET_ASCII, SET_LATIN4, SET_NONE},   {126, SET_ASCII, SET_GREEK, SET_NONE},
    {127, SET_ASCII, SET_ARABIC, SET_NONE},   {138, SET_ASCII, SET_HEBREW, SET_NONE},
    {144, SET_ASCII, SET_CYRILLIC, SET_NONE}, {148, SET_ASCII, SET_LATIN5, SET_NONE},
    {149, SET_ASCII, SET_KS, SET_NONE},       {159, SET_JIS212, SET_NONE, SET_NONE},
    {166, SET_ASCII, SET_THAI, SET_NONE},     {192, SET_NONE, SET_NONE, SET_UTF8},
    {203, SET_ASCII, SET_LATIN9, SET_NONE},
};

/* Folded names that are no ISO-IR number: two defined terms, and what else is met in files. */
static const struct {
    const char *name;
    uint32_t    ir;
    enum set    alone;
} named[] = {
    {"GB18030", 0, SET_GB18030},    {"GBK", 0, SET_GBK},
    {"GB2312", 0, SET_GBK},         {"UTF8", 192, SET_NONE},
    {"ASCII", 6, SET_NONE},         {"USASCII", 6, SET_NONE},
    {"LATIN1", 100, SET_NONE},      {"ISO88591", 100, SET_NONE},
    {"ISO88592", 101, SET_NONE},    {"ISO88593", 109, SET_NONE},
    {"ISO88594", 110, SET_NONE},    {"ISO88595", 144, SET_NONE},
    {"ISO88596", 127, SET_NONE},    {"ISO88597", 126, SET_NONE},
    {"ISO88598", 138, SET_NONE},    {"ISO88599", 148, SET_NONE},
    {"ISO885911", 166, SET_NONE},   {"ISO885915", 203, SET_NONE},
    {"LATIN9", 203, SET_NONE},      {"EUCKR", 149, SET_NONE},
    {"SHIFTJIS", 0, SET_SJIS},      {"SJIS", 0, SET_SJIS},
    {"WINDOWS1252", 0, SET_CP1252}, {"CP1252", 0, SET_CP1252},
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Letters and digits only, letters as capitals: "ISO-IR 100" and "iso_ir100" are the same. */
static struct str fold(struct bytes raw, char room[TERM])
{
    size_t n = 0;
    for (size_t i = 0; i < raw.len && n < TERM; i++) {
        uint8_t c = raw.ptr[i];
        if (c >= 'a' && c <= 'z') {
            room[n++] = (char)(c - 'a' + 'A');
        } else if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
            room[n++] = (char)c;
        }
    }
    return (struct str){room, n};
}

static bool find_number(uint32_t ir, struct term *ret)
{
    for (size_t i = 0; i < LEN(numbered); i++) {
        if (numbered[i].ir == ir) {
            *ret = numbered[i];
            return true;
        }
    }
    return false;
}

static bool find_term(struct str t, struct term *ret)
{
    for (size_t i = 0; i < LEN(named); i++) {
        if (str_eq(t, str_of(named[i].name))) {
            *ret = (struct term){.alone = named[i].alone};
            return named[i].ir == 0 || find_number(named[i].ir, ret);
        }
    }
    static const struct str prefixes[] = {
        {"ISO2022IR", 9}, {"ISO2022", 7}, {"ISOIR", 5}, {"ISO", 3}, {"IR", 2}};
    for (size_t i = 0; i < LEN(prefixes); i++) {
        struct str p = prefixes[i];
        uint32_t   ir;
        if (t.len > p.len && memcmp(t.ptr, p.ptr, p.len) == 0 &&
            parse_u32((struct str){t.ptr + p.len, t.len - p.len}, &ir)) {
            return find_number(ir, ret);
        }
    }
    return false;
}

static void add_set(struct plan *p, enum set s)
{
    for (size_t i = 0; i < p->n_also; i++) {
        if (p->also[i] == s) {
            return;
        }
    }
    if (s != SET_NONE && p->n_also < CHARSET_SETS) {
        p->also[p->n_also++] = s;
    }
}

static void add_term(struct plan *p, size_t index, struct bytes raw)
{
    char        room[TERM];
    struct str  text = fold(raw, room);
    struct term t = {.g0 = SET_ASCII};
    bool        known = text.len == 0 || find_term(text, &t);
    p->known = p->known && known;
    p->utf8 = p->utf8 || !known || t.alone == SET_UTF8;
    if (index == 0) {
        p->alone = t.alone;
        /* The sets of two bytes in G0 always wait for their escape sequence. */
        p->g0 = set_width(t.g0) == 1 ? t.g0 : SET_ASCII;
        p->g1 = t.g1;
    }
    add_set(p, t.g0);
    add_set(p, t.g1);
}

void plan_parse(struct bytes specific, struct plan *ret)
{
    *ret = (struct plan){.g0 = SET_ASCII, .known = true};
    size_t index = 0;
    size_t start = 0;
    for (size_t i = 0; i <= specific.len; i++) {
        if (i == specific.len || specific.ptr[i] == '\\') {
            add_term(ret, index++, (struct bytes){specific.ptr + start, i - start});
            start = i + 1;
        }
    }
    bool silent = true; // nothing named says what bytes above 7F are
    for (size_t i = 0; i < ret->n_also; i++) {
        silent = silent && is_set_g0(ret->also[i]);
    }
    ret->utf8 = ret->utf8 || silent;
}
