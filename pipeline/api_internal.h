/* SPDX-License-Identifier: Apache-2.0 */
/* api_internal -- what the files of the API (api*.c) share: the calling thread's last error, and
 * the checks of arguments. */
#ifndef TACTUS_PIPELINE_API_INTERNAL_H
#define TACTUS_PIPELINE_API_INTERNAL_H

#include "pipeline/store.h"

/* What tactus_message tells. Of the calling thread; every failing call of the API fills it. */
extern _Thread_local struct tac_error tac_api_error;

/* In a forked child there are no threads of the store, nobody may be left to give back its locks,
 * and the file is the parent's: asked before anything is waited for. */
TAC_MUST_CHECK static inline int tac_api_fork_check(const struct tactus *store)
{
    if (tac_storage_is_forked(store->storage)) {
        return tac_error_set(&tac_api_error, TACTUS_EFORKED,
                             "the store was opened by the parent process, which goes on with it");
    }
    return TACTUS_OK;
}

/* The same, then takes commit_lock. */
TAC_MUST_CHECK int tac_api_lock(struct tactus *store);
/* At the end of a call, without locks: without threads tells events and lines that wait. */
static inline void tac_api_tell(struct tactus *store)
{
    if (__builtin_expect(tac_atomic_load_relaxed_u32(&store->events.teller.is_due) != 0, 0)) {
        tac_teller_tell(&store->events.teller);
    }
    if (__builtin_expect(tac_atomic_load_relaxed_u32(&store->logger.teller.is_due) != 0, 0)) {
        tac_teller_tell(&store->logger.teller);
    }
}
/* Gives the lock back, at the end of a call. */
static inline void tac_api_unlock(struct tactus *store)
{
    pthread_mutex_unlock(&store->commit_lock);
    tac_api_tell(store);
}

/* commit_lock, for what waits for flushes and compactions. TACTUS_EPAUSED. */
TAC_MUST_CHECK int tac_api_maintenance_lock(struct tactus *store);
/* After the lock: the op is durable if the log is to make it so. The code and text of a refusal
 * that has a number stay, unless the log has failed: then the number is not kept. */
TAC_MUST_CHECK int tac_api_committed(struct tactus *store, uint64_t op, int result,
                                     bool is_refused);
/* 1 to size_max of A-Z a-z 0-9 _ . - */
bool tac_api_name_is_legal(const char *name, size_t size_max);
/* Of the newest view, or of one that never goes. */
TAC_MUST_CHECK int tac_api_iterator_open(struct tactus *store, const struct tac_view *view,
                                         uint32_t tree, struct tactus_iterator **ret_iterator);
/* TACTUS_ENOTREE. No lock: the tree may have been dropped by the time that it is used (trees.h). */
TAC_MUST_CHECK int tac_api_tree_layout(struct tactus *store, uint32_t tree,
                                       struct tac_layout *ret_layout);
/* TACTUS_EKEYSIZE, TACTUS_ELAYOUT; of a whole record also TACTUS_EVALUESIZE, TACTUS_EINVAL. */
TAC_MUST_CHECK int tac_api_key_check(const struct tac_layout *layout, const void *key,
                                     size_t key_size);
TAC_MUST_CHECK int tac_api_record_check(const struct tac_layout *layout, const void *key,
                                        size_t key_size, const void *value, size_t value_size,
                                        bool is_tombstone);
/* Of a store without stage threads, with commit_lock: a step of some worker, or of the scrub.
 * may_wait: for the device, if only that has something to do. */
bool tac_api_step(struct tactus *store, bool may_wait);
/* As tac_api_fork_check. */
TAC_MUST_CHECK int tac_pool_fork_check(const struct tactus_pool *pool);

#endif
