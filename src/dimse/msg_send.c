/*
 * Sending messages.  What is in memory is gathered from where it lies; what comes in pieces or from
 * a file is laid out in the stage as PDUs, several for one write.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/limits.h"
#include "dimse/assoc_priv.h"

enum { HEADS = PDU_HEAD + PDV_HEAD, GATHER = 24, FILE_IOV = 64 };

static void put_heads(uint8_t *p, uint8_t context, bool command, bool last, size_t n)
{
    const uint32_t pdv = (uint32_t)n + 2, pdu = pdv + 4;
    const uint8_t  raw[HEADS] = {
         PDU_DATA,
         0,
         (uint8_t)(pdu >> 24),
         (uint8_t)(pdu >> 16),
         (uint8_t)(pdu >> 8),
         (uint8_t)pdu,
         (uint8_t)(pdv >> 24),
         (uint8_t)(pdv >> 16),
         (uint8_t)(pdv >> 8),
         (uint8_t)pdv,
         context,
         (uint8_t)((command ? 1 : 0) | (last ? 2 : 0)),
    };
    memcpy(p, raw, sizeof(raw));
}

/* After a failed write: did the peer abort, and why?  Its words are better than "connection
 * reset".  A few PDUs may lie before them. */
static void look_for_abort(struct assoc *a, struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (int i = 0; i < 8 && rc == ERR_OK && a->ul.state == STA6; i++) {
        struct errmsg why = {0};
        unsigned      raised = 0;
        rc = assoc_turn(a, deadline_in_ms(0), 0, &raised, &why);
        if (a->peer_aborted) {
            (void)err_set(e, ERR_CLOSED, "%s", why.text);
        }
    }
}

static enum err write_data(struct assoc *a, struct iovec *iov, int n, struct errmsg *e)
{
    if (a->ul.state != STA6) {
        return err_set(e, ERR_CLOSED, "association is over");
    }
    (void)assoc_step(a, EV_DATA_REQ, e);
    struct errmsg why = {0};
    enum err      rc = assoc_write(a, iov, n, a->send_ms, &why);
    if (rc == ERR_OK) {
        return rc;
    }
    a->body = (struct cur){0};
    if (rc == ERR_CLOSED) {
        look_for_abort(a, e);
    }
    if (a->ul.state == STA6) {
        (void)assoc_step(a, EV_CONN_DOWN, NULL);
    }
    (void)err_set(e, rc, "sending: %s", why.text);
    return rc;
}

/* A message that was begun and not ended: nothing of it went out, and it is forgotten; or the peer
 * has a part, and only an abort can follow. */
static enum err drop_unfinished(struct assoc *a, struct errmsg *e)
{
    struct stage *s = &a->stage;
    bool          part = s->begun && s->flushed;
    s->begun = s->flushed = s->open = false;
    s->len = 0;
    if (!part) {
        return ERR_OK;
    }
    assoc_abort(a, ABORT_USER, 0);
    return err_set(e, ERR_CLOSED, "aborted: a message was given up in the middle");
}

/* ---- gathered */

struct gather {
    struct iovec iov[GATHER];
    uint8_t      heads[GATHER / 2][HEADS];
    int          n;
};

static enum err gather_flush(struct assoc *a, struct gather *g, struct errmsg *e)
{
    enum err rc = g->n > 0 ? write_data(a, g->iov, g->n, e) : ERR_OK;
    g->n = 0;
    return rc;
}

static enum err gather_add(struct assoc *a, struct gather *g, uint8_t context, bool command,
                           struct bytes b, struct errmsg *e)
{
    enum err rc = ERR_OK;
    bool     last = false;
    while (!last && rc == ERR_OK) {
        size_t n = b.len < a->payload ? b.len : a->payload;
        last = n == b.len;
        put_heads(g->heads[g->n / 2], context, command, last, n);
        g->iov[g->n] = (struct iovec){g->heads[g->n / 2], HEADS};
        g->iov[g->n + 1] = (struct iovec){(void *)b.ptr, n};
        g->n += 2;
        b = (struct bytes){n > 0 ? b.ptr + n : b.ptr, b.len - n};
        if (g->n == GATHER) {
            rc = gather_flush(a, g, e);
        }
    }
    return rc;
}

static enum err encode(struct assoc *a, const struct cmd *c, bool has_data, struct bytes *ret,
                       struct errmsg *e)
{
    struct cmd x = *c;
    x.has_data = has_data;
    buf_clear(&a->command);
    cmd_write(&x, &a->command);
    enum err rc = buf_end(&a->command, ret);
    return rc == ERR_OK ? ERR_OK : err_set(e, rc, "command set over %d bytes", LIMIT_COMMAND);
}

enum err msg_send(struct assoc *a, uint8_t context, const struct cmd *c, const struct bytes *data,
                  struct errmsg *e)
{
    struct gather g;
    struct bytes  command;
    g.n = 0;
    enum err rc = drop_unfinished(a, e);
    if (rc == ERR_OK) {
        rc = encode(a, c, data != NULL, &command, e);
    }
    if (rc == ERR_OK) {
        rc = gather_add(a, &g, context, true, command, e);
    }
    if (rc == ERR_OK && data != NULL) {
        rc = gather_add(a, &g, context, false, *data, e);
    }
    return rc == ERR_OK ? gather_flush(a, &g, e) : rc;
}

/* ---- staged */

static enum err stage_write(struct assoc *a, struct errmsg *e)
{
    struct stage *s = &a->stage;
    struct iovec  iov = {s->ptr, s->len};
    s->len = 0;
    s->flushed = true;
    return iov.iov_len > 0 ? write_data(a, &iov, 1, e) : ERR_OK;
}

static void stage_close(struct stage *s, bool last)
{
    if (s->open) {
        put_heads(s->ptr + s->head, s->context, false, last, s->len - s->head - HEADS);
        s->open = false;
    }
}

static size_t stage_room(const struct assoc *a)
{
    return a->stage.open ? a->payload - (a->stage.len - a->stage.head - HEADS) : 0;
}

/* A PDU with room in it.  The one before is closed only now, since it may have been the last. */
static enum err stage_open(struct assoc *a, struct errmsg *e)
{
    struct stage *s = &a->stage;
    if (stage_room(a) > 0) {
        return ERR_OK;
    }
    stage_close(s, false);
    enum err rc = s->size - s->len < HEADS + a->payload ? stage_write(a, e) : ERR_OK;
    s->head = s->len;
    s->len += HEADS;
    s->open = true;
    return rc;
}

enum err msg_send_begin(struct assoc *a, uint8_t context, const struct cmd *c, struct errmsg *e)
{
    struct stage *s = &a->stage;
    struct bytes  command;
    enum err      rc = drop_unfinished(a, e);
    if (rc == ERR_OK) {
        rc = encode(a, c, true, &command, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    if (s->ptr == NULL) {
        s->ptr = malloc(LIMIT_STAGE);
        s->size = LIMIT_STAGE;
    }
    if (s->ptr == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a send buffer");
    }
    s->context = context;
    s->begun = true;
    size_t whole = command.len + (command.len / a->payload + 1) * HEADS;
    if (whole > s->size - HEADS - a->payload) {
        /* Longer than ever met, or a peer with tiny PDUs: it goes ahead of the data. */
        struct gather g;
        g.n = 0;
        s->flushed = true;
        rc = gather_add(a, &g, context, true, command, e);
        return rc == ERR_OK ? gather_flush(a, &g, e) : rc;
    }
    for (bool last = false; !last;) {
        size_t n = command.len < a->payload ? command.len : a->payload;
        last = n == command.len;
        put_heads(s->ptr + s->len, context, true, last, n);
        memcpy(s->ptr + s->len + HEADS, command.ptr, n);
        s->len += HEADS + n;
        command = (struct bytes){command.ptr + n, command.len - n};
    }
    return ERR_OK;
}

static enum err must_be_begun(const struct assoc *a, struct errmsg *e)
{
    return a->stage.begun ? ERR_OK : err_set(e, ERR_CLOSED, "no message is begun");
}

enum err msg_send_add(struct assoc *a, struct bytes piece, struct errmsg *e)
{
    enum err rc = must_be_begun(a, e);
    if (rc != ERR_OK) {
        return rc;
    }
    while (piece.len > 0) {
        rc = stage_open(a, e);
        if (rc != ERR_OK) {
            return rc;
        }
        size_t room = stage_room(a);
        size_t n = piece.len < room ? piece.len : room;
        memcpy(a->stage.ptr + a->stage.len, piece.ptr, n);
        a->stage.len += n;
        piece = (struct bytes){piece.ptr + n, piece.len - n};
    }
    return ERR_OK;
}

/* Lays out PDUs for up to n bytes without their content, until the stage is full. */
static size_t file_layout(struct assoc *a, uint64_t n, struct iovec iov[FILE_IOV], int *ret_iov,
                          struct errmsg *e)
{
    struct stage *s = &a->stage;
    size_t        total = 0;
    int           k = 0;
    while (k < FILE_IOV && total < n &&
           (stage_room(a) > 0 || k == 0 || s->size - s->len >= HEADS + a->payload)) {
        if (stage_open(a, e) != ERR_OK) {
            return 0;
        }
        size_t room = stage_room(a);
        size_t len = n - total < room ? (size_t)(n - total) : room;
        iov[k++] = (struct iovec){s->ptr + s->len, len};
        s->len += len;
        total += len;
    }
    *ret_iov = k;
    return total;
}

/* All of it; iov is changed. */
static enum err read_pieces(int fd, uint64_t at, struct iovec *iov, int n, struct errmsg *e)
{
    while (n > 0) {
        ssize_t r = preadv(fd, iov, n, (off_t)at);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            const char *why = r < 0 ? strerrordesc_np(errno) : "it ends too early";
            return err_set(e, ERR_IO, "reading at %" PRIu64 ": %s", at, why != NULL ? why : "?");
        }
        at += (uint64_t)r;
        for (size_t left = (size_t)r; left > 0 && n > 0;) {
            size_t step = left < iov->iov_len ? left : iov->iov_len;
            iov->iov_base = (uint8_t *)iov->iov_base + step;
            iov->iov_len -= step;
            left -= step;
            if (iov->iov_len == 0) {
                iov++;
                n--;
            }
        }
    }
    return ERR_OK;
}

enum err msg_send_file(struct assoc *a, int fd, uint64_t at, uint64_t n, struct errmsg *e)
{
    enum err rc = must_be_begun(a, e);
    while (rc == ERR_OK && n > 0) {
        struct iovec iov[FILE_IOV];
        int          k = 0;
        size_t       total = file_layout(a, n, iov, &k, e);
        if (total == 0) {
            return ERR_CLOSED;
        }
        rc = read_pieces(fd, at, iov, k, e);
        if (rc != ERR_OK) {
            (void)drop_unfinished(a, NULL);
        }
        at += total;
        n -= total;
    }
    return rc;
}

void msg_send_cancel(struct assoc *a)
{
    (void)drop_unfinished(a, NULL);
}

enum err msg_send_end(struct assoc *a, struct errmsg *e)
{
    struct stage *s = &a->stage;
    enum err      rc = must_be_begun(a, e);
    if (rc == ERR_OK && !s->open) {
        rc = stage_open(a, e); // an empty data set is a PDU as well
    }
    stage_close(s, true);
    rc = rc == ERR_OK ? stage_write(a, e) : rc;
    s->begun = s->flushed = false;
    return rc;
}
