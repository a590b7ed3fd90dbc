#pragma once
/*
 * One instance as a PS3.10 file, alone, for WADO-URI.
 */
#include "dicomweb/wado.h"

/* syntax: wanted; empty: explicit little endian; "*": as stored.  406 when it cannot be given. On a
 * worker; takes the reference of v. */
void retrieve_file(struct wado *x, struct view *v, const struct view_image *i, struct str syntax);
