#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Under ASan every object gets a block of its own, so that each edge is seen. */
#ifdef ARENA_SPLIT
enum { BLOCK = 1 };
#else
enum { BLOCK = 16 * 1024 };
#endif

struct arena_block {
    struct arena_block *next;
    size_t              used, size;
    alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){.cap = cap};
}

void arena_done(struct arena *a)
{
    while (a->head != NULL) {
        struct arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
    *a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    const size_t al = alignof(max_align_t);
    size_t       want;
    if (__builtin_mul_overflow(n, size, &want) || __builtin_add_overflow(want, al - 1, &want)) {
        return NULL;
    }
    want &= ~(al - 1);
    if (want > a->cap - a->used) {
        return NULL;
    }
    struct arena_block *b = a->head;
    if (b == NULL || want > b->size - b->used) {
        size_t room = want > BLOCK ? want : BLOCK;
        b = calloc(1, sizeof(*b) + room);
        if (b == NULL) {
            return NULL;
        }
        b->size = room;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += want;
    a->used += want;
    return p;
}

struct bytes arena_bytes(struct arena *a, struct bytes b)
{
    uint8_t *p = arena_alloc(a, b.len + 1, 1);
    if (p == NULL) {
        return (struct bytes){0};
    }
    if (b.len > 0) {
        memcpy(p, b.ptr, b.len);
    }
    return (struct bytes){p, b.len};
}

struct str arena_str(struct arena *a, struct str s)
{
    struct bytes b = arena_bytes(a, str_bytes(s));
    return (struct str){(const char *)b.ptr, b.len};
}
