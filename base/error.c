/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_control(char byte) { return (uint8_t)byte < 0x20 || byte == 0x7f; }

static size_t escaped_bytes(char byte) { return is_control(byte) ? strlen("\\xHH") : 1; }

/* As much as there is room for, terminator included. */
static void escape(char *text, size_t room, const char *raw)
{
    for (; *raw != 0 && escaped_bytes(*raw) < room; raw++) {
        size_t bytes = escaped_bytes(*raw);

        if (is_control(*raw)) {
            snprintf(text, bytes + 1, "\\x%02x", (unsigned)(uint8_t)*raw);
        } else {
            *text = *raw;
        }
        text += bytes;
        room -= bytes;
    }
    *text = 0;
}

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
    escape(text + used, sizeof raw - used, raw + used);
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
             (int)(sizeof text - strlen(prefix) - sizeof ": "), text);
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

/* Where the end begins that has room, escaped. */
static const char *path_end(const char *path, size_t room)
{
    const char *at = path + strlen(path);

    while (at > path && escaped_bytes(at[-1]) <= room) {
        at--;
        room -= escaped_bytes(*at);
    }
    return at;
}

struct tac_path_text tac_path_text(const char *path)
{
    struct tac_path_text result = {""};
    size_t               room = sizeof result.text - 1;
    size_t               used = 0;

    if (path_end(path, room) > path) {
        used = strlen("...");
        memcpy(result.text, "...", used);
        path = path_end(path, room - used);
        /* What is left of a character that has lost its beginning. */
        for (uint32_t i = 0; i < 3 && ((uint8_t)*path & 0xc0) == 0x80; i++) {
            path++;
        }
    }
    escape(result.text + used, sizeof result.text - used, path);
    return result;
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
