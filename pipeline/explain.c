/* SPDX-License-Identifier: Apache-2.0 */
/* explain -- tactus_options_explain: what an open would make of options, and why. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "pipeline/admission.h"
#include "pipeline/api_internal.h"
#include "pipeline/options.h"

#define REASON_BYTES 256
#define VALUE_BYTES 64

struct explanation {
    struct tactus_options  given, defaults, taken;
    struct tac_memory_plan memory;
    char                   reason[REASON_BYTES];
};

static void say(struct explanation *explanation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct explanation *explanation, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(explanation->reason, sizeof explanation->reason, format, arguments);
    va_end(arguments);
}

/* "64MiB": exact. */
static const char *size_text(uint64_t bytes, char text[VALUE_BYTES])
{
    tac_options_size_text(bytes, text, VALUE_BYTES);
    return text;
}

/* ---- memory --------------------------------------------------------------------------------- */

static void say_memory(struct explanation *explanation)
{
    char budget[VALUE_BYTES], others[VALUE_BYTES];

    size_text(explanation->memory.budget_bytes, budget);
    size_text(explanation->memory.others_bytes, others);
    say(explanation, "%s; the store takes %s, of which %s is not for caches",
        explanation->taken.memory_size == 0 ? "no limit of its own" : "the limit", budget, others);
}

static void say_pool(struct explanation *explanation)
{
    const struct tactus_options *taken = &explanation->taken;

    say(explanation,
        "the least of use: for %u jobs side by side (threads_merge%s, and two more) of "
        "runs_per_level + 2 tables each with 4 blocks of read-ahead, and for the largest job",
        explanation->memory.seats, taken->assist ? ", those that assist" : "");
}

static void say_level0_cache(struct explanation *explanation)
{
    char memtables[VALUE_BYTES];

    if (explanation->taken.memory_size == 0) {
        say(explanation, "none without memory_size");
        return;
    }
    say(explanation,
        "runs_per_level + 2 memtables, %s, but not more than a quarter of what memory_size leaves",
        size_text((explanation->taken.runs_per_level + 2) * explanation->taken.memtable_size,
                  memtables));
}

static void say_page_cache(struct explanation *explanation)
{
    char others[VALUE_BYTES];

    if (explanation->taken.memory_size == 0) {
        say(explanation, "as there is no memory_size");
        return;
    }
    say(explanation,
        "what memory_size leaves: all but caches takes %s, and the other caches theirs",
        size_text(explanation->memory.others_bytes, others));
}

static void say_index_cache(struct explanation *explanation)
{
    if (explanation->given.page_cache_size != TACTUS_SIZE_AUTO ||
        explanation->taken.memory_size == 0) {
        say_page_cache(explanation);
        return;
    }
    say(explanation, "of what memory_size leaves 192MiB or, if more, an eighth, but not more than "
                     "half: each read needs those of all runs");
}

/* ---- threads and the rest ------------------------------------------------------------------- */

static void say_threads(struct explanation *explanation)
{
    bool are_given = explanation->given.threads_read != TACTUS_THREADS_AUTO ||
                     explanation->given.threads_merge != TACTUS_THREADS_AUTO ||
                     explanation->given.threads_write != TACTUS_THREADS_AUTO;

    say(explanation, are_given
                         ? "the sum of threads_read, threads_merge and threads_write"
                         : "one for each processor that the process may use, and at least three");
}

static void say_side(struct explanation *explanation)
{
    say(explanation, "a quarter of threads, and at least one, if there are any");
}

static void say_merge(struct explanation *explanation)
{
    say(explanation, "what reading and writing leave of threads");
}

static void say_lag(struct explanation *explanation)
{
    say(explanation, "an eighth of a plan's beats%s, at most 8",
        explanation->taken.runs_per_level == 1 ? ", of which a bar of runs of 1 has two" : "");
}

static void say_file_size(struct explanation *explanation)
{
    char block[VALUE_BYTES];

    say(explanation, "the most that a file with blocks of %s can have",
        size_text(explanation->taken.block_size, block));
}

static void say_uuid(struct explanation *explanation)
{
    say(explanation, "drawn at random when the store is created");
}

static const struct {
    const char *name;
    void (*say_fn)(struct explanation *explanation);
} derivations[] = {
    {"lag_beats", say_lag},
    {"file_size_max", say_file_size},
    {"uuid", say_uuid},
    {"memory_size", say_memory},
    {"threads", say_threads},
    {"threads_read", say_side},
    {"threads_merge", say_merge},
    {"threads_write", say_side},
    {"pool_size", say_pool},
    {"level0_cache_size", say_level0_cache},
    {"page_cache_size", say_page_cache},
    {"index_cache_size", say_index_cache},
};

static void say_derived(struct explanation *explanation, const char *name)
{
    for (size_t i = 0; i < TAC_ARRAY_COUNT(derivations); i++) {
        if (strcmp(derivations[i].name, name) == 0) {
            derivations[i].say_fn(explanation);
            return;
        }
    }
    tac_unreachable();
}

/* ---- of tactus.h ---------------------------------------------------------------------------- */

static void option_explain(struct explanation *explanation, uint32_t index,
                           struct tactus_option_info *info, char text[VALUE_BYTES])
{
    char given[VALUE_BYTES], initial[VALUE_BYTES];

    tac_options_value(&explanation->given, index, given, sizeof given);
    tac_options_value(&explanation->defaults, index, initial, sizeof initial);
    tac_options_value(&explanation->taken, index, text, VALUE_BYTES);
    *info = (struct tactus_option_info){
        .struct_size = sizeof *info,
        .name = tac_options_name(index),
        .value = text,
        .reason = explanation->reason,
        .is_fixed = tac_options_is_shaping(index),
    };
    if (strcmp(given, text) != 0 ||
        (strcmp(info->name, "uuid") == 0 && strcmp(given, initial) == 0)) {
        info->source = TACTUS_OPTION_DERIVED;
        say_derived(explanation, info->name);
    } else {
        info->source = strcmp(given, initial) == 0 ? TACTUS_OPTION_DEFAULT : TACTUS_OPTION_GIVEN;
        explanation->reason[0] = 0;
        if (strcmp(info->name, "memory_size") == 0) {
            say_memory(explanation);
        }
    }
}

int tactus_options_explain(const struct tactus_options *options,
                           void (*option_fn)(void                            *context,
                                             const struct tactus_option_info *option),
                           void *context)
{
    struct explanation        explanation = {0};
    struct tactus_options    *taken = &explanation.taken;
    struct tactus_option_info info;
    char                      text[VALUE_BYTES];

    if (option_fn == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL, "no function to be told the options");
    }
    tactus_options_init(&explanation.defaults);
    explanation.given = explanation.defaults;
    if (options != NULL &&
        tac_options_import(options, &explanation.given, &tac_api_error) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (tac_store_memory_explain(&explanation.given, taken, &explanation.memory, &tac_api_error) !=
        TACTUS_OK) {
        return tac_api_error.code;
    }
    for (uint32_t i = 0; tac_options_name(i) != NULL; i++) {
        option_explain(&explanation, i, &info, text);
        option_fn(context, &info);
    }
    return TACTUS_OK;
}
