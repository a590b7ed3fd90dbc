#pragma once
/*
 * Inside of access: a token's text and its hash.
 */
#include "access/access.h"

enum { SHA_TEXT = 65 };

void sha256_text(struct str s, char ret[SHA_TEXT]); // lower-case hex

/* The live token with that hash: neither revoked nor expired.  ERR_NOTFOUND. */
enum err token_by_sha256(struct db *db, const char sha256[SHA_TEXT], struct actor *ret,
                         int64_t *ret_expires_us, struct errmsg *e) MUST_USE;
