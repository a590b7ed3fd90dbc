#pragma once
/*
 * For the tests of this module: a folder of their own, and images whose bytes follow from a number.
 * Files are built by hand from PS3.10 and PS3.5, so that the library does not judge itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pack/pack.h"
#include "sys/file.h"

#define KIT_CLASS  "1.2.840.10008.5.1.4.1.1.2"
#define KIT_SYNTAX "1.2.840.10008.1.2.1"

static inline const char *kit_folder(void)
{
    static char path[64];
    if (path[0] == '\0') {
        (void)snprintf(path, sizeof(path), "/tmp/garonne-pack-XXXXXX");
        if (mkdtemp(path) == NULL) {
            abort();
        }
    }
    return path;
}

static inline void kit_remove_folder(void)
{
    char cmd[128];
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", kit_folder());
    (void)!system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
}

static inline struct pack_origin kit_origin(uint32_t n)
{
    return (struct pack_origin){.tenant = STR("PURPAN"),
                                .study_uid = STR("1.2.3"),
                                .series_uid = STR("1.2.3.4"),
                                .n = n,
                                .received_us = 1763962746123456,
                                .calling = STR("CT1"),
                                .called = STR("ARCHIVE \"A\""),
                                .address = STR("192.0.2.7")};
}

static inline struct str kit_uid(size_t i, char ret[65])
{
    int n = snprintf(ret, 65, "1.2.840.99999.%zu", i);
    return (struct str){ret, (size_t)n};
}

/* One short-form element, explicit VR little endian. */
static inline void kit_elem(struct buf *b, uint16_t group, uint16_t el, const char *vr,
                            struct str value)
{
    bool pad = value.len % 2 != 0;
    buf_u16le(b, group);
    buf_u16le(b, el);
    buf_str(b, str_of(vr));
    buf_u16le(b, (uint16_t)(value.len + (pad ? 1 : 0)));
    buf_str(b, value);
    if (pad) {
        buf_u8(b, vr[0] == 'U' ? 0 : ' ');
    }
}

static inline void kit_u16(struct buf *b, uint16_t group, uint16_t el, uint16_t v)
{
    uint8_t le[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    kit_elem(b, group, el, "US", (struct str){(const char *)le, 2});
}

static inline uint8_t kit_byte(size_t i, size_t at)
{
    return (uint8_t)((at * 2654435761U + i * 40503U) >> 11);
}

/* Preamble, meta information and a CT data set with about `size` bytes of pixels (rows of 64). */
static inline size_t kit_image_uid(size_t i, struct str uid, size_t size, struct buf *b)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%zu", i);
    buf_clear(b);
    uint8_t *preamble = buf_grow(b, 128);
    if (preamble == NULL) {
        abort();
    }
    memset(preamble, 0, 128);
    buf_str(b, STR("DICM"));
    size_t at = b->len;
    buf_u16le(b, 2);
    buf_u16le(b, 0);
    buf_str(b, STR("UL"));
    buf_u16le(b, 4);
    buf_u32le(b, 0);
    size_t group = b->len;
    buf_u16le(b, 2);
    buf_u16le(b, 1);
    buf_str(b, STR("OB"));
    buf_u16le(b, 0);
    buf_u32le(b, 2);
    buf_u16le(b, 0x0100);
    kit_elem(b, 2, 2, "UI", STR(KIT_CLASS));
    kit_elem(b, 2, 3, "UI", uid);
    kit_elem(b, 2, 0x10, "UI", STR(KIT_SYNTAX));
    kit_elem(b, 2, 0x12, "UI", STR("2.25.1"));
    buf_patch_u32le(b, at + 8, (uint32_t)(b->len - group));
    size_t head = b->len;

    uint32_t rows = (uint32_t)(size / 128 > 0 ? size / 128 : 1);
    kit_elem(b, 8, 0x16, "UI", STR(KIT_CLASS));
    kit_elem(b, 8, 0x18, "UI", uid);
    kit_elem(b, 8, 0x60, "CS", STR("CT"));
    kit_elem(b, 0x10, 0x10, "PN", STR("TEST^PACK"));
    kit_elem(b, 0x20, 0xD, "UI", STR("1.2.3"));
    kit_elem(b, 0x20, 0xE, "UI", STR("1.2.3.4"));
    kit_elem(b, 0x20, 0x13, "IS", str_of(number));
    kit_u16(b, 0x28, 2, 1);
    kit_elem(b, 0x28, 4, "CS", STR("MONOCHROME2"));
    kit_u16(b, 0x28, 0x10, (uint16_t)rows);
    kit_u16(b, 0x28, 0x11, 64);
    kit_u16(b, 0x28, 0x100, 16);
    kit_u16(b, 0x28, 0x101, 16);
    kit_u16(b, 0x28, 0x102, 15);
    kit_u16(b, 0x28, 0x103, 0);
    buf_u16le(b, 0x7FE0);
    buf_u16le(b, 0x10);
    buf_str(b, STR("OW"));
    buf_u16le(b, 0);
    buf_u32le(b, rows * 128);
    uint8_t *pixels = buf_grow(b, (size_t)rows * 128);
    if (pixels == NULL) {
        abort();
    }
    for (size_t k = 0; k < (size_t)rows * 128; k++) {
        pixels[k] = kit_byte(i, k);
    }
    return head;
}

static inline size_t kit_image(size_t i, size_t size, struct buf *b)
{
    char uid[65];
    return kit_image_uid(i, kit_uid(i, uid), size, b);
}

/* Begin and add in uneven pieces; the caller commits. */
static inline enum err kit_send(struct pack *p, size_t i, size_t size, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64 << 20);
    char     uid[65];
    size_t   head = kit_image(i, size, &b);
    enum err rc = pack_image_begin(p, kit_uid(i, uid), STR(KIT_CLASS), STR(KIT_SYNTAX),
                                   (struct bytes){b.ptr, head}, e);
    for (size_t at = head, step = 1; rc == ERR_OK && at < b.len; step = step * 7 % 40009 + 1) {
        size_t n = b.len - at < step ? b.len - at : step;
        rc = pack_image_add(p, (struct bytes){b.ptr + at, n}, e);
        at += n;
    }
    return rc;
}

static inline enum err kit_store(struct pack *p, size_t i, size_t size, struct errmsg *e)
{
    enum err rc = kit_send(p, i, size, e);
    return rc == ERR_OK ? pack_image_commit(p, NULL, e) : rc;
}

static inline bool is_same_image(const struct pack_image *a, const struct pack_image *b)
{
    return strcmp(a->sop_uid, b->sop_uid) == 0 && strcmp(a->class_uid, b->class_uid) == 0 &&
           strcmp(a->syntax_uid, b->syntax_uid) == 0 && a->at == b->at && a->size == b->size &&
           a->data_at == b->data_at && a->hash == b->hash && a->number == b->number;
}

/* Are these the bytes of image i of that size? */
static inline bool is_kit_image(int fd, const struct pack_image *image, size_t i, size_t size)
{
    CLEANUP(buf_done) struct buf want, got;
    buf_init(&want, 64 << 20);
    buf_init(&got, 64 << 20);
    char         uid[65];
    size_t       head = kit_image(i, size, &want);
    struct bytes w = {0};
    uint8_t     *p = buf_grow(&got, want.len);
    if (p == NULL || buf_end(&want, &w) != ERR_OK || w.ptr == NULL || image->size != w.len ||
        file_read_full(fd, image->at, p, w.len, NULL) != ERR_OK) {
        return false;
    }
    return str_eq(str_of(image->sop_uid), kit_uid(i, uid)) &&
           strcmp(image->class_uid, KIT_CLASS) == 0 && strcmp(image->syntax_uid, KIT_SYNTAX) == 0 &&
           image->data_at == image->at + head && memcmp(p, w.ptr, w.len) == 0;
}
