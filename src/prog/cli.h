#pragma once
/*
 * What the subcommands share: options from a table, the archive opened from --data and --db, words
 * and exit codes (0 done, 1 failed, 2 usage).
 */
#include "archive/archive.h"
#include "base/jsonw.h"
#include "base/limits.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct opt {
    const char  *name;  // "--data"
    const char **value; // takes a value
    bool        *flag;  // or none
};

/*
 * argv[0] is the subcommand.  Positional arguments are moved to the front of argv and *ret_n is
 * their number (without argv[0]). False after telling on standard error what is wrong.
 */
bool opts_parse(int argc, char **argv, const struct opt *opts, size_t n_opts, int *ret_n);
bool opt_u32(const char *name, const char *text, uint32_t max,
             uint32_t *ret); // false after telling

struct place { // the options of every command that touches an archive
    const char *data, *db;
    bool        json;
};

#define PLACE_OPTS(p)                                                                              \
    {"--data", &(p).data, NULL}, {"--db", &(p).db, NULL},                                          \
    {                                                                                              \
        "--json", NULL, &(p).json                                                                  \
    }

/* Opens the archive (created when it is new); EXIT_FAILED, EXIT_USAGE after telling why not. */
int place_open(const struct place *p, bool recover, bool background, struct archive **ret);
/* The same with other settings; data and database are those of the place. */
int archive_place(const struct place *p, struct archive_conf c, struct archive **ret);

/* A path by format; ERR_LIMIT when it is too long. */
enum err path_make(char ret[LIMIT_PATH], struct errmsg *e, const char *fmt, ...) PRINTF(3, 4);

int  fail(const struct errmsg *e, const char *doing); // prints, returns EXIT_FAILED
int  usage(const char *text);                         // prints, returns EXIT_USAGE
void print_json(struct buf *b);                       // and a line end

int cmd_serve(int argc, char **argv);
int cmd_tenant(int argc, char **argv);
int cmd_peer(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_reindex(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_scu(int argc, char **argv); // echo, send, find, get, move
int cmd_bench(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_transcode(int argc, char **argv);
