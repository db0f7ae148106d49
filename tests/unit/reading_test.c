/* SPDX-License-Identifier: Apache-2.0 */
/* Gets and iterators over a store built by hand, against a model: layouts, overlapping runs,
 * trimmed tables, filters in and out of index blocks, caches of any size; spoiled reads, damage,
 * blocks that were given a new life; views that are superseded and expire. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reading/block_read.h"
#include "tests/lib/reading_world.h"
#include "tests/lib/tap.h"

/* ---- against the model ---- */

static bool record_is(const struct world *world, const struct tac_record *record, uint32_t number,
                      uint32_t version)
{
    static uint8_t   key_buffer[TACTUS_KEY_SIZE_MAX], value_buffer[WORLD_VALUE_MAX];
    struct tac_bytes key = world_key(world, number, false, key_buffer);
    struct tac_bytes value = world_value(world, number, version, value_buffer);

    return !record->is_tombstone && tac_bytes_compare(record->key, key) == 0 &&
           tac_bytes_compare(record->value, value) == 0;
}

static int get_into(struct world *world, uint32_t tree, struct tac_bytes key, void *buffer,
                    size_t room, size_t *ret_size, struct tac_error *error)
{
    struct tac_value_sink sink = {.buffer = buffer, .room = room};
    int                   rv = tac_read_side_get(world->side, tree, key, &sink, error);

    if (rv == TACTUS_OK) {
        *ret_size = sink.size;
    }
    return rv;
}

/* The same by way of a value that is not copied at first. */
static int get_pinned_into(struct world *world, uint32_t tree, struct tac_bytes key, void *buffer,
                           size_t room, size_t *ret_size, struct tac_error *error)
{
    struct tac_value_sink sink = {.is_pinning = true};
    int                   rv = tac_read_side_get(world->side, tree, key, &sink, error);

    if (rv == TACTUS_OK) {
        tac_assert(sink.size <= room && (sink.size == 0 || sink.data != NULL));
        if (sink.size > 0) {
            memcpy(buffer, sink.data, sink.size);
        }
        *ret_size = sink.size;
    }
    tac_value_sink_release(&sink);
    return rv;
}

static int get(struct world *world, uint32_t number, bool between, bool *ret_is_right,
               struct tac_error *error)
{
    static uint8_t   key_buffer[TACTUS_KEY_SIZE_MAX], expected_buffer[WORLD_VALUE_MAX];
    static uint8_t   buffer[WORLD_VALUE_MAX];
    struct tac_bytes expected = {0};
    size_t           size = SIZE_MAX;
    uint32_t         version = between ? 0 : world->model[number];
    int              rv;

    rv = (number % 2 == 0 ? get_into : get_pinned_into)(
        world, 0, world_key(world, number, between, key_buffer), buffer, sizeof buffer, &size,
        error);
    if (version > 0) {
        expected = world_value(world, number, version, expected_buffer);
    }
    *ret_is_right = rv == TACTUS_OK ? version > 0 && size == expected.size &&
                                          memcmp(buffer, expected.data, size) == 0
                                    : rv == TACTUS_ENOTFOUND && version == 0 && size == SIZE_MAX;
    return rv;
}

/* Gets every key, and one that is not there behind every third; returns how many were wrong. */
static uint32_t gets_wrong(struct world *world)
{
    uint32_t         wrong = 0;
    struct tac_error error;
    bool             is_right;

    for (uint32_t i = 0; i < world->key_count; i++) {
        (void)get(world, i, false, &is_right, &error);
        wrong += !is_right;
        if (i % 3 == 0) {
            (void)get(world, i, true, &is_right, &error);
            wrong += !is_right;
        }
    }
    return wrong;
}

static struct tac_iterator *iterator_of(struct world *world)
{
    struct tac_iterator *iterator;
    struct tac_error     error;

    if (tac_iterator_open(world->side, 0, &iterator, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return iterator;
}

/* The next number at or behind `number` that the model has; key_count: none. */
static uint32_t model_next(const struct world *world, const uint32_t *model, int64_t number,
                           bool is_backward)
{
    while (number >= 0 && number < world->key_count && model[number] == 0) {
        number += is_backward ? -1 : 1;
    }
    return number < 0 ? world->key_count : (uint32_t)number;
}

/* Whether the iterator's move ended where the model says. */
static bool stands_at(const struct world *world, const struct tac_iterator *iterator, int rv,
                      const uint32_t *model, uint32_t number)
{
    struct tac_record record = *tac_iterator_record(iterator);

    if (number == world->key_count) {
        return rv == TACTUS_ENOTFOUND && record.key.size == 0;
    }
    return rv == TACTUS_OK && record_is(world, &record, number, model[number]);
}

/* A whole walk; moves that fail with `tolerated` are made again. Returns how many were wrong. */
static uint32_t walk_wrong(struct world *world, struct tac_iterator *iterator,
                           const uint32_t *model, bool is_backward, int tolerated)
{
    struct tac_error error;
    uint32_t         wrong = 0, moves = 0;
    uint32_t at = model_next(world, model, is_backward ? world->key_count - 1 : 0, is_backward);
    int      rv;

    do {
        rv = is_backward ? tac_iterator_last(iterator, &error)
                         : tac_iterator_first(iterator, &error);
    } while (rv == tolerated && rv != TACTUS_OK);
    wrong += !stands_at(world, iterator, rv, model, at);
    while (at < world->key_count && wrong == 0 && moves++ < 50 * world->key_count) {
        rv = is_backward ? tac_iterator_previous(iterator, &error)
                         : tac_iterator_next(iterator, &error);
        if (rv == tolerated && rv != TACTUS_OK) {
            wrong += !stands_at(world, iterator, TACTUS_OK, model, at);
            continue;
        }
        at = model_next(world, model, (int64_t)at + (is_backward ? -1 : 1), is_backward);
        wrong += !stands_at(world, iterator, rv, model, at);
    }
    return wrong + (at < world->key_count);
}

/* Random moves of all kinds. */
static uint32_t moves_wrong(struct world *world, struct tac_iterator *iterator,
                            const uint32_t *model, uint32_t turns)
{
    uint8_t          key_buffer[TACTUS_KEY_SIZE_MAX];
    struct tac_error error;
    uint32_t         wrong = 0, none = world->key_count;
    uint32_t         at = model_next(world, model, 0, false);
    int              rv = tac_iterator_first(iterator, &error);

    wrong += !stands_at(world, iterator, rv, model, at);
    for (uint32_t i = 0; i < turns && wrong == 0; i++) {
        uint32_t         kind = (uint32_t)tac_prng_below(&world->prng, 12);
        uint32_t         number = (uint32_t)tac_prng_below(&world->prng, world->key_count);
        bool             between = tac_prng_below(&world->prng, 2) == 0;
        struct tac_bytes key = world_key(world, number, between, key_buffer);

        if (kind == 0) {
            at = model_next(world, model, number + between, false);
            rv = tac_iterator_seek(iterator, key, &error);
        } else if (kind == 1) {
            at = model_next(world, model, number, true);
            rv = tac_iterator_seek_back(iterator, key, &error);
        } else if (kind == 2 && at < none) { /* A seek with the record's own key */
            rv = between
                     ? tac_iterator_seek(iterator, tac_iterator_record(iterator)->key, &error)
                     : tac_iterator_seek_back(iterator, tac_iterator_record(iterator)->key, &error);
        } else if (kind % 2 == 0 || kind > 9) {
            at = at == none ? none : model_next(world, model, (int64_t)at + 1, false);
            rv = tac_iterator_next(iterator, &error);
        } else {
            at = at == none ? none : model_next(world, model, (int64_t)at - 1, true);
            rv = tac_iterator_previous(iterator, &error);
        }
        wrong += !stands_at(world, iterator, rv, model, at);
    }
    return wrong;
}

static void test_model(uint32_t configuration, uint64_t seed)
{
    struct world        *world = world_configured(configuration, seed);
    struct tac_iterator *iterator;

    world_fill(world);
    iterator = iterator_of(world);
    tap_ok(gets_wrong(world) == 0, "store %u: gets give the newest versions", configuration);
    tap_ok(gets_wrong(world) == 0, "store %u: and again, from the caches", configuration);
    tap_ok(walk_wrong(world, iterator, world->model, false, TACTUS_OK) == 0,
           "store %u: a walk forward gives every record once", configuration);
    tap_ok(walk_wrong(world, iterator, world->model, true, TACTUS_OK) == 0,
           "store %u: a walk backward too", configuration);
    tap_ok(moves_wrong(world, iterator, world->model, 4000) == 0,
           "store %u: seeks and turns end where they should", configuration);
    tac_iterator_close(iterator);
    tap_ok(world->side->retries == 0, "store %u: no get was made again", configuration);
    world_free(world);
}

/* Reads of the storage that a walk takes. */
static uint64_t walk_reads(struct world *world, struct tac_iterator *iterator, bool is_backward)
{
    uint64_t reads = world->storage.reads;

    if (walk_wrong(world, iterator, world->model, is_backward, TACTUS_OK) != 0) {
        tap_bail("a walk is wrong");
    }
    return world->storage.reads - reads;
}

/* ---- bounds ---- */

/* A bound in front of the number's key, or behind it; or none. Returns the first number behind it. */
static uint32_t bound_draw(struct world *world, uint8_t *buffer, uint32_t number_if_none,
                           struct tac_bytes *ret_bound)
{
    uint32_t number = (uint32_t)tac_prng_below(&world->prng, world->key_count);
    bool     between = tac_prng_below(&world->prng, 2) == 0;

    if (tac_prng_below(&world->prng, 4) == 0) {
        *ret_bound = (struct tac_bytes){0};
        return number_if_none;
    }
    *ret_bound = world_key(world, number, between, buffer);
    return number + between;
}

/* The model as an iterator with bounds is to see it. To be freed. */
static uint32_t *model_within(const struct world *world, uint32_t begin, uint32_t end)
{
    uint32_t *model = calloc(world->key_count, sizeof *model);

    if (begin < end) {
        memcpy(model + begin, world->model + begin, (end - begin) * sizeof *model);
    }
    return model;
}

static uint32_t bounds_wrong(struct world *world, struct tac_iterator *iterator)
{
    uint8_t          low_buffer[TACTUS_KEY_SIZE_MAX], high_buffer[TACTUS_KEY_SIZE_MAX];
    struct tac_bytes low, high;
    struct tac_error error;
    uint32_t         begin = bound_draw(world, low_buffer, 0, &low);
    uint32_t         end = bound_draw(world, high_buffer, world->key_count, &high);
    uint32_t        *model = model_within(world, begin, end);
    uint32_t         wrong = 0;

    wrong += tac_iterator_bound(iterator, low, high, &error) != TACTUS_OK;
    wrong += tac_iterator_record(iterator)->key.size != 0;
    wrong += tac_iterator_next(iterator, &error) != TACTUS_ENOTFOUND;
    wrong += walk_wrong(world, iterator, model, false, TACTUS_OK);
    wrong += walk_wrong(world, iterator, model, true, TACTUS_OK);
    wrong += moves_wrong(world, iterator, model, 200);
    free(model);
    return wrong;
}

static void test_bounds(uint32_t configuration, uint64_t seed)
{
    struct world        *world = world_configured(configuration, seed);
    struct tac_iterator *iterator;
    uint32_t             wrong = 0;

    world_fill(world);
    iterator = iterator_of(world);
    for (uint32_t i = 0; i < 20; i++) {
        wrong += bounds_wrong(world, iterator);
    }
    tap_ok(wrong == 0, "store %u: with bounds an iterator has what lies between them",
           configuration);
    tac_iterator_close(iterator);
    world_free(world);
}

/* Bounds around a few keys keep a walk from reading the tables behind them. */
static void test_bounds_reads(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    struct tac_iterator *iterator;
    uint8_t              low_buffer[TACTUS_KEY_SIZE_MAX], high_buffer[TACTUS_KEY_SIZE_MAX];
    uint32_t             begin = world->key_count / 2, end = begin + 10;
    struct tac_bytes     low = world_key(world, begin, false, low_buffer);
    struct tac_bytes     high = world_key(world, end, false, high_buffer);
    uint32_t            *model;
    struct tac_error     error;
    uint64_t             unbounded, reads;

    world_fill(world);
    world_remove_tables(world);
    world_add_model(world, 2);
    world_publish(world);
    world_caches(world, 0, 0);
    iterator = iterator_of(world);
    unbounded = walk_reads(world, iterator, false);
    model = model_within(world, begin, end);
    for (uint32_t i = 0; i < 2; i++) {
        bool is_right = tac_iterator_bound(iterator, low, high, &error) == TACTUS_OK;

        reads = world->storage.reads;
        is_right = is_right && walk_wrong(world, iterator, model, i == 1, TACTUS_OK) == 0;
        reads = world->storage.reads - reads;
        /* Of two tables at most: an index block, and two reads. */
        tap_ok(is_right && reads > 0 && reads <= 6 && reads * 4 < unbounded,
               "a walk %s between bounds reads what lies there: %llu of %llu reads",
               i == 0 ? "forward" : "backward", (unsigned long long)reads,
               (unsigned long long)unbounded);
    }
    free(model);
    tac_iterator_close(iterator);
    world_free(world);
}

static void test_answers(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    uint8_t              key_buffer[TACTUS_KEY_SIZE_MAX], buffer[24], expected[WORLD_VALUE_MAX];
    struct tac_bytes     key = world_key(world, 7, false, key_buffer);
    struct tac_iterator *iterator;
    struct tac_error     error;
    size_t               size = 99;

    world_publish(world);
    iterator = iterator_of(world);
    tap_ok(get_into(world, 0, key, NULL, 0, &size, &error) == TACTUS_ENOTFOUND &&
               tac_iterator_first(iterator, &error) == TACTUS_ENOTFOUND &&
               tac_iterator_last(iterator, &error) == TACTUS_ENOTFOUND,
           "before the first op there is nothing");
    tac_iterator_close(iterator);
    world_put(world, 7, false);
    memset(buffer, 0xaa, sizeof buffer);
    world_value(world, 7, world->model[7], expected);
    tap_ok(get_into(world, 0, key, buffer, 5, &size, &error) == TACTUS_OK && size == 24 &&
               memcmp(buffer, expected, 5) == 0 && buffer[5] == 0xaa,
           "a small buffer gets the value's beginning and its whole size");
    tap_ok(get_into(world, 0, key, NULL, 0, &size, &error) == TACTUS_OK && size == 24,
           "no buffer is enough to ask for the size");
    size = 99;
    error = (struct tac_error){0};
    tap_ok(get_into(world, 1, key, buffer, 24, &size, &error) == TACTUS_ENOTFOUND && size == 99 &&
               error.code == TACTUS_OK,
           "what is not found has no text and changes nothing");
    tap_ok(get_into(world, 2, key, buffer, 24, &size, &error) == TACTUS_ENOTREE,
           "a tree that is not there is an error");
    key.size = 17;
    tap_ok(get_into(world, 0, key, buffer, 24, &size, &error) == TACTUS_EKEYSIZE,
           "a key too long for the tree is an error");
    world_free(world);
}

static void test_iterator_answers(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    uint8_t              key_buffer[TACTUS_KEY_SIZE_MAX];
    struct tac_bytes     key = world_key(world, 7, false, key_buffer);
    struct tac_iterator *iterator;
    struct tac_error     error;

    world_publish(world);
    world_put(world, 7, false);
    tap_ok(tac_iterator_open(world->side, 2, &iterator, &error) == TACTUS_ENOTREE,
           "so is an iterator in a tree that is not there");
    iterator = iterator_of(world);
    tap_ok(tac_iterator_next(iterator, &error) == TACTUS_ENOTFOUND &&
               tac_iterator_previous(iterator, &error) == TACTUS_ENOTFOUND &&
               tac_iterator_record(iterator)->key.size == 0,
           "an iterator that stands nowhere stays there");
    key.size = 3;
    tap_ok(tac_iterator_seek(iterator, key, &error) == TACTUS_OK &&
               tac_iterator_record(iterator)->key.size == 16,
           "a prefix is enough for a seek");
    key.size = 0;
    tap_ok(tac_iterator_seek(iterator, key, &error) == TACTUS_OK, "so is nothing");
    tap_ok(tac_iterator_seek_back(iterator, key, &error) == TACTUS_ENOTFOUND &&
               tac_iterator_record(iterator)->key.size == 0,
           "nothing is at or before the empty key");
    key.size = TACTUS_KEY_SIZE_MAX + 1;
    tap_ok(tac_iterator_seek(iterator, key, &error) == TACTUS_EKEYSIZE, "a seek has its limit");
    tac_iterator_close(iterator);
    world_free(world);
}

/* ---- spoiled reads and damage ---- */

static void test_spoiled_reads(uint32_t configuration, uint64_t seed)
{
    struct world        *world = world_configured(configuration, seed);
    struct tac_iterator *iterator;
    struct tac_error     error;
    uint32_t             wrong = 0, failed = 0;
    bool                 is_right;

    world_fill(world);
    world_caches(world, 4096, 0);
    iterator = iterator_of(world);
    world->storage.flip_every = 2; /* The second look is always right. */
    tap_ok(gets_wrong(world) == 0, "store %u: a byte read wrong is read again", configuration);
    tap_ok(walk_wrong(world, iterator, world->model, false, TACTUS_OK) == 0 &&
               walk_wrong(world, iterator, world->model, true, TACTUS_OK) == 0,
           "store %u: in walks as well", configuration);
    world->storage.flip_every = 0;
    world->storage.fail_every = 2;
    tap_ok(gets_wrong(world) == 0 &&
               walk_wrong(world, iterator, world->model, false, TACTUS_OK) == 0,
           "store %u: a read that fails once is made again", configuration);
    world->storage.fail_every = 7;
    world->storage.fails_again = true;
    for (uint32_t i = 0; i < world->key_count; i++) {
        int rv = get(world, i, false, &is_right, &error);

        failed += rv == TACTUS_EIO;
        wrong += rv != TACTUS_EIO && !is_right;
    }
    tap_ok(failed > 0 && wrong == 0, "store %u: a failed read is an error, never a wrong answer",
           configuration);
    /* A walk that goes on from a record needs a read of each run at least. */
    world->storage.fail_every = 50;
    world_caches(world, TAC_MIB, 8 * TAC_MIB);
    tac_iterator_close(iterator);
    iterator = iterator_of(world);
    tap_ok(walk_wrong(world, iterator, world->model, false, TACTUS_EIO) == 0 &&
               walk_wrong(world, iterator, world->model, true, TACTUS_EIO) == 0,
           "store %u: a failed move keeps the record, and the next one goes on from it",
           configuration);
    tac_iterator_close(iterator);
    world_free(world);
}

/* A file may say two things of one page; what was checked as one is not taken for the other. */
static void test_two_references(uint64_t seed)
{
    struct world           *world = world_configured(0, seed);
    struct tac_read_counts  counts = {0};
    struct tac_cache_frame *frame;
    struct tac_page_entry   entry;
    struct tac_error        error;
    struct tac_page         page;
    uint64_t                address;
    const struct tac_table *table;

    world_fill(world);
    table = tac_manifest_tree(world->manifest, 0)->levels[2].tables[0];
    if (tac_read_side_index(world->side, &table->index, &frame, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    entry = tac_index_page(frame->extra, 0);
    address = tac_index_value_block(frame->extra, 0).reference.address;
    tac_cache_unpin(frame);
    for (uint32_t i = 0; i < 2; i++) {
        bool is_read = tac_page_read(world->side, address, &entry, 0, &world->layout, &counts,
                                     &frame, &page, &error) == TACTUS_OK;

        tap_ok(is_read && counts.hits == i && counts.misses == 1, "a page is read from the %s",
               i == 0 ? "device" : "cache");
        tac_cache_unpin(frame);
    }
    entry.record_count += 100;
    tap_ok(tac_page_read(world->side, address, &entry, 0, &world->layout, &counts, &frame, &page,
                         &error) == TACTUS_ECORRUPT,
           "not when its reference gives it more records than it has room for");
    world_free(world);
}

static uint64_t get_reads(struct world *world)
{
    uint64_t reads = world->storage.reads;

    if (gets_wrong(world) != 0) {
        tap_bail("a get is wrong");
    }
    return world->storage.reads - reads;
}

static void test_walk_caches(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    struct tac_iterator *iterator;
    uint64_t             first, second;

    world_fill(world);
    world_caches(world, 64 * TAC_MIB, 64 * TAC_MIB);
    iterator = iterator_of(world);
    first = walk_reads(world, iterator, false);
    second = walk_reads(world, iterator, false);
    tap_ok(first > 0 && second == 0, "what a walk has read the next one finds in the cache (%llu)",
           (unsigned long long)first);
    tap_ok(walk_reads(world, iterator, true) == 0 && get_reads(world) == 0,
           "a walk backward and gets do too");
    tac_iterator_close(iterator);
    world_free(world);
}

/* A get that has to read a page, after the walk has left the cache as it is. */
static uint32_t number_on_a_page(struct world *world)
{
    struct tac_error error;
    bool             is_right;

    for (uint32_t i = 0; i < world->key_count; i++) {
        uint64_t reads = world->storage.reads;

        (void)get(world, i, false, &is_right, &error);
        if (world->storage.reads > reads) {
            return i;
        }
    }
    tap_bail("no get reads a page");
}

static void test_walk_evicts_nothing(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    struct tac_iterator *iterator;
    struct tac_error     error;
    uint64_t             reads;
    uint32_t             number;
    bool                 is_right;

    world_fill(world);
    world_remove_tables(world);
    world_add_model(world, 2); /* One run: a walk through it is a long one. */
    world_publish(world);
    world_caches(world, 64 * (uint64_t)world->geometry.page_size, 64 * TAC_MIB);
    iterator = iterator_of(world);
    (void)walk_reads(world, iterator, false);
    number = number_on_a_page(world);
    (void)get(world, number, false, &is_right, &error);
    (void)walk_reads(world, iterator, false);
    reads = world->storage.reads;
    (void)get(world, number, false, &is_right, &error);
    tap_ok(world->storage.reads == reads, "a walk leaves what gets have read twice in the cache");
    tac_iterator_close(iterator);
    world_free(world);
}

/* Seeks anywhere, and short walks from there that come to next pages, of which some are in the cache
 * and some are not. A page that a walk has asked for is not taken for one of another table. */
static void test_next_page(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    struct tac_iterator *iterator;
    uint32_t             wrong = 0;
    uint64_t             reads;

    world_fill(world);
    world_remove_tables(world);
    world_add_model(world, 2);
    world_publish(world);
    world_caches(world, 64 * (uint64_t)world->geometry.page_size, 64 * TAC_MIB);
    iterator = iterator_of(world);
    reads = world->storage.reads;
    for (uint32_t i = 0; i < 4000 && wrong == 0; i++) {
        uint8_t          key_buffer[TACTUS_KEY_SIZE_MAX];
        struct tac_error error;
        uint32_t         steps = (uint32_t)tac_prng_below(&world->prng, 20);
        uint32_t         number = (uint32_t)tac_prng_below(&world->prng, world->key_count);
        bool             is_backward = tac_prng_below(&world->prng, 2) == 0;
        uint32_t         at = model_next(world, world->model, number, is_backward);
        struct tac_bytes key = world_key(world, number, false, key_buffer);
        int              rv = is_backward ? tac_iterator_seek_back(iterator, key, &error)
                                          : tac_iterator_seek(iterator, key, &error);

        wrong += !stands_at(world, iterator, rv, world->model, at);
        while (steps-- > 0 && at < world->key_count) {
            at = model_next(world, world->model, (int64_t)at + (is_backward ? -1 : 1), is_backward);
            rv = is_backward ? tac_iterator_previous(iterator, &error)
                             : tac_iterator_next(iterator, &error);
            wrong += !stands_at(world, iterator, rv, world->model, at);
        }
    }
    reads = world->storage.reads - reads;
    tap_ok(wrong == 0 && reads > 400 && reads < 4000,
           "seeks and short walks come to the pages of their tables (%llu reads)",
           (unsigned long long)reads);
    tac_iterator_close(iterator);
    world_free(world);
}

/* Steps of a walk from the first record on that are wrong; damage may end it. */
static uint32_t damaged_walk_wrong(struct world *world)
{
    struct tac_iterator *iterator = iterator_of(world);
    struct tac_error     error = {0};
    uint32_t             at = model_next(world, world->model, 0, false), wrong = 0;
    int                  rv;

    for (rv = tac_iterator_first(iterator, &error); rv == TACTUS_OK;
         rv = tac_iterator_next(iterator, &error)) {
        wrong += !stands_at(world, iterator, rv, world->model, at);
        at = model_next(world, world->model, (int64_t)at + 1, false);
    }
    wrong += rv != TACTUS_ECORRUPT && at < world->key_count;
    tac_iterator_close(iterator);
    return wrong;
}

/* Damages every kind of block in turn: answers are right or an error that names the place. */
static void test_damage(uint32_t configuration, uint64_t seed)
{
    struct world  *world = world_configured(configuration, seed);
    uint64_t       block_size = world->geometry.block_size;
    uint32_t       kinds[8] = {0}, wrong = 0, named = 0, failed = 0, walks_wrong = 0;
    const uint8_t *disk;
    uint64_t       disk_size;

    world_fill(world);
    disk = tac_memory_disk_data(world->disk, &disk_size);
    for (uint64_t address = 1; address < world->address_end; address++) {
        uint8_t          kind = disk[address * block_size + TAC_BLOCK_OFFSET_KIND];
        uint64_t         offset = address * block_size + tac_prng_below(&world->prng, block_size);
        struct tac_error error = {0};

        if (kind >= 8 || kinds[kind]++ >= 3) {
            continue;
        }
        world_flip(world, offset);
        world_caches(world, 100000, 200000);
        for (uint32_t i = 0; i < world->key_count; i += 3) {
            bool is_right;
            int  rv = get(world, i, false, &is_right, &error);

            wrong += rv != TACTUS_ECORRUPT && !is_right;
            failed += rv == TACTUS_ECORRUPT;
            named += rv == TACTUS_ECORRUPT && strstr(error.message, "tree birds, level ") != NULL &&
                     strstr(error.message, ", table ") != NULL &&
                     strstr(error.message, "block ") != NULL;
        }
        walks_wrong += damaged_walk_wrong(world);
        world_flip(world, offset);
    }
    tap_ok(kinds[TAC_BLOCK_VALUE] > 0 && kinds[TAC_BLOCK_INDEX] > 0 && failed > 0,
           "store %u: %u gets met damage", configuration, failed);
    tap_ok(wrong == 0, "store %u: damage never gives a wrong answer", configuration);
    tap_ok(named == failed, "store %u: the text names tree, level, table and block", configuration);
    tap_ok(walks_wrong == 0, "store %u: a walk is right as far as it goes", configuration);
    tap_ok(gets_wrong(world) == 0, "store %u: mended, it is all right again", configuration);
    if (configuration == 1) {
        tap_ok(kinds[TAC_BLOCK_FILTER] > 0, "store 1: filter blocks were among it");
    }
    world_free(world);
}

/* ---- views ---- */

/* While a block is being read: it gets a new life. All tables are written anew elsewhere, and the
 * old blocks overwritten, as a writer may two bars later. */
static void blocks_reuse(void *context, uint64_t offset)
{
    struct world *world = context;
    uint64_t      end = world->address_end;

    tac_maybe(offset > 0);
    world_remove_tables(world);
    world_add_model(world, 2);
    world_publish(world);
    world_publish(world);
    for (uint64_t i = 1; i < end; i++) {
        world_flip(world, i * world->geometry.block_size + 600);
        world_flip(world, i * world->geometry.block_size + 2000);
        world_flip(world, i * world->geometry.block_size + 3000);
    }
}

static void test_reuse(uint64_t seed)
{
    struct world        *world = world_configured(0, seed);
    struct tac_iterator *iterator;
    struct tac_error     error;
    struct tac_record    record;
    bool                 is_right;
    uint32_t             at;
    int                  rv;

    world_fill(world);
    world_caches(world, 0, 0);
    world->storage.context = world;
    world->storage.before_read = blocks_reuse;
    do { /* Some keys are in a memtable. */
        at = (uint32_t)tac_prng_below(&world->prng, world->key_count);
        (void)get(world, at, false, &is_right, &error);
    } while (is_right && world->storage.before_read != NULL);
    tap_ok(is_right && world->side->retries == 1,
           "a get whose blocks are given a new life starts again and finds its key");
    tap_ok(gets_wrong(world) == 0 && world->side->retries == 1, "later ones need not");

    iterator = iterator_of(world);
    rv = tac_iterator_first(iterator, &error);
    at = model_next(world, world->model, 0, false);
    world->storage.before_read = blocks_reuse;
    while (rv == TACTUS_OK && stands_at(world, iterator, rv, world->model, at)) {
        rv = tac_iterator_next(iterator, &error);
        if (rv == TACTUS_OK) {
            at = model_next(world, world->model, (int64_t)at + 1, false);
        }
    }
    record = *tac_iterator_record(iterator);
    tap_ok(rv == TACTUS_EEXPIRED && record_is(world, &record, at, world->model[at]),
           "an iterator whose blocks are given a new life expires, and keeps its record");
    tap_ok(tac_iterator_next(iterator, &error) == TACTUS_EEXPIRED &&
               tac_iterator_first(iterator, &error) == TACTUS_EEXPIRED,
           "it stays expired");
    tac_iterator_close(iterator);
    world_free(world);
}

/* An iterator sees the op of its opening through a whole bar, whatever is written meanwhile. */
static void test_snapshot(uint32_t configuration, uint64_t seed)
{
    struct world        *world = world_configured(configuration, seed);
    struct tac_iterator *iterator;
    struct tac_error     error;
    struct tac_record    record;
    uint32_t            *model, at;
    uint32_t             n = world->key_count;
    int                  rv;

    world_fill(world);
    model = malloc(n * sizeof *model);
    memcpy(model, world->model, n * sizeof *model);
    iterator = iterator_of(world);
    world_put_random(world, n / 5, 40);
    tap_ok(walk_wrong(world, iterator, model, false, TACTUS_OK) == 0 &&
               walk_wrong(world, iterator, model, true, TACTUS_OK) == 0 &&
               moves_wrong(world, iterator, model, 1000) == 0,
           "store %u: an iterator does not see later ops", configuration);
    tap_ok(gets_wrong(world) == 0, "store %u: gets do", configuration);
    world_swap(world);
    world_put_random(world, n / 5, 40);
    world_publish(world);
    tap_ok(moves_wrong(world, iterator, model, 2000) == 0 &&
               walk_wrong(world, iterator, model, false, TACTUS_OK) == 0,
           "store %u: nor those of the bar after its own", configuration);
    rv = tac_iterator_seek(iterator, (struct tac_bytes){(const uint8_t *)"", 0}, &error);
    at = model_next(world, model, 0, false);
    world_swap(world);
    world_publish(world);
    while (rv == TACTUS_OK && stands_at(world, iterator, rv, model, at)) {
        rv = tac_iterator_next(iterator, &error);
        at = rv == TACTUS_OK ? model_next(world, model, (int64_t)at + 1, false) : at;
    }
    record = *tac_iterator_record(iterator);
    tap_ok(rv == TACTUS_EEXPIRED && record_is(world, &record, at, model[at]),
           "store %u: two bars later it expires on a record", configuration);
    tac_iterator_close(iterator);
    free(model);
    world_free(world);
}

static void test_guard(uint64_t seed)
{
    struct world          *world = world_configured(0, seed);
    struct tac_read_side  *side = world->side;
    struct tac_read_ticket before, between, after;

    world_publish(world);
    tap_ok(tac_read_side_quiesced(side), "with no readers a view is quiesced at once");
    before = tac_read_side_enter(side);
    world_publish(world);
    between = tac_read_side_enter(side);
    tap_ok(!tac_read_side_quiesced(side), "not while a reader is inside from before the publish");
    after = tac_read_side_enter(side);
    tac_read_side_leave(side, before);
    tap_ok(!tac_read_side_quiesced(side), "nor while one shares its epoch");
    tac_read_side_leave(side, between);
    tap_ok(tac_read_side_quiesced(side) == (after.parity != between.parity),
           "readers of a later epoch do not hold it up");
    /* A reader that is inside with the second view when the third is published. */
    world_publish(world);
    tap_ok(!tac_read_side_quiesced(side) && !tac_read_side_quiesced(side),
           "each publish waits for its own readers");
    tac_read_side_leave(side, after);
    tap_ok(tac_read_side_quiesced(side) && tac_read_side_quiesced(side),
           "and is over when they left");

    /* A reader that read the parity before two turns of the epoch and enters only now. */
    before = tac_read_side_enter(side);
    tac_read_side_leave(side, before);
    world_publish(world);
    tap_ok(tac_read_side_quiesced(side), "a publish is over");
    side->stripes[before.stripe].active[before.parity ^ 1]++;
    world_publish(world);
    tap_ok(!tac_read_side_quiesced(side), "a reader under either parity is waited for");
    side->stripes[before.stripe].active[before.parity ^ 1]--;
    side->stripes[before.stripe].active[before.parity]++;
    world_publish(world);
    tap_ok(!tac_read_side_quiesced(side), "the other one too");
    side->stripes[before.stripe].active[before.parity]--;
    tap_ok(tac_read_side_quiesced(side), "until it leaves");
    world_free(world);
}

/* Views may expire before the next one is published: what they refer to is needed for it. */
static void test_expire(uint64_t seed)
{
    struct world          *world = world_configured(0, seed);
    struct tac_read_side  *side = world->side;
    struct tac_iterator   *iterator;
    struct tac_read_ticket ticket;
    struct tac_error       error;

    world_fill(world);
    iterator = iterator_of(world);
    world_publish(world);
    tap_ok(tac_read_side_quiesced(side) && tac_iterator_first(iterator, &error) == TACTUS_OK,
           "an iterator of the bar before is good");
    ticket = tac_read_side_enter(side);
    tac_read_side_expire(side, world->bar + 1);
    tap_ok(!tac_read_side_quiesced(side), "whoever is inside when views expire is waited for");
    tac_read_side_leave(side, ticket);
    tap_ok(tac_read_side_quiesced(side), "until it leaves");
    tap_ok(tac_iterator_first(iterator, &error) == TACTUS_EEXPIRED, "the iterator has expired");
    tac_iterator_close(iterator);
    iterator = iterator_of(world);
    tap_ok(gets_wrong(world) == 0 &&
               walk_wrong(world, iterator, world->model, false, TACTUS_OK) == 0,
           "the newest view is as good as ever");
    tac_iterator_close(iterator);
    world_publish(world);
    world_free(world);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    for (uint32_t i = 0; i < WORLD_CONFIGURATIONS; i++) {
        test_model(i, seed);
    }
    for (uint32_t i = 0; i < WORLD_CONFIGURATIONS; i++) {
        test_bounds(i, seed);
    }
    test_bounds_reads(seed);
    test_answers(seed);
    test_iterator_answers(seed);
    for (uint32_t i = 0; i < WORLD_CONFIGURATIONS; i++) {
        test_spoiled_reads(i, seed);
        test_damage(i, seed);
        test_snapshot(i, seed);
    }
    test_two_references(seed);
    test_walk_caches(seed);
    test_walk_evicts_nothing(seed);
    test_next_page(seed);
    test_reuse(seed);
    test_guard(seed);
    test_expire(seed);
    return tap_done();
}
