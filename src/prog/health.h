#pragma once
/*
 * The node's HTTP listener: /healthz (the process lives), /readyz (it can take images: database,
 * disk), /metrics (Prometheus).
 */
#include "archive/archive.h"
#include "scp/scp.h"
#include "sys/conf.h"

struct health;

enum err health_start(const struct conf *c, struct archive *a, struct scp *scp, struct health **ret,
                      struct errmsg *e);
const char *health_where(const struct health *h); // "ADDR:PORT", "off" without a listener
void        health_stop(struct health *h);
