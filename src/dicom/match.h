#pragma once
/*
 * Attribute matching, PS3.4 C.2.2.2: the one place that decides whether a candidate answers a
 * query, at every level, for C-FIND, QIDO-RS and worklists.  Pure; any thread.
 *
 *   universal      zero length, only stars, "-" alone for dates and times (C.2.2.2.3)
 *   single value   UI exact; IS and DS as numbers (so "+7" is "007"); binary numbers as numbers;
 *                  texts exact after trimming; PN case- and accent-insensitive, any group
 *   wildcard       * and ? for AE CS LO LT PN SH ST UC UR UT; case counts except in PN
 *   range          DA TM DT with '-'; a value that is not precise stands for its whole span in the
 *                  query ("10" is all times from 10:00 to 10:59:59.999999) and for its first
 *                  instant in the candidate; combined pairs (C.2.2.2.5) and zones (0008,0201)
 *   list of UID    backslash separated; other keys with several values match when one value does
 *   multi-valued   a candidate matches when any of its values does
 *   sequence       one item of keys, all of which must match the same item of the candidate
 *
 * Not keys, so never compared: (0008,0005), Query/Retrieve Level and View, (0008,0201), group
 * lengths, private creators.  Private keys are looked for in the block of the same creator.
 */
#include "dicom/dset.h"

struct match_opts {
    int16_t zone_minutes; // the node's, east of UTC: of queries and candidates without (0008,0201)
    bool    combined; // date+time pairs combine (C-FIND extended negotiation byte 2, QIDO always)
    bool    all;      // of several values of a key every one must match (C.2.2.2.8), else any
    bool    empty;    // the key "" (two quotation marks) asks for no value (C.2.2.2.7)
    bool    unknown;  // a candidate without value matches every key (C.2.2.1.2), else none
    bool    fold;     // all texts, not only names, without regard to case and accents
    bool    words;    // names: each word of the key begins a word of the name, in any order and any
                      // group (fuzzymatching of PS3.18 8.3.4.2)
};

bool is_match(const struct dset *query, const struct dset *candidate, const struct match_opts *o);
bool is_match_elem(const struct dset *query, const struct elem *key, const struct dset *candidate,
                   const struct match_opts *o);
/* true when the key asks for anything (zero length, "*", empty sequence item …). */
bool is_universal(const struct dset *query, const struct elem *key);

/*
 * One DA, TM or DT value, or a range of them, as first and last instant in microseconds: DA since
 * 1970 at the place, DT since 1970 in UTC (zone_minutes being that of values that name none), TM
 * since midnight at the place.  Open ends are INT64_MIN and INT64_MAX.  Old forms (YYYY.MM.DD,
 * HH:MM:SS) and partial ones (2024, 202407, 10) are taken.  false: not a date or time.
 */
struct span {
    int64_t lo, hi; // lo > hi: nothing is between
    bool    range;  // it had a '-'
};

bool span_parse(enum vr vr, struct str text, int16_t zone_minutes, struct span *ret);
/* "+0100" of (0008,0201) as minutes east of UTC; false when it is not one. */
bool zone_parse(struct str text, int16_t *ret);

/*
 * Normalised key of a text for search columns and comparison: case and accents folded, ligatures
 * split, full width made narrow, katakana made hiragana, runs of spaces made one, leading and
 * trailing spaces dropped; wildcards kept.  For PN hyphens and apostrophes are spaces, trailing ^
 * of a group and trailing = are dropped, and the three groups (alphabetic=ideographic=phonetic) are
 * kept, joined by '='.  The same function makes the key of the stored value and of the pattern.
 */
void text_key(struct buf *out, enum vr vr, struct str utf8);
/* '*' and '?' on UTF-8 text, '?' being one character.  Linear in practice: only the last star is
 * ever tried again. */
bool is_wild_match(struct str pattern, struct str text);
bool has_wildcard(struct str pattern);
