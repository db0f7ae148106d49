/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/compare/measure.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/units.h"

struct counters {
    uint64_t cpu_ns, written_bytes, read_bytes;
};

static struct counters counters_begin;

static uint64_t time_ns(struct timeval time)
{
    return (uint64_t)time.tv_sec * TAC_SECOND_NS + (uint64_t)time.tv_usec * 1000;
}

/* A number of a file of /proc, by its label; 0: it is not there. */
static uint64_t number_read(const char *path, const char *label)
{
    FILE    *file = fopen(path, "r");
    char     line[128];
    uint64_t number = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, label, strlen(label)) == 0) {
            (void)sscanf(line + strlen(label), "%" SCNu64, &number);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return number;
}

static void counters_take(struct counters *ret_counters)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    ret_counters->cpu_ns = time_ns(usage.ru_utime) + time_ns(usage.ru_stime);
    ret_counters->written_bytes = number_read("/proc/self/io", "write_bytes:");
    ret_counters->read_bytes = number_read("/proc/self/io", "read_bytes:");
}

void tac_measure_begin(struct tac_measure *measure)
{
    memset(measure, 0, sizeof *measure);
    tac_histogram_init(&measure->latency);
    counters_take(&counters_begin);
    measure->begin_ns = tac_clock_now_ns();
}

void tac_measure_operation(struct tac_measure *measure, uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t                  at = tac_min_u64((end_ns - measure->begin_ns) / TAC_MEASURE_SLICE_NS,
                                               TAC_MEASURE_SLICES_MAX - 1);
    struct tac_measure_slice *slice = &measure->slices[at];

    tac_histogram_record(&measure->latency, end_ns - begin_ns);
    measure->slice_count = (uint32_t)at + 1;
    slice->operations++;
    slice->latency_max_ns = tac_max_u64(slice->latency_max_ns, end_ns - begin_ns);
}

void tac_measure_end(struct tac_measure *measure) { measure->end_ns = tac_clock_now_ns(); }

void tac_measure_settled(struct tac_measure *measure, uint64_t idle_ns)
{
    struct counters end;

    measure->settled_ns = tac_max_u64(measure->end_ns, tac_clock_now_ns() - idle_ns);
    counters_take(&end);
    measure->cpu_ns = end.cpu_ns - counters_begin.cpu_ns;
    measure->written_bytes = end.written_bytes - counters_begin.written_bytes;
    measure->read_bytes = end.read_bytes - counters_begin.read_bytes;
    measure->peak_rss_bytes = number_read("/proc/self/status", "VmHWM:") * TAC_KIB;
}

static uint64_t directory_bytes; /* nftw takes no context */

static int file_add(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    directory_bytes += kind == FTW_F ? (uint64_t)status->st_size : 0;
    return 0;
}

uint64_t tac_measure_directory_bytes(const char *path)
{
    directory_bytes = 0;
    (void)nftw(path, file_add, 16, FTW_PHYS);
    return directory_bytes;
}
