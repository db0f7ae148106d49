/* SPDX-License-Identifier: Apache-2.0 */
/* options -- defaults, options from text, and the byte-shaping part of them. */
#include "pipeline/options.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/units.h"
#include "lsm/snapshot_directory.h"

#define STAGE_THREADS_MAX 64 /* Of each of read, merge and write */
#define FILE_SIZE_MAX_DEFAULT TAC_TIB
#define LAG_BEATS_MOST 8
#define PAGE_CACHE_SIZE_DEFAULT (64 * TAC_MIB)
#define INDEX_CACHE_SIZE_DEFAULT (192 * TAC_MIB)

/* Of no program's struct, now or later: what is larger was not filled by init. */
#define STRUCT_SIZE_MAX (16 * TAC_KIB)

static void defaults_set(struct tactus_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->memtable_size = 64 * TAC_MIB;
    options->block_size = 128 * TAC_KIB;
    options->page_size = 4 * TAC_KIB;
    options->table_size = 8 * TAC_MIB;
    options->slice_size = 6 * TAC_MIB;
    options->runs_per_level = 8;
    options->last_ratio = 2;
    options->beats_per_bar = 64;
    options->lag_beats = 0;
    options->checkpoint_interval_bars = 4;
    options->filter_bits_per_key = 10;
    options->file_size_max = FILE_SIZE_MAX_DEFAULT;
    options->memory_size = 0;
    options->threads = TACTUS_THREADS_AUTO;
    options->threads_read = TACTUS_THREADS_AUTO;
    options->threads_merge = TACTUS_THREADS_AUTO;
    options->threads_write = TACTUS_THREADS_AUTO;
    options->ring_size = 256;
    options->assist = true;
    options->level0_cache_size = TACTUS_SIZE_AUTO;
    options->page_cache_size = TACTUS_SIZE_AUTO;
    options->index_cache_size = TACTUS_SIZE_AUTO;
    options->threads_priority = TACTUS_PRIORITY_NORMAL;
    options->tables_max = 16384;
    options->io_depth = 4;
    options->backend = TACTUS_BACKEND_AUTO;
    options->direct_io = true;
    options->log = TACTUS_LOG_NONE;
    options->log_interval_ms = 100;
    options->scrub_days = 0;
    options->snapshots_max = 8;
    options->cache_size_max = 0;
    options->logger_level = TACTUS_LOGGER_INFO;
    options->io_rate_max_bytes = 0;
    options->io_priority = TACTUS_IO_PRIORITY_NORMAL;
    options->bytes_per_sync = 16 * TAC_MIB;
}

void tactus_options_init_sized(struct tactus_options *options, size_t struct_size)
{
    struct tactus_options defaults;

    defaults_set(&defaults);
    defaults.struct_size = struct_size;
    memset(options, 0, struct_size);
    memcpy(options, &defaults, tac_min_u64(struct_size, sizeof defaults));
}

int tac_options_import(const struct tactus_options *options, struct tactus_options *ret_options,
                       struct tac_error *error)
{
    const uint8_t *bytes = (const uint8_t *)options;
    size_t         size = options->struct_size;

    /* No struct was ever shorter than what shapes a file. */
    if (size < offsetof(struct tactus_options, memory_size) || size > STRUCT_SIZE_MAX) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "the options were not filled by tactus_options_init: their "
                             "struct_size is %zu",
                             size);
    }
    for (size_t i = sizeof *ret_options; i < size; i++) {
        if (bytes[i] != 0) {
            return tac_error_set(error, TACTUS_EOPTION,
                                 "an option that this library does not have is set, %zu bytes into "
                                 "struct tactus_options: the program needs a newer library",
                                 i);
        }
    }
    defaults_set(ret_options);
    memcpy(ret_options, options, tac_min_u64(size, sizeof *ret_options));
    return TACTUS_OK;
}

void tac_options_export(const struct tactus_options *options, struct tactus_options *ret_options)
{
    tac_assert(options->struct_size == ret_options->struct_size);
    memcpy(ret_options, options, tac_min_u64(options->struct_size, sizeof *options));
}

enum option_kind {
    OPTION_U64,
    OPTION_U32,
    OPTION_SIZE_AUTO,
    OPTION_THREADS,
    OPTION_BOOL,
    OPTION_BACKEND,
    OPTION_LOG,
    OPTION_PRIORITY,
    OPTION_IO_PRIORITY,
    OPTION_LOGGER_LEVEL,
    OPTION_UUID
};

struct option_entry {
    const char      *name;
    enum option_kind kind;
    size_t           offset;
    uint64_t         min, max;
};

#define OPTION(field, kind, min, max)                                                              \
    {                                                                                              \
#field, kind, offsetof(struct tactus_options, field), min, max                             \
    }

static const struct option_entry entries[] = {
    OPTION(memtable_size, OPTION_U64, 32 * TAC_KIB, 4 * TAC_GIB),
    OPTION(block_size, OPTION_U32, 4 * TAC_KIB, TAC_MIB),
    OPTION(page_size, OPTION_U32, 512, 64 * TAC_KIB),
    OPTION(table_size, OPTION_U64, 4 * TAC_KIB, TAC_GIB),
    OPTION(slice_size, OPTION_U64, 4 * TAC_KIB, 64 * TAC_GIB),
    OPTION(runs_per_level, OPTION_U32, 1, 16),
    OPTION(last_ratio, OPTION_U32, 1, 16),
    OPTION(beats_per_bar, OPTION_U32, 8, 1024),
    OPTION(lag_beats, OPTION_U32, 0, LAG_BEATS_MOST),
    OPTION(checkpoint_interval_bars, OPTION_U32, 1, 64),
    OPTION(filter_bits_per_key, OPTION_U32, 0, 20),
    OPTION(file_size_max, OPTION_U64, TAC_MIB, 4096 * TAC_TIB),
    OPTION(uuid, OPTION_UUID, 0, 0),
    OPTION(memory_size, OPTION_SIZE_AUTO, 0, 1024 * TAC_GIB),
    OPTION(threads, OPTION_THREADS, 0, 3 * STAGE_THREADS_MAX),
    OPTION(threads_read, OPTION_THREADS, 0, STAGE_THREADS_MAX),
    OPTION(threads_merge, OPTION_THREADS, 0, STAGE_THREADS_MAX),
    OPTION(threads_write, OPTION_THREADS, 0, STAGE_THREADS_MAX),
    OPTION(ring_size, OPTION_U32, 2, 65536),
    OPTION(assist, OPTION_BOOL, 0, 1),
    OPTION(pool_size, OPTION_U64, 0, 64 * TAC_GIB),
    OPTION(threads_priority, OPTION_PRIORITY, 0, 1),
    OPTION(level0_cache_size, OPTION_SIZE_AUTO, 0, 64 * TAC_GIB),
    OPTION(page_cache_size, OPTION_SIZE_AUTO, 0, 1024 * TAC_GIB),
    OPTION(index_cache_size, OPTION_SIZE_AUTO, 0, 1024 * TAC_GIB),
    OPTION(tables_max, OPTION_U32, 1024, 1 << 24),
    OPTION(io_depth, OPTION_U32, 1, 64),
    OPTION(backend, OPTION_BACKEND, 0, 3),
    OPTION(direct_io, OPTION_BOOL, 0, 1),
    OPTION(log, OPTION_LOG, 0, 3),
    OPTION(log_interval_ms, OPTION_U32, 1, 60000),
    OPTION(log_loss_accepted, OPTION_BOOL, 0, 1),
    OPTION(scrub_days, OPTION_U32, 0, 3650),
    OPTION(io_rate_max_bytes, OPTION_U64, 0, TAC_TIB),
    OPTION(io_priority, OPTION_IO_PRIORITY, 0, 2),
    OPTION(snapshots_max, OPTION_U32, 0, TAC_SNAPSHOTS_MAX),
    OPTION(cache_size_max, OPTION_U64, 0, 1024 * TAC_GIB),
    OPTION(logger_level, OPTION_LOGGER_LEVEL, 0, 3),
    OPTION(bytes_per_sync, OPTION_U64, 0, TAC_TIB),
};

static int bad_value(const struct option_entry *entry, const char *value, const char *expected,
                     struct tac_error *error)
{
    return tac_error_set(error, TACTUS_EOPTION, "option %s: \"%s\" is not %s", entry->name, value,
                         expected);
}

/* A number with an optional binary suffix. */
static bool number_parse(const char *text, uint64_t *ret_number)
{
    static const struct {
        const char *suffix;
        uint64_t    factor;
    } suffixes[] = {{"", 1},          {"KiB", TAC_KIB}, {"MiB", TAC_MIB}, {"GiB", TAC_GIB},
                    {"TiB", TAC_TIB}, {"K", TAC_KIB},   {"M", TAC_MIB},   {"G", TAC_GIB}};
    char              *end;
    unsigned long long number;

    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    for (size_t i = 0; i < TAC_ARRAY_COUNT(suffixes); i++) {
        if (strcasecmp(end, suffixes[i].suffix) == 0) {
            *ret_number = number * suffixes[i].factor;
            return number <= UINT64_MAX / suffixes[i].factor;
        }
    }
    return false;
}

static bool word_parse(const char *text, const char *const *words, uint32_t count,
                       uint64_t *ret_index)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool uuid_parse(const char *text, uint8_t uuid[TACTUS_UUID_BYTES])
{
    uint32_t digits = 0;

    for (; *text != 0; text++) {
        const char *hex = "0123456789abcdef";
        const char *digit;

        if (*text == '-') {
            continue;
        }
        digit = strchr(hex, tolower((unsigned char)*text));
        if (digit == NULL || digits == 2 * TACTUS_UUID_BYTES) {
            return false;
        }
        if (digits % 2 == 0) {
            uuid[digits / 2] = (uint8_t)((digit - hex) << 4);
        } else {
            uuid[digits / 2] |= (uint8_t)(digit - hex);
        }
        digits++;
    }
    return digits == 2 * TACTUS_UUID_BYTES;
}

static const char *const booleans[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
static const char *const backends[] = {"auto", "io_uring", "posix", "memory"};
static const char *const priorities[] = {"normal", "idle"};
static const char *const io_priorities[] = {"normal", "low", "idle"};
static const char *const logger_levels[] = {"error", "warning", "info", "debug"};
static const char *const logs[] = {"none", "host", "interval", "sync"};

static int value_parse(const struct option_entry *entry, const char *value, uint64_t *ret_number,
                       struct tac_error *error)
{
    switch (entry->kind) {
    case OPTION_BOOL:
        if (!word_parse(value, booleans, TAC_ARRAY_COUNT(booleans), ret_number)) {
            return bad_value(entry, value, "true or false", error);
        }
        *ret_number %= 2;
        return TACTUS_OK;
    case OPTION_BACKEND:
        if (!word_parse(value, backends, TAC_ARRAY_COUNT(backends), ret_number)) {
            return bad_value(entry, value, "auto, io_uring, posix or memory", error);
        }
        return TACTUS_OK;
    case OPTION_PRIORITY:
        if (!word_parse(value, priorities, TAC_ARRAY_COUNT(priorities), ret_number)) {
            return bad_value(entry, value, "normal or idle", error);
        }
        return TACTUS_OK;
    case OPTION_IO_PRIORITY:
        if (!word_parse(value, io_priorities, TAC_ARRAY_COUNT(io_priorities), ret_number)) {
            return bad_value(entry, value, "normal, low or idle", error);
        }
        return TACTUS_OK;
    case OPTION_LOGGER_LEVEL:
        if (!word_parse(value, logger_levels, TAC_ARRAY_COUNT(logger_levels), ret_number)) {
            return bad_value(entry, value, "error, warning, info or debug", error);
        }
        return TACTUS_OK;
    case OPTION_LOG:
        if (!word_parse(value, logs, TAC_ARRAY_COUNT(logs), ret_number)) {
            return bad_value(entry, value, "none, host, interval or sync", error);
        }
        return TACTUS_OK;
    case OPTION_SIZE_AUTO:
        if (strcasecmp(value, "auto") == 0) {
            *ret_number = TACTUS_SIZE_AUTO;
            return TACTUS_OK;
        }
        break;
    case OPTION_THREADS:
        if (strcasecmp(value, "auto") == 0) {
            *ret_number = TACTUS_THREADS_AUTO;
            return TACTUS_OK;
        }
        break;
    case OPTION_U32:
    case OPTION_U64:
    case OPTION_UUID:
        break;
    }
    if (!number_parse(value, ret_number)) {
        return bad_value(entry, value, "a number (suffixes KiB, MiB, GiB, TiB)", error);
    }
    if (*ret_number < entry->min || *ret_number > entry->max) {
        return tac_error_set(error, TACTUS_EOPTION, "option %s: %s is outside %llu to %llu",
                             entry->name, value, (unsigned long long)entry->min,
                             (unsigned long long)entry->max);
    }
    return TACTUS_OK;
}

static size_t entry_bytes(const struct option_entry *entry)
{
    switch (entry->kind) {
    case OPTION_U64:
    case OPTION_SIZE_AUTO:
        return sizeof(uint64_t);
    case OPTION_UUID:
        return TACTUS_UUID_BYTES;
    case OPTION_BOOL:
        return sizeof(bool);
    case OPTION_U32:
    case OPTION_THREADS:
    case OPTION_BACKEND:
    case OPTION_LOG:
    case OPTION_PRIORITY:
    case OPTION_IO_PRIORITY:
    case OPTION_LOGGER_LEVEL:
        return sizeof(uint32_t);
    }
    tac_unreachable();
}

static int entry_set(struct tactus_options *options, const struct option_entry *entry,
                     const char *value, struct tac_error *error)
{
    uint8_t *field = (uint8_t *)options + entry->offset;
    uint64_t number = 0;

    if (entry->offset + entry_bytes(entry) > options->struct_size) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option %s: the program was compiled with a tactus.h that does not "
                             "have it; compile it again",
                             entry->name);
    }
    if (entry->kind == OPTION_UUID) {
        uint8_t uuid[TACTUS_UUID_BYTES];

        if (!uuid_parse(value, uuid)) {
            return bad_value(entry, value, "32 hexadecimal digits", error);
        }
        memcpy(field, uuid, sizeof uuid);
        return TACTUS_OK;
    }
    if (value_parse(entry, value, &number, error) != TACTUS_OK) {
        return error->code;
    }
    if (entry->kind == OPTION_U64 || entry->kind == OPTION_SIZE_AUTO) {
        memcpy(field, &number, sizeof number);
    } else if (entry->kind == OPTION_BOOL) {
        *(bool *)field = number != 0;
    } else {
        uint32_t small = (uint32_t)number;

        memcpy(field, &small, sizeof small);
    }
    return TACTUS_OK;
}

uint32_t tac_options_index(const char *name)
{
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(entries); i++) {
        if (strcmp(name, entries[i].name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

const char *tac_options_name(uint32_t index)
{
    return index < TAC_ARRAY_COUNT(entries) ? entries[index].name : NULL;
}

bool tac_options_is_shaping(uint32_t index)
{
    return entries[index].offset < offsetof(struct tactus_options, memory_size);
}

void tac_options_size_text(uint64_t bytes, char *text, size_t text_size)
{
    static const char *const suffixes[] = {"", "KiB", "MiB", "GiB", "TiB"};
    uint32_t                 suffix = 0;

    while (bytes > 0 && bytes % TAC_KIB == 0 && suffix + 1 < TAC_ARRAY_COUNT(suffixes)) {
        bytes /= TAC_KIB;
        suffix++;
    }
    snprintf(text, text_size, "%llu%s", (unsigned long long)bytes, suffixes[suffix]);
}

static uint64_t entry_number(const struct tactus_options *options, const struct option_entry *entry)
{
    const uint8_t *field = (const uint8_t *)options + entry->offset;
    uint64_t       number = 0;
    uint32_t       small;

    switch (entry_bytes(entry)) {
    case sizeof number:
        memcpy(&number, field, sizeof number);
        return number;
    case sizeof small:
        memcpy(&small, field, sizeof small);
        return small;
    default:
        return *(const bool *)field;
    }
}

/* Of one whose size is bytes. */
static bool entry_is_size(const struct option_entry *entry)
{
    return strstr(entry->name, "_size") != NULL || strstr(entry->name, "_bytes") != NULL;
}

void tac_options_value(const struct tactus_options *options, uint32_t index, char *text,
                       size_t text_size)
{
    const struct option_entry *entry = &entries[index];
    uint64_t                   number = 0;

    if (entry->kind != OPTION_UUID) {
        number = entry_number(options, entry);
    }
    switch (entry->kind) {
    case OPTION_BOOL:
        snprintf(text, text_size, "%s", booleans[number]);
        return;
    case OPTION_BACKEND:
        snprintf(text, text_size, "%s", backends[number]);
        return;
    case OPTION_PRIORITY:
        snprintf(text, text_size, "%s", priorities[number]);
        return;
    case OPTION_IO_PRIORITY:
        snprintf(text, text_size, "%s", io_priorities[number]);
        return;
    case OPTION_LOGGER_LEVEL:
        snprintf(text, text_size, "%s", logger_levels[number]);
        return;
    case OPTION_LOG:
        snprintf(text, text_size, "%s", logs[number]);
        return;
    case OPTION_UUID:
        for (uint32_t i = 0; i < TACTUS_UUID_BYTES; i++) {
            snprintf(text + 2 * i, text_size - 2 * i, "%02x", options->uuid[i]);
        }
        return;
    case OPTION_SIZE_AUTO:
    case OPTION_THREADS:
    case OPTION_U32:
    case OPTION_U64:
        break;
    }
    if ((entry->kind == OPTION_SIZE_AUTO && number == TACTUS_SIZE_AUTO) ||
        (entry->kind == OPTION_THREADS && number == TACTUS_THREADS_AUTO)) {
        snprintf(text, text_size, "auto");
    } else if (entry_is_size(entry)) {
        tac_options_size_text(number, text, text_size);
    } else {
        snprintf(text, text_size, "%llu", (unsigned long long)number);
    }
}

int tac_options_set(struct tactus_options *options, const char *name, const char *value,
                    struct tac_error *error)
{
    uint32_t index = tac_options_index(name);

    return index != UINT32_MAX
               ? entry_set(options, &entries[index], value, error)
               : tac_error_set(error, TACTUS_EOPTION, "unknown option \"%s\"", name);
}

/* An eighth of a plan absorbs the moments in which a device is slow; what is granted before the lag
 * has to be done in the rest of the plan. docs/PERFORMANCE.md, "Lag". */
static uint32_t lag_auto(const struct tactus_options *options)
{
    uint32_t beats = options->beats_per_bar / (options->runs_per_level == 1 ? 2 : 1);

    return (uint32_t)tac_max_u64(1, tac_min_u64(beats / 8, LAG_BEATS_MOST));
}

void tac_options_shape(const struct tactus_options *options, struct tac_shape *ret_shape)
{
    *ret_shape = (struct tac_shape){
        .memtable_size = options->memtable_size,
        .table_size = options->table_size,
        .slice_size = options->slice_size,
        .file_size_max = options->file_size_max,
        .block_size = options->block_size,
        .page_size = options->page_size,
        .runs_per_level = options->runs_per_level,
        .last_ratio = options->last_ratio,
        .beats_per_bar = options->beats_per_bar,
        .lag_beats = options->lag_beats == 0 ? lag_auto(options) : options->lag_beats,
        .checkpoint_interval_bars = options->checkpoint_interval_bars,
        .filter_bits_per_key = options->filter_bits_per_key,
    };
    if (options->file_size_max == FILE_SIZE_MAX_DEFAULT && options->block_size >= 4 * TAC_KIB) {
        ret_shape->file_size_max =
            tac_min_u64(FILE_SIZE_MAX_DEFAULT, tac_shape_file_size_max(options->block_size));
    }
}

void tac_options_from_shape(struct tactus_options *options, const struct tac_shape *shape)
{
    options->memtable_size = shape->memtable_size;
    options->table_size = shape->table_size;
    options->slice_size = shape->slice_size;
    options->file_size_max = shape->file_size_max;
    options->block_size = shape->block_size;
    options->page_size = shape->page_size;
    options->runs_per_level = shape->runs_per_level;
    options->last_ratio = shape->last_ratio;
    options->beats_per_bar = shape->beats_per_bar;
    options->lag_beats = shape->lag_beats;
    options->checkpoint_interval_bars = shape->checkpoint_interval_bars;
    options->filter_bits_per_key = shape->filter_bits_per_key;
}

static uint32_t processor_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    return (uint32_t)CPU_COUNT(&set);
}

static uint32_t threads_auto(uint32_t asked, uint32_t automatic)
{
    return asked == TACTUS_THREADS_AUTO ? automatic : asked;
}

static int free_option_check(const char *name, uint64_t value, struct tac_error *error)
{
    uint32_t index = tac_options_index(name);

    tac_assert(index != UINT32_MAX);
    if (value < entries[index].min || value > entries[index].max) {
        return tac_error_set(error, TACTUS_EOPTION, "option %s: %llu is outside %llu to %llu", name,
                             (unsigned long long)value, (unsigned long long)entries[index].min,
                             (unsigned long long)entries[index].max);
    }
    return TACTUS_OK;
}

/* A quarter of all threads read, a quarter write, the rest merge; the least is one each, and what
 * would be too many to merge reads and writes. */
static int threads_resolve(struct tactus_options *options, struct tac_error *error)
{
    bool     is_auto = options->threads == TACTUS_THREADS_AUTO;
    uint32_t threads = is_auto ? (uint32_t)tac_min_u64(processor_count(), 3 * STAGE_THREADS_MAX)
                               : options->threads;
    uint32_t side = (uint32_t)tac_max_u64(1, threads / 4);
    uint32_t merge = (uint32_t)tac_max_u64(1, tac_subtract_floor_zero(threads, 2 * side));

    if (merge > STAGE_THREADS_MAX) {
        side += (merge - STAGE_THREADS_MAX + 1) / 2;
        merge = threads - 2 * side;
    }
    if (!is_auto && (threads == 1 || threads == 2)) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option threads: %u; it must be 0, or at least 3: each of the stages "
                             "read, merge and write needs one",
                             threads);
    }
    if (!is_auto && threads == 0) {
        side = merge = 0;
    }
    options->threads_read = threads_auto(options->threads_read, side);
    options->threads_merge = threads_auto(options->threads_merge, merge);
    options->threads_write = threads_auto(options->threads_write, side);
    if (!is_auto &&
        options->threads_read + options->threads_merge + options->threads_write != threads) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "threads is %u, but threads_read, threads_merge and threads_write are "
                             "%u, %u and %u: leave one side out",
                             threads, options->threads_read, options->threads_merge,
                             options->threads_write);
    }
    return TACTUS_OK;
}

/* All that level 0 may hold, and what was in it until the plan under way; of memory that is set
 * aside for the store: readers of a small one need theirs more. */
static uint64_t level0_cache_auto(const struct tactus_options *options,
                                  const struct tac_shape *shape, uint64_t left)
{
    return options->memory_size == 0
               ? 0
               : tac_min_u64((shape->runs_per_level + 2) * shape->memtable_size, left / 4);
}

/* Of the readers' caches index blocks and filters come first: each get needs those of all runs. */
int tac_options_resolve_caches(struct tactus_options *options, const struct tac_shape *shape,
                               uint64_t others_bytes, struct tac_error *error)
{
    bool      is_level0_auto = options->level0_cache_size == TACTUS_SIZE_AUTO;
    uint64_t *page = &options->page_cache_size, *index = &options->index_cache_size;
    bool      is_page_auto = *page == TACTUS_SIZE_AUTO, is_index_auto = *index == TACTUS_SIZE_AUTO;
    uint64_t  given = others_bytes + (is_level0_auto ? 0 : options->level0_cache_size) +
                     (is_page_auto ? 0 : *page) + (is_index_auto ? 0 : *index);
    uint64_t left = tac_subtract_floor_zero(options->memory_size, given);

    if (is_level0_auto) {
        options->level0_cache_size = level0_cache_auto(options, shape, left);
        left = tac_subtract_floor_zero(left, options->level0_cache_size);
    }
    if (options->memory_size == 0) {
        *page = is_page_auto ? PAGE_CACHE_SIZE_DEFAULT : *page;
        *index = is_index_auto ? INDEX_CACHE_SIZE_DEFAULT : *index;
        return TACTUS_OK;
    }
    if (given > options->memory_size) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "option memory_size: %llu bytes are not enough; with this "
                             "memtable_size, tables_max and file_size_max the store needs %llu, of "
                             "them %llu for caches of a given size",
                             (unsigned long long)options->memory_size, (unsigned long long)given,
                             (unsigned long long)(given - others_bytes));
    }
    if (is_index_auto) {
        *index = is_page_auto
                     ? tac_min_u64(left / 2, tac_max_u64(INDEX_CACHE_SIZE_DEFAULT, left / 8))
                     : left;
        left -= *index;
    }
    if (is_page_auto) {
        *page = left;
    }
    return TACTUS_OK;
}

int tac_options_resolve(struct tactus_options *options, struct tac_error *error)
{
    uint32_t zeros;

    if (threads_resolve(options, error) != TACTUS_OK) {
        return error->code;
    }
    zeros = (options->threads_read == 0) + (options->threads_merge == 0) +
            (options->threads_write == 0);
    if (zeros != 0 && zeros != 3) {
        return tac_error_set(error, TACTUS_EOPTION,
                             "threads_read, threads_merge and threads_write must be all 0 or all "
                             "at least 1; they are %u, %u, %u",
                             options->threads_read, options->threads_merge, options->threads_write);
    }
    if (!tac_is_power_of_two(options->ring_size)) {
        return tac_error_set(error, TACTUS_EOPTION, "option ring_size: %u is no power of two",
                             options->ring_size);
    }
    if (free_option_check("threads_read", options->threads_read, error) != TACTUS_OK ||
        free_option_check("threads_merge", options->threads_merge, error) != TACTUS_OK ||
        free_option_check("threads_write", options->threads_write, error) != TACTUS_OK ||
        free_option_check("memory_size", options->memory_size, error) != TACTUS_OK ||
        free_option_check("ring_size", options->ring_size, error) != TACTUS_OK ||
        free_option_check("tables_max", options->tables_max, error) != TACTUS_OK ||
        free_option_check("io_depth", options->io_depth, error) != TACTUS_OK ||
        free_option_check("threads_priority", (uint64_t)options->threads_priority, error) !=
            TACTUS_OK ||
        free_option_check("backend", (uint64_t)options->backend, error) != TACTUS_OK ||
        free_option_check("log", (uint64_t)options->log, error) != TACTUS_OK ||
        free_option_check("log_interval_ms", options->log_interval_ms, error) != TACTUS_OK ||
        free_option_check("scrub_days", options->scrub_days, error) != TACTUS_OK ||
        free_option_check("io_rate_max_bytes", options->io_rate_max_bytes, error) != TACTUS_OK ||
        free_option_check("io_priority", (uint64_t)options->io_priority, error) != TACTUS_OK ||
        free_option_check("cache_size_max", options->cache_size_max, error) != TACTUS_OK ||
        free_option_check("logger_level", (uint64_t)options->logger_level, error) != TACTUS_OK) {
        return error->code;
    }
    return TACTUS_OK;
}
