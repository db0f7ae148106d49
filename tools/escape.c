/* SPDX-License-Identifier: Apache-2.0 */
/* escape -- see escape.h. */
#include "tools/escape.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"

static const char hex_digits[] = "0123456789abcdef";

size_t tac_escape(const void *data, size_t size, char *out)
{
    const uint8_t *bytes = data;
    char          *at = out;

    tac_assert(size <= SIZE_MAX / TAC_ESCAPE_FACTOR);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = bytes[i];

        if (byte >= 0x20 && byte <= 0x7e && byte != '\\') {
            *at++ = (char)byte;
            continue;
        }
        *at++ = '\\';
        if (byte == '\t') {
            *at++ = 't';
        } else if (byte == '\n') {
            *at++ = 'n';
        } else if (byte == '\\') {
            *at++ = '\\';
        } else {
            *at++ = 'x';
            *at++ = hex_digits[byte >> 4];
            *at++ = hex_digits[byte & 15];
        }
    }
    tac_assert((size_t)(at - out) <= TAC_ESCAPE_FACTOR * size);
    return (size_t)(at - out);
}

/* -1 when it is none. */
static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The escape at text[0], which is a backslash. Returns its size, 0 when it is malformed. */
static size_t escape_read(const char *text, size_t size, char *ret_byte)
{
    tac_assert(size > 0 && text[0] == '\\');
    if (size < 2) {
        return 0;
    }
    switch (text[1]) {
    case 't':
        *ret_byte = '\t';
        return 2;
    case 'n':
        *ret_byte = '\n';
        return 2;
    case '\\':
        *ret_byte = '\\';
        return 2;
    case 'x':
        if (size < 4 || hex_value(text[2]) < 0 || hex_value(text[3]) < 0) {
            return 0;
        }
        *ret_byte = (char)(hex_value(text[2]) * 16 + hex_value(text[3]));
        return 4;
    default:
        return 0;
    }
}

bool tac_unescape(char *text, size_t size, size_t *ret_size, size_t *ret_bad)
{
    char  *escape = size == 0 ? NULL : memchr(text, '\\', size);
    size_t from = escape == NULL ? size : (size_t)(escape - text);
    size_t to = from;

    while (from < size) {
        size_t used = 1;

        tac_assert(to <= from);
        if (text[from] == '\\') {
            char byte = 0;

            used = escape_read(text + from, size - from, &byte);
            if (used == 0) {
                *ret_bad = from;
                return false;
            }
            text[to++] = byte;
        } else {
            text[to++] = text[from];
        }
        from += used;
    }
    *ret_size = to;
    return true;
}

void tac_json_text_print(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\') {
            fprintf(out, "\\%c", byte);
        } else if (byte < 0x20) {
            fprintf(out, "\\u%04x", byte);
        } else {
            putc(byte, out);
        }
    }
    putc('"', out);
}
