#pragma once
/*
 * Fault points for tests: the n-th statement that any connection starts from now on fails with the
 * code, once.  Off (n = 0) in every program.
 */
#include "base/err.h"

void     db_fault_set(unsigned n, enum err code);
/* Called by the engine-independent part before a statement starts: ERR_OK or the planned failure.
 */
enum err db_fault_next(void);
