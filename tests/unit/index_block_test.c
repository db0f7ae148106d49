/* SPDX-License-Identifier: Apache-2.0 */
/* Index blocks: separators are right and as short as can be, searches agree with linear ones, and
 * damaged blocks are refused or harmless. What tables say of their blocks is checked in
 * table_builder_test. */
#include "lsm/index_block.h"

#include "tests/lib/table_fixture.h"

#define ROUNDS 60
#define RECORDS_MAX 1500
#define DAMAGES 150

struct scene {
    const struct tac_geometry *geometry;
    struct tac_layout          layout;
    struct fixture_record     *records;
    uint32_t                   count;
    struct fixture_store      *store;
};

static struct tac_error error;

static void scene_make(struct scene *scene, struct tac_prng *prng)
{
    struct tac_cut                   cut = {.limit_bytes = UINT64_MAX};
    struct tac_table_builder_options options = {
        .tree = 1,
        .sequence = 1,
        .filter_bits_per_key = tac_prng_below(prng, 2) == 0 ? 0 : 10,
        .table_bytes_min = 1,
        .cuts = &cut,
        .cut_count = 1,
    };
    struct tac_table_builder *builder;
    struct tac_builder_sink   sink;

    scene->geometry =
        &fixture_geometries[tac_prng_below(prng, TAC_ARRAY_COUNT(fixture_geometries))];
    scene->layout = fixture_layout(prng, scene->geometry);
    scene->count = fixture_between(prng, 1, RECORDS_MAX);
    scene->count = scene->layout.value_size > 4096 ? 1 + scene->count / 20 : scene->count;
    scene->records = fixture_make_records(prng, &scene->layout, (uint32_t)tac_prng_below(prng, 4),
                                          10, &scene->count);
    scene->store = fixture_store_new(scene->geometry);
    sink = fixture_sink(scene->store);
    options.geometry = scene->geometry;
    options.layout = scene->layout;
    builder = tac_table_builder_new(scene->geometry, 100000);
    tac_table_builder_begin(builder, &options, &sink);
    for (uint32_t i = 0; i < scene->count; i++) {
        struct tac_record record = fixture_view(&scene->records[i]);

        tac_table_builder_append(builder, &record, fixture_hash(&scene->records[i]));
    }
    tac_table_builder_finish(builder);
    tac_table_builder_free(builder);
}

static void scene_free(struct scene *scene)
{
    fixture_free_records(scene->records, scene->count);
    fixture_store_free(scene->store);
}

/* Above the last key of the page before, not above this page's first, and one byte less would not
 * do: the shorter string is not above that last key. */
static bool separator_is_shortest(struct tac_bytes separator, struct tac_bytes last,
                                  struct tac_bytes first)
{
    struct tac_bytes shorter = {separator.data, separator.size - 1};

    return tac_bytes_compare(last, separator) < 0 && tac_bytes_compare(separator, first) <= 0 &&
           tac_bytes_compare(last, shorter) >= 0;
}

/* All pages of a table: records[first] is the table's first record. Returns the next table's. */
static uint32_t separators_check(const struct tac_index_block *index, const struct scene *scene,
                                 uint32_t first, bool *right)
{
    for (uint32_t i = 0; i < index->page_count; i++) {
        struct tac_bytes separator = tac_index_separator(index, i);

        if (i == 0) {
            *right = *right && separator.size == 0;
        } else {
            *right =
                *right && separator_is_shortest(separator, fixture_key(&scene->records[first - 1]),
                                                fixture_key(&scene->records[first]));
        }
        first += tac_index_page(index, i).record_count;
    }
    return first;
}

static uint32_t find_page_linear(const struct tac_index_block *index, struct tac_bytes key)
{
    uint32_t page = 0;

    while (page + 1 < index->page_count &&
           tac_bytes_compare(tac_index_separator(index, page + 1), key) <= 0) {
        page++;
    }
    return page;
}

/* Separators themselves, their neighbours, strangers. */
static bool searches_agree(struct tac_prng *prng, const struct scene *scene,
                           const struct tac_index_block *index)
{
    for (uint32_t round = 0; round < 60; round++) {
        uint8_t          key[TACTUS_KEY_SIZE_MAX + 1];
        struct tac_bytes wanted = {.data = key};
        struct tac_bytes near =
            tac_index_separator(index, (uint32_t)tac_prng_below(prng, index->page_count));

        memcpy(key, near.data, near.size);
        wanted.size = near.size;
        if (round % 4 == 0) {
            key[wanted.size++] = (uint8_t)(round & 4);
        } else if (round % 4 == 1 && wanted.size > 1) {
            wanted.size--;
        } else if (round % 4 == 2 || wanted.size == 0) {
            wanted.size = fixture_make_key(prng, &scene->layout, (uint32_t)tac_prng_below(prng, 4),
                                           round, key);
        }
        if (tac_index_find_page(index, wanted) != find_page_linear(index, wanted)) {
            tap_diag("find_page says %u, a linear search %u", tac_index_find_page(index, wanted),
                     find_page_linear(index, wanted));
            return false;
        }
    }
    return true;
}

/* What is only a guess must be a record of the page. */
static bool guesses_fit(struct tac_prng *prng, const struct scene *scene,
                        const struct tac_index_block *index)
{
    for (uint32_t round = 0; round < 60; round++) {
        uint8_t          bytes[TACTUS_KEY_SIZE_MAX + 1];
        struct tac_bytes key = {bytes, 0};
        uint32_t         page = (uint32_t)tac_prng_below(prng, index->page_count);
        uint32_t         block = tac_index_block_of_page(index, page);

        key.size =
            fixture_make_key(prng, &scene->layout, (uint32_t)tac_prng_below(prng, 4), round, bytes);
        tac_index_prefetch_ends(index);
        tac_index_prefetch_guess(index, key);
        if (tac_index_guess_record(index, page, key) >= tac_index_page(index, page).record_count ||
            tac_index_block_address(index, block) !=
                tac_index_value_block(index, block).reference.address) {
            return false;
        }
    }
    return true;
}

static void test_lookups(struct tac_prng *prng)
{
    bool separators = true, searches = true, guesses = true;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct scene scene;
        uint32_t     first = 0;

        scene_make(&scene, prng);
        for (uint32_t i = 0; i < scene.store->table_count; i++) {
            struct tac_index_block index = fixture_index(scene.store, &scene.store->tables[i]);

            first = separators_check(&index, &scene, first, &separators);
            searches = searches_agree(prng, &scene, &index) && searches;
            guesses = guesses_fit(prng, &scene, &index) && guesses;
        }
        scene_free(&scene);
    }
    tap_ok(separators, "separators part the pages and are as short as can be");
    tap_ok(searches, "find_page agrees with a linear search");
    tap_ok(guesses, "a guess is a record of the page, whatever the key");
}

/* Reads whatever a decoder let pass. */
static uint64_t index_read_all(struct tac_prng *prng, const struct scene *scene,
                               const struct tac_index_block *index)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < index->page_count; i++) {
        struct tac_bytes separator = tac_index_separator(index, i);

        total += separator.size > 0 ? separator.data[separator.size - 1] : 0;
        total += tac_index_page(index, i).unit_first;
        total += tac_index_value_block(index, tac_index_block_of_page(index, i)).page_first;
    }
    for (uint32_t i = 0; i < index->filter_block_count; i++) {
        total += tac_index_filter_block(index, i).address;
    }
    for (uint32_t i = 0; index->filter != NULL && i < 20; i++) {
        uint32_t hash = (uint32_t)tac_prng_next(prng);

        total += tac_filter_line_may_contain(
            index->filter + tac_filter_line(hash, index->filter_bytes) * TAC_FILTER_LINE_BYTES,
            hash, index->filter_bits_per_key);
    }
    if (!searches_agree(prng, scene, index)) {
        tap_bail("a search goes wrong in an index that was checked");
    }
    return total;
}

/* Flips one to three bits, most often where the block's shape is told; now and then a page entry
 * gets a wild separator. */
static void damage(struct tac_prng *prng, uint8_t *data, uint32_t size)
{
    uint64_t ends[] = {128, 330, 1024, size};
    uint32_t blocks = tac_load_u32(data + 64);
    uint32_t pages = tac_load_u32(data + 68);
    uint8_t *entry = data + 320 + 64 * blocks + 32 * tac_prng_below(prng, pages);

    if (tac_prng_below(prng, 8) == 0) {
        tac_store_u16(entry + 28, TACTUS_KEY_SIZE_MAX);
        return;
    }
    if (tac_prng_below(prng, 4) == 0) {
        entry[24 + tac_prng_below(prng, 8)] = (uint8_t)tac_prng_next(prng);
        return;
    }
    for (uint64_t i = tac_prng_below(prng, 3) + 1; i > 0; i--) {
        uint64_t end = ends[tac_prng_below(prng, TAC_ARRAY_COUNT(ends))];

        data[tac_prng_below(prng, end)] ^= (uint8_t)(1u << tac_prng_below(prng, 8));
    }
}

static void test_damage(struct tac_prng *prng)
{
    uint64_t refused = 0, passed = 0, total = 0;
    bool     found = true;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct scene scene;
        uint8_t     *copy;
        uint32_t     size;

        scene_make(&scene, prng);
        size = scene.geometry->block_size;
        copy = malloc(size);
        for (uint32_t i = 0; i < DAMAGES; i++) {
            const struct tac_table *table =
                &scene.store->tables[tac_prng_below(prng, scene.store->table_count)];
            const uint8_t *sound = scene.store->blocks[table->index.address - 1].buffer.data;
            struct tac_index_block index;
            int                    rv;

            memcpy(copy, sound, size);
            damage(prng, copy, size);
            if (i % 10 == 0 && memcmp(copy, sound, size) != 0) {
                found = found && tac_block_verify(copy, scene.geometry, TAC_BLOCK_INDEX,
                                                  &table->index, &error) == TACTUS_ECORRUPT;
            }
            rv = tac_index_block_decode(&index, copy, scene.geometry, table->index.address, &error);
            refused += rv == TACTUS_ECORRUPT;
            passed += rv == TACTUS_OK;
            total += rv == TACTUS_OK ? index_read_all(prng, &scene, &index) : 0;
        }
        free(copy);
        scene_free(&scene);
    }
    tap_diag("%llu refused, %llu read (%llx)", (unsigned long long)refused,
             (unsigned long long)passed, (unsigned long long)total);
    tap_ok(found, "a changed index block fails its checksum");
    tap_ok(refused + passed == (uint64_t)ROUNDS * DAMAGES && refused > 0 && passed > 0,
           "index blocks with changed bytes are refused or safe to read");
}

/* A reference that no file can hold would be read, and given back, somewhere else. */
static void test_addresses(struct tac_prng *prng)
{
    static const uint64_t addresses[] = {0, UINT32_MAX + 1ull, UINT64_MAX};
    struct scene          scene;
    bool                  all_refused = true;
    uint8_t              *copy;

    scene_make(&scene, prng);
    copy = malloc(scene.geometry->block_size);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(addresses); i++) {
        const struct tac_table *table = &scene.store->tables[0];
        struct tac_index_block  index;

        memcpy(copy, scene.store->blocks[table->index.address - 1].buffer.data,
               scene.geometry->block_size);
        tac_store_u64(copy + 320, addresses[i]); /* Of the first value block */
        all_refused =
            all_refused && tac_index_block_decode(&index, copy, scene.geometry,
                                                  table->index.address, &error) == TACTUS_ECORRUPT;
    }
    tap_ok(all_refused, "value blocks where no file has blocks are refused");
    free(copy);
    scene_free(&scene);
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_lookups(&prng);
    test_damage(&prng);
    test_addresses(&prng);
    return tap_done();
}
