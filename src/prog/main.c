#include <stdio.h>
#include <string.h>

#include "prog/cli.h"

static const struct {
    const char *name;
    int (*fn)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"serve", cmd_serve, "run a node"},
    {"tenant", cmd_tenant, "add, set, list, show, remove the structures served"},
    {"peer", cmd_peer, "add, set, list, remove the AE titles that may call"},
    {"import", cmd_import, "take in folders, DICOMDIRs, ZIP files"},
    {"token", cmd_token, "add, list, revoke what callers of HTTP show"},
    {"export", cmd_export, "write a tenant's images as a tree of DICOM files"},
    {"verify", cmd_verify, "check every image of the packs, or of an export"},
    {"doctor", cmd_doctor, "check a set-up and say what to mend"},
    {"echo", cmd_scu, "DICOM client: C-ECHO"},
    {"send", cmd_scu, "DICOM client: C-STORE of files and folders"},
    {"find", cmd_scu, "DICOM client: C-FIND"},
    {"get", cmd_scu, "DICOM client: C-GET into a folder"},
    {"move", cmd_scu, "DICOM client: C-MOVE to another node"},
    {"dump", cmd_dump, "say what is in DICOM files"},
    {"transcode", cmd_transcode, "write a DICOM file in another transfer syntax"},
    {"bench", cmd_bench, "load a DICOM node and measure it"},
    {"reindex", cmd_reindex, "rebuild the index from the packs"},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].fn(argc - 1, argv + 1);
        }
    }
    bool  asked = argc > 1 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0);
    FILE *to = asked ? stdout : stderr;
    (void)fprintf(to, "usage: garonne COMMAND …\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        (void)fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].what);
    }
    return asked ? EXIT_DONE : EXIT_USAGE;
}
