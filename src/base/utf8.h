#pragma once
/*
 * UTF-8 at the edge: the one door (with dicom/charset) from bytes to text.  RFC 3629: shortest
 * form, no surrogates, up to U+10FFFF.
 */
#include "base/attr.h"
#include "base/buf.h"

/* The view as text, or false when it is not valid UTF-8. */
bool     utf8_check(struct bytes in, struct str *ret) MUST_USE;
/* Append, with U+FFFD for every byte that is not part of a valid sequence. */
void     utf8_clean(struct buf *out, struct bytes in);
/* Next code point of valid text at *at (moved on); 0 at the end. */
uint32_t utf8_next(struct str s, size_t *at);
void     utf8_add(struct buf *out, uint32_t code);
