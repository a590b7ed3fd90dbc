#pragma once
/*
 * The DIMSE services of a node: Verification, Storage, Query/Retrieve (C-FIND, C-MOVE, C-GET),
 * PS3.4 annexes A, B, C.
 *
 * A surface: decode, call index and archive, encode.  The called AE title names the tenant; the
 * calling AE title, address and, with TLS, certificate must be those of a peer of that tenant.  One
 * thread runs an association from start to end.
 */
#include <stdatomic.h>

#include "archive/archive.h"
#include "dimse/assoc.h"
#include "pixel/worker.h"

struct tls;

struct scp_stats { // lock-free, for /metrics
    atomic_ullong associations, rejected, aborted, stores, store_failures, finds, find_answers,
        moves, gets, suboperations, suboperation_failures, echoes;
    atomic_llong open;
};

struct scp { // filled in once, then shared by all associations; only stats change
    struct archive    *archive;
    struct pixel_pool *pixel; // NULL: pixels are sent as they are stored
    struct assoc_conf  assoc;
    const struct tls  *client_tls; // for C-MOVE to peers that want TLS; NULL: none configured
    unsigned           max_associations;
    int16_t            zone_minutes; // of dates and times without a zone of their own
    struct scp_stats   stats;
};

/* Run one accepted connection to its end; s is taken. */
void scp_run(struct scp *scp, struct sock *s);
