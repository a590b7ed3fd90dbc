#pragma once
/*
 * The node's HTTP listener with everything that it offers: health and metrics, DICOMweb,
 * the portal.
 */
#include "archive/archive.h"
#include "scp/scp.h"
#include "sys/conf.h"

struct surface;

/* c, a and scp must outlive it. */
enum err    surface_start(const struct conf *c, struct archive *a, struct scp *scp,
                          struct surface **ret, struct errmsg *e);
const char *surface_where(const struct surface *s); // "ADDR:PORT", "off" without a listener
void        surface_stop(struct surface *s);        // NULL is fine
