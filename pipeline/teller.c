/* SPDX-License-Identifier: Apache-2.0 */
/* teller -- see teller.h. */
#include "pipeline/teller.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "pipeline/api_internal.h"
#include "queues/atomics.h"

void tac_teller_init(struct tac_teller *teller, size_t slot_bytes, uint32_t slots_max,
                     tac_tell_fn *tell_fn, void *owner)
{
    teller->tell_fn = tell_fn;
    teller->owner = owner;
    teller->slot_bytes = slot_bytes;
    teller->slots_max = slots_max;
    pthread_mutex_init(&teller->lock, NULL);
    pthread_cond_init(&teller->added, NULL);
    pthread_cond_init(&teller->told, NULL);
}

void tac_teller_destroy(struct tac_teller *teller)
{
    tac_assert(!teller->has_thread && !teller->is_telling);
    free(teller->slots);
    pthread_cond_destroy(&teller->told);
    pthread_cond_destroy(&teller->added);
    pthread_mutex_destroy(&teller->lock);
}

/* ---- into the queue ------------------------------------------------------------------------- */

static void *slot_at(const struct tac_teller *teller, uint32_t index)
{
    return teller->slots + index * teller->slot_bytes;
}

void *tac_teller_take(struct tac_teller *teller, uint64_t *ret_missed)
{
    pthread_mutex_lock(&teller->lock);
    if (teller->is_open && teller->count < teller->slots_max) {
        *ret_missed = teller->missed;
        return slot_at(teller, (teller->first + teller->count) % teller->slots_max);
    }
    teller->missed += teller->is_open;
    pthread_mutex_unlock(&teller->lock);
    return NULL;
}

void tac_teller_give(struct tac_teller *teller)
{
    teller->missed = 0;
    teller->count++;
    if (teller->has_thread) {
        pthread_cond_signal(&teller->added);
    } else {
        tac_atomic_store_release_u32(&teller->is_due, 1);
    }
    pthread_mutex_unlock(&teller->lock);
}

/* ---- out of it ------------------------------------------------------------------------------ */

/* With the lock, which it gives away for the call. */
static void one_tell(struct tac_teller *teller)
{
    void *slot = slot_at(teller, teller->slots_max);

    memcpy(slot, slot_at(teller, teller->first), teller->slot_bytes);
    teller->first = (teller->first + 1) % teller->slots_max;
    teller->count--;
    teller->is_telling = true;
    teller->teller = pthread_self();
    pthread_mutex_unlock(&teller->lock);
    teller->tell_fn(teller->owner, slot);
    pthread_mutex_lock(&teller->lock);
    teller->is_telling = false;
    pthread_cond_broadcast(&teller->told);
}

void tac_teller_tell(struct tac_teller *teller)
{
    struct tac_error before = tac_api_error;

    pthread_mutex_lock(&teller->lock);
    while (teller->count > 0 && !teller->is_telling) {
        one_tell(teller);
    }
    if (teller->count == 0) {
        tac_atomic_store_release_u32(&teller->is_due, 0);
    }
    pthread_mutex_unlock(&teller->lock);
    tac_api_error = before;
}

static void *thread_main(void *argument)
{
    struct tac_teller *teller = argument;

    pthread_mutex_lock(&teller->lock);
    while (teller->count > 0 || !teller->should_stop) {
        if (teller->count > 0) {
            one_tell(teller);
        } else {
            pthread_cond_wait(&teller->added, &teller->lock);
        }
    }
    pthread_mutex_unlock(&teller->lock);
    return NULL;
}

bool tac_teller_is_here(struct tac_teller *teller)
{
    bool is_here;

    pthread_mutex_lock(&teller->lock);
    is_here = teller->is_telling && pthread_equal(teller->teller, pthread_self()) != 0;
    pthread_mutex_unlock(&teller->lock);
    return is_here;
}

/* ---- begin and end -------------------------------------------------------------------------- */

int tac_teller_begin(struct tac_teller *teller, const char *thread_name, struct tac_error *error)
{
    tac_assert(!teller->is_open && !teller->has_thread);
    if (teller->slots == NULL) {
        teller->slots = calloc(teller->slots_max + 1, teller->slot_bytes);
    }
    if (teller->slots == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "out of memory for what is to be told");
    }
    if (thread_name != NULL &&
        tac_thread_start(&teller->thread, thread_name, thread_main, teller, error) != TACTUS_OK) {
        return error->code;
    }
    pthread_mutex_lock(&teller->lock);
    teller->has_thread = thread_name != NULL;
    teller->is_open = true;
    pthread_mutex_unlock(&teller->lock);
    return TACTUS_OK;
}

void tac_teller_end(struct tac_teller *teller)
{
    if (teller->has_thread) {
        pthread_mutex_lock(&teller->lock);
        teller->should_stop = true;
        pthread_cond_signal(&teller->added);
        pthread_mutex_unlock(&teller->lock);
        pthread_join(teller->thread, NULL);
    }
    tac_teller_tell(teller);
    pthread_mutex_lock(&teller->lock);
    teller->has_thread = teller->should_stop = false;
    while (teller->is_telling) {
        pthread_cond_wait(&teller->told, &teller->lock);
    }
    teller->is_open = false;
    teller->missed = 0;
    pthread_mutex_unlock(&teller->lock);
}
