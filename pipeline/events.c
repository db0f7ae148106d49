/* SPDX-License-Identifier: Apache-2.0 */
/* events -- see events.h. */
#include "pipeline/events.h"

#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/units.h"
#include "pipeline/api_internal.h"

#define KINDS_ALL                                                                                  \
    ((uint32_t)TACTUS_EVENT_JOB | TACTUS_EVENT_FLUSH | TACTUS_EVENT_COMPACTION |                   \
     TACTUS_EVENT_MOVE | TACTUS_EVENT_CHECKPOINT | TACTUS_EVENT_WAIT | TACTUS_EVENT_ERROR)

/* The text of a slot is not where it was when it was filled. */
static void event_tell(void *owner, const void *argument)
{
    const struct tac_event_slot *slot = argument;
    struct tac_events           *events = owner;
    struct tactus_event          event = slot->event;

    if (event.text != NULL) {
        event.text = slot->text;
    }
    events->fn(events->context, &event);
}

void tac_events_init(struct tac_events *events)
{
    pthread_mutex_init(&events->set_lock, NULL);
    tac_teller_init(&events->teller, sizeof(struct tac_event_slot), TAC_EVENTS_MAX, event_tell,
                    events);
}

void tac_events_destroy(struct tac_events *events)
{
    tac_teller_destroy(&events->teller);
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
    struct tac_event_slot *slot;
    uint64_t               missed;

    if (!tac_events_want(events, event->kind)) {
        return;
    }
    slot = tac_teller_take(&events->teller, &missed);
    if (slot != NULL) {
        slot_fill(slot, event, begin_ns, TAC_MUTANT(MISSED_UNTOLD) ? 0 : missed);
        tac_teller_give(&events->teller);
    }
}

void tac_events_end(struct tac_events *events)
{
    tac_atomic_store_release_u32(&events->kinds, 0);
    tac_teller_end(&events->teller);
}

/* ---- set ------------------------------------------------------------------------------------ */

/* With set_lock, after tac_events_end. */
static int events_begin(struct tactus *store, tac_event_fn *fn, void *context, uint32_t kinds,
                        uint64_t wait_ns_min)
{
    struct tac_events *events = &store->events;

    events->fn = fn;
    events->context = context;
    if (tac_teller_begin(&events->teller, store->is_stepped ? NULL : "tac-event", &tac_api_error) !=
        TACTUS_OK) {
        return tac_api_error.code;
    }
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
    if (tac_teller_is_here(&events->teller)) {
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
