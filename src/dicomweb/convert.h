#pragma once
/*
 * Objects in another transfer syntax than the one they lie in, converted while they are sent.
 */
#include "dicomweb/feed.h"
#include "dicomweb/wado.h"
#include "http/multipart.h"
#include "pixel/transcode.h"

enum { CONVERT_TARGETS = 8, CONVERT_PLANS = 32 };

extern const char *const convert_targets[CONVERT_TARGETS]; // in the order of preference

/* What becomes of the objects that lie in one syntax. */
struct convert_plan {
    struct str  stored; // of a view
    bool        possible, multipart;
    const char *target; // == stored.ptr: as they lie
};

struct conversion {
    struct web              *w;
    struct view            **views;
    size_t                   n_views;
    const struct view_image *one;                          // of them; NULL: all images
    char                     boundary[MULTIPART_BOUNDARY]; // empty: one object alone
    struct convert_plan      plan[CONVERT_PLANS];
    size_t                   plans;
};

void part_type(const char *syntax, char ret[128]); // "application/dicom; transfer-syntax=…"

/* Could an object be given in that other syntax?  By syntaxes alone. */
bool     is_recodable(const struct web *w, struct str from, struct str to);
/* The PS3.10 file of the object in the target syntax. */
enum err convert_object(struct web *w, const struct view_image *i, const char *target,
                        transcode_sink *sink, void *ctx, struct errmsg *e) MUST_USE;
/* Several objects, or a large one, on a thread of their own; what turns out to be broken is left
 * out.  Takes the references of the views, not their list. */
void     convert_answer(struct http_request *r, unsigned status, const char *type,
                        const struct conversion *c);
