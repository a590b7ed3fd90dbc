#include <pthread.h>
#include <time.h>
#include <zlib.h>

#include "archive/testkit.h"
#include "archive/view.h"
#include "base/limits.h"
#include "dicom/json.h"

enum { PIXELS = 64 * 64 };

static struct view_key key_of(struct kit *k, size_t tenant, const struct kit_object *o,
                              char study[65], char series[65])
{
    return (struct view_key){.tenant_id = k->from[tenant].tenant_id,
                             .tenant = k->from[tenant].tenant,
                             .study_uid = kit_uid(study, "study", o),
                             .series_uid = kit_uid(series, "eries", o)};
}

static struct view *look(struct kit *k, const struct kit_object *o, bool now)
{
    char            study[65], series[65];
    struct view_key key = key_of(k, 0, o, study, series);
    struct view    *v = NULL;
    kit_ok(view_get(k->a, &key, now, &v, &kit_e));
    return v;
}

static struct view *peek(struct kit *k, const struct kit_object *o)
{
    char            study[65], series[65];
    struct view_key key = key_of(k, 0, o, study, series);
    return view_peek(k->a, &key);
}

static struct kit_object image(unsigned series, unsigned i)
{
    return (struct kit_object){.study = 1, .series = series, .image = i, .pixels = PIXELS};
}

static void store(struct kit *k, unsigned series, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        struct kit_object o = image(series, i);
        kit_store(k, &o);
    }
}

static void seal(struct kit *k)
{
    size_t n = 0;
    kit_ok(archive_seal(k->a, 0, &n, &kit_e));
    assert_true(n > 0);
}

/* The object and its frame are where the view says. */
static void check_image(struct kit *k, struct view *v, const struct kit_object *o)
{
    char                         uid[65];
    CLEANUP(buf_done) struct buf want;
    buf_init(&want, 1 << 20);
    kit_dset(o, &want);
    struct view_image *i = view_find(v, kit_uid(uid, "image", o));
    assert_non_null(i);
    struct view_window w = view_data(i);
    struct dsrc        src = view_src(&w);
    uint8_t            got[16 << 10];
    size_t             n = 0;
    kit_ok(src.read(src.ctx, 0, got, sizeof(got), &n, &kit_e));
    assert_int_equal(n, want.len);
    assert_memory_equal(got, want.ptr, n);
    const struct view_frames *f = NULL;
    kit_ok(view_frames(k->a, v, i, &f, &kit_e));
    assert_int_equal(f->n, 1);
    assert_int_equal(f->v[0].len, PIXELS);
    kit_ok(file_read_full(view_fd(i), f->v[0].at, got, PIXELS, &kit_e));
    assert_memory_equal(got, want.ptr + want.len - PIXELS, PIXELS);
    assert_ptr_equal(view_frames_peek(i), f);
}

static void images_of_a_sealed_series_are_found_with_their_frames(void **state)
{
    struct kit       *k = *state;
    struct kit_object o = image(1, 1);
    store(k, 1, 1, 3);
    seal(k);
    assert_null(peek(k, &o));
    struct view *v = look(k, &o, false);
    assert_int_equal(view_count(v), 3);
    assert_false(view_is_growing(v));
    for (unsigned i = 1; i <= 3; i++) {
        o = image(1, i);
        check_image(k, v, &o);
    }
    assert_null(view_find(v, STR("1.2.3")));
    struct view *again = peek(k, &o);
    assert_ptr_equal(again, v);
    view_unref(again);
    view_unref(v);
}

static void what_still_arrives_can_be_read(void **state)
{
    struct kit       *k = *state;
    struct kit_object o = image(2, 1);
    store(k, 2, 1, 1);
    struct view *first = look(k, &o, false);
    assert_true(view_is_growing(first));
    check_image(k, first, &o);
    store(k, 2, 2, 2);
    struct view *second = look(k, &o, true);
    assert_int_equal(view_count(first), 1);
    assert_int_equal(view_count(second), 2);
    assert_true(view_tag(first) != view_tag(second));
    for (unsigned i = 1; i <= 2; i++) {
        o = image(2, i);
        check_image(k, second, &o);
    }
    seal(k);
    struct view *sealed = look(k, &o, true);
    assert_false(view_is_growing(sealed));
    check_image(k, sealed, &o);
    check_image(k, second, &o); // renamed, and still the same file
    view_unref(first);
    view_unref(second);
    view_unref(sealed);
}

static void a_view_grows_old(void **state)
{
    struct kit           *k = *state;
    struct kit_object     o = image(3, 1);
    const struct timespec long_enough = {.tv_sec = LIMIT_SERIES_STALE_MS / 1000,
                                         .tv_nsec = 100000000};
    store(k, 3, 1, 1);
    view_unref(look(k, &o, false));
    store(k, 3, 2, 2);
    (void)nanosleep(&long_enough, NULL);
    assert_null(peek(k, &o));
    struct view *v = look(k, &o, false);
    assert_int_equal(view_count(v), 2);
    view_unref(v);
}

static void a_series_is_of_one_tenant_and_one_study(void **state)
{
    struct kit       *k = *state;
    struct kit_object o = image(4, 1);
    char              study[65], series[65];
    struct view      *v = NULL;
    store(k, 4, 1, 1);
    struct view_key other = key_of(k, 1, &o, study, series);
    assert_int_equal(view_get(k->a, &other, false, &v, NULL), ERR_NOTFOUND);
    struct view_key moved = key_of(k, 0, &o, study, series);
    moved.study_uid = STR("1.2.3");
    assert_int_equal(view_get(k->a, &moved, false, &v, NULL), ERR_NOTFOUND);
}

/* ---- metadata */

/* All bodies of the views, as one member, gunzipped. */
static char *text_of(struct kit *k, struct view *v, char *to, size_t room)
{
    CLEANUP(arena_done) struct arena mem;
    CLEANUP(buf_done) struct buf     gz;
    struct view_body                *b = NULL;
    struct model_body                bodies[64];
    size_t                           n = 0;
    arena_init(&mem, 1 << 20);
    buf_init(&gz, 1 << 20);
    kit_ok(view_metadata(k->a, v, &mem, &b, &n, &kit_e));
    assert_true(n <= 64);
    buf_add(&gz, (struct bytes){model_head, MODEL_HEAD});
    for (size_t i = 0; i < n; i++) {
        bodies[i] = b[i].body;
        if (i > 0) {
            buf_add(&gz, (struct bytes){model_comma, MODEL_COMMA});
        }
        uint8_t *p = buf_grow(&gz, b[i].body.deflated);
        assert_non_null(p);
        if (b[i].fd >= 0) {
            kit_ok(file_read_full(b[i].fd, b[i].at, p, b[i].body.deflated, &kit_e));
        } else {
            memcpy(p, b[i].ptr, b[i].body.deflated);
        }
    }
    uint8_t *tail = buf_grow(&gz, MODEL_TAIL);
    model_tail(bodies, n, tail);
    z_stream z = {.next_in = gz.ptr,
                  .avail_in = (uInt)gz.len,
                  .next_out = (Bytef *)to,
                  .avail_out = (uInt)room - 1};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END); // the check sums are right
    to[z.total_out] = '\0';
    assert_int_equal(inflateEnd(&z), Z_OK);
    return to;
}

static void check_text(struct kit *k, const struct kit_object *o, size_t images, size_t bodies)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    struct view *v = look(k, o, true);
    char        *text = malloc(1 << 20); // allow-banned: a test
    assert_non_null(text);
    struct view_body *b = NULL;
    struct dset     **d = NULL;
    size_t            n = 0;
    kit_ok(view_metadata(k->a, v, &mem, &b, &n, &kit_e));
    assert_int_equal(n, bodies);
    kit_ok(dsjson_parse_list(str_of(text_of(k, v, text, 1 << 20)), &mem, &d, &n, &kit_e));
    assert_int_equal(n, images);
    for (size_t i = 0; i < n; i++) { // each once, of whatever pack
        struct str uid = dset_str(d[i], 0x00080018);
        assert_non_null(view_find(v, uid));
        for (size_t j = 0; j < i; j++) {
            assert_false(str_eq(uid, dset_str(d[j], 0x00080018)));
        }
    }
    free(text);
    view_unref(v);
}

static void metadata_of_sealed_and_open_packs_is_one_array(void **state)
{
    struct kit       *k = *state;
    struct kit_object o = image(5, 1);
    store(k, 5, 1, 3);
    check_text(k, &o, 3, 1);
    store(k, 5, 4, 4);
    check_text(k, &o, 4, 2); // only what is new was written
    seal(k);
    check_text(k, &o, 4, 1);
    store(k, 5, 5, 5);
    check_text(k, &o, 5, 2);
    store(k, 5, 6, 6);
    seal(k);
    check_text(k, &o, 6, 2);
}

static void pieces_of_metadata_do_not_grow_without_end(void **state)
{
    struct kit                      *k = *state;
    struct kit_object                o = image(6, 1);
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, 16 << 20);
    for (unsigned i = 1; i <= LIMIT_VIEW_SEGMENTS + 5; i++) {
        struct view_body *b = NULL;
        size_t            n = 0;
        store(k, 6, i, i);
        struct view *v = look(k, &o, true);
        kit_ok(view_metadata(k->a, v, &mem, &b, &n, &kit_e));
        assert_true(n <= LIMIT_VIEW_SEGMENTS);
        view_unref(v);
    }
    check_text(k, &o, LIMIT_VIEW_SEGMENTS + 5, 6);
}

/* ---- threads */

struct crowd {
    struct kit *k;
    atomic_bool stop;
};

static void *reader(void *arg)
{
    struct crowd     *c = arg;
    struct kit_object o = image(7, 1);
    while (!atomic_load(&c->stop)) {
        CLEANUP(arena_done) struct arena mem;
        char                             study[65], series[65];
        struct view_key                  key = key_of(c->k, 0, &o, study, series);
        struct view                     *v = view_peek(c->k->a, &key);
        struct view_body                *b = NULL;
        size_t                           n = 0;
        arena_init(&mem, 1 << 20);
        if (v == NULL && view_get(c->k->a, &key, true, &v, NULL) != ERR_OK) {
            continue;
        }
        check_image(c->k, v, &o);
        kit_ok(view_metadata(c->k->a, v, &mem, &b, &n, &kit_e));
        view_unref(v);
    }
    return NULL;
}

static void readers_writers_and_sealing_go_on_at_once(void **state)
{
    struct crowd c = {.k = *state};
    pthread_t    t[3];
    store(c.k, 7, 1, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, reader, &c), 0);
    }
    for (unsigned round = 0; round < 5; round++) {
        store(c.k, 7, 2 + round * 4, 5 + round * 4);
        seal(c.k);
    }
    atomic_store(&c.stop, true);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
    }
    struct kit_object o = image(7, 1);
    struct view      *v = look(c.k, &o, true);
    assert_int_equal(view_count(v), 21);
    view_unref(v);
}

static int setup(void **state)
{
    static struct kit k;
    kit_init(&k);
    *state = &k;
    return 0;
}

static int teardown(void **state)
{
    kit_done(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_of_a_sealed_series_are_found_with_their_frames),
        cmocka_unit_test(what_still_arrives_can_be_read),
        cmocka_unit_test(a_view_grows_old),
        cmocka_unit_test(a_series_is_of_one_tenant_and_one_study),
        cmocka_unit_test(metadata_of_sealed_and_open_packs_is_one_array),
        cmocka_unit_test(pieces_of_metadata_do_not_grow_without_end),
        cmocka_unit_test(readers_writers_and_sealing_go_on_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
