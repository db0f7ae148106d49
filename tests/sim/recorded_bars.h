/* SPDX-License-Identifier: Apache-2.0 */
/* recorded_bars -- the jobs of real plans: the planner plans bar after bar for model trees at the
 * default geometry, and what each job reads and writes is kept.
 *
 * The workload is records of 16-byte random keys and 112-byte values, the writes spread evenly over
 * the trees. A model record stands for some twenty real ones, so that a few thousand draw the same
 * tables as the hundred thousands of a real memtable, somewhat less evenly. */
#ifndef TACTUS_TESTS_SIM_RECORDED_BARS_H
#define TACTUS_TESTS_SIM_RECORDED_BARS_H

#include <stdint.h>

#include "lsm/superblock.h"
#include "tests/sim/planner_model.h"

#define RECORDED_RECORD_BYTES 128 /* Key and value of a real record */

struct recorded_bar {
    struct model_job *jobs; /* In planned order, tree by tree */
    uint32_t          job_count;
    uint64_t          bytes_planned;
    uint64_t          bytes_flushed;
    uint32_t          tables; /* Of all trees, after the bar */
};

struct recorded_bars {
    struct tac_shape     shape; /* The options as a store keeps them */
    uint32_t             trees;
    struct recorded_bar *bars;
    uint32_t             bar_count;
    uint64_t             table_bytes;         /* Mean output table: how often an index is read */
    double               write_amplification; /* Of the recorded bars */
};

/* Memtables that the trees hold together before the first recorded bar, bars to record. slice_size
 * 0: the default. Ends the test when the model finds a problem. */
struct recorded_bars *recorded_bars_new(uint32_t trees, uint32_t memtables, uint32_t bars,
                                        uint64_t slice_size, uint64_t seed);
void                  recorded_bars_free(struct recorded_bars *recorded);

#endif
