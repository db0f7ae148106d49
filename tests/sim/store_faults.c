/* SPDX-License-Identifier: Apache-2.0 */
/* store_faults -- where the disk's faults meet the run, and what must hold then. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/store_sim.h"

#define STOP_STEPS_MAX 1000
#define BLOCK_TRIES_MAX 64
#define STRAY_WRITES_MAX 40 /* One of so many writes from now on */
#define GETS_MAX 200

/* ---- what calls may say --------------------------------------------------------------------- */

bool sim_is_damage(const struct sim *sim, int code)
{
    /* Of two reads one may meet what was lost while the other one fails: seed 569. */
    bool may_fail =
        sim->faults.is_damaged || (sim->faults.has_lost && sim->faults.plan.read_odds != 0);

    return ((sim->faults.is_damaged || sim->faults.has_lost) && code == TACTUS_ECORRUPT) ||
           (may_fail && code == TACTUS_EIO);
}

bool sim_is_refused(const struct sim *sim, int code)
{
    return sim->faults.is_damaged && code == TACTUS_ECORRUPT;
}

bool sim_read_result(struct sim *sim, int code, const char *what)
{
    if (code == TACTUS_OK) {
        return true;
    }
    if (!sim->disk.has_crashed && !sim_is_damage(sim, code)) {
        sim_fail(sim, "%s: %d (%s) %s", what, code, tactus_strerror(code), tactus_message());
    }
    sim->report->marks.count[MARK_DAMAGE_READ] += sim->faults.is_damaged;
    sim->report->marks.count[MARK_STOPPED_LOSS] += sim->faults.has_lost;
    return false;
}

/* ---- damage --------------------------------------------------------------------------------- */

/* A block in use, but none with a superblock; now and then one that an open cannot do without. 0:
 * none was found. */
static uint64_t block_choose(struct sim *sim)
{
    const struct tac_free_set *set = sim->store->free_set;
    uint64_t                   newest = sim->store->checkpoint.durable.manifest_newest.address;
    uint64_t                   size;

    if (sim_faults_draw(&sim->faults, 4) == 0 && newest != 0) {
        return newest;
    }
    (void)tac_memory_disk_data(sim->disk.memory, &size);
    for (uint32_t i = 0; i < BLOCK_TRIES_MAX; i++) {
        uint64_t address = sim_faults_draw(&sim->faults, tac_free_set_blocks_used(set));

        if (tac_free_set_is_acquired(set, address) &&
            !tac_free_set_address_is_superblock(address) &&
            (address + 1) * sim->faults.block_size <= size) {
            return address;
        }
    }
    return 0;
}

static void sector_spoil(struct sim *sim, uint64_t offset, bool is_zero)
{
    uint8_t bytes[SIM_SECTOR_BYTES] = {0};

    for (uint32_t i = 0; !is_zero && i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)sim_faults_draw(&sim->faults, 256);
    }
    tac_memory_disk_damage(sim->disk.memory, offset, bytes, sizeof bytes);
}

static void bits_flip(struct sim *sim, uint64_t offset, uint64_t size)
{
    static const uint32_t bits[] = {1, 2, 8};
    uint64_t              disk_size;
    const uint8_t        *data = tac_memory_disk_data(sim->disk.memory, &disk_size);

    for (uint32_t i = bits[sim_faults_draw(&sim->faults, 3)]; i > 0; i--) {
        uint64_t at = offset + sim_faults_draw(&sim->faults, size);
        uint8_t  byte = data[at] ^ (uint8_t)(1u << sim_faults_draw(&sim->faults, 8));

        tac_memory_disk_damage(sim->disk.memory, at, &byte, 1);
    }
}

static void block_damage(struct sim *sim, enum sim_media_fault kind)
{
    struct sim_faults *faults = &sim->faults;
    uint64_t           offset = block_choose(sim) * faults->block_size;
    uint64_t           sector = sim_faults_draw(faults, faults->block_size / SIM_SECTOR_BYTES);

    if (offset == 0 || (kind == SIM_MEDIA_UNREADABLE && faults->sticky_count == SIM_STICKY_MAX)) {
        return;
    }
    switch (kind) {
    case SIM_MEDIA_FLIP:
        bits_flip(sim, offset, faults->block_size);
        break;
    case SIM_MEDIA_BURST:
    case SIM_MEDIA_ZERO:
        sector_spoil(sim, offset + sector * SIM_SECTOR_BYTES, kind == SIM_MEDIA_ZERO);
        break;
    default:
        faults->sticky[faults->sticky_count++] =
            (struct sim_range){.offset = offset, .size = faults->block_size};
        break;
    }
    faults->is_damaged = true;
    faults->media_count++;
    sim->report->marks.count[MARK_MEDIA_FLIP + kind]++;
}

void sim_op_begin(struct sim *sim, uint32_t index)
{
    struct sim_faults           *faults = &sim->faults;
    const struct sim_fault_plan *plan = &faults->plan;
    enum sim_media_fault         kind;

    sim->op_index = index;
    sim_faults_op(faults, index, sim->disk.log_is_open);
    if (plan->media_odds == 0 || index < plan->media_first ||
        faults->media_count >= plan->media_most || !sim_faults_hit(faults, plan->media_odds)) {
        return;
    }
    kind = (enum sim_media_fault)sim_faults_kind(faults, plan->media_kinds);
    if (kind < SIM_MEDIA_LOST) {
        block_damage(sim, kind);
    } else if (faults->armed == SIM_WRITE_RIGHT) {
        sim_faults_arm(faults, kind == SIM_MEDIA_LOST ? SIM_WRITE_LOST : SIM_WRITE_MISDIRECTED,
                       false, (uint32_t)sim_faults_draw(faults, STRAY_WRITES_MAX));
        faults->media_count++;
    }
}

static void damage_note(void *context, const char *text)
{
    struct sim *sim = context;

    (void)text;
    sim->damages++;
}

/* What a read has met tactus_verify finds too, once all is in a durable checkpoint. */
void sim_check_damaged(struct sim *sim)
{
    struct tactus_verify_report report;
    uint64_t                    met = sim->report->marks.count[MARK_DAMAGE_READ];
    int                         result;

    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        const struct store_model_tree *at = &sim->model->trees[tree];
        uint32_t                       step = 1 + at->key_count / GETS_MAX;

        if (at->created_op == STORE_MODEL_NEVER) {
            continue;
        }
        sim_check_tree(sim, tree);
        for (uint32_t key = 0; key < at->key_count; key += step) {
            sim_check_get(sim, tree, key);
        }
    }
    met = sim->report->marks.count[MARK_DAMAGE_READ] - met;
    sim->damages = 0;
    result = tactus_verify(sim->store, damage_note, sim, &report);
    if (result != TACTUS_OK && !sim_is_damage(sim, result)) {
        sim_fail(sim, "verify: %d %s", result, tactus_message());
    }
    if (met > 0 && (result == TACTUS_OK || sim->damages == 0)) {
        sim_fail(sim, "%llu reads met damage, and tactus_verify finds none",
                 (unsigned long long)met);
    }
    sim->report->marks.count[MARK_DAMAGE_VERIFIED] += met > 0;
}

/* ---- superblocks ---------------------------------------------------------------------------- */

void sim_superblock_spoil(struct sim *sim)
{
    struct sim_faults *faults = &sim->faults;
    uint64_t           stride = (uint64_t)TAC_SUPERBLOCK_STRIDE_BLOCKS * faults->block_size;
    uint32_t           copy = (uint32_t)sim_faults_draw(faults, TAC_SUPERBLOCK_COPIES);
    uint64_t           offset = copy * stride;
    uint64_t           size;
    const uint8_t     *data = tac_memory_disk_data(sim->disk.memory, &size);
    uint64_t           sibling = (copy ^ 1) * stride;

    faults->is_spoiled = false;
    if (!sim_faults_hit(faults, faults->plan.superblock_odds) ||
        size < TAC_SUPERBLOCK_COPIES * stride) {
        return;
    }
    switch (sim_faults_draw(faults, 3)) {
    case 0:
        bits_flip(sim, offset, TAC_SUPERBLOCK_BYTES);
        break;
    case 1:
        sector_spoil(sim, offset, sim_faults_draw(faults, 2) == 0);
        break;
    default:
        memcpy(faults->spoiled, data + sibling, TAC_SUPERBLOCK_BYTES);
        tac_memory_disk_damage(sim->disk.memory, offset, faults->spoiled, TAC_SUPERBLOCK_BYTES);
        break;
    }
    memcpy(faults->spoiled, data + offset, TAC_SUPERBLOCK_BYTES);
    faults->spoiled_offset = offset;
    faults->is_spoiled = true;
}

void sim_superblock_check(struct sim *sim)
{
    struct sim_faults *faults = &sim->faults;
    uint64_t           size;
    const uint8_t     *data = tac_memory_disk_data(sim->disk.memory, &size);

    if (!faults->is_spoiled) {
        return;
    }
    faults->is_spoiled = false;
    if (memcmp(data + faults->spoiled_offset, faults->spoiled, TAC_SUPERBLOCK_BYTES) == 0) {
        sim_fail(sim, "the open has not repaired the superblock at %llu",
                 (unsigned long long)faults->spoiled_offset);
    }
    sim->report->marks.count[MARK_SUPERBLOCK_REPAIRED]++;
}

/* ---- writing has stopped -------------------------------------------------------------------- */

/* Each write says so, and why: the first cause. */
static void cause_check(struct sim *sim)
{
    int result = sim_log_checkpoint(sim);

    if (result != TACTUS_EPOISONED) {
        sim_fail(sim, "a write failed, and a checkpoint says %d", result);
    }
    if (strstr(tactus_message(), sim->store->poison_error.message) == NULL) {
        sim_fail(sim, "writing has stopped: \"%s\", but the cause is \"%s\"", tactus_message(),
                 sim->store->poison_error.message);
    }
}

void sim_check_stopped(struct sim *sim)
{
    struct tactus *store = sim->store;

    for (uint32_t i = 0; !tac_store_is_poisoned(store) && i < STOP_STEPS_MAX; i++) {
        (void)tactus_step(store);
    }
    cause_check(sim); /* A job that waits for its beat tells of its failure then. */
    if (sim->faults.changes_after > 0 && !sim->faults.stopped_log) {
        sim_fail(sim, "%llu writes or syncs after one had failed",
                 (unsigned long long)sim->faults.changes_after);
    }
    if (tactus_last_op(store) != sim->model->op || sim->is_cut_ingest) {
        return; /* The op that was under way is there, or half of it. */
    }
    for (uint32_t tree = 0; tree < sim->model->tree_count; tree++) {
        if (sim->model->trees[tree].created_op != STORE_MODEL_NEVER) {
            sim_check_tree(sim, tree);
        }
    }
    cause_check(sim);
    sim->report->marks.count[MARK_STOPPED_READ]++;
}

/* The power may go out then. */
void sim_stopped_cut(struct sim *sim)
{
    if (sim->faults.has_stopped && !sim->disk.has_crashed &&
        sim_faults_draw(&sim->faults, 2) == 0) {
        sim->disk.crash_seed = sim_faults_draw(&sim->faults, UINT32_MAX);
        sim_disk_crash(&sim->disk);
    }
}

/* ---- opens ---------------------------------------------------------------------------------- */

/* The disk is sound again; but the open may meet another failure. */
void sim_recovery_arm(struct sim *sim)
{
    struct sim_faults *faults = &sim->faults;
    uint32_t           kinds = faults->plan.stop_kinds;

    sim_faults_heal(faults);
    if (kinds != 0 && sim_faults_draw(faults, 4) == 0) {
        sim_faults_arm(faults, (enum sim_write_fault)sim_faults_kind(faults, kinds),
                       sim_faults_draw(faults, 2) == 0, (uint32_t)sim_faults_draw(faults, 4));
    }
}

void sim_open_failed(struct sim *sim, const struct tac_error *error)
{
    uint64_t *count = sim->report->marks.count;

    if (!sim_is_down(sim)) {
        if (sim_is_damage(sim, error->code)) {
            count[MARK_OPEN_REFUSED]++;
            longjmp(sim->end, 1);
        }
        sim_fail(sim, "open: %d %s", error->code, error->message);
    }
    count[MARK_CUT_IN_OPEN] += sim->disk.has_crashed;
    count[MARK_STOPPED_IN_OPEN] += sim->faults.has_stopped;
    sim_faults_heal(&sim->faults);
}
