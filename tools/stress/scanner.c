/* SPDX-License-Identifier: Apache-2.0 */
/* The scanners: an iterator sees the tree as of one op, the one at its opening. So of each key of
 * its range it finds what was visible then, nothing is missing, and both members of a group are of
 * one version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/stress/roles.h"

#define WHOLE_ONE_IN 24
#define SLOW_ONE_IN 24 /* Naps now and then, so that it expires or comes near */
#define SLOW_RECORDS 64
#define SLOW_NAP_NS 2000000
#define TURN_ONE_IN 64 /* Goes back by one record, and on again */
#define RANGE_SLOTS_MAX 400

enum way {
    WAY_BOUNDS,
    WAY_PREFIX,
    WAY_SEEK, /* To its begin; where it ends it is not told */
    WAYS,
};

/* One scan of the slots from `begin` on, before `end`. The arrays begin with the slot `begin`. */
struct scan {
    struct tac_stress_worker *worker;
    struct tactus_iterator   *iterator;
    uint32_t                  tree, begin, end;
    enum way                  way;
    bool                      is_backward, is_slow;
    uint32_t reached; /* The slots before it, backward from it on, were gone over */
    uint64_t records;
};

/* ---- what to scan --------------------------------------------------------------------------- */

static bool arrays_make(struct tac_stress_worker *worker)
{
    size_t bytes = worker->scene->world->slots * sizeof(uint32_t);

    if (worker->found == NULL) {
        worker->least = malloc(bytes);
        worker->most = malloc(bytes);
        worker->found = malloc(bytes);
    }
    if (worker->least == NULL || worker->most == NULL || worker->found == NULL) {
        tac_stress_violation(worker->scene->board, "out of memory for a scan");
        return false;
    }
    return true;
}

static void scan_draw(struct tac_stress_worker *worker, struct scan *scan)
{
    uint32_t slots = worker->scene->world->slots;
    uint32_t most = 1 + (uint32_t)tac_stress_draw(worker, RANGE_SLOTS_MAX);

    *scan = (struct scan){
        .worker = worker,
        .tree = (uint32_t)tac_stress_draw(worker, TAC_STRESS_TREES),
        .way = (enum way)tac_stress_draw(worker, WAYS),
        .is_backward = tac_stress_draw(worker, 2) == 0,
        .is_slow = tac_stress_draw(worker, SLOW_ONE_IN) == 0,
        .begin = (uint32_t)tac_stress_draw(worker, slots),
    };
    scan->end = (uint32_t)tac_min_u64(slots, (uint64_t)scan->begin + most);
    if (scan->way == WAY_PREFIX) {
        scan->begin -= scan->begin % TAC_STRESS_PREFIX_SLOTS;
        scan->end = (uint32_t)tac_min_u64(slots, (uint64_t)scan->begin + TAC_STRESS_PREFIX_SLOTS);
    } else if (tac_stress_draw(worker, WHOLE_ONE_IN) == 0) {
        scan->begin = 0;
        scan->end = slots;
    }
    scan->reached = scan->is_backward ? scan->end : scan->begin;
}

static uint32_t place_at(const struct scan *scan, uint32_t slot)
{
    return scan->worker->scene->world->place_of[scan->tree][slot];
}

static uint32_t item_at(const struct scan *scan, uint32_t slot)
{
    return tac_stress_item_of(scan->worker->scene->world, place_at(scan, slot));
}

static void key_at(const struct scan *scan, uint32_t slot, struct tac_stress_key *key)
{
    tac_stress_key_make(scan->worker->scene->world, place_at(scan, slot), key);
}

/* The view is taken between the two. */
static void least_take(struct scan *scan)
{
    for (uint32_t slot = scan->begin; slot < scan->end; slot++) {
        scan->worker->least[slot - scan->begin] =
            tac_stress_least(scan->worker->scene->ledger, item_at(scan, slot));
    }
}

static void most_take(struct scan *scan)
{
    for (uint32_t slot = scan->begin; slot < scan->end; slot++) {
        scan->worker->most[slot - scan->begin] =
            tac_stress_most(scan->worker->scene->ledger, item_at(scan, slot));
    }
}

/* ---- going over it -------------------------------------------------------------------------- */

static bool scan_fail(const struct scan *scan, const char *what)
{
    tac_stress_violation(scan->worker->scene->board, "scanner %u, tree %s, slots %u to %u, %s: %s",
                         scan->worker->number, tac_stress_trees[scan->tree].name, scan->begin,
                         scan->end, scan->is_backward ? "backward" : "forward", what);
    return false;
}

static int bounds_set(struct scan *scan)
{
    uint32_t              slots = scan->worker->scene->world->slots;
    struct tac_stress_key low, high = {0};

    key_at(scan, scan->begin, &low);
    if (scan->end < slots) {
        key_at(scan, scan->end, &high);
    }
    return tactus_iterator_bound(scan->iterator, scan->begin > 0 ? low.data : NULL,
                                 scan->begin > 0 ? low.size : 0,
                                 scan->end < slots ? high.data : NULL, high.size);
}

static int prefix_set(struct scan *scan)
{
    struct tac_stress_key key;

    key_at(scan, scan->begin, &key);
    return tactus_iterator_prefix(scan->iterator, key.data, tac_stress_prefix_size(scan->tree));
}

static int first_move(struct scan *scan)
{
    struct tac_stress_key key;
    int                   code = TACTUS_OK;

    switch (scan->way) {
    case WAY_BOUNDS:
        code = bounds_set(scan);
        break;
    case WAY_PREFIX:
        code = prefix_set(scan);
        break;
    case WAY_SEEK:
        key_at(scan, scan->is_backward ? scan->end - 1 : scan->begin, &key);
        return scan->is_backward ? tactus_iterator_seek_back(scan->iterator, key.data, key.size)
                                 : tactus_iterator_seek(scan->iterator, key.data, key.size);
    case WAYS:
        tac_unreachable();
    }
    if (code != TACTUS_OK) {
        return code;
    }
    return scan->is_backward ? tactus_iterator_last(scan->iterator)
                             : tactus_iterator_first(scan->iterator);
}

static int move(struct scan *scan, bool is_backward)
{
    return is_backward ? tactus_iterator_previous(scan->iterator)
                       : tactus_iterator_next(scan->iterator);
}

/* The place of the record that it stands on. */
static uint32_t record_take(struct scan *scan, const void **ret_value, size_t *ret_value_size)
{
    const void *key;
    size_t      key_size;

    tactus_iterator_record(scan->iterator, &key, &key_size, ret_value, ret_value_size);
    return tac_stress_key_find(scan->worker->scene->world, scan->tree, key, key_size);
}

/* False: the scan is at its end, or wrong. */
static bool record_note(struct scan *scan)
{
    const struct tac_stress_world *world = scan->worker->scene->world;
    const void                    *value;
    size_t                         value_size;
    uint32_t                       place = record_take(scan, &value, &value_size);
    uint32_t                       slot;

    if (place == TAC_STRESS_NOWHERE) {
        return scan_fail(scan, "a key that nobody wrote");
    }
    slot = world->slot_of[place];
    if (slot < scan->begin || slot >= scan->end) {
        if (scan->way != WAY_SEEK) {
            return scan_fail(scan, "a key out of bounds");
        }
        scan->reached = scan->is_backward ? scan->begin : scan->end;
        return false;
    }
    if (scan->is_backward ? slot >= scan->reached : slot < scan->reached) {
        return scan_fail(scan, "keys are not in order");
    }
    scan->reached = scan->is_backward ? slot : slot + 1;
    scan->worker->found[slot - scan->begin] =
        tac_stress_value_read(world, place, value, value_size);
    scan->records++;
    return true;
}

/* Back to the record before and on again must lead to the same one. */
static int turn_try(struct scan *scan)
{
    const void *value;
    size_t      value_size;
    uint32_t    place = record_take(scan, &value, &value_size);
    int         code = move(scan, !scan->is_backward);

    if (code == TACTUS_OK) {
        code = move(scan, scan->is_backward);
    }
    if (code == TACTUS_OK && record_take(scan, &value, &value_size) != place) {
        scan_fail(scan, "back and forth does not lead to the same key");
    }
    if (code == TACTUS_ENOTFOUND) {
        scan_fail(scan, "back and forth leads out of the tree");
    }
    return code;
}

/* False: it came to no end that can be looked at. */
static bool records_note(struct scan *scan)
{
    struct tac_stress_worker *worker = scan->worker;
    int                       code = first_move(scan);

    while (code == TACTUS_OK && record_note(scan)) {
        if (scan->is_slow && scan->records % SLOW_RECORDS == 0) {
            tac_stress_nap(worker, SLOW_NAP_NS);
        }
        if (scan->records > 1 && tac_stress_draw(worker, TURN_ONE_IN) == 0) {
            code = turn_try(scan);
        }
        if (code == TACTUS_OK) {
            code = move(scan, scan->is_backward);
        }
    }
    if (code == TACTUS_ENOTFOUND) {
        scan->reached = scan->is_backward ? scan->begin : scan->end;
    } else if (code == TACTUS_EEXPIRED) {
        TAC_STRESS_COUNT(worker->row, expired_scans);
    } else if (code != TACTUS_OK) {
        return scan_fail(scan, tactus_message());
    }
    return !tac_stress_is_stopped(worker->scene->board);
}

/* ---- was it right? -------------------------------------------------------------------------- */

static bool members_check(struct scan *scan, uint32_t slot, uint32_t from, uint32_t to)
{
    const struct tac_stress_world *world = scan->worker->scene->world;
    const uint32_t                *found = scan->worker->found;
    uint32_t                       place = place_at(scan, slot);
    uint32_t                       other = place + TAC_STRESS_TREES, other_slot;
    char                           text[TAC_STRESS_TEXT_BYTES + 64];

    /* The first member in the tree asks for the second. */
    if (tac_stress_item_of(world, place) >= world->groups ||
        place % TAC_STRESS_MEMBERS >= TAC_STRESS_TREES) {
        return true;
    }
    other_slot = world->slot_of[other];
    if (other_slot < from || other_slot >= to ||
        tac_stress_is_agreed(world, place, found[slot - scan->begin], other,
                             found[other_slot - scan->begin])) {
        return true;
    }
    tac_stress_place_text(world, place, text);
    snprintf(text + strlen(text), 64, ": one scan finds a part of a batch");
    return scan_fail(scan, text);
}

static void scan_check(struct scan *scan)
{
    struct tac_stress_worker *worker = scan->worker;
    uint32_t                  from = scan->is_backward ? scan->reached : scan->begin;
    uint32_t                  to = scan->is_backward ? scan->end : scan->reached;

    for (uint32_t slot = from; slot < to; slot++) {
        uint32_t i = slot - scan->begin;

        if (!tac_stress_seen(worker->scene->ledger, place_at(scan, slot), worker->found[i],
                             worker->least[i], worker->most[i])) {
            tac_stress_wrong_read(worker, scan->is_backward ? "backward scan" : "scan",
                                  place_at(scan, slot), worker->found[i], worker->least[i],
                                  worker->most[i]);
            return;
        }
        if (!members_check(scan, slot, from, to)) {
            return;
        }
    }
}

void tac_stress_scanner_turn(struct tac_stress_worker *worker)
{
    struct scan scan;

    if (!arrays_make(worker)) {
        return;
    }
    scan_draw(worker, &scan);
    memset(worker->found, 0, (scan.end - scan.begin) * sizeof *worker->found);
    least_take(&scan);
    if (tactus_iterator_open(worker->scene->store, worker->scene->trees[scan.tree],
                             &scan.iterator) != TACTUS_OK) {
        scan_fail(&scan, tactus_message());
        return;
    }
    most_take(&scan);
    if (records_note(&scan)) {
        scan_check(&scan);
    }
    tactus_iterator_close(scan.iterator);
    TAC_STRESS_COUNT(worker->row, scans);
    TAC_STRESS_COUNT_MORE(worker->row, records_scanned, scan.records);
}
