#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "pack/testkit.h"

enum { IMAGES = 4 };

static uint32_t      next_n = 1;
static struct errmsg e; // of calls that must not fail

static void must(enum err rc)
{
    if (rc != ERR_OK) {
        fail_msg("%s: %s", err_name(rc), e.text);
    }
}

static size_t size_of(size_t i)
{
    return i == 2 ? 300000 : 1000;
}

static struct pack *filled(const struct pack_origin *o)
{
    struct pack *p = NULL;
    must(pack_create(kit_folder(), o, &p, &e));
    for (size_t i = 0; i < IMAGES; i++) {
        must(kit_store(p, i, size_of(i), &e));
    }
    return p;
}

static const char *path_of(const struct pack_origin *o, bool open)
{
    static char path[2][PACK_PATH];
    must(pack_path(path[open], kit_folder(), o, open, &e));
    return path[open];
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A shell command on the file $P. */
static int run(const char *command, const char *path)
{
    char cmd[4096];
    (void)snprintf(cmd, sizeof(cmd), "P='%s'; %s", path, command);
    int r = system(cmd); // NOLINT(concurrency-mt-unsafe) allow-banned: a test
    return WIFEXITED(r) ? WEXITSTATUS(r) : -1;
}

static void load(const char *path, struct buf *b)
{
    buf_init(b, 64 << 20);
    must(file_read_all(path, b, &e));
}

static void save(const char *path, const uint8_t *p, size_t n)
{
    CLEANUP(file_close) int fd = -1;
    must(file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, &e));
    must(file_write_at(fd, 0, (struct bytes){p, n}, &e));
}

static void assert_images(int fd, const struct pack_image *images)
{
    for (size_t i = 0; i < IMAGES; i++) {
        assert_true(is_kit_image(fd, &images[i], i, size_of(i)));
    }
}

static void a_sealed_pack_tells_what_it_holds(void **state)
{
    (void)state;
    struct pack_origin               o = kit_origin(next_n++);
    struct pack_sealed               sealed;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     file;
    arena_init(&a, 1 << 20);
    must(pack_seal(filled(&o), &sealed, &e));
    assert_false(is_there(path_of(&o, true)));
    load(path_of(&o, false), &file);
    assert_int_equal(file.len, sealed.bytes);

    CLEANUP(file_close) int fd = -1;
    struct pack_scan        s;
    must(file_open(path_of(&o, false), O_RDONLY, 0, &fd, &e));
    for (int check = 0; check < 2; check++) {
        must(pack_scan_fd(fd, check == 1, &a, &s, &e));
        assert_int_equal(s.n, IMAGES);
        assert_false(s.torn);
        assert_true(s.sealed.bytes == sealed.bytes);
        assert_true(s.sealed.manifest_at == sealed.manifest_at);
        assert_true(s.sealed.metadata_len == sealed.metadata_len);
        assert_images(fd, s.images);
    }
    struct manifest *m = NULL;
    must(manifest_parse((struct str){(char *)file.ptr + sealed.manifest_at, sealed.manifest_len},
                        &a, &m, &e));
    assert_int_equal(m->n, IMAGES);
    assert_true(str_eq(m->origin.called, o.called));
    for (size_t i = 0; i < IMAGES; i++) {
        const struct manifest_image *x = &m->images[i];
        assert_int_equal(x->image.number, i);
        s.images[i].number = (int32_t)i;
        assert_true(is_same_image(&x->image, &s.images[i]));
        assert_int_equal(x->columns, 64);
        assert_int_equal(x->rows, size_of(i) / 128);
        assert_int_equal(x->frames, 1);
        assert_non_null(x->frame_at);
        assert_true(x->frame_len[0] == (uint64_t)x->rows * 128);
        assert_int_equal(file.ptr[x->frame_at[0] + 5], kit_byte(i, 5));
    }
}

static void coreutils_and_any_tar_check_a_sealed_pack(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack_sealed sealed;
    char               command[300];
    must(pack_seal(filled(&o), &sealed, &e));
    const char *path = path_of(&o, false);
    (void)snprintf(command, sizeof(command), "test \"$(sha256sum <$P)\" = '%s  -'", sealed.sha256);
    assert_int_equal(run(command, path), 0);
    assert_int_equal(run("test \"$(tar tf $P 2>&1 | wc -l)\" = 7", path), 0);
    assert_int_equal(run("cd $(dirname $P) && mkdir x && tar xf $P -C x && cd x && "
                         "test $(sha256sum -c --quiet --strict SHA256SUMS 2>&1 | wc -l) = 0 && "
                         "test $(wc -l <SHA256SUMS) = 6",
                         path),
                     0);
    assert_int_equal(run("cd $(dirname $P)/x && gzip -t metadata.json.gz && "
                         "gunzip <metadata.json.gz | grep -q TEST^PACK",
                         path),
                     0);
    if (run("command -v python3 >/dev/null", path) == 0) {
        assert_int_equal(run("cd $(dirname $P)/x && python3 -c '\n"
                             "import gzip,json\n"
                             "d=json.load(gzip.open(\"metadata.json.gz\"))\n"
                             "m=json.load(open(\"manifest.json\"))\n"
                             "assert len(d)==4==len(m[\"images\"])\n"
                             "for i in range(4):\n"
                             "  u=m[\"images\"][i][\"sop\"]\n"
                             "  assert d[i][\"00080018\"][\"Value\"]==[u]\n"
                             "  assert d[i][\"00200013\"][\"Value\"]==[i]\n"
                             "  assert d[i][\"7FE00010\"][\"BulkDataURI\"]=="
                             "\"series/\"+m[\"series\"]+\"/instances/\"+u+"
                             "\"/bulkdata/7FE00010\" or i!=2\n"
                             "'",
                             path),
                         0);
        assert_int_equal(run("test \"$(python3 -m tarfile -l $P 2>&1 | wc -l)\" = 7", path), 0);
    }
    if (run("command -v bsdtar >/dev/null", path) == 0) {
        assert_int_equal(run("test \"$(bsdtar tf $P 2>&1 | wc -l)\" = 7", path), 0);
    }
    assert_int_equal(run("rm -r $(dirname $P)/x", path), 0);
}

static void a_sealed_number_is_not_given_again(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack_sealed sealed;
    struct pack       *p = NULL;
    must(pack_seal(filled(&o), &sealed, &e));
    assert_int_equal(pack_create(kit_folder(), &o, &p, NULL), ERR_EXISTS);
    assert_false(is_there(path_of(&o, true)));
    assert_int_equal(pack_reopen(kit_folder(), &o, &p, NULL), ERR_NOTFOUND);
}

static void an_empty_pack_is_not_sealed(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack_sealed sealed;
    struct pack       *p = NULL;
    must(pack_create(kit_folder(), &o, &p, &e));
    assert_int_equal(pack_seal(p, &sealed, NULL), ERR_NOTFOUND);
    assert_false(is_there(path_of(&o, true)));
    assert_false(is_there(path_of(&o, false)));
}

static void what_changed_since_it_came_is_not_sealed(void **state)
{
    (void)state;
    for (int where = 0; where < 2; where++) { // content, header
        struct pack_origin o = kit_origin(next_n++);
        struct pack       *p = filled(&o);
        struct pack_sealed sealed;
        struct errmsg      why = {0};
        char               uid[65];
        uint64_t at = where == 0 ? pack_images(p)[1].at + 700 : pack_images(p)[1].at - 512;
        assert_int_equal(pwrite(pack_fd(p), "!", 1, (off_t)at), 1);
        assert_int_equal(pack_seal(p, &sealed, &why), ERR_SYNTAX);
        assert_non_null(strstr(why.text, kit_uid(1, uid).ptr));
        assert_true(is_there(path_of(&o, true)));
        assert_false(is_there(path_of(&o, false)));
    }
}

static void a_data_set_that_cannot_be_read_is_kept(void **state)
{
    (void)state;
    struct pack_origin           o = kit_origin(next_n++);
    struct pack                 *p = filled(&o);
    struct pack_sealed           sealed;
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1 << 20);
    size_t head = kit_image(77, 1000, &b);
    char   uid[65];
    must(pack_image_begin(p, kit_uid(77, uid), STR(KIT_CLASS), STR(KIT_SYNTAX),
                          (struct bytes){b.ptr, head}, &e));
    memset(b.ptr + head, 0xFF, b.len - head);
    must(pack_image_add(p, (struct bytes){b.ptr + head, b.len - head}, &e));
    must(pack_image_commit(p, NULL, &e));
    must(pack_seal(p, &sealed, &e));
    assert_int_equal(
        run("tar xOf $P metadata.json.gz | gunzip | grep -q 1.2.840.99999.77", path_of(&o, false)),
        0);
}

/* A crash leaves any length of what sealing writes; the pack must open again with its images. */
static void a_crash_while_sealing_leaves_an_open_pack(void **state)
{
    (void)state;
    struct pack_origin           o = kit_origin(next_n++);
    struct pack                 *p = filled(&o);
    struct pack_sealed           sealed;
    CLEANUP(buf_done) struct buf file;
    uint64_t                     end = pack_bytes(p);
    must(pack_seal(p, &sealed, &e));
    load(path_of(&o, false), &file);
    assert_int_equal(unlink(path_of(&o, false)), 0);
    for (size_t cut = (size_t)end; cut <= file.len; cut += cut + 97 < file.len ? 97 : 1) {
        save(path_of(&o, true), file.ptr, cut);
        must(pack_reopen(kit_folder(), &o, &p, &e));
        assert_true(pack_bytes(p) == end);
        assert_int_equal(pack_count(p), IMAGES);
        if (cut % 10 != 0) {
            pack_close(p);
            continue;
        }
        assert_images(pack_fd(p), pack_images(p));
        must(pack_seal(p, &sealed, &e));
        assert_int_equal(unlink(path_of(&o, false)), 0);
    }
}

static void no_failing_call_breaks_a_pack_that_is_sealed(void **state)
{
    (void)state;
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = filled(&o);
    struct pack_sealed sealed;
    pack_close(p);
    for (int kind = 0; kind < FAULT__COUNT; kind++) {
        for (unsigned n = 1;; n++) {
            must(pack_reopen(kit_folder(), &o, &p, &e));
            assert_int_equal(pack_count(p), IMAGES);
            file_fault_set((enum file_fault)kind, n, n % 2 == 0 ? EIO : ENOSPC);
            enum err rc = pack_seal(p, &sealed, NULL);
            file_fault_set((enum file_fault)kind, 0, 0);
            bool is_sealed = is_there(path_of(&o, false));
            assert_true(is_sealed != is_there(path_of(&o, true)));
            if (is_sealed) {
                assert_int_equal(rename(path_of(&o, false), path_of(&o, true)), 0);
            }
            if (rc == ERR_OK) {
                break;
            }
            assert_int_equal(rc, n % 2 == 0 ? ERR_IO : ERR_LIMIT);
        }
    }
}

static void kill_9_while_sealing_loses_nothing(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 25; round++) {
        struct pack_origin o = kit_origin(next_n++);
        struct pack       *p = filled(&o);
        struct pack_sealed sealed;
        pack_close(p);
        pid_t pid = fork();
        if (pid == 0) {
            if (pack_reopen(kit_folder(), &o, &p, NULL) == ERR_OK) {
                (void)pack_seal(p, &sealed, NULL);
            }
            _exit(0);
        }
        seed = seed * 1103515245U + 12345U;
        (void)usleep(seed / 65536 % 5000);
        (void)kill(pid, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!is_there(path_of(&o, false))) {
            must(pack_reopen(kit_folder(), &o, &p, &e));
            assert_int_equal(pack_count(p), IMAGES);
            assert_images(pack_fd(p), pack_images(p));
            must(pack_seal(p, &sealed, &e));
        }
        assert_int_equal(run("tar xOf $P SHA256SUMS | wc -l | grep -qx 6", path_of(&o, false)), 0);
    }
}

/* ---- verify */

struct findings {
    size_t n;
    char   uid[65], what[256];
};

static void note(void *ctx, struct str sop_uid, const char *what)
{
    struct findings *f = ctx;
    if (f->n++ == 0 || f->uid[0] == '\0') { // keep the first that names an image
        (void)snprintf(f->uid, sizeof(f->uid), "%.*s", STR_ARG(sop_uid));
        (void)snprintf(f->what, sizeof(f->what), "%s", what);
    }
}

/* ---- files of other makers */

static size_t foreign_n;

/* Store one file under a UID of ours; its own meta information stays. */
static void store_foreign(struct pack *p, const char *path)
{
    CLEANUP(buf_done) struct buf b;
    char                         uid[65];
    load(path, &b);
    must(pack_image_begin(p, kit_uid(foreign_n++, uid), STR(KIT_CLASS), STR(KIT_SYNTAX),
                          (struct bytes){b.ptr, b.len / 3}, &e));
    must(pack_image_add(p, (struct bytes){b.ptr + b.len / 3, b.len - b.len / 3}, &e));
    must(pack_image_commit(p, NULL, &e));
}

/* The corpus beside the source tree, or where the environment says. */
static bool find_corpus(char *ret, size_t size)
{
    const char *source = getenv("GARONNE_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    const char *corpus = getenv("GARONNE_CORPUS"); // NOLINT(concurrency-mt-unsafe)
    if (corpus != NULL) {
        (void)snprintf(ret, size, "%s/dicom", corpus);
    } else {
        (void)snprintf(ret, size, "%s/../shared/corpus/dicom", source != NULL ? source : ".");
    }
    return is_there(ret);
}

static void every_foreign_file_is_sealed(void **state)
{
    (void)state;
    char list[PACK_PATH], line[PACK_PATH], command[2 * PACK_PATH];
    if (!find_corpus(line, sizeof(line))) {
        print_message("skipped: no corpus at %s\n", line);
        skip();
    }
    (void)snprintf(list, sizeof(list), "%s/list", kit_folder());
    (void)snprintf(command, sizeof(command), "find $P -type f -size -8M | sort >%s", list);
    assert_int_equal(run(command, line), 0);
    struct pack_origin o = kit_origin(next_n++);
    struct pack       *p = NULL;
    struct pack_sealed sealed;
    FILE              *f = fopen(list, "r");
    assert_non_null(f);
    must(pack_create(kit_folder(), &o, &p, &e));
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        store_foreign(p, line);
    }
    (void)fclose(f);
    must(pack_seal(p, &sealed, &e));
    must(pack_verify(path_of(&o, false), note, &(struct findings){0}, &e));
    (void)snprintf(
        command, sizeof(command),
        "cd $(dirname $P) && mkdir y && tar xf $P -C y && cd y && sha256sum -c --quiet "
        "SHA256SUMS && i=0; while read -r f; do cmp \"$f\" 1.2.840.99999.$i.dcm || exit 1; "
        "i=$((i+1)); done <%s",
        list);
    assert_int_equal(run(command, path_of(&o, false)), 0);
    if (run("command -v python3 >/dev/null", "") == 0) {
        (void)snprintf(command, sizeof(command),
                       "cd $(dirname $P)/y && python3 -c 'import gzip,json\n"
                       "assert len(json.load(gzip.open(\"metadata.json.gz\")))==%zu\n"
                       "m=json.load(open(\"manifest.json\"))[\"images\"]\n"
                       "assert len(m)==%zu\n"
                       "print(sum(\"frame_at\" in i for i in m),\"of\",len(m),"
                       "\"foreign files have frames\")'",
                       foreign_n, foreign_n);
        assert_int_equal(run(command, path_of(&o, false)), 0);
    }
    assert_int_equal(run("rm -r $(dirname $P)/y", path_of(&o, false)), 0);
}

static void flip_and_verify(const char *path, const uint8_t *file, size_t at, const char *want_uid)
{
    struct findings         f = {0};
    const uint8_t           bad = file[at] ^ 0x04;
    CLEANUP(file_close) int fd = -1;
    must(file_open(path, O_WRONLY, 0, &fd, &e));
    must(file_write_at(fd, at, (struct bytes){&bad, 1}, &e));
    enum err rc = pack_verify(path, note, &f, NULL);
    must(file_write_at(fd, at, (struct bytes){file + at, 1}, &e));
    if (rc != ERR_SYNTAX || f.n == 0) {
        fail_msg("flipped byte %zu was not found", at);
    }
    if (strcmp(f.uid, want_uid) != 0) {
        fail_msg("flipped byte %zu: \"%s\" instead of \"%s\" was named (%s)", at, f.uid, want_uid,
                 f.what);
    }
}

static void verify_finds_every_flipped_byte(void **state)
{
    (void)state;
    struct pack_origin           o = kit_origin(next_n++);
    struct pack                 *p = NULL;
    struct pack_sealed           sealed;
    CLEANUP(buf_done) struct buf file;
    uint64_t                     start[IMAGES + 1];
    char                         uids[IMAGES][65];
    must(pack_create(kit_folder(), &o, &p, &e));
    for (size_t i = 0; i < IMAGES; i++) {
        must(kit_store(p, i, 100, &e));
        start[i] = pack_images(p)[i].at - TAR_BLOCK;
        (void)kit_uid(i, uids[i]);
    }
    start[IMAGES] = pack_bytes(p);
    must(pack_seal(p, &sealed, &e));
    const char *path = path_of(&o, false);
    must(pack_verify(path, note, &(struct findings){0}, &e));
    load(path, &file);
    for (size_t at = 0; at < file.len; at += at % 7 + 1) {
        const char *want = "";
        for (size_t i = 0; i < IMAGES; i++) {
            if (at >= start[i] && at < start[i + 1]) {
                want = uids[i];
            }
        }
        flip_and_verify(path, file.ptr, at, want);
    }
}

static void verify_finds_what_is_cut(void **state)
{
    (void)state;
    struct pack_origin           o = kit_origin(next_n++);
    struct pack_sealed           sealed;
    CLEANUP(buf_done) struct buf file;
    must(pack_seal(filled(&o), &sealed, &e));
    const char *path = path_of(&o, false);
    load(path, &file);
    for (size_t len = 0; len < file.len; len += len + 4001 < file.len ? 4001 : 1) {
        struct findings f = {0};
        save(path, file.ptr, len);
        if (pack_verify(path, note, &f, NULL) != ERR_SYNTAX || f.n == 0) {
            fail_msg("cut to %zu bytes was not found", len);
        }
    }
    struct findings f = {0};
    uint8_t        *more = buf_grow(&file, 512);
    assert_non_null(more);
    memset(more, 0, 512);
    save(path, file.ptr, file.len);
    assert_int_equal(pack_verify(path, note, &f, NULL), ERR_SYNTAX); // longer, if by zeros
    assert_int_equal(pack_verify("/nowhere", note, &f, NULL), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_pack_tells_what_it_holds),
        cmocka_unit_test(coreutils_and_any_tar_check_a_sealed_pack),
        cmocka_unit_test(a_sealed_number_is_not_given_again),
        cmocka_unit_test(an_empty_pack_is_not_sealed),
        cmocka_unit_test(what_changed_since_it_came_is_not_sealed),
        cmocka_unit_test(a_data_set_that_cannot_be_read_is_kept),
        cmocka_unit_test(a_crash_while_sealing_leaves_an_open_pack),
        cmocka_unit_test(no_failing_call_breaks_a_pack_that_is_sealed),
        cmocka_unit_test(kill_9_while_sealing_loses_nothing),
        cmocka_unit_test(every_foreign_file_is_sealed),
        cmocka_unit_test(verify_finds_every_flipped_byte),
        cmocka_unit_test(verify_finds_what_is_cut),
    };
    (void)kit_folder();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kit_remove_folder();
    return failed;
}
