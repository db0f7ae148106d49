/* SPDX-License-Identifier: Apache-2.0 */
/* options -- what a store makes of its options, and why. Opens nothing. */
#include <getopt.h>
#include <string.h>

#include "tools/command.h"

static void usage_print(FILE *out)
{
    fputs("usage: tactus options [OPTION…] [NAME=VALUE…]\n\n"
          "Prints what a store makes of its options, and why; opens none.\n\n"
          "A line for each option: name, value, where it comes from, and the reason. fixed: it\n"
          "shapes the file, and stays as the store was created with. Three are to begin with:\n"
          "memory_size, threads, and io_rate_max_bytes; caches, stages and blocks follow from\n"
          "them.\n\n"
          "options:\n"
          "  --option NAME=VALUE  The same as NAME=VALUE\n"
          "  --threads R,M,W      Threads that read, merge and write; or 0; or auto\n"
          "  --backend NAME       auto, io_uring, posix or memory\n"
          "  --help               Print this\n"
          "  --file FILE          Options from an ini file, NAME = VALUE a line; those of the\n"
          "                       command line come after it\n"
          "  --section NAME       Those under [NAME] of the file, not those before the first\n"
          "                       section\n\n",
          out);
    tac_exit_statuses_print(out);
}

static void option_print(void *context, const struct tactus_option_info *option)
{
    static const char *const sources[] = {"default", "given", "derived"};

    (void)context;
    printf("%-25s %-12s %s%s%s%s\n", option->name, option->value, sources[option->source],
           option->is_fixed ? ", fixed" : "", option->reason[0] != 0 ? ": " : "", option->reason);
}

/* From the file; what the command line has comes after it. */
static int file_take(struct tactus_options *options, const char *file, const char *section)
{
    int code;

    if (file == NULL) {
        return section == NULL
                   ? TAC_EXIT_OK
                   : tac_fail(TAC_EXIT_USAGE, "--section %s: of which file?\n  Add --file FILE.",
                              section);
    }
    code = tactus_options_load(options, file, section);
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* An option of getopt's that sets one of the store's, or an operand. */
static int word_set(struct tactus_options *options, int option, char *text)
{
    switch (option) {
    case 't':
        return tac_threads_take(text, tac_option_set, options);
    case 'b':
        return tac_option_set(options, "backend", text);
    default:
        return tac_name_value_take(text, tac_option_set, options);
    }
}

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"option", required_argument, NULL, 'o'},
    {"threads", required_argument, NULL, 't'},
    {"backend", required_argument, NULL, 'b'},
    {"file", required_argument, NULL, 'f'},
    {"section", required_argument, NULL, 's'},
    {0},
};

/* Twice over the command line: for the file first. */
static int words_set(struct tactus_options *options, int argc, char **argv)
{
    int option, status = TAC_EXIT_OK;

    optind = 0;
    while (status == TAC_EXIT_OK &&
           (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'o' || option == 't' || option == 'b') {
            status = word_set(options, option, optarg);
        }
    }
    for (int i = optind; i < argc && status == TAC_EXIT_OK; i++) {
        status = word_set(options, 'o', argv[i]);
    }
    return status;
}

int tac_cmd_options(int argc, char **argv)
{
    static char           name[] = "tactus options"; /* For getopt's own messages */
    struct tactus_options options;
    const char           *file = NULL, *section = NULL;
    int                   option, status, code;

    argv[0] = name;
    tac_command_name_set("options");
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h') {
            usage_print(stdout);
            return tac_output_finish(TAC_EXIT_OK);
        }
        if (option == '?') { /* getopt has said what */
            fprintf(stderr, "  `tactus options --help` explains.\n");
            return TAC_EXIT_USAGE;
        }
        file = option == 'f' ? optarg : file;
        section = option == 's' ? optarg : section;
    }
    tactus_options_init(&options);
    status = file_take(&options, file, section);
    if (status == TAC_EXIT_OK) {
        status = words_set(&options, argc, argv);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_options_explain(&options, option_print, NULL);
    return tac_output_finish(code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code));
}
