/* SPDX-License-Identifier: Apache-2.0 */
/* paced_sync -- syncs the file while it is being written (option bytes_per_sync), so that a device
 * with a write cache never has more to flush at once, be it for a checkpoint or for the log.
 *
 * Why  a sync waits until the device has all that was written since the sync before, and many
 *      devices do nothing else meanwhile: for half a gigabyte that was 0.3 s, in which no block is
 *      read. The cost is the device's, for every byte once; so it is paid in small parts.
 * Safe nothing relies on these syncs: a checkpoint makes its own (checkpoint.h). But one that fails
 *      has taken the error away from the next, so it stops writing as any other does (rule R8).
 *
 * Coordinator only. */
#ifndef TACTUS_PIPELINE_PACED_SYNC_H
#define TACTUS_PIPELINE_PACED_SYNC_H

#include "stages/stage.h"

struct tactus;

struct tac_paced_sync {
    struct tac_actor   actor; /* Its request comes back here */
    struct tac_request request;
    bool               is_under_way;
    uint64_t           count;         /* That came back since open */
    uint64_t           written_bytes; /* By the write stage, when the last sync was asked for */
};

void tac_paced_sync_init(struct tac_paced_sync *sync);
/* A sync of a checkpoint's own is being asked for. */
void tac_paced_sync_note(struct tactus *store);
/* Takes back one that is done; asks for one, if it is due and may_begin. True when something
 * moved. */
bool tac_paced_sync_step(struct tactus *store, bool may_begin);

#endif
