#pragma once
/*
 * The modes of the test program of the codecs that tests/e2e/codecs.py calls, one frame each:
 *
 *   decode FILE.dcm FRAME OUT [REDUCE]       the pixels of a DICOM file, frame from 0
 *   stream UID IMAGE IN OUT [REDUCE]         of a bare bit stream
 *   encode UID IMAGE IN OUT [QUALITY]        a bare bit stream of native pixels
 *
 * IMAGE: columns,rows,samples,allocated,stored,signed,photometric.  Prints what came out in the
 * same words, or the error, and then exits with 1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/num.h"
#include "dicom/frames.h"
#include "dicom/part10.h"
#include "pixel/codec.h"

static int tool_fail(const struct errmsg *e)
{
    (void)printf("%s: %s\n", err_name(e->code), e->text);
    return EXIT_FAILURE;
}

static bool tool_read(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    char   part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), f)) > 0) {
        buf_add(b, (struct bytes){(const uint8_t *)part, n});
    }
    (void)fclose(f);
    return b->err == ERR_OK;
}

static int tool_finish(const char *path, const struct buf *b, const struct image *i)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(b->ptr, 1, b->len, f) != b->len || fclose(f) != 0) {
        return EXIT_FAILURE;
    }
    struct str name = photometric_name(i->photometric);
    (void)printf("%u,%u,%u,%u,%u,%d,%.*s\n", i->cols, i->rows, i->samples, i->allocated, i->stored,
                 i->is_signed, STR_ARG(name));
    return EXIT_SUCCESS;
}

static bool tool_image(const char *text, struct image *ret)
{
    uint32_t n[6];
    for (size_t k = 0; k < 6; k++) {
        size_t len = strcspn(text, ",");
        if (!parse_u32((struct str){text, len}, &n[k]) || text[len] != ',') {
            return false;
        }
        text += len + 1;
    }
    *ret = (struct image){.cols = n[0],
                          .rows = n[1],
                          .samples = (uint16_t)n[2],
                          .allocated = (uint16_t)n[3],
                          .stored = (uint16_t)n[4],
                          .high_bit = (uint16_t)(n[4] - 1),
                          .is_signed = n[5] != 0,
                          .photometric = photometric_parse(str_of(text))};
    return true;
}

/* The bytes of one frame, its fragments joined. */
static enum err tool_frame(const struct dset *d, const struct dsrc *src, struct arena *a,
                           uint32_t frame, struct buf *out, struct errmsg *e)
{
    struct frames f;
    enum err      rc = frames_find(d, src, a, &f, e);
    if (rc == ERR_OK && frame >= f.n) {
        rc = err_set(e, ERR_NOTFOUND, "%zu frames", f.n);
    }
    uint64_t at = 0, offset = 0, len = 1;
    while (rc == ERR_OK && len > 0) {
        rc = frame_piece(src, &f.v[frame], &at, &offset, &len, e);
        uint8_t *to = rc == ERR_OK && len > 0 ? buf_grow(out, (size_t)len) : NULL;
        size_t   n = 0;
        if (to != NULL) {
            rc = src->read(src->ctx, offset, to, (size_t)len, &n, e);
        }
    }
    return rc;
}

static int tool_decode(char **argv, const struct codec_opts *o)
{
    struct errmsg                    e = {0};
    CLEANUP(buf_done) struct buf     file, in, out;
    CLEANUP(arena_done) struct arena a;
    buf_init(&file, 1 << 30);
    buf_init(&in, 1 << 30);
    buf_init(&out, 1 << 30);
    arena_init(&a, LIMIT_DSET);
    struct part10_meta meta;
    struct dset       *d = NULL;
    struct parse_opts  opts = {.lenient = LENIENT_ALL};
    struct codec_in    c = {.opts = o};
    uint32_t           frames, frame;
    if (!tool_read(argv[2], &file) || !parse_u32(str_of(argv[3]), &frame)) {
        return EXIT_FAILURE;
    }
    struct bytes b = {file.ptr, file.len};
    struct dsrc  src = dsrc_of_bytes(&b);
    enum err     rc = part10_read(&src, &opts, &a, &meta, &d, &e);
    rc = rc == ERR_OK ? image_of(d, &c.image, &frames, &e) : rc;
    rc = rc == ERR_OK ? tool_frame(d, &src, &a, frame, &in, &e) : rc;
    const struct codec_syntax *s = rc == ERR_OK ? codec_of(meta.syntax_uid) : NULL;
    if (rc == ERR_OK && s == NULL) {
        rc = err_set(&e, ERR_UNSUPPORTED, "%.*s", STR_ARG(meta.syntax_uid));
    }
    c.data = (struct bytes){in.ptr, in.len};
    rc = rc == ERR_OK ? codec_decode(s, &c, &c.image, &out, &e) : rc;
    return rc == ERR_OK ? tool_finish(argv[4], &out, &c.image) : tool_fail(&e);
}

static int tool_bare(char **argv, bool encode, const struct codec_opts *o)
{
    struct errmsg                e = {0};
    CLEANUP(buf_done) struct buf in, out;
    buf_init(&in, 1 << 30);
    buf_init(&out, 1 << 30);
    const struct codec_syntax *s = codec_of(str_of(argv[2]));
    struct codec_in            c = {.opts = o};
    if (s == NULL || !tool_image(argv[3], &c.image) || !tool_read(argv[4], &in)) {
        return EXIT_FAILURE;
    }
    c.data = (struct bytes){in.ptr, in.len};
    struct image i;
    enum err     rc = (encode ? codec_encode : codec_decode)(s, &c, &i, &out, &e);
    return rc == ERR_OK ? tool_finish(argv[5], &out, &i) : tool_fail(&e);
}

static int codec_tool(int argc, char **argv)
{
    struct codec_opts o = {0};
    bool              decode = strcmp(argv[1], "decode") == 0;
    bool              encode = strcmp(argv[1], "encode") == 0;
    int               least = decode ? 5 : 6;
    if (argc > least && !parse_u32(str_of(argv[least]), encode ? &o.quality : &o.reduce)) {
        return EXIT_FAILURE;
    }
    if (argc < least) {
        return EXIT_FAILURE;
    }
    return decode ? tool_decode(argv, &o) : tool_bare(argv, encode, &o);
}
