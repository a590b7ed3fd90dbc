#include "dimse/ul_fsm.h"

/* Actions carry the names of PS3.8 tables 9-6 to 9-9; each returns the next state. */
typedef enum ul_state ul_action(struct ul *u);

static enum ul_state raise(struct ul *u, unsigned flags, enum ul_state next)
{
    u->todo |= flags;
    return next;
}

/* ---- association establishment, table 9-6 */

static enum ul_state ae_1(struct ul *u)
{
    u->requestor = true;
    return STA4;
}

static enum ul_state ae_2(struct ul *u)
{
    buf_add(u->out, u->send);
    return STA5;
}

static enum ul_state ae_3(struct ul *u)
{
    return raise(u, UL_ASSOC_CONF, STA6);
}

static enum ul_state ae_4(struct ul *u)
{
    return raise(u, UL_REJECTED | UL_CLOSE, STA1);
}

static enum ul_state ae_5(struct ul *u)
{
    return raise(u, UL_ARTIM_START, STA2);
}

static enum ul_state ae_6(struct ul *u)
{
    if (u->refuse.result == 0) {
        return raise(u, UL_ARTIM_STOP | UL_ASSOC_IND, STA3);
    }
    pdu_reject_write(u->refuse, u->out);
    return raise(u, UL_REJECTED | UL_ARTIM_START, STA13);
}

static enum ul_state ae_7(struct ul *u)
{
    buf_add(u->out, u->send);
    return STA6;
}

static enum ul_state ae_8(struct ul *u)
{
    buf_add(u->out, u->send);
    return raise(u, UL_ARTIM_START, STA13);
}

/* ---- data transfer, table 9-7 */

static enum ul_state dt_1(struct ul *u)
{
    return raise(u, UL_DATA_OUT, STA6);
}

static enum ul_state dt_2(struct ul *u)
{
    return raise(u, UL_DATA_IN, STA6);
}

/* ---- release, table 9-8 */

static enum ul_state ar_1(struct ul *u)
{
    pdu_release_write(PDU_RELEASE_RQ, u->out);
    return STA7;
}

static enum ul_state ar_2(struct ul *u)
{
    return raise(u, UL_RELEASE_IND, STA8);
}

static enum ul_state ar_3(struct ul *u)
{
    return raise(u, UL_RELEASE_CONF | UL_CLOSE, STA1);
}

static enum ul_state ar_4(struct ul *u)
{
    pdu_release_write(PDU_RELEASE_RP, u->out);
    return raise(u, UL_ARTIM_START, STA13);
}

static enum ul_state ar_5(struct ul *u)
{
    return raise(u, UL_ARTIM_STOP, STA1);
}

static enum ul_state ar_6(struct ul *u)
{
    return raise(u, UL_DATA_IN, STA7);
}

static enum ul_state ar_7(struct ul *u)
{
    return raise(u, UL_DATA_OUT, STA8);
}

static enum ul_state ar_8(struct ul *u)
{
    return raise(u, UL_RELEASE_IND, u->requestor ? STA9 : STA10);
}

static enum ul_state ar_9(struct ul *u)
{
    pdu_release_write(PDU_RELEASE_RP, u->out);
    return STA11;
}

static enum ul_state ar_10(struct ul *u)
{
    return raise(u, UL_RELEASE_CONF, STA12);
}

/* ---- abort, table 9-9 */

static enum ul_state aa_1(struct ul *u)
{
    pdu_abort_write(ABORT_USER, 0, u->out);
    return raise(u, UL_ARTIM_START, STA13);
}

static enum ul_state aa_2(struct ul *u)
{
    return raise(u, UL_ARTIM_STOP | UL_CLOSE, STA1);
}

static enum ul_state aa_3(struct ul *u)
{
    return raise(u, UL_ABORTED | UL_CLOSE, STA1);
}

static enum ul_state aa_4(struct ul *u)
{
    return raise(u, UL_ABORTED, STA1);
}

static enum ul_state aa_5(struct ul *u)
{
    return raise(u, UL_ARTIM_STOP, STA1);
}

static enum ul_state aa_6(struct ul *u)
{
    return raise(u, 0, STA13);
}

static enum ul_state aa_7(struct ul *u)
{
    pdu_abort_write(ABORT_PROVIDER, u->abort.reason, u->out);
    return STA13;
}

static enum ul_state aa_8(struct ul *u)
{
    pdu_abort_write(ABORT_PROVIDER, u->abort.reason, u->out);
    return raise(u, UL_ABORTED | UL_ARTIM_START, STA13);
}

// clang-format off
/* An empty cell is an event our own driver may never raise in that state. */
static ul_action *const table[EV__COUNT][STA__COUNT] = { // PS3.8 table 9-10
    [EV_ASSOC_REQ]  = { [STA1] = ae_1 },
    [EV_CONN_UP]    = { [STA4] = ae_2 },
    [EV_PDU_AC]     = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = ae_3, [STA6] = aa_8, [STA7] = aa_8, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_6 },
    [EV_PDU_RJ]     = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = ae_4, [STA6] = aa_8, [STA7] = aa_8, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_6 },
    [EV_CONN_IN]    = { [STA1] = ae_5 },
    [EV_PDU_RQ]     = { [STA2] = ae_6, [STA3] = aa_8, [STA5] = aa_8, [STA6] = aa_8, [STA7] = aa_8, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_7 },
    [EV_ACCEPT]     = { [STA3] = ae_7 },
    [EV_REJECT]     = { [STA3] = ae_8 },
    [EV_DATA_REQ]   = { [STA6] = dt_1, [STA8] = ar_7 },
    [EV_PDU_DATA]   = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = aa_8, [STA6] = dt_2, [STA7] = ar_6, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_6 },
    [EV_REL_REQ]    = { [STA6] = ar_1 },
    [EV_PDU_REL_RQ] = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = aa_8, [STA6] = ar_2, [STA7] = ar_8, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_6 },
    [EV_PDU_REL_RP] = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = aa_8, [STA6] = aa_8, [STA7] = ar_3, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = ar_10, [STA11] = ar_3, [STA12] = aa_8, [STA13] = aa_6 },
    [EV_REL_RSP]    = { [STA8] = ar_4, [STA9] = ar_9, [STA12] = ar_4 },
    [EV_ABORT_REQ]  = { [STA3] = aa_1, [STA4] = aa_2, [STA5] = aa_1, [STA6] = aa_1, [STA7] = aa_1, [STA8] = aa_1,
                        [STA9] = aa_1, [STA10] = aa_1, [STA11] = aa_1, [STA12] = aa_1 },
    [EV_PDU_ABORT]  = { [STA2] = aa_2, [STA3] = aa_3, [STA5] = aa_3, [STA6] = aa_3, [STA7] = aa_3, [STA8] = aa_3,
                        [STA9] = aa_3, [STA10] = aa_3, [STA11] = aa_3, [STA12] = aa_3, [STA13] = aa_2 },
    [EV_CONN_DOWN]  = { [STA2] = aa_5, [STA3] = aa_4, [STA4] = aa_4, [STA5] = aa_4, [STA6] = aa_4, [STA7] = aa_4,
                        [STA8] = aa_4, [STA9] = aa_4, [STA10] = aa_4, [STA11] = aa_4, [STA12] = aa_4, [STA13] = ar_5 },
    [EV_ARTIM]      = { [STA2] = aa_2, [STA13] = aa_2 },
    [EV_PDU_BAD]    = { [STA2] = aa_1, [STA3] = aa_8, [STA5] = aa_8, [STA6] = aa_8, [STA7] = aa_8, [STA8] = aa_8,
                        [STA9] = aa_8, [STA10] = aa_8, [STA11] = aa_8, [STA12] = aa_8, [STA13] = aa_7 },
};

static const struct {
    ul_action  *fn;
    const char *name;
} names[] = {
    { ae_1, "AE-1" }, { ae_2, "AE-2" }, { ae_3, "AE-3" }, { ae_4, "AE-4" }, { ae_5, "AE-5" }, { ae_6, "AE-6" },
    { ae_7, "AE-7" }, { ae_8, "AE-8" }, { dt_1, "DT-1" }, { dt_2, "DT-2" },
    { ar_1, "AR-1" }, { ar_2, "AR-2" }, { ar_3, "AR-3" }, { ar_4, "AR-4" }, { ar_5, "AR-5" }, { ar_6, "AR-6" },
    { ar_7, "AR-7" }, { ar_8, "AR-8" }, { ar_9, "AR-9" }, { ar_10, "AR-10" },
    { aa_1, "AA-1" }, { aa_2, "AA-2" }, { aa_3, "AA-3" }, { aa_4, "AA-4" }, { aa_5, "AA-5" }, { aa_6, "AA-6" },
    { aa_7, "AA-7" }, { aa_8, "AA-8" },
};

// clang-format on

void ul_step(struct ul *u, enum ul_event ev)
{
    ul_action *act = table[ev][u->state];
    u->state = (act != NULL ? act : aa_2)(u);
}

const char *ul_action_name(enum ul_event ev, enum ul_state st)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (table[ev][st] == names[i].fn) {
            return names[i].name;
        }
    }
    return "";
}
