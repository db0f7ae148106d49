/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_control(char byte) { return (uint8_t)byte < 0x20 || byte == 0x7f; }

/* Names and paths may have any bytes in them; the text stays one line, as \xHH. */
static void text_escape(char text[TACTUS_MESSAGE_BYTES])
{
    char   raw[TACTUS_MESSAGE_BYTES];
    size_t used = 0;

    while (text[used] != 0 && !is_control(text[used])) {
        used++;
    }
    if (text[used] == 0) {
        return;
    }
    memcpy(raw, text, sizeof raw);
    for (const char *at = raw + used; *at != 0; at++) {
        size_t bytes = is_control(*at) ? strlen("\\xHH") : 1;

        if (used + bytes >= sizeof raw) {
            break;
        }
        if (is_control(*at)) {
            snprintf(text + used, bytes + 1, "\\x%02x", (unsigned)(uint8_t)*at);
        } else {
            text[used] = *at;
        }
        used += bytes;
    }
    text[used] = 0;
}

int tac_error_set(struct tac_error *error, int code, const char *format, ...)
{
    va_list arguments;

    tac_assert(code != TACTUS_OK);
    if (error == NULL) {
        return code;
    }
    error->code = code;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    text_escape(error->message);
    return code;
}

int tac_error_wrap(struct tac_error *error, const char *format, ...)
{
    char    text[TACTUS_MESSAGE_BYTES];
    char    prefix[TACTUS_MESSAGE_BYTES / 2];
    va_list arguments;

    if (error == NULL) {
        return TACTUS_EINVAL;
    }
    tac_assert(error->code != TACTUS_OK);
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(text, error->message, sizeof text);
    text[sizeof text - 1] = 0;
    snprintf(error->message, sizeof error->message, "%s: %.*s", prefix,
             (int)(sizeof text - sizeof prefix - 2), text);
    text_escape(error->message);
    return error->code;
}

void tac_error_clear(struct tac_error *error)
{
    if (error != NULL) {
        error->code = TACTUS_OK;
        error->message[0] = 0;
    }
}

#define TAC_ERROR_TEXT(name, number, text)                                                         \
    case TACTUS_##name:                                                                            \
        return text;

const char *tactus_strerror(int code)
{
    switch (code) {
        TACTUS_ERRORS(TAC_ERROR_TEXT)
    default:
        return "unknown error code";
    }
}
