#pragma once
/*
 * Metadata as application/dicom+xml, PS3.19 annex A.1: one part for each instance, written from its
 * header while it is sent.
 */
#include "dicomweb/wado.h"

/* one: of v[0] alone; NULL: all images of all.  tag: seed of the boundary.  Takes the references of
 * v, not the list. */
void xml_answer(struct wado *x, struct view **v, size_t n, const struct view_image *one,
                uint64_t tag);
