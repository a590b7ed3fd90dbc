#pragma once
/*
 * Heads of parts that are frames.
 */
#include "dicomweb/wado.h"
#include "http/multipart.h"

/* Content-Type of a part: "image/jphc; transfer-syntax=…". */
void       frame_type(const char *media, const char *syntax, char ret[128]);
/* The head of a part: frame number from 0. */
void       frame_head(struct buf *out, const char *boundary, bool first, const char *type,
                      struct str instance_url, uint32_t number);
/* ".../instances/{sop}", in the request's arena. */
struct str instance_url(struct wado *x, const struct view_image *i);
