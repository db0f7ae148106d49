/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_faults.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"

#define PLAN_SEED 0x66617561756c7473u
#define ALL_KINDS(count) ((1u << (count)) - 1)

/* ---- plans ---------------------------------------------------------------------------------- */

static uint32_t draw_of(struct tac_prng *prng, const uint32_t *choices, uint32_t count)
{
    return choices[tac_prng_below(prng, count)];
}

#define DRAW_OF(prng, ...)                                                                         \
    draw_of((prng), (const uint32_t[]){__VA_ARGS__},                                               \
            (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

/* One kind, or any subset that is not empty. */
static uint32_t kinds_draw(struct tac_prng *prng, uint32_t count)
{
    return tac_prng_below(prng, 2) == 0 ? 1u << tac_prng_below(prng, count)
                                        : 1 + (uint32_t)tac_prng_below(prng, ALL_KINDS(count));
}

const char *sim_fault_class_text(enum sim_fault_class class)
{
    static const char *const texts[] = {
        [SIM_FAULTS_NONE] = "",
        [SIM_FAULTS_TRANSIENT] = " faults transient",
        [SIM_FAULTS_STOPPING] = " faults stopping",
        [SIM_FAULTS_MEDIA] = " faults media",
    };

    return texts[class];
}

void sim_fault_plan_draw(struct sim_fault_plan *plan, uint64_t seed, bool is_twin,
                         uint32_t op_count)
{
    /* Three of four seeds are no twins: so of all a third, a sixth, a sixth. */
    static const enum sim_fault_class classes[] = {
        SIM_FAULTS_TRANSIENT, SIM_FAULTS_TRANSIENT, SIM_FAULTS_TRANSIENT,
        SIM_FAULTS_STOPPING,  SIM_FAULTS_STOPPING,  SIM_FAULTS_MEDIA,
        SIM_FAULTS_MEDIA,     SIM_FAULTS_NONE,      SIM_FAULTS_NONE};
    struct tac_prng prng = {tac_mix_u64(seed ^ PLAN_SEED)};

    memset(plan, 0, sizeof *plan);
    plan->class = classes[tac_prng_below(&prng, TAC_ARRAY_COUNT(classes))];
    plan->seed = tac_prng_next(&prng);
    if (is_twin && plan->class != SIM_FAULTS_TRANSIENT) {
        plan->class = SIM_FAULTS_NONE;
    }
    if (plan->class == SIM_FAULTS_NONE) {
        return;
    }
    plan->late_odds = DRAW_OF(&prng, 0, 0, 20, 200, 2000);
    plan->late_turns = DRAW_OF(&prng, 4, 40, 400);
    if (plan->class == SIM_FAULTS_MEDIA) {
        plan->media_odds = DRAW_OF(&prng, 20, 100, 400);
        plan->media_kinds = kinds_draw(&prng, SIM_MEDIA_FAULTS);
        plan->media_first = (uint32_t)tac_prng_below(&prng, op_count * 3 / 4 + 1);
        plan->media_most = DRAW_OF(&prng, 1, 2, 4, 8);
        return;
    }
    plan->read_odds = DRAW_OF(&prng, 20, 100, 1000, 5000);
    plan->read_kinds = kinds_draw(&prng, SIM_READ_FAULTS);
    plan->superblock_odds = is_twin ? 0 : DRAW_OF(&prng, 0, 0, 2, 5);
    if (plan->class == SIM_FAULTS_STOPPING) {
        plan->read_odds *= (uint32_t)tac_prng_below(&prng, 2);
        plan->stop_odds = DRAW_OF(&prng, 300, 1000, 3000);
        plan->stop_kinds = kinds_draw(&prng, SIM_STOPPING_FAULTS);
    }
}

void sim_faults_create(struct sim_faults *faults, const struct sim_fault_plan *plan,
                       uint32_t block_size, struct marks *marks)
{
    memset(faults, 0, sizeof *faults);
    faults->plan = *plan;
    faults->block_size = block_size;
    faults->marks = marks;
    faults->armed = SIM_WRITE_RIGHT;
}

void sim_faults_destroy(struct sim_faults *faults)
{
    for (uint32_t i = 0; i < SIM_OLD_BLOCKS; i++) {
        free(faults->old[i].bytes);
    }
    memset(faults, 0, sizeof *faults);
}

uint64_t sim_faults_draw(struct sim_faults *faults, uint64_t bound)
{
    struct tac_prng prng = {faults->plan.seed ^ tac_mix_u64((uint64_t)faults->op + 1)};

    prng.state += ++faults->draws * 0x632be59bd9b4e019u;
    return tac_prng_below(&prng, bound);
}

bool sim_faults_hit(struct sim_faults *faults, uint32_t odds)
{
    return odds != 0 && sim_faults_draw(faults, odds) == 0;
}

uint32_t sim_faults_kind(struct sim_faults *faults, uint32_t kinds)
{
    uint32_t nth = (uint32_t)sim_faults_draw(faults, (uint64_t)__builtin_popcount(kinds));
    uint32_t kind = 0;

    for (;; kind++) {
        if ((kinds >> kind & 1) != 0 && nth-- == 0) {
            return kind;
        }
    }
}

void sim_faults_arm(struct sim_faults *faults, enum sim_write_fault fault, bool is_log,
                    uint32_t left)
{
    faults->armed = fault;
    faults->armed_is_log = is_log;
    faults->armed_left = left;
}

void sim_faults_op(struct sim_faults *faults, uint32_t op, bool has_log)
{
    faults->op = op;
    faults->draws = 0;
    faults->wrong_count = 0;
    faults->is_superblock_met = false;
    if (sim_faults_hit(faults, faults->plan.stop_odds) && faults->armed == SIM_WRITE_RIGHT) {
        enum sim_write_fault fault =
            (enum sim_write_fault)sim_faults_kind(faults, faults->plan.stop_kinds);
        bool is_log = sim_faults_draw(faults, 2) == 0 && has_log;

        sim_faults_arm(faults, fault, is_log,
                       (uint32_t)sim_faults_draw(faults, fault == SIM_SYNC_EIO ? 4 : 40));
    }
}

void sim_faults_heal(struct sim_faults *faults)
{
    faults->armed = SIM_WRITE_RIGHT;
    faults->has_stopped = faults->has_lost = faults->stopped_log = false;
    faults->changes_after = 0;
}

/* ---- writes --------------------------------------------------------------------------------- */

static bool ranges_meet(const struct sim_range *range, bool is_log, uint64_t offset, uint64_t size)
{
    return range->is_log == is_log && offset < range->offset + range->size &&
           range->offset < offset + size;
}

static bool is_superblock(const struct sim_faults *faults, uint64_t offset)
{
    return tac_free_set_address_is_superblock(offset / faults->block_size);
}

/* What a write is about to replace, for reads that give it once more. */
static void old_block_keep(struct sim_faults *faults, const struct tac_memory_disk *memory,
                           const struct tac_io *io)
{
    struct sim_old_block *old = &faults->old[faults->old_next];
    uint64_t              disk_size;
    const uint8_t        *data = tac_memory_disk_data(memory, &disk_size);

    if (io->size_bytes < faults->block_size || io->offset_bytes + faults->block_size > disk_size) {
        return;
    }
    if (old->bytes == NULL) {
        old->bytes = malloc(faults->block_size);
        tac_assert(old->bytes != NULL);
    }
    memcpy(old->bytes, data + io->offset_bytes, faults->block_size);
    old->offset = io->offset_bytes;
    old->size = faults->block_size;
    faults->old_next = (faults->old_next + 1) % SIM_OLD_BLOCKS;
}

void sim_faults_old(struct sim_faults *faults, const struct tac_memory_disk *memory,
                    const struct tac_io *io)
{
    if ((faults->plan.read_kinds >> SIM_READ_STALE & 1) != 0 && io->kind == TAC_IO_WRITE) {
        old_block_keep(faults, memory, io);
    }
}

enum sim_write_fault sim_faults_write(struct sim_faults *faults, bool is_log,
                                      const struct tac_io *io)
{
    enum sim_write_fault fault = faults->armed;
    bool                 is_astray = fault >= SIM_STOPPING_FAULTS;
    enum tac_io_kind     kind = fault == SIM_SYNC_EIO ? TAC_IO_SYNC : TAC_IO_WRITE;

    faults->changes_after += faults->has_stopped && !is_log;
    if (fault == SIM_WRITE_RIGHT || kind != io->kind || is_log != faults->armed_is_log ||
        (is_astray && is_superblock(faults, io->offset_bytes))) {
        return SIM_WRITE_RIGHT;
    }
    if (faults->armed_left > 0) {
        faults->armed_left--;
        return SIM_WRITE_RIGHT;
    }
    faults->armed = SIM_WRITE_RIGHT;
    return fault;
}

/* Some of the first sectors of a write that failed. */
static void write_partly(struct sim_faults *faults, struct tac_memory_disk *memory,
                         const struct tac_io *io)
{
    uint64_t sectors =
        sim_faults_draw(faults, io->segments[0].iov_len / SIM_SECTOR_BYTES + 1) * SIM_SECTOR_BYTES;
    uint64_t disk_size;

    (void)tac_memory_disk_data(memory, &disk_size);
    if (sim_faults_draw(faults, 2) == 0 && io->offset_bytes + sectors <= disk_size) {
        tac_memory_disk_damage(memory, io->offset_bytes, io->segments[0].iov_base, sectors);
    }
}

int sim_faults_stop(struct sim_faults *faults, bool is_log, enum sim_write_fault fault,
                    struct tac_memory_disk *memory, const struct tac_io *io)
{
    uint64_t *count = faults->marks->count;

    switch (fault) {
    case SIM_WRITE_EIO:
        write_partly(faults, memory, io);
        count[MARK_STOPPED_BY_WRITE] += !faults->has_stopped;
        break;
    case SIM_SYNC_EIO:
        if (sim_faults_draw(faults, 3) != 0) {
            tac_memory_disk_lose_unsynced(memory, sim_faults_draw(faults, UINT64_MAX));
            faults->has_lost = true;
        }
        count[MARK_STOPPED_BY_SYNC] += !faults->has_stopped;
        break;
    default:
        count[MARK_STOPPED_BY_SPACE] += !faults->has_stopped;
        break;
    }
    count[MARK_STOPPED_BY_LOG] += is_log && !faults->has_stopped;
    faults->stopped_log |= is_log;
    faults->has_stopped = true;
    return fault == SIM_WRITE_FULL ? ENOSPC : EIO;
}

void sim_faults_astray(struct sim_faults *faults, enum sim_write_fault fault,
                       struct tac_memory_disk *memory, const struct tac_io *io)
{
    uint64_t disk_size, address;

    faults->is_damaged = true;
    (void)tac_memory_disk_data(memory, &disk_size);
    address = 1 + sim_faults_draw(faults, disk_size / faults->block_size - 1);
    if (fault == SIM_WRITE_LOST) {
        faults->marks->count[MARK_STALE_BLOCK]++;
        return;
    }
    faults->marks->count[MARK_MISDIRECTED_WRITE]++;
    if (!tac_free_set_address_is_superblock(address)) {
        tac_memory_disk_damage(memory, address * faults->block_size, io->segments[0].iov_base,
                               tac_min_u64(io->segments[0].iov_len, faults->block_size));
    }
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* The byte at this place of a read, in whichever segment. */
static uint8_t *byte_at(const struct tac_io *io, uint64_t at)
{
    for (uint32_t i = 0; i < io->segment_count; i++) {
        if (at < io->segments[i].iov_len) {
            return (uint8_t *)io->segments[i].iov_base + at;
        }
        at -= io->segments[i].iov_len;
    }
    tac_unreachable();
}

static void read_flip(struct sim_faults *faults, const struct tac_io *io)
{
    static const uint32_t bits[] = {1, 2, 8};

    for (uint32_t i = bits[sim_faults_draw(faults, TAC_ARRAY_COUNT(bits))]; i > 0; i--) {
        *byte_at(io, sim_faults_draw(faults, io->size_bytes)) ^=
            (uint8_t)(1u << sim_faults_draw(faults, 8));
    }
}

static void read_zero(struct sim_faults *faults, const struct tac_io *io)
{
    uint64_t sector = sim_faults_draw(faults, io->size_bytes / SIM_SECTOR_BYTES);

    for (uint32_t i = 0; i < SIM_SECTOR_BYTES; i++) {
        *byte_at(io, sector * SIM_SECTOR_BYTES + i) = 0;
    }
}

/* The same range of another block. False: the file has no other. */
static bool read_elsewhere(struct sim_faults *faults, const struct tac_memory_disk *memory,
                           const struct tac_io *io)
{
    uint64_t       disk_size;
    const uint8_t *data = tac_memory_disk_data(memory, &disk_size);
    uint64_t       block = io->offset_bytes / faults->block_size;
    uint64_t       blocks = disk_size / faults->block_size;
    uint64_t       other = sim_faults_draw(faults, blocks);
    uint64_t       offset = other * faults->block_size + io->offset_bytes % faults->block_size;

    if (other == block || offset + io->size_bytes > disk_size) {
        return false;
    }
    for (uint64_t i = 0; i < io->size_bytes; i++) {
        *byte_at(io, i) = data[offset + i];
    }
    return true;
}

/* False: nothing older is known of this place. */
static bool read_stale(const struct sim_faults *faults, const struct tac_io *io)
{
    bool is_stale = false;

    for (uint32_t i = 0; i < SIM_OLD_BLOCKS && !is_stale; i++) {
        const struct sim_old_block *old = &faults->old[i];
        uint64_t                    begin = tac_max_u64(old->offset, io->offset_bytes);
        uint64_t end = tac_min_u64(old->offset + old->size, io->offset_bytes + io->size_bytes);

        for (uint64_t at = begin; at < end; at++) {
            *byte_at(io, at - io->offset_bytes) = old->bytes[at - old->offset];
            is_stale = true;
        }
    }
    return is_stale;
}

static void read_spoil(struct sim_faults *faults, const struct tac_memory_disk *memory, bool is_log,
                       struct tac_io *io)
{
    uint32_t kind = sim_faults_kind(faults, faults->plan.read_kinds);

    /* Of a log nothing tells what an earlier state of it is: no reader could find that out. */
    if ((kind == SIM_READ_MISDIRECTED && (is_log || !read_elsewhere(faults, memory, io))) ||
        (kind == SIM_READ_STALE && (is_log || !read_stale(faults, io)))) {
        kind = SIM_READ_FLIP;
    }
    switch (kind) {
    case SIM_READ_ERROR:
        io->result = TACTUS_EIO;
        io->os_error = EIO;
        break;
    case SIM_READ_FLIP:
        read_flip(faults, io);
        break;
    case SIM_READ_ZERO:
        read_zero(faults, io);
        break;
    default:
        break;
    }
    faults->marks->count[MARK_READ_ERROR + kind]++;
}

/* One time only, as far as this op goes: whoever reads the range once more is given it right. */
static bool read_goes_wrong(struct sim_faults *faults, bool is_log, const struct tac_io *io)
{
    bool is_of_superblock = !is_log && is_superblock(faults, io->offset_bytes);

    for (uint32_t i = 0; i < faults->wrong_count; i++) {
        if (ranges_meet(&faults->wrong[i], is_log, io->offset_bytes, io->size_bytes)) {
            return false;
        }
    }
    if (faults->wrong_count == SIM_FAULT_RANGES_MAX ||
        (is_of_superblock && faults->is_superblock_met) ||
        !sim_faults_hit(faults, faults->plan.read_odds)) {
        return false;
    }
    faults->is_superblock_met |= is_of_superblock;
    faults->wrong[faults->wrong_count++] =
        (struct sim_range){io->offset_bytes, io->size_bytes, is_log};
    return true;
}

void sim_faults_read(struct sim_faults *faults, bool is_log, const struct tac_memory_disk *memory,
                     struct tac_io *io)
{
    if (io->result != TACTUS_OK) {
        return;
    }
    for (uint32_t i = 0; i < faults->sticky_count; i++) {
        if (ranges_meet(&faults->sticky[i], is_log, io->offset_bytes, io->size_bytes)) {
            io->result = TACTUS_EIO;
            io->os_error = EIO;
            return;
        }
    }
    if (faults->plan.read_odds != 0 && read_goes_wrong(faults, is_log, io)) {
        read_spoil(faults, memory, is_log, io);
    }
}

uint32_t sim_faults_late(struct sim_faults *faults)
{
    if (!sim_faults_hit(faults, faults->plan.late_odds)) {
        return 0;
    }
    faults->marks->count[MARK_LATE_COMPLETION]++;
    return 1 + (uint32_t)sim_faults_draw(faults, faults->plan.late_turns);
}
