#pragma once
/*
 * What is asked of a rendered resource: the query parameters of PS3.18 8.3.5 and of WADO-URI,
 * 9.1.2.2.  Pure.
 */
#include "http/uri.h"
#include "pixel/render.h"

struct rendered_query {
    struct render_opts o;
    bool               has_part; // a region relative to the image: x0, y0, x1, y1 from 0 to 1
    double             part[4];
    uint32_t           frame;                   // of WADO-URI, from 1; 0: not said
    struct str         state_uid, state_series; // a presentation state; empty: none
    struct str         annotation, icc;         // what we do not do, for a warning; empty: nothing
    uint64_t           tag;                     // another one for other values
};

enum rendered_kind { RENDERED_WEB, RENDERED_THUMBNAIL, RENDERED_URI };

/* ERR_SYNTAX with the name of the parameter: 400.  Unknown parameters are ignored. */
enum err rendered_parse(const struct uri *u, enum rendered_kind kind, struct rendered_query *ret,
                        struct errmsg *e) MUST_USE;
/* The relative region in pixels of the image, once that is known; a region must lie in it. */
enum err rendered_fit(const struct rendered_query *q, const struct image *i,
                      struct render_opts *ret, struct errmsg *e) MUST_USE;
