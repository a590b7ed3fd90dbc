/*
 * The built pages, by a table made at the start: a path is served when it is in the table and not
 * otherwise, so that no request ever names a file.  Beside a file X lie X.br and X.gz.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "api/api_priv.h"
#include "base/log.h"
#include "sys/file.h"

enum coding { CODING_NONE, CODING_GZIP, CODING_BROTLI, CODING__COUNT };

static const char *const coding_suffix[CODING__COUNT] = {"", ".gz", ".br"};
static const char *const coding_name[CODING__COUNT] = {"", "gzip", "br"};

struct page {
    struct str  path; // below the folder, without a slash in front
    const char *type;
    bool        hashed;              // its name changes with its content
    uint64_t    size[CODING__COUNT]; // of a coding; 0: not there (an empty file is served plain)
    char        etag[CODING__COUNT][40];
};

struct site {
    struct arena arena;
    struct str   folder;
    struct page *pages; // sorted by path
    size_t       n;
};

static const struct {
    const char *suffix, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".webapp", "application/manifest+json"},
    {".wasm", "application/wasm"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
};

static bool ends_with(struct str s, struct str end)
{
    return s.len >= end.len && memcmp(s.ptr + s.len - end.len, end.ptr, end.len) == 0;
}

static bool starts_with(struct str s, struct str start)
{
    return s.len >= start.len && memcmp(s.ptr, start.ptr, start.len) == 0;
}

static const char *type_of(struct str path)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ends_with(path, str_of(types[i].suffix))) {
            return types[i].type;
        }
    }
    return NULL;
}

/*
 * Vite puts "-" and eight characters before the last suffix, all below assets/; the viewer's
 * bundler a hash of sixteen hexadecimal digits as a part of the name.
 */
static bool is_hashed(struct str path)
{
    size_t run = 0;
    if (starts_with(path, STR("assets/"))) {
        return true;
    }
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        run = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ? run + 1 : 0;
        if (run == 16) {
            return true;
        }
    }
    return false;
}

/* ---- the table */

struct walk {
    struct site  *s;
    size_t        room;
    struct errmsg why;
};

static enum err full_path(const struct site *s, struct str path, enum coding c,
                          char ret[LIMIT_PATH], struct errmsg *e)
{
    int n = snprintf(ret, LIMIT_PATH, "%.*s/%.*s%s", STR_ARG(s->folder), STR_ARG(path),
                     coding_suffix[c]);
    return n > 0 && n < LIMIT_PATH ? ERR_OK : err_set(e, ERR_LIMIT, "a path is too long");
}

static enum err add_page(struct walk *w, struct str path, const struct stat *plain)
{
    struct site *s = w->s;
    const char  *type = type_of(path);
    char         full[LIMIT_PATH];
    if (type == NULL) {
        return ERR_OK; // .br and .gz come with their file
    }
    if (s->n == w->room) {
        return err_set(&w->why, ERR_LIMIT, "more than %zu files", w->room);
    }
    struct page *p = &s->pages[s->n++];
    *p = (struct page){.path = arena_str(&s->arena, path), .type = type, .hashed = is_hashed(path)};
    for (enum coding c = CODING_NONE; c < CODING__COUNT; c++) {
        struct stat st = *plain;
        enum err    rc = full_path(s, path, c, full, &w->why);
        if (rc != ERR_OK) {
            return rc;
        }
        /* One that is older than its file is left from another build. */
        if (c != CODING_NONE && (stat(full, &st) != 0 || st.st_mtime < plain->st_mtime)) {
            continue;
        }
        p->size[c] = (uint64_t)st.st_size;
        (void)snprintf(p->etag[c], sizeof(p->etag[c]), "\"%" PRIx64 "-%" PRIx64 "%s\"",
                       (uint64_t)plain->st_size,
                       (uint64_t)plain->st_mtim.tv_sec * 1000 +
                           (uint64_t)plain->st_mtim.tv_nsec / 1000000,
                       coding_name[c]);
    }
    return p->path.ptr != NULL ? ERR_OK : err_set(&w->why, ERR_NOMEM, "too many pages");
}

/* NOLINTNEXTLINE(misc-no-recursion): depth is bounded */
static enum err walk(struct walk *w, struct str below, unsigned depth)
{
    char     full[LIMIT_PATH], path[LIMIT_PATH];
    enum err rc = full_path(w->s, below, CODING_NONE, full, &w->why);
    DIR     *d = rc == ERR_OK ? opendir(full) : NULL;
    if (d == NULL) {
        return rc != ERR_OK ? rc : file_errno(&w->why, "open", full);
    }
    for (;;) {
        const struct dirent *f = readdir(d); // NOLINT(concurrency-mt-unsafe): one thread a stream
        if (f == NULL || rc != ERR_OK) {
            break;
        }
        struct stat st;
        int n = snprintf(path, sizeof(path), "%.*s%s%s", STR_ARG(below), below.len > 0 ? "/" : "",
                         f->d_name);
        struct str at = {path, (size_t)n};
        if (f->d_name[0] == '.' || n >= (int)sizeof(path) ||
            full_path(w->s, at, CODING_NONE, full, &w->why) != ERR_OK || stat(full, &st) != 0) {
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            rc = depth > 0 ? walk(w, at, depth - 1) : ERR_OK;
        } else if (S_ISREG(st.st_mode)) {
            rc = add_page(w, at, &st);
        }
    }
    (void)closedir(d);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    const struct page *x = a, *y = b;
    size_t             n = x->path.len < y->path.len ? x->path.len : y->path.len;
    int                c = memcmp(x->path.ptr, y->path.ptr, n);
    return c != 0 ? c : (x->path.len > y->path.len) - (x->path.len < y->path.len);
}

enum err site_open(const char *folder, struct site **ret, struct errmsg *e)
{
    struct site *s = calloc(1, sizeof(*s)); // allow-banned: freed in site_free
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the pages");
    }
    arena_init(&s->arena, LIMIT_SITE);
    s->folder = arena_str(&s->arena, str_of(folder));
    s->pages = arena_array(&s->arena, LIMIT_SITE_FILES, struct page);
    struct walk w = {.s = s, .room = LIMIT_SITE_FILES};
    enum err    rc = s->folder.ptr != NULL && s->pages != NULL ? walk(&w, STR(""), 6) : ERR_NOMEM;
    if (rc != ERR_OK) {
        site_free(s);
        return err_set(e, rc, "pages in %s: %s", folder, w.why.text);
    }
    qsort(s->pages, s->n, sizeof(s->pages[0]), by_path);
    *ret = s;
    return ERR_OK;
}

void site_free(struct site *s)
{
    if (s != NULL) {
        arena_done(&s->arena);
        free(s);
    }
}

static const struct page *page_find(const struct site *s, struct str path)
{
    struct page key = {.path = path};
    return bsearch(&key, s->pages, s->n, sizeof(s->pages[0]), by_path);
}

/* ---- answers */

/*
 * Two policies.  Our own pages load nothing but our own scripts.  The viewer is a prepared package:
 * its code uses eval, inline styles and workers made of blobs; it may not talk to anybody else
 * either.
 */
static const char policy_own[] =
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'";
static const char policy_viewer[] =
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' blob: data:; worker-src 'self' blob:; media-src 'self' blob:; "
    "object-src 'self' blob:; frame-src 'self' blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'";

static void add_headers(struct http_request *r, const struct page *p)
{
    bool viewer = starts_with(p->path, STR("viewer/"));
    http_add_header(r, "Content-Security-Policy", str_of(viewer ? policy_viewer : policy_own));
    http_add_header(r, "X-Content-Type-Options", STR("nosniff"));
    http_add_header(r, "Referrer-Policy", STR("no-referrer"));
    http_add_header(r, "Cross-Origin-Opener-Policy", STR("same-origin"));
    http_add_header(r, "Cross-Origin-Resource-Policy", STR("same-origin"));
    http_add_header(r, "Vary", STR("Accept-Encoding"));
    /* The viewer's names are of its package, whose files we change: not for ever. */
    http_add_header(r, "Cache-Control",
                    !p->hashed ? STR("no-cache")
                    : viewer   ? STR("public, max-age=604800")
                               : STR("public, max-age=31536000, immutable"));
}

/* Is the coding in the list, with a weight that is not zero? */
static bool is_accepted(struct str list, struct str coding)
{
    for (size_t i = 0; i < list.len;) {
        size_t end = i;
        while (end < list.len && list.ptr[end] != ',') {
            end++;
        }
        while (i < end && list.ptr[i] == ' ') {
            i++;
        }
        struct str item = {list.ptr + i, end - i};
        if (starts_with(item, coding) && (item.len == coding.len || item.ptr[coding.len] == ';' ||
                                          item.ptr[coding.len] == ' ')) {
            struct str rest = {item.ptr + coding.len, item.len - coding.len};
            return !(ends_with(rest, STR("q=0")) || ends_with(rest, STR("q=0.0")) ||
                     ends_with(rest, STR("q=0.00")) || ends_with(rest, STR("q=0.000")));
        }
        i = end + 1;
    }
    return false;
}

static enum coding choose_coding(struct http_request *r, const struct page *p)
{
    struct str accept = http_header(r, "Accept-Encoding");
    for (enum coding c = CODING_BROTLI; c > CODING_NONE; c--) {
        if (p->size[c] > 0 && is_accepted(accept, str_of(coding_name[c]))) {
            return c;
        }
    }
    return CODING_NONE;
}

static void send_page(struct http_request *r, const struct site *s, const struct page *p)
{
    char          full[LIMIT_PATH];
    struct errmsg e = {0};
    enum coding   c = choose_coding(r, p);
    add_headers(r, p);
    if (http_is_cached(r, str_of(p->etag[c]))) {
        return;
    }
    struct http_file f = {.fd = -1, .len = p->size[c]};
    enum err         rc = full_path(s, p->path, c, full, &e);
    rc = rc == ERR_OK ? file_open(full, O_RDONLY, 0, &f.fd, &e) : rc;
    struct stat st;
    if (rc == ERR_OK && (fstat(f.fd, &st) != 0 || (uint64_t)st.st_size != f.len)) {
        rc = err_set(&e, ERR_IO, "%s is not as it was at the start", full);
        file_close(&f.fd);
    }
    if (rc != ERR_OK) {
        http_error(r, 503, "io", "%s", e.text);
        return;
    }
    if (c != CODING_NONE) {
        http_add_header(r, "Content-Encoding", str_of(coding_name[c]));
    }
    http_answer_file(r, 200, p->type, f);
}

/* Pages of one document each, whose paths beyond are for the script. */
static const struct page *page_of(const struct site *s, struct str path)
{
    const struct page *p = page_find(s, path);
    if (p != NULL) {
        return p;
    }
    if (path.len == 0) {
        return page_find(s, STR("index.html"));
    }
    if (starts_with(path, STR("read/"))) {
        return page_find(s, STR("read.html"));
    }
    /* A missing script is missing: a page in its place would be taken for one. */
    bool names_file = memchr(path.ptr, '.', path.len) != NULL && type_of(path) != NULL;
    return starts_with(path, STR("viewer/")) && !names_file ? page_find(s, STR("viewer/index.html"))
                                                            : NULL;
}

void site_handle(struct http_request *r, void *arg)
{
    const struct api *a = arg;
    struct str        path = http_param(r, "rest");
    if (a->site == NULL) {
        http_error(r, 404, "notfound", "no pages are installed here (serve --web DIR)");
        return;
    }
    const struct page *p = page_of(a->site, path.ptr != NULL ? path : STR(""));
    if (p == NULL) {
        http_error(r, 404, "notfound", "no such page");
        return;
    }
    send_page(r, a->site, p);
}
