/* SPDX-License-Identifier: Apache-2.0 */
/* sim_disk -- the memory disks of the simulator, one for each file, behind storages that count
 * requests: the power can be set to go out in the middle of a call, of both files at once, somebody
 * may look on at each request, and requests go wrong as sim_faults.h says. */
#ifndef TACTUS_TESTS_SIM_SIM_DISK_H
#define TACTUS_TESTS_SIM_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/store.h"
#include "tests/sim/sim_faults.h"

#define SIM_DISK_NEVER UINT64_MAX

struct sim_disk {
    struct tac_memory_disk *memory;
    struct tac_memory_disk *log; /* A second file: the write-ahead log; empty: it is not there */
    bool                    is_open, log_is_open;
    uint64_t                seed;
    uint64_t                requests_left; /* Until the power goes out; or SIM_DISK_NEVER */
    uint64_t                crash_seed;
    bool                    has_crashed; /* Since the last open */
    void (*observe)(void *context);      /* At each request of a queue */
    void *observe_context;
    struct sim_faults *faults; /* NULL: nothing goes wrong */
};

void sim_disk_create(struct sim_disk *disk, uint64_t seed);
void sim_disk_destroy(struct sim_disk *disk);
TAC_MUST_CHECK int sim_disk_open(struct sim_disk *disk, struct tac_storage **ret_storage,
                                 struct tac_error *error);
/* The place of the log; context is the disk. */
TAC_MUST_CHECK int sim_disk_log_open(const struct tac_log_place *place, bool is_new,
                                     struct tac_storage **ret_storage, struct tac_error *error);
TAC_MUST_CHECK int sim_disk_log_remove(const struct tac_log_place *place, struct tac_error *error);
/* Now. */
void sim_disk_crash(struct sim_disk *disk);

#endif
