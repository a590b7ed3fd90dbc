#pragma once
/*
 * An answer made of ranges of packs and bits of memory, one after the other: multipart bodies,
 * joined metadata, fragments.  It is of known length and costs no memory but its list; files are
 * read as they are sent.  It keeps the views whose files it sends.
 *
 * Filled by one thread, then given to an answer, which frees it when it has been sent or not.
 */
#include "archive/view.h"
#include "http/http.h"

struct piece {
    const uint8_t *ptr; // NULL: of a file
    int            fd;
    uint64_t       at, len;
};

struct pieces {
    struct piece *v;
    size_t        n, room;
    uint64_t      len; // of all
    struct view **views;
    size_t        n_views;
    struct buf   *texts; // what pieces_text copied; blocks never move
    size_t        n_texts;
    bool          failed; // no memory
};

struct pieces *pieces_new(void); // NULL: no memory
void           pieces_free(struct pieces *p);

/* The pieces lie in files of this view, or in its memory: takes the reference. */
void           pieces_keep(struct pieces *p, struct view *v);
void           pieces_file(struct pieces *p, int fd, uint64_t at, uint64_t len);
void           pieces_memory(struct pieces *p, const uint8_t *ptr, size_t len); // must live as long
/* Copied; the copy may be put in again with pieces_memory. */
const uint8_t *pieces_text(struct pieces *p, struct bytes b);
/* The memory of b, which is empty afterwards. */
void           pieces_buf(struct pieces *p, struct buf *b);

/* All of from, which is freed. */
void pieces_take(struct pieces *p, struct pieces *from);

/* Takes p.  Honours Range; one range of one file goes out by sendfile. */
void pieces_answer(struct http_request *r, unsigned status, const char *type, struct pieces *p);
/* The same, gunzipped: the pieces are one gzip member, of a text of plain bytes. */
void pieces_answer_plain(struct http_request *r, unsigned status, const char *type,
                         struct pieces *p, uint64_t plain);
