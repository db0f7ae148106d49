/* SPDX-License-Identifier: Apache-2.0 */
/* logger -- see logger.h. */
#include "pipeline/logger.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "pipeline/options.h"
#include "pipeline/store.h"

struct line {
    enum tactus_logger_level level;
    uint64_t                 missed; /* Before this one */
    char                     text[TACTUS_LOGGER_LINE_BYTES];
};

static void line_tell(void *owner, const void *slot)
{
    const struct tac_logger *logger = owner;
    const struct line       *line = slot;
    char                     text[64];

    if (line->missed > 0) {
        snprintf(text, sizeof text, "%llu lines were not told: too many waited",
                 (unsigned long long)line->missed);
        logger->fn(logger->context, TACTUS_LOGGER_WARNING, text);
    }
    logger->fn(logger->context, line->level, line->text);
}

void tac_logger_init(struct tac_logger *logger, const struct tactus_options *options)
{
    logger->fn = options->logger_fn;
    logger->context = options->logger_context;
    logger->level = options->logger_level;
    tac_teller_init(&logger->teller, sizeof(struct line), TAC_LOGGER_LINES_MAX, line_tell, logger);
}

void tac_logger_destroy(struct tac_logger *logger)
{
    tac_teller_end(&logger->teller);
    tac_teller_destroy(&logger->teller);
}

int tac_logger_begin(struct tac_logger *logger, bool is_stepped, struct tac_error *error)
{
    return logger->fn == NULL
               ? TACTUS_OK
               : tac_teller_begin(&logger->teller, is_stepped ? NULL : "tac-logger", error);
}

/* ---- a line --------------------------------------------------------------------------------- */

/* How many bytes at `text` are a character of UTF-8 that can be printed; 0: they are none. What
 * ends with the terminator is none, for no byte of a longer character is 0. */
static size_t character_bytes(const uint8_t *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t                bytes = text[0] < 0x80   ? 1
                                  : text[0] < 0xc0 ? 0
                                  : text[0] < 0xe0 ? 2
                                  : text[0] < 0xf0 ? 3
                                  : text[0] < 0xf8 ? 4
                                                   : 0;
    uint32_t              code;

    if (bytes <= 1) {
        return text[0] >= 0x20 && text[0] != 0x7f ? bytes : 0;
    }
    code = text[0] & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (text[i] & 0x3fu);
    }
    return code >= least[bytes] && code >= 0xa0 && code <= 0x10ffff &&
                   (code < 0xd800 || code > 0xdfff)
               ? bytes
               : 0;
}

/* Paths and what a device says may be any bytes. */
static void line_clean(char *text)
{
    uint8_t *at = (uint8_t *)text;

    while (*at != 0) {
        size_t bytes = character_bytes(at);

        if (bytes == 0) {
            *at = '?';
        }
        at += bytes == 0 ? 1 : bytes;
    }
}

void tac_logger_add(struct tac_logger *logger, enum tactus_logger_level level, const char *format,
                    ...)
{
    struct line *line;
    uint64_t     missed;
    va_list      arguments;

    if (logger->fn == NULL || level > logger->level) {
        return;
    }
    line = tac_teller_take(&logger->teller, &missed);
    if (line == NULL) {
        return;
    }
    line->level = level;
    line->missed = TAC_MUTANT(MISSED_UNTOLD) ? 0 : missed;
    va_start(arguments, format);
    vsnprintf(line->text, sizeof line->text, format, arguments);
    va_end(arguments);
    line_clean(line->text);
    tac_teller_give(&logger->teller);
}

/* ---- what an open says ---------------------------------------------------------------------- */

static const char *option_text(const struct tactus_options *options, const char *name, char *text,
                               size_t size)
{
    tac_options_value(options, tac_options_index(name), text, size);
    return text;
}

void tac_logger_add_open(struct tactus *store)
{
    const struct tactus_options *options = &store->options;
    struct tactus_stats          stats;
    uint64_t                     tables = 0;
    uint32_t                     trees;
    char                         log[16], level0[32], page[32], index[32];

    if (store->logger.fn == NULL || tactus_tree_list(store, NULL, 0, &trees) != TACTUS_OK) {
        return;
    }
    tactus_stat(store, &stats); /* Of trees it has those of the last bar's end */
    for (uint32_t i = 0; i < stats.levels; i++) {
        tables += stats.level[i].tables;
    }
    tac_logger_add(&store->logger, TACTUS_LOGGER_INFO,
                   "opened at op %llu, of which %llu is durable: %u trees, %llu tables with %llu "
                   "bytes of keys and values, %u snapshots; checkpoint %llu",
                   (unsigned long long)stats.last_op, (unsigned long long)stats.durable_op, trees,
                   (unsigned long long)tables, (unsigned long long)stats.live_bytes,
                   stats.snapshots, (unsigned long long)stats.checkpoint_sequence);
    tac_logger_add(
        &store->logger, TACTUS_LOGGER_INFO,
        "backend %s%s, log %s; %u threads read, %u merge, %u write%s; %llu bytes of memory: "
        "level0_cache_size %s, page_cache_size %s, index_cache_size %s",
        stats.backend, stats.direct_io ? " with direct I/O" : "",
        option_text(options, "log", log, sizeof log), stats.threads_read, stats.threads_merge,
        stats.threads_write, store->shared != NULL ? " (of a pool)" : "",
        (unsigned long long)stats.memory_budget_bytes,
        option_text(options, "level0_cache_size", level0, sizeof level0),
        option_text(options, "page_cache_size", page, sizeof page),
        option_text(options, "index_cache_size", index, sizeof index));
    if (stats.tables_damaged > 0) {
        tac_logger_add(&store->logger, TACTUS_LOGGER_WARNING,
                       "tables that compactions have found damaged: %llu; tactus_verify names the "
                       "damage, `tactus repair` writes the rest into a new store",
                       (unsigned long long)stats.tables_damaged);
    }
}
