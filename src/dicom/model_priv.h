#pragma once
/*
 * What the JSON model (PS3.18 F) and the Native model in XML (PS3.19 A.1) have in common: what is
 * text, number or bytes, and how each is said in characters.  Pure.
 */
#include "base/buf.h"
#include "dicom/dset.h"

/* ASCII without escape sequences: the same in every character set. */
bool       model_is_plain(struct bytes v);
/* Some text is not plain, so that (0008,0005) must say UTF-8. */
bool       model_has_wide(const struct dset *d);
/* The values of a text element in UTF-8, backslashes between; a view of the element or of scratch.
 */
struct str model_text(const struct dset *d, const struct elem *el, struct buf *scratch);
struct str model_trim_end(struct str s); // blanks and NUL that pad
struct str model_trim(struct str s);
bool       model_is_nameless(struct str s); // a name of '=' and blanks
bool       model_is_single(enum vr vr);     // a text in which a backslash is a backslash
/* Said by reference: too long, in fragments, or not here. */
bool       model_is_bulk(const struct elem *el, size_t inline_max);

/* Bytes of one number; 0 for VRs that are not arrays of numbers. */
size_t model_number_size(enum vr vr);
bool   model_whole(struct str s, int64_t *ret); // "1", "1.0", "1e3"
/* One value of a VR with model_number_size(), in binary; false: not in its range. */
bool   model_add_number(struct buf *out, enum vr vr, struct str s);

void model_base64(struct buf *out, struct bytes v);  // RFC 4648 section 4
bool model_unbase64(struct str in, struct buf *out); // its padding may be missing

/* After a data set was read from UTF-8: its (0008,0005), and those of its items, say so. */
enum err model_set_utf8(struct dset *d);
