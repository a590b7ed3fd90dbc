/*
 * Everything a peer sends on a connection, through the whole server side: request, messages, data
 * sets, release or abort.  The input lies in the socket before our end starts, so nothing waits.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "dimse/assoc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ctx_result choose(void *arg, struct assoc_ctx *c, size_t *ret_syntax)
{
    (void)arg;
    *ret_syntax = c->n_syntaxes / 2;
    return c->id % 4 == 1 ? CTX_ACCEPTED : CTX_NO_ABSTRACT;
}

static enum err message(struct assoc *a, struct errmsg *e)
{
    struct cmd       c;
    uint8_t          ctx = 0;
    volatile uint8_t sink = 0;
    enum err         rc = msg_recv(a, &c, &ctx, e);
    bool             last = rc != ERR_OK || !c.has_data || c.priority == 1; // 1: left unread
    while (rc == ERR_OK && !last) {
        struct bytes piece = {0};
        rc = msg_data(a, &piece, &last, e);
        for (size_t i = 0; i < piece.len; i++) {
            sink = sink ^ piece.ptr[i];
        }
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (assoc_ctx(a, ctx) == NULL) {
        abort(); // a message of a context that we did not accept
    }
    const struct cmd rsp = {.field = (uint16_t)(c.field | 0x8000),
                            .responded_id = c.message_id,
                            .class_uid = c.class_uid,
                            .sop_uid = c.sop_uid};
    return msg_send(a, ctx, &rsp, NULL, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct assoc_conf conf = {.max_pdu = 4096, .artim_ms = 50, .idle_ms = 50, .send_ms = 50};
    int                     fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0) {
        return 0;
    }
    ssize_t       n = send(fd[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct sock  *s = n == (ssize_t)size && shutdown(fd[1], SHUT_WR) == 0 ? sock_new(fd[0]) : NULL;
    struct assoc *a = NULL;
    struct errmsg e = {0};
    enum err      rc = s != NULL ? assoc_wait(s, &conf, &a, &e) : ERR_LIMIT;
    if (rc == ERR_OK) {
        rc = assoc_accept(a, choose, NULL, NULL, 0, &e);
        while (rc == ERR_OK) {
            rc = message(a, &e);
        }
        assoc_free(a);
    }
    (void)close(fd[1]);
    return 0;
}
