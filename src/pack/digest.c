#include "pack/digest.h"

void digest_begin(struct digest *d)
{
    d->failed =
        EVP_DigestInit_ex(d->sha, EVP_sha256(), NULL) != 1 || XXH3_64bits_reset(d->xxh) != XXH_OK;
}

enum err digest_init(struct digest *d, struct errmsg *e)
{
    *d = (struct digest){.sha = EVP_MD_CTX_new(), .xxh = XXH3_createState()};
    if (d->sha == NULL || d->xxh == NULL) {
        digest_done(d);
        return err_set(e, ERR_NOMEM, "no memory for a digest");
    }
    digest_begin(d);
    return ERR_OK;
}

void digest_done(struct digest *d)
{
    EVP_MD_CTX_free(d->sha);
    (void)XXH3_freeState(d->xxh);
    *d = (struct digest){0};
}

void digest_add(struct digest *d, struct bytes b)
{
    if (b.len > 0 && (EVP_DigestUpdate(d->sha, b.ptr, b.len) != 1 ||
                      XXH3_64bits_update(d->xxh, b.ptr, b.len) != XXH_OK)) {
        d->failed = true;
    }
}

enum err digest_end(struct digest *d, char ret_sha256[65], uint64_t *ret_xxh3, struct errmsg *e)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t           raw[32];
    unsigned          len = 0;
    if (d->failed || EVP_DigestFinal_ex(d->sha, raw, &len) != 1 || len != sizeof(raw)) {
        return err_set(e, ERR_IO, "OpenSSL refused a SHA-256");
    }
    for (size_t i = 0; ret_sha256 != NULL && i < sizeof(raw); i++) {
        ret_sha256[2 * i] = hex[raw[i] >> 4];
        ret_sha256[2 * i + 1] = hex[raw[i] & 15];
        ret_sha256[2 * i + 2] = '\0';
    }
    if (ret_xxh3 != NULL) {
        *ret_xxh3 = XXH3_64bits_digest(d->xxh);
    }
    return ERR_OK;
}
