/* SPDX-License-Identifier: Apache-2.0 */
/* range_store -- a small store of numbered records whose ranges tests delete: keys of eight bytes
 * that order like the numbers, values of a hundred. All of it is static, so that a test has short
 * names for what it says on every line. */
#ifndef TACTUS_TESTS_LIB_RANGE_STORE_H
#define TACTUS_TESTS_LIB_RANGE_STORE_H

#include <string.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define VALUE_BYTES 100
#define KEY_BYTES 8

static inline void options_make(struct tactus_options *options, uint32_t runs)
{
    small_options(options);
    options->table_size = 16 * TAC_KIB;
    options->runs_per_level = runs;
    options->file_size_max = TAC_GIB;
    options->page_cache_size = options->index_cache_size = TAC_MIB;
}

static inline void expect(int result, const char *what)
{
    if (result != TACTUS_OK) {
        tap_bail("%s: %d %s", what, result, tactus_message());
    }
}

static inline void key_make(uint64_t number, uint8_t key[KEY_BYTES])
{
    for (uint32_t i = 0; i < KEY_BYTES; i++) {
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static inline void put(struct tactus *store, uint32_t tree, uint64_t number, uint64_t seed)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES] = {0};

    key_make(number, key);
    memcpy(value, &seed, sizeof seed);
    expect(tactus_put(store, tree, key, sizeof key, value, sizeof value), "put");
}

static inline int range_delete(struct tactus *store, uint32_t tree, uint64_t first, uint64_t end)
{
    uint8_t low[KEY_BYTES], high[KEY_BYTES];

    key_make(first, low);
    key_make(end, high);
    return tactus_delete_range(store, tree, low, sizeof low, high, sizeof high, NULL);
}

static inline bool has(struct tactus *store, uint32_t tree, uint64_t number)
{
    uint8_t key[KEY_BYTES];
    int     result;

    key_make(number, key);
    result = tactus_get(store, tree, key, sizeof key, NULL, 0, &(size_t){0});
    if (result != TACTUS_OK && result != TACTUS_ENOTFOUND) {
        tap_bail("get: %s", tactus_message());
    }
    return result == TACTUS_OK;
}

static inline uint64_t scan(struct tactus_iterator *iterator, bool is_backward)
{
    uint64_t count = 0;
    int result = is_backward ? tactus_iterator_last(iterator) : tactus_iterator_first(iterator);

    for (; result == TACTUS_OK; count++) {
        result = is_backward ? tactus_iterator_previous(iterator) : tactus_iterator_next(iterator);
    }
    return result == TACTUS_ENOTFOUND ? count : UINT64_MAX;
}

/* Records that a walk finds, if it finds as many both ways. */
static inline uint64_t records_of(struct tactus *store, uint32_t tree)
{
    struct tactus_iterator *iterator;
    uint64_t                count, back;

    expect(tactus_iterator_open(store, tree, &iterator), "iterator");
    count = scan(iterator, false);
    back = scan(iterator, true);
    tactus_iterator_close(iterator);
    return count == back ? count : UINT64_MAX;
}

static inline struct tactus_stats stats_of(struct tactus *store)
{
    struct tactus_stats stats;

    tactus_stat(store, &stats);
    return stats;
}

static inline bool is_sound(struct tactus *store)
{
    return tactus_verify(store, NULL, NULL, NULL) == TACTUS_OK;
}

/* Records 0 to count - 1, in no order. */
static inline void fill(struct tactus *store, uint32_t tree, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        put(store, tree, i * 7919 % count, i);
    }
}

#endif
