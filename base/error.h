/* SPDX-License-Identifier: Apache-2.0 */
/* error -- what went wrong outside: a code of tactus.h and one line of text.
 *
 * The text says what failed, where, and what to do; of control characters in it there is \xHH,
 * so that it is one line whatever names and paths hold. Functions return the code (0 is success)
 * and write the text on failure only; a caller adds its own view with tac_error_wrap.
 */
#ifndef TACTUS_BASE_ERROR_H
#define TACTUS_BASE_ERROR_H

#include "base/assert.h"
#include "tactus.h"

struct tac_error {
    int  code; /* enum tactus_error; 0 = none */
    char message[TACTUS_MESSAGE_BYTES];
};

/* Sets code and text; returns the code, so that a function can end with `return tac_error_set(…)`.
 * error may be NULL (then only the code is returned). */
int tac_error_set(struct tac_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts `format: ` in front of the text that is there; returns the code that is there. error may
 * be NULL: there is then no code to hand on, but a failure it stays (TACTUS_EINVAL). */
int tac_error_wrap(struct tac_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void tac_error_clear(struct tac_error *error);

/* A path as texts have it. Two of them, the caller's view and what failed, leave room for the
 * reason, which comes last. */
#define TAC_PATH_TEXT_BYTES 200

struct tac_path_text {
    char text[TAC_PATH_TEXT_BYTES];
};

/* The path, or if it is too long "..." and its end, which tells more than its beginning. Control
 * characters are \xHH already, and no character of UTF-8 is cut. Used within one call:
 * tac_error_set(error, code, "cannot open %s: %s", tac_path_text(path).text, reason). */
struct tac_path_text tac_path_text(const char *path);

#endif
