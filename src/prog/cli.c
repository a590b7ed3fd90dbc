#include "prog/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"

static const struct opt *find_opt(const char *arg, const struct opt *opts, size_t n,
                                  const char **ret_value)
{
    size_t name = strcspn(arg, "=");
    for (size_t i = 0; i < n; i++) {
        if (strlen(opts[i].name) == name && strncmp(opts[i].name, arg, name) == 0) {
            *ret_value = arg[name] == '=' ? arg + name + 1 : NULL;
            return &opts[i];
        }
    }
    return NULL;
}

bool opts_parse(int argc, char **argv, const struct opt *opts, size_t n_opts, int *ret_n)
{
    int  n = 0;
    bool plain = false; // after "--"
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        if (plain || strncmp(argv[i], "--", 2) != 0) {
            argv[++n] = argv[i];
            continue;
        }
        if (argv[i][2] == '\0') {
            plain = true;
            continue;
        }
        const struct opt *o = find_opt(argv[i], opts, n_opts, &value);
        if (o == NULL) {
            (void)fprintf(stderr, "garonne %s: unknown option %s\n", argv[0], argv[i]);
            return false;
        }
        if (o->flag != NULL) {
            *o->flag = true;
            continue;
        }
        if (value == NULL && i + 1 >= argc) {
            (void)fprintf(stderr, "garonne %s: %s needs a value\n", argv[0], argv[i]);
            return false;
        }
        *o->value = value != NULL ? value : argv[++i];
    }
    *ret_n = n;
    return true;
}

bool opt_u32(const char *name, const char *text, uint32_t max, uint32_t *ret)
{
    uint32_t v;
    if (!parse_u32(str_of(text), &v) || v > max) {
        (void)fprintf(stderr, "garonne: %s takes a whole number up to %u, not \"%s\"\n", name, max,
                      text);
        return false;
    }
    *ret = v;
    return true;
}

int place_open(const struct place *p, bool recover, bool background, struct archive **ret)
{
    return archive_place(p, (struct archive_conf){.recover = recover, .background = background},
                         ret);
}

int archive_place(const struct place *p, struct archive_conf c, struct archive **ret)
{
    struct errmsg e = {0};
    c.data = p->data;
    c.db_url = p->db;
    if (p->data == NULL) {
        return usage("--data DIR is missing: the folder of the archive");
    }
    return archive_open(&c, ret, &e) == ERR_OK ? EXIT_DONE : fail(&e, "cannot open the archive");
}

enum err path_make(char ret[LIMIT_PATH], struct errmsg *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(ret, LIMIT_PATH, fmt, ap);
    va_end(ap);
    return n >= 0 && n < LIMIT_PATH ? ERR_OK
                                    : err_set(e, ERR_LIMIT, "path over %d characters", LIMIT_PATH);
}

int fail(const struct errmsg *e, const char *doing)
{
    (void)fprintf(stderr, "garonne: %s: %s\n", doing,
                  e->text[0] != '\0' ? e->text : err_name(e->code));
    return EXIT_FAILED;
}

int usage(const char *text)
{
    (void)fprintf(stderr, "garonne: %s\n", text);
    return EXIT_USAGE;
}

void print_json(struct buf *b)
{
    buf_u8(b, '\n');
    (void)fwrite(b->ptr, 1, b->len, stdout);
}
