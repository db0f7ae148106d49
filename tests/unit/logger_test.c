/* SPDX-License-Identifier: Apache-2.0 */
/* The lines that a store has for people: who calls options.logger_fn and until when, what is told
 * of which level, and what a line is made of. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/store.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define LINES_MAX 4096

struct reader {
    struct tactus *store;
    pthread_t      caller;
    uint32_t       count, elsewhere; /* elsewhere: by another thread than `caller` */
    uint32_t       counts[4];        /* By level */
    char          *lines[LINES_MAX];
    bool           is_blocked; /* Atomic */
};

static void line_take(void *context, enum tactus_logger_level level, const char *line)
{
    struct reader *reader = context;

    while (__atomic_load_n(&reader->is_blocked, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    tac_assert(reader->count < LINES_MAX);
    reader->lines[reader->count] = strdup(line);
    reader->counts[level]++;
    reader->elsewhere += pthread_equal(pthread_self(), reader->caller) == 0;
    __atomic_fetch_add(&reader->count, 1, __ATOMIC_RELEASE);
}

static void options_fill(struct tactus_options *options, struct reader *reader, uint32_t threads,
                         enum tactus_logger_level level)
{
    *reader = (struct reader){.caller = pthread_self()};
    small_options(options);
    options->backend = TACTUS_BACKEND_MEMORY;
    options->threads = threads;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
    options->tables_max = 4096;
    options->file_size_max = TAC_GIB;
    options->logger_fn = line_take;
    options->logger_context = reader;
    options->logger_level = level;
}

static void store_open(struct reader *reader, uint32_t threads, enum tactus_logger_level level)
{
    struct tactus_options options;

    options_fill(&options, reader, threads, level);
    if (tactus_open(NULL, &options, &reader->store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

/* All calls have been made: for after a close. */
static uint32_t lines_with(const struct reader *reader, const char *text)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < reader->count; i++) {
        count += strstr(reader->lines[i], text) != NULL;
    }
    return count;
}

static void lines_free(struct reader *reader)
{
    for (uint32_t i = 0; i < reader->count; i++) {
        free(reader->lines[i]);
    }
}

/* ---- what is told --------------------------------------------------------------------------- */

static void test_life(uint32_t threads, const char *name)
{
    struct reader reader;

    store_open(&reader, threads, TACTUS_LOGGER_INFO);
    if (threads == 0) {
        tap_ok(reader.count == 2 && strstr(reader.lines[0], "opened at op 0") != NULL,
               "%s: an open has told what it found by its end", name);
    }
    tac_assert(tactus_pause(reader.store) == TACTUS_OK);
    tac_assert(tactus_resume(reader.store) == TACTUS_OK);
    tac_assert(tactus_io_rate_change(reader.store, TAC_MIB) == TACTUS_OK);
    tac_assert(tactus_cache_change(reader.store, TAC_MIB / 2, TAC_MIB / 2) == TACTUS_OK);
    tac_assert(tactus_checkpoint(reader.store) == TACTUS_OK);
    if (threads > 0) {
        tac_assert(tactus_threads_change(reader.store, 1, 2, 1) == TACTUS_OK);
    } else {
        tap_ok(reader.count == 6, "%s: a call has told its line when it returns", name);
    }
    tap_ok(tactus_close(reader.store) == TACTUS_OK, "%s: it closes", name);
    tap_ok(lines_with(&reader, "opened at op 0") == 1 && lines_with(&reader, "backend memory") == 1,
           "%s: told is what the open found and derived", name);
    tap_ok(lines_with(&reader, "are paused") == 1 && lines_with(&reader, "go on") == 1 &&
               lines_with(&reader, "io_rate_max_bytes is 1048576") == 1 &&
               lines_with(&reader, "page_cache_size 524288") == 1 &&
               lines_with(&reader, "now: 1 read, 2 merge, 1 write") == (threads > 0),
           "%s: what was changed", name);
    tap_ok(strstr(reader.lines[reader.count - 1], "closed: all is durable") != NULL,
           "%s: and last the close", name);
    tap_ok(reader.counts[TACTUS_LOGGER_INFO] == reader.count, "%s: all for information", name);
    tap_ok(reader.elsewhere == (threads > 0 ? reader.count : 0), "%s: by %s", name,
           threads > 0 ? "a thread of its own" : "the thread that calls");
    lines_free(&reader);
}

static void test_levels(uint32_t threads, const char *name)
{
    struct reader reader;

    store_open(&reader, threads, TACTUS_LOGGER_DEBUG);
    tac_assert(tactus_checkpoint(reader.store) == TACTUS_OK);
    tac_assert(tactus_close(reader.store) == TACTUS_OK);
    tap_ok(lines_with(&reader, "is durable: op 1") >= 1 && reader.counts[TACTUS_LOGGER_DEBUG] >= 1,
           "%s: with debug it tells of checkpoints", name);
    lines_free(&reader);
    store_open(&reader, threads, TACTUS_LOGGER_ERROR);
    tac_assert(tactus_pause(reader.store) == TACTUS_OK);
    tac_store_poison(reader.store, TACTUS_EIO, "the device has gone");
    tac_store_poison(reader.store, TACTUS_EIO, "again");
    tap_ok(tactus_close(reader.store) == TACTUS_EPOISONED, "%s: writing stops", name);
    tap_ok(reader.count == 2 && reader.counts[TACTUS_LOGGER_ERROR] == 2 &&
               strcmp(reader.lines[0], "writing has stopped until a reopen: the device has gone") ==
                   0 &&
               strstr(reader.lines[1], "with an error: ") != NULL &&
               strstr(reader.lines[1], tactus_message()) != NULL,
           "%s: which is told, once, and how the close ended; and nothing else with error", name);
    lines_free(&reader);
    store_open(&reader, threads, TACTUS_LOGGER_INFO);
    tactus_abandon(reader.store);
    tap_ok(strstr(reader.lines[reader.count - 1], "stopped without a drain") != NULL,
           "%s: and a stop is", name);
    lines_free(&reader);
}

static void test_pool(void)
{
    struct tactus_options options;
    struct reader         reader;
    struct tactus_pool   *pool;

    options_fill(&options, &reader, 0, TACTUS_LOGGER_INFO);
    tac_assert(tactus_pool_open(NULL, &pool) == TACTUS_OK);
    tac_assert(tactus_open_in(pool, NULL, &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_pool_threads_change(pool, 2, 3, 1) == TACTUS_OK);
    tac_assert(tactus_close(reader.store) == TACTUS_OK && tactus_pool_close(pool) == TACTUS_OK);
    tap_ok(lines_with(&reader, "write (of a pool)") == 1 &&
               lines_with(&reader, "pool's threads now: 2 read, 3 merge, 1 write") == 1 &&
               reader.elsewhere == reader.count,
           "a store in a pool tells of its pool's threads, by a thread of its own");
    lines_free(&reader);
}

static void test_refused(void)
{
    struct tactus_options options;
    struct reader         reader;
    struct tactus        *store;

    options_fill(&options, &reader, 3, TACTUS_LOGGER_INFO);
    options.memory_size = 32 * TAC_KIB;
    tap_ok(tactus_open(NULL, &options, &store) == TACTUS_EOPTION && reader.count == 1 &&
               reader.counts[TACTUS_LOGGER_ERROR] == 1 &&
               strstr(reader.lines[0], "the open failed: ") == reader.lines[0] &&
               strstr(reader.lines[0], tactus_message()) != NULL,
           "an open that fails has told why when it returns");
    lines_free(&reader);
    options_fill(&options, &reader, 0, (enum tactus_logger_level)4);
    tap_ok(tactus_open(NULL, &options, &store) == TACTUS_EOPTION && reader.count == 0 &&
               strstr(tactus_message(), "logger_level") != NULL,
           "a level that there is not is refused: %s", tactus_message());
    tap_ok(tactus_options_set(&options, "logger_level", "warning") == TACTUS_OK &&
               options.logger_level == TACTUS_LOGGER_WARNING &&
               tactus_options_set(&options, "logger_level", "loud") == TACTUS_EOPTION,
           "a level can be given as text");
    options.logger_fn = NULL;
    tap_ok(tactus_open(NULL, &options, &store) == TACTUS_OK && tactus_close(store) == TACTUS_OK,
           "without logger_fn a store is as ever");
}

/* ---- what an open finds --------------------------------------------------------------------- */

static char directory[256];

static const char *path_of(const char *name)
{
    static char path[300];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static struct tactus_options file_options(struct reader *reader, enum tactus_log log)
{
    struct tactus_options options;

    options_fill(&options, reader, 3, TACTUS_LOGGER_INFO);
    options.backend = TACTUS_BACKEND_POSIX;
    options.log = log;
    options.log_loss_accepted = true;
    return options;
}

/* The bytes of the file at `position`, or where `what` is first, become something else. */
static void file_spoil(const char *what, long position)
{
    FILE  *file = fopen(path_of("store"), "r+");
    char  *bytes, *found;
    size_t size;

    tac_assert(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size = (size_t)ftell(file);
    bytes = malloc(size);
    tac_assert(bytes != NULL && fseek(file, 0, SEEK_SET) == 0);
    tac_assert(fread(bytes, 1, size, file) == size);
    found = what == NULL ? bytes + position : memmem(bytes, size, what, strlen(what));
    tac_assert(found != NULL && fseek(file, found - bytes, SEEK_SET) == 0);
    tac_assert(fwrite("spoiled", 1, 7, file) == 7);
    free(bytes);
    tac_assert(fclose(file) == 0);
}

static void test_log(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    struct reader         reader;
    struct tactus_options options = file_options(&reader, TACTUS_LOG_SYNC);
    uint32_t              tree;

    tac_assert(tactus_create(path_of("store"), &options) == TACTUS_OK);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_tree_create(reader.store, "tree", &layout, &tree) == TACTUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        tac_assert(tactus_put(reader.store, tree, "key", 3, "value", 5) == TACTUS_OK);
    }
    tactus_abandon(reader.store);
    tap_ok(lines_with(&reader, "opened at op 0") == 1 && lines_with(&reader, "log sync") == 1 &&
               lines_with(&reader, "brought back") == 0,
           "a new store has nothing to bring back");
    lines_free(&reader);
    options = file_options(&reader, TACTUS_LOG_SYNC);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tactus_abandon(reader.store);
    tap_ok(lines_with(&reader, "log has brought back ops 1 to 3") == 1 &&
               lines_with(&reader, "opened at op 3, of which 3 is durable: 1 trees") == 1,
           "told is what the log has brought back");
    lines_free(&reader);
    tac_assert(unlink(path_of("store-wal")) == 0);
    options = file_options(&reader, TACTUS_LOG_SYNC);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_close(reader.store) == TACTUS_OK);
    tap_ok(lines_with(&reader, "log is missing: ops after 0 are lost") == 1 &&
               reader.counts[TACTUS_LOGGER_WARNING] == 1,
           "that a log is missing is a warning");
    lines_free(&reader);
    tac_assert(unlink(path_of("store")) == 0 && unlink(path_of("store-wal")) == 0);
}

static void test_damage(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    struct reader         reader;
    struct tactus_options options = file_options(&reader, TACTUS_LOG_NONE);
    uint32_t              tree;

    tac_assert(tactus_create(path_of("store"), &options) == TACTUS_OK);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_tree_create(reader.store, "tree", &layout, &tree) == TACTUS_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i);
        tac_assert(tactus_put(reader.store, tree, key, 8, "precious", 8) == TACTUS_OK);
    }
    tac_assert(tactus_close(reader.store) == TACTUS_OK);
    lines_free(&reader);
    file_spoil("precious", 0);
    file_spoil(NULL, 0);
    options = file_options(&reader, TACTUS_LOG_NONE);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_put(reader.store, tree, "00000000", 8, "other", 5) == TACTUS_OK);
    tap_ok(tactus_compact(reader.store, tree) == TACTUS_ECORRUPT, "a compaction meets damage: %s",
           tactus_message());
    tac_assert(tactus_close(reader.store) == TACTUS_OK);
    tap_ok(lines_with(&reader, "and have been written again: 1") == 1,
           "told is what an open has repaired");
    tap_ok(lines_with(&reader, "a compaction found damage: ") == 1 &&
               reader.counts[TACTUS_LOGGER_ERROR] == 1,
           "and of the damage, as an error");
    lines_free(&reader);
    options = file_options(&reader, TACTUS_LOG_NONE);
    tac_assert(tactus_open(path_of("store"), &options, &reader.store) == TACTUS_OK);
    tactus_abandon(reader.store);
    tap_ok(lines_with(&reader, "tables that compactions have found damaged: 1;") == 1 &&
               reader.counts[TACTUS_LOGGER_WARNING] == 1,
           "later opens warn of it");
    lines_free(&reader);
    tac_assert(unlink(path_of("store")) == 0);
}

static void test_full(void)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, 100};
    struct reader         reader;
    struct tactus_options options;
    uint32_t              tree;
    uint64_t              count = 0;
    char                  key[16], value[100] = {0};
    int                   code = TACTUS_OK;

    options_fill(&options, &reader, 0, TACTUS_LOGGER_INFO);
    options.file_size_max = 4 * TAC_MIB;
    tac_assert(tactus_open(NULL, &options, &reader.store) == TACTUS_OK);
    tac_assert(tactus_tree_create(reader.store, "tree", &layout, &tree) == TACTUS_OK);
    for (; code == TACTUS_OK && count < 100000; count++) {
        snprintf(key, sizeof key, "%08u", (uint32_t)count);
        code = tactus_put(reader.store, tree, key, 8, value, sizeof value);
    }
    tap_ok(code == TACTUS_EFULL && lines_with(&reader, "the store is full at op") == 1 &&
               reader.counts[TACTUS_LOGGER_WARNING] == 1,
           "a full store is told of, once");
    for (uint64_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%08u", (uint32_t)i);
        tac_assert(tactus_delete(reader.store, tree, key, 8) == TACTUS_OK);
    }
    tac_assert(tactus_compact(reader.store, tree) == TACTUS_OK);
    tac_assert(tactus_put(reader.store, tree, key, 8, value, sizeof value) == TACTUS_OK);
    tap_ok(lines_with(&reader, "takes puts again") == lines_with(&reader, "the store is full") &&
               tactus_close(reader.store) == TACTUS_OK,
           "and that there is room again");
    lines_free(&reader);
}

/* ---- what a line is ------------------------------------------------------------------------- */

static void test_text(void)
{
    static const struct {
        const char *given, *told;
    } cases[] = {
        {"plain", "plain"},
        {"a\nb\tc\x7f", "a?b?c?"},
        {"K\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x98\x80", "K\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x80 \xc2\x9f", "?? ??"},             /* Control characters, too */
        {"\xc0\x80 \xe0\x80\x80 \xf8", "?? ??? ?"}, /* Longer than need be */
        {"\xed\xa0\x80", "???"},                    /* Half of a pair */
        {"\xf4\x90\x80\x80", "????"},               /* Above all characters */
        {"cut \xe2\x82", "cut ??"},
        {"\xff\xfe\xbf", "???"},
    };
    struct reader reader;
    char          long_text[2 * TACTUS_LOGGER_LINE_BYTES];
    uint32_t      before;
    bool          is_right = true;

    store_open(&reader, 0, TACTUS_LOGGER_INFO);
    before = reader.count;
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(cases); i++) {
        tac_logger_add(&reader.store->logger, TACTUS_LOGGER_INFO, "%s", cases[i].given);
    }
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text + TACTUS_LOGGER_LINE_BYTES - 3, "\xe2\x82\xac", 3);
    long_text[sizeof long_text - 1] = 0;
    tac_logger_add(&reader.store->logger, TACTUS_LOGGER_INFO, "%s", long_text);
    tac_assert(tactus_close(reader.store) == TACTUS_OK);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(cases); i++) {
        if (strcmp(reader.lines[before + i], cases[i].told) != 0) {
            tap_diag("case %u: %s", i, reader.lines[before + i]);
            is_right = false;
        }
    }
    tap_ok(is_right, "a line is UTF-8 without control characters");
    before += TAC_ARRAY_COUNT(cases);
    tap_ok(strlen(reader.lines[before]) == TACTUS_LOGGER_LINE_BYTES - 1 &&
               strcmp(reader.lines[before] + TACTUS_LOGGER_LINE_BYTES - 4, "x??") == 0,
           "of a long one the beginning is told, and no part of a character");
    lines_free(&reader);
}

/* A callback that does not return delays lines, and nothing else. */
static void test_missed(void)
{
    struct reader reader;
    uint32_t      paused;

    store_open(&reader, 3, TACTUS_LOGGER_INFO);
    __atomic_store_n(&reader.is_blocked, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < 2 * TAC_LOGGER_LINES_MAX; i++) {
        tac_assert(tactus_pause(reader.store) == TACTUS_OK);
    }
    __atomic_store_n(&reader.is_blocked, false, __ATOMIC_RELEASE);
    tac_assert(tactus_resume(reader.store) == TACTUS_OK);
    while (__atomic_load_n(&reader.count, __ATOMIC_ACQUIRE) < TAC_LOGGER_LINES_MAX) {
        usleep(1000);
    }
    tac_assert(tactus_resume(reader.store) == TACTUS_OK && tactus_close(reader.store) == TACTUS_OK);
    paused = lines_with(&reader, "are paused");
    tap_ok(paused >= TAC_LOGGER_LINES_MAX - 3 && paused < 2 * TAC_LOGGER_LINES_MAX,
           "a callback that blocks keeps nobody from going on");
    tap_ok(lines_with(&reader, "lines were not told") >= 1 &&
               reader.counts[TACTUS_LOGGER_WARNING] >= 1,
           "and is told that it has missed lines");
    lines_free(&reader);
}

int main(void)
{
    const char *base = getenv("TMPDIR");

    tap_plan(0);
    snprintf(directory, sizeof directory, "%.200s/tactus-logger-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(directory) == NULL) {
        tap_bail("cannot make %s", directory);
    }
    test_life(0, "no threads");
    test_life(3, "three threads");
    test_levels(0, "no threads");
    test_levels(3, "three threads");
    test_pool();
    test_refused();
    test_log();
    test_damage();
    test_full();
    test_text();
    test_missed();
    tac_assert(rmdir(directory) == 0);
    return tap_done();
}
