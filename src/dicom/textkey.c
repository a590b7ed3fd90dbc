#include "base/utf8.h"
#include "dicom/fold_priv.h"
#include "dicom/match.h"

enum {
    NFD_LEAD = 0x1100, // Hangul: leading consonants, vowels, trailing consonants, syllables
    NFD_VOWEL = 0x1161,
    NFD_TAIL = 0x11A7, // one before the first
    SYLLABLE = 0xAC00,
    N_LEAD = 19,
    N_VOWEL = 21,
    N_TAIL = 28,
    VOICED = 0x3099, // combining kana marks
    HALF_VOICED = 0x309A,
};

/* What was read and is not written yet: blanks and delimiters are dropped when nothing follows. */
struct key {
    struct buf *out;
    bool        names;  // PN: ^ and = are delimiters, hyphens and apostrophes are spaces
    bool        begun;  // the present component or value has a character
    bool        blank;  // a run of spaces is pending
    size_t      carets; // pending
    size_t      equals; // pending
    uint32_t    held;   // last character: the next one may combine with it
};

static uint32_t hangul(uint32_t a, uint32_t b)
{
    if (a >= NFD_LEAD && a < NFD_LEAD + N_LEAD && b >= NFD_VOWEL && b < NFD_VOWEL + N_VOWEL) {
        return SYLLABLE + ((a - NFD_LEAD) * N_VOWEL + (b - NFD_VOWEL)) * N_TAIL;
    }
    bool open =
        a >= SYLLABLE && a < SYLLABLE + N_LEAD * N_VOWEL * N_TAIL && (a - SYLLABLE) % N_TAIL == 0;
    return open && b > NFD_TAIL && b < NFD_TAIL + N_TAIL ? a + (b - NFD_TAIL) : 0;
}

/* Hiragana and a voice mark; the table has made hiragana of katakana already. */
static uint32_t kana(uint32_t a, uint32_t b)
{
    bool ha_row = a >= 0x306F && a <= 0x307B && (a - 0x306F) % 3 == 0;
    if (b == HALF_VOICED) {
        return ha_row ? a + 2 : 0;
    }
    if (a == 0x3046) {
        return 0x3094; // vu
    }
    bool ka_to_chi = a >= 0x304B && a <= 0x3061 && (a & 1) == 1;
    bool tsu_to_to = a >= 0x3064 && a <= 0x3068 && (a & 1) == 0;
    return ha_row || ka_to_chi || tsu_to_to || a == 0x309D ? a + 1 : 0;
}

/* The one character that a and b are together, or 0. */
static uint32_t joined(uint32_t a, uint32_t b)
{
    return b == VOICED || b == HALF_VOICED ? kana(a, b) : hangul(a, b);
}

static void let_go(struct key *k)
{
    if (k->held != 0) {
        utf8_add(k->out, k->held);
        k->held = 0;
    }
}

static void many(struct key *k, size_t *n, uint8_t c)
{
    for (; *n > 0; (*n)--) {
        buf_u8(k->out, c);
    }
}

static void put(struct key *k, uint32_t code)
{
    uint32_t both = k->blank || k->carets + k->equals > 0 ? 0 : joined(k->held, code);
    if (both != 0) {
        k->held = both;
        return;
    }
    let_go(k);
    many(k, &k->equals, '=');
    many(k, &k->carets, '^');
    if (k->blank && k->begun) {
        buf_u8(k->out, ' ');
    }
    k->blank = false;
    k->begun = true;
    k->held = code;
}

/* One folded character. */
static void step(struct key *k, uint32_t code)
{
    if (code == ' ' || (k->names && (code == '-' || code == '\''))) {
        k->blank = true;
    } else if (k->names && (code == '^' || code == '=')) {
        k->blank = false;
        k->begun = false;
        k->carets = code == '^' ? k->carets + 1 : 0; // those at the end of a group say nothing
        k->equals += code == '=' ? 1 : 0;
    } else {
        put(k, code);
    }
}

static void fold(struct key *k, uint32_t code)
{
    uint16_t to = 0;
    if (code < 0x10000) {
        to = fold_page[(size_t)fold_index[code / FOLD_PAGE] * FOLD_PAGE + code % FOLD_PAGE];
    }
    if (to < FOLD_MORE) {
        step(k, to == 0 ? code : to);
        return;
    }
    const uint16_t *more = &fold_more[to - FOLD_MORE];
    for (size_t i = 1; i <= more[0]; i++) {
        step(k, more[i]);
    }
}

void text_key(struct buf *out, enum vr vr, struct str utf8)
{
    struct key k = {.out = out, .names = vr == VR_PN};
    size_t     at = 0;
    while (at < utf8.len) {
        uint32_t code = utf8_next(utf8, &at);
        if (code != 0) { // NUL pads UIDs, and other texts of careless devices
            fold(&k, code);
        }
    }
    let_go(&k);
}

bool has_wildcard(struct str pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] == '*' || pattern.ptr[i] == '?') {
            return true;
        }
    }
    return false;
}

/* Past the character at i. */
static size_t after(struct str s, size_t i)
{
    (void)utf8_next(s, &i);
    return i;
}

bool is_wild_match(struct str pattern, struct str text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, from = 0; // after the last star; where its run may end next
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = ++p;
            from = t;
        } else if (p < pattern.len && pattern.ptr[p] == '?') {
            p++;
            t = after(text, t);
        } else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) { // only the last star needs another try
            from = after(text, from);
            p = star;
            t = from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}
