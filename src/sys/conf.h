#pragma once
/*
 * Configuration of a node: garonne.yaml over the defaults, flags of the command line over both.
 *
 * A plain value: conf_init, perhaps conf_load, then the program writes what its flags say, checks
 * with conf_check, and from then on it is const.  docs/configuration.md is the operator's view of
 * the same list, and a test loads the example there.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

enum conf_role { ROLE_PLATFORM, ROLE_GATEWAY, ROLE__COUNT };

enum { CONF_TEXT = 256, CONF_URL = 1024 };

struct conf_http {
    char     listen[CONF_TEXT]; // ADDR:PORT; "": off (the same for the other two)
    uint32_t threads;           // 0: one for each processor
    uint32_t connections;
    char     cors[CONF_TEXT]; // origins of other sites' pages that may call, comma separated
    char     web[CONF_TEXT];  // folder of the portal's pages; \"\": beside the program
};

struct conf_tls {
    char listen[CONF_TEXT];
    char cert[CONF_TEXT], key[CONF_TEXT], ca[CONF_TEXT]; // PEM files; "": none
    bool peer_cert; // demand a client certificate that ca vouches for
};

struct conf_dimse {
    char     listen[CONF_TEXT];
    uint32_t associations, idle, max_pdu; // at once; seconds; bytes
};

struct conf_archive {
    uint32_t seal_after; // seconds without an image
    uint64_t max_pack;   // bytes
};

struct conf {
    char                data[CONF_TEXT]; // folder of the archive; "": the program asks for --data
    char                db[CONF_URL];    // "": sqlite below data
    enum conf_role      role;
    enum log_level      log_level;
    bool                log_phi;
    struct conf_http    http;
    struct conf_dimse   dimse;
    struct conf_tls     dimse_tls;
    struct conf_archive archive;
};

void     conf_init(struct conf *c); // the defaults
/* Settings of the file over *c, which stays as it was on an error.  ERR_NOTFOUND: no such file;
 * ERR_SYNTAX: the text names the line.  Values of settings that may hold a password are never in
 * the text. */
enum err conf_load(const char *path, struct conf *c, struct errmsg *e);
/* Ranges, and what belongs together. */
enum err conf_check(const struct conf *c, struct errmsg *e);

/* Words of the file and of flags to values; false: no such word. */
bool conf_role_parse(const char *z, enum conf_role *ret);
bool conf_log_level_parse(const char *z, enum log_level *ret);
