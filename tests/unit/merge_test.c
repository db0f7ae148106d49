/* SPDX-License-Identifier: Apache-2.0 */
/* Merges against a naive model: random sources of tables with stamps of their own, tombstones,
 * ranges, trimmed tables; run at once and in random pieces. The books must balance exactly. */
#include "lsm/merge.h"

#include "tests/lib/table_fixture.h"

#define ROUNDS 150
#define POOL_MAX 1500
#define SOURCES_MAX 20
#define TABLES_MAX 800 /* Of a source */
#define CUTS_MAX 4

/* A table that a source delivers, and what the model says of it. */
struct part {
    uint64_t                 stamp;
    struct tac_bytes         key_from; /* size 0: not trimmed */
    struct tac_merge_account expected;
};

struct source {
    struct fixture_record *records;
    uint32_t               count;
    struct fixture_store  *store;
    struct part            parts[TABLES_MAX];
};

struct scene {
    const struct tac_geometry *geometry;
    struct tac_merge_options   options;
    struct tac_cut             cuts[CUTS_MAX]; /* Of the output; edges are the scene's own */
    uint32_t                   cut_count;
    uint64_t                   hashes_max;
    struct source              sources[SOURCES_MAX];
    /* What the model makes of it */
    struct tac_record       *expected; /* Borrowed from the sources */
    uint32_t                 expected_count;
    struct tac_merge_account overwritten, dropped;
};

static struct tac_error error;
static bool             outputs_right, books_right, accounts_right, same_bytes;
static uint32_t         disorders_tried;

/* ---- making a scene ---- */

/* Records of a source: keys out of the pool, all with values of its own. Style 0: each key by
 * chance; 1: stretches; 2: every source its own part. */
static void source_choose(struct source *source, const struct scene *scene, struct tac_prng *prng,
                          const struct fixture_record *pool, uint32_t pool_count, uint32_t number,
                          uint32_t style)
{
    bool is_chosen = false;

    source->records = calloc(pool_count + 1, sizeof *source->records);
    for (uint32_t i = 0; i < pool_count; i++) {
        struct fixture_record *record = &source->records[source->count];
        uint32_t               key_size = pool[i].key_size;

        if (style == 0) {
            is_chosen = tac_prng_below(prng, 3) == 0;
        } else if (style == 1) {
            is_chosen = tac_prng_below(prng, 40) == 0 ? !is_chosen : is_chosen;
        } else {
            is_chosen = (uint64_t)i * scene->options.source_count / pool_count == number;
        }
        if (!is_chosen) {
            continue;
        }
        record->key_size = key_size;
        record->is_tombstone = pool[i].is_tombstone != (tac_prng_below(prng, 10) == 0);
        record->value_size = scene->options.layout.value_size;
        if (scene->options.layout.kind == TACTUS_LAYOUT_VARIABLE) {
            record->value_size =
                fixture_between(prng, 0, record->value_size < 200 ? record->value_size : 200);
        }
        record->value_size = record->is_tombstone ? 0 : record->value_size;
        record->bytes = malloc(key_size + record->value_size);
        memcpy(record->bytes, pool[i].bytes, key_size);
        memset(record->bytes + key_size, (int)(number * 16 + i % 16) & 0xff, record->value_size);
        source->count++;
    }
}

/* Writes a source's records as tables, each with its stamp. */
static void source_build(struct source *source, const struct scene *scene, struct tac_prng *prng)
{
    struct tac_cut cut = {
        .limit_bytes = (uint64_t)scene->geometry->block_size * fixture_between(prng, 1, 4),
    };
    struct tac_table_builder_options options = {
        .geometry = scene->geometry,
        .layout = scene->options.layout,
        .tree = 2,
        .sequence = 1,
        .filter_bits_per_key = 10,
        .table_bytes_min = 1,
        .cuts = &cut,
        .cut_count = 1,
    };
    struct tac_table_builder *builder = tac_table_builder_new(scene->geometry, POOL_MAX);
    struct tac_builder_sink   sink;

    source->store = fixture_store_new(scene->geometry);
    sink = fixture_sink(source->store);
    tac_table_builder_begin(builder, &options, &sink);
    for (uint32_t i = 0; i < source->count; i++) {
        struct tac_record record = fixture_view(&source->records[i]);

        tac_table_builder_append(builder, &record, fixture_hash(&source->records[i]));
        if (tac_prng_below(prng, 300) == 0) {
            tac_table_builder_finish(builder);
            tac_table_builder_begin(builder, &options, &sink);
        }
    }
    tac_table_builder_finish(builder);
    tac_table_builder_free(builder);
    if (source->store->table_count > TABLES_MAX) {
        tap_bail("too many tables");
    }
}

/* Where the output's tables end: up to CUTS_MAX stretches with limits of their own. */
static void scene_cuts(struct scene *scene, struct tac_prng *prng,
                       const struct fixture_record *pool, uint32_t pool_count)
{
    uint32_t at = 0;

    do {
        struct tac_cut *cut = &scene->cuts[scene->cut_count++];

        cut->is_hard = tac_prng_below(prng, 2) == 0;
        cut->limit_bytes = tac_prng_below(prng, 20 * (uint64_t)scene->geometry->block_size) + 1;
        at += fixture_between(prng, 1, pool_count);
        if (scene->cut_count == CUTS_MAX || at >= pool_count) {
            break;
        }
        cut->edge = fixture_copy(fixture_key(&pool[at]));
    } while (true);
}

/* Half of the merges take in what lies between two bounds, of which one may be missing. */
static void scene_bounds(struct scene *scene, struct tac_prng *prng,
                         const struct fixture_record *pool, uint32_t pool_count)
{
    if (tac_prng_below(prng, 2) == 0) {
        uint32_t begin = (uint32_t)tac_prng_below(prng, pool_count);
        uint32_t end = begin + 1 + (uint32_t)tac_prng_below(prng, pool_count - begin);

        if (tac_prng_below(prng, 4) != 0) {
            scene->options.key_begin = fixture_copy(fixture_key(&pool[begin]));
        }
        if (end < pool_count) {
            scene->options.key_end = fixture_copy(fixture_key(&pool[end]));
        }
    }
}

static void scene_make(struct scene *scene, struct tac_prng *prng)
{
    uint32_t               pool_count = fixture_between(prng, 1, POOL_MAX);
    uint32_t               style = (uint32_t)tac_prng_below(prng, 3);
    static uint64_t        stamps[SOURCES_MAX * TABLES_MAX];
    struct fixture_record *pool;

    *scene = (struct scene){0};
    scene->geometry =
        &fixture_geometries[tac_prng_below(prng, TAC_ARRAY_COUNT(fixture_geometries) - 1)];
    scene->options.layout = fixture_layout(prng, scene->geometry);
    scene->options.source_count = tac_prng_below(prng, 3) == 0
                                      ? fixture_between(prng, 1, 2)
                                      : fixture_between(prng, 1, SOURCES_MAX);
    scene->options.drops_tombstones = tac_prng_below(prng, 2) == 0;
    scene->hashes_max = tac_prng_below(prng, 3) == 0 ? fixture_between(prng, 1, 200) : POOL_MAX;
    if (scene->options.layout.value_size > 2000) {
        pool_count = 1 + pool_count / 20;
    }
    pool = fixture_make_records(prng, &scene->options.layout, (uint32_t)tac_prng_below(prng, 4),
                                (uint32_t[]){0, 0, 30, 100}[tac_prng_below(prng, 4)], &pool_count);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(stamps); i++) { /* All different, in any order */
        uint32_t other = (uint32_t)tac_prng_below(prng, i + 1);

        stamps[i] = stamps[other];
        stamps[other] = i;
    }
    for (uint32_t i = 0; i < scene->options.source_count; i++) {
        struct source *source = &scene->sources[i];

        source_choose(source, scene, prng, pool, pool_count, i, style);
        source_build(source, scene, prng);
        for (uint32_t j = 0; j < source->store->table_count; j++) {
            source->parts[j].stamp = stamps[i * TABLES_MAX + j];
            if (tac_prng_below(prng, 4) == 0) {
                source->parts[j].key_from =
                    fixture_copy(fixture_key(&pool[tac_prng_below(prng, pool_count)]));
            }
        }
    }
    scene_bounds(scene, prng, pool, pool_count);
    scene_cuts(scene, prng, pool, pool_count);
    fixture_free_records(pool, pool_count);
}

static void scene_free(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->options.source_count; i++) {
        struct source *source = &scene->sources[i];

        for (uint32_t j = 0; j < source->store->table_count; j++) {
            free((void *)source->parts[j].key_from.data);
        }
        fixture_free_records(source->records, source->count);
        fixture_store_free(source->store);
    }
    for (uint32_t i = 0; i < scene->cut_count; i++) {
        free((void *)scene->cuts[i].edge.data);
    }
    free((void *)scene->options.key_begin.data);
    free((void *)scene->options.key_end.data);
    free(scene->expected);
}

/* ---- the model ---- */

struct version {
    struct fixture_record *record;
    uint64_t               stamp;
};

static int version_compare(const void *a, const void *b)
{
    const struct version *left = a, *right = b;
    int                   order = fixture_compare(left->record, right->record);

    return order != 0 ? order : (left->stamp < right->stamp) - (left->stamp > right->stamp);
}

static void account_record(struct tac_merge_account *account, const struct fixture_record *record)
{
    account->records++;
    account->tombstones += record->is_tombstone;
    account->bytes += record->key_size + record->value_size;
    account->sum = tac_u128_add(account->sum, fixture_hash(record));
}

static bool account_equal(const struct tac_merge_account *a, const struct tac_merge_account *b)
{
    return a->records == b->records && a->tombstones == b->tombstones && a->bytes == b->bytes &&
           tac_u128_equal(a->sum, b->sum);
}

static bool is_in_range(const struct scene *scene, const struct part *part, struct tac_bytes key)
{
    const struct tac_merge_options *options = &scene->options;

    return (options->key_begin.size == 0 || tac_bytes_compare(key, options->key_begin) >= 0) &&
           (options->key_end.size == 0 || tac_bytes_compare(key, options->key_end) < 0) &&
           (part->key_from.size == 0 || tac_bytes_compare(key, part->key_from) >= 0);
}

static void model_run(struct scene *scene)
{
    struct version *versions = calloc(SOURCES_MAX * POOL_MAX, sizeof *versions);
    uint32_t        count = 0;

    for (uint32_t i = 0; i < scene->options.source_count; i++) {
        struct source *source = &scene->sources[i];
        uint32_t       at = 0;

        for (uint32_t j = 0; j < source->store->table_count; j++) {
            for (uint64_t k = 0; k < source->store->tables[j].records; k++, at++) {
                struct fixture_record *record = &source->records[at];

                if (is_in_range(scene, &source->parts[j], fixture_key(record))) {
                    account_record(&source->parts[j].expected, record);
                    versions[count++] = (struct version){record, source->parts[j].stamp};
                }
            }
        }
    }
    qsort(versions, count, sizeof *versions, version_compare);
    scene->expected = calloc(count + 1, sizeof *scene->expected);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && fixture_compare(versions[i - 1].record, versions[i].record) == 0) {
            account_record(&scene->overwritten, versions[i].record);
        } else if (versions[i].record->is_tombstone && scene->options.drops_tombstones) {
            account_record(&scene->dropped, versions[i].record);
        } else {
            scene->expected[scene->expected_count++] = fixture_view(versions[i].record);
        }
    }
    free(versions);
}

/* ---- running a merge ---- */

/* Where a source's deliveries are. */
struct delivery {
    uint32_t table, block;
    uint8_t *data; /* A copy that is freed when the merge may no longer look at it */
};

/* Settles the books of the table that a source has just left. */
static void account_check(struct tac_merge *merge, struct scene *scene, uint32_t number,
                          uint32_t table)
{
    struct tac_merge_account account = tac_merge_take_source_account(merge, number);

    accounts_right =
        accounts_right && account_equal(&account, &scene->sources[number].parts[table].expected);
}

/* Gives a source its next block, or its end. */
static void deliver(struct tac_merge *merge, struct scene *scene, struct delivery *delivery,
                    uint32_t number)
{
    struct source         *source = &scene->sources[number];
    struct tac_index_block index;
    struct tac_value_block block;

    free(delivery->data);
    delivery->data = NULL;
    if (delivery->table < source->store->table_count) {
        index = fixture_index(source->store, &source->store->tables[delivery->table]);
        if (delivery->block == index.value_block_count) {
            account_check(merge, scene, number, delivery->table);
            delivery->table++;
            delivery->block = 0;
        }
    }
    if (delivery->table == source->store->table_count) {
        tac_merge_source_end(merge, number);
        return;
    }
    if (delivery->block == 0) {
        tac_merge_source_from(merge, number, source->parts[delivery->table].key_from);
    }
    index = fixture_index(source->store, &source->store->tables[delivery->table]);
    block = fixture_value_block(source->store, &scene->options.layout, &index, delivery->block);
    delivery->data = malloc(scene->geometry->block_size);
    memcpy(delivery->data, block.data, scene->geometry->block_size);
    block.data = delivery->data;
    if (tac_merge_source_block(merge, number, &block, source->parts[delivery->table].stamp,
                               &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    delivery->block++;
}

static struct tac_table_builder_options output_options(const struct scene *scene)
{
    return (struct tac_table_builder_options){
        .geometry = scene->geometry,
        .layout = scene->options.layout,
        .tree = 2,
        .sequence = 4,
        .filter_bits_per_key = 10,
        .table_bytes_min = 2 * scene->geometry->page_size,
        .cuts = scene->cuts,
        .cut_count = scene->cut_count,
    };
}

/* What the model expects, appended record by record without a merge. */
static struct fixture_store *expected_build(const struct scene *scene)
{
    struct fixture_store     *store = fixture_store_new(scene->geometry);
    struct tac_builder_sink   sink = fixture_sink(store);
    struct tac_table_builder *builder = tac_table_builder_new(scene->geometry, scene->hashes_max);
    struct tac_table_builder_options options = output_options(scene);

    tac_table_builder_begin(builder, &options, &sink);
    for (uint32_t i = 0; i < scene->expected_count; i++) {
        const struct tac_record *record = &scene->expected[i];

        tac_table_builder_append(builder, record,
                                 tac_record_hash(record->key.data, record->key.size,
                                                 record->value.size, record->is_tombstone));
    }
    tac_table_builder_finish(builder);
    tac_table_builder_free(builder);
    return store;
}

/* Random: small budgets, now and then too few buffers. */
static struct fixture_store *merge_run(struct scene *scene, struct tac_prng *prng, bool is_random)
{
    struct fixture_store     *store = fixture_store_new(scene->geometry);
    struct tac_builder_sink   sink = fixture_sink(store);
    struct tac_table_builder *builder = tac_table_builder_new(scene->geometry, scene->hashes_max);
    struct tac_merge         *merge = tac_merge_new();
    struct tac_table_builder_options options = output_options(scene);
    struct delivery                  deliveries[SOURCES_MAX] = {0};
    struct tac_merge_account         total = {0}, overwritten, dropped;
    struct tac_builder_totals        totals;
    enum tac_merge_status            status;

    tac_table_builder_begin(builder, &options, &sink);
    tac_merge_begin(merge, &scene->options, builder);
    do {
        uint32_t buffers = is_random ? (uint32_t)tac_prng_below(prng, 4) : 10;
        uint32_t taken = store->buffers_taken;
        uint64_t budget = is_random ? tac_prng_below(prng, 3000) : UINT64_MAX;

        status = tac_merge_run(merge, budget, buffers);
        books_right = books_right && store->buffers_taken - taken <= buffers;
        if (status == TAC_MERGE_NEEDS_BLOCK) {
            uint32_t number = tac_merge_source_needed(merge);

            deliver(merge, scene, &deliveries[number], number);
        }
        books_right = books_right && (status != TAC_MERGE_NEEDS_BUFFER ||
                                      tac_table_builder_buffers_needed(builder) >
                                          buffers - (store->buffers_taken - taken));
    } while (status != TAC_MERGE_DONE);
    for (uint32_t i = 0; i < scene->options.source_count; i++) {
        if (deliveries[i].table < scene->sources[i].store->table_count) {
            account_check(merge, scene, i, deliveries[i].table);
        }
        free(deliveries[i].data);
        for (uint32_t j = 0; j < scene->sources[i].store->table_count; j++) {
            total.records += scene->sources[i].parts[j].expected.records;
            total.bytes += scene->sources[i].parts[j].expected.bytes;
            total.sum = tac_u128_add(total.sum, scene->sources[i].parts[j].expected.sum);
        }
    }
    overwritten = tac_merge_overwritten(merge);
    dropped = tac_merge_tombstones_dropped(merge);
    totals = tac_table_builder_totals(builder);
    books_right =
        books_right && account_equal(&overwritten, &scene->overwritten) &&
        account_equal(&dropped, &scene->dropped) &&
        tac_merge_consumed_bytes(merge) == total.bytes &&
        total.records == totals.records + overwritten.records + dropped.records &&
        tac_u128_equal(total.sum,
                       tac_u128_add(totals.sum, tac_u128_add(overwritten.sum, dropped.sum)));
    tac_merge_free(merge);
    tac_table_builder_free(builder);
    return store;
}

static bool stores_equal(const struct fixture_store *a, const struct fixture_store *b)
{
    bool equal = a->block_count == b->block_count && a->table_count == b->table_count;

    for (uint32_t i = 0; equal && i < a->block_count; i++) {
        equal =
            a->blocks[i].kind == b->blocks[i].kind &&
            memcmp(a->blocks[i].buffer.data, b->blocks[i].buffer.data, a->geometry.block_size) == 0;
    }
    return equal;
}

static void test_model(struct tac_prng *prng)
{
    uint64_t outputs = 0, overwritten = 0, dropped = 0;

    outputs_right = books_right = accounts_right = same_bytes = true;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct scene          scene;
        struct fixture_store *expected, *whole, *pieces;

        scene_make(&scene, prng);
        model_run(&scene);
        whole = merge_run(&scene, prng, false);
        pieces = merge_run(&scene, prng, true);
        expected = expected_build(&scene);
        outputs_right = outputs_right && stores_equal(expected, whole);
        same_bytes = same_bytes && stores_equal(whole, pieces);
        outputs += scene.expected_count;
        overwritten += scene.overwritten.records;
        dropped += scene.dropped.records;
        fixture_store_free(expected);
        fixture_store_free(whole);
        fixture_store_free(pieces);
        scene_free(&scene);
    }
    tap_diag("%llu records out, %llu overwritten, %llu tombstones dropped",
             (unsigned long long)outputs, (unsigned long long)overwritten,
             (unsigned long long)dropped);
    tap_ok(outputs_right,
           "the newest record of every key in range comes out, in the blocks that appends give");
    tap_ok(books_right, "consumed = appended + overwritten + dropped, each as the model counts it");
    tap_ok(accounts_right, "each table's account is what of it was in range");
    tap_ok(same_bytes, "pauses, few buffers and late blocks change no byte");
    tap_ok(outputs > 0 && overwritten > 0 && dropped > 0, "the scenes were not empty");
}

/* A damaged file may name value blocks in any order: what a merge says to block `again` of a table
 * after its block 1. Sources of one block cannot tell: they count as found. */
static bool disorder_is_found(struct scene *scene, uint32_t again)
{
    struct tac_cut                   cut = {.limit_bytes = UINT64_MAX};
    const struct source             *source = &scene->sources[0];
    struct fixture_store            *out = fixture_store_new(scene->geometry);
    struct tac_table_builder        *builder = tac_table_builder_new(scene->geometry, POOL_MAX);
    struct tac_merge                *merge = tac_merge_new();
    struct tac_builder_sink          sink = fixture_sink(out);
    struct tac_table_builder_options options = {
        .geometry = scene->geometry,
        .layout = scene->options.layout,
        .table_bytes_min = 1,
        .cuts = &cut,
        .cut_count = 1,
    };
    struct tac_merge_options alone = {.layout = scene->options.layout, .source_count = 1};
    struct tac_index_block   index = fixture_index(source->store, &source->store->tables[0]);
    struct tac_value_block   block;
    bool                     is_found = true;

    if (index.value_block_count >= 2) {
        tac_table_builder_begin(builder, &options, &sink);
        tac_merge_begin(merge, &alone, builder);
        block = fixture_value_block(source->store, &alone.layout, &index, 1);
        is_found = tac_merge_source_block(merge, 0, &block, 1, &error) == TACTUS_OK;
        while (tac_merge_run(merge, UINT64_MAX, 10) != TAC_MERGE_NEEDS_BLOCK) {
        }
        block = fixture_value_block(source->store, &alone.layout, &index, again);
        is_found =
            is_found && tac_merge_source_block(merge, 0, &block, 1, &error) == TACTUS_ECORRUPT;
        disorders_tried++;
        tac_table_builder_finish(builder); /* Gives the open block back */
    }
    tac_merge_free(merge);
    tac_table_builder_free(builder);
    fixture_store_free(out);
    return is_found;
}

static void test_disorder(struct tac_prng *prng)
{
    bool found = true;

    for (uint32_t round = 0; round < 30; round++) {
        struct scene scene;

        scene_make(&scene, prng);
        if (scene.sources[0].store->table_count > 0) {
            found = disorder_is_found(&scene, round % 2) && found;
        }
        scene_free(&scene);
    }
    tap_ok(disorders_tried > 0 && found, "blocks whose keys do not ascend are refused");
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_model(&prng);
    test_disorder(&prng);
    return tap_done();
}
