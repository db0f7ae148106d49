/* SPDX-License-Identifier: Apache-2.0 */
/* panic -- what a broken invariant does: say where, then abort. Nothing is written to the store:
 * the last durable checkpoint stays what a reopen finds. */
#include "base/assert.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void tac_panic(const char *file, int line, const char *function, const char *expression)
{
    void *frames[32];
    int   frame_count = backtrace(frames, 32);

    fprintf(stderr, "tactus: broken invariant: %s\n  at %s:%d in %s\n", expression, file, line,
            function);
    fflush(stderr);
    backtrace_symbols_fd(frames, frame_count, STDERR_FILENO);
    abort();
}
