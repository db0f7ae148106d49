/* SPDX-License-Identifier: Apache-2.0 */
/* arguments -- the options of all sub-commands in one table, for the parser and for --help. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"

struct option_entry {
    const char *name;
    const char *operand; /* NULL: takes none */
    const char *text;
};

static const struct option_entry entries[TAC_OPTIONS_COUNT] = {
    [TAC_OPTION_HELP] = {"help", NULL, "print this text"},
    [TAC_OPTION_OPTION] = {"option", "NAME=VALUE", "set an option of the store; may be repeated"},
    [TAC_OPTION_THREADS] = {"threads", "R,M,W",
                            "threads that read, merge and write; or 0 for none; or auto"},
    [TAC_OPTION_BACKEND] = {"backend", "NAME", "auto, io_uring or posix"},
    [TAC_OPTION_VERBOSE] = {"verbose", NULL,
                            "print what the store has to say; --option\n"
                            "logger_level=debug: more of it"},
    [TAC_OPTION_TREE] = {"tree", "NAME", "the tree to use (default)"},
    [TAC_OPTION_SNAPSHOT] = {"snapshot", "NAME", "the store as this snapshot has it"},
    [TAC_OPTION_ESCAPE] = {"escape", NULL,
                           "keys and values hold tab, newline, backslash and other\n"
                           "bytes as \\t \\n \\\\ \\xHH"},
    [TAC_OPTION_DELETE] = {"delete", NULL, "delete the lines' keys; values are ignored"},
    [TAC_OPTION_SORTED] = {"sorted", NULL,
                           "the lines are in the order of their keys: they become\n"
                           "tables at once, all of them or none"},
    [TAC_OPTION_FROM] = {"from", "KEY", "start at this key"},
    [TAC_OPTION_TO] = {"to", "KEY", "end before this key"},
    [TAC_OPTION_LIMIT] = {"limit", "N", "stop after N records"},
    [TAC_OPTION_REVERSE] = {"reverse", NULL, "from the last key to the first"},
    [TAC_OPTION_COUNT] = {"count", NULL, "print only the number of records"},
    [TAC_OPTION_JSON] = {"json", NULL, "print the statistics as one flat JSON object"},
    [TAC_OPTION_PLAN] = {"plan", NULL, "print what this bar compacts, what is due, and why"},
    [TAC_OPTION_PROMETHEUS] = {"prometheus", NULL, "print the statistics as text for Prometheus"},
    [TAC_OPTION_LAYOUT] = {"layout", "KIND",
                           "variable (default), or fixed: every key and every value\n"
                           "has exactly the size given"},
    [TAC_OPTION_KEY_SIZE] = {"key-size", "N", "size of keys in bytes; at most, or exactly"},
    [TAC_OPTION_VALUE_SIZE] = {"value-size", "N", "size of values in bytes; at most, or exactly"},
};

int tac_number_parse(const char *name, const char *text, uint64_t min, uint64_t max,
                     uint64_t *ret_number)
{
    char              *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || number < min || number > max) {
        return tac_fail(TAC_EXIT_USAGE,
                        "--%s %s: not a number from %" PRIu64 " to %" PRIu64 "\n"
                        "  Write it in decimal digits alone, without a sign or a unit.",
                        name, text, min, max);
    }
    *ret_number = number;
    return TAC_EXIT_OK;
}

void tac_exit_statuses_print(FILE *out)
{
    fputs("exit status:\n"
          "  0  done\n"
          "  1  get: there is no such key; verify: there is damage; repair: something is missing;\n"
          "     stress: something was not as it must be\n"
          "  2  the command line is wrong\n"
          "  3  the store or a file is missing, foreign, in use, full or failing\n"
          "  4  a line, key or value is malformed or does not fit the tree\n",
          out);
}

static void usage_print(const struct tac_command *command)
{
    printf("usage: tactus %s [OPTION…] %s\n\n%s.\n", command->name, command->operands,
           command->summary);
    if (command->description[0] != 0) {
        printf("\n%s", command->description);
    }
    printf("\noptions (-- ends them, for operands that begin with -):\n");
    for (int i = 0; i < TAC_OPTIONS_COUNT; i++) {
        const struct option_entry *entry = &entries[i];
        const char                *text = entry->text;
        char                       name[32];

        tac_assert(entry->name != NULL);
        if ((command->options & (1u << i)) == 0) {
            continue;
        }
        snprintf(name, sizeof name, "--%s%s%s", entry->name, entry->operand != NULL ? " " : "",
                 entry->operand != NULL ? entry->operand : "");
        printf("  %-20s ", name);
        for (; *text != 0; text++) {
            putchar(*text);
            if (*text == '\n') {
                printf("%23s", "");
            }
        }
        putchar('\n');
    }
    putchar('\n');
    tac_exit_statuses_print(stdout);
}

static int usage_fail(const struct tac_command *command)
{
    fprintf(stderr, "  `tactus %s --help` explains.\n", command->name);
    return TAC_EXIT_USAGE;
}

int tac_option_set(void *context, const char *name, const char *value)
{
    int code = tactus_options_set(context, name, value);

    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

int tac_name_value_take(char *text, tac_option_set_fn *set, void *context)
{
    char *equals = strchr(text, '=');

    if (equals == NULL) {
        return tac_fail(TAC_EXIT_USAGE,
                        "%s: no = in it\n  Write NAME=VALUE, such as memtable_size=8MiB.", text);
    }
    *equals = 0;
    return set(context, text, equals + 1);
}

int tac_threads_take(const char *text, tac_option_set_fn *set, void *context)
{
    static const char *const names[] = {"threads_read", "threads_merge", "threads_write"};
    char                     copy[64];
    char                    *rest = copy;
    bool                     is_one = strcmp(text, "auto") == 0 || strcmp(text, "0") == 0;
    int                      status = TAC_EXIT_OK, words = is_one ? 3 : 1;

    for (const char *at = text; *at != 0 && !is_one; at++) {
        words += *at == ',';
    }
    if (words != 3 || strlen(text) >= sizeof copy) {
        return tac_fail(TAC_EXIT_USAGE,
                        "--threads %s: not R,M,W such as 1,2,1; nor 0; nor auto\n"
                        "  R threads read, M merge, W write.",
                        text);
    }
    snprintf(copy, sizeof copy, "%s", text);
    for (int i = 0; i < 3 && status == TAC_EXIT_OK; i++) {
        status = set(context, names[i], is_one ? copy : strsep(&rest, ","));
    }
    return status;
}

static int size_set(uint32_t *ret_size, const char *name, uint32_t min, const char *text)
{
    uint64_t number = 0;
    int      status = tac_number_parse(name, text, min, UINT32_MAX, &number);

    *ret_size = (uint32_t)number;
    return status;
}

static int layout_set(struct tactus_layout *layout, const char *text)
{
    if (strcmp(text, "fixed") != 0 && strcmp(text, "variable") != 0) {
        return tac_fail(TAC_EXIT_USAGE,
                        "--layout %s: neither fixed nor variable\n"
                        "  `tactus tree --help` explains both.",
                        text);
    }
    layout->kind = text[0] == 'f' ? TACTUS_LAYOUT_FIXED : TACTUS_LAYOUT_VARIABLE;
    return TAC_EXIT_OK;
}

static int backend_set(struct tactus_options *options, const char *text)
{
    if (strcmp(text, "memory") == 0) {
        return tac_fail(TAC_EXIT_USAGE, "--backend memory: such a store is gone when the command "
                                        "ends\n  Choose auto, io_uring or posix.");
    }
    return tac_option_set(options, "backend", text);
}

static int argument_set(struct tac_arguments *arguments, enum tac_option option, char *value)
{
    switch (option) {
    case TAC_OPTION_OPTION:
        return tac_name_value_take(value, tac_option_set, &arguments->options);
    case TAC_OPTION_THREADS:
        return tac_threads_take(value, tac_option_set, &arguments->options);
    case TAC_OPTION_BACKEND:
        return backend_set(&arguments->options, value);
    case TAC_OPTION_VERBOSE:
        arguments->options.logger_fn = tac_logger_print;
        return TAC_EXIT_OK;
    case TAC_OPTION_TREE:
        arguments->tree = value;
        return TAC_EXIT_OK;
    case TAC_OPTION_SNAPSHOT:
        arguments->snapshot = value;
        return TAC_EXIT_OK;
    case TAC_OPTION_ESCAPE:
        arguments->has_escape = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_DELETE:
        arguments->has_delete = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_SORTED:
        arguments->has_sorted = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_FROM:
        arguments->from = value;
        return TAC_EXIT_OK;
    case TAC_OPTION_TO:
        arguments->to = value;
        return TAC_EXIT_OK;
    case TAC_OPTION_LIMIT:
        return tac_number_parse("limit", value, 0, UINT64_MAX, &arguments->limit);
    case TAC_OPTION_REVERSE:
        arguments->has_reverse = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_COUNT:
        arguments->has_count = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_JSON:
        arguments->has_json = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_PLAN:
        arguments->has_plan = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_PROMETHEUS:
        arguments->has_prometheus = true;
        return TAC_EXIT_OK;
    case TAC_OPTION_LAYOUT:
        return layout_set(&arguments->layout, value);
    case TAC_OPTION_KEY_SIZE:
        return size_set(&arguments->layout.key_size, "key-size", 1, value);
    case TAC_OPTION_VALUE_SIZE:
        return size_set(&arguments->layout.value_size, "value-size", 0, value);
    case TAC_OPTION_HELP: /* Answered by the caller */
    case TAC_OPTIONS_COUNT:
        break;
    }
    tac_unreachable();
}

static void long_options_fill(const struct tac_command *command,
                              struct option             long_options[TAC_OPTIONS_COUNT + 1])
{
    int count = 0;

    for (int i = 0; i < TAC_OPTIONS_COUNT; i++) {
        if ((command->options & (1u << i)) != 0) {
            long_options[count++] = (struct option){
                .name = entries[i].name,
                .has_arg = entries[i].operand != NULL ? required_argument : no_argument,
                .val = i,
            };
        }
    }
    tac_assert(count > 0 && count <= TAC_OPTIONS_COUNT);
    long_options[count] = (struct option){0};
}

/* Everything getopt has left is an operand. */
static int operands_take(const struct tac_command *command, int argc, char **argv,
                         struct tac_arguments *arguments)
{
    tac_assert(optind <= argc);
    arguments->operands = argv + optind + 1;
    arguments->operand_count = argc - optind - 1;
    if (arguments->operand_count < command->operands_min ||
        arguments->operand_count > command->operands_max) {
        tac_fail(TAC_EXIT_USAGE, "expected %s", command->operands);
        return usage_fail(command);
    }
    arguments->store_path = argv[optind];
    return TAC_EXIT_OK;
}

bool tac_arguments_parse(const struct tac_command *command, int argc, char **argv,
                         struct tac_arguments *ret_arguments, int *ret_status)
{
    struct option        long_options[TAC_OPTIONS_COUNT + 1];
    struct tac_arguments arguments = {
        .tree = "default", .limit = UINT64_MAX, .layout.kind = TACTUS_LAYOUT_VARIABLE};
    int option;

    tac_assert(argc >= 1);
    tactus_options_init(&arguments.options);
    long_options_fill(command, long_options);
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        *ret_status = TAC_EXIT_OK;
        if (option == TAC_OPTION_HELP || option == 'h') {
            usage_print(command);
            *ret_status = tac_output_finish(TAC_EXIT_OK);
            return false;
        }
        if (option == '?') { /* getopt has said what */
            *ret_status = usage_fail(command);
            return false;
        }
        *ret_status = argument_set(&arguments, (enum tac_option)option, optarg);
        if (*ret_status != TAC_EXIT_OK) {
            return false;
        }
    }
    *ret_status = operands_take(command, argc, argv, &arguments);
    *ret_arguments = arguments;
    return *ret_status == TAC_EXIT_OK;
}
