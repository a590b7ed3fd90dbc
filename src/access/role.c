#include "access/access.h"

static const char *const names[] = {
    [ROLE_RADIOLOGIST] = "radiologist",     [ROLE_TECHNOLOGIST] = "technologist",
    [ROLE_SECRETARY] = "secretary",         [ROLE_CLINICIAN] = "clinician",
    [ROLE_ADMINISTRATOR] = "administrator", [ROLE_SERVICE] = "service",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == ROLES__COUNT, "a name for every role");

enum {
    FIND = 1 << ACT_FIND,
    READ = 1 << ACT_READ,
    STORE = 1 << ACT_STORE,
    REJECT = 1 << ACT_REJECT
};

/* A secretary finds exams, and sees no images. */
static const unsigned may[] = {
    [ROLE_RADIOLOGIST] = FIND | READ | STORE,
    [ROLE_TECHNOLOGIST] = FIND | READ | STORE,
    [ROLE_SECRETARY] = FIND,
    [ROLE_CLINICIAN] = FIND | READ,
    [ROLE_ADMINISTRATOR] = FIND | READ | STORE | REJECT,
    [ROLE_SERVICE] = FIND | READ | STORE,
};
_Static_assert(sizeof(may) / sizeof(may[0]) == ROLES__COUNT, "rights of every role");

const char *role_name(enum role r)
{
    return names[r];
}

bool role_parse(struct str s, enum role *ret)
{
    for (size_t i = 0; i < ROLES__COUNT; i++) {
        if (str_eq(s, str_of(names[i]))) {
            *ret = (enum role)i;
            return true;
        }
    }
    return false;
}

bool access_decide(enum role r, enum act a)
{
    return (may[r] & 1U << a) != 0;
}
