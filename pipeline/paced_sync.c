/* SPDX-License-Identifier: Apache-2.0 */
/* paced_sync -- see paced_sync.h. */
#include "pipeline/paced_sync.h"

#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "pipeline/store.h"
#include "queues/atomics.h"

void tac_paced_sync_init(struct tac_paced_sync *sync)
{
    memset(sync, 0, sizeof *sync);
    sync->actor.is_coordinator = true;
    sync->request.owner = &sync->actor;
    sync->request.kind = TAC_REQUEST_SYNC;
}

static uint64_t written_bytes(const struct tactus *store)
{
    return tac_atomic_load_relaxed_u64(&store->stages.written_bytes);
}

void tac_paced_sync_note(struct tactus *store)
{
    store->paced_sync.written_bytes = written_bytes(store);
}

static bool take_back(struct tactus *store)
{
    struct tac_paced_sync    *sync = &store->paced_sync;
    const struct tac_request *request = &sync->request;

    if (tac_stack_take_all(&sync->actor.mailbox) == NULL) {
        return false;
    }
    tac_assert(sync->is_under_way);
    sync->is_under_way = false;
    sync->count++;
    if (request->result != TACTUS_OK && request->result != TACTUS_EPOISONED) {
        char text[128];

        snprintf(text, sizeof text, "sync of the file failed: %s", strerror(request->os_error));
        tac_store_poison(store, request->result, text);
    }
    return true;
}

bool tac_paced_sync_step(struct tactus *store, bool may_begin)
{
    struct tac_paced_sync *sync = &store->paced_sync;
    uint64_t               limit = store->options.bytes_per_sync;

    if (sync->is_under_way) {
        return take_back(store);
    }
    if ((!may_begin && !TAC_MUTANT(SYNC_IN_PAUSE)) || TAC_MUTANT(SYNC_NOT_PACED) || limit == 0 ||
        tac_stages_are_stopped(&store->stages) ||
        written_bytes(store) - sync->written_bytes < limit) {
        return false;
    }
    sync->is_under_way = true;
    sync->request.result = TACTUS_OK;
    tac_paced_sync_note(store);
    tac_stage_push(&store->stages, TAC_STAGE_WRITE, &sync->request.link);
    return true;
}
