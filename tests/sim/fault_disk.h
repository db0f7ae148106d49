/* SPDX-License-Identifier: Apache-2.0 */
/* fault_disk -- a memory disk behind a storage that fails the n-th call of a kind.
 *
 * A failing call fails as a device's does: a write may leave part of its sectors behind, a sync
 * loses some of the writes it was to cover (as a system whose pages are clean afterwards, but not
 * on the disk), a call for space changes nothing. Requests of a queue fail when they are reaped.
 * One thread. */
#ifndef TACTUS_TESTS_SIM_FAULT_DISK_H
#define TACTUS_TESTS_SIM_FAULT_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "stages/storage.h"

enum fault_kind {
    FAULT_READ,  /* EIO */
    FAULT_WRITE, /* EIO */
    FAULT_SYNC,  /* EIO */
    FAULT_SPACE, /* ENOSPC, of writes and of growth */
    FAULT_KINDS,
};

struct fault_disk {
    struct tac_memory_disk *memory;
    enum fault_kind         kind;
    uint64_t                fail_at;   /* The call of the kind that fails, from 1 on; 0: none */
    bool                    is_sticky; /* … and every later one */
    struct tac_prng         prng;      /* What is left of a write, what of unsynced ones */
    uint64_t                calls;     /* Of the kind, since the disk was made */
    uint64_t                faults;
    bool                    has_failed;    /* Since the last open */
    uint64_t                changes_after; /* Writes, syncs, growth begun after one had failed */
    void (*first_fault)(void *context);    /* … since the open is about to be reported */
    void    *first_fault_context;
    uint64_t changes;               /* Writes and growth begun, syncs done */
    void (*observe)(void *context); /* Before each write, sync and growth; NULL: nobody */
    void *observe_context;
};

/* The memory becomes the disk's; NULL: a new one. */
void fault_disk_create(struct fault_disk *disk, struct tac_memory_disk *memory, uint64_t seed);
void fault_disk_destroy(struct fault_disk *disk);
TAC_MUST_CHECK int fault_disk_open(struct fault_disk *disk, struct tac_storage **ret_storage,
                                   struct tac_error *error);
/* No call fails from now on. */
void fault_disk_heal(struct fault_disk *disk);

#endif
