/* SPDX-License-Identifier: Apache-2.0 */
/* snapshots -- the named snapshots of the store of `tactus stress`: which there are, and what each
 * must hold. In memory that a process shares with its children, as the ledger is.
 *
 * A snapshot is taken while writers write. So of each item it has a version between the one that
 * was visible before the call and the one that had been begun when it returned; of a group, in all
 * trees the same one. Whoever has read all of it once has said which, for good: in later lives,
 * too. */
#ifndef TACTUS_TOOLS_STRESS_SNAPSHOTS_H
#define TACTUS_TOOLS_STRESS_SNAPSHOTS_H

#include "tools/stress/board.h"

#define TAC_STRESS_SNAPSHOTTERS_MAX 4
#define TAC_STRESS_SNAPSHOTS_EACH 2
#define TAC_STRESS_SNAPSHOTS_MAX (TAC_STRESS_SNAPSHOTTERS_MAX * TAC_STRESS_SNAPSHOTS_EACH)
#define TAC_STRESS_SNAPSHOT_NAME_BYTES 32

enum tac_stress_snapshot_state {
    TAC_STRESS_SNAPSHOT_NONE,
    TAC_STRESS_SNAPSHOT_TAKING, /* After a crash: it may be there */
    TAC_STRESS_SNAPSHOT_TAKEN,
    TAC_STRESS_SNAPSHOT_RELEASING, /* After a crash: it may be there */
};

/* Of one snapshotter alone, or, while nobody works, of whoever opens the store. */
struct tac_stress_snapshot {
    uint32_t state;
    uint32_t is_known; /* found has all of it */
    uint64_t number;   /* In its name: none is given twice */
    uint64_t op;       /* When it was taken */
    /* It has each eraser's tree as of one of the steps between these; eraser.c. */
    uint64_t erased_least[TAC_STRESS_ERASERS_MAX], erased_most[TAC_STRESS_ERASERS_MAX];
};

struct tac_stress_snapshots {
    uint32_t                    count;
    struct tac_stress_snapshot *entries; /* Shared, and so are those below; of entry i */
    uint32_t                   *least[TAC_STRESS_SNAPSHOTS_MAX]; /* By item */
    uint32_t                   *most[TAC_STRESS_SNAPSHOTS_MAX];
    uint32_t                   *found[TAC_STRESS_SNAPSHOTS_MAX]; /* By place */
    size_t                      shared_bytes;
};

/* Up to TAC_STRESS_SNAPSHOTS_MAX; 0: none, and no memory. False: out of memory. */
bool tac_stress_snapshots_init(struct tac_stress_snapshots   *snapshots,
                               const struct tac_stress_world *world, uint32_t count) TAC_MUST_CHECK;
void tac_stress_snapshots_destroy(struct tac_stress_snapshots *snapshots);

void tac_stress_snapshot_name(const struct tac_stress_snapshots *snapshots, uint32_t index,
                              char ret_name[TAC_STRESS_SNAPSHOT_NAME_BYTES]);

/* Before the call that takes it, and after it: what it must hold, and what it may. */
void tac_stress_snapshot_begin(struct tac_stress_snapshots    *snapshots,
                               const struct tac_stress_ledger *ledger, uint32_t index);
void tac_stress_snapshot_end(struct tac_stress_snapshots    *snapshots,
                             const struct tac_stress_ledger *ledger, uint32_t index, uint64_t op);
/* A crash has met the call, and it is there: any version may be in it that was ever begun. */
void tac_stress_snapshot_found(struct tac_stress_snapshots    *snapshots,
                               const struct tac_stress_ledger *ledger, uint32_t index, uint64_t op);

/* May this be what the snapshot has at the place? */
bool tac_stress_snapshot_is_right(const struct tac_stress_snapshots *snapshots,
                                  const struct tac_stress_world *world, uint32_t index,
                                  uint32_t place, uint32_t found) TAC_MUST_CHECK;
/* All of it was read, by place. TAC_STRESS_NOWHERE: it is right, and known from now on; else the
 * first place that is wrong. */
uint32_t tac_stress_snapshot_settle(struct tac_stress_snapshots   *snapshots,
                                    const struct tac_stress_world *world, uint32_t index,
                                    const uint32_t *found) TAC_MUST_CHECK;

#endif
