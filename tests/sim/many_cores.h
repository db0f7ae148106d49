/* SPDX-License-Identifier: Apache-2.0 */
/* many_cores -- how fast recorded bars would run on any number of threads: a discrete-event
 * simulation of stages, seats, credit and the coordinator in virtual time.
 *
 * What is as in the engine: the three stages with their queues and homes, who helps whom; a seat's
 * windows, requests and back-pressure; admission and the block pool (pipeline/admission.h); beats,
 * credit and the writer's wait (pipeline/pacing.h); plan, commit and checkpoint between two bars.
 * What is not: blocks of a source are all alike and its sources end their blocks in turn; costs are
 * constants, and a thread never loses its processor. Chance is only in the latency of the device.
 */
#ifndef TACTUS_TESTS_SIM_MANY_CORES_H
#define TACTUS_TESTS_SIM_MANY_CORES_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/recorded_bars.h"

/* docs/PERFORMANCE.md says where the defaults come from. */
struct cores_costs {
    double   merge_ns, gather_ns, verify_ns; /* Per record: merged into sealed blocks; fetched from
                                                the memtable; checked after a read */
    uint64_t request_ns;                     /* A request is submitted and reaped */
    uint64_t turn_ns;                        /* A seat is run in vain */
    uint64_t wake_ns;                        /* From a wake-up to the woken thread's first step */
    uint64_t plan_ns, plan_table_ns;         /* A bar's plan, and more for each table */
    uint64_t commit_ns;                      /* A bar's end */
    uint64_t checkpoint_ns;                  /* From a checkpoint's begin until it is durable */
    uint64_t latency_ns;                     /* Of a request; half to one and a half of it */
    uint64_t device_bytes_per_s;             /* Each way; 0: no limit */
    double   put_ns;                         /* Of a writer's record; 0: it only waits */
};

struct cores_machine {
    uint32_t           threads_read, threads_merge, threads_write;
    bool               assist;
    struct cores_costs costs;
};

/* Why a thread had nothing to do. */
enum cores_idle {
    CORES_IDLE_JOBS,   /* Every job left has a thread: too few, or one is too long */
    CORES_IDLE_SEATS,  /* Jobs wait for a seat */
    CORES_IDLE_POOL,   /* Jobs wait for blocks */
    CORES_IDLE_CREDIT, /* Jobs wait for the next beat's credit */
    CORES_IDLE_DEVICE, /* Jobs wait for reads, gathers or writes, or for a thread to wake up */
    CORES_IDLE_PLAN,   /* No plan runs: commit, checkpoint, the next plan */
    CORES_IDLE_COUNT,
};

struct cores_figures {
    uint64_t ns;
    double   bar_ms;
    double   busy;                   /* Threads that do anything, in the mean; without assist:
                                        of the merge threads */
    double   merging;                /* … and that merge */
    double   idle[CORES_IDLE_COUNT]; /* The others, by cause */
    double   records_per_s;          /* Flushed */
    uint32_t checkpoint_waits;
};

struct cores_costs cores_costs_default(void);
/* As many threads, shared out as `auto` does it on as many processors, all of which merge (assist).
 * The engine has one of each stage at least: below three, one or two threads do everything, for
 * comparison. */
struct cores_machine cores_machine_assisting(uint32_t threads);
/* So many threads that only merge, beside half as many that only read and half that only write. */
struct cores_machine cores_machine_homes(uint32_t threads_merge);
void cores_run(const struct recorded_bars *recorded, const struct cores_machine *machine,
               uint64_t seed, struct cores_figures *ret_figures);

const char *cores_idle_name(enum cores_idle idle);

#endif
