#pragma once
/*
 * SHA-256 and XXH3 of a stream, side by side; a wrapper of OpenSSL's EVP, which is called nowhere
 * else in this module.
 */
#include <openssl/evp.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/slice.h"

struct digest {
    EVP_MD_CTX   *sha;
    XXH3_state_t *xxh;
    bool          failed;
};

enum err digest_init(struct digest *d, struct errmsg *e) MUST_USE; // and begin
void     digest_done(struct digest *d);                            // also the cleanup function
void     digest_begin(struct digest *d);
void     digest_add(struct digest *d, struct bytes b);
/* SHA-256 in lower-case hex and XXH3-64 of what was added since begin; either may be NULL. */
enum err digest_end(struct digest *d, char ret_sha256[65], uint64_t *ret_xxh3,
                    struct errmsg *e) MUST_USE;
