#pragma once
/*
 * A structured report (PS3.3 A.35, C.17.3) as a page to read: its content items as nested lists,
 * meanings of codes, numbers with their units, references as UIDs.  All of it is text: nothing of
 * the object can become markup.  Pure.
 */
#include "dicom/dset.h"

bool     is_report(const struct dset *d); // it has a content tree
enum err sr_html(const struct dset *d, struct buf *out, struct errmsg *e) MUST_USE;
