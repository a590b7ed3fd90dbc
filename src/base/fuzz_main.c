/*
 * Runs a fuzz target over the files named on the command line, or over every file of the folders
 * named there, so that a corpus is an ordinary test with any compiler.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    static uint8_t buf[1 << 20];
    FILE          *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t n = fread(buf, 1, sizeof(buf), f);
    (void)fclose(f);
    (void)LLVMFuzzerTestOneInput(buf, n);
    return EXIT_SUCCESS;
}

static int run_folder(const char *path)
{
    int  n = 0;
    DIR *d = opendir(path);
    if (d == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    for (struct dirent *x = readdir(d); x != NULL; x = readdir(d)) { // one thread
        char file[4096];
        (void)snprintf(file, sizeof(file), "%s/%s", path, x->d_name);
        if (x->d_name[0] != '.' && run_file(file) == EXIT_SUCCESS) {
            n++;
        }
    }
    (void)closedir(d);
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE; // an empty corpus tests nothing
}

int main(int argc, char **argv)
{
    int rc = argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0 ||
            (S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i])) != EXIT_SUCCESS) {
            rc = EXIT_FAILURE;
        }
    }
    return rc;
}
