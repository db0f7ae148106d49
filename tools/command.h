/* SPDX-License-Identifier: Apache-2.0 */
/* command -- what the sub-commands of `tactus` share: their table entry, their parsed arguments,
 * their way to open a store and to fail.
 *
 * A sub-command is one function that takes its arguments and returns the exit status. Whatever
 * goes wrong is said on standard error in two lines: what and where; what to do next.
 */
#ifndef TACTUS_TOOLS_COMMAND_H
#define TACTUS_TOOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "tactus.h"

/* Exit statuses; said in every --help and in README.md. */
enum tac_exit {
    TAC_EXIT_OK = 0,
    TAC_EXIT_NO = 1,     /* get: no such key. verify: damage. repair: something is missing. stress:
                            something was not as it must be. */
    TAC_EXIT_USAGE = 2,  /* The command line cannot be right. */
    TAC_EXIT_FAILED = 3, /* The store or a file is missing, foreign, in use, full or failing. */
    TAC_EXIT_INPUT = 4,  /* A line, key or value is malformed or does not fit the tree. */
};

/* Options by name; the common ones are taken by every sub-command. */
enum tac_option {
    TAC_OPTION_HELP,
    TAC_OPTION_OPTION,
    TAC_OPTION_THREADS,
    TAC_OPTION_BACKEND,
    TAC_OPTION_VERBOSE,
    TAC_OPTION_TREE,
    TAC_OPTION_SNAPSHOT,
    TAC_OPTION_ESCAPE,
    TAC_OPTION_DELETE,
    TAC_OPTION_SORTED,
    TAC_OPTION_FROM,
    TAC_OPTION_TO,
    TAC_OPTION_LIMIT,
    TAC_OPTION_REVERSE,
    TAC_OPTION_COUNT,
    TAC_OPTION_JSON,
    TAC_OPTION_PLAN,
    TAC_OPTION_PROMETHEUS,
    TAC_OPTION_LAYOUT,
    TAC_OPTION_KEY_SIZE,
    TAC_OPTION_VALUE_SIZE,
    TAC_OPTIONS_COUNT,
};

#define TAC_TAKES(option) (1u << TAC_OPTION_##option)
#define TAC_TAKES_COMMON                                                                           \
    (TAC_TAKES(HELP) | TAC_TAKES(OPTION) | TAC_TAKES(THREADS) | TAC_TAKES(BACKEND) |               \
     TAC_TAKES(VERBOSE))

/* Pointers lead into argv. */
struct tac_arguments {
    struct tactus_options options;
    char                 *store_path;
    char                **operands; /* After the store's path */
    int                   operand_count;
    const char           *tree;     /* "default" unless given */
    const char           *snapshot; /* NULL: the store as it is */
    char                 *from;     /* NULL: from the first key */
    char                 *to;       /* NULL: to the last key */
    uint64_t              limit;
    struct tactus_layout  layout; /* key_size 0: not given */
    bool                  has_escape;
    bool                  has_delete;
    bool                  has_sorted;
    bool                  has_reverse;
    bool                  has_count;
    bool                  has_json;
    bool                  has_plan;
    bool                  has_prometheus;
};

struct tac_command {
    const char *name;
    const char *operands;                   /* As the usage line shows them */
    const char *summary;                    /* One line, for the list of sub-commands */
    const char *description;                /* The rest of --help; "" or whole lines */
    uint32_t    options;                    /* TAC_TAKES bits */
    int         operands_min, operands_max; /* Beside the store's path */
    int (*run)(struct tac_arguments *arguments);
};

/* ---- arguments.c ---------------------------------------------------------------------------- */

/* Parses argv (argv[0] is the sub-command) by the command's entry. False: *ret_status is the exit
 * status, and everything has been said. */
bool tac_arguments_parse(const struct tac_command *command, int argc, char **argv,
                         struct tac_arguments *ret_arguments, int *ret_status);

/* The text of option --name as a decimal number in the range. An exit status; all has been said. */
int tac_number_parse(const char *name, const char *text, uint64_t min, uint64_t max,
                     uint64_t *ret_number);

void tac_exit_statuses_print(FILE *out);

/* ---- command.c ------------------------------------------------------------------------------ */

/* The sub-command that errors name; the text must outlive the process. */
void tac_command_name_set(const char *name);

/* Says the error on standard error; return `status`. */
int tac_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line of the store's logger on standard error: options.logger_fn with --verbose. */
void tac_logger_print(void *context, enum tactus_logger_level level, const char *line);

/* Says the engine's last error and what to do about it; returns the exit status for its code. */
int tac_fail_code(int code);

/* The same for a code of tactus_create: with TACTUS_ENOSTORE there is no directory. */
int tac_fail_create(int code);

/* The same for a code of a snapshot's name: TACTUS_ENOTFOUND is not a key's. */
int tac_fail_snapshot(int code);

/* The exit status and the advice for an error code. */
int         tac_code_status(int code);
const char *tac_code_advice(int code);

struct tac_session {
    struct tactus          *store;
    uint32_t                tree;     /* The one named by --tree */
    struct tactus_snapshot *snapshot; /* The one named by --snapshot; NULL: none is */
};

/* Opens the store; with its tree and snapshot unless is_whole. 0, or the exit status after saying why. */
int tac_session_open(const struct tac_arguments *arguments, bool is_whole,
                     struct tac_session *ret_session) TAC_MUST_CHECK;
/* Closes with everything durable; returns status, or the exit status of a failed close. */
int tac_session_close(struct tac_session *session, int status);
/* Closes without writing anything: for sub-commands that only read. */
void tac_session_release(struct tac_session *session);

/* A key or value from the command line, unescaped in place if --escape is given. */
int tac_text_decode(const struct tac_arguments *arguments, const char *what, char *text,
                    size_t *ret_size) TAC_MUST_CHECK;

/* Flushes standard output; returns status, or TAC_EXIT_FAILED when output was lost. */
int tac_output_finish(int status);

/* "12.3 MiB"; the text is in `text`. */
#define TAC_HUMAN_BYTES 16
const char *tac_human(uint64_t bytes, char text[TAC_HUMAN_BYTES]);

uint64_t tac_now_ns(void);

/* ---- the sub-commands ----------------------------------------------------------------------- */

int tac_cmd_create(struct tac_arguments *arguments);
int tac_cmd_tree(struct tac_arguments *arguments);
int tac_cmd_load(struct tac_arguments *arguments);
int tac_cmd_get(struct tac_arguments *arguments);
int tac_cmd_put(struct tac_arguments *arguments);
int tac_cmd_delete(struct tac_arguments *arguments);
int tac_cmd_scan(struct tac_arguments *arguments);
int tac_cmd_snapshot(struct tac_arguments *arguments);
int tac_cmd_compact(struct tac_arguments *arguments);
int tac_cmd_stat(struct tac_arguments *arguments);
int tac_cmd_digest(struct tac_arguments *arguments);
int tac_cmd_verify(struct tac_arguments *arguments);
int tac_cmd_repair(struct tac_arguments *arguments);

/* The statistics as members of a flat JSON object, without its braces (cmd_stat.c). */
void tac_stats_members_print(FILE *out, const struct tactus_stats *stats);

/* Sets an option of the store from text. An exit status; all has been said. */
typedef int tac_option_set_fn(void *context, const char *name, const char *value);

/* The same for a struct tactus_options, which is the context. */
int tac_option_set(void *context, const char *name, const char *value);

/* What --option takes, "NAME=VALUE", which is cut in two; what --threads takes, "R,M,W", "0" or
 * "auto". An exit status; all has been said. */
int tac_name_value_take(char *text, tac_option_set_fn *set, void *context);
int tac_threads_take(const char *text, tac_option_set_fn *set, void *context);

/* Parses its arguments itself (cmd_bench.c). */
int tac_cmd_bench(int argc, char **argv);

/* As well (cmd_options.c). */
int tac_cmd_options(int argc, char **argv);

/* As well (cmd_stress.c). */
int tac_cmd_stress(int argc, char **argv);

#endif
