#pragma once
/*
 * Frames of one instance as an answer: of a list in the path, or all of them as bulk data.
 */
#include "dicomweb/wado.h"

/* list: numbers from 0; NULL: all.  Takes the reference of v.  ERR_UNSUPPORTED: the frames cannot
 * be told apart, nothing is answered; ERR_MORE: the loop must not go on; else answered. */
enum err frames_answer(struct wado *x, struct view *v, struct view_image *i, const uint32_t *list,
                       size_t n, struct errmsg *e) MUST_USE;

/* The list of the path, "1,2,7", to numbers from 0, in the request's arena.  False: it is none. */
bool frames_list(struct http_request *r, uint32_t **ret, size_t *ret_n);
