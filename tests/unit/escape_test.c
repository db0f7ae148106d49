/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tests/lib/tap.h"
#include "tools/escape.h"

#define SIZE_MAX_TESTED 300

static bool escapes_to(const void *data, size_t size, const char *expected)
{
    char   out[TAC_ESCAPE_FACTOR * 16];
    size_t out_size = tac_escape(data, size, out);

    return out_size == strlen(expected) && memcmp(out, expected, out_size) == 0;
}

static bool unescapes_to(const char *text, const void *expected, size_t expected_size)
{
    char   copy[64];
    size_t size = 0, bad = 0;

    snprintf(copy, sizeof copy, "%s", text);
    return tac_unescape(copy, strlen(text), &size, &bad) && size == expected_size &&
           memcmp(copy, expected, size) == 0;
}

static void examples_test(void)
{
    tap_ok(escapes_to("", 0, ""), "nothing stays nothing");
    tap_ok(escapes_to("plain text ~", 12, "plain text ~"), "printable text stays as it is");
    tap_ok(escapes_to("a\tb\nc\\d", 7, "a\\tb\\nc\\\\d"),
           "tab, newline and backslash have letters");
    tap_ok(escapes_to("\0\r\x7f\x80\xff", 5, "\\x00\\x0d\\x7f\\x80\\xff"),
           "every other byte has two digits");
    tap_ok(unescapes_to("", "", 0), "nothing comes back as nothing");
    tap_ok(unescapes_to("a\\tb\\nc\\\\d", "a\tb\nc\\d", 7), "the letters come back");
    tap_ok(unescapes_to("\\x00\\xfF\\xAb", "\0\xff\xab", 3), "digits of either case come back");
    tap_ok(unescapes_to("a\tb\xc3\xa9", "a\tb\xc3\xa9", 5), "raw bytes are taken as they are");
    tap_ok(unescapes_to("\\\\x41", "\\x41", 4), "an escaped backslash begins no escape");
}

static void malformed_test(void)
{
    static const struct {
        const char *text;
        size_t      bad;
    } cases[] = {{"\\", 0},      {"ab\\", 2},  {"\\q", 0},   {"\\T", 0},   {"a\\x", 1},
                 {"\\x1", 0},    {"\\xg0", 0}, {"\\x0g", 0}, {"\\0", 0},   {"\\\\\\", 2},
                 {"\\t\\x4", 2}, {"\\x/0", 0}, {"\\x:0", 0}, {"\\x`0", 0}, {"\\x@0", 0}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* Of the exact size, so that a sanitizer sees a read beyond the end. */
        size_t text_size = strlen(cases[i].text);
        char  *copy = malloc(text_size);
        size_t size = 0, bad = 99;
        bool   is_sound;

        if (copy == NULL) {
            tap_bail("out of memory");
        }
        memcpy(copy, cases[i].text, text_size);
        is_sound = tac_unescape(copy, text_size, &size, &bad);
        tap_ok(!is_sound && bad == cases[i].bad, "\"%s\" is malformed at byte %zu", cases[i].text,
               cases[i].bad);
        free(copy);
    }
}

static bool round_trip(const unsigned char *data, size_t size)
{
    char  *text = malloc(TAC_ESCAPE_FACTOR * size + 1);
    size_t text_size, back_size = 0, bad = 0;
    bool   is_equal;

    if (text == NULL) {
        tap_bail("out of memory");
    }
    text_size = tac_escape(data, size, text);
    for (size_t i = 0; i < text_size; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            free(text);
            return false;
        }
    }
    is_equal = tac_unescape(text, text_size, &back_size, &bad) && back_size == size &&
               memcmp(text, data, size) == 0;
    free(text);
    return is_equal;
}

static void round_trip_test(void)
{
    struct tac_prng prng = {tap_seed()};
    unsigned char   data[SIZE_MAX_TESTED];
    uint32_t        good = 0;

    for (uint32_t byte = 0; byte < 256; byte++) {
        data[0] = (unsigned char)byte;
        good += round_trip(data, 1);
    }
    tap_ok(good == 256, "every byte comes back through printable text (%u of 256)", good);
    good = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        size_t size = (size_t)tac_prng_below(&prng, SIZE_MAX_TESTED + 1);

        for (size_t i = 0; i < size; i++) {
            data[i] = (unsigned char)tac_prng_next(&prng);
        }
        good += round_trip(data, size);
    }
    tap_ok(good == 1000, "random bytes come back through printable text (%u of 1000)", good);
}

int main(void)
{
    tap_plan(0);
    examples_test();
    malformed_test();
    round_trip_test();
    return tap_done();
}
