/* SPDX-License-Identifier: Apache-2.0 */
/* ops_fuzz -- bytes to a list of ops on a store under the simulator, against its sorted map.
 *
 * The input's first bytes choose the simulator's world, smaller than its own; each seven bytes that
 * follow are an op. All that tests/sim/store_check.c knows of is checked, crashes included. */
#include "base/units.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/store_sim.h"

const uint32_t fuzz_cost = 20;

#define OPS_MAX 40
#define KEYS_MAX 200
#define COUNT_MAX 64 /* Of what one op does */

static void world_make(struct fuzz_input *input, struct sim_world *world)
{
    sim_world_draw(world, fuzz_take_u16(input), 64);
    world->grow_count = 0;
    world->faults = (struct sim_fault_plan){0};
    /* What costs time at every open and does not change what is done. */
    world->options.tables_max = 1024;
    world->options.index_cache_size = tac_min_u64(world->options.index_cache_size, 65536);
    world->options.page_cache_size = tac_min_u64(world->options.page_cache_size, 65536);
    world->tree_count = (uint32_t)tac_min_u64(world->tree_count, 2);
    for (uint32_t i = 0; i < world->tree_count; i++) {
        world->specs[i].key_count = (uint32_t)tac_min_u64(world->specs[i].key_count, KEYS_MAX);
    }
}

static void op_take(struct fuzz_input *input, const struct sim_world *world, struct sim_op *op)
{
    uint8_t  kind = fuzz_take_u8(input);
    uint8_t  tree = fuzz_take_u8(input);
    uint16_t size;

    *op = (struct sim_op){.kind = kind % SIM_OP_KINDS};
    op->tree = (uint8_t)(tree % world->tree_count);
    op->slot = (uint8_t)(tree / 16 % SIM_ITERATORS);
    op->key = fuzz_take_u16(input);
    op->count = 1 + fuzz_take_u8(input) % COUNT_MAX;
    size = fuzz_take_u16(input);
    op->size = size;
    op->seed = size + 1u;
    if (op->kind == SIM_HOLD) {
        op->count %= 2;
    }
    if (op->kind == SIM_SNAPSHOT) {
        op->count %= SIM_SNAPSHOT_READ + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_report report;
    struct fuzz_input        input = {data, size};
    struct sim_world         world;
    struct sim_op            ops[OPS_MAX];

    world_make(&input, &world);
    world.op_count = 0;
    for (uint32_t i = 0; i < world.tree_count; i++) {
        ops[world.op_count++] = (struct sim_op){.kind = SIM_TREE_CREATE, .tree = (uint8_t)i};
    }
    while (input.size > 0 && world.op_count < OPS_MAX) {
        op_take(&input, &world, &ops[world.op_count++]);
    }
    report = (struct sim_report){.aborts = true};
    sim_run(&world, ops, NULL, &report, NULL);
    fuzz_accepted++;
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

/* Lists that fill, overwrite, delete, look and come back, in different worlds. */
size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    static const uint8_t kinds[] = {
        SIM_PUT,           SIM_PUT,  SIM_GET,        SIM_DELETE,        SIM_BATCH,
        SIM_ITERATOR_OPEN, SIM_PUT,  SIM_CHECKPOINT, SIM_ITERATOR_MOVE, SIM_SEEK,
        SIM_COMPACT,       SIM_SCAN, SIM_REOPEN,     SIM_HOLD,          SIM_PUT,
        SIM_CRASH_LATER,   SIM_PUT,  SIM_DRAIN,      SIM_ABANDON,       SIM_CRASH,
        SIM_STEP,
    };
    uint8_t *at = buffer;

    if (number >= 8) {
        return 0;
    }
    at = fuzz_give(at, (uint8_t[]){(uint8_t)(number + 1), 0}, 2);
    for (uint32_t i = 0; i < 24; i++) {
        uint8_t kind = kinds[(i * (2 * number + 1)) % sizeof kinds];
        uint8_t op[7] = {kind,
                         (uint8_t)(i * 5),
                         (uint8_t)(i * 11),
                         (uint8_t)(number % 2),
                         (uint8_t)99,
                         (uint8_t)(i * 29),
                         0};

        at = fuzz_give(at, op, sizeof op);
    }
    return (size_t)(at - buffer);
}
