#pragma once
/*
 * Specific Character Set (0008,0005), PS3.3 C.12.1.1.2 and PS3.5 chapter 6: single-byte sets, ISO
 * 2022 code extensions, UTF-8, GB18030, GBK.  The one door between raw text values and struct str.
 *
 * specific: raw value of (0008,0005), backslash separated, padding allowed; empty is ISO_IR 6.
 * Unknown terms are treated as ISO_IR 6 with bytes above 0x7F read as UTF-8 when they are, else ISO
 * 8859-1 (real files do both); common misspellings
 * ("ISO IR 100", "ISO-IR 100", "UTF8", "ISO 2022 IR 100" alone …) are understood.
 */
#include "base/buf.h"
#include "dicom/tag.h"

/* Append the text as UTF-8.  vr decides where ISO 2022 resets (PN: ^ =, others: \, control
 * characters). Bytes that mean nothing become U+FFFD; never fails but for the buffer's limit. */
void charset_decode(struct bytes specific, enum vr vr, struct bytes in, struct buf *out);
/* Append utf8 encoded; what the set cannot say becomes '?', and false is returned. */
bool charset_encode(struct bytes specific, enum vr vr, struct str utf8, struct buf *out);
bool is_charset_known(struct bytes specific);
