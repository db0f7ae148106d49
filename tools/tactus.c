/* SPDX-License-Identifier: Apache-2.0 */
/* tactus -- the command: stores are created, filled, read, compacted and checked with it. */
#include <string.h>

#include "tools/command.h"

#ifndef TACTUS_VERSION
#define TACTUS_VERSION "0.1.0"
#endif

static const struct tac_command commands[] = {
    {"create", "STORE", "Makes a store with one empty tree, \"default\", of variable records",
     "Options that are fixed from then on, with their defaults:\n"
     "  memtable_size=64MiB  block_size=128KiB  page_size=4KiB  table_size=8MiB\n"
     "  slice_size=6MiB  runs_per_level=8  last_ratio=2  beats_per_bar=64\n"
     "  lag_beats=0 (an eighth of a plan's beats, at most 8)\n"
     "  checkpoint_interval_bars=4  filter_bits_per_key=10  file_size_max=1TiB\n"
     "  uuid=32 hexadecimal digits (random)\n"
     "Options that every command takes anew (--threads and --backend set some of them):\n"
     "  memory_size=0 (no limit: page_cache_size is 64MiB, index_cache_size 192MiB,\n"
     "    level0_cache_size 0)  threads_priority=normal (or idle)\n"
     "  threads=auto (one for each processor)  pool_size=0 (the least)\n"
     "  ring_size=256  io_depth=4  tables_max=16384  assist=true  direct_io=true\n"
     "  scrub_days=0 (never)  io_rate_max_bytes=0 (no limit)\n"
     "  io_priority=normal (or low, idle)\n"
     "  cache_size_max=0 (caches do not grow later)  snapshots_max=8\n"
     "  bytes_per_sync=16MiB (0: only checkpoints sync)\n"
     "  logger_level=info (of --verbose; or error, warning, debug)\n"
     "`tactus options` says what follows from which; include/tactus.h what each of them does.\n",
     TAC_TAKES_COMMON, 0, 0, tac_cmd_create},
    {"tree", "STORE create NAME | STORE drop NAME | STORE list", "Makes, drops or lists trees",
     "A tree is dropped with all its records, which cannot be undone; its space has come back "
     "when\n"
     "the command ends.\n"
     "The list has a line for each tree: name, layout, key size and value size in bytes.\n"
     "A fixed layout needs --key-size; without --value-size its values are empty.\n"
     "With a variable layout the sizes are limits; the default is the most there can be.\n",
     TAC_TAKES_COMMON | TAC_TAKES(LAYOUT) | TAC_TAKES(KEY_SIZE) | TAC_TAKES(VALUE_SIZE), 1, 2,
     tac_cmd_tree},
    {"load", "STORE [FILE]", "Stores the records of a file or, without one or with -, of its input",
     "A line is a record: key, tab, value. Only the first tab counts. Of two records with one\n"
     "key the later one stays. Every line up to an error is stored; the error says where it is.\n"
     "With --sorted keys must ascend as bytes (LC_ALL=C sort), each once; on error none is "
     "stored.\n"
     "With --json the statistics of the whole load, compaction included, come at the end.\n",
     TAC_TAKES_COMMON | TAC_TAKES(TREE) | TAC_TAKES(ESCAPE) | TAC_TAKES(DELETE) |
         TAC_TAKES(SORTED) | TAC_TAKES(JSON),
     0, 1, tac_cmd_load},
    {"get", "STORE KEY", "Prints the value of a key and a newline", "",
     TAC_TAKES_COMMON | TAC_TAKES(TREE) | TAC_TAKES(SNAPSHOT) | TAC_TAKES(ESCAPE), 1, 1,
     tac_cmd_get},
    {"put", "STORE KEY VALUE", "Stores one record", "",
     TAC_TAKES_COMMON | TAC_TAKES(TREE) | TAC_TAKES(ESCAPE), 2, 2, tac_cmd_put},
    {"delete", "STORE KEY", "Deletes one record; it is no error if there is none", "",
     TAC_TAKES_COMMON | TAC_TAKES(TREE) | TAC_TAKES(ESCAPE), 1, 1, tac_cmd_delete},
    {"scan", "STORE", "Prints records in the order of their keys, as `tactus load` reads them",
     "A record that a line cannot hold (a key with a tab or newline, a value with a newline)\n"
     "ends the scan with an error, unless --escape is given.\n",
     TAC_TAKES_COMMON | TAC_TAKES(TREE) | TAC_TAKES(SNAPSHOT) | TAC_TAKES(ESCAPE) |
         TAC_TAKES(FROM) | TAC_TAKES(TO) | TAC_TAKES(LIMIT) | TAC_TAKES(REVERSE) | TAC_TAKES(COUNT),
     0, 0, tac_cmd_scan},
    {"snapshot", "STORE create NAME | STORE release NAME | STORE list",
     "Makes, releases or lists snapshots",
     "A snapshot is the whole store as of one op, until it is released; `tactus get` and\n"
     "`tactus scan` read it with --snapshot NAME. Its tables stay in the file meanwhile. Space\n"
     "that no other snapshot needs has come back when a release ends.\n"
     "The list has a line for each, the oldest first: name, op, tables, and the bytes of keys and\n"
     "values in these. There can be snapshots_max=8, up to 24 with --option.\n",
     TAC_TAKES_COMMON, 1, 2, tac_cmd_snapshot},
    {"compact", "STORE", "Merges all records of a tree into one sorted run",
     "Overwritten and deleted records leave the file for good.\n",
     TAC_TAKES_COMMON | TAC_TAKES(TREE), 0, 0, tac_cmd_compact},
    {"stat", "STORE", "Prints what the store holds and how it is laid out", "",
     TAC_TAKES_COMMON | TAC_TAKES(JSON) | TAC_TAKES(PLAN) | TAC_TAKES(PROMETHEUS), 0, 0,
     tac_cmd_stat},
    {"digest", "STORE", "Prints a checksum of the store's bytes as 32 hexadecimal digits",
     "Equal operations, creation options and UUID give equal digests, whatever the threads.\n",
     TAC_TAKES_COMMON, 0, 0, tac_cmd_digest},
    {"verify", "STORE", "Reads the whole store and checks it",
     "Prints a line for each damage, then what was read.\n", TAC_TAKES_COMMON, 0, 0,
     tac_cmd_verify},
    {"repair", "STORE NEW_STORE", "Writes what can still be read of a damaged store into a new one",
     "The damaged store is left as it is; its creation options hold for the new one, too.\n"
     "Prints a line for each page or table that is lost (tree, level, table, block, keys), and\n"
     "one for each key whose version in the new store may not be the newest, because it is older\n"
     "than something that is lost and may have had the key. Keys are escaped.\n"
     "Writes that are only in the store's log (log=sync, interval) are not taken: it says so.\n"
     "Needed are one of the four superblock copies and the manifest log.\n",
     TAC_TAKES_COMMON, 1, 1, tac_cmd_repair},
};

#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])

static void help_print(FILE *out)
{
    fputs("usage: tactus COMMAND [OPTION…] STORE …\n"
          "       tactus --help | --version\n\n"
          "Works on a Tactus store: one file with sorted records in named trees.\n\n"
          "commands (`tactus COMMAND --help` explains each):\n",
          out);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    }
    fputs("  options   Prints what a store makes of its options, and why; opens none\n"
          "  bench     Measures the engine on this machine\n"
          "  stress    Uses a store in every way at once, and checks every answer\n\n",
          out);
    tac_exit_statuses_print(out);
    fputs("\nIn a hurry:\n"
          "  tactus create fruit.tactus\n"
          "  printf 'apple\\tred\\npear\\tgreen\\n' | tactus load fruit.tactus\n"
          "  tactus scan fruit.tactus\n",
          out);
}

static int command_run(const struct tac_command *command, int argc, char **argv)
{
    struct tac_arguments arguments;
    char                 name[32];
    int                  status;

    tac_assert(argc >= 1);
    snprintf(name, sizeof name, "tactus %s", command->name);
    argv[0] = name; /* For getopt's own messages */
    tac_command_name_set(command->name);
    if (!tac_arguments_parse(command, argc, argv, &arguments, &status)) {
        return status;
    }
    return tac_output_finish(command->run(&arguments));
}

int main(int argc, char **argv)
{
    const char *name = argc >= 2 ? argv[1] : "";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        help_print(stdout);
        return tac_output_finish(TAC_EXIT_OK);
    }
    if (strcmp(name, "--version") == 0) {
        printf("tactus %s\n", TACTUS_VERSION);
        return tac_output_finish(TAC_EXIT_OK);
    }
    if (strcmp(name, "bench") == 0) {
        return tac_cmd_bench(argc - 1, argv + 1);
    }
    if (strcmp(name, "options") == 0) {
        return tac_cmd_options(argc - 1, argv + 1);
    }
    if (strcmp(name, "stress") == 0) {
        return tac_cmd_stress(argc - 1, argv + 1);
    }
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return command_run(&commands[i], argc - 1, argv + 1);
        }
    }
    if (name[0] == 0) {
        help_print(stderr);
    } else {
        fprintf(stderr, "tactus: there is no command \"%s\"\n  `tactus --help` lists them.\n",
                name);
    }
    return TAC_EXIT_USAGE;
}
