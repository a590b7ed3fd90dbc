#pragma once
/*
 * The rendered forms of WADO-URI, PS3.18 9.4: images as JPEG, PNG or GIF, reports as HTML, PDF.
 */
#include "dicomweb/wado.h"

/* The instance x asks for, found in v by the caller, whose reference it takes; contentType has been
 * understood as `media` ("image/jpeg"; empty: the default of the object).  Answers. */
void rendered_uri(struct wado *x, struct view *v, struct view_image *i, struct str media);
