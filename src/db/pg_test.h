#pragma once
/*
 * For tests of any module: a PostgreSQL of their own, through tests/pg.sh.  It ends with the test
 * program, however that ends.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slice.h"

enum { PG_TEST_URL = 256 };

static inline int pg_test_run(const char *verb, const char *arg, char *out, size_t size)
{
    char        script[512];
    const char *source = getenv("GARONNE_SOURCE"); // NOLINT(concurrency-mt-unsafe): before threads
    int         fd[2];
    (void)snprintf(script, sizeof(script), "%s/tests/pg.sh", source != NULL ? source : ".");
    if (pipe2(fd, O_CLOEXEC) != 0) {
        return -1;
    }
    char words[2][PG_TEST_URL];
    (void)snprintf(words[0], sizeof(words[0]), "%s", verb);
    (void)snprintf(words[1], sizeof(words[1]), "%s", arg);
    char *const argv[] = {script, words[0], words[1], NULL};

    posix_spawn_file_actions_t to;
    (void)posix_spawn_file_actions_init(&to);
    (void)posix_spawn_file_actions_adddup2(&to, fd[1], STDOUT_FILENO);
    pid_t pid = 0;
    int   rc = posix_spawn(&pid, script, &to, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&to);
    (void)close(fd[1]);
    size_t n = 0;
    for (ssize_t k = 1; rc == 0 && k > 0 && n + 1 < size; n += k > 0 ? (size_t)k : 0) {
        k = read(fd[0], out + n, size - 1 - n);
    }
    (void)close(fd[0]);
    int status = -1;
    if (rc != 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return -1;
    }
    out[n > 0 && out[n - 1] == '\n' ? n - 1 : n] = 0;
    return WEXITSTATUS(status);
}

/* False, having said so, when PostgreSQL is not installed; a server that cannot start fails the
 * program. */
static inline bool pg_test_start(char url[PG_TEST_URL])
{
    char pid[16];
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    int rc = pg_test_run("start", pid, url, PG_TEST_URL);
    if (rc == 77) {
        (void)printf("skipped on PostgreSQL: it is not installed\n");
        url[0] = 0;
        return false;
    }
    if (rc != 0) {
        (void)fprintf(stderr, "tests/pg.sh start: exit %d\n", rc);
        exit(1); // NOLINT(concurrency-mt-unsafe): a test before it starts
    }
    return true;
}

static inline void pg_test_stop(const char *url)
{
    char out[PG_TEST_URL];
    if (url[0] != 0) {
        (void)pg_test_run("stop", url, out, sizeof(out));
    }
}
