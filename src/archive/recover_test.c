#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "archive/testkit.h"
#include "base/clock.h"
#include "base/limits.h"
#include "db/fault.h"
#include "sys/worker.h"

static int setup(void **state)
{
    struct kit *k = calloc(1, sizeof(*k));
    kit_init(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct kit *k = *state;
    kit_done(k);
    free(k);
    return 0;
}

/* ---- a process that dies */

enum { SENDERS = 4, SERIES = 3 };

struct sender {
    struct kit *k;
    unsigned    number, round;
    int         acks; // pipe
};

/* Sends for ever, and says on the pipe what was acknowledged. */
static void send_loop(void *arg)
{
    struct sender *s = arg;
    for (unsigned i = 0;; i++) {
        struct kit_object   o = {.study = 20,
                                 .series = i % SERIES, // shared between senders
                                 .image = s->round * 1000000 + s->number * 100000 + i,
                                 .pixels = 1000 + i * 7919 % 60000};
        enum ingest_outcome how = INGEST_QUARANTINED;
        if (kit_send(s->k, 0, &o, 10000, &how, NULL) != ERR_OK || how != INGEST_STORED ||
            write(s->acks, &o, sizeof(o)) != sizeof(o)) {
            _exit(1);
        }
    }
}

static void child_main(struct kit *k, unsigned round, int acks)
{
    struct sender s[SENDERS];
    pthread_t     t[SENDERS];
    k->conf.background = true;
    k->conf.seal_idle_ms = 20;
    k->conf.max_pack = 300000;
    if (archive_open(&k->conf, &k->a, NULL) != ERR_OK) {
        _exit(2);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){.k = k, .number = i, .round = round, .acks = acks};
        if (worker_run("send", send_loop, &s[i], &t[i], NULL) != ERR_OK) {
            _exit(3);
        }
    }
    (void)pause();
}

/* A process that ingests and is killed; what it acknowledged is added to acked. */
static void serve_and_kill(struct kit *k, unsigned round, struct buf *acked)
{
    int p[2], how = 0;
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(p[0]);
        child_main(k, round, p[1]);
        _exit(0);
    }
    (void)close(p[1]);
    struct pollfd first = {.fd = p[0], .events = POLLIN};
    (void)poll(&first, 1, 20000);
    (void)usleep(50000 + round * 37000);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how));
    struct kit_object o;
    while (read(p[0], &o, sizeof(o)) == sizeof(o)) {
        buf_add(acked, (struct bytes){(const uint8_t *)&o, sizeof(o)});
    }
    (void)close(p[0]);
}

static void expect_all_sound(struct kit *k, size_t at_least)
{
    struct verify_stats v;
    kit_ok(archive_count(k->a, &kit_e));
    kit_ok(archive_verify(k->a, kit_note, k, &v, &kit_e));
    assert_int_equal(v.bad, 0);
    assert_true(v.images >= at_least);
    assert_int_equal(v.images, kit_counts(k).images);
}

static void a_kill_loses_nothing_that_was_acknowledged(void **state)
{
    struct kit                  *k = *state;
    CLEANUP(buf_done) struct buf acked;
    buf_init(&acked, 64 << 20);
    const unsigned rounds = getenv("KIT_ROUNDS") != NULL ? 40 : 6; // NOLINT(concurrency-mt-unsafe)
    const struct kit_object *all = NULL;
    size_t                   n = 0;
    for (unsigned round = 0; round < rounds; round++) {
        size_t before = n;
        kit_close(k);
        serve_and_kill(k, round, &acked);
        all = (const void *)acked.ptr;
        n = acked.len / sizeof(*all);
        assert_true(n > before);
        int64_t started = clock_mono_ns();
        kit_open(k);
        assert_true(clock_mono_ns() - started < INT64_C(5000000000));
        assert_int_equal(k->notes, 0); // nothing was damaged
        for (size_t i = before; i < n; i += 1 + i % 3) {
            assert_int_equal(kit_has(k, 0, &all[i]), 1);
        }
    }
    for (size_t i = 0; i < n; i += 5) {
        enum ingest_outcome again = INGEST_STORED;
        kit_ok(kit_send(k, 0, &all[i], 10000, &again, &kit_e));
        assert_int_equal(again, INGEST_DUPLICATE);
    }
    expect_all_sound(k, n);
}

/* ---- what a crash can leave */

static struct pack_row row_of(struct kit *k, const struct kit_object *o, struct arena *mem)
{
    struct pack_row *rows = NULL;
    size_t           n = 0;
    struct db       *db = db_pool_take(archive_db(k->a), NULL);
    kit_ok(pack_rows_of_series(db, kit_series_id(k, 0, o), mem, &rows, &n, &kit_e));
    db_pool_give(archive_db(k->a), db);
    assert_true(n >= 1);
    return rows[0];
}

static struct pack_origin origin_of(const struct pack_row *row)
{
    return (struct pack_origin){.tenant = row->tenant_code,
                                .study_uid = row->study_uid,
                                .series_uid = row->series_uid,
                                .n = row->n};
}

static const char *root_of(const struct kit *k)
{
    static char root[128];
    (void)snprintf(root, sizeof(root), "%s/archive", k->data);
    return root;
}

static void a_pack_sealed_by_the_dead_gets_its_row(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object o = {21, 1, 1, 0, 5000, 0, NULL, NULL};
    kit_store(k, &o);
    kit_ok(archive_count(k->a, &kit_e));
    struct pack_row    row = row_of(k, &o, &mem);
    struct pack_origin origin = origin_of(&row);
    struct pack       *p = NULL;
    struct pack_sealed sealed;
    kit_close(k);
    kit_ok(pack_reopen(root_of(k), &origin, &p, &kit_e));
    kit_ok(pack_seal(p, &sealed, &kit_e));
    k->conf.recover = false; // a command that only reads finds it all the same
    kit_open(k);
    assert_int_equal(kit_has(k, 0, &o), 1);
    kit_close(k);
    k->conf.recover = true;
    kit_open(k);
    row = row_of(k, &o, &mem);
    assert_int_equal(row.state, PACK_SEALED);
    assert_int_equal(row.bytes, sealed.bytes);
    assert_int_equal(row.manifest_at, sealed.manifest_at);
    assert_true(str_eq(row.sha256, str_of(sealed.sha256)));
    assert_int_equal(kit_has(k, 0, &o), 1);
    assert_int_equal(kit_counts(k).images, 1);
}

static enum err row_work(struct db *db, void *arg, struct errmsg *e)
{
    int64_t id = 0;
    return pack_row_add(db, arg, &id, e);
}

static void rows_without_images_go(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    const struct kit_object o = {22, 1, 1, 0, 5000, 0, NULL, NULL};
    kit_store(k, &o);
    struct pack_row    row = row_of(k, &o, &mem);
    struct pack_origin origin = origin_of(&row);
    struct pack       *p = NULL;
    struct db         *db = db_pool_take(archive_db(k->a), NULL);
    for (row.n = 2; row.n <= 4; row.n++) {
        kit_ok(db_tx(db, row_work, &row, &kit_e));
    }
    db_pool_give(archive_db(k->a), db);
    kit_close(k);
    origin.n = 2; // an empty file; 3: one that was cut inside its first image; 4: none
    char path[PACK_PATH];
    for (origin.n = 2; origin.n <= 3; origin.n++) {
        kit_ok(pack_path(path, root_of(k), &origin, true, &kit_e));
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        if (origin.n == 3) {
            assert_int_equal(ftruncate(fd, 100000), 0);
            assert_int_equal(pwrite(fd, "torn", 4, 5000), 4);
        }
        (void)close(fd);
    }
    (void)p;
    kit_open(k);
    assert_int_equal(kit_counts(k).packs_open, 1);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(kit_has(k, 0, &o), 1);
}

static void an_unmounted_disk_empties_no_index(void **state)
{
    struct kit             *k = *state;
    const struct kit_object o = {23, 1, 1, 0, 5000, 0, NULL, NULL};
    char                    away[160];
    kit_store(k, &o);
    kit_close(k);
    (void)snprintf(away, sizeof(away), "%s/away", k->data);
    assert_int_equal(rename(root_of(k), away), 0);
    kit_open(k);
    assert_int_equal(k->notes, 1);
    kit_close(k);
    assert_int_equal(rmdir(root_of(k)), 0);
    assert_int_equal(rename(away, root_of(k)), 0);
    kit_open(k);
    assert_int_equal(kit_has(k, 0, &o), 1);
}

/* A byte in the middle of an open pack has gone bad: nothing more is lost than that image. */
static void a_damaged_open_pack_is_left_as_it_is(void **state)
{
    struct kit                      *k = *state;
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct kit_object o = {24, 1, 1, 0, 5000, 0, NULL, NULL};
    for (o.image = 1; o.image <= 3; o.image++) {
        kit_store(k, &o);
    }
    struct object *x = NULL;
    assert_int_equal(kit_list(k, 0, &o, &mem, &x), 3);
    kit_close(k);
    int fd = open(x[1].path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "bad header", 10, (off_t)x[1].image.at - 512), 10);
    (void)close(fd);
    kit_open(k);
    assert_int_equal(k->notes, 1);
    for (o.image = 1; o.image <= 3; o.image += 2) {
        assert_int_equal(kit_has(k, 0, &o), 1);
    }
    o.image = 4; // and the series goes on in another pack
    kit_store(k, &o);
    assert_int_equal(kit_has(k, 0, &o), 1);
    struct verify_stats v;
    kit_ok(archive_verify(k->a, kit_note, k, &v, &kit_e));
    assert_true(v.bad > 0);
}

/* ---- another process beside us */

static void child_serve(struct kit *k, int from, int to)
{
    char c;
    if (archive_open(&k->conf, &k->a, NULL) != ERR_OK) {
        _exit(1);
    }
    while (read(from, &c, 1) == 1 && c != 'q') {
        struct kit_object   o = {.study = 25, .series = 1, .image = (unsigned)c, .pixels = 3000};
        enum ingest_outcome how = INGEST_STORED;
        if (kit_send(k, 0, &o, 3000, &how, NULL) != ERR_OK) {
            _exit(2);
        }
        c = (char)how;
        if (write(to, &c, 1) != 1) {
            _exit(3);
        }
    }
    archive_close(k->a);
    _exit(0);
}

static char ask(int to, int from, char what)
{
    char answer = '?';
    assert_int_equal(write(to, &what, 1), 1);
    assert_int_equal(read(from, &answer, 1), 1);
    return answer;
}

static void two_processes_fill_their_own_packs(void **state)
{
    struct kit *k = *state;
    int         there[2], back[2];
    kit_close(k);
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    pid_t pid = fork();
    if (pid == 0) {
        child_serve(k, there[0], back[1]);
    }
    struct kit_object o = {25, 1, 1, 0, 3000, 0, NULL, NULL};
    assert_int_equal(ask(there[1], back[0], 1), INGEST_STORED);
    kit_open(k);
    assert_int_equal(k->notes, 0); // the other's pack is no business of ours
    assert_int_equal(kit_has(k, 0, &o), 1);
    enum ingest_outcome how = INGEST_STORED;
    kit_ok(kit_send(k, 0, &o, 3000, &how, &kit_e));
    assert_int_equal(how, INGEST_DUPLICATE);
    o.image = 2;
    kit_store(k, &o);
    assert_int_equal(kit_counts(k).packs_open, 2);
    assert_int_equal(ask(there[1], back[0], 3), INGEST_STORED);
    assert_int_equal(ask(there[1], back[0], 2),
                     INGEST_STORED); // it does not know, and we both have it
    for (o.image = 1; o.image <= 3; o.image++) {
        assert_int_equal(kit_has(k, 0, &o), 1);
    }
    size_t n = 0;
    kit_ok(archive_seal(k->a, 0, &n, &kit_e));
    assert_int_equal(n, 1);
    assert_int_equal(write(there[1], "q", 1), 1);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    kit_reopen(k); // adopts what it left
    kit_ok(archive_seal(k->a, 0, &n, &kit_e));
    assert_int_equal(n, 1);
    for (o.image = 1; o.image <= 3; o.image++) {
        assert_int_equal(kit_has(k, 0, &o), 1);
    }
    for (size_t i = 0; i < 2; i++) {
        (void)close(there[i]);
        (void)close(back[i]);
    }
}

/* ---- faults */

/* Series of objects, each a case of its own: new series, known pack, duplicate, conflict. */
static enum err run_all(struct kit *k, unsigned run, size_t *ret_done, struct errmsg *e)
{
    struct kit_object o[4] = {{30 + run, 1, 1, 0, 40000, 0, NULL, NULL},
                              {30 + run, 1, 2, 0, 40000, 0, NULL, NULL},
                              {30 + run, 1, 1, 0, 40000, 0, NULL, NULL},
                              {30 + run, 1, 1, 1, 40000, 0, NULL, NULL}};

    static const enum ingest_outcome want[] = {INGEST_STORED, INGEST_STORED, INGEST_DUPLICATE,
                                               INGEST_QUARANTINED};
    enum err                         rc = ERR_OK;
    for (; rc == ERR_OK && *ret_done < 4; *ret_done += rc == ERR_OK ? 1 : 0) {
        enum ingest_outcome how = INGEST_STORED;
        rc = kit_send(k, 0, &o[*ret_done], 9000, &how, e);
        if (rc == ERR_OK) {
            assert_int_equal(how, want[*ret_done]);
        }
    }
    size_t n = 0;
    return rc == ERR_OK ? archive_seal(k->a, 0, &n, e) : rc;
}

static void set_fault(int kind, unsigned n)
{
    if (kind == FAULT__COUNT) {
        db_fault_set(n, ERR_IO);
    } else {
        file_fault_set((enum file_fault)kind, n, n % 2 == 0 ? EIO : ENOSPC);
    }
}

/* The n-th write, sync, open or statement fails: the sender hears of it, and after that all is as
 * if it had not happened.  False when nothing failed any more. */
static bool fail_nth(struct kit *k, int kind, unsigned n, unsigned run)
{
    struct errmsg e1 = {0}, e2 = {0};
    size_t        done = 0;
    set_fault(kind, n);
    bool failed = run_all(k, run, &done, &e1) != ERR_OK;
    set_fault(kind, 0);
    if (failed && run_all(k, run, &done, &e2) != ERR_OK) {
        fail_msg("kind %d, number %u: %s; and then: %s", kind, n, e1.text, e2.text);
    }
    for (unsigned i = 1; i <= 2; i++) {
        struct kit_object o = {30 + run, 1, i, 0, 40000, 0, NULL, NULL};
        if (kit_has(k, 0, &o) != 1) {
            fail_msg("kind %d, number %u: %s; image %u is lost", kind, n, e1.text, i);
        }
    }
    return failed;
}

static void no_single_failure_harms(void **state)
{
    struct kit *k = *state;
    unsigned    run = 0;
    for (int kind = 0; kind <= FAULT__COUNT; kind++) {
        unsigned n = 1;
        while (fail_nth(k, kind, n, run++)) {
            assert_true(++n < 200);
        }
    }
    kit_reopen(k);
    kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
    expect_all_sound(k, (size_t)run * 2);
    struct index_counts c = kit_counts(k);
    assert_int_equal(c.images, run * 2);
    assert_int_equal(c.packs_open, 0);
    assert_int_equal(c.quarantined, run);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    struct kit         *k = *state;
    struct archive_conf conf = k->conf;
    char                dir[] = "/tmp/garonne-full-XXXXXX";
    char                ballast[64];
    assert_non_null(mkdtemp(dir));
    if (mount("tmpfs", dir, "tmpfs", 0, "size=24m") != 0) {
        print_message("skipped: no right to mount a small disk\n");
        (void)rmdir(dir);
        return;
    }
    kit_close(k);
    k->conf.data = dir;
    kit_open(k);
    kit_tenant(k, 0, "PURPAN");
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
    int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 8 << 20), 0);
    (void)close(fd);
    struct kit_object   o = {90, 1, 0, 0, 300000, 0, NULL, NULL};
    enum err            rc = ERR_OK;
    enum ingest_outcome how;
    unsigned            stored = 0;
    for (; rc == ERR_OK && o.image < 1000; o.image += rc == ERR_OK ? 1 : 0) {
        o.series = o.image / 10;
        rc = kit_send(k, 0, &o, 16384, &how, NULL);
        stored += rc == ERR_OK ? 1 : 0;
    }
    assert_int_equal(rc, ERR_LIMIT);
    assert_true(stored > 10);
    for (int i = 0; i < 20; i++) { // and goes on refusing, harmlessly
        assert_int_equal(kit_send(k, 0, &o, 16384, &how, NULL), ERR_LIMIT);
    }
    assert_int_equal(unlink(ballast), 0);
    kit_ok(kit_send(k, 0, &o, 16384, &how, &kit_e));
    stored++;
    kit_ok(archive_seal(k->a, 0, NULL, &kit_e));
    for (o.image = 0; o.image < stored; o.image++) {
        o.series = o.image / 10;
        assert_int_equal(kit_has(k, 0, &o), 1);
    }
    kit_close(k);
    assert_int_equal(umount(dir), 0);
    (void)rmdir(dir);
    k->conf = conf;
    kit_open(k);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_kill_loses_nothing_that_was_acknowledged),
        T(a_pack_sealed_by_the_dead_gets_its_row),
        T(rows_without_images_go),
        T(an_unmounted_disk_empties_no_index),
        T(a_damaged_open_pack_is_left_as_it_is),
        T(two_processes_fill_their_own_packs),
        T(no_single_failure_harms),
        T(a_full_disk_refuses_and_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
