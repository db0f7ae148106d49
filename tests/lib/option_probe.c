/* SPDX-License-Identifier: Apache-2.0 */
/* What the library says to a value of an option; for tests/man_test.sh.
 *
 *   option_probe NAME VALUE       the exit status is 0 if this is the option's default, 1 if it is
 *                                 another value that is taken, 2 if it is refused
 *   option_probe --create LIST    0 if a store can be made with these options, 2 if not
 *
 * What is refused is said on standard output. */
#include <stdio.h>
#include <string.h>

#include "tactus.h"

enum {
    IS_DEFAULT = 0,
    IS_TAKEN = 1,
    IS_REFUSED = 2,
    IS_MISUSED = 99, /* A hard error to Automake */
};

static int refused(void)
{
    puts(tactus_message());
    return IS_REFUSED;
}

static int value_probe(const char *name, const char *value)
{
    struct tactus_options options, defaults;

    tactus_options_init(&options);
    tactus_options_init(&defaults);
    if (tactus_options_set(&options, name, value) != TACTUS_OK) {
        return refused();
    }
    return memcmp(&options, &defaults, sizeof options) == 0 ? IS_DEFAULT : IS_TAKEN;
}

static int create_probe(const char *list)
{
    struct tactus_options options;
    struct tactus        *store;

    tactus_options_init(&options);
    if (tactus_options_parse(&options, list) != TACTUS_OK) {
        return refused();
    }
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open(NULL, &options, &store) != TACTUS_OK) {
        return refused();
    }
    tactus_abandon(store);
    return IS_DEFAULT;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: option_probe NAME VALUE | --create LIST\n", stderr);
        return IS_MISUSED;
    }
    return strcmp(argv[1], "--create") == 0 ? create_probe(argv[2]) : value_probe(argv[1], argv[2]);
}
