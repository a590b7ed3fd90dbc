#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/file.h"

static char dir[64]; // temporary folder of this run

static const char *at(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static struct bytes text(const char *z)
{
    return str_bytes(str_of(z));
}

static void assert_content(const char *path, const char *want)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    struct errmsg e = {0};
    if (file_read_all(path, &b, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(b.len, strlen(want));
    assert_memory_equal(b.ptr, want, b.len);
}

/* Files in the temporary folder, to see that nothing is left behind. */
static int count_files(void)
{
    char  cmd[128], line[32] = "";
    FILE *p;
    (void)snprintf(cmd, sizeof(cmd), "ls -A %s | wc -l", dir);
    p = popen(cmd, "r"); // allow-banned: a test
    assert_non_null(p);
    (void)!fgets(line, sizeof(line), p);
    (void)pclose(p);
    return (int)strtol(line, NULL, 10); // allow-banned: a test
}

static void reads_and_writes_are_whole(void **state)
{
    (void)state;
    CLEANUP(file_close) int fd = -1;
    char                    got[16] = "";
    size_t                  n = 99;
    struct errmsg           e = {0};
    assert_int_equal(file_open(at("a"), O_RDWR | O_CREAT, 0600, &fd, NULL), ERR_OK);
    assert_int_equal(file_write_at(fd, 3, text("hello"), NULL), ERR_OK);
    assert_int_equal(file_read_at(fd, 3, got, sizeof(got), &n, NULL), ERR_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(file_read_full(fd, 0, got, 8, NULL), ERR_OK);
    assert_memory_equal(got, "\0\0\0hello", 8);
    assert_int_equal(file_read_full(fd, 0, got, 9, &e), ERR_IO);
    assert_non_null(strstr(e.text, "8 of 9 bytes"));
    assert_non_null(strstr(e.text, dir)); // the name is found for a bare descriptor, too
    assert_int_equal(file_read_at(fd, UINT64_MAX, got, 1, &n, NULL), ERR_IO);
    assert_int_equal(file_write_at(fd, INT64_MAX, text("ab"), NULL), ERR_IO);
    assert_int_equal(file_sync(fd, NULL), ERR_OK);
    file_close(&fd);
    assert_int_equal(fd, -1);
}

static void errors_have_codes_of_their_own(void **state)
{
    (void)state;
    int           fd = -1;
    struct errmsg e = {0};
    assert_int_equal(file_open(at("none"), O_RDONLY, 0, &fd, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/none: No such file"));
    assert_int_equal(file_commit(at("there"), text("x"), 0600, NULL), ERR_OK);
    assert_int_equal(file_open(at("there"), O_CREAT | O_EXCL, 0600, &fd, NULL), ERR_EXISTS);
    assert_int_equal(file_open(at("there/x"), O_RDONLY, 0, &fd, NULL), ERR_IO);
    errno = ENOSPC;
    assert_int_equal(file_errno(NULL, "x", "y"), ERR_LIMIT);
    errno = EDQUOT;
    assert_int_equal(file_errno(NULL, "x", "y"), ERR_LIMIT);
    assert_int_equal(fd, -1);
}

static void read_all_stops_at_the_limit_of_the_buffer(void **state)
{
    (void)state;
    assert_int_equal(file_commit(at("five"), text("12345"), 0600, NULL), ERR_OK);

    static const struct {
        const char *what;
        size_t      max;
        enum err    want;
        size_t      len;
    } cases[] = {
        {"room", 100, ERR_OK, 6},
        {"exact", 6, ERR_OK, 6},
        {"one short", 5, ERR_LIMIT, 1},
        {"full before", 1, ERR_LIMIT, 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, cases[i].max);
        buf_u8(&b, 'x'); // what was there stays
        enum err rc = file_read_all(at("five"), &b, NULL);
        if (rc != cases[i].want || b.len != cases[i].len || b.ptr[0] != 'x') {
            fail_msg("%s: %s, %zu bytes", cases[i].what, err_name(rc), b.len);
        }
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(file_read_all("/proc/self/status", &b, NULL), ERR_OK); // size 0 in stat(2)
    assert_true(b.len > 100);
    assert_int_equal(file_read_all(dir, &b, NULL), ERR_IO);
}

static void folders_are_made_on_the_way(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(file_make_dirs(at("d/e//f/"), NULL), ERR_OK);
    assert_int_equal(stat(at("d/e/f"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(file_make_dirs(at("d/e/f"), NULL), ERR_OK);
    assert_int_equal(file_make_dirs("/", NULL), ERR_OK);
    assert_int_equal(file_make_dirs("", NULL), ERR_NOTFOUND);
    assert_int_equal(file_commit(at("plain"), text(""), 0600, NULL), ERR_OK);
    assert_int_equal(file_make_dirs(at("plain/x"), NULL), ERR_IO);
    assert_int_equal(file_make_dirs(at("plain"), NULL), ERR_IO);
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(file_make_dirs("rel/x", NULL), ERR_OK);
    assert_int_equal(stat(at("rel/x"), &st), 0);
}

static void rename_moves_over(void **state)
{
    (void)state;
    char from[128];
    assert_int_equal(file_commit(at("from"), text("new"), 0600, NULL), ERR_OK);
    (void)snprintf(from, sizeof(from), "%s", at("from"));
    assert_int_equal(file_commit(at("to"), text("old"), 0600, NULL), ERR_OK);
    assert_int_equal(file_rename(from, at("to"), NULL), ERR_OK);
    assert_content(at("to"), "new");
    assert_int_equal(file_rename(from, at("to"), NULL), ERR_NOTFOUND);
}

static void commit_leaves_old_or_new_whatever_fails(void **state)
{
    (void)state;
    static const int errnums[] = {EIO, ENOSPC};
    int              files = 0;
    assert_int_equal(file_commit(at("c"), text("old"), 0640, NULL), ERR_OK);
    files = count_files();
    for (int kind = 0; kind < FAULT__COUNT; kind++) {
        enum err rc = ERR_IO;
        unsigned n = 0;
        while (rc != ERR_OK) {
            const char *want = n % 2 == 0 ? "old" : "new";
            int         errnum = errnums[n % 2];
            assert_int_equal(file_commit(at("c"), text(want), 0640, NULL), ERR_OK);
            file_fault_set((enum file_fault)kind, ++n, errnum);
            rc = file_commit(at("c"), text("fresh"), 0640, NULL);
            file_fault_set((enum file_fault)kind, 0, 0);
            assert_true(rc == ERR_OK || rc == (errnum == EIO ? ERR_IO : ERR_LIMIT));
            CLEANUP(buf_done) struct buf b;
            buf_init(&b, 100);
            assert_int_equal(file_read_all(at("c"), &b, NULL), ERR_OK);
            bool old = bytes_eq((struct bytes){b.ptr, b.len}, text(want));
            bool fresh = bytes_eq((struct bytes){b.ptr, b.len}, text("fresh"));
            assert_true(rc == ERR_OK ? fresh : old || fresh);
            assert_int_equal(count_files(), files); // no half-written file stays behind
        }
        assert_true(n >= 2); // each kind was hit at least once
    }
}

static void a_full_disk_is_a_limit_and_passes(void **state)
{
    (void)state;
    assert_int_equal(file_make_dirs(at("small"), NULL), ERR_OK);
    if (geteuid() != 0 || mount("tmpfs", at("small"), "tmpfs", 0, "size=64k") != 0) {
        print_message("skipped: no right to mount a small tmpfs\n");
        skip();
    }
    static uint8_t big[256 << 10];
    enum err       rc = file_commit(at("small/x"), (struct bytes){big, sizeof(big)}, 0600, NULL);
    enum err       after = file_commit(at("small/x"), text("fits"), 0600, NULL);
    if (after == ERR_OK) {
        assert_content(at("small/x"), "fits");
    }
    assert_int_equal(umount(at("small")), 0);
    assert_int_equal(rc, ERR_LIMIT);
    assert_int_equal(after, ERR_OK); // the failed one gave its space back
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/garonne-file-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    char cmd[128];
    (void)state;
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_are_whole),
        cmocka_unit_test(errors_have_codes_of_their_own),
        cmocka_unit_test(read_all_stops_at_the_limit_of_the_buffer),
        cmocka_unit_test(folders_are_made_on_the_way),
        cmocka_unit_test(rename_moves_over),
        cmocka_unit_test(commit_leaves_old_or_new_whatever_fails),
        cmocka_unit_test(a_full_disk_is_a_limit_and_passes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
