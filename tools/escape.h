/* SPDX-License-Identifier: Apache-2.0 */
/* escape -- any bytes as one word of printable ASCII, and back.
 *
 *   \t  tab    \n  newline    \\  backslash    \xHH  the byte with these two hexadecimal digits
 *
 * Escaping writes every byte outside 0x20 to 0x7e this way; unescaping takes raw bytes as they are
 * and refuses any other escape, so no text has two meanings.
 *
 * And text as a string of JSON.
 */
#ifndef TACTUS_TOOLS_ESCAPE_H
#define TACTUS_TOOLS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The most bytes that one byte becomes. */
#define TAC_ESCAPE_FACTOR 4

/* Writes the escaped form into out, which holds TAC_ESCAPE_FACTOR * size bytes; returns its size.
 * No terminator is written. */
size_t tac_escape(const void *data, size_t size, char *out);

/* Unescapes in place: the result is never longer. False: the escape at *ret_bad is malformed, and
 * the text is spoiled. */
bool tac_unescape(char *text, size_t size, size_t *ret_size, size_t *ret_bad);

/* In quotation marks, with escapes where JSON wants them. */
void tac_json_text_print(FILE *out, const char *text);

#endif
