#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "dicom/charset.h"
#include "dicom/check_priv.h"
#include "dicom/convert.h"
#include "dicom/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct syntax *const plain[] = {&SYNTAX_IMPLICIT, &SYNTAX_EXPLICIT, &SYNTAX_BIG,
                                             &SYNTAX_DEFLATED};

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static enum err sink(void *ctx, struct bytes piece, struct errmsg *e)
{
    (void)e;
    uint64_t *sum = ctx;
    *sum = sum_bytes(*sum, piece);
    return ERR_OK;
}

/* What was accepted is written and parses to the same, in every syntax. */
static void check_written(const struct dset *d, struct arena *a)
{
    for (size_t i = 0; i < 8; i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, LIMIT_DSET);
        enum err rc = dset_write(d, plain[i / 2], i % 2, &b, NULL);
        if (rc == ERR_UNSUPPORTED) { // left out, or fragments
            continue;
        }
        must(rc == ERR_OK, "what was parsed can be written");
        struct parse_opts o = {0};
        struct dset      *back = NULL;
        rc = dset_parse((struct bytes){b.ptr, b.len}, plain[i / 2], &o, a, &back, NULL);
        if (rc == ERR_LIMIT) {
            return;
        }
        must(i / 2 == 0 || (rc == ERR_OK && same_dset(d, back, false)),
             "what was written parses to the same");
    }
}

/* The same tokens in windows of 1, 7 and all bytes. */
static void check_windows(struct bytes in, const struct syntax *s, unsigned lenient)
{
    enum err one_rc, seven_rc, all_rc;
    uint64_t one = sum_tokens(in, s, lenient, 1, &one_rc);
    uint64_t seven = sum_tokens(in, s, lenient, 7, &seven_rc);
    uint64_t all = sum_tokens(in, s, lenient, SIZE_MAX, &all_rc);
    must(one_rc == all_rc && seven_rc == all_rc, "windows do not change the end");
    must(all_rc != ERR_OK || (one == all && seven == all), "windows do not change the tokens");
}

static void check_read(struct bytes in, const struct syntax *s, const struct dset *parsed,
                       unsigned lenient, struct arena *a)
{
    struct dsrc       src = dsrc_of_bytes(&in);
    struct parse_opts o = {.lenient = lenient, .max_value = 64};
    struct dset      *d;
    struct frames     f;
    enum err          rc = dset_read(&src, 0, s, &o, a, &d, NULL);
    must(rc == ERR_OK ? parsed != NULL : parsed == NULL || rc == ERR_LIMIT,
         "a source reads like memory");
    if (rc == ERR_OK && frames_find(d, &src, a, &f, NULL) == ERR_OK && !s->deflated) {
        for (size_t i = 0; i < f.n; i++) {
            must(f.v[i].offset <= in.len && f.v[i].len <= in.len - f.v[i].offset,
                 "frames lie in the file");
        }
    }
}

/* First byte: syntax (2 bits), strict or lenient, what else is done. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur                       c = cur_of((struct bytes){data, size});
    uint8_t                          head = cur_u8(&c);
    struct bytes                     in = cur_bytes(&c, cur_left(&c));
    const struct syntax             *s = plain[head & 3];
    unsigned                         lenient = head & 4 ? LENIENT_ALL : 0;
    uint64_t                         sum = 0;
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, LIMIT_DSET);
    struct parse_opts o = {.lenient = lenient};
    struct errmsg     e = {0};
    struct dset      *d = NULL;
    enum err          rc = dset_parse(in, s, &o, &a, &d, &e);
    must(rc == ERR_OK || e.text[0] != 0, "errors have a text");
    must((o.seen & ~lenient) == 0, "only what is allowed is seen");
    must(a.used <= a.cap, "memory stays under the cap");
    if (rc == ERR_OK) {
        sum = sum_dset(d);
        check_written(d, &a);
    }
    check_read(in, s, d, lenient, &a);
    if (!s->deflated) {
        check_windows(in, s, lenient);
    }
    struct dsrc src = dsrc_of_bytes(&in);
    rc = convert_stream(&src, 0, s, plain[head >> 3 & 3], sink, &sum, NULL);
    must(rc != ERR_MORE, "a source has no more to give");
    return sum == 1;
}
