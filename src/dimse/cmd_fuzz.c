/* Command sets: what is written parses, and is written again byte for byte. */
#include <stdlib.h>

#include "base/limits.h"
#include "dimse/cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): its expansion is a branch, and these functions are nothing else. */
static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena mem;
    arena_init(&mem, (size_t)4 * LIMIT_COMMAND);
    CLEANUP(buf_done) struct buf one;
    CLEANUP(buf_done) struct buf two;
    buf_init(&one, (size_t)2 * LIMIT_COMMAND);
    buf_init(&two, (size_t)2 * LIMIT_COMMAND);
    struct cmd   c, d;
    struct bytes a, b;
    if (size > LIMIT_COMMAND || cmd_parse((struct bytes){data, size}, &mem, &c, NULL) != ERR_OK) {
        return 0;
    }
    cmd_write(&c, &one);
    must(buf_end(&one, &a) == ERR_OK);
    must(cmd_parse(a, &mem, &d, NULL) == ERR_OK);
    cmd_write(&d, &two);
    must(buf_end(&two, &b) == ERR_OK);
    must(bytes_eq(a, b));
    must(c.field == d.field && str_eq(c.class_uid, d.class_uid) && str_eq(c.sop_uid, d.sop_uid));
    must(c.has_data == d.has_data && c.has_counts == d.has_counts);
    return 0;
}
