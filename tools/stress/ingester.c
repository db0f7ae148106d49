/* SPDX-License-Identifier: Apache-2.0 */
/* The ingesters: each has its own items, as a writer has. A turn takes the next versions of single
 * items of one tree, deletes among them, in as one sorted run: all of it is there, or none. Some
 * runs go wrong in the middle: of these nothing may be there. */
#include "tools/stress/roles.h"

#define REST_NS (60 * (uint64_t)1000000)
#define RUN_SLOTS_MAX 4000
#define CHUNK_MAX 8
#define WRONG_ONE_IN 8
#define READ_ONE_IN 16

/* How a run ends that is not to be taken. */
enum wrong {
    WRONG_NOT,
    WRONG_READER, /* Its reader gives up */
    WRONG_ORDER,  /* A key comes twice */
};

struct run {
    struct tac_stress_worker *worker;
    uint32_t                  tree;
    enum wrong                wrong;
    uint32_t                  wrong_at; /* Behind so many records */
    uint32_t                  given;
    struct tac_stress_write   write;
    struct tac_stress_key     keys[CHUNK_MAX];
    struct tac_stress_value   values[CHUNK_MAX];
    struct tactus_run_record  records[CHUNK_MAX];
};

/* ---- the reader ----------------------------------------------------------------------------- */

static void record_make(struct run *run, uint32_t index, uint32_t of_write)
{
    const struct tac_stress_world *world = run->worker->scene->world;
    uint32_t place = tac_stress_first_place(world, run->write.items[of_write]);

    tac_stress_key_make(world, place, &run->keys[index]);
    tac_stress_value_make(world, place, run->write.versions[of_write], &run->values[index]);
    run->records[index] = (struct tactus_run_record){
        .key = run->keys[index].data,
        .key_size = run->keys[index].size,
        .value = run->values[index].data,
        .value_size = run->values[index].size,
        .is_tombstone = run->values[index].is_deleted,
    };
}

/* The reader may read in the store, too. */
static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run               *run = context;
    struct tac_stress_worker *worker = run->worker;
    uint32_t                  end = run->wrong == WRONG_NOT ? run->write.count : run->wrong_at;
    uint32_t                  count =
        (uint32_t)tac_min_u64(1 + tac_stress_draw(worker, CHUNK_MAX), end - run->given);

    tac_stress_step_begin(worker->row);
    if (tac_stress_draw(worker, READ_ONE_IN) == 0) {
        tac_stress_place_read(worker,
                              (uint32_t)tac_stress_draw(worker, worker->scene->world->places));
    }
    if (count == 0 && run->wrong == WRONG_READER) {
        return TACTUS_EACCESS;
    }
    for (uint32_t i = 0; i < count; i++) {
        record_make(run, i, run->given + i);
    }
    if (count == 0 && run->wrong == WRONG_ORDER) {
        record_make(run, 0, run->given - 1);
        count = 1;
    }
    run->given += run->given < end ? count : 0;
    *ret_records = run->records;
    *ret_count = count;
    return TACTUS_OK;
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* In the order of their keys. */
static void items_take(struct tac_stress_worker *worker, struct run *run)
{
    const struct tac_stress_world *world = worker->scene->world;
    uint32_t                       writers = worker->scene->ledger->writers;
    uint32_t                       slot = (uint32_t)tac_stress_draw(worker, world->slots);
    uint64_t                       end = slot + 1 + tac_stress_draw(worker, RUN_SLOTS_MAX);
    uint64_t                       most = 1 + tac_stress_draw(worker, TAC_STRESS_WRITE_ITEMS_MAX);

    for (; slot < world->slots && slot < end && run->write.count < most; slot++) {
        uint32_t item = tac_stress_item_of(world, world->place_of[run->tree][slot]);

        if (item >= world->groups && item % writers == worker->owner) {
            run->write.items[run->write.count] = item;
            run->write.versions[run->write.count++] =
                tac_stress_version_next(worker->scene->ledger, item, false);
        }
    }
}

static void run_draw(struct tac_stress_worker *worker, struct run *run)
{
    run->worker = worker;
    run->tree = (uint32_t)tac_stress_draw(worker, TAC_STRESS_TREES);
    run->write.count = run->given = 0;
    run->wrong = WRONG_NOT;
    items_take(worker, run);
    if (run->write.count > 1 && tac_stress_draw(worker, WRONG_ONE_IN) == 0) {
        run->wrong = tac_stress_draw(worker, 2) == 0 ? WRONG_READER : WRONG_ORDER;
        run->wrong_at = 1 + (uint32_t)tac_stress_draw(worker, run->write.count - 1);
    }
}

static void run_taken(struct tac_stress_worker *worker, const struct run *run, uint64_t op)
{
    tac_stress_write_end(worker->scene->ledger, worker->owner, &run->write, op, true);
    TAC_STRESS_COUNT(worker->row, runs);
    TAC_STRESS_COUNT_MORE(worker->row, records_ingested, run->write.count);
    TAC_STRESS_COUNT_MORE(worker->row, records_written, run->write.count);
    if (run->wrong != WRONG_NOT) {
        tac_stress_violation(worker->scene->board, "ingester %u: a run that is wrong was taken",
                             worker->number);
    }
    if (tactus_durable_op(worker->scene->store) < op) {
        tac_stress_violation(worker->scene->board, "ingester %u: a run is not durable",
                             worker->number);
    }
}

/* Whether it may have failed so. */
static bool is_explained(struct tac_stress_worker *worker, const struct run *run, int code,
                         uint64_t pause_mark)
{
    if ((run->wrong == WRONG_READER && code == TACTUS_EACCESS) ||
        (run->wrong == WRONG_ORDER && code == TACTUS_EINVAL)) {
        TAC_STRESS_COUNT(worker->row, runs_cut);
        return true;
    }
    if (code == TACTUS_EOPTION && worker->scene->options->runs_per_level == 1) {
        TAC_STRESS_COUNT(worker->row, runs_refused);
        return true;
    }
    return tac_stress_is_refused(worker, "sorted run", code, pause_mark);
}

static void run_ingest(struct tac_stress_worker *worker, struct run *run)
{
    struct tac_stress_ledger *ledger = worker->scene->ledger;
    struct tactus            *store = worker->scene->store;
    uint64_t                  pause_mark = tac_stress_pause_mark(worker), op = 0;
    int                       code;

    tac_stress_write_begin(ledger, worker->owner, &run->write, tactus_last_op(store));
    code = tactus_ingest(store, worker->scene->trees[run->tree], run_read, run, &op);
    if (code == TACTUS_OK) {
        run_taken(worker, run, op);
    } else if (is_explained(worker, run, code, pause_mark) &&
               !tac_stress_write_cancel(ledger, worker->owner, &run->write)) {
        tac_stress_violation(worker->scene->board,
                             "ingester %u: something of a run that was refused was seen",
                             worker->number);
    }
}

void tac_stress_ingester_turn(struct tac_stress_worker *worker)
{
    struct run run;

    tac_stress_nap(worker, REST_NS);
    if (!tac_stress_room_make(worker)) {
        return;
    }
    run_draw(worker, &run);
    if (run.write.count > 0) {
        run_ingest(worker, &run);
    }
}
