/* SPDX-License-Identifier: Apache-2.0 */
/* planner_test -- the planner against a model tree that holds real records: nothing is lost, every
 * bound holds, and the figures of docs/COMPACTION.md come out again.
 *
 * LONG=1 runs every workload at every size; ONLY=<name> one workload, ONLY=scenarios none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"
#include "tests/sim/planner_model.h"

#define MEMTABLE_RECORDS 512

/* ---- workloads ------------------------------------------------------------------------------ */

struct writer {
    struct model   *model;
    struct tac_prng prng;
    uint64_t        n;           /* Writes so far */
    uint64_t        total;       /* Writes there will be */
    uint64_t        bar_records; /* Writes of a full bar */
    uint64_t        next;
};

struct workload {
    const char *name;
    void (*write)(struct writer *writer);
    uint32_t share;           /* 1/share of the memtable is this tree's in a bar; 0: all */
    uint32_t tombstone_bytes; /* 0: as a record */
    bool     is_core;         /* Longer runs without LONG too */
};

static uint64_t draw(struct writer *writer, uint64_t bound)
{
    return tac_prng_below(&writer->prng, bound);
}

static void put(struct writer *writer, uint64_t key) { model_write(writer->model, key, false); }

static void write_uniform(struct writer *writer) { put(writer, draw(writer, (uint64_t)1 << 40)); }

static void write_sequential(struct writer *writer) { put(writer, writer->n); }

static void write_descending(struct writer *writer) { put(writer, writer->total - writer->n); }

static void write_almost_sequential(struct writer *writer)
{
    uint64_t head = (writer->n + 1) << 16;

    put(writer, draw(writer, 100) == 0 ? draw(writer, head) : head);
}

/* Rank r of n with weight about 1/r: the inverse of the integral of 1/x. */
static uint64_t draw_zipf(struct writer *writer, uint64_t n)
{
    double u = (double)draw(writer, 1 << 30) / (double)(1 << 30);
    double rank = exp(u * log((double)n + 1.0)) - 1.0;

    return tac_min_u64((uint64_t)rank, n - 1);
}

static void write_zipf_scattered(struct writer *writer)
{
    put(writer, tac_mix_u64(draw_zipf(writer, writer->total / 2)) >> 24);
}

static void write_zipf_adjacent(struct writer *writer)
{
    put(writer, draw_zipf(writer, writer->total / 2));
}

static void write_hot_cold(struct writer *writer)
{
    uint64_t universe = writer->total / 2;

    put(writer,
        draw(writer, 10) < 9 ? universe / 3 + draw(writer, universe / 10) : draw(writer, universe));
}

static void write_insert_delete(struct writer *writer)
{
    uint64_t half = writer->total / 2;

    if (writer->n < half) {
        put(writer, tac_mix_u64(writer->n) >> 20);
    } else {
        model_write(writer->model, tac_mix_u64(writer->n - half) >> 20, true);
    }
}

/* The newest are put, the oldest go: a window of a quarter of all writes. */
static void write_time_series(struct writer *writer)
{
    uint64_t window = writer->total / 4;

    if (writer->n % 2 == 1 && writer->next > window) {
        model_write(writer->model, writer->next - window, true);
        return;
    }
    put(writer, ++writer->next);
}

static void write_bimodal(struct writer *writer)
{
    put(writer,
        draw(writer, 2) == 0 ? ((uint64_t)1 << 41) + writer->n : draw(writer, (uint64_t)1 << 40));
}

static void write_overwrite(struct writer *writer)
{
    put(writer, tac_mix_u64(draw(writer, 128 * writer->bar_records)) >> 20);
}

/* Every bar writes into a few ranges that lie far apart. */
static void write_clusters(struct writer *writer)
{
    uint64_t bar = writer->n / writer->bar_records;
    uint64_t cluster = tac_mix_u64(16 * bar + draw(writer, 16)) >> 24;

    put(writer, cluster + draw(writer, 1 << 20));
}

static void write_shifting(struct writer *writer)
{
    uint64_t span = (uint64_t)1 << 36;

    put(writer, writer->n * (span / (16 * writer->bar_records)) + draw(writer, span));
}

static void write_random_scale(struct writer *writer)
{
    put(writer, draw(writer, (uint64_t)1 << 40) >> draw(writer, 24));
}

/* The range of the bars shrinks and grows. */
static void write_zoom(struct writer *writer)
{
    uint64_t bar = writer->n / writer->bar_records;
    uint64_t shift = bar % 24 < 12 ? bar % 12 : 12 - bar % 12;

    put(writer, ((uint64_t)1 << 39) + draw(writer, ((uint64_t)1 << 38) >> shift));
}

static void write_eight_ranges(struct writer *writer)
{
    uint64_t range = tac_mix_u64(draw(writer, 8)) >> 20;

    put(writer, range + draw(writer, (uint64_t)1 << 34));
}

/* Passes over the same keys in order, again and again. */
static void write_sawtooth(struct writer *writer)
{
    put(writer, writer->n % (20 * writer->bar_records) * 7);
}

/* Appends at one end; deletes, in order, at the other; half of these are of keys never put. */
static void write_queue(struct writer *writer)
{
    if (draw(writer, 5) < 2 && writer->next < writer->n) {
        model_write(writer->model, 2 * writer->next++ + draw(writer, 2), true);
        return;
    }
    put(writer, 2 * writer->n);
}

/* A third each of inserts, overwrites and deletes over one set of keys. */
static void write_churn(struct writer *writer)
{
    uint64_t key = tac_mix_u64(draw(writer, writer->total / 8 + 1)) >> 20;

    model_write(writer->model, key, draw(writer, 3) == 0);
}

static const struct workload workloads[] = {
    {"uniform", write_uniform, 0, 0, true},
    {"sequential", write_sequential, 0, 0, true},
    {"descending", write_descending, 0, 0, false},
    {"seq+1%", write_almost_sequential, 0, 0, true},
    {"zipf scattered", write_zipf_scattered, 0, 0, true},
    {"zipf adjacent", write_zipf_adjacent, 0, 0, false},
    {"hot+cold", write_hot_cold, 0, 0, true},
    {"insert, delete", write_insert_delete, 0, 0, true},
    {"time series", write_time_series, 0, 0, true},
    {"bimodal", write_bimodal, 0, 0, true},
    {"overwrite", write_overwrite, 0, 0, true},
    {"clusters", write_clusters, 0, 0, false},
    {"shifting", write_shifting, 0, 0, true},
    {"random scale", write_random_scale, 0, 0, false},
    {"zoom", write_zoom, 0, 0, true},
    {"8 ranges", write_eight_ranges, 0, 0, false},
    {"sawtooth", write_sawtooth, 0, 0, false},
    {"queue", write_queue, 0, 0, false},
    {"churn", write_churn, 0, 0, true},
    {"small deletes", write_insert_delete, 0, 16, false},
    {"small series", write_time_series, 0, 16, false},
    {"tiny tree", write_uniform, 16, 0, false},
};

/* ---- runs ----------------------------------------------------------------------------------- */

struct run_options {
    uint32_t bars;
    uint32_t runs;    /* R */
    uint32_t ratio;   /* rho */
    uint32_t records; /* Of the tree's part of the memtable */
    bool     shares_stamps;
    uint32_t blocks; /* Of that part; 0: 512 */
};

struct run {
    struct model *model;
    struct writer writer;
    double        unit; /* Bytes of the tree's part of the memtable */
};

static struct run run_begin(const struct workload *workload, const struct run_options *options)
{
    uint64_t                   share = workload->share == 0 ? 1 : workload->share;
    uint64_t                   part = (uint64_t)options->records * RECORD_BYTES;
    uint64_t                   memtable = part * share;
    uint32_t                   blocks = options->blocks == 0 ? 512 : options->blocks;
    struct tac_planner_options planner = {.memtable_size = memtable,
                                          .block_size = part / blocks,
                                          .table_size = tac_max_u64(memtable / 8, part / blocks),
                                          .slice_size = memtable * 3 / 32,
                                          .runs_per_level = options->runs,
                                          .last_ratio = options->ratio,
                                          .tables_max = 40000};
    struct run                 run = {.unit = (double)part};

    run.writer.total = (uint64_t)options->bars * options->records;
    run.writer.bar_records = options->records;
    run.writer.prng.state = 7;
    run.model = model_new(&planner, options->records, run.writer.total);
    run.writer.model = run.model;
    run.model->shares_stamps = options->shares_stamps;
    if (workload->tombstone_bytes > 0) {
        run.model->tombstone_bytes = workload->tombstone_bytes;
    }
    return run;
}

/* Writes a bar, or a part of one, and ends it. */
static struct model_bar run_bar(struct run *run, const struct workload *workload, uint32_t records,
                                enum model_mode mode)
{
    for (uint32_t i = 0; i < records; i++) {
        workload->write(&run->writer);
        run->writer.n++;
    }
    return model_bar_end(run->model, mode, 0, 0);
}

static void run_bars(struct run *run, const struct workload *workload, uint32_t bars,
                     enum model_mode mode)
{
    for (uint32_t i = 0; i < bars; i++) {
        run_bar(run, workload, (uint32_t)run->writer.bar_records, mode);
    }
}

/* Nothing went wrong, the content is right: one check. */
static void run_end(struct run *run, const char *what)
{
    model_check(run->model);
    tap_ok(run->model->problems == 0, "%s: no record is lost, no bound broken%s%s", what,
           run->model->problems > 0 ? ": " : "", run->model->problem);
    model_free(run->model);
}

static const struct workload *workload_named(const char *name)
{
    for (size_t i = 0; i < TAC_ARRAY_COUNT(workloads); i++) {
        if (strcmp(workloads[i].name, name) == 0) {
            return &workloads[i];
        }
    }
    tap_bail("no workload %s", name);
}

/* ---- the figures ---------------------------------------------------------------------------- */

struct figures {
    double   write_amplification, space;
    double   work_max, work_p99; /* In means, over the bars after the first quarter */
    double   largest;            /* Compaction, in memtables */
    double   left;               /* Memtables of table bytes */
    uint32_t depth;
};

static int double_order(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return (*x > *y) - (*x < *y);
}

static void work_figures(double *work, uint32_t bars, struct figures *figures)
{
    uint32_t first = bars / 4;
    uint32_t count = bars - first;
    double   sum = 0;

    for (uint32_t i = first; i < bars; i++) {
        sum += work[i];
    }
    qsort(work + first, count, sizeof *work, double_order);
    figures->work_max = work[bars - 1] * count / sum;
    figures->work_p99 = work[first + (uint32_t)((double)(count - 1) * 0.99)] * count / sum;
}

static struct figures run_figures(const struct workload    *workload,
                                  const struct run_options *options)
{
    struct run     run = run_begin(workload, options);
    struct model  *model = run.model;
    struct figures figures = {0};
    double        *work = calloc(options->bars, sizeof *work);
    char           what[64];

    for (uint32_t bar = 0; bar < options->bars; bar++) {
        work[bar] = (double)run_bar(&run, workload, options->records, MODEL_NORMAL).work_bytes;
        if (bar % 80 == 79) {
            model_check(model);
        }
    }
    work_figures(work, options->bars, &figures);
    free(work);
    figures.write_amplification = (double)model->written_bytes / (double)model->user_bytes;
    figures.left = (double)model_table_bytes(model) / run.unit;
    figures.space = figures.left * run.unit / (double)tac_max_u64(model_live_bytes(model), 1);
    figures.largest = (double)model->largest_bytes / run.unit;
    figures.depth = model->depth_max;
    tap_diag("%-14s %3u %2u | %5.2f %6.2f %6.1f | %2u | %4.2f %4.2f | %4.2f | %u %5u %2.0f%% | "
             "%5llu %4llu %5llu | %.2f %.2f ms",
             workload->name, options->bars, options->runs, figures.write_amplification,
             tac_min_u64((uint64_t)figures.space, 100) == 100 ? 0 : figures.space, figures.left,
             figures.depth, figures.work_max, figures.work_p99, figures.largest,
             model->state.last_level, model_table_count(model),
             100.0 * (double)model->sliver_count / (double)tac_max_u64(model->table_count, 1),
             (unsigned long long)model->kinds[TAC_PLAN_MERGE],
             (unsigned long long)model->kinds[TAC_PLAN_IN_PLACE],
             (unsigned long long)model->kinds[TAC_PLAN_MOVE],
             (double)model->plan_ns_sum / 1e6 / options->bars, (double)model->plan_ns_max / 1e6);
    snprintf(what, sizeof what, "%s, %u bars, R %u", workload->name, options->bars, options->runs);
    run_end(&run, what);
    return figures;
}

/* What docs/COMPACTION.md promises for R 8; 0: nothing. */
struct promise {
    const char *name;
    double      amplification[3]; /* After 40, 160 and 640 memtables */
    double      work_p99;         /* After 640 */
    double      space;            /* Table bytes for live bytes, at any size */
};

static const struct promise promises[] = {
    {"uniform", {3.1, 3.7, 5.4}, 2.2, 1.0},
    {"sequential", {1.0, 1.0, 1.0}, 1.1, 1.0},
    {"descending", {1.0, 1.0, 1.0}, 1.1, 1.0},
    {"seq+1%", {1.6, 2.8, 3.5}, 2.1, 1.0},
    {"zipf scattered", {0, 0, 2.5}, 2.2, 1.5},
    {"zipf adjacent", {0, 0, 2.5}, 2.2, 1.5},
    {"hot+cold", {2.2, 2.6, 3.3}, 2.2, 1.6},
    {"insert, delete", {3.1, 4.3, 5.5}, 2.2, 0},
    {"time series", {1.0, 1.0, 1.0}, 2.2, 1.6},
    {"bimodal", {2.9, 3.6, 4.8}, 2.2, 1.0},
    {"overwrite", {3.1, 3.6, 4.1}, 2.2, 1.8},
    {"clusters", {2.0, 2.0, 2.0}, 2.2, 1.0},
    {"shifting", {0, 0, 3.6}, 2.2, 1.0},
    {"random scale", {0, 3.9, 0}, 2.2, 1.1},
    {"zoom", {0, 3.9, 0}, 2.2, 1.0},
    {"8 ranges", {0, 3.9, 0}, 2.2, 1.0},
    {"tiny tree", {3.1, 3.7, 5.4}, 2.2, 1.0},
    {"sawtooth", {0, 0, 2.0}, 2.2, 1.8},
    {"queue", {1.3, 1.3, 1.3}, 2.2, 1.4},
    {"churn", {3.3, 3.9, 4.6}, 2.2, 1.6},
    {"small deletes", {0, 0, 0}, 2.2, 0},
    {"small series", {1.0, 1.0, 1.0}, 2.6, 1.6},
};

static void check_promises(const struct workload *workload, const struct run_options *options,
                           const struct figures *figures)
{
    uint32_t size = options->bars >= 640 ? 2 : options->bars >= 160 ? 1 : 0;

    tap_ok(figures->depth <= (options->runs == 1 ? 1 : 4 * options->runs), "%s: depth %u",
           workload->name, figures->depth);
    tap_ok(figures->largest <= 5.0, "%s: the largest compaction has %.2f memtables", workload->name,
           figures->largest);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(promises) && options->runs == 8; i++) {
        double most = promises[i].amplification[size];

        if (strcmp(promises[i].name, workload->name) != 0) {
            continue;
        }
        if (most > 0) {
            tap_ok(figures->write_amplification <= 1.15 * most,
                   "%s: write amplification %.2f is at most 15 %% above %.1f", workload->name,
                   figures->write_amplification, most);
        }
        if (promises[i].space > 0) {
            tap_ok(figures->space <= 1.01 * promises[i].space,
                   "%s: the tables take %.2f times the live bytes", workload->name, figures->space);
        } else {
            tap_ok(figures->left <= 50 + 0.05 * options->bars,
                   "%s: of %u memtables %.1f are left after the deletes", workload->name,
                   options->bars / 2, figures->left);
        }
        if (size == 2) {
            tap_ok(figures->work_p99 <= promises[i].work_p99,
                   "%s: of 100 bars 99 do at most %.2f times the mean work", workload->name,
                   figures->work_p99);
        }
    }
}

/* The longest run that the time of a quick test allows. */
static uint32_t bars_max_short(const struct workload *workload, uint32_t runs)
{
    if (runs == 8) {
        return workload->is_core ? 640 : 160;
    }
    return workload->is_core ? 160 : 40;
}

static void test_figures(const char *only, bool is_long)
{
    static const uint32_t sizes[] = {40, 160, 640};
    static const uint32_t runs[] = {8, 4, 1};

    tap_diag("workload       bars R | write space left (M) | depth | bar max p99 (means) | "
             "largest (M) | K tables slivers | merges in-place moves | plan mean max");
    for (size_t i = 0; i < TAC_ARRAY_COUNT(workloads); i++) {
        for (size_t k = 0; k < TAC_ARRAY_COUNT(runs) * TAC_ARRAY_COUNT(sizes); k++) {
            struct run_options options = {.bars = sizes[k % 3],
                                          .runs = runs[k / 3],
                                          .ratio = 2,
                                          .records = MEMTABLE_RECORDS,
                                          .shares_stamps = (i + k) % 2 == 0};
            struct figures     figures;

            if (only != NULL && strcmp(only, workloads[i].name) != 0) {
                continue;
            }
            if (!is_long && options.bars > bars_max_short(&workloads[i], options.runs)) {
                continue;
            }
            figures = run_figures(&workloads[i], &options);
            check_promises(&workloads[i], &options, &figures);
        }
    }
}

/* ---- drain, manual compaction, hold, damage ------------------------------------------------- */

static uint32_t drain(struct run *run, uint32_t bars_max)
{
    uint32_t bars = 0;

    do {
        model_bar_end(run->model, MODEL_DRAINING, 0, 0);
        bars++;
    } while (!model_is_settled(run->model) && bars < bars_max);
    return bars;
}

static void test_drain(const char *name, uint32_t runs)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {160, runs, 2, MEMTABLE_RECORDS, runs == 4, 0};
    struct run             run = run_begin(workload, &options);
    uint32_t               bars;

    run_bars(&run, workload, 60, MODEL_NORMAL);
    bars = drain(&run, 100);
    tap_ok(model_is_settled(run.model), "%s, R %u: settled after %u bars", name, runs, bars);
    tap_ok(model_bar_end(run.model, MODEL_DRAINING, 0, 0).work_bytes == 0,
           "a settled tree has nothing to do");
    run_bars(&run, workload, 60, MODEL_HELD);
    bars = drain(&run, 400);
    tap_ok(model_is_settled(run.model), "%s, R %u: settled after %u bars, 60 bars held before",
           name, runs, bars);
    run_bars(&run, workload, 10, MODEL_NORMAL);
    run_end(&run, "drain and hold");
}

static uint32_t tables_above_last(const struct model *model, uint64_t key_min, uint64_t key_max)
{
    uint32_t count = 0;

    for (uint32_t l = 0; l < model->state.last_level; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            const struct model_table *table = &model->level[l].tables[i];

            count += table->key_min <= key_max && table->key_max >= key_min;
        }
    }
    return count;
}

static void test_manual(const char *name, uint32_t runs, uint64_t key_min, uint64_t key_max)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {160, runs, 2, MEMTABLE_RECORDS, false, 0};
    struct run             run = run_begin(workload, &options);
    uint32_t               bars = 0;

    run_bars(&run, workload, 100, MODEL_NORMAL);
    while (tables_above_last(run.model, key_min, key_max) > 0 && bars < 200) {
        model_bar_end(run.model, MODEL_MANUAL, key_min, key_max);
        bars++;
    }
    tap_ok(tables_above_last(run.model, key_min, key_max) == 0,
           "%s, R %u: all of the range lies in the last level after %u bars", name, runs, bars);
    if (key_max == UINT64_MAX) {
        tap_ok(model_table_bytes(run.model) == model_live_bytes(run.model),
               "%s, R %u: nothing but live records is left", name, runs);
    }
    run_bars(&run, workload, 20, MODEL_NORMAL);
    run_end(&run, "manual compaction");
}

/* Marks the middle table of a level, and returns its level, or -1. */
static int damage(struct model *model, uint32_t level)
{
    struct model_level *tables = &model->level[level];

    if (tables->count == 0) {
        return -1;
    }
    tables->tables[tables->count / 2].is_damaged = true;
    return (int)level;
}

static uint32_t damaged_count(const struct model *model)
{
    uint32_t count = 0;

    for (uint32_t l = 0; l < TACTUS_LEVELS_MAX; l++) {
        for (uint32_t i = 0; i < model->level[l].count; i++) {
            count += model->level[l].tables[i].is_damaged;
        }
    }
    return count;
}

static void test_damage(const char *name, uint32_t runs)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {160, runs, 2, MEMTABLE_RECORDS, false, 0};
    struct run             run = run_begin(workload, &options);
    uint32_t               damages = 0;
    uint32_t               bars;

    run_bars(&run, workload, 60, MODEL_NORMAL);
    for (uint32_t level = 0; level <= run.model->state.last_level; level++) {
        damages += damage(run.model, level) >= 0;
    }
    run_bars(&run, workload, 40, MODEL_NORMAL);
    tap_ok(damages > 0 && damaged_count(run.model) == damages,
           "%s, R %u: %u damaged tables stay where they are", name, runs, damages);
    bars = drain(&run, 200);
    tap_ok(model_is_settled(run.model), "%s, R %u: settled but for the damage after %u bars", name,
           runs, bars);
    run_end(&run, "damage");
}

/* Bars of any size, none at all, and long spells of small ones: what the mean flush is changes. */
static void test_irregular(const char *name, uint32_t runs)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {400, runs, 2, 8 * MEMTABLE_RECORDS, true, 0};
    struct run             run = run_begin(workload, &options);
    struct tac_prng        prng = {.state = runs};
    uint32_t               bars;

    for (uint32_t bar = 0; bar < 400; bar++) {
        uint32_t most = bar % 150 < 50 ? options.records : options.records / 16;

        if (tac_prng_below(&prng, 4) == 0) {
            run_bar(&run, workload, 0, MODEL_NORMAL);
        } else {
            run_bar(&run, workload, (uint32_t)tac_prng_below(&prng, most + 1), MODEL_NORMAL);
        }
    }
    tap_ok(run.model->depth_max <= 4 * runs, "%s, R %u: irregular bars, depth %u", name, runs,
           run.model->depth_max);
    bars = drain(&run, 100);
    tap_ok(model_is_settled(run.model), "%s, R %u: settled after %u bars", name, runs, bars);
    run_end(&run, "irregular bars");
}

/* Now and then a flush into one table, as in a full store: bounds do not hold then, but no record
 * is lost, and the tree comes back into shape. */
static void test_tight(const char *name, uint32_t runs)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {200, runs, 2, MEMTABLE_RECORDS, false, 0};
    struct run             run = run_begin(workload, &options);
    struct tac_prng        prng = {.state = runs};
    uint32_t               bars;

    for (uint32_t bar = 0; bar < 100; bar++) {
        run_bar(&run, workload, options.records,
                tac_prng_below(&prng, 4) == 0 ? MODEL_TIGHT : MODEL_NORMAL);
    }
    bars = drain(&run, 400);
    tap_ok(model_is_settled(run.model), "%s, R %u: settled after %u bars", name, runs, bars);
    run_end(&run, "tight flushes");
}

/* The most that one compaction of a full manual compaction consumes after so many bars without
 * room. */
static uint64_t stuck_largest(const struct workload *workload, uint32_t runs, uint32_t bars_stuck)
{
    struct run_options options = {160, runs, 2, MEMTABLE_RECORDS, false, 0};
    struct run         run = run_begin(workload, &options);
    uint64_t           largest;

    run_bars(&run, workload, 60, MODEL_NORMAL);
    run.model->largest_bytes = 0;
    run.model->bars_stuck = bars_stuck;
    for (uint32_t bar = 0; bar < 2000 && tables_above_last(run.model, 0, UINT64_MAX) > 0; bar++) {
        model_bar_end(run.model, MODEL_MANUAL, 0, UINT64_MAX);
    }
    largest = run.model->largest_bytes;
    tap_ok(tables_above_last(run.model, 0, UINT64_MAX) == 0,
           "%s, R %u: all comes to the last level after %u bars without room", workload->name, runs,
           bars_stuck);
    run_end(&run, "bars without room");
    return largest;
}

/* A store whose compactions find no room tries smaller ones; a full store of the simulator (seed
 * 1161) had room for none of the usual size, and refused even deletes for good. */
static void test_stuck(const char *name, uint32_t runs)
{
    const struct workload *workload = workload_named(name);
    uint64_t               usual = stuck_largest(workload, runs, 0);
    uint64_t               small = stuck_largest(workload, runs, 4);

    tap_ok(small <= usual / 4, "%s, R %u: they get smaller (%llu of %llu bytes)", name, runs,
           (unsigned long long)small, (unsigned long long)usual);
}

/* Other shapes than the default, for correctness and bounds alone. */
static void test_shapes(void)
{
    static const struct run_options shapes[] = {
        {60, 2, 2, 256, false, 0},  {60, 3, 1, 256, true, 0},   {60, 16, 4, 256, false, 0},
        {60, 8, 16, 256, false, 0}, {60, 1, 1, 256, true, 0},   {60, 5, 3, 48, true, 0},
        {300, 2, 1, 48, false, 0},  {300, 16, 2, 48, false, 0}, {300, 1, 2, 48, false, 0},
    };
    static const char *const names[] = {"uniform", "seq+1%", "churn", "zoom", "small deletes"};

    for (size_t i = 0; i < TAC_ARRAY_COUNT(shapes); i++) {
        for (size_t k = 0; k < TAC_ARRAY_COUNT(names); k++) {
            const struct workload *workload = workload_named(names[k]);
            struct run             run = run_begin(workload, &shapes[i]);
            char                   what[96];

            run_bars(&run, workload, shapes[i].bars, MODEL_NORMAL);
            snprintf(what, sizeof what, "%s, R %u, rho %u, %u records (depth %u)", names[k],
                     shapes[i].runs, shapes[i].ratio, shapes[i].records, run.model->depth_max);
            run_end(&run, what);
        }
    }
}

/* Memtables of a few blocks, so that a table, a block at least, is a large part of one: level 0 of
 * stores of the simulator (seed 1543) became deeper than 4 R. */
static void test_coarse(const char *name, uint32_t runs, uint32_t blocks)
{
    const struct workload *workload = workload_named(name);
    struct run_options     options = {200, runs, 2, MEMTABLE_RECORDS, false, blocks};
    struct run             run = run_begin(workload, &options);
    char                   what[96];

    run_bars(&run, workload, options.bars, MODEL_NORMAL);
    tap_ok(run.model->depth_max <= (runs == 1 ? 1 : 4 * runs),
           "%s, R %u, memtables of %u blocks: depth %u", name, runs, blocks, run.model->depth_max);
    snprintf(what, sizeof what, "%s, R %u, memtables of %u blocks", name, runs, blocks);
    run_end(&run, what);
}

/* ---- small things --------------------------------------------------------------------------- */

static void test_sink(void)
{
    struct tac_planner_options options = {.memtable_size = 1000,
                                          .block_size = 1,
                                          .table_size = 100,
                                          .slice_size = 100,
                                          .runs_per_level = 8,
                                          .last_ratio = 2,
                                          .tables_max = 10};
    struct tac_planner_state   state;

    tac_planner_state_init(&state);
    tap_ok(state.last_level == 1, "a new tree has its last level at 1");
    tap_ok(tac_planner_sink(&options, &state, 8000) == 0, "rho * U * G / 2 is not too much");
    tap_ok(tac_planner_sink(&options, &state, 8002) == 1 && state.last_level == 2,
           "more than that sinks by one");
    tap_ok(tac_planner_sink(&options, &state, 8000 * 8 * 8 + 2) == 2 && state.last_level == 4,
           "much more sinks by two");
    tap_ok(tac_planner_sink(&options, &state, UINT64_MAX) > 0 &&
               state.last_level == TACTUS_LEVELS_MAX - 1,
           "the last level never passes the last number");
    tap_ok(tac_planner_level_size(100, 10, 0) == 100 && tac_planner_level_size(100, 10, 5) == 150,
           "a tombstone weighs one more mean record");
}

int main(void)
{
    const char *only = getenv("ONLY");
    bool        is_long = getenv("LONG") != NULL;

    tap_plan(0);
    if (only == NULL || strcmp(only, "scenarios") == 0) {
        test_sink();
        for (uint32_t runs = 1; runs <= 8; runs = runs == 1 ? 4 : 2 * runs) {
            test_drain("uniform", runs);
            test_drain("seq+1%", runs);
            test_drain("churn", runs);
            test_manual("overwrite", runs, 0, UINT64_MAX);
            test_manual("insert, delete", runs, 0, UINT64_MAX);
            test_manual("uniform", runs, (uint64_t)1 << 38, (uint64_t)1 << 39);
            test_stuck("uniform", runs);
            test_stuck("insert, delete", runs);
            test_tight("uniform", runs);
            test_tight("seq+1%", runs);
            test_irregular("uniform", runs);
            test_irregular("seq+1%", runs);
            test_irregular("churn", runs);
            test_damage("uniform", runs);
            test_damage("seq+1%", runs);
        }
        test_shapes();
        for (uint32_t runs = 1; runs <= 8; runs *= 2) {
            for (uint32_t blocks = 4; blocks <= 16; blocks *= 2) {
                test_coarse("uniform", runs, blocks);
                test_coarse("seq+1%", runs, blocks);
                test_coarse("churn", runs, blocks);
                test_coarse("clusters", runs, blocks);
            }
        }
    }
    test_figures(only, is_long);
    return tap_done();
}
