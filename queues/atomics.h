/* SPDX-License-Identifier: Apache-2.0 */
/* atomics -- the only door to shared words: every atomic access of the project is one of these.
 *
 * Words are plain uint32_t, uint64_t or pointers, shared by using these functions for every access
 * while more than one thread can see them. The name says the ordering; whatever is not a relaxed
 * load or store, an acquire load or a release store is sequentially consistent.
 *
 * There is no stand-alone fence on purpose: ThreadSanitizer does not model fences, so an algorithm
 * built on one cannot be tested here. Where a store must come before a later load of another word
 * (the pattern of every lost wake-up), make one of the two a read-modify-write:
 *
 * note: rmw-order
 * All read-modify-writes of one word happen in one order, and each sees what was written before the
 * ones ahead of it (each is a release and an acquire). So of two threads that both pass through the
 * same word this way, one comes second, and it sees everything the first did before. This holds on
 * every machine, not only on x86-64. Reading a word as a party of this order is
 * tac_atomic_fetch_add_u64(word, 0). */
#ifndef TACTUS_QUEUES_ATOMICS_H
#define TACTUS_QUEUES_ATOMICS_H

#include <ck_pr.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- loads and stores ----------------------------------------------------------------------- */

static inline uint32_t tac_atomic_load_acquire_u32(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static inline uint64_t tac_atomic_load_acquire_u64(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static inline void *tac_atomic_load_acquire_ptr(void *const *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void tac_atomic_store_release_u32(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
static inline void tac_atomic_store_release_u64(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
static inline void tac_atomic_store_release_ptr(void **word, void *value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Relaxed: for counters that others only look at, and for first guesses that a later
 * read-modify-write checks. They order nothing. */
static inline uint32_t tac_atomic_load_relaxed_u32(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}
static inline uint64_t tac_atomic_load_relaxed_u64(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}
static inline void *tac_atomic_load_relaxed_ptr(void *const *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void tac_atomic_store_relaxed_u32(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
static inline void tac_atomic_store_relaxed_u64(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
static inline void tac_atomic_store_relaxed_ptr(void **word, void *value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* ---- read-modify-writes; all return the value before ---------------------------------------- */

static inline uint32_t tac_atomic_fetch_add_u32(uint32_t *word, uint32_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}
static inline uint64_t tac_atomic_fetch_add_u64(uint64_t *word, uint64_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}
/* For counting that hands something over (a reference dropped) but takes part in no order with
 * other words. */
static inline uint32_t tac_atomic_fetch_add_acq_rel_u32(uint32_t *word, uint32_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_ACQ_REL);
}
static inline uint64_t tac_atomic_fetch_add_acq_rel_u64(uint64_t *word, uint64_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_ACQ_REL);
}

static inline uint32_t tac_atomic_fetch_or_u32(uint32_t *word, uint32_t bits)
{
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}
static inline uint64_t tac_atomic_fetch_or_u64(uint64_t *word, uint64_t bits)
{
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}
static inline uint32_t tac_atomic_fetch_and_u32(uint32_t *word, uint32_t bits)
{
    return __atomic_fetch_and(word, bits, __ATOMIC_SEQ_CST);
}
static inline uint64_t tac_atomic_fetch_and_u64(uint64_t *word, uint64_t bits)
{
    return __atomic_fetch_and(word, bits, __ATOMIC_SEQ_CST);
}

static inline uint32_t tac_atomic_exchange_u32(uint32_t *word, uint32_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}
static inline uint64_t tac_atomic_exchange_u64(uint64_t *word, uint64_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}
static inline void *tac_atomic_exchange_ptr(void **word, void *value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

/* Strong: false means that the word held something else, which is then in *expected. */
static inline bool tac_atomic_compare_exchange_u32(uint32_t *word, uint32_t *expected,
                                                   uint32_t desired)
{
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
static inline bool tac_atomic_compare_exchange_u64(uint64_t *word, uint64_t *expected,
                                                   uint64_t desired)
{
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
static inline bool tac_atomic_compare_exchange_ptr(void **word, void **expected, void *desired)
{
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* ---- waiting a little, and being made to wait ----------------------------------------------- */

/* Between two turns of a bounded retry. */
static inline void tac_pause(void) { ck_pr_stall(); }

/* Stands before and after every operation on shared words that a test wants to see interrupted.
 * Nothing in normal builds; with TACTUS_YIELD now and then a sched_yield or a short delay, drawn
 * from a generator of the thread's own. */
void tac_yield_now(void);
/* The calling thread's generator from here on; without it all threads draw the same sequence. */
void tac_yield_seed(uint64_t seed);

static inline void tac_yield_point(void)
{
#ifdef TACTUS_YIELD
    tac_yield_now();
#endif
}

#endif
