/* SPDX-License-Identifier: Apache-2.0 */
/* workload -- what the comparison does to an engine. One thread; every answer is checked, and a
 * wrong one ends the run. docs/COMPARE.md says what each workload is for. */
#ifndef TACTUS_TOOLS_COMPARE_WORKLOAD_H
#define TACTUS_TOOLS_COMPARE_WORKLOAD_H

#include "tools/compare/engine.h"
#include "tools/compare/measure.h"

struct tac_workload;

struct tac_run {
    /* Fixed by the caller. */
    const struct tac_workload   *workload;
    const struct tac_engine_ops *ops;
    struct tac_engine_config     config;
    uint64_t                     records;    /* Of the store */
    uint64_t                     operations; /* 0: the workload's own */
    uint64_t                     rate;       /* paced: arrivals a second */
    uint64_t                     seconds;    /* paced */
    const char                  *label;      /* Goes into the result */
    /* The run's. */
    struct tac_engine      *engine;
    struct tac_bench_record record;
    uint8_t                 buffer[TAC_BENCH_VALUE_SIZE_MAX];
    uint8_t                *versions; /* How often a record was overwritten, modulo 256 */
    uint64_t                random_state;
    /* What came out. */
    struct tac_measure measure;
    uint64_t           operations_done;
    uint64_t           records_done; /* Put, got, scanned, or compacted in the measured part */
    uint64_t           user_bytes;   /* Put in the measured part: keys and values */
    uint64_t           live_bytes;   /* In the store at the end; 0: not counted */
    uint64_t           disk_bytes;   /* At the end */
    uint64_t           memory_budget_bytes; /* 0: the engine has none */
    double             scan_records_per_s;  /* delete: the scan afterwards; else 0 */
};

/* NULL: there is none of this name. */
const struct tac_workload *tac_workload_find(const char *name);
const char                *tac_workload_name(const struct tac_workload *workload);
/* NULL, or why this engine is not asked to do it. */
const char *tac_workload_refusal(const struct tac_workload   *workload,
                                 const struct tac_engine_ops *ops);

/* 0, or -1 after the reason was said. */
int tac_run(struct tac_run *run);

#endif
