#pragma once
/*
 * DIMSE command sets, PS3.7 chapter 9, 10 and annex E: implicit little endian, group 0000.  Pure.
 */
#include "base/arena.h"
#include "base/buf.h"

enum cmd_field {
    C_STORE_RQ = 0x0001,
    C_STORE_RSP = 0x8001,
    C_GET_RQ = 0x0010,
    C_GET_RSP = 0x8010,
    C_FIND_RQ = 0x0020,
    C_FIND_RSP = 0x8020,
    C_MOVE_RQ = 0x0021,
    C_MOVE_RSP = 0x8021,
    C_ECHO_RQ = 0x0030,
    C_ECHO_RSP = 0x8030,
    C_CANCEL_RQ = 0x0FFF,
    N_EVENT_REPORT_RQ = 0x0100,
    N_EVENT_REPORT_RSP = 0x8100,
    N_GET_RQ = 0x0110,
    N_GET_RSP = 0x8110,
    N_SET_RQ = 0x0120,
    N_SET_RSP = 0x8120,
    N_ACTION_RQ = 0x0130,
    N_ACTION_RSP = 0x8130,
    N_CREATE_RQ = 0x0140,
    N_CREATE_RSP = 0x8140,
    N_DELETE_RQ = 0x0150,
    N_DELETE_RSP = 0x8150
};

struct cmd {
    uint16_t   field;
    uint16_t   message_id;         // of a request
    uint16_t   responded_id;       // of a response or cancel
    struct str class_uid, sop_uid; // affected or requested
    bool       requested;          // class and SOP UID are the Requested ones (0003, 1001)
    uint16_t   priority;           // 0 medium, 1 high, 2 low
    bool       has_data;           // a data set follows
    uint16_t   status;
    struct str comment; // Error Comment, LO: cut at 64 characters when written
    struct str move_destination;
    struct str originator_aet; // move originator
    uint16_t   originator_id;
    bool       has_counts;    // remaining … warning are present
    bool       has_remaining; // in final responses Remaining is left out
    uint16_t   remaining, completed, failed, warning;
    uint16_t   event_type, action_type; // N- services
};

enum err cmd_parse(struct bytes in, struct arena *a, struct cmd *ret, struct errmsg *e);
void     cmd_write(const struct cmd *c, struct buf *out);
