#pragma once
/*
 * /healthz (the process lives), /readyz (it can take images: database, disk), /metrics
 * (Prometheus).
 */
#include "archive/archive.h"
#include "http/http.h"
#include "scp/scp.h"

enum { HEALTH_ROUTES = 3 };

struct health {
    struct archive *archive;
    struct scp     *scp;
};

/* arg is h; returns how many. */
size_t health_routes(struct health *h, struct http_route to[HEALTH_ROUTES]);
