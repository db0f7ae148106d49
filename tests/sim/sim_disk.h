/* SPDX-License-Identifier: Apache-2.0 */
/* sim_disk -- the memory disk of the simulator behind a storage that counts requests: the power can
 * be set to go out in the middle of a call, and somebody may look on at each request. One at a time
 * in a process. */
#ifndef TACTUS_TESTS_SIM_SIM_DISK_H
#define TACTUS_TESTS_SIM_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "stages/storage.h"

#define SIM_DISK_NEVER UINT64_MAX

struct sim_disk {
    struct tac_memory_disk *memory;
    uint64_t                requests_left; /* Until the power goes out; or SIM_DISK_NEVER */
    uint64_t                crash_seed;
    bool                    has_crashed; /* Since the last open */
    void (*observe)(void *context);      /* At each request of a queue */
    void *observe_context;
};

void sim_disk_create(struct sim_disk *disk, uint64_t seed);
void sim_disk_destroy(struct sim_disk *disk);
TAC_MUST_CHECK int sim_disk_open(struct sim_disk *disk, struct tac_storage **ret_storage,
                                 struct tac_error *error);
/* Now. */
void sim_disk_crash(struct sim_disk *disk);

#endif
