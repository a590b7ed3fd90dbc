#pragma once
/*
 * Inside of struct dset, for the files that build and write one.
 */
#include "dicom/dset.h"

/* The element of this tag, emptied; made when absent.  NULL when the arena is full.  Valid until
 * the next slot of the same data set. */
struct elem *dset_slot(struct dset *d, uint32_t tag);
/* Append an empty item.  NULL when the arena is full. */
struct dset *dset_add_item(struct dset *d, struct elem *seq);
/* Byte order of every whole unit of n bytes turned round. */
void         swap_units(uint8_t *p, size_t n, size_t unit);

/* PS3.5 6.2: character values are padded with a space, UIDs and all others with NUL. */
uint8_t vr_pad(enum vr vr);

/*
 * Headers as a syntax writes them.  A value too long for the 16-bit length of its VR goes as UN
 * (PS3.5 6.2.2 note 2); LEN32_UNDEFINED is undefined length.
 */
#define LEN32_UNDEFINED 0xFFFFFFFFU

enum vr vr_written(const struct syntax *s, enum vr vr, uint32_t len);
void    head_write(struct buf *b, const struct syntax *s, uint32_t tag, enum vr vr, uint32_t len);
/* Item and delimiters, (FFFE,xxxx). */
void    delim_write(struct buf *b, const struct syntax *s, uint32_t tag, uint32_t len);

#define TAG_ITEM     0xFFFEE000U
#define TAG_ITEM_END 0xFFFEE00DU
#define TAG_SEQ_END  0xFFFEE0DDU
