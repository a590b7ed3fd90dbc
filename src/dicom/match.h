#pragma once
/*
 * Attribute matching, PS3.4 C.2.2.2: the one place that decides whether a candidate answers a
 * query, at every level, for C-FIND and (later) QIDO-RS and worklists.  Pure.
 *
 *   single value   UI exact, others after trimming; PN, LO, SH, ST, LT, CS case: PN always case-
 * and accent-insensitive wildcard       * and ? for AE CS LO LT PN SH ST UC UR UT range          DA
 * TM DT with '-', combined date-time with the pair rule (C.2.2.2.5.x), time zones (0008,0201) list
 * of UID    backslash separated; multiple values for others when opts say so (C.2.2.2.8 and later)
 *   universal      zero length or "*" alone
 *   sequence       one item of keys; zero length item: universal
 *   multi-valued   candidate matches when any of its values does
 */
#include "dicom/dset.h"

struct match_opts {
    int16_t
         zone_minutes; // of dates and times in the query: (0008,0201) of the query, else the node's
    bool combined;     // date+time pairs combine (C-FIND extended negotiation byte 2, QIDO always)
};

bool is_match(const struct dset *query, const struct dset *candidate, const struct match_opts *o);
bool is_match_elem(const struct dset *query, const struct elem *key, const struct dset *candidate,
                   const struct match_opts *o);
/* true when the key asks for anything (zero length, "*", empty sequence item …). */
bool is_universal(const struct dset *query, const struct elem *key);

/*
 * Normalised key of a text for search columns and comparison: case and accents folded, ligatures
 * split, runs of spaces made one, trailing ^ and spaces dropped; wildcards kept.  For PN the three
 * groups (alphabetic=ideographic=phonetic) are kept, joined by '='.  The same function makes the
 * key of the stored value and of the pattern.
 */
void text_key(struct buf *out, enum vr vr, struct str utf8);
/* '*' and '?' on UTF-8 text, '?' being one character. Linear in practice (no exponential
 * backtracking). */
bool is_wild_match(struct str pattern, struct str text);
bool has_wildcard(struct str pattern);
