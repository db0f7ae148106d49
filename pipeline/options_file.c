/* SPDX-License-Identifier: Apache-2.0 */
/* options_file -- options from an ini file (by inih), and from a list of NAME=VALUE. Either all of
 * them are set or, after an error, none. */
#include <ini.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/api_internal.h"
#include "pipeline/options.h"

struct taking {
    struct tactus_options options;
    uint64_t              seen;    /* Bits by tac_options_index */
    const char           *section; /* "": what stands before the first one */
    bool                  has_section;
    struct tac_error      error;
};

/* Two lines for one option contradict each other, or one of them is not needed. */
static int option_take(struct taking *taking, const char *name, const char *value)
{
    uint32_t index;

    if (tac_options_set(&taking->options, name, value, &taking->error) != TACTUS_OK) {
        return taking->error.code;
    }
    index = tac_options_index(name);
    tac_assert(index < 64);
    if ((taking->seen & (uint64_t)1 << index) != 0) {
        return tac_error_set(&taking->error, TACTUS_EOPTION, "option %s is there twice", name);
    }
    taking->seen |= (uint64_t)1 << index;
    return TACTUS_OK;
}

/* The first error counts. */
static int line_take(void *context, const char *section, const char *name, const char *value)
{
    struct taking *taking = context;

    if (strcmp(section, taking->section) != 0) {
        return 1;
    }
    taking->has_section = true;
    return taking->error.code == TACTUS_OK && option_take(taking, name, value) == TACTUS_OK;
}

static int file_take(struct taking *taking, const char *path, FILE *file)
{
    int line = ini_parse_file(file, line_take, taking);

    if (ferror(file) != 0) {
        return tac_error_set(&tac_api_error, TACTUS_EIO, "cannot read %s: %s",
                             tac_path_text(path).text, strerror(errno));
    }
    if (line < 0) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for %s",
                             tac_path_text(path).text);
    }
    if (taking->error.code != TACTUS_OK) {
        return tac_error_set(&tac_api_error, taking->error.code, "%s, line %d: %s",
                             tac_path_text(path).text, line, taking->error.message);
    }
    if (line > 0) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION,
                             "%s, line %d: neither NAME = VALUE nor [SECTION]",
                             tac_path_text(path).text, line);
    }
    if (!taking->has_section && taking->section[0] != 0) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION, "%s: no option under [%s]",
                             tac_path_text(path).text, taking->section);
    }
    return TACTUS_OK;
}

int tactus_options_load(struct tactus_options *options, const char *path, const char *section)
{
    struct taking taking;
    FILE         *file;
    int           result;

    if (options == NULL || path == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "options and path must be given");
    }
    taking = (struct taking){.section = section != NULL ? section : ""};
    if (tac_options_import(options, &taking.options, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    file = fopen(path, "re");
    if (file == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EIO, "cannot open %s: %s",
                             tac_path_text(path).text, strerror(errno));
    }
    result = file_take(&taking, path, file);
    (void)fclose(file);
    if (result == TACTUS_OK) {
        tac_options_export(&taking.options, options);
    }
    return result;
}

/* One NAME=VALUE of the list, which it cuts up. */
static int pair_take(struct taking *taking, char *pair)
{
    char *equals = strchr(pair, '=');

    if (equals == NULL) {
        return tac_error_set(&taking->error, TACTUS_EOPTION, "\"%s\": no = in it", pair);
    }
    *equals = 0;
    return option_take(taking, pair, equals + 1);
}

int tactus_options_parse(struct tactus_options *options, const char *text)
{
    static const char separators[] = ", \t\n";
    struct taking     taking;
    char              list[4096], *rest = NULL;
    int               result = TACTUS_OK;

    if (options == NULL || text == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "options and text must be given");
    }
    if (strlen(text) >= sizeof list) {
        return tac_error_set(&tac_api_error, TACTUS_EOPTION, "options of more than %zu bytes",
                             sizeof list - 1);
    }
    taking = (struct taking){.section = ""};
    if (tac_options_import(options, &taking.options, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    strcpy(list, text);
    for (char *pair = strtok_r(list, separators, &rest); pair != NULL && result == TACTUS_OK;
         pair = strtok_r(NULL, separators, &rest)) {
        result = pair_take(&taking, pair);
    }
    if (result != TACTUS_OK) {
        tac_api_error = taking.error;
        return result;
    }
    tac_options_export(&taking.options, options);
    return TACTUS_OK;
}
