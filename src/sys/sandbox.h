#pragma once
/*
 * The wall around a process that runs code we do not trust with input we do not trust: no files, no
 * network, no new processes, a memory limit.  seccomp (libseccomp) with a list of what is allowed;
 * any other system call kills the process (SIGSYS).  There is no way back.
 *
 * In sanitizer builds the memory limit is left out and only the worst calls (sockets, programs,
 * other processes) are forbidden: the sanitizers' own machinery needs the rest.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sandbox_conf {
    uint64_t memory; // bytes of address space
    int      keep;   // descriptors below are kept, all others are closed
};

/* Call with one thread, everything the process needs opened and mapped. */
enum err sandbox_enter(const struct sandbox_conf *c, struct errmsg *e) MUST_USE;

/* False in sanitizer builds, see above. */
bool sandbox_is_strict(void);
