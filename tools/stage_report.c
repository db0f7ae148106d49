/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stage_report.h"

#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "tools/command.h"

#define FIGURE(name, stage, field)                                                                 \
    {                                                                                              \
        "stage_" #name "_" #field, (stage) * sizeof(struct tactus_stage_stats) +                   \
                                       offsetof(struct tactus_stage_stats, field)                  \
    }

const struct tac_stage_figure tac_stage_figures[TAC_STAGE_FIGURES] = {
    FIGURE(read, TACTUS_STAGE_READ, bytes),
    FIGURE(read, TACTUS_STAGE_READ, items),
    FIGURE(read, TACTUS_STAGE_READ, busy_ns),
    FIGURE(read, TACTUS_STAGE_READ, gathered_bytes),
    FIGURE(read, TACTUS_STAGE_READ, gather_ns),
    FIGURE(read, TACTUS_STAGE_READ, idle_ns),
    FIGURE(read, TACTUS_STAGE_READ, wait_work_ns),
    FIGURE(read, TACTUS_STAGE_READ, wait_device_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, bytes),
    FIGURE(merge, TACTUS_STAGE_MERGE, items),
    FIGURE(merge, TACTUS_STAGE_MERGE, busy_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, idle_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, wait_work_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, wait_credit_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, wait_read_ns),
    FIGURE(merge, TACTUS_STAGE_MERGE, wait_write_ns),
    FIGURE(write, TACTUS_STAGE_WRITE, bytes),
    FIGURE(write, TACTUS_STAGE_WRITE, items),
    FIGURE(write, TACTUS_STAGE_WRITE, busy_ns),
    FIGURE(write, TACTUS_STAGE_WRITE, idle_ns),
    FIGURE(write, TACTUS_STAGE_WRITE, wait_work_ns),
    FIGURE(write, TACTUS_STAGE_WRITE, wait_device_ns),
    FIGURE(coordinator, TACTUS_STAGE_COORDINATOR, items),
    FIGURE(coordinator, TACTUS_STAGE_COORDINATOR, busy_ns),
    FIGURE(coordinator, TACTUS_STAGE_COORDINATOR, idle_ns),
    FIGURE(coordinator, TACTUS_STAGE_COORDINATOR, wait_work_ns),
};

uint64_t tac_stage_figure_value(const struct tac_stage_figure  *figure,
                                const struct tactus_stage_stats stages[TACTUS_STAGES])
{
    uint64_t value;

    memcpy(&value, (const char *)stages + figure->offset, sizeof value);
    return value;
}

/* What nobody waited for is left out. */
static void wait_print(FILE *out, const char *name, uint64_t wait_ns)
{
    if (wait_ns > 0) {
        fprintf(out, "  %s %.3f", name, (double)wait_ns / 1e9);
    }
}

void tac_stages_table(FILE *out, const struct tactus_stage_stats stages[TACTUS_STAGES])
{
    static const char *const names[TACTUS_STAGES] = {"read", "merge", "write", "coordinator"};
    const struct tactus_stage_stats *read = &stages[TACTUS_STAGE_READ];
    char                             gathered[TAC_HUMAN_BYTES];

    fprintf(out, "%-12s %11s %9s %9s %9s  %s\n", "stage", "bytes", "items", "busy, s", "idle, s",
            "waited for, s");
    for (uint32_t i = 0; i < TACTUS_STAGES; i++) {
        const struct tactus_stage_stats *stage = &stages[i];
        char                             bytes[TAC_HUMAN_BYTES];

        fprintf(out, "%-12s %11s %9" PRIu64 " %9.3f %9.3f", names[i],
                i == TACTUS_STAGE_COORDINATOR ? "" : tac_human(stage->bytes, bytes), stage->items,
                (double)stage->busy_ns / 1e9, (double)stage->idle_ns / 1e9);
        wait_print(out, "work", stage->wait_work_ns);
        wait_print(out, "device", stage->wait_device_ns);
        wait_print(out, "credit", stage->wait_credit_ns);
        wait_print(out, "read", stage->wait_read_ns);
        wait_print(out, "write", stage->wait_write_ns);
        putc('\n', out);
    }
    if (read->gather_ns > 0) {
        fprintf(out, "%-12s %11s %9s %9.3f  of read\n", "memtables",
                tac_human(read->gathered_bytes, gathered), "", (double)read->gather_ns / 1e9);
    }
}
