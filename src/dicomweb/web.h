#pragma once
/*
 * DICOMweb, PS3.18: the routes below /dicomweb (what the caller may see) and /t/{tenant}/dicomweb.
 *
 * Every handler is: who asks (web_actor), decode, call the domain, encode.
 */
#include "access/access.h"
#include "archive/archive.h"
#include "http/http.h"
#include "pixel/worker.h"

enum { WEB_ROUTES = 128, WEB_PATTERN = 128 };

struct web {
    struct archive    *archive;
    struct access     *access;
    struct pixel_pool *pixel;
    struct uploads    *uploads;      // bodies that are stored while they arrive (dicomweb/upload.h)
    struct feeds      *feeds;        // answers that are made while they are sent (dicomweb/feed.h)
    int16_t            zone_minutes; // of dates and times without an offset
    struct str         cors;         // origins allowed, comma separated; "*" any; empty: none
    char               patterns[WEB_ROUTES][WEB_PATTERN]; // of the routes, filled by web_routes
};

/* Fills to with all routes, arg is w; returns how many. */
size_t web_routes(struct web *w, struct http_route to[WEB_ROUTES]);
