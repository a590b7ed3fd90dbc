/*
 * Commit latency of a series pack, the part of a C-STORE that cannot be hidden: images of several
 * sizes arrive in pieces, paced as a network would, and the time of pack_image_commit is measured.
 *
 *   pack_bench FOLDER [IMAGES]     prints one JSON object a line
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "pack/pack.h"
#include "sys/file.h"

enum { ARRIVAL_BYTES_PER_US = 512 }; // what stock storescu reaches over loopback: 512 KB a ms

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void wait_until(int64_t at)
{
    struct timespec t = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

struct run {
    size_t   size, piece, images;
    uint8_t *data;
    int64_t *commit_ns, *add_ns;
};

static enum err one_image(struct pack *p, const struct run *r, size_t i, struct errmsg *e)
{
    char uid[65];
    (void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
    uint8_t  head[300] = {0};
    int64_t  start = clock_mono_ns(), busy = 0;
    enum err rc =
        pack_image_begin(p, str_of(uid), STR("1.2.840.10008.5.1.4.1.1.2"),
                         STR("1.2.840.10008.1.2.1"), (struct bytes){head, sizeof(head)}, e);
    busy = clock_mono_ns() - start;
    for (size_t at = 0; rc == ERR_OK && at < r->size; at += r->piece) {
        size_t n = r->size - at < r->piece ? r->size - at : r->piece;
        wait_until(start + (int64_t)((at + n) * 1000 / ARRIVAL_BYTES_PER_US));
        int64_t before = clock_mono_ns();
        rc = pack_image_add(p, (struct bytes){r->data + at, n}, e);
        busy += clock_mono_ns() - before;
    }
    if (rc == ERR_OK) {
        int64_t before = clock_mono_ns();
        rc = pack_image_commit(p, NULL, e);
        r->commit_ns[i] = clock_mono_ns() - before;
        r->add_ns[i] = busy;
    }
    return rc;
}

static enum err run(const char *root, struct run *r, struct errmsg *e)
{
    static uint32_t          n;
    struct pack             *p = NULL;
    const struct pack_origin o = {.tenant = STR("BENCH"),
                                  .study_uid = STR("1.2.3"),
                                  .series_uid = STR("1.2.3.4"),
                                  .n = ++n,
                                  .calling = STR("BENCH"),
                                  .called = STR("BENCH"),
                                  .address = STR("127.0.0.1")};
    enum err                 rc = pack_create(root, &o, &p, e);
    for (size_t i = 0; rc == ERR_OK && i < r->images; i++) {
        rc = one_image(p, r, i, e);
    }
    if (rc == ERR_OK) {
        char path[PACK_PATH];
        rc = pack_path(path, root, &o, true, e);
        pack_close(p);
        (void)unlink(path);
    } else {
        pack_close(p);
    }
    return rc;
}

static void report(struct run *r)
{
    qsort(r->commit_ns, r->images, sizeof(*r->commit_ns), compare);
    qsort(r->add_ns, r->images, sizeof(*r->add_ns), compare);
    (void)printf("{\"bench\":\"pack_commit\",\"bytes\":%zu,\"piece\":%zu,\"images\":%zu,"
                 "\"add_us_p50\":%.0f,\"commit_us_p50\":%.0f,\"commit_us_p95\":%.0f,"
                 "\"commit_us_max\":%.0f}\n",
                 r->size, r->piece, r->images, (double)r->add_ns[r->images / 2] / 1e3,
                 (double)r->commit_ns[r->images / 2] / 1e3,
                 (double)r->commit_ns[r->images * 95 / 100] / 1e3,
                 (double)r->commit_ns[r->images - 1] / 1e3);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {8 << 10, 32 << 10, 512 << 10};
    static const size_t pieces[] = {16 << 10, 128 << 10};
    uint32_t            images = 200;
    if (argc < 2 || (argc > 2 && !parse_u32(str_of(argv[2]), &images)) || images == 0) {
        (void)fprintf(stderr, "usage: pack_bench FOLDER [IMAGES]\n");
        return 2;
    }
    struct run    r = {.images = images,
                       .data = malloc(512 << 10),
                       .commit_ns = calloc(images, sizeof(int64_t)),
                       .add_ns = calloc(images, sizeof(int64_t))};
    struct errmsg e = {0};
    enum err rc = r.data != NULL && r.commit_ns != NULL && r.add_ns != NULL ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; rc == ERR_OK && i < 512 << 10; i++) {
        r.data[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    for (size_t i = 0; rc == ERR_OK && i < 6; i++) {
        r.size = sizes[i / 2];
        r.piece = pieces[i % 2];
        rc = r.piece / 2 <= r.size ? run(argv[1], &r, &e) : ERR_OK;
        if (rc == ERR_OK && r.piece / 2 <= r.size) {
            report(&r);
        }
    }
    free(r.data);
    free(r.commit_ns);
    free(r.add_ns);
    if (rc != ERR_OK) {
        (void)fprintf(stderr, "pack_bench: %s\n", e.text);
    }
    return rc == ERR_OK ? 0 : 1;
}
