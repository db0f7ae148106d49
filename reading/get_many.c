/* SPDX-License-Identifier: Apache-2.0 */
/* get_many -- many keys, whose reads are at the device side by side.
 *
 * Each lookup is a get that reads nothing (load.h): it is answered from memory, or says what it
 * lacks. Then its load is begun, and the next lookup comes; when a load is there its get is made
 * again. What two lookups lack at the same time is read once: the second one follows the first.
 *
 * Possible failures: whatever a get without a load ends with, and what a load could not bring, is
 * left to a plain get, which reads again, looks at the newest view if need be, and names the place. */
#include "queues/atomics.h"
#include "reading/load.h"

/* Loads of one lookup: index and filter block and page of a few tables. More are needed only when
 * the tables change meanwhile, or the cache keeps nothing. */
#define ROUNDS_MAX 16

/* A lookup that waits. */
struct waiting {
    size_t   lookup;
    uint32_t rounds; /* Loads that were begun for it; 0: nobody waits here */
    uint32_t leader; /* Whose load it waits for; its own number: none but its own */
};

struct get_many {
    struct tac_read_side  *side;
    uint32_t               tree;
    struct tactus_lookup  *lookups;
    size_t                 count, next; /* Next: the first that has not been looked at */
    struct tac_load_queue *queue;
    uint32_t               waiting_count;
    struct waiting         waiting[TAC_LOADS_MAX]; /* Each with the load of its number */
    size_t                 failed; /* The first lookup that failed; SIZE_MAX: none */
    struct tac_error      *error;  /* Of that one */
};

static struct tac_bytes key_of(const struct get_many *many, size_t lookup)
{
    return (struct tac_bytes){many->lookups[lookup].key, (uint32_t)many->lookups[lookup].key_size};
}

static void answer(struct get_many *many, size_t lookup, int code,
                   const struct tac_value_sink *sink, const struct tac_error *error)
{
    many->lookups[lookup].code = code;
    if (code == TACTUS_OK) {
        many->lookups[lookup].value = tac_value_sink_value(sink);
    } else if (code != TACTUS_ENOTFOUND && lookup < many->failed) {
        many->failed = lookup;
        *many->error = *error;
    }
}

static void get_plainly(struct get_many *many, size_t lookup)
{
    struct tac_value_sink sink = {.is_pinning = true};
    struct tac_error      error;
    int                   rv;

    tac_error_clear(&error);
    rv = tac_read_side_get(many->side, many->tree, key_of(many, lookup), &sink, &error);
    answer(many, lookup, rv, &sink, &error);
}

/* True: answered; else the load is wanted, or there is none and a plain get is to do it. */
static bool get_without_reading(struct get_many *many, size_t lookup, struct tac_load *load)
{
    struct tac_value_sink sink = {.is_pinning = true};
    struct tac_error      error;
    int                   code;

    if (!tac_read_side_get_try(many->side, many->tree, key_of(many, lookup), &sink, load, &code,
                               &error) ||
        (code != TACTUS_OK && code != TACTUS_ENOTFOUND)) {
        return false;
    }
    answer(many, lookup, code, &sink, &error);
    return true;
}

/* The waiting lookup whose load will bring what this one wants; or this one's own number. */
static uint32_t leader_find(const struct get_many *many, uint32_t self)
{
    const struct tac_load *loads = many->queue->loads;

    for (uint32_t i = 0; i < TAC_LOADS_MAX; i++) {
        if (loads[i].state == TAC_LOAD_UNDER_WAY &&
            tac_cache_key_equal(&loads[i].key, &loads[self].key)) {
            return i;
        }
    }
    return self;
}

static bool load_begin(struct get_many *many, uint32_t self)
{
    struct waiting  *waiting = &many->waiting[self];
    struct tac_load *load = &many->queue->loads[self];

    if (load->state != TAC_LOAD_WANTED || waiting->rounds == ROUNDS_MAX) {
        tac_load_drop(load);
        return false;
    }
    waiting->leader = leader_find(many, self);
    if (waiting->leader != self) {
        tac_load_drop(load);
    } else if (!tac_load_begin(many->side, many->queue, load)) {
        return false;
    }
    waiting->rounds++;
    return true;
}

/* Until it is answered or waits. */
static void lookup_go(struct get_many *many, uint32_t self)
{
    struct waiting *waiting = &many->waiting[self];
    bool            is_new = waiting->rounds == 0;
    bool is_answered = get_without_reading(many, waiting->lookup, &many->queue->loads[self]);

    if (!is_answered && load_begin(many, self)) {
        many->waiting_count += is_new;
        return;
    }
    if (!is_answered) {
        get_plainly(many, waiting->lookup);
    }
    many->waiting_count -= !is_new;
    waiting->rounds = 0;
}

/* The load of one is there or was given up: it goes on, and then those that followed it. */
static void load_is_done(struct get_many *many, struct tac_load *load)
{
    uint32_t self = (uint32_t)(load - many->queue->loads);

    tac_load_end(many->side, load);
    lookup_go(many, self);
    for (uint32_t i = 0; i < TAC_LOADS_MAX; i++) {
        if (i != self && many->waiting[i].rounds > 0 && many->waiting[i].leader == self) {
            lookup_go(many, i);
        }
    }
}

/* Lookups begin as long as there is a load for one more. */
static void lookups_begin(struct get_many *many)
{
    for (uint32_t i = 0; i < TAC_LOADS_MAX; i++) {
        while (many->waiting[i].rounds == 0 && many->next < many->count) {
            size_t lookup = many->next++;

            if (many->lookups[lookup].code == TACTUS_OK) {
                many->waiting[i].lookup = lookup;
                lookup_go(many, i);
            }
        }
    }
}

static void get_side_by_side(struct get_many *many)
{
    lookups_begin(many);
    while (many->waiting_count > 0) {
        struct tac_io *list = tac_load_wait(many->queue);

        while (list != NULL) {
            struct tac_io *next = list->next;

            load_is_done(many, list->owner);
            list = next;
        }
        lookups_begin(many);
    }
    tac_assert(many->next == many->count);
}

int tac_read_side_get_many(struct tac_read_side *side, uint32_t tree, struct tactus_lookup *lookups,
                           size_t count, struct tac_error *error)
{
    struct get_many many = {
        .side = side,
        .tree = tree,
        .lookups = lookups,
        .count = count,
        .queue = tac_load_queue_take(side),
        .failed = SIZE_MAX,
        .error = error,
    };

    if (many.queue == NULL) {
        for (size_t i = 0; i < count; i++) {
            if (lookups[i].code == TACTUS_OK) {
                get_plainly(&many, i);
            }
        }
    } else {
        get_side_by_side(&many);
        tac_load_queue_give_back(many.queue);
    }
    return many.failed == SIZE_MAX ? TACTUS_OK : lookups[many.failed].code;
}
