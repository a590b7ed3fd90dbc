#pragma once
/*
 * Specific Character Set (0008,0005), PS3.3 C.12.1.1.2 and PS3.5 chapter 6: single-byte sets, ISO
 * 2022 code extensions, UTF-8, GB18030, GBK.  The one door between raw text values and struct str.
 *
 * specific: raw value of (0008,0005), backslash separated, padding allowed; empty is ISO_IR 6.
 * Leniencies, all of which real files need: misspelled terms ("ISO IR 100", "iso_ir100", "UTF8",
 * "ISO 2022 IR 100" alone, "GB2312" ...) are understood.  Where nothing says what bytes above 7F
 * are (ISO_IR 6, an unknown term, UTF-8 named beside another), each run of them is UTF-8 when it
 * can be, else Windows-1252. Under ISO_IR 100 the bytes 80 to 9F are Windows-1252.  A set of two
 * bytes need not be designated again after a delimiter when it is the only one that bytes above 7F
 * can be.
 *
 * In ISO-IR 14 (the G0 half of ISO_IR 13) 5C is the yen sign in ST, LT and UT, and the delimiter of
 * values elsewhere, where no yen sign can be written; 7E is the overline.
 *
 * Pure; any thread; no locale.  The sets of the C library's iconv are needed (Debian 12: in libc6;
 * later: libc-gconv-modules-extra); without them their characters become U+FFFD.
 */
#include "base/buf.h"
#include "dicom/tag.h"

/* Append the text as UTF-8.  vr decides where ISO 2022 resets (PN: ^ =, all but ST LT UT: \,
 * everywhere: control characters).  Bytes that mean nothing become U+FFFD; never fails but for the
 * buffer's limit.  A backslash in the result is a delimiter of values, none is part of another
 * character: decode first, then split. */
void charset_decode(struct bytes specific, enum vr vr, struct bytes in, struct buf *out);
/* Append utf8 encoded; what the set cannot say becomes '?', and false is returned.  Where bytes
 * above 7F are first tried as UTF-8 (see above), a text that would be read as another one counts as
 * not sayable: its characters above 7F become '?'. */
bool charset_encode(struct bytes specific, enum vr vr, struct str utf8, struct buf *out);
/* Every term is a defined one or a misspelling that is understood. */
bool is_charset_known(struct bytes specific);

/* The raw values of a text, one a call, where a byte 5C may be half of a character (ISO 2022 IR 87
 * and 159, GB18030, GBK): false after the last.  *at starts as 0.  ST, LT and UT are one value; an
 * empty text has none. */
bool charset_next(struct bytes specific, enum vr vr, struct bytes in, size_t *at,
                  struct bytes *ret_value);
