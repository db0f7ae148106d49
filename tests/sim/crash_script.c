/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/crash_script.h"

#include <string.h>

#include "base/checksum.h"
#include "tests/sim/fault_check.h"

#define RANDOM_STEPS 12
#define RANDOM_FILLS_MAX 16

struct looking {
    struct crash_place place;
    crash_look_fn      look;
    void              *context;
    uint64_t           changes_seen;
    struct run_reach   reach_seen;
};

/* ---- looking -------------------------------------------------------------------------------- */

static bool reach_equal(const struct run_reach *a, const struct run_reach *b)
{
    return a->is_created == b->is_created && a->durable_op == b->durable_op &&
           a->other_op == b->other_op && a->is_range == b->is_range;
}

/* A request comes; it may be one that was refused before, with nothing changed since. */
static void observed(void *context)
{
    struct looking  *looking = context;
    struct run      *run = looking->place.run;
    uint64_t         changes = run->disk.changes + run->log.changes;
    struct run_reach reach = run_reach_now(run);

    if (looking->place.number > 0 && changes == looking->changes_seen &&
        reach_equal(&reach, &looking->reach_seen)) {
        return;
    }
    looking->changes_seen = changes;
    looking->reach_seen = reach;
    looking->place.number++;
    looking->place.is_opening = run->store == NULL;
    looking->look(looking->context, &looking->place);
}

static void looking_begin(struct looking *looking, struct run *run, crash_look_fn look,
                          void *context)
{
    *looking = (struct looking){.place.run = run, .look = look, .context = context};
    if (look != NULL) {
        run->disk.observe = run->log.observe = observed;
        run->disk.observe_context = run->log.observe_context = looking;
    }
}

/* ---- images --------------------------------------------------------------------------------- */

struct crash_image crash_image_make(const struct crash_place *place, tac_memory_fate_fn fate_of,
                                    void *context)
{
    struct run        *run = place->run;
    uint64_t           seed = run->script->seed;
    struct crash_image image;

    image.memory = tac_memory_disk_crashed(run->disk.memory, seed, fate_of, context);
    image.log = tac_memory_disk_crashed(run->log.memory, seed + 1, fate_of, context);
    tac_assert(image.memory != NULL && image.log != NULL);
    return image;
}

static struct tac_u128 disk_digest(const struct tac_memory_disk *disk)
{
    uint64_t       size;
    const uint8_t *data = tac_memory_disk_data(disk, &size);

    return tac_checksum(data, tac_memory_disk_written_bytes(disk), size);
}

struct tac_u128 crash_image_digest(const struct crash_image *image, const struct crash_place *place)
{
    const struct run_reach reach = run_reach_now(place->run);
    const struct tac_u128  memory = disk_digest(image->memory), log = disk_digest(image->log);
    const uint64_t         words[] = {
                reach.is_created, reach.durable_op, reach.other_op, reach.is_range,
                memory.low,       memory.high,      log.low,        log.high,
    };

    return tac_checksum(words, sizeof words, 0);
}

void crash_image_free(struct crash_image *image)
{
    tac_memory_disk_free(image->memory);
    tac_memory_disk_free(image->log);
}

/* ---- the scripts ---------------------------------------------------------------------------- */

/* With a log each op is a write and a sync: most records come in batches. */
static void fill(struct run *run, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        run_batch(run);
        run_writes(run, i % 4 == 0);
    }
}

static void fixed_play(struct run *run)
{
    run_create(run);
    run_open(run);
    run_trees_create(run);
    fill(run, 8);
    run_control(run, tactus_checkpoint, "checkpoint");
    fill(run, 30);
    run_control(run, tactus_drain, "drain");
    fill(run, 4);
    run_snapshot_turn(run);
    run_ingest(run, 150);
    run_close(run);
    run_open(run);
    run_tree_drop(run);
    run_trees_create(run);
    fill(run, 14);
    run_control(run, run_compact, "compact");
    fill(run, 4);
    run_snapshot_turn(run);
    fill(run, 2);
    run_close(run);
}

static void random_step(struct run *run)
{
    switch (tac_prng_below(&run->prng, 20)) {
    case 0:
    case 1:
        run_control(run, tactus_checkpoint, "checkpoint");
        return;
    case 2:
        run_control(run, tactus_drain, "drain");
        return;
    case 3:
        run_control(run, run_compact, "compact");
        return;
    case 4:
    case 5:
        run_close(run);
        run_open(run);
        return;
    case 6:
        run_gets(run, 20);
        return;
    case 7:
    case 8:
        run_ingest(run, 1 + (uint32_t)tac_prng_below(&run->prng, 300));
        return;
    case 9:
        run_tree_drop(run);
        run_trees_create(run);
        return;
    case 10:
        run_snapshot_turn(run);
        return;
    default:
        fill(run, 1 + (uint32_t)tac_prng_below(&run->prng, RANDOM_FILLS_MAX));
    }
}

static void random_play(struct run *run)
{
    run_create(run);
    run_open(run);
    run_trees_create(run);
    for (uint32_t i = 0; i < RANDOM_STEPS; i++) {
        random_step(run);
    }
    run_close(run);
}

static struct fault_script run_script(const struct crash_script *script)
{
    return (struct fault_script){.seed = script->seed, .log = script->log};
}

uint64_t crash_script_play(const struct crash_script *script, crash_look_fn look, void *context,
                           struct fault_outcome *ret_outcome)
{
    const struct fault_script of_run = run_script(script);
    struct run               *run = run_new(&of_run, NULL, ret_outcome);
    struct looking            looking;
    uint64_t                  checkpoints = 0;

    looking_begin(&looking, run, look, context);
    if (script->is_random) {
        random_play(run);
    } else {
        fixed_play(run);
    }
    run_open(run);
    if (run->store != NULL) {
        checkpoints = run->store->checkpoint.durable.sequence;
        run_check(run);
    }
    run_close(run);
    run_free(run);
    return checkpoints;
}

/* Less than a bar, and a checkpoint: blocks that seem to be free are used. */
static void go_on(struct run *run)
{
    run_trees_create(run);
    fill(run, 4);
    run_control(run, tactus_checkpoint, "checkpoint");
    run_check(run);
    run_close(run);
}

void crash_image_recover(const struct crash_script *script, struct crash_image *image,
                         const struct crash_place *place, crash_look_fn look, void *context,
                         struct fault_outcome *ret_outcome)
{
    const struct fault_script of_run = run_script(script);
    const struct run_reach    reach = run_reach_now(place->run);
    const struct run_state    state = {
           .memory = image->memory,
           .log = image->log,
           .model = store_model_copy(place->run->model, reach.other_op),
           .reach = reach,
    };
    struct run    *run = run_new(&of_run, &state, ret_outcome);
    struct looking looking;

    looking_begin(&looking, run, look, context);
    if (!reach.is_created) {
        run_create(run);
    }
    run_open(run);
    if (run_expect(run, run->store != NULL, "the store does not open")) {
        run_check(run);
        go_on(run);
    }
    run_free(run);
}
