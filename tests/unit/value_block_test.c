/* SPDX-License-Identifier: Apache-2.0 */
/* Value blocks against the records that went in: random layouts, geometries, records; and against
 * damage, accidental (checksums must find it) and deliberate (decoders must survive it). */
#include "lsm/value_block.h"

#include "tests/lib/table_fixture.h"

#define ROUNDS 100
#define RECORDS_MAX 2000
#define DAMAGES 40

struct scene {
    const struct tac_geometry *geometry;
    struct tac_layout          layout;
    struct fixture_record     *records;
    uint32_t                   count;
    uint8_t                   *data, *again;
};

static struct tac_error error;

static void scene_make(struct scene *scene, struct tac_prng *prng)
{
    scene->geometry =
        &fixture_geometries[tac_prng_below(prng, TAC_ARRAY_COUNT(fixture_geometries))];
    scene->layout = fixture_layout(prng, scene->geometry);
    scene->count = fixture_between(prng, 1, RECORDS_MAX);
    if (scene->layout.value_size > 4096) {
        scene->count = 1 + scene->count / 40;
    }
    scene->records =
        fixture_make_records(prng, &scene->layout, (uint32_t)tac_prng_below(prng, 4),
                             (uint32_t[]){0, 3, 50, 100}[tac_prng_below(prng, 4)], &scene->count);
    scene->data = malloc(scene->geometry->block_size);
    scene->again = malloc(scene->geometry->block_size);
    memset(scene->data, 0xee, scene->geometry->block_size);
    memset(scene->again, 0x11, scene->geometry->block_size);
}

static void scene_free(struct scene *scene)
{
    fixture_free_records(scene->records, scene->count);
    free(scene->data);
    free(scene->again);
}

/* Fills a block from records[first]; returns how many went in. */
static uint32_t block_fill(const struct scene *scene, uint32_t first, uint8_t *data,
                           struct tac_block_reference *ret_reference)
{
    struct tac_value_block_builder builder;
    uint32_t                       i = first;

    tac_value_block_builder_init(&builder, scene->geometry, &scene->layout);
    tac_value_block_begin(&builder, data);
    for (; i < scene->count; i++) {
        struct tac_record    record = fixture_view(&scene->records[i]);
        enum tac_value_place place = tac_value_block_place(&builder, &record);
        bool is_in = tac_value_block_append(&builder, &record, fixture_hash(&scene->records[i]));

        if (is_in != (place != TAC_PLACE_NEW_BLOCK)) {
            tap_bail("place and append disagree");
        }
        if (!is_in) {
            break;
        }
        if (tac_bytes_compare(tac_value_block_last_key(&builder), record.key) != 0) {
            tap_bail("the last key is not the one appended");
        }
    }
    ret_reference->address = 77 + first;
    ret_reference->checksum = tac_value_block_seal(&builder, 3, ret_reference->address, 9);
    return i - first;
}

/* A block of a legal build decodes to exactly the records, and its counts are theirs. */
static bool block_matches(const struct scene *scene, const struct tac_value_block *block,
                          uint32_t first, uint32_t count)
{
    struct tac_u128 sum = {0};
    uint64_t        payload = 0;
    uint32_t        tombstones = 0, at = first;

    for (uint32_t i = 0; i < block->page_count; i++) {
        struct tac_page page = fixture_page(block, i);

        if (tac_page_check(&page, &error) != TACTUS_OK) {
            tap_diag("%s", error.message);
            return false;
        }
        for (uint32_t j = 0; j < page.record_count; j++, at++) {
            struct tac_record record = tac_page_record(&page, j);

            if (at >= first + count || !fixture_equal(&scene->records[at], &record)) {
                tap_diag("record %u of page %u differs", j, i);
                return false;
            }
            sum = tac_u128_add(sum, fixture_hash(&scene->records[at]));
            payload += record.key.size + record.value.size;
            tombstones += record.is_tombstone;
        }
    }
    return at == first + count && block->record_count == count &&
           block->tombstone_count == tombstones && block->payload_bytes == payload &&
           tac_u128_equal(block->sum, sum);
}

/* lower_bound against a linear search: keys that are there, their neighbours, strangers. */
static bool page_searches_agree(struct tac_prng *prng, const struct scene *scene,
                                const struct tac_page *page)
{
    for (uint32_t round = 0; round < 40; round++) {
        uint8_t          key[TACTUS_KEY_SIZE_MAX + 1];
        struct tac_bytes wanted = {.data = key};
        uint32_t         expected = 0, found;
        bool             is_equal = false, expected_equal;

        if (round % 4 == 0) {
            wanted.size = fixture_make_key(prng, &scene->layout, (uint32_t)tac_prng_below(prng, 4),
                                           round, key);
        } else {
            uint32_t         index = (uint32_t)tac_prng_below(prng, page->record_count);
            struct tac_bytes near = tac_page_record(page, index).key;

            memcpy(key, near.data, near.size);
            wanted.size = near.size;
            if (round % 4 == 2) {
                key[wanted.size++] = 0;
            } else if (round % 4 == 3 && wanted.size > 1) {
                wanted.size--;
            }
        }
        while (expected < page->record_count &&
               tac_bytes_compare(tac_page_record(page, expected).key, wanted) < 0) {
            expected++;
        }
        expected_equal = expected < page->record_count &&
                         tac_bytes_compare(tac_page_record(page, expected).key, wanted) == 0;
        found = tac_page_lower_bound(page, wanted,
                                     (uint32_t)tac_prng_below(prng, page->record_count), &is_equal);
        if (found != expected || is_equal != expected_equal) {
            tap_diag("lower_bound says %u, a linear search %u", found, expected);
            return false;
        }
    }
    return true;
}

/* All unused bytes are zero: building twice into different garbage gives equal bytes. */
static bool block_is_reproducible(const struct scene *scene, uint32_t first,
                                  const struct tac_block_reference *reference)
{
    struct tac_block_reference again;

    block_fill(scene, first, scene->again, &again);
    return tac_u128_equal(reference->checksum, again.checksum) &&
           memcmp(scene->data, scene->again, scene->geometry->block_size) == 0;
}

static void test_round_trips(struct tac_prng *prng)
{
    bool matches = true, searches = true, reproducible = true, bounded = true;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct scene scene;
        uint32_t     first = 0, blocks = 0;
        uint64_t     payload = 0;

        scene_make(&scene, prng);
        while (first < scene.count) {
            struct tac_block_reference reference;
            struct tac_value_block     block;
            uint32_t                   count = block_fill(&scene, first, scene.data, &reference);

            if (tac_block_verify(scene.data, scene.geometry, TAC_BLOCK_VALUE, &reference, &error) !=
                    TACTUS_OK ||
                tac_value_block_decode(&block, scene.data, scene.geometry, &scene.layout,
                                       reference.address, &error) != TACTUS_OK) {
                tap_bail("%s", error.message);
            }
            matches = block_matches(&scene, &block, first, count) && matches;
            for (uint32_t i = 0; i < 3; i++) {
                struct tac_page page =
                    fixture_page(&block, (uint32_t)tac_prng_below(prng, block.page_count));

                searches = page_searches_agree(prng, &scene, &page) && searches;
            }
            reproducible = block_is_reproducible(&scene, first, &reference) && reproducible;
            payload += block.payload_bytes;
            first += count;
            blocks++;
            bounded =
                bounded &&
                block.payload_bytes <= tac_value_block_payload_max(scene.geometry, &scene.layout) &&
                (first == scene.count || block.payload_bytes >= tac_value_block_payload_full_min(
                                                                    scene.geometry, &scene.layout));
        }
        if (blocks > tac_value_blocks_max(scene.geometry, &scene.layout, scene.count, payload)) {
            tap_diag("kind %u key %u value %u: %u blocks", scene.layout.kind, scene.layout.key_size,
                     scene.layout.value_size, blocks);
            bounded = false;
        }
        scene_free(&scene);
    }
    tap_ok(matches, "blocks give back the records that went in, with their counts and sum");
    tap_ok(searches, "lower_bound agrees with a linear search");
    tap_ok(reproducible, "equal records give equal bytes whatever the buffer held");
    tap_ok(bounded, "blocks keep their bounds");
}

/* Tiny records before records just over a page: the worst that next-fit can do. */
static void test_worst_packing(void)
{
    bool bounded = true;

    for (uint32_t g = 0; g < TAC_ARRAY_COUNT(fixture_geometries); g++) {
        struct scene scene = {.geometry = &fixture_geometries[g], .count = 400};
        uint64_t     payload = 0;
        uint32_t     blocks = 0;

        scene.layout =
            (struct tac_layout){TACTUS_LAYOUT_VARIABLE, 8, scene.geometry->page_size - 12 + 1 - 8};
        if (scene.layout.key_size + scene.layout.value_size > scene.geometry->block_size / 4) {
            scene.layout.value_size = scene.geometry->block_size / 4 - 8;
        }
        scene.records = calloc(scene.count, sizeof *scene.records);
        scene.data = malloc(scene.geometry->block_size);
        for (uint32_t i = 0; i < scene.count; i++) {
            uint64_t key = __builtin_bswap64(i);

            scene.records[i].key_size = 8;
            scene.records[i].value_size = i % 2 == 0 ? 0 : scene.layout.value_size;
            scene.records[i].bytes = calloc(1, 8 + scene.records[i].value_size);
            memcpy(scene.records[i].bytes, &key, 8);
            payload += 8 + scene.records[i].value_size;
        }
        for (uint32_t first = 0; first < scene.count; blocks++) {
            struct tac_block_reference reference;

            first += block_fill(&scene, first, scene.data, &reference);
        }
        bounded = bounded && blocks <= tac_value_blocks_max(scene.geometry, &scene.layout,
                                                            scene.count, payload);
        fixture_free_records(scene.records, scene.count);
        free(scene.data);
    }
    tap_ok(bounded, "the worst packing stays within the bound of blocks");
}

/* Every byte of a block is under a checksum. */
static void test_accidents(struct tac_prng *prng)
{
    bool found = true, named = true;

    for (uint32_t round = 0; round < 20; round++) {
        struct scene               scene;
        struct tac_block_reference reference, other;

        scene_make(&scene, prng);
        block_fill(&scene, 0, scene.data, &reference);
        for (uint32_t i = 0; i < DAMAGES; i++) {
            uint8_t *byte = scene.data + tac_prng_below(prng, scene.geometry->block_size);
            uint8_t  sound = *byte;

            *byte ^= (uint8_t)(1u << tac_prng_below(prng, 8));
            found = found && tac_block_verify(scene.data, scene.geometry, TAC_BLOCK_VALUE,
                                              &reference, &error) == TACTUS_ECORRUPT;
            *byte = sound;
        }
        other = (struct tac_block_reference){reference.address + 1, reference.checksum};
        named = named && tac_block_verify(scene.data, scene.geometry, TAC_BLOCK_VALUE, &other,
                                          &error) == TACTUS_ECORRUPT;
        scene_free(&scene);
    }
    tap_ok(found, "a changed bit anywhere in a block is found");
    tap_ok(named, "a block at another address is found");
}

/* Reads whatever a decoder let pass. Returns something that depends on every byte that was read. */
static uint64_t block_read_all(const struct tac_value_block *block)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < block->page_count; i++) {
        struct tac_page page = fixture_page(block, i);

        for (uint32_t j = 0; j < page.record_count; j++) {
            struct tac_record record = tac_page_record(&page, j);
            bool              is_equal;
            uint32_t          found = tac_page_lower_bound(&page, record.key, j / 2, &is_equal);

            if (found != j || !is_equal) {
                tap_bail("a record of a page that was checked is not found");
            }
            total += record.value.size == 0 ? 0 : record.value.data[record.value.size - 1];
            total += record.key.data[record.key.size - 1];
        }
    }
    return total;
}

/* Changed bytes with valid checksums: whatever decodes can be read and searched. A change in what
 * gives the block its shape comes up more often than one in the values. */
static void test_hostile(struct tac_prng *prng)
{
    uint64_t refused = 0, passed = 0, total = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct scene               scene;
        struct tac_block_reference reference;

        scene_make(&scene, prng);
        for (uint32_t i = 0; i < DAMAGES; i++) {
            struct tac_value_block block;
            uint32_t               page_size = scene.geometry->page_size;
            uint64_t               ends[] = {128, page_size, page_size + 64, 2 * page_size,
                                             scene.geometry->block_size};
            int                    rv;

            block_fill(&scene, 0, scene.data, &reference);
            for (uint64_t j = tac_prng_below(prng, 3) + 1; j > 0; j--) {
                uint64_t end = ends[tac_prng_below(prng, TAC_ARRAY_COUNT(ends))];

                scene.data[tac_prng_below(prng, end)] =
                    (uint8_t)(tac_prng_next(prng) >> tac_prng_below(prng, 8));
            }
            rv = tac_value_block_decode(&block, scene.data, scene.geometry, &scene.layout,
                                        reference.address, &error);
            refused += rv == TACTUS_ECORRUPT;
            passed += rv == TACTUS_OK;
            total += rv == TACTUS_OK ? block_read_all(&block) : 0;
        }
        scene_free(&scene);
    }
    tap_diag("%llu refused, %llu read (%llx)", (unsigned long long)refused,
             (unsigned long long)passed, (unsigned long long)total);
    tap_ok(refused + passed == (uint64_t)ROUNDS * DAMAGES && refused > 0 && passed > 0,
           "blocks with changed bytes are refused or safe to read");
}

static void test_geometries(void)
{
    bool     right = true;
    uint32_t pages_min[] = {512, 512, 1024, 2048, 4096};

    for (uint32_t i = 0; i < 5; i++) {
        struct tac_geometry geometry = {.page_size = pages_min[i]};

        geometry.block_size = geometry.page_size * (8u << i);
        right = right && tac_value_block_geometry_fits(&geometry);
        geometry.page_size /= 2;
        geometry.block_size /= 2;
        right = right && !tac_value_block_geometry_fits(&geometry);
    }
    tap_ok(right, "the smallest page that lists 8, 16, 32, 64 or 128 pages is accepted");
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_geometries();
    test_round_trips(&prng);
    test_worst_packing();
    test_accidents(&prng);
    test_hostile(&prng);
    return tap_done();
}
