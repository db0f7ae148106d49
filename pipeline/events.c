/* SPDX-License-Identifier: Apache-2.0 */
/* events -- see events.h. */
#include "pipeline/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "base/units.h"
#include "pipeline/api_internal.h"

#define KINDS_ALL                                                                                  \
    ((uint32_t)TACTUS_EVENT_JOB | TACTUS_EVENT_FLUSH | TACTUS_EVENT_COMPACTION |                   \
     TACTUS_EVENT_MOVE | TACTUS_EVENT_CHECKPOINT | TACTUS_EVENT_WAIT | TACTUS_EVENT_ERROR)

void tac_events_init(struct tac_events *events)
{
    pthread_mutex_init(&events->set_lock, NULL);
    pthread_mutex_init(&events->lock, NULL);
    pthread_cond_init(&events->added, NULL);
    pthread_cond_init(&events->told, NULL);
}

void tac_events_destroy(struct tac_events *events)
{
    tac_assert(!events->has_thread && !events->is_telling);
    free(events->slots);
    pthread_cond_destroy(&events->told);
    pthread_cond_destroy(&events->added);
    pthread_mutex_destroy(&events->lock);
    pthread_mutex_destroy(&events->set_lock);
}

uint64_t tac_events_now_ns(const struct tac_events *events)
{
    return tac_atomic_load_relaxed_u32(&events->kinds) != 0 ? tac_clock_now_ns() : 0;
}

/* ---- into the queue ------------------------------------------------------------------------- */

static void slot_fill(struct tac_event_slot *slot, const struct tactus_event *event,
                      uint64_t begin_ns, uint64_t missed)
{
    slot->event = *event;
    slot->event.struct_size = sizeof *event;
    slot->event.time_ns = tac_clock_now_ns();
    if (begin_ns != 0) {
        slot->event.duration_ns = slot->event.time_ns - begin_ns;
    }
    slot->event.missed_count = missed;
    if (event->text != NULL) {
        size_t size = tac_min_u64(strlen(event->text), sizeof slot->text - 1);

        memcpy(slot->text, event->text, size);
        slot->text[size] = 0;
    }
}

void tac_events_add(struct tac_events *events, const struct tactus_event *event, uint64_t begin_ns)
{
    if (!tac_events_want(events, event->kind)) {
        return;
    }
    pthread_mutex_lock(&events->lock);
    if (events->fn != NULL && events->count == TAC_EVENTS_MAX) {
        events->missed++;
    } else if (events->fn != NULL) {
        uint32_t index = (events->first + events->count) % TAC_EVENTS_MAX;

        slot_fill(&events->slots[index], event, begin_ns,
                  TAC_MUTANT(MISSED_UNTOLD) ? 0 : events->missed);
        events->missed = 0;
        events->count++;
        if (events->has_thread) {
            pthread_cond_signal(&events->added);
        } else {
            tac_atomic_store_release_u32(&events->is_due, 1);
        }
    }
    pthread_mutex_unlock(&events->lock);
}

/* ---- out of it ------------------------------------------------------------------------------ */

/* With the lock, which it gives away for the call. */
static void one_tell(struct tac_events *events)
{
    struct tac_event_slot slot = events->slots[events->first];
    tac_event_fn         *fn = events->fn;
    void                 *context = events->context;

    events->first = (events->first + 1) % TAC_EVENTS_MAX;
    events->count--;
    events->is_telling = true;
    events->teller = pthread_self();
    pthread_mutex_unlock(&events->lock);
    if (slot.event.text != NULL) {
        slot.event.text = slot.text;
    }
    fn(context, &slot.event);
    pthread_mutex_lock(&events->lock);
    events->is_telling = false;
    pthread_cond_broadcast(&events->told);
}

void tac_events_tell(struct tac_events *events)
{
    struct tac_error before = tac_api_error;

    pthread_mutex_lock(&events->lock);
    while (events->count > 0 && !events->is_telling) {
        one_tell(events);
    }
    if (events->count == 0) {
        tac_atomic_store_release_u32(&events->is_due, 0);
    }
    pthread_mutex_unlock(&events->lock);
    tac_api_error = before;
}

static void *thread_main(void *argument)
{
    struct tac_events *events = argument;

    pthread_mutex_lock(&events->lock);
    while (events->count > 0 || !events->should_stop) {
        if (events->count > 0) {
            one_tell(events);
        } else {
            pthread_cond_wait(&events->added, &events->lock);
        }
    }
    pthread_mutex_unlock(&events->lock);
    return NULL;
}

void tac_events_end(struct tac_events *events)
{
    tac_atomic_store_release_u32(&events->kinds, 0);
    if (events->has_thread) {
        pthread_mutex_lock(&events->lock);
        events->should_stop = true;
        pthread_cond_signal(&events->added);
        pthread_mutex_unlock(&events->lock);
        pthread_join(events->thread, NULL);
    }
    tac_events_tell(events);
    pthread_mutex_lock(&events->lock);
    events->has_thread = events->should_stop = false;
    while (events->is_telling) {
        pthread_cond_wait(&events->told, &events->lock);
    }
    events->fn = NULL;
    events->missed = 0;
    pthread_mutex_unlock(&events->lock);
}

/* ---- set ------------------------------------------------------------------------------------ */

static bool is_told_here(struct tac_events *events)
{
    bool is_here;

    pthread_mutex_lock(&events->lock);
    is_here = events->is_telling && pthread_equal(events->teller, pthread_self()) != 0;
    pthread_mutex_unlock(&events->lock);
    return is_here;
}

/* With set_lock, after tac_events_end. */
static int events_begin(struct tactus *store, tac_event_fn *fn, void *context, uint32_t kinds,
                        uint64_t wait_ns_min)
{
    struct tac_events *events = &store->events;

    if (events->slots == NULL) {
        events->slots = calloc(TAC_EVENTS_MAX, sizeof *events->slots);
    }
    if (events->slots == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for events");
    }
    if (!store->is_stepped) {
        if (tac_thread_start(&events->thread, "tac-event", thread_main, events, &tac_api_error) !=
            TACTUS_OK) {
            return tac_api_error.code;
        }
    }
    pthread_mutex_lock(&events->lock);
    events->has_thread = !store->is_stepped;
    events->fn = fn;
    events->context = context;
    pthread_mutex_unlock(&events->lock);
    tac_atomic_exchange_u64(&events->wait_ns_min, wait_ns_min);
    tac_atomic_store_release_u32(&events->kinds, kinds);
    return TACTUS_OK;
}

int tactus_events_set(struct tactus *store,
                      void (*event_fn)(void *context, const struct tactus_event *event),
                      void *context, uint32_t kinds, uint64_t wait_ns_min)
{
    struct tac_events *events = &store->events;
    int                result = TACTUS_OK;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (event_fn != NULL && (kinds == 0 || (kinds & ~KINDS_ALL) != 0)) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "kinds is 0x%x: it must have bits of enum tactus_event_kind, and no "
                             "others",
                             kinds);
    }
    if (is_told_here(events)) {
        return tac_error_set(&tac_api_error, TACTUS_EINVAL,
                             "a callback for events cannot be changed by itself");
    }
    pthread_mutex_lock(&events->set_lock);
    tac_events_end(events);
    if (event_fn != NULL) {
        result = events_begin(store, event_fn, context, kinds, wait_ns_min);
    }
    pthread_mutex_unlock(&events->set_lock);
    return result;
}
