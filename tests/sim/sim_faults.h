/* SPDX-License-Identifier: Apache-2.0 */
/* sim_faults -- what the disk of the simulator does wrong. Swarm: a seed draws one class of faults
 * and its own odds and kinds of them, most seeds none of most kinds.
 *
 *   transient  a read fails or gives wrong bytes once, a completion comes late: nobody notices
 *   stopping   a write or a sync fails: the store stops writing, its reads go on; then it is taken
 *              down and comes back on a sound disk. Transient ones too
 *   media      blocks are damaged for good: every read gives the right record or an error
 *
 * What goes wrong follows from the seed, the op, and the number of the request within the op, so
 * that a list that is run again, or in part, meets the same again. The fates are drawn here, the
 * disk (sim_disk.c) lets them happen; what must hold then is in store_faults.c. */
#ifndef TACTUS_TESTS_SIM_SIM_FAULTS_H
#define TACTUS_TESTS_SIM_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lsm/superblock.h"
#include "stages/storage.h"
#include "tests/sim/marks.h"

#define SIM_FAULT_RANGES_MAX 64
#define SIM_STICKY_MAX 8
#define SIM_OLD_BLOCKS 64
#define SIM_SECTOR_BYTES 512

enum sim_fault_class {
    SIM_FAULTS_NONE,
    SIM_FAULTS_TRANSIENT,
    SIM_FAULTS_STOPPING,
    SIM_FAULTS_MEDIA,
};

enum sim_read_fault {
    SIM_READ_ERROR,
    SIM_READ_FLIP,        /* 1, 2 or 8 bits */
    SIM_READ_ZERO,        /* A sector */
    SIM_READ_MISDIRECTED, /* Another place's bytes */
    SIM_READ_STALE,       /* What was there before the last write */
    SIM_READ_FAULTS,
    SIM_READ_RIGHT,
};

enum sim_write_fault {
    SIM_WRITE_EIO,  /* Some sectors may have been written */
    SIM_SYNC_EIO,   /* What it was to cover is kept, lost or torn */
    SIM_WRITE_FULL, /* ENOSPC */
    SIM_STOPPING_FAULTS,
    SIM_WRITE_LOST = SIM_STOPPING_FAULTS, /* Acknowledged: the block stays stale */
    SIM_WRITE_MISDIRECTED,                /* Acknowledged: it went to another block */
    SIM_WRITE_RIGHT,
};

enum sim_media_fault {
    SIM_MEDIA_FLIP,  /* 1, 2 or 8 bits */
    SIM_MEDIA_BURST, /* A sector of other bytes */
    SIM_MEDIA_ZERO,  /* A sector */
    SIM_MEDIA_UNREADABLE,
    SIM_MEDIA_LOST,
    SIM_MEDIA_MISDIRECTED,
    SIM_MEDIA_FAULTS,
};

/* Of a world. Odds: one of so many; 0: never. Kinds: bits. */
struct sim_fault_plan {
    enum sim_fault_class class;
    uint64_t seed;
    uint32_t read_odds, read_kinds;
    uint32_t late_odds, late_turns;
    uint32_t stop_odds, stop_kinds; /* Of ops that set one going */
    uint32_t superblock_odds;       /* Of opens that find a bad copy */
    uint32_t media_odds, media_kinds, media_first, media_most;
};

struct sim_range {
    uint64_t offset, size;
    bool     is_log;
};

struct sim_old_block {
    uint64_t offset, size; /* size 0: none */
    uint8_t *bytes;
};

struct sim_faults {
    struct sim_fault_plan plan;
    struct marks         *marks;
    uint32_t              block_size;
    /* In the op that runs */
    uint32_t         op;
    uint64_t         draws;
    struct sim_range wrong[SIM_FAULT_RANGES_MAX]; /* They have been read wrong once */
    uint32_t         wrong_count;
    bool             is_superblock_met; /* A copy has been read wrong in this op */
    /* The write or sync that is to go wrong */
    enum sim_write_fault armed;
    bool                 armed_is_log;
    uint32_t             armed_left;
    /* Since the last open */
    bool     has_stopped; /* A failure has been reported */
    bool     has_lost;    /* … of a sync, which has lost writes */
    bool     stopped_log;
    uint64_t changes_after; /* Writes and syncs of the store's file begun after it */
    /* The superblock copy that the next open finds bad */
    bool     is_spoiled;
    uint64_t spoiled_offset;
    uint8_t  spoiled[TAC_SUPERBLOCK_BYTES];
    /* For good */
    bool                 is_damaged;
    uint32_t             media_count;
    struct sim_range     sticky[SIM_STICKY_MAX];
    uint32_t             sticky_count;
    struct sim_old_block old[SIM_OLD_BLOCKS];
    uint32_t             old_next;
};

/* From a PRNG of its own. Twins have nothing that must show in the file. */
void sim_fault_plan_draw(struct sim_fault_plan *plan, uint64_t seed, bool is_twin,
                         uint32_t op_count);
const char *sim_fault_class_text(enum sim_fault_class class);

void sim_faults_create(struct sim_faults *faults, const struct sim_fault_plan *plan,
                       uint32_t block_size, struct marks *marks);
void sim_faults_destroy(struct sim_faults *faults);
/* A number below bound that follows from the seed, the op and how many were drawn in it. */
uint64_t sim_faults_draw(struct sim_faults *faults, uint64_t bound);
bool     sim_faults_hit(struct sim_faults *faults, uint32_t odds);
/* One of the kinds (bits); they are not 0. */
uint32_t sim_faults_kind(struct sim_faults *faults, uint32_t kinds);
/* Another op begins: it may set a failure going. */
void sim_faults_op(struct sim_faults *faults, uint32_t op, bool has_log);
void sim_faults_arm(struct sim_faults *faults, enum sim_write_fault fault, bool is_log,
                    uint32_t left);
/* The disk is sound again but for what is damaged for good. */
void sim_faults_heal(struct sim_faults *faults);

/* ---- for the disk ---- */

/* Notes what a write is about to replace. */
void sim_faults_old(struct sim_faults *faults, const struct tac_memory_disk *memory,
                    const struct tac_io *io);
/* A write or sync begins. */
enum sim_write_fault sim_faults_write(struct sim_faults *faults, bool is_log,
                                      const struct tac_io *io);
/* It is reported now, as failed. Returns the errno. */
int sim_faults_stop(struct sim_faults *faults, bool is_log, enum sim_write_fault fault,
                    struct tac_memory_disk *memory, const struct tac_io *io);
/* It is acknowledged, but has not reached its place. */
void sim_faults_astray(struct sim_faults *faults, enum sim_write_fault fault,
                       struct tac_memory_disk *memory, const struct tac_io *io);
/* A read has come back: spoils it, or not. */
void sim_faults_read(struct sim_faults *faults, bool is_log, const struct tac_memory_disk *memory,
                     struct tac_io *io);
/* For so many more turns a completion does not come; 0: it comes at once. */
uint32_t sim_faults_late(struct sim_faults *faults);

#endif
