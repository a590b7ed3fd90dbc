#pragma once
/*
 * The face of OpenJPH, a C++ library, to C: HTJ2K, ITU-T T.814.  No exception leaves htj2k.cc.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct htj2k {
    uint32_t cols, rows, samples, bits, levels;
    int      is_signed; // the samples of the stream
    int      mct;       // encode: mix colours
    uint32_t reduce;    // decode
};

enum htj2k_rc { HTJ2K_OK, HTJ2K_BROKEN, HTJ2K_NOMEM };

enum { HTJ2K_WHY = 128 };

/* What to do with each row of samples of one component; what row to encode.  Non-zero: stop. */
typedef int htj2k_row(void *ctx, uint32_t y, uint32_t component, int32_t *samples);
typedef int htj2k_write(void *ctx, const void *p, size_t n);

/* why: HTJ2K_WHY bytes, what the library said. */
enum htj2k_rc htj2k_read(const struct htj2k *h, const void *stream, size_t len, htj2k_row *row,
                         void *ctx, char *why);
enum htj2k_rc htj2k_make(const struct htj2k *h, htj2k_row *row, htj2k_write *write, void *ctx,
                         char *why);

#ifdef __cplusplus
}
#endif
