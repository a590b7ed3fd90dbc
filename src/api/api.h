#pragma once
/*
 * What the portal's pages ask for besides DICOMweb: the pages themselves, the session, the study
 * list, the lean instance index of a study, and the events of what arrives.
 *
 * Every handler is: who asks (access_actor), decode, call the domain, encode.
 */
#include "access/access.h"
#include "archive/archive.h"
#include "http/http.h"

struct api_conf {
    struct archive *archive;
    struct access  *access;
    const char     *web;          // folder of the built pages; NULL or absent: none are served
    int16_t         zone_minutes; // of dates and times without an offset
};

struct api;

enum { API_ROUTES = 16 };

/* Opens the folder and starts the watcher of changes. */
enum err api_start(const struct api_conf *c, struct api **ret, struct errmsg *e) MUST_USE;
/* Fills to with all routes; returns how many.  The last takes every path: it belongs at the end of
 * the table. */
size_t   api_routes(struct api *a, struct http_route to[API_ROUTES]);
/* Ends the open event streams, and lets no new one begin: before http_stop(). */
void     api_quit(struct api *a);
void     api_free(struct api *a); // after http_stop(); NULL is fine
