#pragma once
/*
 * The generated tables behind tag.h: dict_table.c, made by tools/gen_dict.py at build time from
 * data/dictionary.tsv and data/uids.tsv.  Only tag.c reads them.
 */
#include "dicom/tag.h"

/* Entries with a full tag first, ascending; then those of repeating groups. */
extern const struct dict_entry dict_table[];
extern const size_t            dict_exact_n, dict_n;
/* Tags of the first dict_exact_n entries: a search touches 20 KiB instead of 240. */
extern const uint32_t          dict_tags[];
/* Indices into dict_table in the order of their keywords (bytewise). */
extern const uint16_t          dict_by_keyword[];
extern const size_t            dict_by_keyword_n;

/* Both in bytewise order of the UID. */
extern const struct uid_entry     uid_table[];
extern const size_t               uid_n;
extern const struct syntax *const syntax_table[];
extern const size_t               syntax_n;
