#include "db/fault.h"

#include <stdatomic.h>

static atomic_uint left;
static atomic_uint fault_code;

void db_fault_set(unsigned n, enum err code)
{
    atomic_store(&fault_code, (unsigned)code);
    atomic_store(&left, n);
}

enum err db_fault_next(void)
{
    unsigned n = atomic_load(&left);
    while (n != 0 && !atomic_compare_exchange_weak(&left, &n, n - 1)) {
    }
    return n == 1 ? (enum err)atomic_load(&fault_code) : ERR_OK;
}
