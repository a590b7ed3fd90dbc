#pragma once
/*
 * The folding table of fold_table.c (made by tools/fold-table.py): two stages, 64 code points a
 * page.  0: the code point folds to itself; from FOLD_MORE on: the rest is an index into fold_more,
 * where a length and that many code points lie (length 0: the character vanishes).
 */
#include <stdint.h>

enum { FOLD_PAGE = 64, FOLD_MORE = 0xE000 };

extern const uint8_t  fold_index[1024];
extern const uint16_t fold_page[];
extern const uint16_t fold_more[];
