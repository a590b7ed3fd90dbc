#pragma once
/*
 * Memory for one unit of work: an association, a request, a message, a job.
 *
 * The owner of the work owns the arena; everything allocated from it dies with it, so nothing
 * in it is freed one by one.  Each arena has a hard cap, which is how a hostile length field
 * becomes ERR_LIMIT for one peer instead of no memory for all of them.
 */
#include <stddef.h>

#include "base/attr.h"
#include "base/slice.h"

struct arena {
    struct arena_block *head;
    size_t              used, cap;
};

void  arena_init(struct arena *a, size_t cap);
void  arena_done(struct arena *a);                                  // also the cleanup function
void *arena_alloc(struct arena *a, size_t n, size_t size) MUST_USE; // zeroed; NULL past the cap

/* Copies into the arena.  The str is NUL-terminated as well (the NUL is not in its length); a
 * view with a NULL pointer and len 0 comes back when the cap is reached. */
struct bytes arena_bytes(struct arena *a, struct bytes b);
struct str   arena_str(struct arena *a, struct str s);

#define arena_new(a, type)      ((type *)arena_alloc((a), 1, sizeof(type)))
#define arena_array(a, n, type) ((type *)arena_alloc((a), (n), sizeof(type)))
