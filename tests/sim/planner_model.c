/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/planner_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"

#define JOBS_MAX 8192 /* Of a plan, at most */

void *model_alloc(size_t count, size_t item_bytes)
{
    void *p = calloc(count + 1, item_bytes);

    if (p == NULL) {
        tap_bail("out of memory");
    }
    return p;
}

void model_problem(struct model *model, const char *format, ...)
{
    va_list arguments;

    if (model->problems++ == 0) {
        va_start(arguments, format);
        vsnprintf(model->problem, sizeof model->problem, format, arguments);
        va_end(arguments);
    }
}

struct model *model_new(const struct tac_planner_options *options, uint32_t memtable_records,
                        uint64_t records_total)
{
    struct model *model = model_alloc(1, sizeof *model);
    size_t        tables = options->tables_max;
    uint64_t      slots = 1024;

    while (slots < 2 * records_total) {
        slots *= 2;
    }
    model->options = *options;
    model->planner = tac_planner_new(options);
    if (model->planner == NULL) {
        tap_bail("out of memory");
    }
    tac_planner_state_init(&model->state);
    model->stamp_next = 1;
    model->record_bytes = model->tombstone_bytes = RECORD_BYTES;
    model->memtable_max = memtable_records;
    model->memtable = model_alloc(memtable_records, sizeof *model->memtable);
    model->oracle = model_alloc(slots, sizeof *model->oracle);
    model->oracle_mask = slots - 1;
    model->tables = model_alloc(tables, sizeof *model->tables);
    model->models = model_alloc(tables, sizeof(struct model_table *));
    model->edge_keys = model_alloc(2 * tables + 2, sizeof *model->edge_keys);
    model->flush_below = model_alloc(2 * tables + 2, sizeof *model->flush_below);
    model->sort_a = model_alloc(2 * tables + 4, sizeof *model->sort_a);
    model->sort_b = model_alloc(2 * tables + 4, sizeof *model->sort_b);
    return model;
}

void model_free(struct model *model)
{
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            free(model->level[l].tables[i].storage);
        }
        free(model->level[l].tables);
    }
    tac_planner_free(model->planner);
    free(model->jobs);
    free(model->memtable);
    free(model->oracle);
    free(model->tables);
    free(model->models);
    free(model->edge_keys);
    free(model->flush_below);
    free(model->sort_a);
    free(model->sort_b);
    free(model);
}

void model_record_jobs(struct model *model)
{
    model->jobs = model_alloc(JOBS_MAX, sizeof *model->jobs);
}

/* ---- records -------------------------------------------------------------------------------- */

static bool is_tombstone(const struct model_record *record) { return record->version & 1; }

static uint64_t record_bytes(const struct model *model, const struct model_record *record)
{
    return is_tombstone(record) ? model->tombstone_bytes : model->record_bytes;
}

static uint64_t records_bytes(const struct model *model, const struct model_record *records,
                              uint32_t count)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++) {
        bytes += record_bytes(model, &records[i]);
    }
    return bytes;
}

struct model_record *model_oracle_slot(struct model *model, uint64_t key)
{
    uint64_t slot = tac_mix_u64(key) & model->oracle_mask;

    while (model->oracle[slot].version != 0 && model->oracle[slot].key != key) {
        slot = (slot + 1) & model->oracle_mask;
    }
    return &model->oracle[slot];
}

void model_write(struct model *model, uint64_t key, bool deletes)
{
    struct model_record  record = {.key = key, .version = 2 * ++model->op + deletes};
    struct model_record *slot = model_oracle_slot(model, key);

    tac_assert(model->memtable_count < model->memtable_max);
    model->memtable[model->memtable_count++] = record;
    model->user_bytes += record_bytes(model, &record);
    if (slot->version == 0) {
        model->oracle_count++;
        tac_assert(2 * model->oracle_count <= model->oracle_mask + 1);
    }
    *slot = record;
}

bool model_memtable_is_full(const struct model *model)
{
    return model->memtable_count == model->memtable_max;
}

static int record_order(const void *a, const void *b)
{
    const struct model_record *x = a;
    const struct model_record *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->version < y->version) - (x->version > y->version);
}

/* Sorts by key, newest first, and keeps the newest of each key. */
static uint32_t sort_newest(struct model_record *records, uint32_t count)
{
    uint32_t kept = 0;

    qsort(records, count, sizeof *records, record_order);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || records[kept - 1].key != records[i].key) {
            records[kept++] = records[i];
        }
    }
    return kept;
}

/* The first record with a key at or above. */
static uint32_t lower_bound(const struct model_record *records, uint32_t count, uint64_t key)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (records[middle].key < key) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return low;
}

/* ---- levels --------------------------------------------------------------------------------- */

static int table_order(const void *a, const void *b)
{
    const struct model_table *x = a;
    const struct model_table *y = b;

    if (x->key_min != y->key_min) {
        return x->key_min < y->key_min ? -1 : 1;
    }
    if (x->key_max != y->key_max) {
        return x->key_max < y->key_max ? -1 : 1;
    }
    return (x->stamp > y->stamp) - (x->stamp < y->stamp);
}

static void level_append(struct model_level *level, const struct model_table *table)
{
    if (level->count == level->capacity) {
        level->capacity = level->capacity == 0 ? 64 : 2 * level->capacity;
        level->tables = realloc(level->tables, level->capacity * sizeof *level->tables);
        if (level->tables == NULL) {
            tap_bail("out of memory");
        }
    }
    level->tables[level->count++] = *table;
}

static void level_totals(const struct model_level *level, uint64_t *bytes, uint64_t *records,
                         uint64_t *tombstones)
{
    *bytes = *records = *tombstones = 0;
    for (uint32_t i = 0; i < level->count; i++) {
        *bytes += level->tables[i].bytes;
        *records += level->tables[i].count;
        *tombstones += level->tables[i].tombstones;
    }
}

uint64_t model_table_bytes(const struct model *model)
{
    uint64_t sum = 0;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            sum += model->level[l].tables[i].bytes;
        }
    }
    return sum;
}

uint32_t model_table_count(const struct model *model)
{
    uint32_t sum = 0;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        sum += model->level[l].count;
    }
    return sum;
}

uint64_t model_live_bytes(const struct model *model)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i <= model->oracle_mask; i++) {
        if (model->oracle[i].version != 0 && !is_tombstone(&model->oracle[i])) {
            sum += model->record_bytes;
        }
    }
    return sum;
}

/* ---- the plan's input ----------------------------------------------------------------------- */

/* Byte by byte from the low end; bytes that are all alike cost one look. */
static void sort_keys(struct model *model, uint32_t count)
{
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        uint32_t start[257] = {0};

        for (uint32_t i = 0; i < count; i++) {
            start[((model->sort_a[i].key >> shift) & 255) + 1]++;
        }
        if (start[((model->sort_a[0].key >> shift) & 255) + 1] == count) {
            continue;
        }
        for (uint32_t i = 1; i < 257; i++) {
            start[i] += start[i - 1];
        }
        for (uint32_t i = 0; i < count; i++) {
            model->sort_b[start[(model->sort_a[i].key >> shift) & 255]++] = model->sort_a[i];
        }
        memcpy(model->sort_a, model->sort_b, count * sizeof *model->sort_a);
    }
}

struct extra_keys {
    uint64_t key[4];
    uint32_t edge[4];
    uint32_t count;
};

/* Numbers the keys of all tables and the extra ones. */
static void edges_number(struct model *model, uint32_t table_count, struct extra_keys *extra)
{
    uint32_t count = 0;

    for (uint32_t t = 0; t < table_count; t++) {
        model->sort_a[count].key = model->models[t]->key_min;
        model->sort_a[count++].slot = 2 * t;
        model->sort_a[count].key = model->models[t]->key_max;
        model->sort_a[count++].slot = 2 * t + 1;
    }
    for (uint32_t i = 0; i < extra->count; i++) {
        model->sort_a[count].key = extra->key[i];
        model->sort_a[count++].slot = 2 * table_count + i;
    }
    model->edge_count = 0;
    if (count > 0) {
        sort_keys(model, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = model->sort_a[i].slot;
        uint32_t edge;

        if (i == 0 || model->sort_a[i].key != model->sort_a[i - 1].key) {
            model->edge_keys[model->edge_count++] = model->sort_a[i].key;
        }
        edge = model->edge_count - 1;
        if (slot >= 2 * table_count) {
            extra->edge[slot - 2 * table_count] = edge;
        } else if (slot & 1) {
            model->tables[slot / 2].edge_max = edge;
        } else {
            model->tables[slot / 2].edge_min = edge;
        }
    }
}

/* What the memtable's records give a flush. */
static void input_flush_set(struct model *model, struct tac_plan_input *input)
{
    uint32_t record = 0;
    uint64_t bytes = 0;

    input->flush_records = model->memtable_count;
    for (uint32_t e = 0; e < model->edge_count; e++) {
        while (record < input->flush_records && model->memtable[record].key < model->edge_keys[e]) {
            input->flush_tombstones += is_tombstone(&model->memtable[record]);
            bytes += record_bytes(model, &model->memtable[record++]);
        }
        model->flush_below[e] = bytes;
    }
    input->flush_bytes = records_bytes(model, model->memtable, model->memtable_count);
    input->flush_bytes_below = model->flush_below;
}

static void input_build(struct model *model, struct tac_plan_input *input, enum model_mode mode,
                        const uint64_t manual[2])
{
    struct extra_keys extra = {0};
    uint32_t          count = 0;
    uint32_t          flush = model->memtable_count;

    memset(input, 0, sizeof *input);
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        input->level_start[l] = count;
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            struct model_table *table = &model->level[l].tables[i];

            tac_assert(count < model->options.tables_max);
            model->models[count] = table;
            model->tables[count++] = (struct tac_plan_table){.stamp = table->stamp,
                                                             .bytes = table->bytes,
                                                             .records = table->count,
                                                             .tombstones = table->tombstones,
                                                             .is_damaged = table->is_damaged};
        }
    }
    input->level_start[TACTUS_LEVELS_MAX] = count;
    if (flush > 0) {
        extra.key[extra.count++] = model->memtable[0].key;
        extra.key[extra.count++] = model->memtable[flush - 1].key;
    }
    if (mode == MODEL_MANUAL) {
        extra.key[extra.count++] = manual[0];
        extra.key[extra.count++] = manual[1];
    }
    edges_number(model, count, &extra);
    input->tables = model->tables;
    input->edge_count = model->edge_count;
    input->is_held = mode == MODEL_HELD;
    input->is_tight = mode == MODEL_TIGHT;
    model->had_tight_flush |= input->is_tight;
    input->bars_stuck = model->bars_stuck;
    input->is_draining = mode == MODEL_DRAINING;
    input->is_manual = mode == MODEL_MANUAL;
    if (mode == MODEL_MANUAL) {
        input->manual_edge_min = extra.edge[extra.count - 2];
        input->manual_edge_max = extra.edge[extra.count - 1];
    }
    if (flush > 0) {
        input->flush_edge_min = extra.edge[0];
        input->flush_edge_max = extra.edge[1];
        input_flush_set(model, input);
    }
}

/* ---- carrying out a plan -------------------------------------------------------------------- */

/* A sorted list without duplicates; a newer one wins over an older. */
struct list {
    struct model_record *records;
    uint32_t             count;
};

static struct list merge_two(struct list older, struct list newer)
{
    struct list out = {model_alloc(older.count + newer.count, sizeof(struct model_record)), 0};
    uint32_t    a = 0;
    uint32_t    b = 0;

    while (a < older.count || b < newer.count) {
        bool is_a =
            b == newer.count || (a < older.count && older.records[a].key < newer.records[b].key);

        if (!is_a && a < older.count && older.records[a].key == newer.records[b].key) {
            a++;
        }
        out.records[out.count++] = is_a ? older.records[a++] : newer.records[b++];
    }
    return out;
}

/* Merges lists[begin, end), which go from old to new, into a list of its own memory. */
static struct list merge_lists(const struct list *lists, uint32_t begin, uint32_t end)
{
    uint32_t    middle = begin + (end - begin) / 2;
    struct list a = {0};
    struct list b, out;

    if (end - begin <= 1) {
        return merge_two(a, end > begin ? lists[begin] : a);
    }
    a = merge_lists(lists, begin, middle);
    b = merge_lists(lists, middle, end);
    out = merge_two(a, b);
    free(a.records);
    free(b.records);
    return out;
}

struct source {
    uint64_t             age; /* Lower is older */
    struct model_record *records;
    uint32_t             count;
};

static int source_order(const void *a, const void *b)
{
    const struct source *x = a;
    const struct source *y = b;

    return (x->age > y->age) - (x->age < y->age);
}

/* The compaction's sources, oldest first: the target's tables, the source's by stamp, the flush. */
static uint32_t sources_collect(const struct model *model, const struct tac_plan_input *input,
                                const struct tac_plan *plan, const struct tac_plan_compaction *c,
                                struct source *sources)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->input_count; i++) {
        uint32_t                  t = plan->inputs[c->input_first + i];
        const struct model_table *table = model->models[t];
        bool                      is_source = t < input->level_start[c->level_source + 1];

        sources[count++] = (struct source){
            .age = is_source ? table->stamp : 0, .records = table->records, .count = table->count};
    }
    if (c->kind == TAC_PLAN_FLUSH) {
        sources[count++] = (struct source){
            .age = UINT64_MAX, .records = model->memtable, .count = model->memtable_count};
    }
    qsort(sources, count, sizeof *sources, source_order);
    return count;
}

static uint64_t edge_key(const struct model *model, uint32_t edge)
{
    return edge == TAC_EDGE_NONE ? UINT64_MAX : model->edge_keys[edge];
}

static void table_finish(struct model *model, struct model_level *outputs,
                         const struct model_record *records, uint32_t count, uint64_t stamp,
                         uint64_t target)
{
    struct model_table table = {.key_min = records[0].key,
                                .key_max = records[count - 1].key,
                                .stamp = stamp,
                                .count = count};

    tac_assert(count > 0);
    table.storage = model_alloc(count, sizeof *table.storage);
    table.records = table.storage;
    memcpy(table.records, records, count * sizeof *records);
    table.bytes = records_bytes(model, records, count);
    for (uint32_t i = 0; i < count; i++) {
        table.tombstones += is_tombstone(&records[i]);
    }
    model->table_count++;
    model->sliver_count += 8 * table.bytes < target;
    level_append(outputs, &table);
}

/* Cuts a job's stream into tables as the merge builder does. */
static void job_build(struct model *model, const struct tac_plan *plan,
                      const struct tac_plan_job *job, struct list stream, uint64_t stamp,
                      uint64_t stamp_step, struct model_level *outputs)
{
    uint32_t cut = job->cut_first;
    uint32_t first = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < stream.count; i++) {
        const struct model_record *record = &stream.records[i];

        while (plan->cuts[cut].edge != TAC_EDGE_NONE &&
               record->key >= model->edge_keys[plan->cuts[cut].edge]) {
            if (i > first && (plan->cuts[cut].is_hard || bytes >= plan->table_bytes_min)) {
                table_finish(model, outputs, &stream.records[first], i - first, stamp,
                             plan->table_bytes);
                stamp += stamp_step;
                first = i;
                bytes = 0;
            }
            cut++;
            tac_assert(cut < job->cut_first + job->cut_count);
        }
        if (i > first && bytes + record_bytes(model, record) > plan->cuts[cut].limit_bytes) {
            table_finish(model, outputs, &stream.records[first], i - first, stamp,
                         plan->table_bytes);
            stamp += stamp_step;
            first = i;
            bytes = 0;
        }
        bytes += record_bytes(model, record);
    }
    if (stream.count > first) {
        table_finish(model, outputs, &stream.records[first], stream.count - first, stamp,
                     plan->table_bytes);
    }
}

static int list_order(const void *a, const void *b)
{
    const struct list *x = a;
    const struct list *y = b;

    return record_order(&x->records[0], &y->records[0]);
}

/* The most lists over one key: sources that the engine reads side by side, since it chains those
 * that follow each other (pipeline/bar_jobs.c). Sorts the lists. */
static uint32_t lists_depth(struct list *lists, uint32_t count)
{
    uint64_t *ends = model_alloc(count, sizeof *ends); /* By chain */
    uint32_t  chains = 0;

    qsort(lists, count, sizeof *lists, list_order);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t chain = 0;

        while (chain < chains && ends[chain] >= lists[i].records[0].key) {
            chain++;
        }
        ends[chain] = lists[i].records[lists[i].count - 1].key;
        chains += chain == chains;
    }
    free(ends);
    return chains;
}

/* The lists are those that the job has read. */
static void job_record(struct model *model, const struct tac_plan_compaction *c,
                       const struct tac_plan_job *job, struct list *lists, uint32_t list_count,
                       uint64_t bytes_written)
{
    struct model_job *recorded = &model->jobs[model->job_count++];
    uint32_t          kept = 0;

    tac_assert(model->job_count <= JOBS_MAX);
    *recorded = (struct model_job){.kind = c->kind,
                                   .level_source = c->level_source,
                                   .level_target = c->level_target,
                                   .bytes_planned = job->bytes,
                                   .bytes_written = bytes_written};
    for (uint32_t i = 0; i < list_count; i++) {
        if (lists[i].count > 0) {
            recorded->bytes_consumed += records_bytes(model, lists[i].records, lists[i].count);
            lists[kept++] = lists[i];
        }
    }
    recorded->sources = lists_depth(lists, kept);
}

static void job_run(struct model *model, const struct tac_plan *plan,
                    const struct tac_plan_compaction *c, const struct tac_plan_job *job,
                    const struct source *sources, uint32_t source_count, struct model_bar *bar,
                    struct model_level *outputs)
{
    struct list *lists = model_alloc(source_count, sizeof *lists);
    struct list  stream;
    uint32_t     kept = 0;
    uint64_t     begin = job->edge_begin == TAC_EDGE_NONE ? 0 : model->edge_keys[job->edge_begin];

    for (uint32_t s = 0; s < source_count; s++) {
        uint32_t first = lower_bound(sources[s].records, sources[s].count, begin);
        uint32_t end = job->edge_end == TAC_EDGE_NONE
                           ? sources[s].count
                           : lower_bound(sources[s].records, sources[s].count,
                                         model->edge_keys[job->edge_end]);

        lists[s] = (struct list){sources[s].records + first, end - first};
        bar->work_bytes += records_bytes(model, lists[s].records, lists[s].count);
    }
    stream = merge_lists(lists, 0, source_count);
    for (uint32_t i = 0; i < stream.count; i++) {
        if (!job->drops_tombstones || !is_tombstone(&stream.records[i])) {
            stream.records[kept++] = stream.records[i];
        }
    }
    stream.count = kept;
    bar->written_bytes += records_bytes(model, stream.records, stream.count);
    if (model->jobs != NULL) {
        job_record(model, c, job, lists, source_count,
                   records_bytes(model, stream.records, stream.count));
    }
    if (c->kind == TAC_PLAN_IN_PLACE) {
        job_build(model, plan, job, stream, c->stamp, 0, outputs);
    } else {
        job_build(model, plan, job, stream, model->stamp_next, model->shares_stamps ? 0 : 1,
                  outputs);
    }
    free(stream.records);
    free(lists);
}

/* Removes the inputs, or what was taken of them; count 0 marks a table that is gone. */
static void inputs_retire(struct model *model, const struct tac_plan *plan,
                          const struct tac_plan_compaction *c)
{
    for (uint32_t i = 0; i < c->input_count; i++) {
        struct model_table *table = model->models[plan->inputs[c->input_first + i]];
        uint32_t            taken = table->count;

        if (c->edge_slice != TAC_EDGE_NONE) {
            uint64_t key = edge_key(model, c->edge_slice);

            taken = lower_bound(table->records, table->count, key);
            table->key_min = key;
        }
        for (uint32_t k = 0; k < taken; k++) {
            table->bytes -= record_bytes(model, &table->records[k]);
            table->tombstones -= is_tombstone(&table->records[k]);
        }
        table->records += taken;
        table->count -= taken;
        if (table->count == 0) {
            free(table->storage);
            table->storage = NULL;
        }
    }
}

static void compaction_run(struct model *model, const struct tac_plan_input *input,
                           const struct tac_plan *plan, const struct tac_plan_compaction *c,
                           struct model_bar *bar, struct model_level *outputs)
{
    struct source *sources = model_alloc(c->input_count + 1, sizeof *sources);
    uint32_t       count = sources_collect(model, input, plan, c, sources);
    uint64_t       work_before = bar->work_bytes;
    uint64_t       work;

    model->kinds[c->kind]++;
    if (c->kind == TAC_PLAN_MOVE) {
        struct model_table *table = model->models[plan->inputs[c->input_first]];

        level_append(outputs, table);
        outputs->tables[outputs->count - 1].stamp = model->stamp_next;
        table->count = 0;
        table->storage = NULL;
    }
    for (uint32_t j = c->job_first; j < c->job_first + c->job_count; j++) {
        job_run(model, plan, c, &plan->jobs[j], sources, count, bar, outputs);
        model->stamp_next += model->shares_stamps ? 0 : 100000;
    }
    model->stamp_next += 100000;
    free(sources);
    if (c->kind == TAC_PLAN_MOVE) {
        return;
    }
    inputs_retire(model, plan, c);
    work = bar->work_bytes - work_before;
    model->kind_bytes[c->kind] += work;
    if (c->kind != TAC_PLAN_FLUSH) {
        model->largest_bytes = tac_max_u64(model->largest_bytes, work);
        model->largest_excess_bytes =
            tac_max_u64(model->largest_excess_bytes, tac_subtract_floor_zero(work, c->bytes));
    }
}

/* ---- the bar's end -------------------------------------------------------------------------- */

static void level_check(struct model *model, uint32_t l)
{
    const struct model_level *level = &model->level[l];
    bool      is_run = l == model->state.last_level || model->options.runs_per_level == 1;
    uint64_t *ends = model_alloc(level->count, sizeof *ends);
    uint32_t  open = 0;
    uint64_t  damaged_end = 0;

    for (uint32_t i = 0; i < level->count; i++) {
        const struct model_table *table = &level->tables[i];
        uint32_t                  kept = 0;

        if (table->count == 0 || table->records[0].key < table->key_min ||
            table->records[table->count - 1].key != table->key_max ||
            table->bytes != records_bytes(model, table->records, table->count)) {
            model_problem(model, "a table's entry does not fit its records");
        }
        if (l == model->state.last_level && table->tombstones > 0) {
            model_problem(model, "a tombstone has reached the last level");
        }
        for (uint32_t k = 0; k < open; k++) {
            if (ends[k] >= table->key_min) {
                ends[kept++] = ends[k];
            }
        }
        open = kept;
        ends[open++] = table->key_max;
        /* Above a damaged table of level 0 a flush cannot but overlap. */
        damaged_end = table->is_damaged ? table->key_max : damaged_end;
        if (is_run && open > 1 && !(l == 0 && damaged_end >= table->key_min && open == 2)) {
            model_problem(model, "tables of a run overlap (level %u)", l);
        }
        model->depth_max = (uint32_t)tac_max_u64(model->depth_max, open);
    }
    free(ends);
}

static void commit(struct model *model, struct model_level *outputs)
{
    uint64_t bytes, records, tombstones;
    uint32_t last = model->state.last_level;
    uint32_t sunk;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        struct model_level *level = &model->level[l];
        uint32_t            kept = 0;

        for (uint32_t i = 0; i < level->count; i++) {
            if (level->tables[i].count > 0) {
                level->tables[kept++] = level->tables[i];
            }
        }
        level->count = kept;
        for (uint32_t i = 0; i < outputs[l].count; i++) {
            level_append(level, &outputs[l].tables[i]);
        }
        free(outputs[l].tables);
        if (level->count > 0) {
            qsort(level->tables, level->count, sizeof *level->tables, table_order);
        }
    }
    level_totals(&model->level[last], &bytes, &records, &tombstones);
    sunk = tac_planner_sink(&model->options, &model->state,
                            tac_planner_level_size(bytes, records, tombstones));
    for (uint32_t i = 0; i < sunk; i++) {
        struct model_level empty = model->level[last + i + 1];

        tac_assert(empty.count == 0);
        model->level[last + i + 1] = model->level[last + i];
        model->level[last + i] = empty;
    }
}

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void plan_and_run(struct model *model, enum model_mode mode, const uint64_t manual[2],
                         uint32_t half, struct model_bar *bar)
{
    struct model_level       outputs[TACTUS_LEVELS_MAX] = {0};
    struct tac_plan_input    input;
    const struct tac_plan   *plan;
    struct tac_planner_state state = model->state;
    uint64_t                 begin_ns;
    bool                     is_flushing = model->options.runs_per_level > 1 || half == 1;

    input_build(model, &input, mode, manual);
    input.half = half;
    begin_ns = now_ns();
    plan = tac_planner_plan(model->planner, &model->state, &input);
    bar->plan_ns += now_ns() - begin_ns;
    model_plan_check(model, &input, &state, plan);
    for (uint32_t i = 0; i < plan->compaction_count; i++) {
        const struct tac_plan_compaction *c = &plan->compactions[i];

        compaction_run(model, &input, plan, c, bar, &outputs[c->level_target]);
    }
    if (is_flushing) {
        model->memtable_count = 0;
    }
    commit(model, outputs);
    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        level_check(model, l);
    }
}

struct model_bar model_bar_end(struct model *model, enum model_mode mode, uint64_t manual_min,
                               uint64_t manual_max)
{
    struct model_bar bar = {0};
    uint64_t         manual[2] = {manual_min, manual_max};

    model->job_count = 0;
    if (model->memtable_count > 0) {
        model->memtable_count = sort_newest(model->memtable, model->memtable_count);
    }
    if (model->options.runs_per_level == 1) {
        plan_and_run(model, mode, manual, 0, &bar);
        plan_and_run(model, mode, manual, 1, &bar);
    } else {
        plan_and_run(model, mode, manual, 0, &bar);
    }
    tac_assert(model->memtable_count == 0);
    model->written_bytes += bar.written_bytes;
    model->plan_ns_max = tac_max_u64(model->plan_ns_max, bar.plan_ns);
    model->plan_ns_sum += bar.plan_ns;
    bar.tables = model_table_count(model);
    return bar;
}

bool model_is_settled(struct model *model)
{
    struct tac_plan_input input;
    uint64_t              manual[2] = {0, 0};

    input_build(model, &input, MODEL_NORMAL, manual);
    return tac_planner_is_settled(model->planner, &model->state, &input);
}
