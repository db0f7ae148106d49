/* SPDX-License-Identifier: Apache-2.0 */
/* measure -- what one run of the comparison counts, the same for every engine: latencies, progress
 * over time, processor time, bytes of the device, memory, bytes on the disk.
 *
 * The system's counters of the process are what tells: no engine's own count is believed. */
#ifndef TACTUS_TOOLS_COMPARE_MEASURE_H
#define TACTUS_TOOLS_COMPARE_MEASURE_H

#include <stdint.h>

#include "base/histogram.h"

#define TAC_MEASURE_SLICE_NS 100000000u
#define TAC_MEASURE_SLICES_MAX 12000 /* 20 minutes; later operations count in the last slice */

struct tac_measure_slice {
    uint64_t operations;
    uint64_t latency_max_ns;
};

struct tac_measure {
    struct tac_histogram     latency;
    uint64_t                 begin_ns, end_ns; /* Of the operations */
    uint64_t                 settled_ns;       /* When nothing was left to be done after them */
    uint64_t                 cpu_ns;           /* User and system, all threads, until settled */
    uint64_t                 written_bytes, read_bytes; /* By the device, until settled */
    uint64_t                 peak_rss_bytes;            /* Of the process up to its end */
    uint32_t                 slice_count;
    struct tac_measure_slice slices[TAC_MEASURE_SLICES_MAX];
};

void tac_measure_begin(struct tac_measure *measure);
/* An operation that began, or was due, at begin_ns has ended. */
void tac_measure_operation(struct tac_measure *measure, uint64_t begin_ns, uint64_t end_ns);
/* The last operation has ended. */
void tac_measure_end(struct tac_measure *measure);
/* All is settled, and was so idle_ns ago. */
void tac_measure_settled(struct tac_measure *measure, uint64_t idle_ns);

/* All files below the directory. */
uint64_t tac_measure_directory_bytes(const char *path);

#endif
