/* SPDX-License-Identifier: Apache-2.0 */
/* The writers: each has its own items, so it knows what they are and what comes next. What differs
 * is the way in which an item's next version is written. */
#include "tools/stress/roles.h"

#define BATCH_ITEMS_MAX 8
/* Two of five draws are among so many items of a writer. */
#define HOT_ITEMS 64
/* A writer that meets a full store then only deletes, for so many turns. */
#define DELETES_WHEN_FULL 400
#define DRAWS_MAX 64
#define NAP_NS 1000000
/* Keys and values of a group with what is accounted beside them; each may be in a batch twice. */
#define ITEM_ACCOUNTED_MAX 8192

enum way {
    WAY_PLAIN, /* tactus_put, tactus_delete */
    WAY_IF_ABSENT,
    WAY_EXCHANGE, /* tactus_compare_and_set */
    WAY_BATCH,
    WAYS,
};

/* One place's record, in two versions. */
struct change {
    uint32_t                tree;
    struct tac_stress_key   key;
    struct tac_stress_value now, next;
};

static void change_make(const struct tac_stress_worker *worker, uint32_t place, uint32_t next,
                        struct change *change)
{
    const struct tac_stress_scene *scene = worker->scene;
    uint32_t                       item = tac_stress_item_of(scene->world, place);

    change->tree = scene->trees[tac_stress_tree_of(place)];
    tac_stress_key_make(scene->world, place, &change->key);
    tac_stress_value_make(scene->world, place, tac_stress_version_now(scene->ledger, item),
                          &change->now);
    tac_stress_value_make(scene->world, place, next, &change->next);
}

/* ---- choosing ------------------------------------------------------------------------------- */

static uint32_t item_draw(struct tac_stress_worker *worker)
{
    uint32_t writers = worker->scene->ledger->writers;
    uint32_t own = (worker->scene->world->items - worker->owner - 1) / writers + 1;
    uint32_t stride = tac_stress_draw(worker, 5) < 2 ? own / HOT_ITEMS : 0;
    uint32_t rank = stride > 0 ? (uint32_t)tac_stress_draw(worker, HOT_ITEMS) * stride
                               : (uint32_t)tac_stress_draw(worker, own);

    return rank * writers + worker->owner;
}

static bool has_item(const struct tac_stress_write *write, uint32_t item)
{
    for (uint32_t i = 0; i < write->count; i++) {
        if (write->items[i] == item) {
            return true;
        }
    }
    return false;
}

static bool is_there(const struct tac_stress_worker *worker, uint32_t item)
{
    return !tac_stress_is_deleted(worker->scene->world, item,
                                  tac_stress_version_now(worker->scene->ledger, item));
}

/* Up to so many items, and what comes next for each; deletes alone, of what is there, if these are
 * wanted. There may be none. */
static void write_draw(struct tac_stress_worker *worker, uint32_t items_max, bool wants_delete,
                       struct tac_stress_write *ret_write)
{
    struct tac_stress_ledger *ledger = worker->scene->ledger;

    ret_write->count = 0;
    for (uint32_t i = 0; i < DRAWS_MAX && ret_write->count < items_max; i++) {
        uint32_t item = item_draw(worker);

        if (!has_item(ret_write, item) && (!wants_delete || is_there(worker, item))) {
            ret_write->items[ret_write->count] = item;
            ret_write->versions[ret_write->count] =
                tac_stress_version_next(ledger, item, wants_delete);
            ret_write->count++;
        }
    }
}

/* ---- batches -------------------------------------------------------------------------------- */

static int batch_add(struct tactus_batch *batch, const struct change *change)
{
    return change->next.is_deleted
               ? tactus_batch_delete(batch, change->tree, change->key.data, change->key.size)
               : tactus_batch_put(batch, change->tree, change->key.data, change->key.size,
                                  change->next.data, change->next.size);
}

static int batch_expect(struct tactus_batch *batch, const struct change *change)
{
    return tactus_batch_expect(batch, change->tree, change->key.data, change->key.size,
                               tac_stress_value_data(&change->now), change->now.size);
}

/* Now and then with the condition that the place is as it is, and with an entry of the same key
 * before, over which the later one wins. */
static int batch_place(struct tac_stress_worker *worker, uint32_t place, uint32_t version)
{
    struct change change;
    int           code = TACTUS_OK;

    change_make(worker, place, version, &change);
    if (tac_stress_draw(worker, 8) == 0) {
        code = batch_expect(worker->batch, &change);
    }
    if (code == TACTUS_OK && tac_stress_draw(worker, 16) == 0) {
        code = tactus_batch_delete(worker->batch, change.tree, change.key.data, change.key.size);
    }
    return code == TACTUS_OK ? batch_add(worker->batch, &change) : code;
}

static bool batch_fill(struct tac_stress_worker *worker, const struct tac_stress_write *write)
{
    const struct tac_stress_world *world = worker->scene->world;
    int                            code = TACTUS_OK;

    if (worker->batch == NULL) {
        code = tactus_batch_new(worker->scene->store, &worker->batch);
    } else {
        tactus_batch_clear(worker->batch);
    }
    for (uint32_t i = 0; i < write->count && code == TACTUS_OK; i++) {
        uint32_t place = tac_stress_first_place(world, write->items[i]);
        uint32_t end = place + tac_stress_place_count(world, write->items[i]);

        for (; place < end && code == TACTUS_OK; place++) {
            code = batch_place(worker, place, write->versions[i]);
        }
    }
    if (code != TACTUS_OK) {
        tac_stress_violation(worker->scene->board, "writer %u, batch of %u items: error %d: %s",
                             worker->number, write->count, code, tactus_message());
    }
    return code == TACTUS_OK;
}

/* ---- one write ------------------------------------------------------------------------------ */

static int place_write(struct tac_stress_worker *worker, enum way way, uint32_t place,
                       uint32_t version)
{
    struct tactus *store = worker->scene->store;
    struct change  change;

    change_make(worker, place, version, &change);
    switch (way) {
    case WAY_IF_ABSENT:
        TAC_STRESS_COUNT(worker->row, puts_if_absent);
        return tactus_put_if_absent(store, change.tree, change.key.data, change.key.size,
                                    change.next.data, change.next.size);
    case WAY_EXCHANGE:
        TAC_STRESS_COUNT(worker->row, exchanges);
        return tactus_compare_and_set(store, change.tree, change.key.data, change.key.size,
                                      tac_stress_value_data(&change.now), change.now.size,
                                      tac_stress_value_data(&change.next), change.next.size);
    case WAY_PLAIN:
        break;
    case WAY_BATCH:
    case WAYS:
        tac_unreachable();
    }
    if (change.next.is_deleted) {
        TAC_STRESS_COUNT(worker->row, deletes);
        return tactus_delete(store, change.tree, change.key.data, change.key.size);
    }
    TAC_STRESS_COUNT(worker->row, puts);
    return tactus_put(store, change.tree, change.key.data, change.key.size, change.next.data,
                      change.next.size);
}

static int write_call(struct tac_stress_worker *worker, enum way way,
                      const struct tac_stress_write *write, uint64_t *ret_op)
{
    int code;

    if (way == WAY_BATCH) {
        TAC_STRESS_COUNT(worker->row, batches);
        return tactus_batch_commit(worker->batch, ret_op);
    }
    code = place_write(worker, way, tac_stress_first_place(worker->scene->world, write->items[0]),
                       write->versions[0]);
    *ret_op = tactus_last_op(worker->scene->store);
    return code;
}

static void time_note(struct tac_stress_worker *worker, uint64_t begin_ns)
{
    uint64_t spent_ns = tac_clock_now_ns() - begin_ns;

    if (spent_ns > tac_atomic_load_relaxed_u64(&worker->row->longest_write_ns)) {
        tac_atomic_store_relaxed_u64(&worker->row->longest_write_ns, spent_ns);
    }
}

/* A batch says which op it was. */
static void write_done(struct tac_stress_worker *worker, const struct tac_stress_write *write,
                       uint64_t op, bool is_exact)
{
    uint64_t places = 0;

    tac_stress_write_end(worker->scene->ledger, worker->owner, write, op, is_exact);
    for (uint32_t i = 0; i < write->count; i++) {
        places += tac_stress_place_count(worker->scene->world, write->items[i]);
    }
    TAC_STRESS_COUNT_MORE(worker->row, records_written, places);
}

static void write_failed(struct tac_stress_worker *worker, const struct tac_stress_write *write,
                         int code, uint64_t pause_mark)
{
    if (!tac_stress_is_refused(worker, "write", code, pause_mark)) {
        return; /* What came of it is not known: it stays under way */
    }
    if (!tac_stress_write_cancel(worker->scene->ledger, worker->owner, write)) {
        tac_stress_violation(
            worker->scene->board,
            "writer %u: a write that was refused, of item %u and %u others, was seen",
            worker->number, write->items[0], write->count - 1);
    }
    if (code == TACTUS_EPAUSED) {
        tac_stress_nap(worker, NAP_NS);
    } else {
        worker->deletes_left = DELETES_WHEN_FULL;
    }
}

static void write_do(struct tac_stress_worker *worker, enum way way,
                     const struct tac_stress_write *write)
{
    uint64_t pause_mark = tac_stress_pause_mark(worker);
    uint64_t begin_ns, op = 0;
    int      code;

    if (way == WAY_BATCH && !batch_fill(worker, write)) {
        return;
    }
    tac_stress_write_begin(worker->scene->ledger, worker->owner, write,
                           tactus_last_op(worker->scene->store));
    begin_ns = tac_clock_now_ns();
    code = write_call(worker, way, write, &op);
    time_note(worker, begin_ns);
    if (code == TACTUS_OK) {
        write_done(worker, write, op, way == WAY_BATCH);
    } else {
        write_failed(worker, write, code, pause_mark);
    }
}

/* ---- conditions that do not hold ------------------------------------------------------------ */

/* Where there is a record, none is expected; where there is none, one is. */
static void now_falsify(const struct tac_stress_worker *worker, uint32_t place,
                        struct change *change)
{
    if (!change->now.is_deleted) {
        change->now.is_deleted = true;
        change->now.size = 0;
        return;
    }
    for (uint32_t version = 1; change->now.is_deleted; version++) {
        tac_stress_value_make(worker->scene->world, place, version, &change->now);
    }
}

static int conflict_call(struct tac_stress_worker *worker, const struct change *change)
{
    struct tactus *store = worker->scene->store;

    if (tac_stress_draw(worker, 2) == 0) {
        int code = batch_expect(worker->batch, change);

        return code == TACTUS_OK ? tactus_batch_commit(worker->batch, NULL) : code;
    }
    return tactus_compare_and_set(store, change->tree, change->key.data, change->key.size,
                                  tac_stress_value_data(&change->now), change->now.size,
                                  tac_stress_value_data(&change->next), change->next.size);
}

/* Nothing of it may be written. */
static void conflict_try(struct tac_stress_worker *worker, const struct tac_stress_write *write)
{
    const struct tac_stress_world *world = worker->scene->world;
    uint32_t                       first = tac_stress_first_place(world, write->items[0]);
    uint32_t                       count = tac_stress_place_count(world, write->items[0]);
    uint32_t                       place = first + (uint32_t)tac_stress_draw(worker, count);
    uint64_t                       pause_mark = tac_stress_pause_mark(worker);
    struct change                  change;
    int                            code;

    change_make(worker, place, write->versions[0], &change);
    now_falsify(worker, place, &change);
    if (!batch_fill(worker, write)) {
        return;
    }
    code = conflict_call(worker, &change);
    if (code == TACTUS_ECONFLICT) {
        TAC_STRESS_COUNT(worker->row, conflicts);
    } else if (code == TACTUS_OK) {
        char text[TAC_STRESS_TEXT_BYTES];

        tac_stress_place_text(world, place, text);
        tac_stress_violation(worker->scene->board,
                             "writer %u, %s: a write was done although its condition does not hold",
                             worker->number, text);
    } else {
        (void)tac_stress_is_refused(worker, "write with a condition", code, pause_mark);
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* A journal takes no more than what a crash could take back, so something must become durable. */
bool tac_stress_room_make(struct tac_stress_worker *worker)
{
    struct tactus *store = worker->scene->store;
    uint64_t       pause_mark;
    int            code;

    if (tac_stress_journal_has_room(worker->scene->ledger, worker->owner,
                                    tactus_durable_op(store))) {
        return true;
    }
    pause_mark = tac_stress_pause_mark(worker);
    code = tactus_sync(store);
    if (code == TACTUS_OK) {
        TAC_STRESS_COUNT(worker->row, syncs);
    } else if (tac_stress_is_refused(worker, "sync", code, pause_mark)) {
        tac_stress_nap(worker, NAP_NS);
    }
    return false;
}

static bool is_single(const struct tac_stress_worker *worker, uint32_t item)
{
    return item >= worker->scene->world->groups;
}

static uint32_t batch_items_max(const struct tac_stress_worker *worker)
{
    uint64_t most = worker->scene->batch_bytes_max / ITEM_ACCOUNTED_MAX;

    return (uint32_t)tac_max_u64(1, tac_min_u64(most, BATCH_ITEMS_MAX));
}

static enum way way_draw(struct tac_stress_worker *worker)
{
    uint64_t roll = tac_stress_draw(worker, 100);

    return roll < 55 ? WAY_PLAIN : roll < 65 ? WAY_IF_ABSENT : roll < 80 ? WAY_EXCHANGE : WAY_BATCH;
}

/* What the way cannot do is done in another one: a group is always a batch. */
static enum way way_fit(const struct tac_stress_worker *worker, enum way way,
                        const struct tac_stress_write *write)
{
    uint32_t item = write->items[0];

    if (write->count > 1 || !is_single(worker, item)) {
        return WAY_BATCH;
    }
    if (way == WAY_IF_ABSENT &&
        (is_there(worker, item) ||
         tac_stress_is_deleted(worker->scene->world, item, write->versions[0]))) {
        return WAY_PLAIN;
    }
    return way;
}

void tac_stress_writer_turn(struct tac_stress_worker *worker)
{
    bool                    wants_delete = worker->deletes_left > 0;
    enum way                way = way_draw(worker);
    bool                    is_conflict = tac_stress_draw(worker, 32) == 0;
    uint32_t                items = 1;
    struct tac_stress_write write;

    if (!tac_stress_room_make(worker)) {
        return;
    }
    if (way == WAY_BATCH) {
        items = 1 + (uint32_t)tac_stress_draw(worker, batch_items_max(worker));
    }
    worker->deletes_left -= wants_delete;
    write_draw(worker, items, wants_delete, &write);
    if (write.count == 0) {
        return; /* Nothing is left to be deleted */
    }
    if (is_conflict) {
        conflict_try(worker, &write);
    } else {
        write_do(worker, way_fit(worker, way, &write), &write);
    }
}
