/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_stress -- `tactus stress`: uses a store in every way at once, for seconds or days, and checks
 * all that it says. docs/TESTING.md says what is checked, and how. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/stress/report.h"

#define SECONDS_DEFAULT 60
#define KEYS_DEFAULT 40000
#define REOPEN_DEFAULT 10
#define NEIGHBOURS_DEFAULT 2
#define SECONDS_MAX 100000000u

struct stress {
    struct tac_stress_settings settings;
    bool                       has_seed, has_json, has_pool;
    bool                       has_role[TAC_STRESS_ROLES]; /* It was said how many */
    char                      *words; /* Of the command line, as a shell takes them */
};

/* ---- arguments ------------------------------------------------------------------------------ */

static void usage_print(FILE *out)
{
    fputs(
        "usage: tactus stress STORE [OPTION…]\n\n"
        "Makes a store, uses it in every way at once, and checks every answer: threads that "
        "write,\n"
        "read and scan, over and over from an open to a close, a stop without one, or a kill. What "
        "a\n"
        "store must hold after each of them is compared with all that is there. The store is gone "
        "at\n"
        "the end, unless something was not as it must be. docs/TESTING.md says what is checked.\n\n"
        "options:\n"
        "  --seconds N          how long (60); an interrupt ends it early, with all its checks\n"
        "  --minutes N          the same in minutes\n"
        "  --seed S             the lives of the store, and what each thread draws, follow from "
        "it;\n"
        "                       when threads meet does not (by default another one each time)\n"
        "  --keys N             keys in all trees together (40000)\n"
        "  --reopen-every S     seconds from an open to the close, about; 0: one open for all "
        "(10)\n"
        "  --crash-every S      kill the process that has the store open after about so many "
        "seconds\n"
        "  --damage             after each close, change a byte of a copy: it is found, or "
        "harmless\n"
        "  --pool               the store shares a pool with others\n",
        out);
    for (uint32_t i = 0; i < TAC_STRESS_ROLES; i++) {
        char name[24];

        snprintf(name, sizeof name, "--%ss N", tac_stress_roles[i].name);
        fprintf(out, "  %-20s threads that %s (%u)\n", name, tac_stress_roles[i].text,
                tac_stress_roles[i].count);
    }
    fputs("                       (no changers with --threads, no throttlers with\n"
          "                       --option io_rate_max_bytes=…; --pool is --neighbours 2)\n"
          "  --threads R,M,W      stage threads that read, merge and write; or one number for all "
          "of\n"
          "                       them; or auto\n"
          "  --backend NAME       auto, io_uring or posix\n"
          "  --option NAME=VALUE  set an option of the store; may be repeated. The others are "
          "those of\n"
          "                       a small store, and some of them differ from life to life. With\n"
          "                       file_size_max it may be full: deletes must go on\n"
          "  --keep               leave the store where it is\n"
          "  --quiet              no line every ten seconds\n"
          "  --json               print one flat JSON object\n"
          "  --help               print this text\n\n",
          out);
    tac_exit_statuses_print(out);
}

/* Sets the option, and keeps in mind that it is not to be drawn. The name must outlive the run. */
static int option_set(void *context, const char *name, const char *value)
{
    struct stress              *stress = context;
    struct tac_stress_settings *settings = &stress->settings;
    int                         status = tac_option_set(&settings->options, name, value);

    if (status != TAC_EXIT_OK) {
        return status;
    }
    if (settings->given_count == TAC_STRESS_GIVEN_MAX) {
        return tac_fail(TAC_EXIT_USAGE, "too many --option");
    }
    settings->given[settings->given_count++] = name;
    return TAC_EXIT_OK;
}

/* One word is for all of them together. */
static int threads_set(struct stress *stress, const char *text)
{
    return strchr(text, ',') == NULL ? option_set(stress, "threads", text)
                                     : tac_threads_take(text, option_set, stress);
}

enum argument {
    ARGUMENT_SECONDS,
    ARGUMENT_MINUTES,
    ARGUMENT_SEED,
    ARGUMENT_KEYS,
    ARGUMENT_REOPEN_EVERY,
    ARGUMENT_CRASH_EVERY,
    ARGUMENT_DAMAGE,
    ARGUMENT_POOL,
    ARGUMENT_THREADS,
    ARGUMENT_BACKEND,
    ARGUMENT_OPTION,
    ARGUMENT_KEEP,
    ARGUMENT_QUIET,
    ARGUMENT_JSON,
    ARGUMENT_HELP,
    ARGUMENT_ROLES, /* The first of them: how many threads have it */
};

static const struct option plain_options[] = {
    {"seconds", required_argument, NULL, ARGUMENT_SECONDS},
    {"minutes", required_argument, NULL, ARGUMENT_MINUTES},
    {"seed", required_argument, NULL, ARGUMENT_SEED},
    {"keys", required_argument, NULL, ARGUMENT_KEYS},
    {"reopen-every", required_argument, NULL, ARGUMENT_REOPEN_EVERY},
    {"crash-every", required_argument, NULL, ARGUMENT_CRASH_EVERY},
    {"damage", no_argument, NULL, ARGUMENT_DAMAGE},
    {"pool", no_argument, NULL, ARGUMENT_POOL},
    {"threads", required_argument, NULL, ARGUMENT_THREADS},
    {"backend", required_argument, NULL, ARGUMENT_BACKEND},
    {"option", required_argument, NULL, ARGUMENT_OPTION},
    {"keep", no_argument, NULL, ARGUMENT_KEEP},
    {"quiet", no_argument, NULL, ARGUMENT_QUIET},
    {"json", no_argument, NULL, ARGUMENT_JSON},
    {"help", no_argument, NULL, ARGUMENT_HELP},
};

#define PLAIN_OPTIONS TAC_ARRAY_COUNT(plain_options)
#define ROLE_NAME_BYTES 24

static void long_options_fill(struct option long_options[PLAIN_OPTIONS + TAC_STRESS_ROLES + 1],
                              char          names[TAC_STRESS_ROLES][ROLE_NAME_BYTES])
{
    memcpy(long_options, plain_options, sizeof plain_options);
    for (int i = 0; i < TAC_STRESS_ROLES; i++) {
        snprintf(names[i], ROLE_NAME_BYTES, "%ss", tac_stress_roles[i].name);
        long_options[PLAIN_OPTIONS + (size_t)i] =
            (struct option){names[i], required_argument, NULL, ARGUMENT_ROLES + i};
    }
    long_options[PLAIN_OPTIONS + TAC_STRESS_ROLES] = (struct option){0};
}

static int role_set(struct stress *stress, const struct tac_stress_role *role, const char *value)
{
    char     name[ROLE_NAME_BYTES];
    uint64_t count = 0;
    int      status;

    snprintf(name, sizeof name, "%ss", role->name);
    status = tac_number_parse(name, value, role->count_min, role->count_max, &count);
    stress->settings.counts[role - tac_stress_roles] = (uint32_t)count;
    stress->has_role[role - tac_stress_roles] = true;
    return status;
}

static int argument_set(struct stress *stress, int argument, char *value)
{
    struct tac_stress_settings *settings = &stress->settings;
    int                         status;

    switch ((enum argument)argument) {
    case ARGUMENT_SECONDS:
        return tac_number_parse("seconds", value, 1, SECONDS_MAX, &settings->seconds);
    case ARGUMENT_MINUTES:
        status = tac_number_parse("minutes", value, 1, SECONDS_MAX / 60, &settings->seconds);
        settings->seconds *= 60;
        return status;
    case ARGUMENT_SEED:
        stress->has_seed = true;
        return tac_number_parse("seed", value, 0, UINT64_MAX, &settings->seed);
    case ARGUMENT_KEYS:
        return tac_number_parse("keys", value, TAC_STRESS_KEYS_MIN, TAC_STRESS_KEYS_MAX,
                                &settings->keys);
    case ARGUMENT_REOPEN_EVERY:
        return tac_number_parse("reopen-every", value, 0, SECONDS_MAX, &settings->reopen_seconds);
    case ARGUMENT_CRASH_EVERY:
        return tac_number_parse("crash-every", value, 0, SECONDS_MAX, &settings->crash_seconds);
    case ARGUMENT_DAMAGE:
        settings->has_damage = true;
        return TAC_EXIT_OK;
    case ARGUMENT_POOL:
        stress->has_pool = true;
        return TAC_EXIT_OK;
    case ARGUMENT_THREADS:
        return threads_set(stress, value);
    case ARGUMENT_BACKEND:
        return option_set(stress, "backend", value);
    case ARGUMENT_OPTION:
        return tac_name_value_take(value, option_set, stress);
    case ARGUMENT_KEEP:
        settings->is_kept = true;
        return TAC_EXIT_OK;
    case ARGUMENT_QUIET:
        settings->is_quiet = true;
        return TAC_EXIT_OK;
    case ARGUMENT_JSON:
        stress->has_json = true;
        return TAC_EXIT_OK;
    case ARGUMENT_HELP: /* Answered by the caller */
        tac_unreachable();
    case ARGUMENT_ROLES:
        break;
    }
    tac_assert(argument >= ARGUMENT_ROLES && argument < ARGUMENT_ROLES + TAC_STRESS_ROLES);
    return role_set(stress, &tac_stress_roles[argument - ARGUMENT_ROLES], value);
}

/* Who asks for something means that: nobody changes it, unless that is asked for, too. */
static void role_leave_out(struct stress *stress, enum tac_stress_role_id role, const char *option)
{
    const struct tac_stress_settings *settings = &stress->settings;

    for (uint32_t i = 0; i < settings->given_count && !stress->has_role[role]; i++) {
        if (strcmp(settings->given[i], option) == 0) {
            stress->settings.counts[role] = 0;
        }
    }
}

static void roles_default(struct stress *stress)
{
    role_leave_out(stress, TAC_STRESS_CHANGER, "threads");
    role_leave_out(stress, TAC_STRESS_CHANGER, "threads_read");
    role_leave_out(stress, TAC_STRESS_CHANGER, "threads_merge");
    role_leave_out(stress, TAC_STRESS_CHANGER, "threads_write");
    role_leave_out(stress, TAC_STRESS_THROTTLER, "io_rate_max_bytes");
    if (stress->has_pool && !stress->has_role[TAC_STRESS_NEIGHBOUR]) {
        stress->settings.counts[TAC_STRESS_NEIGHBOUR] = NEIGHBOURS_DEFAULT;
    }
}

static int operand_take(struct stress *stress, int argc, char **argv)
{
    if (argc - optind != 1) {
        return tac_fail(TAC_EXIT_USAGE, "expected the path of a store that is to be made");
    }
    stress->settings.path = argv[optind];
    if (stress->settings.options.backend == TACTUS_BACKEND_MEMORY) {
        return tac_fail(TAC_EXIT_USAGE, "a store in memory is gone with its first close");
    }
    if (stress->settings.options.log == TACTUS_LOG_HOST) {
        return tac_fail(TAC_EXIT_USAGE, "log=host needs an application that has a log");
    }
    return TAC_EXIT_OK;
}

static bool usage_fail(int *ret_status)
{
    fputs("  `tactus stress --help` explains.\n", stderr);
    *ret_status = TAC_EXIT_USAGE;
    return false;
}

/* False: *ret_status is the exit status, and everything has been said. */
static bool arguments_parse(struct stress *stress, int argc, char **argv, int *ret_status)
{
    static struct option long_options[PLAIN_OPTIONS + TAC_STRESS_ROLES + 1];
    static char          names[TAC_STRESS_ROLES][ROLE_NAME_BYTES];
    int                  argument;

    *ret_status = TAC_EXIT_OK;
    long_options_fill(long_options, names);
    while ((argument = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (argument == ARGUMENT_HELP || argument == 'h') {
            usage_print(stdout);
            return false;
        }
        if (argument == '?' || /* getopt has said what */
            argument_set(stress, argument, optarg) != TAC_EXIT_OK) {
            return usage_fail(ret_status);
        }
    }
    return operand_take(stress, argc, argv) == TAC_EXIT_OK || usage_fail(ret_status);
}

/* ---- the command that repeats it ------------------------------------------------------------ */

/* As a shell takes it. */
static void word_write(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=,:+@%";

    fputc(' ', out);
    if (word[0] != 0 && word[strspn(word, plain)] == 0) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (; *word != 0; word++) {
        if (*word == '\'') {
            fputs("'\\''", out);
        } else {
            fputc(*word, out);
        }
    }
    fputc('\'', out);
}

/* Before getopt changes their order. */
static int words_note(struct stress *stress, int argc, char **argv)
{
    size_t bytes;
    FILE  *out = open_memstream(&stress->words, &bytes);

    for (int i = 1; out != NULL && i < argc; i++) {
        word_write(out, argv[i]);
    }
    return out == NULL || fclose(out) != 0 ? tac_fail(TAC_EXIT_FAILED, "out of memory")
                                           : TAC_EXIT_OK;
}

static void seed_choose(struct stress *stress)
{
    if (!stress->has_seed) {
        stress->settings.seed = (tac_now_ns() / 1000 + (uint64_t)getpid() * 1000003) % 1000000000;
    }
}

/* NULL: out of memory. A seed of our own comes first: behind a word -- it would be no option. */
static char *command_make(const struct stress *stress)
{
    char  *command;
    size_t bytes;
    FILE  *out = open_memstream(&command, &bytes);

    if (out == NULL) {
        return NULL;
    }
    fputs("tactus stress", out);
    if (!stress->has_seed) {
        fprintf(out, " --seed=%" PRIu64, stress->settings.seed);
    }
    fputs(stress->words, out);
    return fclose(out) == 0 ? command : NULL;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int defaults_set(struct stress *stress)
{
    struct tac_stress_settings *settings = &stress->settings;
    int                         code = tac_stress_options_init(&settings->options);

    settings->seconds = SECONDS_DEFAULT;
    settings->keys = KEYS_DEFAULT;
    settings->reopen_seconds = REOPEN_DEFAULT;
    for (uint32_t i = 0; i < TAC_STRESS_ROLES; i++) {
        settings->counts[i] = tac_stress_roles[i].count;
    }
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

static int stress_run(struct stress *stress)
{
    struct tac_stress_result result;
    struct tac_stress_report report = {.settings = &stress->settings, .result = &result};
    char                    *command;
    int                      status;

    roles_default(stress);
    seed_choose(stress);
    command = command_make(stress);
    if (command == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory");
    }
    report.command = command;
    fprintf(stderr, "%s\n", command);
    status = tac_stress_run(&stress->settings, &result);
    if (status == TAC_EXIT_OK) {
        if (stress->has_json) {
            tac_stress_report_json(stdout, &report);
        } else {
            tac_stress_report_table(stdout, &report);
        }
        if (result.board->violations > 0) {
            fflush(stdout);
            tac_stress_report_violations(stderr, &report);
            status = TAC_EXIT_NO;
        }
    }
    tac_stress_board_free(result.board);
    free(command);
    return status;
}

int tac_cmd_stress(int argc, char **argv)
{
    static char          name[] = "tactus stress"; /* For getopt's own messages */
    static struct stress stress;
    int                  status;

    tac_assert(argc >= 1);
    tac_command_name_set("stress");
    status = defaults_set(&stress);
    if (status == TAC_EXIT_OK) {
        status = words_note(&stress, argc, argv);
    }
    argv[0] = name;
    if (status == TAC_EXIT_OK && arguments_parse(&stress, argc, argv, &status)) {
        status = stress_run(&stress);
    }
    free(stress.words);
    return tac_output_finish(status);
}
