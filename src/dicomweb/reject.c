/*
 * Rejecting a study, a series or an image, and taking that back.  PS3.18 has no such service; the
 * paths are those that others use: DELETE of the resource, POST …/reject/{code} with a code of CID
 * 7011, POST …/restore.  What is rejected and what that means: archive/reject.h.
 */
#include "archive/reject.h"

#include <stdio.h>

#include "base/log.h"
#include "base/utf8.h"
#include "dicomweb/web_priv.h"

static const struct {
    struct str code, meaning;
} codes[] = {
    {STR("113001"), STR("Rejected for Quality Reasons")},
    {STR("113037"), STR("Rejected for Patient Safety Reasons")},
    {STR("113038"), STR("Incorrect Modality Worklist Entry")},
    {STR("113039"), STR("Data Retention Policy Expired")},
};

/* "113001", or "113001^DCM". */
static bool code_find(struct str s, struct reject *to)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct str c = codes[i].code;
        bool       whole =
            s.len == c.len || (s.len == c.len + 4 && memcmp(s.ptr + c.len, "^DCM", 4) == 0);
        if (whole && memcmp(s.ptr, c.ptr, c.len) == 0) {
            to->code = c;
            to->reason = to->reason.len > 0 ? to->reason : codes[i].meaning;
            return true;
        }
    }
    return false;
}

static bool path_uids(struct http_request *r, struct reject *to)
{
    const struct {
        const char *name;
        struct str *uid;
    } parts[] = {
        {"study", &to->study_uid}, {"series", &to->series_uid}, {"instance", &to->sop_uid}};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        *parts[i].uid = http_param(r, parts[i].name);
        if (parts[i].uid->ptr != NULL && !is_uid_usable(*parts[i].uid)) {
            http_error(r, 400, "syntax", "the %s in the path is no UID", parts[i].name);
            return false;
        }
    }
    return true;
}

/* Of the query, else the body. */
static bool reason_read(struct http_request *r, struct reject *to)
{
    to->reason = http_query(r, "reason");
    if (to->reason.ptr == NULL && !utf8_check(http_body(r), &to->reason)) {
        http_error(r, 400, "syntax", "the reason is not in UTF-8");
        return false;
    }
    if (to->reason.len > LIMIT_REASON) {
        http_error(r, 400, "limit", "a reason has at most %d bytes", LIMIT_REASON);
        return false;
    }
    return true;
}

static void change(struct http_request *r, struct web *w, const struct actor *by,
                   const struct reject *asked)
{
    char          who[128];
    struct errmsg e = {0};
    uint64_t      n = 0;
    struct reject full = *asked, *x = &full;
    (void)snprintf(who, sizeof(who), "token %lld %s", (long long)by->token_id, by->name);
    x->who = str_of(who);
    x->tenant_id = by->tenant_id;
    x->tenant = str_of(by->tenant);
    enum err rc = archive_reject(w->archive, x, &n, &e);
    log_info(x->restore ? "restore" : "reject",
             "tenant=%s token=%lld study=%.*s series=%.*s sop=%.*s code=%.*s images=%llu err=%s",
             by->tenant, (long long)by->token_id, STR_ARG(x->study_uid), STR_ARG(x->series_uid),
             STR_ARG(x->sop_uid), STR_ARG(x->code), (unsigned long long)n, err_name(rc));
    if (rc != ERR_OK) {
        http_fail(r, rc, &e);
        return;
    }
    char json[64];
    int  len = snprintf(json, sizeof(json), "{\"count\":%llu}", (unsigned long long)n);
    http_answer(r, 200, "application/json", (struct bytes){(const uint8_t *)json, (size_t)len});
}

static void reject(struct http_request *r, void *arg)
{
    struct actor  by;
    struct reject x = {0};
    if (!web_actor(arg, r, ACT_REJECT, &by) || !path_uids(r, &x) || !reason_read(r, &x)) {
        return;
    }
    struct str code = http_param(r, "code");
    if (code.ptr != NULL ? !code_find(code, &x) : x.reason.len == 0) {
        http_error(r, 400, "syntax",
                   code.ptr != NULL ? "the code is none of 113001, 113037, 113038, 113039"
                                    : "a reason is needed");
        return;
    }
    struct reject coded = {0};
    if (code.ptr == NULL && code_find(x.reason, &coded)) {
        x.code = coded.code;
        x.reason = coded.reason;
    }
    change(r, arg, &by, &x);
}

static void restore(struct http_request *r, void *arg)
{
    struct actor  by;
    struct reject x = {.restore = true};
    if (web_actor(arg, r, ACT_REJECT, &by) && path_uids(r, &x) && reason_read(r, &x)) {
        change(r, arg, &by, &x);
    }
}

#define STUDY    "/studies/{study}"
#define SERIES   STUDY "/series/{series}"
#define INSTANCE SERIES "/instances/{instance}"

const struct web_route reject_routes[] = {
    {HTTP_DELETE, true, STUDY, reject, NULL, LIMIT_REASON},
    {HTTP_DELETE, true, SERIES, reject, NULL, LIMIT_REASON},
    {HTTP_DELETE, true, INSTANCE, reject, NULL, LIMIT_REASON},
    {HTTP_POST, true, STUDY "/reject/{code}", reject, NULL, LIMIT_REASON},
    {HTTP_POST, true, SERIES "/reject/{code}", reject, NULL, LIMIT_REASON},
    {HTTP_POST, true, INSTANCE "/reject/{code}", reject, NULL, LIMIT_REASON},
    {HTTP_POST, true, STUDY "/restore", restore, NULL, LIMIT_REASON},
    {HTTP_POST, true, SERIES "/restore", restore, NULL, LIMIT_REASON},
    {HTTP_POST, true, INSTANCE "/restore", restore, NULL, LIMIT_REASON},
};
const size_t reject_routes_n = sizeof(reject_routes) / sizeof(reject_routes[0]);
