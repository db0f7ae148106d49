/* SPDX-License-Identifier: Apache-2.0 */
/* store_ops -- worlds and lists of ops from seeds. Swarm: each seed draws its own weights, ranges
 * and sizes, "never" among them, so that no choice made here narrows what all seeds together
 * reach. */
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tests/sim/store_sim.h"

static uint32_t draw(struct tac_prng *prng, uint32_t least, uint32_t most)
{
    return least + (uint32_t)tac_prng_below(prng, (uint64_t)most - least + 1);
}

static uint32_t draw_of(struct tac_prng *prng, const uint32_t *choices, uint32_t count)
{
    return choices[tac_prng_below(prng, count)];
}

#define DRAW_OF(prng, ...)                                                                         \
    draw_of((prng), (const uint32_t[]){__VA_ARGS__},                                               \
            (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

/* ---- worlds --------------------------------------------------------------------------------- */

static void options_shape_draw(struct tactus_options *options, struct tac_prng *prng, bool is_small)
{
    options->block_size = DRAW_OF(prng, 4096, 4096, 4096, 8192);
    options->page_size = options->block_size / 8;
    options->memtable_size =
        DRAW_OF(prng, 32, 32, 40, 64, 96, 128, 256) * TAC_KIB * (options->block_size / 4096);
    options->table_size = DRAW_OF(prng, 8, 12, 16, 32) * TAC_KIB * (options->block_size / 4096);
    options->slice_size = DRAW_OF(prng, 8, 16, 32, 64) * TAC_KIB * (options->block_size / 4096);
    options->runs_per_level = DRAW_OF(prng, 1, 2, 2, 3, 4, 6, 8);
    options->last_ratio = draw(prng, 1, 4);
    options->lag_beats = draw(prng, 0, 3); /* 0: the store chooses */
    options->beats_per_bar = DRAW_OF(prng, 16, 16, 24, 64);
    options->checkpoint_interval_bars = DRAW_OF(prng, 1, 1, 2, 3, 4, 8);
    options->filter_bits_per_key = DRAW_OF(prng, 0, 4, 10, 10, 20);
    options->file_size_max = 65536 * (uint64_t)options->block_size;
    if (is_small) {
        options->file_size_max = tac_max_u64(draw(prng, 400, 800) * options->block_size,
                                             draw(prng, 12, 40) * options->memtable_size *
                                                 (options->runs_per_level == 1 ? 3 : 1));
    }
}

/* What may differ from open to open. */
static void options_free_draw(struct tactus_options *options, struct tac_prng *prng)
{
    struct tac_prng aside;

    options->threads_read = options->threads_merge = options->threads_write = 0;
    options->ring_size = DRAW_OF(prng, 2, 2, 4, 16, 64);
    options->page_cache_size = DRAW_OF(prng, 0, 4096, 65536, 1048576);
    options->index_cache_size = DRAW_OF(prng, 0, 65536, 4194304);
    options->io_depth = DRAW_OF(prng, 1, 2, 4, 16);
    /* Aside, so that seeds stay what they were before there was this option. */
    aside = (struct tac_prng){prng->state ^ 0x6c6576656c30};
    options->level0_cache_size = DRAW_OF(&aside, 0, 16, 40, 256) * (uint64_t)(9 * TAC_KIB);
    /* In half of the worlds none: what a cut of power takes is then all since the checkpoint. */
    options->bytes_per_sync = DRAW_OF(&aside, 0, 0, 0, 1, 8, 40) * (uint64_t)options->block_size;
}

void sim_stepping_draw(struct tac_stepping *stepping, struct tac_prng *prng)
{
    *stepping = (struct tac_stepping){
        .workers_read = draw(prng, 1, 3),
        .workers_merge = draw(prng, 1, 4),
        .workers_write = draw(prng, 1, 3),
        .seed = tac_prng_next(prng) | 1,
        .assist = draw(prng, 0, 1) == 1,
    };
}

static void spec_draw(struct store_model_spec *spec, const struct tactus_options *options,
                      struct tac_prng *prng)
{
    bool     is_fixed = draw(prng, 0, 1) == 0;
    uint32_t key_max = options->block_size / 16;
    uint32_t record_max = options->block_size / 4;

    spec->layout.kind = is_fixed ? TACTUS_LAYOUT_FIXED : TACTUS_LAYOUT_VARIABLE;
    spec->layout.key_size = DRAW_OF(prng, 4, 8, 8, 16, 16, 24, 40, key_max);
    spec->layout.value_size = DRAW_OF(prng, 0, 8, 32, 100, 100, 200, 500, record_max);
    if (spec->layout.key_size + spec->layout.value_size > record_max) {
        spec->layout.value_size = record_max - spec->layout.key_size;
    }
    if (!is_fixed && spec->layout.value_size == 0) {
        spec->layout.value_size = 1;
    }
    spec->keys = (enum store_model_keys)draw(prng, 0, STORE_MODEL_KEYS_KINDS - 1);
    if (is_fixed && spec->keys == STORE_MODEL_KEYS_NESTED) {
        spec->keys = STORE_MODEL_KEYS_DENSE;
    }
    spec->key_count = DRAW_OF(prng, 50, 400, 2000, 2000, 6000);
    spec->seed = tac_prng_next(prng);
}

#define GROW_KEYS 100 /* Of one op */
#define GROW_PUTS_MAX 20000

/* Makes tree 0 one that comes to three levels and compacts on all of them, whatever else the seed
 * does: about so many memtables of distinct keys. Returns how many ops that takes. */
static uint32_t growth_plan(struct tactus_options *options, struct store_model_spec *spec)
{
    uint32_t memtables = 20 + 6 * (options->runs_per_level == 1 ? 8 : options->runs_per_level);
    uint64_t bytes, puts;

    if (spec->keys == STORE_MODEL_KEYS_NESTED) {
        spec->keys = STORE_MODEL_KEYS_RANDOM; /* Too few of those are distinct */
    }
    spec->layout.value_size = (uint32_t)tac_min_u64(tac_max_u64(spec->layout.value_size, 100), 600);
    for (;;) {
        bytes = memtables * (options->last_ratio + 1) / 2 * options->memtable_size;
        puts = bytes /
               (spec->layout.key_size + spec->layout.value_size + TACTUS_RECORD_OVERHEAD_BYTES);
        if (puts <= GROW_PUTS_MAX) {
            break;
        }
        if (options->memtable_size > 8 * options->block_size) {
            options->memtable_size = 8 * options->block_size;
        } else {
            spec->layout.value_size += 100;
        }
    }
    spec->key_count = (uint32_t)tac_max_u64(spec->key_count, puts);
    return (uint32_t)tac_div_ceil(puts, GROW_KEYS) * 5 / 4;
}

/* KiB a second, by the simulator's clock; 0: no limit. */
static uint32_t rate_draw(struct tac_prng *prng) { return DRAW_OF(prng, 0, 0, 100, 1000, 20000); }

void sim_world_draw(struct sim_world *world, uint64_t seed, uint32_t ops_max)
{
    struct tac_prng prng = {tac_mix_u64(seed)};

    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->is_twin = draw(&prng, 0, 3) == 0;
    world->is_small = !world->is_twin && draw(&prng, 0, 5) == 0;
    world->ends_bare = draw(&prng, 0, 2) == 0;
    tactus_options_init(&world->options);
    world->options.backend = TACTUS_BACKEND_MEMORY;
    world->options.tables_max = 8192;
    options_shape_draw(&world->options, &prng, world->is_small);
    options_free_draw(&world->options, &prng);
    memcpy(world->options.uuid, &seed, sizeof seed);
    world->options.uuid[15] = 1;
    sim_stepping_draw(&world->stepping, &prng);
    world->disk_seed = tac_prng_next(&prng) | 1;
    world->tree_count = draw(&prng, 1, STORE_MODEL_TREES_MAX);
    for (uint32_t i = 0; i < world->tree_count; i++) {
        spec_draw(&world->specs[i], &world->options, &prng);
    }
    world->op_count = draw(&prng, ops_max / 4, ops_max);
    world->options.log =
        (enum tactus_log)DRAW_OF(&prng, TACTUS_LOG_NONE, TACTUS_LOG_NONE, TACTUS_LOG_HOST,
                                 TACTUS_LOG_INTERVAL, TACTUS_LOG_SYNC);
    if (world->is_small && world->options.log == TACTUS_LOG_INTERVAL) {
        world->options.log = TACTUS_LOG_SYNC; /* What is lost might find no room a second time. */
    }
    world->options.log_interval_ms = 60000; /* Syncs are ops */
    world->tight_plan_every = DRAW_OF(&prng, 0, 0, 0, 0, 0, 0, 2, 7);
    if (!world->is_small) {
        world->grow_count = growth_plan(&world->options, &world->specs[0]);
        world->op_count += world->grow_count;
    }
    world->options.scrub_days = DRAW_OF(&prng, 0, 0, 1, 30);
    world->options.io_rate_max_bytes =
        rate_draw(&(struct tac_prng){tac_mix_u64(seed ^ 0x72617465)}) * (uint64_t)TAC_KIB;
    world->options.cache_size_max = /* Aside likewise */
        DRAW_OF(&(struct tac_prng){tac_mix_u64(seed ^ 0x636163686d6178)}, 0, 65536, 4194304);
    sim_fault_plan_draw(&world->faults, seed, world->is_twin, world->op_count);
    world->is_pooled = tac_mix_u64(seed ^ 0x706f6f6c) % 3 == 0; /* Aside like pauses */
}

void sim_world_twist(struct sim_world *world, uint64_t seed)
{
    struct tac_prng prng = {tac_mix_u64(seed)};

    options_free_draw(&world->options, &prng);
    sim_stepping_draw(&world->stepping, &prng);
    world->disk_seed = tac_prng_next(&prng) | 1;
    world->is_undisturbed = sim_world_loses_nothing(world);
    world->options.scrub_days = world->options.scrub_days == 0; /* On in one of the two runs */
    world->options.io_rate_max_bytes = world->options.io_rate_max_bytes == 0 ? TAC_MIB : 0;
    world->is_pooled = !world->is_pooled;
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* How a seed chooses keys. */
enum range_kind {
    RANGE_UNIFORM,
    RANGE_ASCENDING,
    RANGE_HOT,
    RANGE_DRIFTING,
    RANGE_KINDS
};

struct draft {
    struct tac_prng         prng;
    const struct sim_world *world;
    uint32_t                weights[SIM_OP_KINDS];
    uint32_t                weight_total;
    enum range_kind         range;
    uint32_t                cursor;
    uint32_t                run_max;  /* Keys of one put or delete */
    uint32_t                size_max; /* Of values */
    uint32_t                batch_max;
};

/* The usual weight of each kind; a seed takes none, some or many times that. Rare kinds are drawn
 * per list: about so many times in all. */
static void weights_draw(struct draft *draft)
{
    static const uint16_t common[SIM_OP_KINDS] = {
        [SIM_PUT] = 600, [SIM_DELETE] = 150,       [SIM_BATCH] = 60,
        [SIM_GET] = 300, [SIM_SEEK] = 60,          [SIM_ITERATOR_OPEN] = 20,
        [SIM_STEP] = 60, [SIM_ITERATOR_MOVE] = 80, [SIM_ITERATOR_CLOSE] = 8,
    };
    static const uint8_t rare[SIM_OP_KINDS] = {
        [SIM_SCAN] = 6,        [SIM_DRAIN] = 2,       [SIM_COMPACT] = 2, [SIM_HOLD] = 2,
        [SIM_CHECKPOINT] = 3,  [SIM_REOPEN] = 2,      [SIM_ABANDON] = 3, [SIM_CRASH] = 3,
        [SIM_CRASH_LATER] = 3, [SIM_TREE_CREATE] = 3, [SIM_SYNC] = 20,
    };
    static const uint32_t factors[] = {0, 1, 4, 4, 4, 16};
    uint32_t              sum = 0;

    for (uint32_t kind = 0; kind < SIM_PAUSE; kind++) {
        draft->weights[kind] = common[kind] * draw_of(&draft->prng, factors, 6);
    }
    draft->weights[SIM_PUT] += 1000;
    for (uint32_t kind = 0; kind < SIM_PAUSE; kind++) {
        sum += draft->weights[kind];
    }
    for (uint32_t kind = 0; kind < SIM_PAUSE; kind++) {
        uint32_t times = rare[kind] * draw_of(&draft->prng, factors, 6) / 4;
        bool     is_crash =
            kind == SIM_ABANDON || kind == SIM_CRASH || kind == SIM_CRASH_LATER || kind == SIM_STEP;

        draft->weights[kind] += (uint32_t)((uint64_t)sum * times / draft->world->op_count);
        if (is_crash && draft->world->is_twin && !sim_world_loses_nothing(draft->world)) {
            draft->weights[kind] = 0;
        }
        draft->weight_total += draft->weights[kind];
    }
}

static uint32_t key_draw(struct draft *draft, uint32_t tree)
{
    uint32_t count = draft->world->specs[tree].key_count;

    if (draw(&draft->prng, 0, 15) == 0) {
        return draw(&draft->prng, 0, count - 1);
    }
    switch (draft->range) {
    case RANGE_UNIFORM:
        return draw(&draft->prng, 0, count - 1);
    case RANGE_ASCENDING:
        draft->cursor += draft->run_max;
        return draft->cursor % count;
    case RANGE_HOT:
        return draw(&draft->prng, 0, count / 16);
    case RANGE_DRIFTING:
        draft->cursor += draw(&draft->prng, 0, 8) == 0;
        return (draft->cursor + draw(&draft->prng, 0, count / 8)) % count;
    case RANGE_KINDS:
        break;
    }
    tac_unreachable();
}

static enum sim_op_kind kind_draw(struct draft *draft)
{
    uint32_t point = draw(&draft->prng, 0, draft->weight_total - 1);
    uint32_t kind = 0;

    while (point >= draft->weights[kind]) {
        point -= draft->weights[kind];
        kind++;
    }
    return (enum sim_op_kind)kind;
}

static void op_draw(struct draft *draft, struct sim_op *op)
{
    struct tac_prng *prng = &draft->prng;

    op->kind = (uint8_t)kind_draw(draft);
    op->tree = (uint8_t)draw(prng, 0, draft->world->tree_count - 1);
    op->slot = (uint8_t)draw(prng, 0, SIM_ITERATORS - 1);
    op->key = key_draw(draft, op->tree);
    op->size = draw(prng, 0, draft->size_max);
    op->seed = (uint32_t)tac_prng_next(prng);
    switch ((enum sim_op_kind)op->kind) {
    case SIM_PUT:
    case SIM_DELETE:
        op->count = draw(prng, 1, draft->run_max);
        break;
    case SIM_BATCH:
        op->count = draw(prng, 0, draft->batch_max);
        break;
    case SIM_STEP:
        op->count = draw(prng, 1, 200);
        break;
    case SIM_HOLD:
        op->count = draw(prng, 0, 1);
        break;
    case SIM_CRASH_LATER:
        op->count = draw(prng, 0, 60);
        break;
    default:
        op->count = draw(prng, 1, 8);
        break;
    }
}

/* Op i of those that fill tree 0: far from the one before; each fifth deletes what an earlier one
 * put. Crashes may not take all of it back again and again. */
static struct sim_op grow_op(const struct sim_world *world, uint32_t i)
{
    uint32_t parts = (uint32_t)tac_div_ceil(world->specs[0].key_count, GROW_KEYS);
    bool     is_put = i % 5 < 4;
    uint64_t turn = is_put ? i / 5 * 4 + i % 5 : i / 10 * 4;

    if (i % 20 == 19) {
        return (struct sim_op){.kind = SIM_CHECKPOINT};
    }
    return (struct sim_op){
        .kind = is_put ? SIM_PUT : SIM_DELETE,
        .key = (uint32_t)(turn * 7919 % parts) * GROW_KEYS,
        .count = is_put ? GROW_KEYS : GROW_KEYS / 4,
        .size = world->specs[0].layout.value_size,
        .seed = i,
    };
}

/* No hold lasts for most of a list: with runs of 1 tables that came to level 0 meanwhile may do
 * nothing but move. */
static void holds_end(struct sim_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = i + 1 + ops[i].seed % (count / 16 + 1);

        if (ops[i].kind == SIM_HOLD && ops[i].count != 0 && end < count) {
            ops[end] = (struct sim_op){.kind = SIM_HOLD};
        }
    }
}

/* In half of the lists some gets become pauses, or their ends. A write that would wait ends a pause
 * too. Drawn aside, so that seeds stay what they were before there were pauses. */
static void pauses_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x7061757365)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 2, 40);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i] = (struct sim_op){.kind = SIM_PAUSE, .count = draw(&prng, 0, 2)};
        }
    }
}

/* In half of the lists some gets become changes of the workers; aside like pauses. */
static void threads_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x74687265616473)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 4, 80);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i] = (struct sim_op){.kind = SIM_THREADS, .seed = (uint32_t)tac_prng_next(&prng)};
        }
    }
}

/* In half of the lists others become changes of the limit of I/O. */
static void rates_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x7261746573)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 10, 200);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i] = (struct sim_op){.kind = SIM_RATE, .count = rate_draw(&prng)};
        }
    }
}

/* In half of the lists some gets become drops of trees, and a later one the tree's creation; aside
 * like pauses. Tree 0 stays until it has grown. */
static void drops_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x64726f7073)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 4, 120);

    for (uint32_t i = world->tree_count; i < world->op_count && every > 0; i++) {
        uint32_t again = i + 1 + draw(&prng, 0, world->op_count / 16);

        if (ops[i].kind != SIM_GET || draw(&prng, 1, every) != 1 ||
            (ops[i].tree == 0 && i < world->op_count - world->op_count / 16)) {
            continue;
        }
        ops[i].kind = SIM_TREE_DROP;
        while (again < world->op_count && ops[again].kind != SIM_GET) {
            again++;
        }
        if (again < world->op_count) {
            ops[again].kind = SIM_TREE_CREATE;
            ops[again].tree = ops[i].tree;
        }
    }
}

/* In two of three lists, but for runs of 1, some gets become sorted runs of about so many keys; aside
 * like pauses. One in eight is of some memtables. */
static void ingests_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x696e67657374)};
    uint32_t        every = draw(&prng, 0, 2) == 0 ? 0 : draw(&prng, 4, 60);
    uint32_t        most = DRAW_OF(&prng, 4, 40, 200, 400);

    for (uint32_t i = 0; i < world->op_count && every > 0 && world->options.runs_per_level > 1;
         i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i].kind = SIM_INGEST;
            ops[i].count = draw(&prng, 1, draw(&prng, 0, 7) == 0 ? 8 * most : most);
        }
    }
}

/* In half of the lists some gets begin to compact a range by hand, go on with it, or end it; aside
 * like pauses. */
static void ranges_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x72616e6765)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 4, 80);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i].kind = SIM_RANGE;
            ops[i].count =
                DRAW_OF(&prng, SIM_RANGE_BEGIN, SIM_RANGE_BEGIN, SIM_RANGE_BEGIN, SIM_RANGE_STEP,
                        SIM_RANGE_STEP, SIM_RANGE_CANCEL, SIM_RANGE_WHOLE);
            ops[i].size = draw(&prng, 0, 5);
            ops[i].seed = (uint32_t)tac_prng_next(&prng);
        }
    }
}

/* In half of the lists some gets become snapshots taken, read and released; aside likewise. */
static void snapshots_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x736e617073686f74)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 2, 40);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            uint32_t what = draw(&prng, 0, 7);

            ops[i].kind = SIM_SNAPSHOT;
            ops[i].seed = (uint32_t)tac_prng_next(&prng);
            ops[i].count = what == 0   ? SIM_SNAPSHOT_TAKE
                           : what == 1 ? SIM_SNAPSHOT_RELEASE
                                       : SIM_SNAPSHOT_READ;
        }
    }
}

/* In half of the lists some become changes of the caches. */
static void caches_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x636163686573)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 4, 80);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i] = (struct sim_op){.kind = SIM_CACHES, .seed = (uint32_t)tac_prng_next(&prng)};
        }
    }
}

/* In half of the lists some become beats of the host's, up to a bar of them. */
static void beats_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x6265617473)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 4, 80);
    uint32_t        most = DRAW_OF(&prng, 1, 4, world->options.beats_per_bar);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i] = (struct sim_op){.kind = SIM_BEAT, .count = draw(&prng, 1, most)};
        }
    }
}

/* In half of the lists some gets delete ranges; aside likewise. One time in eight many at once, so
 * that some stores have as many as there can be. `size`: those of tree 0 are of a few keys until it
 * has grown. */
static void delete_ranges_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x64656c72616e6765)};
    uint32_t        every = draw(&prng, 0, 1) * draw(&prng, 2, 60);
    uint32_t        burst = DRAW_OF(&prng, 4, 20, 60);

    for (uint32_t i = 0; i < world->op_count && every > 0; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, every) == 1) {
            ops[i].kind = SIM_DELETE_RANGE;
            ops[i].size = ops[i].tree == 0 && i < world->op_count - world->op_count / 16;
            ops[i].count = draw(&prng, 0, 7) == 0 ? burst : 1;
            ops[i].seed = (uint32_t)tac_prng_next(&prng);
        }
    }
}

/* In worlds whose own log has a sync for each write some fill it, or all places for deleted ranges.
 * Where a log is full depends on its frames, and these on when it was synced: not in twins. */
static void refused_draw(const struct sim_world *world, struct sim_op *ops)
{
    struct tac_prng prng = {tac_mix_u64(world->seed ^ 0x72656675736564)};

    for (uint32_t i = 0; i < world->op_count && world->options.log == TACTUS_LOG_SYNC; i++) {
        if (ops[i].kind == SIM_GET && draw(&prng, 1, world->op_count / 8 + 1) == 1) {
            ops[i].kind = SIM_REFUSED;
            ops[i].count = draw(&prng, 0, 1) == 0 || world->is_twin ? SIM_REFUSED_BY_RANGES
                                                                    : SIM_REFUSED_BY_LOG;
            ops[i].seed = (uint32_t)tac_prng_next(&prng);
        }
    }
}

struct sim_op *sim_ops_draw(const struct sim_world *world)
{
    struct draft   draft = {.prng = {tac_mix_u64(world->seed ^ 0x6f7073)}, .world = world};
    struct sim_op *ops = calloc(world->op_count, sizeof *ops);
    uint32_t       tree_late = draw(&draft.prng, 0, 1) * draw(&draft.prng, 1, world->op_count / 2);

    tac_assert(ops != NULL);
    draft.range = (enum range_kind)draw(&draft.prng, 0, RANGE_KINDS - 1);
    draft.run_max = DRAW_OF(&draft.prng, 1, 1, 4, 20);
    draft.size_max = DRAW_OF(&draft.prng, 8, 100, 400, world->options.block_size / 4);
    draft.batch_max = DRAW_OF(&draft.prng, 4, 20, 100);
    weights_draw(&draft);
    for (uint32_t i = 0, grown = 0; i < world->op_count; i++) {
        if ((uint64_t)(i + 1) * world->grow_count / world->op_count > grown) {
            ops[i] = grow_op(world, grown++);
            continue;
        }
        op_draw(&draft, &ops[i]);
        /* Half of the coming power cuts are to meet a checkpoint. */
        if (i > 0 && ops[i - 1].kind == SIM_CRASH_LATER && ops[i - 1].seed % 2 == 0) {
            ops[i].kind = SIM_CHECKPOINT;
        }
    }
    holds_end(ops, world->op_count);
    pauses_draw(world, ops);
    threads_draw(world, ops);
    rates_draw(world, ops);
    drops_draw(world, ops);
    ingests_draw(world, ops);
    ranges_draw(world, ops);
    snapshots_draw(world, ops);
    caches_draw(world, ops);
    beats_draw(world, ops);
    delete_ranges_draw(world, ops);
    refused_draw(world, ops);
    /* All trees but perhaps the last exist from the beginning. */
    for (uint32_t tree = 0; tree < world->tree_count; tree++) {
        uint32_t at = tree > 0 && tree + 1 == world->tree_count ? tree + tree_late : tree;

        ops[at] = (struct sim_op){.kind = SIM_TREE_CREATE, .tree = (uint8_t)tree};
    }
    return ops;
}

/* ---- text ----------------------------------------------------------------------------------- */

static const char *op_text(uint32_t kind)
{
    static const char *const texts[SIM_OP_KINDS] = {
#define SIM_OP_TEXT(name, text) [SIM_##name] = text,
        SIM_OPS(SIM_OP_TEXT)
#undef SIM_OP_TEXT
    };

    return texts[kind];
}

void sim_op_print(const struct sim_op *op, uint32_t index, FILE *file)
{
    fprintf(file, "# %5u %-14s tree %u slot %u key %u count %u size %u seed %u\n", index,
            op_text(op->kind), op->tree, op->slot, op->key, op->count, op->size, op->seed);
}

void sim_world_print(const struct sim_world *world, FILE *file)
{
    const struct tactus_options *o = &world->options;
    const struct tac_stepping   *s = &world->stepping;
    static const char *const     logs[] = {"", " log host", " log interval", " log sync"};

    fprintf(file,
            "# block %u memtable %llu table %llu slice %llu runs %u ratio %u beats %u lag %u "
            "checkpoint %u filter %u file %llu ring %u workers %u/%u/%u assist %d scrub %u rate "
            "%llu%s%s%s%s%s\n",
            o->block_size, (unsigned long long)o->memtable_size, (unsigned long long)o->table_size,
            (unsigned long long)o->slice_size, o->runs_per_level, o->last_ratio, o->beats_per_bar,
            o->lag_beats, o->checkpoint_interval_bars, o->filter_bits_per_key,
            (unsigned long long)o->file_size_max, o->ring_size, s->workers_read, s->workers_merge,
            s->workers_write, s->assist, o->scrub_days, (unsigned long long)o->io_rate_max_bytes,
            world->is_twin ? " twin" : "", world->is_small ? " small" : "",
            world->is_pooled ? " pooled" : "", logs[o->log],
            sim_fault_class_text(world->faults.class));
    for (uint32_t i = 0; i < world->tree_count; i++) {
        const struct store_model_spec *spec = &world->specs[i];

        fprintf(file, "# tree %u: %s keys of %u, values of %u, %u keys of kind %d\n", i,
                spec->layout.kind == TACTUS_LAYOUT_FIXED ? "fixed" : "variable",
                spec->layout.key_size, spec->layout.value_size, spec->key_count, (int)spec->keys);
    }
}
