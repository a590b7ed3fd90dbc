#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "pack/testkit.h"

enum { SMALL = 5000, LARGE = 700000 };

static uint32_t next_n = 1; // each test writes packs of its own

static struct errmsg e; // of calls that must not fail

static void must(enum err rc)
{
    if (rc != ERR_OK) {
        fail_msg("%s: %s", err_name(rc), e.text);
    }
}

static struct pack *create(const struct pack_origin *o)
{
    struct pack *p = NULL;
    must(pack_create(kit_folder(), o, &p, &e));
    return p;
}

static struct pack *reopen(const struct pack_origin *o)
{
    struct pack *p = NULL;
    must(pack_reopen(kit_folder(), o, &p, &e));
    return p;
}

static const char *path_of(const struct pack_origin *o)
{
    static char path[PACK_PATH];
    must(pack_path(path, kit_folder(), o, true, &e));
    return path;
}

static off_t file_size(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* A shell command on the file $P. */
static int run(const char *command, const char *path)
{
    char cmd[4096];
    (void)snprintf(cmd, sizeof(cmd), "P='%s'; %s", path, command);
    int r = system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
    return WIFEXITED(r) ? WEXITSTATUS(r) : -1;
}

static void path_names_the_series(void **state)
{
    (void)state;
    char               path[PACK_PATH] = "";
    struct pack_origin o = kit_origin(7);
    must(pack_path(path, "/r", &o, false, &e));
    assert_string_equal(path, "/r/PURPAN/ff/1.2.3/1.2.3.4.7.tar");
    must(pack_path(path, "/r", &o, true, &e));
    assert_string_equal(path, "/r/PURPAN/ff/1.2.3/1.2.3.4.7.tar.open");
}

static void path_refuses_what_could_leave_its_folder(void **state)
{
    (void)state;

    static const struct {
        const char *what, *tenant, *study, *series;
        uint32_t    n;
    } cases[] = {
        {"no tenant", "", "1", "2", 1},
        {"tenant up", "..", "1", "2", 1},
        {"tenant with a slash", "A/B", "1", "2", 1},
        {"tenant in small letters", "a", "1", "2", 1},
        {"tenant too long", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", "1", "2", 1},
        {"study up", "A", "..", "2", 1},
        {"study with a slash", "A", "1/2", "2", 1},
        {"no series", "A", "1", "", 1},
        {"number 0", "A", "1", "2", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char               path[PACK_PATH];
        struct pack_origin o = {.tenant = str_of(cases[i].tenant),
                                .study_uid = str_of(cases[i].study),
                                .series_uid = str_of(cases[i].series),
                                .n = cases[i].n};
        if (pack_path(path, "/r", &o, true, NULL) != ERR_SYNTAX) {
            fail_msg("%s was taken", cases[i].what);
        }
    }
    char root[PACK_PATH], path[PACK_PATH];
    memset(root, 'r', sizeof(root) - 1);
    root[sizeof(root) - 1] = '\0';
    struct pack_origin o = kit_origin(1);
    assert_int_equal(pack_path(path, root, &o, true, NULL), ERR_LIMIT);
}

static void images_are_found_by_a_scan(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o);
    for (size_t i = 0; i < 5; i++) {
        must(kit_store(p, i, i == 2 ? LARGE : SMALL + i, &e));
    }
    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    for (int check = 0; check < 2; check++) {
        struct pack_scan s;
        must(pack_scan_fd(pack_fd(p), check == 1, &a, &s, &e));
        assert_int_equal(s.n, 5);
        assert_int_equal(s.good_end, pack_bytes(p));
        assert_false(s.torn);
        assert_int_equal(s.damaged, 0);
        assert_int_equal(s.sealed.bytes, 0);
        assert_true(str_eq(s.origin.tenant, o.tenant));
        assert_true(str_eq(s.origin.called, o.called));
        assert_true(str_eq(s.origin.series_uid, o.series_uid));
        assert_int_equal(s.origin.n, o.n);
        assert_true(s.origin.received_us == o.received_us);
        for (size_t i = 0; i < 5; i++) {
            const struct pack_image *mine = &pack_images(p)[i];
            assert_true(is_kit_image(pack_fd(p), &s.images[i], i, i == 2 ? LARGE : SMALL + i));
            assert_true(is_same_image(mine, &s.images[i]));
        }
    }
    pack_close(p);
}

static void assert_zeros_from(int fd, uint64_t at)
{
    uint8_t chunk[4096];
    size_t  n = 0;
    do {
        must(file_read_at(fd, at, chunk, sizeof(chunk), &n, &e));
        assert_true(is_tar_zero((struct bytes){chunk, n}));
        at += n;
    } while (n > 0);
}

static void an_aborted_image_leaves_nothing(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o);
    must(kit_send(p, 1, LARGE, &e)); // the very first
    pack_image_abort(p);
    must(kit_store(p, 2, SMALL, &e));
    must(kit_send(p, 3, LARGE, &e));
    pack_image_abort(p);
    assert_zeros_from(pack_fd(p), pack_bytes(p));
    must(kit_store(p, 4, SMALL, &e)); // ends within what the aborted one wrote
    must(kit_send(p, 5, LARGE, &e));
    pack_close(p); // aborts
    p = reopen(&o);
    assert_int_equal(pack_count(p), 2);
    assert_true(is_kit_image(pack_fd(p), &pack_images(p)[0], 2, SMALL));
    assert_true(is_kit_image(pack_fd(p), &pack_images(p)[1], 4, SMALL));
    must(kit_store(p, 6, SMALL, &e));
    pack_close(p);
}

static void a_pack_is_taken_up_again(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    pack_close(create(&o)); // without images nothing stays
    struct pack *p = NULL;
    assert_int_equal(pack_reopen(kit_folder(), &o, &p, NULL), ERR_NOTFOUND);
    p = create(&o);
    must(kit_store(p, 0, SMALL, &e));
    pack_close(p);
    assert_true((uint64_t)file_size(path_of(&o)) < SMALL + 8192); // reservation given back
    for (size_t i = 1; i < 4; i++) {
        struct pack_origin shorter = o;
        shorter.calling = STR("OTHER"); // what the first member says stays
        p = reopen(&shorter);
        assert_int_equal(pack_count(p), i);
        assert_true(str_eq(pack_get_origin(p)->calling, o.calling));
        must(kit_store(p, i, SMALL, &e));
        pack_close(p);
    }
    p = reopen(&o);
    for (size_t i = 0; i < 4; i++) {
        assert_true(is_kit_image(pack_fd(p), &pack_images(p)[i], i, SMALL));
    }
    pack_close(p);
}

static void a_pack_has_one_writer(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o), *q = NULL;
    must(kit_store(p, 0, SMALL, &e));
    assert_int_equal(pack_create(kit_folder(), &o, &q, NULL), ERR_EXISTS);
    assert_int_equal(pack_reopen(kit_folder(), &o, &q, NULL), ERR_CONFLICT); // another thread
    pid_t pid = fork();
    if (pid == 0) { // another process
        _exit(pack_reopen(kit_folder(), &o, &q, NULL) == ERR_CONFLICT ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    must(kit_store(p, 1, SMALL, &e));
    pack_close(p);
    p = reopen(&o);
    assert_int_equal(pack_count(p), 2);
    pack_close(p);
}

/* Overwrite one byte. */
static void flip(const char *path, uint64_t at)
{
    CLEANUP(file_close) int fd = -1;
    uint8_t                 b;
    must(file_open(path, O_RDWR, 0, &fd, &e));
    must(file_read_full(fd, at, &b, 1, &e));
    b ^= 0x20;
    must(file_write_at(fd, at, (struct bytes){&b, 1}, &e));
}

static void a_torn_last_image_is_dropped(void **state)
{
    (void)state;
    for (size_t i = 1; i <= 2; i++) { // the only image, then the second of two
        struct pack_origin o = kit_origin(next_n++);
        struct pack       *p = create(&o);
        for (size_t k = 0; k < i; k++) {
            must(kit_store(p, k, LARGE, &e));
        }
        uint64_t at = pack_images(p)[i - 1].at + LARGE / 2;
        pack_close(p);
        flip(path_of(&o), at); // its header reached the disk, a block in the middle did not
        p = reopen(&o);
        assert_int_equal(pack_count(p), i - 1);
        must(kit_store(p, 7, SMALL, &e));
        pack_close(p);
        p = reopen(&o);
        assert_int_equal(pack_count(p), i);
        assert_true(is_kit_image(pack_fd(p), &pack_images(p)[i - 1], 7, SMALL));
        pack_close(p);
    }
}

static void damaged_in_the_middle(int where) // pax header, header of image 1, zeros over it
{
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o), *q = NULL;
    for (size_t k = 0; k < 4; k++) {
        must(kit_store(p, k, SMALL, &e));
    }
    uint64_t header = pack_images(p)[1].at - 512;
    pack_close(p);
    if (where < 2) {
        flip(path_of(&o), where == 0 ? 3 : header + 3);
    } else {
        static const uint8_t    zero[512];
        CLEANUP(file_close) int fd = -1;
        must(file_open(path_of(&o), O_RDWR, 0, &fd, &e));
        must(file_write_at(fd, header, (struct bytes){zero, sizeof(zero)}, &e));
    }
    off_t before = file_size(path_of(&o));
    assert_int_equal(pack_reopen(kit_folder(), &o, &q, NULL), ERR_SYNTAX);
    assert_int_equal(file_size(path_of(&o)), before);

    CLEANUP(arena_done) struct arena a;
    arena_init(&a, 1 << 20);
    CLEANUP(file_close) int fd = -1;
    struct pack_scan        s;
    must(file_open(path_of(&o), O_RDONLY, 0, &fd, &e));
    must(pack_scan_fd(fd, true, &a, &s, &e));
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.n, where == 0 ? 4 : 3); // the others are still to be had
    assert_true(is_kit_image(fd, &s.images[s.n - 1], 3, SMALL));
}

static void damage_in_the_middle_cuts_nothing_off(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        damaged_in_the_middle(where);
    }
}

static void another_series_is_not_taken_for_this_one(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++), other = kit_origin(next_n++);
    struct pack       *p = create(&o);
    char               from[PACK_PATH];
    must(kit_store(p, 0, SMALL, &e));
    pack_close(p);
    (void)snprintf(from, sizeof(from), "%s", path_of(&o));
    assert_int_equal(rename(from, path_of(&other)), 0);
    assert_int_equal(pack_reopen(kit_folder(), &other, &p, NULL), ERR_SYNTAX);
}

static void any_tar_reads_an_open_pack(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o);
    char               uid[65];
    memset(uid, '1', 64);
    uid[1] = '.';
    uid[64] = '\0';
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    size_t head = kit_image_uid(9, str_of(uid), SMALL, &b);
    must(kit_store(p, 0, SMALL, &e));
    must(pack_image_begin(p, str_of(uid), STR(KIT_CLASS), STR(KIT_SYNTAX),
                          (struct bytes){b.ptr, head}, &e));
    must(pack_image_add(p, (struct bytes){b.ptr + head, b.len - head}, &e));
    must(pack_image_commit(p, NULL, &e));
    char want[PACK_PATH + 8];
    (void)snprintf(want, sizeof(want), "%s.want", path_of(&o));
    must(file_commit(want, (struct bytes){b.ptr, b.len}, 0600, &e));
    for (int i = 0; i < 3; i++) {
        if (i == 1) {
            must(kit_send(p, 2, LARGE, &e)); // while an image arrives
        } else if (i == 2) {
            pack_close(p);
        }
        const char *path = path_of(&o);
        assert_int_equal(run("test \"$(tar tf $P 2>&1 | wc -l)\" = 2", path), 0);
        assert_int_equal(run("cd $(dirname $P) && mkdir x && tar xf $P -C x && cmp x/1.11*.dcm "
                             "$P.want && test $(ls x | wc -l) = 2 && rm -r x",
                             path),
                         0);
        if (run("command -v bsdtar >/dev/null", path) == 0) {
            assert_int_equal(run("test \"$(bsdtar tf $P 2>&1 | wc -l)\" = 2", path), 0);
        }
        if (run("command -v python3 >/dev/null", path) == 0) {
            assert_int_equal(run("test \"$(python3 -m tarfile -l $P 2>&1 | wc -l)\" = 2", path), 0);
        }
    }
}

static size_t size_of(size_t i)
{
    return i == 1 ? 60000 : SMALL;
}

/* The n-th call of one kind fails once; what was acknowledged must be there, whole, and the pack
 * must go on. */
static void one_call_fails(enum file_fault kind, unsigned n)
{
    int                errnum = n % 2 == 0 ? EIO : ENOSPC;
    enum err           want = n % 2 == 0 ? ERR_IO : ERR_LIMIT;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = NULL;
    size_t             acked[6], n_acked = 0;
    file_fault_set(kind, n, errnum);
    enum err rc = pack_create(kit_folder(), &o, &p, NULL);
    if (rc != ERR_OK) {
        assert_int_equal(rc, want);
        must(pack_create(kit_folder(), &o, &p, &e)); // nothing in the way of the next try
    }
    for (size_t i = 0; i < 6; i++) {
        rc = kit_store(p, i, size_of(i), NULL);
        assert_true(rc == ERR_OK || rc == want);
        if (rc == ERR_OK) {
            acked[n_acked++] = i;
        }
    }
    file_fault_set(kind, 0, 0);
    assert_true(n_acked >= 5);
    if (n % 4 < 2) {
        pack_close(p);
        p = reopen(&o);
    }
    assert_int_equal(pack_count(p), n_acked);
    for (size_t k = 0; k < n_acked; k++) {
        assert_true(is_kit_image(pack_fd(p), &pack_images(p)[k], acked[k], size_of(acked[k])));
    }
    pack_close(p);
    assert_int_equal(unlink(path_of(&o)), 0);
}

static void no_failing_call_loses_an_image(void **state)
{
    (void)state;
    for (int kind = 0; kind < FAULT__COUNT; kind++) {
        for (unsigned n = 1; n <= 60; n++) {
            one_call_fails((enum file_fault)kind, n);
        }
    }
}

/* A child stores images and says which are durable, until it is killed. */
static void store_until_killed(const struct pack_origin *o, int out)
{
    struct pack *p = NULL;
    if (pack_reopen(kit_folder(), o, &p, NULL) != ERR_OK &&
        pack_create(kit_folder(), o, &p, NULL) != ERR_OK) {
        _exit(1);
    }
    for (uint32_t i = (uint32_t)pack_count(p);; i++) {
        size_t size = i % 3 == 0 ? 200000 : SMALL;
        if (i % 5 == 4) { // some are broken off
            if (kit_send(p, i, size, NULL) != ERR_OK) {
                _exit(1);
            }
            pack_image_abort(p);
        }
        if (kit_store(p, i, size, NULL) != ERR_OK || write(out, &i, sizeof(i)) != sizeof(i)) {
            _exit(1);
        }
    }
}

static void kill_9_loses_nothing_acknowledged(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    uint32_t           acked = 0;
    unsigned           seed = 1;
    for (int round = 0; round < 25; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        if (pid == 0) {
            (void)close(pipes[0]);
            store_until_killed(&o, pipes[1]);
        }
        (void)close(pipes[1]);
        seed = seed * 1103515245U + 12345U;
        (void)usleep(seed / 65536 % 20000 + 500);
        assert_int_equal(kill(pid, SIGKILL), 0);
        uint32_t i;
        while (read(pipes[0], &i, sizeof(i)) == sizeof(i)) {
            assert_true(i >= acked);
            acked = i + 1;
        }
        (void)close(pipes[0]);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        struct pack *p = NULL;
        enum err     rc = pack_reopen(kit_folder(), &o, &p, NULL);
        if (rc == ERR_NOTFOUND) {
            assert_int_equal(acked, 0);
            continue;
        }
        assert_int_equal(rc, ERR_OK);
        assert_true(pack_count(p) >= acked && pack_count(p) <= (size_t)acked + 1);
        for (size_t k = 0; k < pack_count(p); k++) {
            assert_true(
                is_kit_image(pack_fd(p), &pack_images(p)[k], k, k % 3 == 0 ? 200000 : SMALL));
        }
        acked = (uint32_t)pack_count(p);
        pack_close(p);
    }
    print_message("%u images acknowledged over 25 kills\n", acked);
}

static void a_full_disk_is_an_answer(void **state)
{
    (void)state;
    char root[128], filler[160];
    (void)snprintf(root, sizeof(root), "%s/full", kit_folder());
    (void)snprintf(filler, sizeof(filler), "%s/filler", root);
    assert_int_equal(mkdir(root, 0700), 0);
    if (mount("garonne-test", root, "tmpfs", 0, "size=8m") != 0) {
        print_message("skipped: no right to mount a tmpfs\n");
        skip();
    }
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = NULL;
    must(pack_create(root, &o, &p, &e));
    size_t n = 0, refused = 0;
    for (size_t i = 0; i < 20; i++) {
        enum err rc = kit_store(p, i, LARGE, NULL);
        if (rc == ERR_OK) {
            n++;
        } else {
            assert_int_equal(rc, ERR_LIMIT);
            refused++;
        }
    }
    assert_true(n >= 10 && refused >= 8); // all the space was used, to less than an image
    must(kit_store(p, 100, SMALL, &e));   // a small one still fits
    /* Something else fills the disk, then goes away. */
    assert_int_equal(run("head -c 8m /dev/zero >$P 2>/dev/null", filler), 1);
    assert_int_equal(kit_store(p, 101, LARGE, NULL), ERR_LIMIT);
    assert_int_equal(unlink(filler), 0);
    pack_close(p);
    must(pack_reopen(root, &o, &p, &e));
    assert_int_equal(pack_count(p), n + 1);
    for (size_t i = 0; i < n; i++) {
        assert_true(is_kit_image(pack_fd(p), &pack_images(p)[i], i, LARGE));
    }
    assert_int_equal(mount("garonne-test", root, "tmpfs", MS_REMOUNT, "size=16m"), 0);
    must(kit_store(p, 200, LARGE, &e));
    pack_close(p);
    assert_int_equal(umount(root), 0);
}

static void a_file_system_that_cannot_reserve_will_do(void **state)
{
    (void)state;
    char root[128];
    (void)snprintf(root, sizeof(root), "%s/ramfs", kit_folder());
    assert_int_equal(mkdir(root, 0700), 0);
    if (mount("garonne-test", root, "ramfs", 0, NULL) != 0) {
        print_message("skipped: no right to mount a ramfs\n");
        skip();
    }
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = NULL;
    must(pack_create(root, &o, &p, &e));
    for (size_t i = 0; i < 6; i++) {
        must(kit_send(p, i, LARGE, &e));
        if (i % 2 == 0) {
            must(pack_image_commit(p, NULL, &e));
        } else {
            pack_image_abort(p);
        }
    }
    pack_close(p);
    must(pack_reopen(root, &o, &p, &e));
    assert_int_equal(pack_count(p), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_kit_image(pack_fd(p), &pack_images(p)[i], 2 * i, LARGE));
    }
    pack_close(p);
    assert_int_equal(umount(root), 0);
}

static void an_image_may_be_larger_than_8_gib(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = create(&o);
    must(kit_store(p, 0, SMALL, &e));
    uint64_t at = pack_bytes(p);
    pack_close(p);
    /* Written by hand as a sparse file: the header as the writer makes it, no hash. */
    struct tar_member       m = {.type = '0', .size = (uint64_t)9 << 30, .name = "1.2.9.dcm"};
    uint8_t                 block[TAR_BLOCK];
    CLEANUP(file_close) int fd = -1;
    tar_header_write(&m, block);
    must(file_open(path_of(&o), O_RDWR, 0, &fd, &e));
    must(file_write_at(fd, at, (struct bytes){block, TAR_BLOCK}, &e));
    assert_int_equal(ftruncate(fd, (off_t)(at + TAR_BLOCK + m.size)), 0);
    file_close(&fd);
    p = reopen(&o);
    assert_int_equal(pack_count(p), 2);
    assert_true(pack_images(p)[1].size == m.size);
    assert_true(pack_bytes(p) == at + TAR_BLOCK + m.size);
    must(kit_store(p, 3, SMALL, &e)); // and on it goes behind it
    pack_close(p);
    p = reopen(&o);
    assert_int_equal(pack_count(p), 3);
    assert_true(is_kit_image(pack_fd(p), &pack_images(p)[2], 3, SMALL));
    pack_close(p);
    const char *path = path_of(&o);
    assert_int_equal(run("test \"$(tar tvf $P 2>&1 | grep -c ' 9663676416 ')\" = 1", path), 0);
    if (run("command -v bsdtar >/dev/null", path) == 0) {
        assert_int_equal(run("test \"$(bsdtar tvf $P 2>&1 | grep -c ' 9663676416 ')\" = 1", path),
                         0);
    }
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_names_the_series),
        cmocka_unit_test(path_refuses_what_could_leave_its_folder),
        cmocka_unit_test(images_are_found_by_a_scan),
        cmocka_unit_test(an_aborted_image_leaves_nothing),
        cmocka_unit_test(a_pack_is_taken_up_again),
        cmocka_unit_test(a_pack_has_one_writer),
        cmocka_unit_test(a_torn_last_image_is_dropped),
        cmocka_unit_test(damage_in_the_middle_cuts_nothing_off),
        cmocka_unit_test(another_series_is_not_taken_for_this_one),
        cmocka_unit_test(any_tar_reads_an_open_pack),
        cmocka_unit_test(no_failing_call_loses_an_image),
        cmocka_unit_test(kill_9_loses_nothing_acknowledged),
        cmocka_unit_test(a_full_disk_is_an_answer),
        cmocka_unit_test(a_file_system_that_cannot_reserve_will_do),
        cmocka_unit_test(an_image_may_be_larger_than_8_gib),
    };
    (void)kit_folder();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kit_remove_folder();
    return failed;
}
