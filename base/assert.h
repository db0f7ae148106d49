/* SPDX-License-Identifier: Apache-2.0 */
/* assert -- the assertions of Tactus: always on, in release builds too.
 *
 * An assertion states what our own code guarantees. Whatever comes from outside (arguments, files,
 * devices, memory at open) is never asserted: it is an error code (base/error.h).
 *
 * tac_assert        cheap; always compiled in.
 * tac_assert_slow   walks data (a sorted block, a whole manifest); on with --enable-verify, which
 *                   every test build uses.
 * tac_maybe         both outcomes are legal; documents that the reader should expect either.
 * tac_unreachable   ends a switch over an enum that has no default.
 */
#ifndef TACTUS_BASE_ASSERT_H
#define TACTUS_BASE_ASSERT_H

#include <stdbool.h>

_Noreturn void tac_panic(const char *file, int line, const char *function, const char *expression);

#define tac_assert(expression)                                                                     \
    (__builtin_expect(!!(expression), 1) ? (void)0                                                 \
                                         : tac_panic(__FILE__, __LINE__, __func__, #expression))

#ifdef TACTUS_VERIFY
#define tac_assert_slow(expression) tac_assert(expression)
#else
#define tac_assert_slow(expression) ((void)(0 && (expression)))
#endif

#define tac_maybe(expression) ((void)(expression))
#define tac_unreachable() tac_panic(__FILE__, __LINE__, __func__, "unreachable")

#define tac_static_assert(expression, message) _Static_assert(expression, message)

/* Every internal function that can fail says so with this. */
#define TAC_MUST_CHECK __attribute__((warn_unused_result))

#endif
