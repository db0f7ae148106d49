/* SPDX-License-Identifier: Apache-2.0 */
/* Table builders against the rules of struct tac_cut: random records and cuts; every record is read
 * back through the index, and every end of a table must have a reason. */
#include "lsm/table_builder.h"

#include "tests/lib/table_fixture.h"

#define ROUNDS 60
#define RECORDS_MAX 1500
#define CUTS_MAX 9

struct job {
    const struct tac_geometry       *geometry;
    struct tac_table_builder_options options;
    struct tac_cut                   cuts[CUTS_MAX];
    uint64_t                         hashes_max;
    struct fixture_record           *records;
    uint32_t                         count;
    struct fixture_store            *store;
};

static bool     buffers_right, bound_right, totals_right, ends_right, contents_right, lookups_right;
static uint32_t filters_with_more, filters_without_more;

static uint64_t log_between(struct tac_prng *prng, uint64_t low, uint64_t high)
{
    uint64_t top = low;

    while (top < high && tac_prng_below(prng, 5) != 0) {
        top *= 2;
    }
    return low + tac_prng_below(prng, tac_min_u64(top, high) - low + 1);
}

/* Cuts at the keys of records, and between. */
static void job_cuts(struct job *job, struct tac_prng *prng)
{
    uint32_t at = 0, wanted = fixture_between(prng, 1, CUTS_MAX);

    job->options.cut_count = 0;
    for (uint32_t i = 0; i < wanted; i++) {
        struct tac_cut *cut = &job->cuts[job->options.cut_count];

        at += fixture_between(prng, 1, 1 + 2 * job->count / wanted);
        cut->is_hard = tac_prng_below(prng, 2) == 0;
        cut->limit_bytes = log_between(prng, 1, 4 * job->geometry->block_size);
        cut->edge = at < job->count ? fixture_key(&job->records[at]) : (struct tac_bytes){0};
        job->options.cut_count++;
        if (cut->edge.size == 0) {
            break;
        }
    }
    job->cuts[job->options.cut_count - 1].edge.size = 0;
}

static void job_make(struct job *job, struct tac_prng *prng)
{
    job->geometry = &fixture_geometries[tac_prng_below(prng, TAC_ARRAY_COUNT(fixture_geometries))];
    job->hashes_max = tac_prng_below(prng, 3) == 0 ? log_between(prng, 1, 1000) : 100000;
    job->options = (struct tac_table_builder_options){
        .geometry = job->geometry,
        .layout = fixture_layout(prng, job->geometry),
        .tree = 5,
        .sequence = 11,
        .filter_bits_per_key = (uint32_t[]){0, 1, 10, 20}[tac_prng_below(prng, 4)],
        .table_bytes_min = log_between(prng, 1, job->geometry->block_size),
        .cuts = job->cuts,
    };
    job->count = fixture_between(prng, 1, RECORDS_MAX);
    if (job->options.layout.value_size > 4096) {
        job->count = 1 + job->count / 20;
    }
    job->records =
        fixture_make_records(prng, &job->options.layout, (uint32_t)tac_prng_below(prng, 4),
                             (uint32_t[]){0, 5, 100}[tac_prng_below(prng, 3)], &job->count);
    job->store = fixture_store_new(job->geometry);
    job_cuts(job, prng);
}

static void job_free(struct job *job)
{
    fixture_free_records(job->records, job->count);
    fixture_store_free(job->store);
}

static void job_run(struct job *job)
{
    struct tac_table_builder *builder = tac_table_builder_new(job->geometry, job->hashes_max);
    struct tac_builder_sink   sink = fixture_sink(job->store);
    struct tac_builder_totals totals;
    struct tac_builder_bound  bound;
    struct tac_u128           sum = {0};
    uint64_t                  bytes = 0;
    uint32_t                  needed, taken,
        most = tac_table_builder_buffers_max(job->geometry, &job->options.layout,
                                             job->options.filter_bits_per_key, job->hashes_max);

    tac_table_builder_begin(builder, &job->options, &sink);
    for (uint32_t i = 0; i < job->count; i++) {
        struct tac_record record = fixture_view(&job->records[i]);

        needed = tac_table_builder_buffers_needed(builder);
        taken = job->store->buffers_taken;
        tac_table_builder_append(builder, &record, fixture_hash(&job->records[i]));
        taken = job->store->buffers_taken - taken;
        buffers_right = buffers_right && taken <= needed && needed <= most &&
                        (taken < 2 || taken == needed); /* A table ended: exactly so many */
        sum = tac_u128_add(sum, fixture_hash(&job->records[i]));
        bytes += record.key.size + record.value.size;
        totals = tac_table_builder_totals(builder);
        totals_right = totals_right && totals.records == i + 1 && totals.bytes == bytes &&
                       tac_u128_equal(totals.sum, sum);
    }
    needed = tac_table_builder_buffers_needed(builder);
    taken = job->store->buffers_taken;
    tac_table_builder_finish(builder);
    buffers_right = buffers_right && job->store->buffers_taken - taken == needed - 1;
    totals = tac_table_builder_totals(builder);
    totals_right = totals_right && totals.tables == job->store->table_count &&
                   totals.blocks == job->store->block_count && totals.bytes == bytes;
    bound = tac_table_builder_bound(&job->options, job->hashes_max, job->count, bytes);
    if (bound.blocks < totals.blocks || bound.tables < totals.tables) {
        tap_diag("%llu blocks, %llu tables; bound %llu, %llu", (unsigned long long)totals.blocks,
                 (unsigned long long)totals.tables, (unsigned long long)bound.blocks,
                 (unsigned long long)bound.tables);
        bound_right = false;
    }
    tac_table_builder_free(builder);
}

/* Bytes of an index block before its filter. */
static uint64_t index_bytes(const struct tac_index_block *index)
{
    uint64_t used =
        320 + 64 * (uint64_t)index->value_block_count + 40 * (uint64_t)index->page_count;

    for (uint32_t i = 0; i < index->page_count; i++) {
        used += tac_index_separator(index, i).size;
    }
    return used;
}

/* The table ended before records[next] because its index had no room for one more page, in a new
 * block at worst. */
static bool index_was_full(const struct job *job, const struct tac_index_block *index,
                           uint32_t next)
{
    uint64_t         used = index_bytes(index);
    struct tac_bytes last = fixture_key(&job->records[next - 1]);
    struct tac_bytes first = fixture_key(&job->records[next]);
    uint32_t         shared = 0;

    while (shared < last.size && last.data[shared] == first.data[shared]) {
        shared++;
    }
    return used + 64 + 40 + shared + 1 > job->geometry->block_size;
}

/* Walks the records with the rules of a cut; the tables must have ended where they say. */
static void check_ends(const struct job *job)
{
    uint32_t cut = 0, table = 0;
    uint64_t in_table = 0, bytes = 0;

    for (uint32_t i = 0; i < job->count; i++) {
        const struct fixture_record *record = &job->records[i];
        uint32_t                     size = record->key_size + record->value_size;
        bool                         must_end = false;
        bool has_ended = i > 0 && in_table == job->store->tables[table].records;

        while (job->cuts[cut].edge.size > 0 &&
               tac_bytes_compare(fixture_key(record), job->cuts[cut].edge) >= 0) {
            must_end =
                must_end ||
                (in_table > 0 && (job->cuts[cut].is_hard || bytes >= job->options.table_bytes_min));
            cut++;
        }
        must_end = must_end || (in_table > 0 && bytes + size > job->cuts[cut].limit_bytes) ||
                   in_table == job->hashes_max;
        if (has_ended && !must_end) {
            struct tac_index_block index = fixture_index(job->store, &job->store->tables[table]);
            uint64_t               filter_max = (uint64_t)(job->geometry->block_size - 64) * 8;

            must_end =
                index_was_full(job, &index, i) ||
                tac_filter_bytes(in_table + 1, job->options.filter_bits_per_key) > filter_max;
        }
        if (must_end != has_ended) {
            tap_diag("record %u: table %u %s end", i, table, must_end ? "did not" : "should not");
            ends_right = false;
            return;
        }
        if (has_ended) {
            table++;
            in_table = 0;
            bytes = 0;
        }
        in_table++;
        bytes += size;
    }
    ends_right = ends_right && table + 1 == job->store->table_count &&
                 in_table == job->store->tables[table].records;
}

static uint64_t filter_bytes(const struct tac_index_block *index, uint32_t bits)
{
    return (index->record_count * bits + 511) / 512 * 64;
}

/* Four bits per key more than asked for, at most 20, just where they fit behind the index. */
static bool filter_is_as_asked(const struct job *job, const struct tac_index_block *index)
{
    uint32_t asked = job->options.filter_bits_per_key;
    uint32_t more = asked == 0 ? 0 : asked + 4 > 20 ? 20 : asked + 4;
    uint64_t left = job->geometry->block_size - (index_bytes(index) + 63) / 64 * 64;
    bool     fits = filter_bytes(index, more) <= left;

    filters_with_more += fits && more > asked;
    filters_without_more += !fits && filter_bytes(index, asked) <= left;
    return index->filter_bits_per_key == (fits ? more : asked) &&
           index->filter_bytes == filter_bytes(index, index->filter_bits_per_key);
}

static bool filter_may_contain(const struct job *job, const struct tac_index_block *index,
                               struct tac_bytes key)
{
    uint32_t       hash = tac_filter_hash(key);
    uint64_t       line;
    uint32_t       lines = tac_filter_block_lines(job->geometry->block_size);
    const uint8_t *block;

    if (index->filter_bytes == 0) {
        return true;
    }
    line = tac_filter_line(hash, index->filter_bytes);
    if (index->filter != NULL) {
        return tac_filter_line_may_contain(index->filter + line * 64, hash,
                                           index->filter_bits_per_key);
    }
    block = job->store->blocks[tac_index_filter_block(index, (uint32_t)(line / lines)).address - 1]
                .buffer.data;
    return tac_filter_line_may_contain(block + 64 + line % lines * 64, hash,
                                       index->filter_bits_per_key);
}

/* Everything an index says of one of its value blocks, and the block's records. */
static uint32_t check_block(const struct job *job, const struct tac_index_block *index,
                            uint32_t number, uint32_t at)
{
    struct tac_value_block block =
        fixture_value_block(job->store, &job->options.layout, index, number);
    struct tac_index_value_block entry = tac_index_value_block(index, number);

    contents_right = contents_right && entry.page_count == block.page_count &&
                     entry.record_count == block.record_count &&
                     entry.tombstone_count == block.tombstone_count &&
                     entry.payload_bytes == block.payload_bytes &&
                     tac_u128_equal(entry.sum, block.sum);
    for (uint32_t i = 0; i < block.page_count; i++) {
        struct tac_page       page = fixture_page(&block, i);
        struct tac_page_entry a = tac_value_block_page(&block, i);
        struct tac_page_entry b = tac_index_page(index, entry.page_first + i);

        contents_right = contents_right && tac_u128_equal(a.checksum, b.checksum) &&
                         a.unit_first == b.unit_first && a.unit_count == b.unit_count &&
                         a.record_count == b.record_count && a.flags == b.flags;
        for (uint32_t j = 0; j < page.record_count; j++, at++) {
            struct tac_record record = tac_page_record(&page, j);
            uint32_t          found = tac_index_find_page(index, record.key);

            contents_right =
                contents_right && at < job->count && fixture_equal(&job->records[at], &record);
            lookups_right = lookups_right && found == entry.page_first + i &&
                            tac_index_block_of_page(index, found) == number &&
                            filter_may_contain(job, index, record.key);
        }
    }
    return at;
}

static void check_contents(const struct job *job)
{
    uint32_t at = 0, blocks = 0;

    for (uint32_t i = 0; i < job->store->table_count; i++) {
        const struct tac_table *table = &job->store->tables[i];
        struct tac_index_block  index = fixture_index(job->store, table);
        uint32_t                first = at;

        for (uint32_t j = 0; j < index.filter_block_count; j++) {
            struct tac_block_reference reference = tac_index_filter_block(&index, j);

            fixture_block(job->store, TAC_BLOCK_FILTER, &reference);
        }
        for (uint32_t j = 0; j < index.value_block_count; j++) {
            at = check_block(job, &index, j, at);
        }
        blocks += index.value_block_count + index.filter_block_count + 1;
        contents_right =
            contents_right && table->records == index.record_count && table->tree == 5 &&
            table->records == at - first && table->tombstones == index.tombstone_count &&
            table->bytes == index.payload_bytes && tac_u128_equal(table->sum, index.sum) &&
            table->value_block_count == index.value_block_count &&
            table->filter_block_count == index.filter_block_count &&
            tac_bytes_compare(table->key_min, fixture_key(&job->records[first])) == 0 &&
            tac_bytes_compare(table->key_max, fixture_key(&job->records[at - 1])) == 0 &&
            filter_is_as_asked(job, &index);
    }
    contents_right = contents_right && at == job->count && blocks == job->store->block_count &&
                     job->store->is_in_order;
}

static void test_jobs(struct tac_prng *prng)
{
    buffers_right = bound_right = totals_right = true;
    ends_right = contents_right = lookups_right = true;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct job job;

        job_make(&job, prng);
        job_run(&job);
        check_ends(&job);
        check_contents(&job);
        job_free(&job);
    }
    tap_ok(contents_right, "tables hold the records appended, and their descriptors say so");
    tap_ok(lookups_right, "index and filter lead to every record");
    tap_ok(ends_right, "tables end at cuts, limits and full indexes, and nowhere else");
    tap_ok(buffers_right, "as many buffers are taken as were announced");
    tap_ok(totals_right, "the totals count every append");
    tap_ok(bound_right, "blocks and tables stay within what a plan reserves");
}

/* Tables as large as they may get, of `count` keys of that size that differ in the last bytes. */
static void whole_job(struct job *job, uint32_t key_size, uint32_t count, uint32_t filter_bits)
{
    *job = (struct job){
        .geometry = &fixture_geometries[1],
        .hashes_max = 100000,
        .count = count,
        .store = fixture_store_new(&fixture_geometries[1]),
    };
    job->cuts[0] = (struct tac_cut){.limit_bytes = UINT64_MAX};
    job->options = (struct tac_table_builder_options){
        .geometry = job->geometry,
        .layout = {TACTUS_LAYOUT_FIXED, key_size, 0},
        .tree = 5,
        .filter_bits_per_key = filter_bits,
        .table_bytes_min = 1,
        .cuts = job->cuts,
        .cut_count = 1,
    };
    job->records = calloc(count, sizeof *job->records);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = __builtin_bswap32(i);

        job->records[i] = (struct fixture_record){calloc(1, key_size), key_size, 0, false};
        memcpy(job->records[i].bytes + key_size - 4, &number, 4);
    }
    buffers_right = bound_right = totals_right = true;
    ends_right = contents_right = lookups_right = true;
    job_run(job);
    check_ends(job);
    check_contents(job);
}

static void test_extremes(void)
{
    struct job job;
    bool       all_right = true;

    whole_job(&job, 500, 2000, 10);
    tap_ok(job.store->table_count > 100 && ends_right && contents_right && lookups_right &&
               buffers_right && bound_right && totals_right,
           "a table ends before long separators overflow its index");
    job_free(&job);
    whole_job(&job, 4, 20000, 20);
    tap_ok(job.store->tables[0].filter_block_count == TAC_FILTER_BLOCKS_MAX && ends_right &&
               contents_right && lookups_right && buffers_right && bound_right && totals_right,
           "a table ends before its filter needs a ninth block");
    job_free(&job);
    filters_with_more = filters_without_more = 0;
    for (uint32_t count = 500; count <= 5000; count += 100) {
        whole_job(&job, 4, count, 10);
        all_right = all_right && contents_right && lookups_right && buffers_right && bound_right;
        job_free(&job);
    }
    tap_ok(all_right && filters_with_more > 0 && filters_without_more > 0,
           "a filter has more bits where its index block has room for them, and elsewhere not");
}

/* The buffers' earlier contents, and whether a builder was used before, do not show. */
static void test_reuse(struct tac_prng *prng)
{
    struct job                job;
    struct tac_table_builder *builder;
    struct fixture_store     *stores[2];
    bool                      equal;

    job_make(&job, prng);
    builder = tac_table_builder_new(job.geometry, job.hashes_max);
    for (uint32_t i = 0; i < 2; i++) {
        struct tac_builder_sink sink;

        stores[i] = fixture_store_new(job.geometry);
        stores[i]->buffers_taken = i; /* Other garbage in the buffers */
        sink = fixture_sink(stores[i]);
        tac_table_builder_begin(builder, &job.options, &sink);
        for (uint32_t j = 0; j < job.count; j++) {
            struct tac_record record = fixture_view(&job.records[j]);

            tac_table_builder_append(builder, &record, fixture_hash(&job.records[j]));
        }
        tac_table_builder_finish(builder);
    }
    equal = stores[0]->block_count == stores[1]->block_count;
    for (uint32_t i = 0; equal && i < stores[0]->block_count; i++) {
        equal = memcmp(stores[0]->blocks[i].buffer.data, stores[1]->blocks[i].buffer.data,
                       job.geometry->block_size) == 0;
    }
    tap_ok(equal, "the same records give the same blocks");
    tac_table_builder_free(builder);
    fixture_store_free(stores[0]);
    fixture_store_free(stores[1]);
    job_free(&job);
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_jobs(&prng);
    test_extremes();
    test_reuse(&prng);
    return tap_done();
}
