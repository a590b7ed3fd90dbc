#include "sys/conf.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/num.h"
#include "sys/file.h"

/* The file as libcyaml fills it: a setting that is not there is NULL. */
struct file_http {
    char     *listen, *cors, *web;
    uint32_t *threads, *connections;
};

struct file_tls {
    char *listen, *cert, *key, *ca;
    int  *peer_cert;
};

struct file_dimse {
    char           *listen;
    uint32_t       *associations, *idle, *max_pdu;
    struct file_tls tls;
};

struct file_log {
    int *level, *phi;
};

struct file_archive {
    uint32_t *seal_after;
    uint64_t *max_pack;
};

struct file {
    char               *data, *db;
    int                *role;
    struct file_log     log;
    struct file_http    http;
    struct file_dimse   dimse;
    struct file_archive archive;
};

static const cyaml_strval_t roles[] = {{"platform", ROLE_PLATFORM}, {"gateway", ROLE_GATEWAY}};
static const cyaml_strval_t levels[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}};
/* libcyaml's own boolean takes any word but a few for true: "phi: flase" must not show names. */
static const cyaml_strval_t bools[] = {{"false", 0}, {"no", 0},  {"off", 0},
                                       {"true", 1},  {"yes", 1}, {"on", 1}};

#define COUNT(a)           ((uint32_t)(sizeof(a) / sizeof((a)[0])))
#define OPT                (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define F_TEXT(type, name) CYAML_FIELD_STRING_PTR(#name, OPT, struct type, name, 0, CYAML_UNLIMITED)
#define F_UINT(type, name) CYAML_FIELD_UINT_PTR(#name, OPT, struct type, name)
#define F_WORD(type, name, words)                                                                  \
    CYAML_FIELD_ENUM_PTR(#name, OPT | CYAML_FLAG_STRICT, struct type, name, words, COUNT(words))
#define F_MAP(type, name, fields)                                                                  \
    CYAML_FIELD_MAPPING(#name, CYAML_FLAG_OPTIONAL, struct type, name, fields)

static const cyaml_schema_field_t http_fields[] = {
    F_TEXT(file_http, listen), F_UINT(file_http, threads), F_UINT(file_http, connections),
    F_TEXT(file_http, cors),   F_TEXT(file_http, web),     CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
    F_TEXT(file_tls, listen),
    F_TEXT(file_tls, cert),
    F_TEXT(file_tls, key),
    F_TEXT(file_tls, ca),
    F_WORD(file_tls, peer_cert, bools),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t dimse_fields[] = {
    F_TEXT(file_dimse, listen),  F_UINT(file_dimse, associations),   F_UINT(file_dimse, idle),
    F_UINT(file_dimse, max_pdu), F_MAP(file_dimse, tls, tls_fields), CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    F_WORD(file_log, level, levels),
    F_WORD(file_log, phi, bools),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t archive_fields[] = {
    F_UINT(file_archive, seal_after),
    F_UINT(file_archive, max_pack),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t file_fields[] = {
    F_TEXT(file, data),
    F_TEXT(file, db),
    F_WORD(file, role, roles),
    F_MAP(file, log, log_fields),
    F_MAP(file, http, http_fields),
    F_MAP(file, dimse, dimse_fields),
    F_MAP(file, archive, archive_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields)};

void conf_init(struct conf *c)
{
    *c = (struct conf){
        .role = ROLE_PLATFORM,
        .log_level = LOG_INFO,
        .http = {.listen = "127.0.0.1:8080", .connections = LIMIT_HTTP_CONNECTIONS},
        .dimse = {.listen = "127.0.0.1:11112",
                  .associations = LIMIT_ASSOCIATIONS,
                  .idle = LIMIT_IDLE_MS / 1000,
                  .max_pdu = LIMIT_PDU_MAX},
        .archive = {.seal_after = LIMIT_SEAL_IDLE_MS / 1000, .max_pack = LIMIT_PACK_BYTES},
    };
}

static bool find_word(const cyaml_strval_t *words, uint32_t n, const char *z, int64_t *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(words[i].str, z) == 0) {
            *ret = words[i].val;
            return true;
        }
    }
    return false;
}

bool conf_role_parse(const char *z, enum conf_role *ret)
{
    int64_t v = 0;
    if (!find_word(roles, COUNT(roles), z, &v)) {
        return false;
    }
    *ret = (enum conf_role)v;
    return true;
}

bool conf_log_level_parse(const char *z, enum log_level *ret)
{
    int64_t v = 0;
    if (!find_word(levels, COUNT(levels), z, &v)) {
        return false;
    }
    *ret = (enum log_level)v;
    return true;
}

/* The first complaint of libcyaml and the innermost place it gives with it. */
struct complaint {
    char     what[160];
    uint32_t line, column; // from 1; 0: unknown
};

static uint32_t number_after(const char *text, const char *word)
{
    uint32_t    n = 0;
    const char *at = strstr(text, word);
    at = at != NULL ? at + strlen(word) : "";
    return parse_u32((struct str){at, strspn(at, "0123456789")}, &n) ? n : 0;
}

static void PRINTF(3, 0) note(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct complaint *c = ctx;
    char              text[256];
    (void)level;
    (void)vsnprintf(text, sizeof(text), fmt, args);
    if (c->what[0] == '\0') {
        const char *from = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
        (void)snprintf(c->what, sizeof(c->what), "%.*s", (int)strcspn(from, "\n"), from);
        return;
    }
    if (c->line == 0) {
        c->line = number_after(text, "line: ");
        c->column = number_after(text, "column: ");
    }
}

static bool is_key_at(struct str text, size_t i, const char *key)
{
    size_t n = strlen(key);
    if (text.len - i < n || memcmp(text.ptr + i, key, n) != 0) {
        return false;
    }
    for (i += n; i < text.len && strchr(" '\"", text.ptr[i]) != NULL; i++) {
    }
    return i < text.len && text.ptr[i] == ':';
}

/* About a key libcyaml tells the place of what came before it.  The key is at or after that. */
static void move_to_key(struct complaint *c, struct str text)
{
    const char *key = strstr(c->what, "key: ");
    key = key != NULL ? key : strstr(c->what, "seen: ");
    if (key == NULL) {
        return;
    }
    key = strchr(key, ' ') + 1;
    uint32_t line = 1, column = 1;
    for (size_t i = 0; i < text.len; i++, column++) {
        bool past = line > c->line || (line == c->line && column >= c->column);
        if (past && is_key_at(text, i, key)) {
            c->line = line;
            return;
        }
        if (text.ptr[i] == '\n') {
            line++;
            column = 0;
        }
    }
}

static void take_u32(const uint32_t *from, uint32_t *to)
{
    *to = from != NULL ? *from : *to;
}

static enum err take_text(const char *key, const char *from, char *to, size_t size,
                          struct errmsg *e)
{
    if (from == NULL) {
        return ERR_OK;
    }
    size_t n = strlen(from);
    if (n >= size) {
        return err_set(e, ERR_SYNTAX, "%s is longer than %zu characters", key, size - 1);
    }
    memcpy(to, from, n + 1);
    return ERR_OK;
}

static enum err take_texts(const struct file *f, struct conf *c, struct errmsg *e)
{
    const struct {
        const char *key, *from;
        char       *to;
        size_t      size;
    } rows[] = {
        {"data", f->data, c->data, sizeof(c->data)},
        {"db", f->db, c->db, sizeof(c->db)},
        {"http.listen", f->http.listen, c->http.listen, sizeof(c->http.listen)},
        {"http.cors", f->http.cors, c->http.cors, sizeof(c->http.cors)},
        {"http.web", f->http.web, c->http.web, sizeof(c->http.web)},
        {"dimse.listen", f->dimse.listen, c->dimse.listen, sizeof(c->dimse.listen)},
        {"dimse.tls.listen", f->dimse.tls.listen, c->dimse_tls.listen, sizeof(c->dimse_tls.listen)},
        {"dimse.tls.cert", f->dimse.tls.cert, c->dimse_tls.cert, sizeof(c->dimse_tls.cert)},
        {"dimse.tls.key", f->dimse.tls.key, c->dimse_tls.key, sizeof(c->dimse_tls.key)},
        {"dimse.tls.ca", f->dimse.tls.ca, c->dimse_tls.ca, sizeof(c->dimse_tls.ca)},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum err rc = take_text(rows[i].key, rows[i].from, rows[i].to, rows[i].size, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

static void take_numbers(const struct file *f, struct conf *c)
{
    c->role = f->role != NULL ? (enum conf_role) * f->role : c->role;
    c->log_level = f->log.level != NULL ? (enum log_level) * f->log.level : c->log_level;
    c->log_phi = f->log.phi != NULL ? *f->log.phi != 0 : c->log_phi;
    take_u32(f->http.threads, &c->http.threads);
    take_u32(f->http.connections, &c->http.connections);
    take_u32(f->dimse.associations, &c->dimse.associations);
    take_u32(f->dimse.idle, &c->dimse.idle);
    take_u32(f->dimse.max_pdu, &c->dimse.max_pdu);
    if (f->dimse.tls.peer_cert != NULL) {
        c->dimse_tls.peer_cert = *f->dimse.tls.peer_cert != 0;
    }
    take_u32(f->archive.seal_after, &c->archive.seal_after);
    c->archive.max_pack = f->archive.max_pack != NULL ? *f->archive.max_pack : c->archive.max_pack;
}

static enum err load(struct bytes text, struct conf *c, struct errmsg *e)
{
    struct complaint     why = {0};
    struct file         *f = NULL;
    const cyaml_config_t config = {
        .log_fn = note,
        .log_ctx = &why,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = cyaml_mem,
        .flags = CYAML_CFG_NO_ALIAS, // aliases of aliases grow without end
    };
    cyaml_err_t r =
        cyaml_load_data(text.ptr, text.len, &config, &schema, (cyaml_data_t **)&f, NULL);
    if (r != CYAML_OK) {
        move_to_key(&why, (struct str){(const char *)text.ptr, text.len});
        return err_set(e, ERR_SYNTAX, "line %u: %s", why.line > 0 ? why.line : 1,
                       why.what[0] != '\0' ? why.what : cyaml_strerror(r));
    }
    if (f == NULL) {
        return ERR_OK; // only comments
    }
    struct conf n = *c;
    enum err    rc = take_texts(f, &n, e);
    take_numbers(f, &n);
    (void)cyaml_free(&config, &schema, f, 0);
    rc = rc != ERR_OK ? rc : conf_check(&n, e);
    if (rc == ERR_OK) {
        *c = n;
    }
    return rc;
}

enum err conf_load(const char *path, struct conf *c, struct errmsg *e)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, LIMIT_CONF);
    enum err rc = file_read_all(path, &b, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = load((struct bytes){b.ptr, b.len}, c, e);
    if (rc != ERR_OK) {
        err_context(e, "%s", path);
    }
    return rc;
}

enum err conf_check(const struct conf *c, struct errmsg *e)
{
    const struct {
        const char *key;
        uint64_t    value, least, most;
    } rows[] = {
        {"http.threads", c->http.threads, 0, 64},
        {"http.connections", c->http.connections, 1, 100000},
        {"dimse.associations", c->dimse.associations, 1, 10000},
        {"dimse.idle", c->dimse.idle, 1, 86400},
        {"dimse.max_pdu", c->dimse.max_pdu, 4096, 16 << 20},
        {"archive.seal_after", c->archive.seal_after, 1, 86400},
        {"archive.max_pack", c->archive.max_pack, 1 << 20, (uint64_t)1 << 40},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].value < rows[i].least || rows[i].value > rows[i].most) {
            return err_set(e, ERR_SYNTAX, "%s is %llu, not %llu to %llu", rows[i].key,
                           (unsigned long long)rows[i].value, (unsigned long long)rows[i].least,
                           (unsigned long long)rows[i].most);
        }
    }
    if (c->dimse_tls.listen[0] != '\0' &&
        (c->dimse_tls.cert[0] == '\0' || c->dimse_tls.key[0] == '\0')) {
        return err_set(e, ERR_SYNTAX, "dimse.tls.listen needs dimse.tls.cert and dimse.tls.key");
    }
    if (c->dimse_tls.peer_cert && c->dimse_tls.ca[0] == '\0') {
        return err_set(e, ERR_SYNTAX, "dimse.tls.peer_cert needs dimse.tls.ca");
    }
    return ERR_OK;
}
