/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
