#include "pixel/picture.h"

#include <gif_lib.h>
#include <inttypes.h>
#include <png.h>
#include <turbojpeg.h>

#include "base/limits.h"
#include "base/num.h"

static const char *const media[PICTURE__COUNT] = {
    [PICTURE_JPEG] = "image/jpeg",
    [PICTURE_PNG] = "image/png",
    [PICTURE_GIF] = "image/gif",
};

const char *picture_media(enum picture_format f)
{
    return media[f];
}

enum err picture_init(struct picture *p, uint32_t w, uint32_t h, unsigned samples, struct errmsg *e)
{
    size_t n;
    *p = (struct picture){.w = w, .h = h, .samples = samples};
    buf_init(&p->px, LIMIT_PICTURE);
    if (w == 0 || h == 0 || w > LIMIT_PICTURE_SIDE || h > LIMIT_PICTURE_SIDE ||
        !size_mul(w, h, &n) || !size_mul(n, samples, &n)) {
        return err_set(e, ERR_LIMIT, "a picture of %" PRIu32 "×%" PRIu32, w, h);
    }
    uint8_t *at = buf_grow(&p->px, n);
    if (at == NULL) {
        return err_set(e, p->px.err, "a picture of %" PRIu32 "×%" PRIu32, w, h);
    }
    memset(at, 0, n);
    return ERR_OK;
}

void picture_done(struct picture *p)
{
    buf_done(&p->px);
}

static enum err write_jpeg(const struct picture *p, uint32_t quality, struct buf *out,
                           struct errmsg *e)
{
    unsigned char *file = NULL;
    unsigned long  len = 0;
    tjhandle       tj = tjInitCompress();
    bool           grey = p->samples == 1;
    if (tj == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a JPEG");
    }
    int rc = tjCompress2(tj, p->px.ptr, (int)p->w, 0, (int)p->h, grey ? TJPF_GRAY : TJPF_RGB, &file,
                         &len, grey ? TJSAMP_GRAY : TJSAMP_444, quality == 0 ? 90 : (int)quality,
                         TJFLAG_ACCURATEDCT);
    enum err ret = ERR_OK;
    if (rc != 0) {
        ret = err_set(e, ERR_LIMIT, "JPEG of %" PRIu32 "×%" PRIu32 ": %s", p->w, p->h,
                      tjGetErrorStr2(tj));
    } else {
        buf_add(out, (struct bytes){file, len});
    }
    tjFree(file);
    (void)tjDestroy(tj);
    return ret;
}

static enum err write_png(const struct picture *p, struct buf *out, struct errmsg *e)
{
    png_image        png = {.version = PNG_IMAGE_VERSION,
                            .width = p->w,
                            .height = p->h,
                            .format = p->samples == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB,
                            .flags = PNG_IMAGE_FLAG_FAST};
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(png);
    size_t           from = out->len;
    uint8_t         *to = buf_grow(out, room);
    if (to == NULL) {
        return err_set(e, out->err, "a PNG of %" PRIu32 "×%" PRIu32, p->w, p->h);
    }
    if (!png_image_write_to_memory(&png, to, &room, 0, p->px.ptr, 0, NULL)) {
        enum err rc = err_set(e, ERR_LIMIT, "PNG: %s", png.message);
        png_image_free(&png);
        return rc;
    }
    out->len = from + room;
    return ERR_OK;
}

/* ---- GIF */

static int gif_out(GifFileType *g, const GifByteType *b, int n)
{
    struct buf *out = g->UserData;
    buf_add(out, (struct bytes){b, (size_t)n});
    return out->err == ERR_OK ? n : 0;
}

static enum err gif_failed(const GifFileType *g, int code, struct errmsg *e)
{
    const char *why = GifErrorString(g != NULL ? g->Error : code);
    return err_set(e, ERR_LIMIT, "GIF: %s", why != NULL ? why : "unknown error");
}

static bool gif_forever(GifFileType *g)
{
    static const unsigned char again[] = {1, 0, 0}; // for ever
    return EGifPutExtensionLeader(g, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
           EGifPutExtensionBlock(g, 11, "NETSCAPE2.0") == GIF_OK &&
           EGifPutExtensionBlock(g, sizeof(again), again) == GIF_OK &&
           EGifPutExtensionTrailer(g) == GIF_OK;
}

enum err picture_gif_begin(struct picture_gif *g, uint32_t w, uint32_t h, bool repeats,
                           struct buf *out, struct errmsg *e)
{
    int          code = 0;
    GifFileType *file = EGifOpen(out, gif_out, &code);
    *g = (struct picture_gif){.file = file, .w = w, .h = h};
    if (file == NULL) {
        return gif_failed(NULL, code, e);
    }
    EGifSetGifVersion(file, true);
    GifColorType    grey[256];
    ColorMapObject *map = GifMakeMapObject(256, NULL);
    for (unsigned i = 0; i < 256; i++) {
        grey[i] = (GifColorType){(uint8_t)i, (uint8_t)i, (uint8_t)i};
    }
    if (map == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a GIF");
    }
    memcpy(map->Colors, grey, sizeof(grey));
    int rc = EGifPutScreenDesc(file, (int)w, (int)h, 8, 0, map);
    GifFreeMapObject(map);
    return rc == GIF_OK && (!repeats || gif_forever(file)) ? ERR_OK : gif_failed(file, 0, e);
}

static bool gif_delay(GifFileType *g, uint32_t delay_ms)
{
    GifByteType          ext[4];
    uint32_t             cs = (delay_ms + 5) / 10;
    GraphicsControlBlock gcb = {.DisposalMode = DISPOSE_DO_NOT,
                                .DelayTime = (int)(cs < 1            ? 1
                                                   : cs > UINT16_MAX ? UINT16_MAX
                                                                     : cs),
                                .TransparentColor = NO_TRANSPARENT_COLOR};
    (void)EGifGCBToExtension(&gcb, ext);
    return delay_ms == 0 || EGifPutExtension(g, GRAPHICS_EXT_FUNC_CODE, sizeof(ext), ext) == GIF_OK;
}

/* Three planes in, indices of 256 colours out: in, then out, are of 4 pixels' bytes. */
static ColorMapObject *reduce(const struct picture *p, struct buf *mem)
{
    size_t          n = (size_t)p->w * p->h;
    int             colours = 256;
    ColorMapObject *map = GifMakeMapObject(256, NULL);
    uint8_t        *planes = buf_grow(mem, 4 * n);
    if (map == NULL || planes == NULL) {
        GifFreeMapObject(map);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < 3; c++) {
            planes[(c + 1) * n + i] = p->px.ptr[3 * i + c];
        }
    }
    if (GifQuantizeBuffer(p->w, p->h, &colours, planes + n, planes + 2 * n, planes + 3 * n, planes,
                          map->Colors) != GIF_OK) {
        GifFreeMapObject(map);
        return NULL;
    }
    return map;
}

enum err picture_gif_add(struct picture_gif *g, const struct picture *p, uint32_t delay_ms,
                         struct errmsg *e)
{
    GifFileType                 *file = g->file;
    ColorMapObject              *map = NULL;
    const uint8_t               *px = p->px.ptr;
    CLEANUP(buf_done) struct buf mem;
    buf_init(&mem, 4 * (size_t)LIMIT_PICTURE);
    if (p->w != g->w || p->h != g->h) {
        return err_set(e, ERR_UNSUPPORTED, "a GIF of pictures of several sizes");
    }
    if (p->samples == 3) {
        map = reduce(p, &mem);
        px = mem.ptr;
    }
    if (p->samples == 3 && map == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the colours of a GIF");
    }
    bool ok = gif_delay(file, delay_ms) &&
              EGifPutImageDesc(file, 0, 0, (int)p->w, (int)p->h, false, map) == GIF_OK;
    CLEANUP(buf_done) struct buf line; // the library writes in it
    buf_init(&line, p->w);
    uint8_t *row = buf_grow(&line, p->w);
    for (uint32_t y = 0; y < p->h && ok && row != NULL; y++) {
        memcpy(row, px + (size_t)y * p->w, p->w);
        ok = EGifPutLine(file, row, (int)p->w) == GIF_OK;
    }
    GifFreeMapObject(map);
    return ok && row != NULL ? ERR_OK : gif_failed(file, 0, e);
}

enum err picture_gif_end(struct picture_gif *g, struct errmsg *e)
{
    int code = 0;
    if (g->file == NULL || EGifCloseFile(g->file, &code) == GIF_OK) {
        g->file = NULL;
        return ERR_OK;
    }
    g->file = NULL;
    return gif_failed(NULL, code, e);
}

static enum err write_gif(const struct picture *p, struct buf *out, struct errmsg *e)
{
    struct picture_gif g;
    enum err           rc = picture_gif_begin(&g, p->w, p->h, false, out, e);
    rc = rc == ERR_OK ? picture_gif_add(&g, p, 0, e) : rc;
    enum err end = picture_gif_end(&g, rc == ERR_OK ? e : NULL);
    return rc != ERR_OK ? rc : end;
}

enum err picture_write(const struct picture *p, enum picture_format f, uint32_t quality,
                       struct buf *out, struct errmsg *e)
{
    enum err rc = f == PICTURE_JPEG  ? write_jpeg(p, quality, out, e)
                  : f == PICTURE_PNG ? write_png(p, out, e)
                                     : write_gif(p, out, e);
    return rc == ERR_OK && out->err != ERR_OK ? err_set(e, out->err, "the picture is too large")
                                              : rc;
}
