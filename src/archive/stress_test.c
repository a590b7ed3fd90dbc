#include <stdatomic.h>

#include "archive/testkit.h"
#include "base/clock.h"
#include "sys/worker.h"

/* Threads that ingest, seal, count and list the same series at once: the order of locks is asserted
 * by base/lock.h, races are for the thread sanitizer, and every image must be there once. */
enum { SENDERS = 8, SERIES = 5, IMAGES = 60 };

struct shared {
    struct kit *k;
    atomic_uint next, stored, duplicates, quarantined, failed, running;
};

struct worker {
    struct shared *s;
    unsigned       number;
    pthread_t      t;
};

/* Images are dealt out to all threads; each is also sent by a second one, every fifth altered. */
static void send_all(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->s;
    for (;;) {
        unsigned            i = atomic_fetch_add(&s->next, 1);
        unsigned            image = i / 2;
        enum ingest_outcome how = INGEST_STORED;
        if (image >= SERIES * IMAGES) {
            break;
        }
        struct kit_object o = {.study = 50 + image % 2,
                               .series = image % SERIES,
                               .image = image,
                               .pixels = 500 + image * 331 % 30000,
                               .salt = i % 2 == 1 && image % 5 == 0};
        if (kit_send(s->k, 0, &o, 7000, &how, NULL) != ERR_OK) {
            s->failed++;
            continue;
        }
        atomic_uint *const what[] = {&s->stored, &s->duplicates, &s->quarantined};
        (*what[how])++;
    }
    s->running--;
}

static void abort_some(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->s;
    for (unsigned i = 0; s->running > 0; i++) {
        CLEANUP(buf_done) struct buf b;
        struct ingest               *x = NULL;
        struct kit_object o = {.study = 50, .series = i % SERIES, .image = 9999, .pixels = 9000};
        buf_init(&b, 1 << 20);
        kit_dset(&o, &b);
        if (kit_begin(s->k, 0, &o, &x, NULL) == ERR_OK) {
            (void)ingest_add(x, (struct bytes){b.ptr, b.len / 2}, NULL);
            ingest_abort(x);
        }
    }
}

static void seal_all(void *arg)
{
    struct worker *w = arg;
    while (w->s->running > 0) {
        size_t n = 0;
        if (archive_seal(w->s->k->a, w->number % 2 == 0 ? 0 : 5, &n, NULL) != ERR_OK ||
            archive_count(w->s->k->a, NULL) != ERR_OK) {
            w->s->failed++;
        }
        (void)usleep(3000);
    }
}

static void list_all(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; w->s->running > 0; i++) {
        CLEANUP(arena_done) struct arena mem;
        arena_init(&mem, 64 << 20);
        struct object    *x = NULL;
        size_t            n = 0;
        struct kit_object o = {.study = 50 + i % 2, .series = i % SERIES};
        int64_t           id = kit_series_id(w->s->k, 0, &o);
        if (id != 0 && archive_list(w->s->k->a, id, &mem, &x, &n, NULL) != ERR_OK) {
            w->s->failed++;
        }
        for (size_t j = 0; j < n; j += 1 + j % 7) {
            struct object_file f;
            if (object_open(w->s->k->a, &x[j], &f, NULL) != ERR_OK) {
                w->s->failed++;
                continue;
            }
            object_close(&f);
        }
        struct archive_stats st;
        archive_get_stats(w->s->k->a, &st);
    }
}

static void threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct kit    k;
    struct shared s = {.k = &k, .running = SENDERS};
    worker_fn    *others[] = {seal_all, seal_all, list_all, list_all, abort_some};
    struct worker w[SENDERS + 5];
    kit_init(&k);
    k.conf.max_pack = 200000;
    k.conf.background = true;
    k.conf.seal_idle_ms = 30;
    kit_reopen(&k);
    for (unsigned i = 0; i < SENDERS + 5; i++) {
        w[i] = (struct worker){.s = &s, .number = i};
        kit_ok(worker_run("stress", i < SENDERS ? send_all : others[i - SENDERS], &w[i], &w[i].t,
                          &kit_e));
    }
    for (unsigned i = 0; i < SENDERS + 5; i++) {
        assert_int_equal(pthread_join(w[i].t, NULL), 0);
    }
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.stored, SERIES * IMAGES);
    assert_int_equal(s.quarantined, SERIES * IMAGES / 5);
    assert_int_equal(s.duplicates, SERIES * IMAGES - SERIES * IMAGES / 5);
    kit_reopen(&k);
    kit_ok(archive_seal(k.a, 0, NULL, &kit_e));
    for (unsigned i = 0; i < SERIES * IMAGES; i++) {
        struct kit_object o = {
            .study = 50 + i % 2, .series = i % SERIES, .image = i, .pixels = 500 + i * 331 % 30000};
        if (i % 5 != 0) {
            assert_int_equal(kit_has(&k, 0, &o), 1);
        }
    }
    struct index_counts c = kit_counts(&k);
    assert_int_equal(c.images, SERIES * IMAGES);
    assert_int_equal(c.packs_open, 0);
    assert_int_equal(k.notes, 0);
    struct verify_stats v;
    kit_ok(archive_verify(k.a, kit_note, &k, &v, &kit_e));
    assert_int_equal(v.bad, 0);
    assert_int_equal(v.images, SERIES * IMAGES);
    kit_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
