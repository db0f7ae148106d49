/* SPDX-License-Identifier: Apache-2.0 */
/* Options from text and from files, and what is derived from memory_size and threads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/tap.h"

static char path[512];

static void file_write(const char *text)
{
    FILE *file = fopen(path, "w");

    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        tap_bail("cannot write %s", path);
    }
}

static bool says(const char *text) { return strstr(tactus_message(), text) != NULL; }

static bool is_default(const struct tactus_options *options)
{
    struct tactus_options defaults;

    tactus_options_init(&defaults);
    return memcmp(options, &defaults, sizeof defaults) == 0;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void test_parse(void)
{
    struct tactus_options options;

    tactus_options_init(&options);
    tap_ok(tactus_options_parse(&options, "memtable_size=8MiB, log=sync\ttable_size=1M\n") ==
                   TACTUS_OK &&
               options.memtable_size == 8 * TAC_MIB && options.log == TACTUS_LOG_SYNC &&
               options.table_size == TAC_MIB,
           "a list is set, whatever separates it");
    tactus_options_init(&options);
    tap_ok(tactus_options_parse(&options, "") == TACTUS_OK && is_default(&options),
           "an empty list sets nothing");
    tap_ok(tactus_options_parse(&options, "io_depth=2,memtable=8MiB") == TACTUS_EOPTION &&
               says("unknown option \"memtable\"") && is_default(&options),
           "an unknown option: %s", tactus_message());
    tap_ok(tactus_options_parse(&options, "io_depth=2,io_depth=65") == TACTUS_EOPTION &&
               says("io_depth") && says("65") && says("1 to 64") && is_default(&options),
           "a value that cannot be: %s", tactus_message());
    tap_ok(tactus_options_parse(&options, "io_depth=2,io_depth=2") == TACTUS_EOPTION &&
               says("io_depth") && says("twice") && is_default(&options),
           "twice the same one: %s", tactus_message());
    tap_ok(tactus_options_parse(&options, "io_depth 2") == TACTUS_EOPTION && says("io_depth") &&
               is_default(&options),
           "no equals sign: %s", tactus_message());
    tap_ok(tactus_options_parse(&options, "page_cache_size=auto, threads=AUTO") == TACTUS_OK &&
               is_default(&options),
           "auto is a value");
    tap_ok(tactus_options_set(&options, "uuid", "00112233-44556677-8899AABB-ccddeeff") ==
                   TACTUS_OK &&
               options.uuid[9] == 0x99 && options.uuid[10] == 0xaa &&
               tactus_options_set(&options, "uuid",
                                  "\x10\x10"
                                  "112233445566778899aabbccddeeff") == TACTUS_EOPTION,
           "the digits of a UUID are hexadecimal, others are none");
}

/* ---- files ---------------------------------------------------------------------------------- */

static void test_load(void)
{
    struct tactus_options options;

    tactus_options_init(&options);
    file_write("# of the host\n"
               "io_depth = 2\n"
               "[tactus]\n"
               "memtable_size = 8MiB ; small\n"
               "log: interval\n"
               "[other]\n"
               "colour = red\n");
    tap_ok(tactus_options_load(&options, path, "tactus") == TACTUS_OK &&
               options.memtable_size == 8 * TAC_MIB && options.log == TACTUS_LOG_INTERVAL &&
               options.io_depth == 4,
           "a section is set, others are passed over");
    tactus_options_init(&options);
    tap_ok(tactus_options_load(&options, path, NULL) == TACTUS_OK && options.io_depth == 2 &&
               options.log == TACTUS_LOG_NONE,
           "so is what stands before the first section");
    tactus_options_init(&options);
    tap_ok(tactus_options_load(&options, path, "other") == TACTUS_EOPTION && says(path) &&
               says("line 7") && says("colour") && is_default(&options),
           "an unknown option: %s", tactus_message());
    tap_ok(tactus_options_load(&options, path, "Tactus") == TACTUS_EOPTION && says("[Tactus]") &&
               is_default(&options),
           "no such section: %s", tactus_message());
    file_write("io_depth = 2\nring_size = none\nio_depth = 3\n");
    tap_ok(tactus_options_load(&options, path, NULL) == TACTUS_EOPTION && says("line 2") &&
               says("ring_size") && says("none") && is_default(&options),
           "the first error counts: %s", tactus_message());
    file_write("io_depth = 2\nio_depth = 3\n");
    tap_ok(tactus_options_load(&options, path, NULL) == TACTUS_EOPTION && says("line 2") &&
               says("twice") && is_default(&options),
           "twice the same one: %s", tactus_message());
    file_write("io_depth = 2\nwhat is this\n");
    tap_ok(tactus_options_load(&options, path, NULL) == TACTUS_EOPTION && says("line 2") &&
               is_default(&options),
           "no line of such a file: %s", tactus_message());
    (void)unlink(path);
    tap_ok(tactus_options_load(&options, path, NULL) == TACTUS_EIO && says(path) &&
               is_default(&options),
           "no file: %s", tactus_message());
    tap_ok(tactus_options_load(&options, "/", NULL) == TACTUS_EIO && is_default(&options),
           "a directory: %s", tactus_message());
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* The reason comes last in a text that has room for less than the path. */
static void test_long_path(void)
{
    struct tactus_options options;
    struct tactus        *store;
    char                  long_path[2 * TACTUS_MESSAGE_BYTES + sizeof path];
    const char           *name = strrchr(path, '/');

    memset(long_path, '/', 2 * TACTUS_MESSAGE_BYTES);
    memcpy(long_path + 2 * TACTUS_MESSAGE_BYTES, path, sizeof path);
    tactus_options_init(&options);
    tap_ok(tactus_options_load(&options, long_path, NULL) == TACTUS_EIO && says("open ...") &&
               says(name) && ends_with(tactus_message(), strerror(ENOENT)),
           "no options, at a long path: %s", tactus_message());
    tap_ok(tactus_open(long_path, NULL, &store) == TACTUS_ENOSTORE && says("open ...") &&
               says(name) && ends_with(tactus_message(), strerror(ENOENT)),
           "no store: %s", tactus_message());
    file_write("io_depth = 2\nwhat is this\n");
    tap_ok(tactus_options_load(&options, long_path, NULL) == TACTUS_EOPTION && says(name) &&
               ends_with(tactus_message(), "[SECTION]"),
           "a wrong line: %s", tactus_message());
    tap_ok(tactus_open(long_path, NULL, &store) == TACTUS_EFORMAT && says(name) &&
               says("not a Tactus store"),
           "no store in the file: %s", tactus_message());
    (void)unlink(path);
}

/* ---- what is derived ------------------------------------------------------------------------ */

/* Opens a store in memory with defaults and these. */
static int opened(const char *text, struct tactus_stats *ret_stats)
{
    struct tactus_options options;
    struct tactus        *store;
    int                   code;

    tactus_options_init(&options);
    if (tactus_options_parse(&options,
                             "backend=memory, file_size_max=1GiB, memtable_size=1MiB, "
                             "block_size=4KiB, page_size=512, table_size=64KiB, slice_size=1MiB, "
                             "tables_max=2048") != TACTUS_OK ||
        tactus_options_parse(&options, text) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    code = tactus_open("options", &options, &store);
    if (code == TACTUS_OK) {
        tactus_stat(store, ret_stats);
        tactus_abandon(store);
    }
    return code;
}

static void test_memory(void)
{
    struct tactus_stats   stats = {0}, plain = {0};
    struct tactus_options options;
    uint64_t              others;
    char                  text[128];

    if (opened("threads=0", &plain) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    others = plain.memory_budget_bytes - 256 * TAC_MIB;
    tap_ok(opened("threads=0, memory_size=512MiB", &stats) == TACTUS_OK &&
               stats.memory_budget_bytes == 512 * TAC_MIB,
           "caches take what is left of the memory");
    tap_ok(opened("threads=0, memory_size=512MiB, page_cache_size=32MiB", &stats) == TACTUS_OK &&
               stats.memory_budget_bytes == 512 * TAC_MIB,
           "so does one of them");
    /* A memtable of 1 MiB, runs of 8 */
    tap_ok(opened("threads=0, memory_size=512MiB, page_cache_size=32MiB, index_cache_size=1MiB",
                  &stats) == TACTUS_OK &&
               stats.memory_budget_bytes == others + (33 + 10) * TAC_MIB,
           "with both given, there is less: the cache of level 0 has ten memtables");
    tap_ok(opened("threads=0, page_cache_size=32MiB, index_cache_size=1MiB, level0_cache_size=2MiB",
                  &stats) == TACTUS_OK &&
               stats.memory_budget_bytes == others + (33 + 2) * TAC_MIB,
           "or what it is given");
    snprintf(text, sizeof text,
             "threads=0, memory_size=%llu, page_cache_size=32MiB, index_cache_size=1MiB",
             (unsigned long long)(others + (33 + 8) * TAC_MIB));
    tap_ok(opened(text, &stats) == TACTUS_OK &&
               stats.memory_budget_bytes == others + (33 + 2) * TAC_MIB,
           "or a quarter of what is left");
    snprintf(text, sizeof text, "threads=0, memory_size=%llu", (unsigned long long)others);
    tap_ok(opened(text, &stats) == TACTUS_OK && stats.memory_budget_bytes == others,
           "with none left there are no caches");
    snprintf(text, sizeof text, "threads=0, memory_size=%llu", (unsigned long long)others - 1);
    tap_ok(opened(text, &stats) == TACTUS_EOPTION && says("memory_size"), "less is refused: %s",
           tactus_message());
    tap_ok(opened("threads=0, memory_size=128MiB, page_cache_size=128MiB", &stats) ==
                   TACTUS_EOPTION &&
               says("memory_size"),
           "so is a cache that does not fit: %s", tactus_message());
    tactus_options_init(&options);
    tap_ok(opened("threads=3, threads_priority=idle", &stats) == TACTUS_OK &&
               tactus_options_set(&options, "threads_priority", "low") == TACTUS_EOPTION &&
               says("threads_priority") && says("idle"),
           "a priority that there is not: %s", tactus_message());
    tap_ok(opened("threads=3, io_priority=idle", &stats) == TACTUS_OK &&
               tactus_options_set(&options, "io_priority", "high") == TACTUS_EOPTION &&
               says("io_priority") && says("low"),
           "nor is there such a one of I/O: %s", tactus_message());
}

static void test_threads(void)
{
    struct tactus_stats stats = {0};

    tap_ok(opened("threads=8", &stats) == TACTUS_OK && stats.threads_read == 2 &&
               stats.threads_merge == 4 && stats.threads_write == 2,
           "half of all threads merge");
    tap_ok(opened("threads=3", &stats) == TACTUS_OK && stats.threads_read == 1 &&
               stats.threads_merge == 1 && stats.threads_write == 1,
           "three are one each");
    tap_ok(opened("threads=0", &stats) == TACTUS_OK && stats.threads_merge == 0, "0 is none");
    tap_ok(opened("threads=129", &stats) == TACTUS_OK && stats.threads_read == 33 &&
               stats.threads_merge == 63 && stats.threads_write == 33 &&
               opened("threads=192", &stats) == TACTUS_OK && stats.threads_read == 64 &&
               stats.threads_merge == 64 && stats.threads_write == 64,
           "no stage gets more than it may have");
    tap_ok(opened("threads=2", &stats) == TACTUS_EOPTION && says("threads"), "two are too few: %s",
           tactus_message());
    tap_ok(opened("threads=8, threads_merge=6", &stats) == TACTUS_EOPTION && says("threads"),
           "a sum that is another one: %s", tactus_message());
    tap_ok(opened("threads=8, threads_merge=6, threads_read=1, threads_write=1", &stats) ==
                   TACTUS_OK &&
               stats.threads_merge == 6,
           "the right one is not");
    tap_ok(opened("threads_merge=2, threads_read=1, threads_write=1", &stats) == TACTUS_OK &&
               stats.threads_merge == 2,
           "without a sum the stages' are those given");
}

struct explained {
    struct tactus_options options; /* What is told, taken as text */
    uint32_t              count, derived_count, unexplained_count;
    char                  reason[512]; /* Of memory_size */
};

static void explained_take(void *context, const struct tactus_option_info *option)
{
    struct explained *explained = context;

    explained->count++;
    explained->derived_count += option->source == TACTUS_OPTION_DERIVED;
    explained->unexplained_count +=
        option->source == TACTUS_OPTION_DERIVED && option->reason[0] == 0;
    if (strcmp(option->name, "memory_size") == 0) {
        snprintf(explained->reason, sizeof explained->reason, "%s", option->reason);
    }
    if (strcmp(option->name, "uuid") != 0 &&
        tactus_options_set(&explained->options, option->name, option->value) != TACTUS_OK) {
        tap_diag("%s", tactus_message());
        explained->unexplained_count++;
    }
}

static bool explained(const char *text, struct explained *ret_explained)
{
    struct tactus_options options;

    memset(ret_explained, 0, sizeof *ret_explained);
    tactus_options_init(&options);
    tactus_options_init(&ret_explained->options);
    return tactus_options_parse(&options, "memtable_size=1MiB, block_size=4KiB, page_size=512, "
                                          "table_size=64KiB, slice_size=1MiB, tables_max=2048, "
                                          "file_size_max=1GiB, backend=memory") == TACTUS_OK &&
           tactus_options_parse(&options, text) == TACTUS_OK &&
           tactus_options_explain(&options, explained_take, ret_explained) == TACTUS_OK;
}

static bool opens_as_explained(const char *text)
{
    struct explained    first, second;
    struct tactus_stats stats = {0};
    char                budget[64];
    struct tactus      *store;

    if (!explained(text, &first) || first.unexplained_count > 0) {
        return false;
    }
    first.options.uuid[0] = 1;
    if (opened(text, &stats) != TACTUS_OK ||
        tactus_open(NULL, &first.options, &store) != TACTUS_OK) {
        return false;
    }
    snprintf(budget, sizeof budget, "takes %llu, ", (unsigned long long)stats.memory_budget_bytes);
    tactus_stat(store, &stats);
    tactus_abandon(store);
    memset(&second, 0, sizeof second);
    tactus_options_init(&second.options);
    return (stats.memory_budget_bytes % 1024 == 0 || strstr(first.reason, budget) != NULL) &&
           tactus_options_explain(&first.options, explained_take, &second) == TACTUS_OK &&
           second.derived_count == 0 && second.count == first.count &&
           stats.threads_merge == first.options.threads_merge;
}

static void test_explain(void)
{
    struct explained      plain, large;
    struct tactus_options options;

    tap_ok(explained("threads=8", &plain) && plain.options.threads_merge == 4 &&
               plain.options.threads_read == 2 && plain.options.page_cache_size == 64 * TAC_MIB &&
               plain.options.pool_size > 0 && plain.options.lag_beats == 8 &&
               plain.unexplained_count == 0,
           "what is derived is told, with a reason");
    tap_ok(explained("threads=8, memory_size=1GiB", &large) &&
               large.options.page_cache_size > 256 * TAC_MIB &&
               large.options.level0_cache_size == 10 * TAC_MIB &&
               large.options.pool_size == plain.options.pool_size,
           "memory goes to the caches");
    tap_ok(explained("threads=64", &large) && large.options.threads_merge == 32 &&
               large.options.pool_size > plain.options.pool_size,
           "threads have blocks");
    tap_ok(opens_as_explained("threads=0") && opens_as_explained("threads=5, memory_size=512MiB") &&
               opens_as_explained("threads=3, log=none, runs_per_level=1, page_cache_size=1MiB"),
           "an open makes the same of them, and nothing more of what is told");
    tactus_options_init(&options);
    options.memory_size = TAC_MIB;
    tap_ok(tactus_options_explain(&options, explained_take, &plain) == TACTUS_EOPTION &&
               says("memory_size"),
           "what an open refuses is refused: %s", tactus_message());
    options.memory_size = 0;
    options.block_size = 5000;
    tap_ok(tactus_options_explain(&options, explained_take, &plain) == TACTUS_EOPTION &&
               says("block_size"),
           "and what a create does: %s", tactus_message());
    tap_ok(tactus_options_explain(NULL, NULL, NULL) == TACTUS_EINVAL, "somebody has to be told");
}

int main(void)
{
    const char *directory = getenv("TMPDIR");

    tap_plan(0);
    snprintf(path, sizeof path, "%s/options_test.%d", directory != NULL ? directory : "/tmp",
             (int)getpid());
    test_parse();
    test_load();
    test_long_path();
    test_memory();
    test_threads();
    test_explain();
    return tap_done();
}
