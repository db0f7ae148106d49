/* SPDX-License-Identifier: Apache-2.0 */
/* sim_pool -- in some runs the store of the simulation lives in a pool of virtual threads
 * (stages/thread_pool.h), beside a neighbour: another store, on a disk of its own, that is written
 * to between the ops of the list, closed and opened again. Each steps the work of both.
 *
 * The neighbour has no faults, no crashes and no model: what it holds in the end is to be what the
 * same ops make of a store on its own, byte for byte. */
#ifndef TACTUS_TESTS_SIM_SIM_POOL_H
#define TACTUS_TESTS_SIM_SIM_POOL_H

#include "base/prng.h"
#include "pipeline/pool.h"

struct sim_neighbour {
    struct tactus_pool     *pool; /* NULL: on its own */
    struct tac_memory_disk *disk;
    struct tactus          *store;
    struct tac_prng         ops;  /* What it does */
    struct tac_prng         free; /* What may not show in the file */
    uint32_t                tree;
    uint64_t                records;
};

struct sim_pool {
    struct tactus_pool  *pool; /* NULL: the run has none */
    struct sim_neighbour neighbour;
    uint64_t             seed;
    uint64_t             op_count; /* Of the neighbour */
};

void sim_pool_begin(struct sim_pool *pool, uint64_t seed, const struct tac_stepping *stepping);
/* An op of the neighbour. */
void sim_pool_op(struct sim_pool *pool);
/* Other threads. */
void sim_pool_change(struct sim_pool *pool, const struct tac_stepping *stepping);
/* Its threads, and the coordinator of a store. */
uint32_t sim_pool_workers(const struct sim_pool *pool);
/* Both stores have jobs that the same threads do. */
bool sim_pool_is_busy(const struct sim_pool *pool, const struct tactus *store);
/* The neighbour is what it is on its own. */
bool sim_pool_is_right(struct sim_pool *pool);
/* The store of the simulation has been closed. */
void sim_pool_end(struct sim_pool *pool);

#endif
