/*
 * Input: one byte chooses the VR, one the length of the specific character set, the rest is text.
 * The decoded text is UTF-8, the raw values join to the text and decode to its parts, and what can
 * be encoded is read back.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "dicom/charset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

static void check_values(struct bytes specific, enum vr vr, struct bytes in, struct bytes whole)
{
    CLEANUP(buf_done) struct buf joined;
    buf_init(&joined, 8 << 20);
    struct bytes v;
    size_t       total = 0;
    size_t       n = 0;
    for (size_t at = 0; charset_next(specific, vr, in, &at, &v); n++) {
        if (n > 0) {
            buf_u8(&joined, '\\');
        }
        charset_decode(specific, vr, v, &joined);
        total += v.len;
    }
    check(n == 0 ? in.len == 0 : total + n - 1 == in.len);
    check(joined.err == ERR_OK && bytes_eq((struct bytes){joined.ptr, joined.len}, whole));
}

static void check_encoding(struct bytes specific, enum vr vr, struct str text)
{
    CLEANUP(buf_done) struct buf raw;
    buf_init(&raw, 16 << 20);
    CLEANUP(buf_done) struct buf back;
    buf_init(&back, 16 << 20);
    bool all = charset_encode(specific, vr, text, &raw);
    charset_decode(specific, vr, (struct bytes){raw.ptr, raw.len}, &back);
    check(raw.err == ERR_OK && back.err == ERR_OK);
    check(!all || bytes_eq((struct bytes){back.ptr, back.len}, str_bytes(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum vr vrs[] = {VR_PN, VR_LO, VR_LT, VR_UC};

    if (size < 2 || (size_t)(data[1] % 64) > size - 2) {
        return 0;
    }
    enum vr                      vr = vrs[data[0] % 4];
    struct bytes                 specific = {data + 2, data[1] % 64};
    struct bytes                 in = {data + 2 + specific.len, size - 2 - specific.len};
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 8 << 20);
    charset_decode(specific, vr, in, &out);
    struct str text = {0};
    check(out.err == ERR_OK && utf8_check((struct bytes){out.ptr, out.len}, &text));
    check_values(specific, vr, in, str_bytes(text));
    check_encoding(specific, vr, text);
    (void)is_charset_known(specific);
    return 0;
}
