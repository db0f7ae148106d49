/* SPDX-License-Identifier: Apache-2.0 */
/* memarena -- the memory of one memtable: a mapping of fixed size, touched when it is made. Records
 * are taken from its lower end, tree nodes from its upper end, and nothing is given back until all
 * of it is, by tac_memarena_reset.
 *
 * What lies in it is named by a reference: the offset in units of eight bytes. 0 is none.
 *
 * Thread  Allocation: the writer only. tac_memarena_at: any thread.
 */
#ifndef TACTUS_LSM_MEMARENA_H
#define TACTUS_LSM_MEMARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/units.h"

#define TAC_MEMARENA_UNIT_BYTES 8
#define TAC_MEMARENA_SIZE_MAX ((uint64_t)TAC_MEMARENA_UNIT_BYTES << 32)

struct tac_memarena {
    /* Fixed at create. */
    uint8_t *base;
    uint64_t size_bytes;
    /* Writer only; on a cache line that readers do not look at. */
    TAC_CACHE_ALIGNED uint64_t records_end;
    uint64_t                   nodes_begin;
};

/* What tac_memarena_create really maps for size_bytes. */
uint64_t tac_memarena_round_up(uint64_t size_bytes);

/* False: out of memory; nothing is held then. */
TAC_MUST_CHECK bool tac_memarena_create(struct tac_memarena *arena, uint64_t size_bytes);
void                tac_memarena_destroy(struct tac_memarena *arena);

/* Forgets everything without touching the memory. No reader may be inside. */
void tac_memarena_reset(struct tac_memarena *arena);

/* Both assert that there is room: whoever fills the arena knows beforehand what will fit. A node is
 * cache-line aligned, and its size is a multiple of the line. */
uint32_t tac_memarena_take_record(struct tac_memarena *arena, uint64_t size_bytes);
uint32_t tac_memarena_take_node(struct tac_memarena *arena, uint64_t size_bytes);

static inline void *tac_memarena_at(const struct tac_memarena *arena, uint32_t ref)
{
    tac_assert(ref != 0);
    return arena->base + (uint64_t)ref * TAC_MEMARENA_UNIT_BYTES;
}

#endif
