#pragma once
/*
 * What the test's pixel worker can be told to do.  Each operation takes and gives a uint32_t.
 */
#include "pixel/worker_wire.h"

enum { EVIL_OP_ECHO = PIXEL_OP_TEST, EVIL_OP_ERROR, EVIL_OP_LIE, EVIL_OP_DO, EVIL_OP_EAT };

enum evil {
    EVIL_CRASH,
    EVIL_ABORT,
    EVIL_EXIT,
    EVIL_SPIN,
    EVIL_OPEN,
    EVIL_SOCKET,
    EVIL_EXEC,
    EVIL_FORK,
    EVIL_CUT,
    EVIL_KILL,
    EVIL_CODE,
    EVIL_COUNT
};
