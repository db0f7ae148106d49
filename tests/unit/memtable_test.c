/* SPDX-License-Identifier: Apache-2.0 */
/* The memtable against a model: all puts in one array, sorted. */
#include "base/prng.h"
#include "lsm/memtable.h"
#include "tests/lib/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREES 3
#define PUTS_MAX 12000 /* Seven ninths into tree 0: three levels */
#define EACH_PUTS 250  /* Several leaves */
#define VALUE_MAX 70000
#define EDGES 150

struct put {
    uint32_t         tree;
    uint32_t         number; /* Of the put: the later of two with one op wins */
    uint64_t         op;
    struct tac_bytes key;
    uint32_t         value_size;
    bool             is_tombstone;
};

struct model {
    struct put        puts[PUTS_MAX]; /* By tree, key, newest first */
    uint32_t          count;
    uint64_t          last_op;
    uint8_t          *keys;           /* PUTS_MAX keys of TACTUS_KEY_SIZE_MAX */
    const struct put *view[PUTS_MAX]; /* What a reader of one tree and op sees, in order */
    uint32_t          view_count;
};

static struct model model;
static uint8_t      value_buffer[VALUE_MAX];

enum shape {
    SHAPE_RANDOM,
    SHAPE_LONG_PREFIX,
    SHAPE_NESTED,
    SHAPE_ZEROES,
    SHAPE_ONE_BYTE,
    SHAPE_LONGEST,
    SHAPE_ONES,
    SHAPE_COUNTER,
    SHAPE_COUNT_
};

static const char *const shape_names[SHAPE_COUNT_] = {
    "random keys",       "long shared prefixes", "keys that are prefixes of each other",
    "zero bytes",        "keys of one byte",     "keys of 1,024 bytes",
    "bytes of all ones", "ascending counters",
};

static void value_fill(uint32_t number, uint32_t size)
{
    struct tac_prng prng = {.state = number};

    for (uint32_t i = 0; i < size; i++) {
        value_buffer[i] = (uint8_t)tac_prng_next(&prng);
    }
}

/* Writes a key of a shape, returns its size. */
static uint32_t key_make(struct tac_prng *prng, enum shape shape, uint64_t number, uint8_t *key)
{
    uint32_t size = 1 + (uint32_t)tac_prng_below(prng, 24);

    for (uint32_t i = 0; i < size; i++) {
        key[i] = (uint8_t)tac_prng_next(prng);
    }
    switch (shape) {
    case SHAPE_RANDOM:
        return size;
    case SHAPE_LONG_PREFIX: {
        uint32_t prefix_size = tac_prng_below(prng, 4) == 0 ? 900 : 20;

        memmove(key + prefix_size, key, size);
        memset(key, 'p', prefix_size);
        return prefix_size + size;
    }
    case SHAPE_NESTED:
        memset(key, 'n', TACTUS_KEY_SIZE_MAX);
        return 1 + (uint32_t)tac_prng_below(prng, TACTUS_KEY_SIZE_MAX);
    case SHAPE_ZEROES:
    case SHAPE_ONES:
        for (uint32_t i = 0; i < size; i++) {
            key[i] = (uint8_t)((key[i] & 1) - (shape == SHAPE_ONES));
        }
        return size;
    case SHAPE_ONE_BYTE:
        return 1;
    case SHAPE_LONGEST:
        memset(key + size, 'x', TACTUS_KEY_SIZE_MAX - size);
        key[TACTUS_KEY_SIZE_MAX - 1] = (uint8_t)tac_prng_below(prng, 2);
        return TACTUS_KEY_SIZE_MAX;
    case SHAPE_COUNTER:
        memset(key, 0, 16);
        tac_store_u64(key + 8, __builtin_bswap64(number));
        return 16;
    case SHAPE_COUNT_:
        break;
    }
    tac_unreachable();
}

static int put_compare(const void *a_pointer, const void *b_pointer)
{
    const struct put *a = a_pointer;
    const struct put *b = b_pointer;
    int               order = tac_bytes_compare(a->key, b->key);

    if (a->tree != b->tree) {
        return a->tree < b->tree ? -1 : 1;
    }
    if (order != 0) {
        return order;
    }
    return a->number > b->number ? -1 : 1;
}

/* Puts the same into table and model; one put in three begins an op. The model is not sorted. */
static void model_put(struct tac_memtable *memtable, struct tac_prng *prng, enum shape shape)
{
    uint32_t    number = model.count++;
    struct put *put = &model.puts[number];
    uint8_t    *key = model.keys + (size_t)number * TACTUS_KEY_SIZE_MAX;
    uint32_t    key_size;

    if (number > 0 && tac_prng_below(prng, 8) == 0) {
        const struct put *old = &model.puts[tac_prng_below(prng, number)];

        key_size = old->key.size;
        memcpy(key, old->key.data, key_size);
    } else {
        key_size = key_make(prng, shape, number, key);
    }
    model.last_op += number == 0 || tac_prng_below(prng, 3) == 0;
    put->op = model.last_op;
    put->tree = (uint32_t)tac_subtract_floor_zero(tac_prng_below(prng, 9), 9 - TREES);
    put->number = number;
    put->key = (struct tac_bytes){.data = key, .size = key_size};
    put->is_tombstone = tac_prng_below(prng, 5) == 0;
    put->value_size = (uint32_t)tac_prng_below(prng, 200);
    if (tac_prng_below(prng, 1000) == 0) {
        put->value_size = VALUE_MAX;
    }
    if (put->is_tombstone) {
        put->value_size = 0;
    }
    value_fill(number, put->value_size);
    tac_memtable_put(memtable, put->tree, put->op, put->key,
                     (struct tac_bytes){.data = value_buffer, .size = put->value_size},
                     put->is_tombstone);
}

static void model_start(void)
{
    model.count = 0;
    model.last_op = 0;
}

static void model_sort(void) { qsort(model.puts, model.count, sizeof model.puts[0], put_compare); }

static bool is_same_key(const struct put *a, const struct put *b)
{
    return a->tree == b->tree && tac_bytes_compare(a->key, b->key) == 0;
}

static void model_view(uint32_t tree, uint64_t visible_op)
{
    const struct put *last = NULL;

    model.view_count = 0;
    for (uint32_t i = 0; i < model.count; i++) {
        const struct put *put = &model.puts[i];

        if (put->tree != tree || put->op > visible_op || (last && is_same_key(last, put))) {
            continue;
        }
        model.view[model.view_count++] = put;
        last = put;
    }
}

/* How many keys of the view are below the key. */
static uint32_t model_rank(struct tac_bytes key)
{
    uint32_t begin = 0;
    uint32_t end = model.view_count;

    while (begin < end) {
        uint32_t middle = (begin + end) / 2;

        if (tac_bytes_compare(model.view[middle]->key, key) < 0) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

static bool is_put(const struct tac_record_view *view, const struct put *put)
{
    if (tac_bytes_compare(view->record.key, put->key) != 0 || view->op != put->op ||
        view->record.is_tombstone != put->is_tombstone ||
        view->record.value.size != put->value_size ||
        view->record.value.data != view->record.key.data + view->record.key.size) {
        return false;
    }
    value_fill(put->number, put->value_size);
    return memcmp(view->record.value.data, value_buffer, put->value_size) == 0;
}

/* Forward and backward over the whole view. */
static bool reader_walks(struct tac_memtable_reader *reader)
{
    struct tac_record_view view;
    uint32_t               i = 0;
    bool                   is_there;

    for (is_there = tac_memtable_reader_first(reader, &view); is_there;
         is_there = tac_memtable_reader_next(reader, &view)) {
        if (i == model.view_count || !is_put(&view, model.view[i])) {
            return false;
        }
        i++;
    }
    if (i != model.view_count) {
        return false;
    }
    for (is_there = tac_memtable_reader_last(reader, &view); is_there;
         is_there = tac_memtable_reader_previous(reader, &view)) {
        if (i == 0 || !is_put(&view, model.view[i - 1])) {
            return false;
        }
        i--;
    }
    return i == 0;
}

static bool check_walks(const struct tac_memtable *memtable, uint32_t tree, uint64_t visible_op)
{
    struct tac_memtable_reader reader;

    tac_memtable_reader_init(&reader, memtable, tree, visible_op);
    return reader_walks(&reader);
}

/* From random keys, most of them not there: seeks, then some steps to and fro. */
static bool check_seeks(const struct tac_memtable *memtable, uint32_t tree, uint64_t visible_op,
                        uint32_t seeks, struct tac_prng *prng, enum shape shape)
{
    static uint8_t key_buffer[2 * TACTUS_KEY_SIZE_MAX];

    for (uint32_t i = 0; i < seeks; i++) {
        uint32_t size = key_make(prng, shape, tac_prng_below(prng, model.count), key_buffer);
        struct tac_bytes           key = {.data = key_buffer, .size = size};
        struct tac_memtable_reader reader;
        struct tac_record_view     view;
        uint32_t                   at = model_rank(key);
        bool is_equal = at < model.view_count && tac_bytes_compare(model.view[at]->key, key) == 0;
        bool is_back = tac_prng_below(prng, 2) == 0;
        bool is_there;

        if (tac_memtable_get(memtable, tree, key, visible_op, &view) != is_equal ||
            (is_equal && !is_put(&view, model.view[at]))) {
            return false;
        }
        tac_memtable_reader_init(&reader, memtable, tree, visible_op);
        if (is_back) {
            at = is_equal ? at : at - 1; /* -1 is as much out of the view as its count */
            is_there = tac_memtable_reader_seek_back(&reader, key, &view);
        } else {
            is_there = tac_memtable_reader_seek(&reader, key, &view);
        }
        for (uint32_t step = 0; step < 100; step++) {
            if (is_there != (at < model.view_count) ||
                (is_there && !is_put(&view, model.view[at]))) {
                return false;
            }
            if (!is_there) {
                break;
            }
            if (tac_prng_below(prng, 8) == 0) {
                is_back = !is_back;
            }
            at += is_back ? UINT32_MAX : 1;
            is_there = is_back ? tac_memtable_reader_previous(&reader, &view)
                               : tac_memtable_reader_next(&reader, &view);
        }
    }
    return true;
}

static bool check_stats(const struct tac_memtable *memtable, uint32_t tree)
{
    struct tac_memtable_tree_stats stats;
    uint64_t                       versions = 0;
    uint64_t                       tombstones = 0;
    uint64_t                       payload_bytes = 0;

    tac_memtable_tree_stats(memtable, tree, &stats);
    for (uint32_t i = 0; i < model.count; i++) {
        versions += model.puts[i].tree == tree;
    }
    for (uint32_t i = 0; i < model.view_count; i++) {
        tombstones += model.view[i]->is_tombstone;
        payload_bytes += model.view[i]->key.size + model.view[i]->value_size;
    }
    return stats.records == model.view_count && stats.versions == versions &&
           stats.tombstones == tombstones && stats.payload_bytes == payload_bytes &&
           model.view_count > 0 && tac_bytes_compare(stats.first_key, model.view[0]->key) == 0 &&
           tac_bytes_compare(stats.last_key, model.view[model.view_count - 1]->key) == 0;
}

static struct tac_u128 view_hash(const struct tac_record_view *view)
{
    return tac_record_hash(view->record.key.data, view->record.key.size, view->record.value.size,
                           view->record.is_tombstone);
}

/* The flush: newest versions by the cursor and older ones behind each; their hashes add up. */
static bool check_flush(const struct tac_memtable *memtable, uint32_t tree)
{
    struct tac_memtable_tree_stats stats;
    struct tac_memtable_cursor     cursor;
    struct tac_record_view         view;
    struct tac_u128                sum = {0, 0};
    uint32_t                       i;

    tac_memtable_cursor_seek(&cursor, memtable, tree, (struct tac_bytes){.size = 0});
    for (i = 0; tac_memtable_cursor_next(&cursor, &view); i++) {
        const struct put *put = model.view[i];

        if (i == model.view_count || !is_put(&view, put)) {
            return false;
        }
        sum = tac_u128_add(sum, view_hash(&view));
        while (tac_memtable_older(memtable, &view, &view)) {
            put++;
            if (!is_same_key(put - 1, put) || !is_put(&view, put)) {
                return false;
            }
            sum = tac_u128_add(sum, view_hash(&view));
        }
        put++;
        if (put < model.puts + model.count && is_same_key(put - 1, put)) {
            return false;
        }
    }
    tac_memtable_tree_stats(memtable, tree, &stats);
    return i == model.view_count && tac_u128_equal(sum, stats.inserted_sum);
}

/* The cursor from random keys on. */
static bool check_cursor_seeks(const struct tac_memtable *memtable, uint32_t tree,
                               struct tac_prng *prng, enum shape shape)
{
    static uint8_t key_buffer[2 * TACTUS_KEY_SIZE_MAX];

    for (uint32_t seeks = 0; seeks < 300; seeks++) {
        struct tac_memtable_cursor cursor;
        struct tac_record_view     view;
        uint32_t         size = key_make(prng, shape, tac_prng_below(prng, PUTS_MAX), key_buffer);
        struct tac_bytes key = {.data = key_buffer, .size = size};
        uint32_t         i = model_rank(key);

        tac_memtable_cursor_seek(&cursor, memtable, tree, key);
        do {
            bool is_there = tac_memtable_cursor_next(&cursor, &view);

            if (is_there != (i < model.view_count) || (is_there && !is_put(&view, model.view[i]))) {
                return false;
            }
        } while (i++ < model.view_count && tac_prng_below(prng, 50) > 0);
    }
    return true;
}

static int key_compare(const void *a, const void *b)
{
    return tac_bytes_compare(*(const struct tac_bytes *)a, *(const struct tac_bytes *)b);
}

static bool check_below(const struct tac_memtable *memtable, uint32_t tree, struct tac_prng *prng,
                        enum shape shape)
{
    static uint8_t   keys[EDGES][2 * TACTUS_KEY_SIZE_MAX];
    struct tac_bytes edges[EDGES];
    uint64_t         bytes_below[EDGES], records_below[EDGES];

    for (uint32_t i = 0; i < EDGES; i++) {
        edges[i].data = keys[i];
        edges[i].size = key_make(prng, shape, i * 40, keys[i]);
        if (i % 2 == 0) {
            edges[i] = model.view[tac_prng_below(prng, model.view_count)]->key;
        }
    }
    qsort(edges, EDGES, sizeof edges[0], key_compare);
    tac_memtable_below(memtable, tree, edges, EDGES, bytes_below, records_below);
    for (uint32_t i = 0; i < EDGES; i++) {
        uint32_t rank = model_rank(edges[i]);
        uint64_t bytes = 0;

        for (uint32_t j = 0; j < rank; j++) {
            bytes += model.view[j]->key.size + model.view[j]->value_size;
        }
        if (bytes != bytes_below[i] || rank != records_below[i]) {
            return false;
        }
    }
    return true;
}

static void test_model(uint64_t seed, enum shape shape)
{
    struct tac_memtable *memtable = tac_memtable_new(32 * TAC_MIB, TREES);
    struct tac_prng      puts = {.state = seed};
    struct tac_prng      prng = {.state = seed ^ 1};
    bool                 walks = true;
    bool                 seeks = true;
    bool                 stats = true;
    bool                 flush = true;
    bool                 below = true;

    if (memtable == NULL) {
        tap_bail("out of memory");
    }
    model_start();
    while (model.count < PUTS_MAX) {
        model_put(memtable, &puts, shape);
    }
    model_sort();
    tac_memtable_seal(memtable);
    for (uint32_t tree = 0; tree < TREES; tree++) {
        const uint64_t ops[] = {1, 2, model.last_op / 3, model.last_op - 1, model.last_op};

        for (uint32_t i = 0; i < TAC_ARRAY_COUNT(ops); i++) {
            model_view(tree, ops[i]);
            walks &= check_walks(memtable, tree, ops[i]);
            seeks &= check_seeks(memtable, tree, ops[i], 200, &prng, shape);
        }
        stats &= check_stats(memtable, tree);
        flush &= check_flush(memtable, tree);
        flush &= check_cursor_seeks(memtable, tree, &prng, shape);
        below &= check_below(memtable, tree, &prng, shape);
    }
    tap_ok(walks, "%s: walks in both directions give what is visible", shape_names[shape]);
    tap_ok(seeks, "%s: gets, seeks and turns give what is visible", shape_names[shape]);
    tap_ok(stats, "%s: statistics are exact", shape_names[shape]);
    tap_ok(flush, "%s: the flush gives all versions and their hashes add up", shape_names[shape]);
    tap_ok(below, "%s: bytes below edges are exact", shape_names[shape]);
    tac_memtable_free(memtable);
}

/* After each of many puts: what it has put is found, wherever in the tree it belongs, by readers
 * that begin then; and those that began before it see what they saw. */
static void test_each_put(uint64_t seed, enum shape shape)
{
    struct tac_memtable       *memtable = tac_memtable_new(32 * TAC_MIB, TREES);
    struct tac_memtable_reader before;
    struct tac_prng            puts = {.state = seed ^ 2};
    struct tac_prng            prng = {.state = seed ^ 3};
    bool                       is_right = true, is_steady = true;

    if (memtable == NULL) {
        tap_bail("out of memory");
    }
    for (uint32_t count = 1; count <= EACH_PUTS; count++) {
        struct tac_prng again = puts;
        uint64_t        op_before = 0;

        /* Both are made anew: the model is in order of keys by now. */
        tac_memtable_reset(memtable);
        model_start();
        while (model.count < count) {
            if (model.count + 1 == count && model.last_op > 1) {
                op_before = model.last_op - 1;
                tac_memtable_reader_init(&before, memtable, count % TREES, op_before);
            }
            model_put(memtable, &again, shape);
        }
        model_sort();
        for (uint32_t tree = 0; tree < TREES; tree++) {
            model_view(tree, model.last_op);
            is_right &= check_walks(memtable, tree, model.last_op);
            is_right &= check_seeks(memtable, tree, model.last_op, 10, &prng, shape);
        }
        if (op_before > 0) {
            model_view(count % TREES, op_before);
            is_steady &= reader_walks(&before);
        }
    }
    tap_ok(is_right, "%s: each put is found as soon as it is made", shape_names[shape]);
    tap_ok(is_steady, "%s: readers that began before it see what they saw", shape_names[shape]);
    tac_memtable_free(memtable);
}

/* ---- arena bound ---------------------------------------------------------------------------- */

enum order {
    ORDER_ASCENDING,
    ORDER_DESCENDING,
    ORDER_RANDOM,
    ORDER_INWARDS,   /* From both ends to the middle */
    ORDER_STREAMS,   /* Many ascending streams in turn: each split leaves halves that stay halves */
    ORDER_LEFT_BACK, /* Descending within ascending groups: appends filled up from below */
    ORDER_COUNT_
};

static const char *const order_names[ORDER_COUNT_] = {
    "ascending",           "descending",        "random", "from both ends inwards",
    "interleaved streams", "groups descending",
};

static uint64_t order_number(enum order order, uint64_t i)
{
    switch (order) {
    case ORDER_ASCENDING:
        return i;
    case ORDER_DESCENDING:
        return ((uint64_t)1 << 40) - i;
    case ORDER_RANDOM:
        return tac_mix_u64(i) >> 8;
    case ORDER_INWARDS:
        return i % 2 == 0 ? i : ((uint64_t)1 << 40) - i;
    case ORDER_STREAMS:
        return (i % 97) << 32 | i;
    case ORDER_LEFT_BACK:
        return (i / 33) << 16 | (33 - i % 33);
    case ORDER_COUNT_:
        break;
    }
    tac_unreachable();
}

/* Puts records of the size until no more fits; the table itself asserts that its memory suffices.
 * The keys are the numbers' last seven bytes: 25 bytes beside key and value, the most there can be,
 * when there is no value. */
static bool fill_to_the_brim(struct tac_memtable *memtable, enum order order, uint32_t trees,
                             uint32_t value_size, uint64_t *ret_count)
{
    uint32_t key_size = 7;
    uint64_t bytes = tac_memtable_record_accounted(key_size, value_size);
    uint64_t count = 0;

    for (; tac_memtable_fits(memtable, bytes); count++) {
        uint64_t number = __builtin_bswap64(order_number(order, count / trees));

        tac_memtable_put(memtable, (uint32_t)(count % trees), count + 1,
                         (struct tac_bytes){.data = (uint8_t *)&number + 1, .size = key_size},
                         (struct tac_bytes){.data = value_buffer, .size = value_size}, false);
    }
    tac_memtable_seal(memtable);
    *ret_count = count;
    return tac_memtable_accounted(memtable) == count * bytes;
}

/* Every record is there, in order, and no other. */
static bool check_full(const struct tac_memtable *memtable, uint32_t trees, uint64_t count)
{
    uint64_t found = 0;

    for (uint32_t tree = 0; tree < trees; tree++) {
        struct tac_memtable_cursor cursor;
        struct tac_record_view     view;
        struct tac_bytes           last = {.size = 0};

        tac_memtable_cursor_seek(&cursor, memtable, tree, (struct tac_bytes){.size = 0});
        while (tac_memtable_cursor_next(&cursor, &view)) {
            if (last.size > 0 && tac_bytes_compare(last, view.record.key) >= 0) {
                return false;
            }
            last = view.record.key;
            found++;
        }
    }
    return found == count;
}

static void test_brim(enum order order)
{
    static const struct {
        uint64_t capacity;
        uint32_t trees;
        uint32_t value_size;
    } cases[] = {
        {4 * TAC_MIB, 1, 0},
        {4 * TAC_MIB, 64, 0},
        {64 * 65 * 63, 64, 0},
        {64 * 33 * 63, 64, 0},
        {64 * 63, 64, 0},
        {4096, 1, 0},
        {64, 1, 0},
        {4 * TAC_MIB, 1, 4},
        {4 * TAC_MIB, 3, 12},
        {4 * TAC_MIB, 2, 65536},
    };
    bool is_full = true;

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(cases); i++) {
        struct tac_memtable *memtable = tac_memtable_new(cases[i].capacity, cases[i].trees);
        uint64_t             count;

        if (memtable == NULL) {
            tap_bail("out of memory");
        }
        /* Twice: a reset table holds as much as a new one. */
        for (uint32_t round = 0; round < 2; round++) {
            tac_memtable_reset(memtable);
            is_full &=
                fill_to_the_brim(memtable, order, cases[i].trees, cases[i].value_size, &count);
            is_full &= count > 0 && check_full(memtable, cases[i].trees, count);
        }
        tac_memtable_free(memtable);
    }
    tap_ok(is_full, "filled to the brim, %s: everything has room", order_names[order]);
}

/* The largest keys: separators of 1,024 bytes, and leaves whose words tell nothing. */
static void test_brim_large(void)
{
    struct tac_memtable *memtable = tac_memtable_new(8 * TAC_MIB, 1);
    uint8_t             *key = model.keys;
    uint64_t             count = 0;

    if (memtable == NULL) {
        tap_bail("out of memory");
    }
    memset(key, 0, TACTUS_KEY_SIZE_MAX);
    while (tac_memtable_fits(memtable, tac_memtable_record_accounted(TACTUS_KEY_SIZE_MAX, 0))) {
        tac_store_u64(key + TACTUS_KEY_SIZE_MAX - 8, __builtin_bswap64(tac_mix_u64(++count)));
        tac_memtable_put(memtable, 0, count,
                         (struct tac_bytes){.data = key, .size = TACTUS_KEY_SIZE_MAX},
                         (struct tac_bytes){.size = 0}, true);
    }
    tac_memtable_seal(memtable);
    tap_ok(check_full(memtable, 1, count), "filled to the brim with the largest keys");
    tac_memtable_free(memtable);
}

/* ---- single facts --------------------------------------------------------------------------- */

static struct tac_bytes text(const char *text)
{
    return (struct tac_bytes){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
}

/* Records of one size are counted without a look at them, until there is one of another size. */
static void test_below_of_one_size(void)
{
    struct tac_memtable *memtable = tac_memtable_new(TAC_MIB, 1);
    struct tac_bytes     edges[3] = {text("key0500"), text("key0501"), text("key1999")};
    uint64_t             bytes[3], records[3];
    char                 key[16];

    if (memtable == NULL) {
        tap_bail("out of memory");
    }
    for (uint32_t i = 0; i < 2000; i += 2) {
        snprintf(key, sizeof key, "key%04u", i);
        tac_memtable_put(memtable, 0, i + 1, text(key), text("value"), false);
    }
    tac_memtable_seal(memtable);
    tac_memtable_below(memtable, 0, edges, 3, bytes, records);
    tap_ok(records[0] == 250 && records[1] == 251 && records[2] == 1000 && bytes[0] == 250 * 12 &&
               bytes[1] == 251 * 12 && bytes[2] == 1000 * 12,
           "records of one size are counted below edges");
    tac_memtable_put(memtable, 0, 2001, text("key0001"), text(""), true);
    tac_memtable_put(memtable, 0, 2002, text("key0501"), text("a larger value"), false);
    tac_memtable_seal(memtable);
    tac_memtable_below(memtable, 0, edges, 3, bytes, records);
    tap_ok(records[0] == 251 && records[2] == 1002 && bytes[0] == 250 * 12 + 7 &&
               bytes[1] == 251 * 12 + 7 && bytes[2] == 1000 * 12 + 7 + 21,
           "and so they are beside others");
    tac_memtable_free(memtable);
}

static void test_facts(void)
{
    struct tac_memtable       *memtable = tac_memtable_new(TAC_MIB, 2);
    struct tac_memtable_reader reader;
    struct tac_memtable_cursor cursor;
    struct tac_record_view     view;
    struct tac_bytes           edge = text("b");
    uint64_t                   below = 1, records = 1;

    if (memtable == NULL) {
        tap_bail("out of memory");
    }
    tac_memtable_reader_init(&reader, memtable, 0, 1);
    tac_memtable_cursor_seek(&cursor, memtable, 0, edge);
    tac_memtable_below(memtable, 0, &edge, 1, &below, &records);
    tap_ok(!tac_memtable_reader_first(&reader, &view) &&
               !tac_memtable_reader_last(&reader, &view) &&
               !tac_memtable_reader_seek(&reader, edge, &view) &&
               !tac_memtable_reader_seek_back(&reader, edge, &view) &&
               !tac_memtable_get(memtable, 0, edge, 1, &view) &&
               !tac_memtable_cursor_next(&cursor, &view) && below == 0 && records == 0,
           "an empty tree has nothing");

    tac_memtable_put(memtable, 0, 5, text("b"), text("old"), false);
    tac_memtable_put(memtable, 0, 7, text("b"), text("first"), false);
    tac_memtable_put(memtable, 0, 7, text("b"), text("second"), false);
    tac_memtable_put(memtable, 0, 9, text("b"), text(""), true);
    tap_ok(!tac_memtable_get(memtable, 0, text("b"), 4, &view), "before its op a key is not there");
    tap_ok(tac_memtable_get(memtable, 0, text("b"), 6, &view) &&
               tac_bytes_compare(view.record.value, text("old")) == 0,
           "a version is seen until the next one's op");
    tap_ok(tac_memtable_get(memtable, 0, text("b"), 8, &view) &&
               tac_bytes_compare(view.record.value, text("second")) == 0,
           "of two puts of one op the later wins");
    tap_ok(tac_memtable_get(memtable, 0, text("b"), 9, &view) && view.record.is_tombstone &&
               view.record.value.size == 0,
           "a tombstone is found as such");
    tap_ok(!tac_memtable_get(memtable, 1, text("b"), 9, &view), "trees do not mix");
    tap_ok(tac_memtable_accounted(memtable) == 4 * (1 + TACTUS_RECORD_OVERHEAD_BYTES) + 3 + 5 + 6,
           "every version is accounted");
    tap_ok(tac_memtable_fits(memtable, TAC_MIB - tac_memtable_accounted(memtable)) &&
               !tac_memtable_fits(memtable, TAC_MIB - tac_memtable_accounted(memtable) + 1),
           "what fits is known to the byte");

    tac_memtable_reset(memtable);
    tap_ok(!tac_memtable_get(memtable, 0, text("b"), 9, &view) &&
               tac_memtable_accounted(memtable) == 0,
           "a reset table is empty");
    tap_ok(tac_memtable_memory_bytes(64 * TAC_MIB) < 67 * TAC_MIB &&
               tac_memtable_memory_bytes(64 * TAC_MIB) > 64 * TAC_MIB,
           "64 MiB of accounted bytes take less than 67 MiB");
    tac_memtable_free(memtable);
}

/* ---- deleted ranges ------------------------------------------------------------------------- */

#define RANGES 700 /* More than a store has: there is no room for runs of all of them */
#define RANGE_KEYS 200
#define RANGE_QUESTIONS 20

/* What each range by itself says. */
static uint64_t ranges_say(const struct tac_memtable *memtable, uint32_t tree, struct tac_bytes key,
                           uint64_t visible_op)
{
    uint32_t ref = tac_memtable_ranges(memtable, tree);
    uint64_t op = 0;

    while (ref != 0) {
        struct tac_range range = tac_memtable_range(memtable, ref, &ref);

        if (range.op <= visible_op && range.op > op && tac_range_has(&range, key)) {
            op = range.op;
        }
    }
    return op;
}

/* Of keys of two bytes. */
static struct tac_bytes range_key(uint64_t number, uint8_t key[2])
{
    key[0] = (uint8_t)(1 + number / 16);
    key[1] = (uint8_t)(number % 16);
    return (struct tac_bytes){key, 2};
}

static void test_ranges(uint64_t seed, uint32_t trees)
{
    struct tac_prng      prng = {seed};
    struct tac_memtable *memtable = tac_memtable_new(TAC_MIB, trees);
    uint64_t             wrong = 0, deleted = 0;
    uint8_t              key[2], end[2];

    for (uint32_t round = 0; round < 2; round++) {
        for (uint64_t op = 1; op <= RANGES; op++) {
            uint64_t low = tac_prng_below(&prng, RANGE_KEYS);
            uint64_t high = low + 1 + tac_prng_below(&prng, 8);

            tac_memtable_delete_range(memtable, (uint32_t)(op % trees), op, range_key(low, key),
                                      range_key(high, end));
            for (uint32_t i = 0; i < RANGE_QUESTIONS; i++) {
                uint32_t         tree = (uint32_t)tac_prng_below(&prng, trees);
                uint64_t         visible_op = op - tac_prng_below(&prng, i % 2 == 0 ? 1 : op);
                struct tac_bytes asked = range_key(tac_prng_below(&prng, RANGE_KEYS + 8), key);
                uint64_t         found = tac_memtable_range_op(memtable, tree, asked, visible_op);

                wrong += found != ranges_say(memtable, tree, asked, visible_op);
                deleted += found != 0;
            }
        }
        tac_memtable_reset(memtable);
    }
    tap_ok(wrong == 0 && deleted > 0,
           "ranges of %u tree%s: the newest that has a key is found, as of any op", trees,
           trees == 1 ? "" : "s");
    tac_memtable_free(memtable);
}

static void test_hash(void)
{
    const uint8_t   bytes[] = "keyvalue";
    struct tac_u128 hash = tac_record_hash(bytes, 3, 5, false);

    tap_ok(!tac_u128_equal(hash, tac_record_hash(bytes, 4, 4, false)),
           "the hash knows where the key ends");
    tap_ok(!tac_u128_equal(tac_record_hash(bytes, 8, 0, false), tac_record_hash(bytes, 8, 0, true)),
           "the hash knows a tombstone from an empty value");
}

int main(void)
{
    uint64_t seed = tap_seed();

    tap_plan(0);
    model.keys = malloc((size_t)PUTS_MAX * 2 * TACTUS_KEY_SIZE_MAX);
    if (model.keys == NULL) {
        tap_bail("out of memory");
    }
    test_facts();
    test_below_of_one_size();
    test_hash();
    test_ranges(seed, 1);
    test_ranges(seed, 3);
    for (enum shape shape = 0; shape < SHAPE_COUNT_; shape++) {
        test_model(seed, shape);
        test_each_put(seed, shape);
    }
    for (enum order order = 0; order < ORDER_COUNT_; order++) {
        test_brim(order);
    }
    test_brim_large();
    free(model.keys);
    return tap_done();
}
