#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dimse/ul_fsm.h"

/* PS3.8 table 9-10, one line an event in the standard's order, one column a state, "." for an empty
 * cell. */
static const char golden[] =
    "A-ASSOCIATE request      AE-1 . . . . . . . . . . . .\n"
    "Transport confirmation   . . . AE-2 . . . . . . . . .\n"
    "A-ASSOCIATE-AC PDU       . AA-1 AA-8 . AE-3 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6\n"
    "A-ASSOCIATE-RJ PDU       . AA-1 AA-8 . AE-4 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6\n"
    "Transport indication     AE-5 . . . . . . . . . . . .\n"
    "A-ASSOCIATE-RQ PDU       . AE-6 AA-8 . AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7\n"
    "A-ASSOCIATE accept       . . AE-7 . . . . . . . . . .\n"
    "A-ASSOCIATE reject       . . AE-8 . . . . . . . . . .\n"
    "P-DATA request           . . . . . DT-1 . AR-7 . . . . .\n"
    "P-DATA-TF PDU            . AA-1 AA-8 . AA-8 DT-2 AR-6 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6\n"
    "A-RELEASE request        . . . . . AR-1 . . . . . . .\n"
    "A-RELEASE-RQ PDU         . AA-1 AA-8 . AA-8 AR-2 AR-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6\n"
    "A-RELEASE-RP PDU         . AA-1 AA-8 . AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6\n"
    "A-RELEASE response       . . . . . . . AR-4 AR-9 . . AR-4 .\n"
    "A-ABORT request          . . AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 .\n"
    "A-ABORT PDU              . AA-2 AA-3 . AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-2\n"
    "Transport closed         . AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AR-5\n"
    "ARTIM expired            . AA-2 . . . . . . . . . . AA-2\n"
    "Invalid PDU              . AA-1 AA-8 . AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7\n";

static const char *const events[EV__COUNT] = {
    [EV_ASSOC_REQ] = "A-ASSOCIATE request", [EV_CONN_UP] = "Transport confirmation",
    [EV_PDU_AC] = "A-ASSOCIATE-AC PDU",     [EV_PDU_RJ] = "A-ASSOCIATE-RJ PDU",
    [EV_CONN_IN] = "Transport indication",  [EV_PDU_RQ] = "A-ASSOCIATE-RQ PDU",
    [EV_ACCEPT] = "A-ASSOCIATE accept",     [EV_REJECT] = "A-ASSOCIATE reject",
    [EV_DATA_REQ] = "P-DATA request",       [EV_PDU_DATA] = "P-DATA-TF PDU",
    [EV_REL_REQ] = "A-RELEASE request",     [EV_PDU_REL_RQ] = "A-RELEASE-RQ PDU",
    [EV_PDU_REL_RP] = "A-RELEASE-RP PDU",   [EV_REL_RSP] = "A-RELEASE response",
    [EV_ABORT_REQ] = "A-ABORT request",     [EV_PDU_ABORT] = "A-ABORT PDU",
    [EV_CONN_DOWN] = "Transport closed",    [EV_ARTIM] = "ARTIM expired",
    [EV_PDU_BAD] = "Invalid PDU",
};

static void table_is_that_of_the_standard(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out;
    buf_init(&out, 8192);
    for (int ev = 0; ev < EV__COUNT; ev++) {
        buf_fmt(&out, "%-24s", events[ev]);
        for (int st = STA1; st < STA__COUNT; st++) {
            const char *name = ul_action_name((enum ul_event)ev, (enum ul_state)st);
            buf_fmt(&out, " %s", name[0] != '\0' ? name : ".");
        }
        buf_u8(&out, '\n');
    }
    buf_u8(&out, 0);
    (void)fputs((const char *)out.ptr, stdout);
    assert_string_equal((const char *)out.ptr, golden);
}

struct run {
    struct ul  u;
    struct buf out;
};

static void start(struct run *r, enum ul_state st, bool requestor)
{
    buf_init(&r->out, 4096);
    r->u = (struct ul){.state = st, .requestor = requestor, .out = &r->out};
}

static void data_before_association_is_aborted(void **state)
{
    (void)state;
    struct run r;
    start(&r, STA1, false);
    ul_step(&r.u, EV_CONN_IN);
    assert_int_equal(r.u.state, STA2);
    assert_true(r.u.todo & UL_ARTIM_START);
    ul_step(&r.u, EV_PDU_DATA);
    assert_int_equal(r.u.state, STA13);
    assert_int_equal(r.out.len, 10);
    assert_int_equal(r.out.ptr[0], PDU_ABORT);
    ul_step(&r.u, EV_ARTIM);
    assert_int_equal(r.u.state, STA1);
    assert_true(r.u.todo & UL_CLOSE);
    buf_done(&r.out);
}

static void release_collision_ends_on_both_sides(void **state)
{
    (void)state;
    struct run a, b;
    start(&a, STA6, true);
    start(&b, STA6, false);
    ul_step(&a.u, EV_REL_REQ);
    ul_step(&b.u, EV_REL_REQ);
    ul_step(&a.u, EV_PDU_REL_RQ);
    ul_step(&b.u, EV_PDU_REL_RQ);
    assert_int_equal(a.u.state, STA9);
    assert_int_equal(b.u.state, STA10);
    ul_step(&a.u, EV_REL_RSP);
    assert_int_equal(a.u.state, STA11);
    ul_step(&b.u, EV_PDU_REL_RP);
    assert_int_equal(b.u.state, STA12);
    ul_step(&b.u, EV_REL_RSP);
    assert_int_equal(b.u.state, STA13);
    ul_step(&a.u, EV_PDU_REL_RP);
    assert_int_equal(a.u.state, STA1);
    assert_int_equal(a.out.len, 20);
    assert_int_equal(b.out.len, 20);
    assert_int_equal(a.out.ptr[10], PDU_RELEASE_RP);
    assert_int_equal(b.out.ptr[10], PDU_RELEASE_RP);
    buf_done(&a.out);
    buf_done(&b.out);
}

static void provider_refuses_by_itself(void **state)
{
    (void)state;
    struct run r;
    start(&r, STA2, false);
    r.u.refuse = (struct assoc_rj){1, 2, 2};
    ul_step(&r.u, EV_PDU_RQ);
    assert_int_equal(r.u.state, STA13);
    assert_int_equal(r.out.ptr[0], PDU_ASSOC_RJ);
    assert_int_equal(r.out.ptr[7], 1);
    assert_int_equal(r.out.ptr[8], 2);
    assert_int_equal(r.out.ptr[9], 2);
    buf_done(&r.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_that_of_the_standard),
        cmocka_unit_test(data_before_association_is_aborted),
        cmocka_unit_test(release_collision_ends_on_both_sides),
        cmocka_unit_test(provider_refuses_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
