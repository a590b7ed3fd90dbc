#pragma once
/*
 * For tests: a server that accepts every class but those under 1.3, answers every request with
 * success and keeps the last data set; one association, then its thread ends.  And small objects.
 * Included after cmocka.h.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dicom/dset.h"
#include "dimse/assoc.h"
#include "sys/tls.h"

#define VERIFICATION "1.2.840.10008.1.1"
#define CT           "1.2.840.10008.5.1.4.1.1.2"
#define IMPLICIT     "1.2.840.10008.1.2"
#define EXPLICIT     "1.2.840.10008.1.2.1"

enum reading { IN_PIECES, NOT_AT_ALL, AS_A_WHOLE };

struct server {
    enum reading      reading;
    struct sock      *sock;
    int               listen_fd; // when sock is NULL
    const struct tls *tls;
    struct assoc_conf conf;
    struct buf        kept;
    size_t            messages, pieces;
    char              calling[17], called[17];
    enum err          rc;
    struct errmsg     e;
};

static inline enum ctx_result choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax)
{
    (void)arg;
    *ret_syntax = 0;
    c->scu_role = false; // grants the other role only
    return c->abstract.len > 4 && memcmp(c->abstract.ptr, "1.3.", 4) == 0 ? CTX_NO_ABSTRACT
                                                                          : CTX_ACCEPTED;
}

static inline enum err keep(struct server *s, struct assoc *a, struct errmsg *e)
{
    bool     last = false;
    enum err rc = ERR_OK;
    buf_clear(&s->kept);
    if (s->reading == AS_A_WHOLE) {
        rc = msg_data_all(a, &s->kept, NULL);
        return rc == ERR_LIMIT ? ERR_OK : rc;
    }
    while (rc == ERR_OK && !last) {
        struct bytes piece = {0};
        rc = msg_data(a, &piece, &last, e);
        buf_add(&s->kept, piece);
        s->pieces++;
    }
    return rc;
}

static inline enum err serve(struct server *s, struct assoc *a, struct errmsg *e)
{
    for (;;) {
        struct cmd c;
        uint8_t    ctx = 0;
        enum err   rc = msg_recv(a, &c, &ctx, e);
        if (rc == ERR_OK && c.has_data && s->reading != NOT_AT_ALL) {
            rc = keep(s, a, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
        s->messages++;
        struct cmd rsp = {.field = (uint16_t)(c.field | 0x8000),
                          .responded_id = c.message_id,
                          .class_uid = c.class_uid,
                          .sop_uid = c.sop_uid};
        rc = msg_send(a, ctx, &rsp, NULL, e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
}

static inline void *server_main(void *arg)
{
    struct server *s = arg;
    struct assoc  *a = NULL;
    if (s->sock == NULL) {
        s->rc = sock_accept(s->listen_fd, deadline_in_ms(20000), &s->sock, &s->e);
    }
    if (s->rc == ERR_OK && s->tls != NULL) {
        s->rc = sock_start_tls(s->sock, s->tls, NULL, deadline_in_ms(5000), &s->e);
    }
    if (s->rc != ERR_OK) {
        sock_free(s->sock);
        return NULL;
    }
    s->rc = assoc_wait(s->sock, &s->conf, &a, &s->e);
    if (s->rc == ERR_OK) {
        (void)snprintf(s->calling, sizeof(s->calling), "%.*s", STR_ARG(assoc_request(a)->calling));
        (void)snprintf(s->called, sizeof(s->called), "%.*s", STR_ARG(assoc_request(a)->called));
        s->rc = assoc_accept(a, choose, NULL, NULL, 0, &s->e);
    }
    if (s->rc == ERR_OK) {
        s->rc = serve(s, a, &s->e);
    }
    assoc_free(a);
    return NULL;
}

/* A small CT in explicit little endian, with pixels of n bytes. */
static inline struct bytes make_object(struct arena *mem, struct buf *out, struct str uid, size_t n)
{
    uint8_t     *pixels = arena_array(mem, n, uint8_t);
    struct dset *d = dset_new(mem);
    assert_true(pixels != NULL && d != NULL);
    assert_int_equal(dset_put_str(d, TAG(0x0008, 0x0016), STR(CT)), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0008, 0x0018), uid), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0008, 0x0060), STR("CT")), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0010, 0x0020), STR("P1")), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0020, 0x000D), STR("1.2.3")), ERR_OK);
    assert_int_equal(dset_put_str(d, TAG(0x0020, 0x000E), STR("1.2.3.1")), ERR_OK);
    assert_int_equal(dset_put(d, TAG(0x7FE0, 0x0010), VR_OW, (struct bytes){pixels, n}), ERR_OK);
    assert_int_equal(dset_write(d, &SYNTAX_EXPLICIT, false, out, NULL), ERR_OK);
    return (struct bytes){out->ptr, out->len};
}

static inline int temp_file(struct bytes b)
{
    char name[] = "/tmp/garonne-dimse-XXXXXX";
    int  fd = mkstemp(name);
    assert_true(fd >= 0 && unlink(name) == 0);
    assert_int_equal(write(fd, b.ptr, b.len), (ssize_t)b.len);
    return fd;
}
