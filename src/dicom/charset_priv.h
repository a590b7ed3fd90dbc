#pragma once
/*
 * Code elements of PS3.3 tables C.12-2 to C.12-5 and what a value of (0008,0005) says of them.
 * charset_plan.c reads the terms, charset_set.c turns one code element into Unicode and back,
 * charset.c walks through texts.
 */
#include <iconv.h>

#include "base/buf.h"

enum set {
    SET_NONE,
    SET_ASCII, // G0: ISO-IR 6
    SET_ROMAN, // G0: ISO-IR 14, JIS X 0201 Roman: ASCII but for 5C (yen sign) and 7E (overline)
    SET_KANA,  // G1: ISO-IR 13, JIS X 0201 Katakana
    SET_LATIN1,
    SET_LATIN2,
    SET_LATIN3,
    SET_LATIN4,
    SET_CYRILLIC,
    SET_ARABIC,
    SET_GREEK,
    SET_HEBREW,
    SET_LATIN5,
    SET_THAI,
    SET_LATIN9,
    SET_JIS208, // G0, two bytes: ISO-IR 87
    SET_JIS212, // G0, two bytes: ISO-IR 159
    SET_KS,     // G1, two bytes: ISO-IR 149
    SET_GB,     // G1, two bytes: ISO-IR 58
    SET_UTF8,   // from here on: the whole text, no code extensions
    SET_GB18030,
    SET_GBK,
    SET_SJIS, // no defined term, but found in files
    SET_CP1252,
    SET__COUNT
};

enum { CHARSET_SETS = 12 }; // of one plan; more than any real value names

/* What a text starts with, and what it may switch to. */
struct plan {
    enum set g0, g1;             // in force at the start and after each reset
    enum set alone;              // not SET_NONE: the only set of the text
    enum set also[CHARSET_SETS]; // may be invoked by an escape sequence, in the order of the terms
    size_t   n_also;
    bool     utf8;  // UTF-8 is named beside others, or nothing says what bytes above 7F are
    bool     known; // every term is a defined one or a known misspelling of one
};

void plan_parse(struct bytes specific, struct plan *ret);

/* Conversion descriptors opened on first use, closed by conv_done: one struct a call, so any thread
 * may convert at any time. */
struct conv {
    iconv_t cd[SET__COUNT];
    bool    is_open[SET__COUNT];
    bool    encode;
};

void conv_init(struct conv *c, bool encode);
void conv_done(struct conv *c);

bool       is_set_g0(enum set s);
size_t     set_width(enum set s); // bytes of a character, 1 or 2; 0 for sets that stand alone
/* The escape sequence that designates the set, without the ESC; empty when there is none. */
struct str set_escape(enum set s);
/* The set designated by the escape sequence at p (n bytes, without the ESC); *ret_len its length.
 */
enum set   set_of_escape(struct bytes at, size_t *ret_len, bool *ret_g0);
/* A run of whole characters of one set, as UTF-8; bit 8 of the bytes does not matter in those of
 * two bytes. */
void       set_decode(struct conv *c, enum set s, struct bytes run, struct buf *out);
/* One character, given as code point and in UTF-8; 0 when the set has it not, else its length in
 * ret (bit 8 set for G1). */
size_t set_encode(struct conv *c, enum set s, uint32_t code, struct str character, uint8_t ret[8]);
/* Length of the character at p in a set that stands alone (no more than n, at least 1). */
size_t set_step(enum set s, const uint8_t *p, size_t n);
