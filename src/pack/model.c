#include "pack/model.h"

#include <stdio.h>
#include <zlib.h>

#include "base/jsonw.h"
#include "base/limits.h"
#include "dicom/json.h"
#include "dicom/part10.h"
#include "dicom/tags.h"

enum { STORED = 5, TRAILER = 8 }; // head of a stored block; CRC-32 and length

// method, no flags, no time, no hint, Unix; then a stored block of one byte
const uint8_t model_head[MODEL_HEAD] = {31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 254, 255, '['};
const uint8_t model_comma[MODEL_COMMA] = {0, 1, 0, 254, 255, ','};

static const uint8_t last_block[MODEL_COMMA] = {1, 1, 0, 254, 255, ']'};

enum err model_read(const struct dsrc *file, struct arena *a, const struct syntax **ret_syntax,
                    struct dset **ret, struct errmsg *e)
{
    struct part10_meta meta = {0};
    struct parse_opts  opts = {.max_value = MODEL_VALUE, .lenient = LENIENT_ALL};
    struct errmsg      why = {0};
    struct dset       *d = NULL;
    enum err           rc = part10_read(file, &opts, a, &meta, &d, &why);
    if (rc == ERR_IO || rc == ERR_NOMEM) {
        return err_set(e, rc, "%s", why.text);
    }
    *ret_syntax = rc == ERR_OK ? meta.syntax : NULL;
    *ret = rc == ERR_OK ? d : NULL;
    return ERR_OK;
}

/* What is known of an image without its data set. */
static enum err write_uids(const struct model_of *of, struct buf *out, struct errmsg *e)
{
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 64 << 10);
    const struct json_opts opts = {0};
    struct jsonw           w;
    struct dset           *d = dset_new(&a);
    if (d == NULL || dset_put_str(d, DT_SOPClassUID, of->class_uid) != ERR_OK ||
        dset_put_str(d, DT_SOPInstanceUID, of->sop_uid) != ERR_OK ||
        dset_put_str(d, DT_StudyInstanceUID, of->study_uid) != ERR_OK ||
        dset_put_str(d, DT_SeriesInstanceUID, of->series_uid) != ERR_OK) {
        return err_set(e, ERR_NOMEM, "no memory for the UIDs of an image");
    }
    jsonw_init(&w, out);
    return dsjson_write(d, &opts, &w, e);
}

enum err model_write(const struct model_of *of, const struct dset *d, const struct str *prefix,
                     struct buf *out, struct errmsg *e)
{
    char own[2 * (LIMIT_UID + 1) + 64];
    (void)snprintf(own, sizeof(own), "series/%.*s/instances/%.*s/bulkdata/",
                   STR_ARG(of->series_uid), STR_ARG(of->sop_uid));
    const struct json_opts opts = {.bulk_prefix = prefix != NULL ? *prefix : str_of(own)};
    struct jsonw           w;
    struct errmsg          why = {0};
    size_t                 len = out->len;
    jsonw_init(&w, out);
    enum err rc = d != NULL ? dsjson_write(d, &opts, &w, &why) : ERR_SYNTAX;
    if (rc != ERR_OK) {
        buf_clear(out);
        out->len = len; // what was written before is still there
        rc = write_uids(of, out, e);
    }
    return rc;
}

/* ---- the gzip member */

static void put_u32le(uint8_t *to, uint32_t v)
{
    for (size_t i = 0; i < 4; i++) {
        to[i] = (uint8_t)(v >> 8 * i);
    }
}

static uint32_t get_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc_of(char c)
{
    const uint8_t byte = (uint8_t)c;
    return (uint32_t)crc32(0, &byte, 1);
}

static uint32_t crc_join(uint32_t a, uint32_t b, uint64_t b_len)
{
    return (uint32_t)crc32_combine(a, b, (z_off_t)b_len);
}

void model_tail(const struct model_body *v, size_t n, uint8_t ret[MODEL_TAIL])
{
    uint32_t crc = crc_of('[');
    uint64_t len = 1;
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            crc = crc_join(crc, crc_of(','), 1);
            len++;
        }
        crc = crc_join(crc, v[i].crc, v[i].plain);
        len += v[i].plain;
    }
    crc = crc_join(crc, crc_of(']'), 1);
    memcpy(ret, last_block, sizeof(last_block));
    put_u32le(ret + sizeof(last_block), crc);
    put_u32le(ret + sizeof(last_block) + 4, (uint32_t)(len + 1));
}

/* The state before a byte of zero was added: the last step of a CRC, backwards. */
static uint32_t crc_back(uint32_t crc)
{
    const z_crc_t *table = get_crc_table();
    for (uint32_t i = 0; i < 256; i++) { // the highest bytes of the table are all different
        if (table[i] >> 24 == crc >> 24) {
            return (crc ^ (uint32_t)table[i]) << 8 | i;
        }
    }
    return 0;
}

bool model_body_of(const uint8_t head[MODEL_HEAD], const uint8_t tail[MODEL_TAIL], uint64_t len,
                   struct model_body *ret)
{
    if (len < MODEL_HEAD + MODEL_TAIL || memcmp(head, model_head, MODEL_HEAD) != 0 ||
        memcmp(tail, last_block, sizeof(last_block)) != 0) {
        return false;
    }
    const uint8_t *trailer = tail + MODEL_TAIL - TRAILER;
    uint64_t       plain = get_u32le(trailer + 4);
    if (plain < 2) {
        return false;
    }
    plain -= 2;
    /* crc32_combine(a, b, n) is a moved on by n zero bytes, xor b: both brackets are taken off. */
    uint32_t open = crc_back(get_u32le(trailer) ^ crc_of(']'));
    *ret = (struct model_body){.deflated = len - MODEL_HEAD - MODEL_TAIL,
                               .plain = plain,
                               .crc = open ^ crc_join(crc_of('['), 0, plain)};
    return true;
}
