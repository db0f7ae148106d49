/* SPDX-License-Identifier: Apache-2.0 */
/* units -- sizes, rounding and small arithmetic. */
#ifndef TACTUS_BASE_UNITS_H
#define TACTUS_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAC_KIB ((uint64_t)1024)
#define TAC_MIB (1024 * TAC_KIB)
#define TAC_GIB (1024 * TAC_MIB)
#define TAC_TIB (1024 * TAC_GIB)

#define TAC_CACHE_LINE_BYTES 64
#define TAC_CACHE_ALIGNED __attribute__((aligned(TAC_CACHE_LINE_BYTES)))

#define TAC_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t tac_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t tac_max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint64_t tac_div_ceil(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
static inline uint64_t tac_round_up(uint64_t a, uint64_t unit)
{
    return tac_div_ceil(a, unit) * unit;
}
static inline bool     tac_is_power_of_two(uint64_t a) { return a != 0 && (a & (a - 1)) == 0; }
static inline uint64_t tac_subtract_floor_zero(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

#endif
