/* SPDX-License-Identifier: Apache-2.0 */
/* events -- what the store tells the application of as it happens: tactus_events_set.
 *
 * Who      Whoever finds something to tell lays it into the queue of a teller (teller.h): the
 *          coordinator, with whatever locks it has without threads, a writer that waited, the
 *          scrub. The callback is called by the teller's thread, tac-event, or without stage
 *          threads by the calls of the application, as they return.
 * Bound    TAC_EVENTS_MAX wait at most; of more only the number is told.
 * Unset    costs one look at `kinds` where something has just been merged, written or waited for,
 *          and one at `is_due` as a write returns. Nothing that is decided depends on events. */
#ifndef TACTUS_PIPELINE_EVENTS_H
#define TACTUS_PIPELINE_EVENTS_H

#include <pthread.h>

#include "pipeline/teller.h"
#include "queues/atomics.h"

#define TAC_EVENTS_MAX 512

typedef void tac_event_fn(void *context, const struct tactus_event *event);

struct tac_event_slot {
    struct tactus_event event; /* Its text: NULL, or to be that of the slot */
    char                text[TACTUS_MESSAGE_BYTES];
};

struct tac_events {
    uint32_t kinds; /* Atomic: bits of enum tactus_event_kind that are to be told; 0: nothing */
    uint64_t wait_ns_min; /* Atomic */

    pthread_mutex_t   set_lock; /* One change at a time */
    struct tac_teller teller;
    tac_event_fn     *fn; /* Changed while the teller is not open */
    void             *context;
};

struct tactus;

void tac_events_init(struct tac_events *events);
void tac_events_destroy(struct tac_events *events);

static inline bool tac_events_want(const struct tac_events *events, enum tactus_event_kind kind)
{
    return (tac_atomic_load_relaxed_u32(&events->kinds) & (uint32_t)kind) != 0;
}
/* What one begins at that may be told: 0, if nobody listens. */
uint64_t tac_events_now_ns(const struct tac_events *events);
/* Copies the event, with its text; nothing if its kind is not wanted. Sets struct_size, time_ns
 * and, from begin_ns, unless that is 0, duration_ns. Any thread, with any lock. */
void tac_events_add(struct tac_events *events, const struct tactus_event *event, uint64_t begin_ns);
/* Nothing is added any more; tells what waits. After it no callback is under way. */
void tac_events_end(struct tac_events *events);

#endif
