/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/recorded_bars.h"

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "pipeline/options.h"
#include "tests/lib/tap.h"

#define MEMTABLE_RECORDS 16384 /* Of all trees together: tables have a thousand */

static struct model *tree_new(const struct tac_shape *shape, uint32_t trees, uint64_t bars)
{
    struct tac_planner_options options = {.memtable_size = shape->memtable_size,
                                          .block_size = shape->block_size,
                                          .table_size = shape->table_size,
                                          .slice_size = shape->slice_size,
                                          .runs_per_level = shape->runs_per_level,
                                          .last_ratio = shape->last_ratio,
                                          .tables_max = 16384};
    uint64_t                   records = MEMTABLE_RECORDS / trees;
    struct model              *model = model_new(&options, (uint32_t)records, bars * records);
    /* What a memtable holds: records count there with their overhead. */
    uint64_t payload = shape->memtable_size * RECORDED_RECORD_BYTES /
                       (RECORDED_RECORD_BYTES + TACTUS_RECORD_OVERHEAD_BYTES);

    model->record_bytes = model->tombstone_bytes = (uint32_t)(payload / MEMTABLE_RECORDS);
    model_record_jobs(model);
    return model;
}

/* One tree's part of a bar is written, planned, carried out, and added to what is recorded. */
static void tree_bar(struct model *model, struct tac_prng *prng, struct recorded_bar *bar)
{
    uint64_t flushed = model->user_bytes;

    while (!model_memtable_is_full(model)) {
        model_write(model, tac_prng_next(prng) >> 1, false);
    }
    model_bar_end(model, MODEL_NORMAL, 0, 0);
    if (bar == NULL) {
        return;
    }
    bar->jobs = realloc(bar->jobs, (bar->job_count + model->job_count) * sizeof *bar->jobs);
    if (bar->jobs == NULL) {
        tap_bail("out of memory");
    }
    memcpy(bar->jobs + bar->job_count, model->jobs, model->job_count * sizeof *bar->jobs);
    for (uint32_t i = 0; i < model->job_count; i++) {
        bar->bytes_planned += model->jobs[i].bytes_planned;
    }
    bar->job_count += model->job_count;
    bar->bytes_flushed += model->user_bytes - flushed;
    bar->tables += model_table_count(model);
}

static void figures_set(struct recorded_bars *recorded)
{
    uint64_t written = 0, flushed = 0;
    uint64_t parts =
        tac_max_u64(2 * recorded->shape.runs_per_level, 16) * (uint64_t)recorded->trees;

    for (uint32_t i = 0; i < recorded->bar_count; i++) {
        flushed += recorded->bars[i].bytes_flushed;
        for (uint32_t j = 0; j < recorded->bars[i].job_count; j++) {
            written += recorded->bars[i].jobs[j].bytes_written;
        }
    }
    recorded->write_amplification = (double)written / (double)flushed;
    recorded->table_bytes =
        tac_max_u64(flushed / recorded->bar_count / parts, recorded->shape.block_size);
}

struct recorded_bars *recorded_bars_new(uint32_t trees, uint32_t memtables, uint32_t bars,
                                        uint64_t slice_size, uint64_t seed)
{
    struct recorded_bars *recorded = model_alloc(1, sizeof *recorded);
    struct model        **models = model_alloc(trees, sizeof(struct model *));
    struct tac_prng       prng = {.state = seed};
    struct tactus_options options;

    tactus_options_init(&options);
    options.slice_size = slice_size == 0 ? options.slice_size : slice_size;
    tac_options_shape(&options, &recorded->shape);
    recorded->trees = trees;
    recorded->bars = model_alloc(bars, sizeof *recorded->bars);
    recorded->bar_count = bars;
    for (uint32_t tree = 0; tree < trees; tree++) {
        models[tree] = tree_new(&recorded->shape, trees, memtables + bars);
    }
    for (uint32_t bar = 0; bar < memtables + bars; bar++) {
        for (uint32_t tree = 0; tree < trees; tree++) {
            tree_bar(models[tree], &prng,
                     bar < memtables ? NULL : &recorded->bars[bar - memtables]);
        }
    }
    for (uint32_t tree = 0; tree < trees; tree++) {
        model_check(models[tree]);
        if (models[tree]->problems > 0) {
            tap_bail("the model of the planner: %s", models[tree]->problem);
        }
        model_free(models[tree]);
    }
    free(models);
    figures_set(recorded);
    return recorded;
}

void recorded_bars_free(struct recorded_bars *recorded)
{
    for (uint32_t i = 0; i < recorded->bar_count; i++) {
        free(recorded->bars[i].jobs);
    }
    free(recorded->bars);
    free(recorded);
}
