/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/roles.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IN_ONE UINT64_MAX
#define WRITERS_MAX 64
#define INGESTERS_MAX 4

tac_static_assert(WRITERS_MAX + INGESTERS_MAX <= TAC_STRESS_WRITERS_MAX,
                  "the ledger has room for all that write");

const struct tac_stress_role tac_stress_roles[TAC_STRESS_ROLES] = {
    [TAC_STRESS_WRITER] = {"writer", "put, delete, compare and set, commit batches over all trees",
                           2, 1, WRITERS_MAX, tac_stress_writer_turn},
    [TAC_STRESS_READER] = {"reader", "get, copied, pinned and many at once", 2, 0, 64,
                           tac_stress_reader_turn},
    [TAC_STRESS_SCANNER] = {"scanner", "iterate: ranges, prefixes, whole trees, both ways", 2, 0,
                            64, tac_stress_scanner_turn},
    [TAC_STRESS_MAINTAINER] = {"maintainer",
                               "checkpoint, sync, drain, compact, hold, call beats, look on", 1, 0,
                               8, tac_stress_maintainer_turn},
    [TAC_STRESS_PAUSER] = {"pauser", "pause compaction for moments", 1, 0, 8,
                           tac_stress_pauser_turn},
    [TAC_STRESS_CHANGER] = {"changer", "change the numbers of stage threads, the sizes of caches",
                            1, 0, 8, tac_stress_changer_turn},
    [TAC_STRESS_SNAPSHOTTER] = {"snapshotter", "take, read and release snapshots", 1, 0,
                                TAC_STRESS_SNAPSHOTTERS_MAX, tac_stress_snapshotter_turn},
    [TAC_STRESS_DROPPER] = {"dropper", "create and drop trees of their own", 1, 0,
                            TAC_STRESS_DROPPERS_MAX, tac_stress_dropper_turn},
    [TAC_STRESS_ERASER] = {"eraser", "delete key ranges of trees of their own", 1, 0,
                           TAC_STRESS_ERASERS_MAX, tac_stress_eraser_turn},
    [TAC_STRESS_INGESTER] = {"ingester", "take in sorted runs", 1, 0, INGESTERS_MAX,
                             tac_stress_ingester_turn},
    [TAC_STRESS_COMPACTOR] = {"compactor", "compact key ranges, step and cancel them", 1, 0, 1,
                              tac_stress_compactor_turn},
    [TAC_STRESS_THROTTLER] = {"throttler", "change the limit of I/O", 1, 0, 1,
                              tac_stress_throttler_turn},
    [TAC_STRESS_NEIGHBOUR] = {"neighbour", "use another store in one pool with this one", 0, 0,
                              TAC_STRESS_NEIGHBOURS_MAX, tac_stress_neighbour_turn,
                              tac_stress_neighbour_end},
};

void tac_stress_neighbour_path(const char *path, uint32_t number, char *ret_path)
{
    snprintf(ret_path, PATH_MAX, "%s.neighbour-%u", path, number);
}

/* ---- for turns ------------------------------------------------------------------------------ */

void tac_stress_nap(struct tac_stress_worker *worker, uint64_t most_ns)
{
    uint64_t              nap_ns = tac_stress_draw(worker, most_ns + 1);
    const struct timespec nap = {(time_t)(nap_ns / TAC_SECOND_NS), (long)(nap_ns % TAC_SECOND_NS)};

    nanosleep(&nap, NULL);
}

/* Pausers count a pause as begun before they make it, and as ended when it is over. */
static uint64_t mark_of(const uint64_t *begun_word, const uint64_t *ended_word)
{
    uint64_t ended = tac_atomic_load_acquire_u64(ended_word);
    uint64_t begun = tac_atomic_load_acquire_u64(begun_word);

    return begun > ended ? IN_ONE : begun;
}

static bool has_been_one(const uint64_t *begun_word, uint64_t mark)
{
    return mark == IN_ONE || mark != tac_atomic_load_acquire_u64(begun_word);
}

uint64_t tac_stress_pause_mark(const struct tac_stress_worker *worker)
{
    const struct tac_stress_board *board = worker->scene->board;

    return mark_of(&board->pauses_begun, &board->pauses_ended);
}

uint64_t tac_stress_hold_mark(const struct tac_stress_worker *worker)
{
    const struct tac_stress_board *board = worker->scene->board;

    return mark_of(&board->holds_begun, &board->holds_ended);
}

bool tac_stress_is_held(const struct tac_stress_worker *worker, uint64_t hold_mark)
{
    return has_been_one(&worker->scene->board->holds_begun, hold_mark);
}

bool tac_stress_is_refused(struct tac_stress_worker *worker, const char *what, int code,
                           uint64_t pause_mark)
{
    struct tac_stress_board *board = worker->scene->board;

    tac_assert(code != TACTUS_OK);
    if (code == TACTUS_EFULL && worker->scene->has_size_limit) {
        TAC_STRESS_COUNT(worker->row, refused_full);
        return true;
    }
    if (code == TACTUS_EPAUSED && has_been_one(&board->pauses_begun, pause_mark)) {
        TAC_STRESS_COUNT(worker->row, refused_paused);
        return true;
    }
    tac_stress_violation(board, "%s %u, %s: error %d: %s", worker->role->name, worker->number, what,
                         code, tactus_message());
    return false;
}

void tac_stress_wrong_read(struct tac_stress_worker *worker, const char *what, uint32_t place,
                           uint32_t found, uint32_t least, uint32_t most)
{
    const struct tac_stress_world *world = worker->scene->world;
    char place_text[TAC_STRESS_TEXT_BYTES], found_text[TAC_STRESS_TEXT_BYTES];
    char least_text[TAC_STRESS_TEXT_BYTES], most_text[TAC_STRESS_TEXT_BYTES];

    tac_stress_place_text(world, place, place_text);
    tac_stress_found_text(found, found_text);
    tac_stress_version_text(world, place, least, least_text);
    tac_stress_version_text(world, place, most, most_text);
    tac_stress_violation(worker->scene->board, "%s %u, %s, %s: found %s, expected %s to %s",
                         worker->role->name, worker->number, what, place_text, found_text,
                         least_text, most_text);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void *worker_main(void *argument)
{
    struct tac_stress_worker *worker = argument;

    tac_yield_seed(worker->prng.state);
    while (!tac_stress_is_stopped(worker->scene->board)) {
        tac_stress_step_begin(worker->row);
        worker->role->turn(worker);
    }
    if (worker->role->end != NULL) {
        worker->role->end(worker);
    }
    tac_atomic_store_release_u64(&worker->row->step_ns, 0);
    return NULL;
}

static bool worker_start(struct tac_stress_worker *worker, const struct tac_stress_scene *scene,
                         uint64_t seed)
{
    int result;

    worker->scene = scene;
    worker->prng.state =
        tac_mix_u64(seed + worker->number) + (uint64_t)(worker->role - tac_stress_roles);
    /* Not as the library's own threads begin: it is one of the application's. */
    result = pthread_create(&worker->id, NULL, worker_main, worker);
    if (result != 0) {
        tac_stress_violation(scene->board, "cannot start a thread: %s", strerror(result));
        return false;
    }
    pthread_setname_np(worker->id, worker->role->name);
    return true;
}

bool tac_stress_crew_start(struct tac_stress_crew *crew, const struct tac_stress_scene *scene,
                           const uint32_t counts[TAC_STRESS_ROLES], uint64_t seed)
{
    *crew = (struct tac_stress_crew){0};
    for (uint32_t role = 0; role < TAC_STRESS_ROLES; role++) {
        crew->count += counts[role];
    }
    crew->workers = calloc(crew->count, sizeof *crew->workers);
    if (crew->workers == NULL) {
        tac_stress_violation(scene->board, "out of memory for workers");
        return false;
    }
    tac_assert(TAC_STRESS_ROW_WORKERS + crew->count <= scene->board->row_count);
    scene->board->pauses_begun = scene->board->pauses_ended = 0;
    scene->board->holds_begun = scene->board->holds_ended = 0;
    for (uint32_t role = 0; role < TAC_STRESS_ROLES; role++) {
        for (uint32_t number = 0; number < counts[role]; number++) {
            struct tac_stress_worker *worker = &crew->workers[crew->started];

            worker->role = &tac_stress_roles[role];
            worker->number = number;
            worker->owner =
                role == TAC_STRESS_INGESTER ? counts[TAC_STRESS_WRITER] + number : number;
            worker->row = &scene->board->rows[TAC_STRESS_ROW_WORKERS + crew->started];
            if (!worker_start(worker, scene, seed)) {
                return false;
            }
            crew->started++;
        }
    }
    return true;
}

void tac_stress_crew_join(struct tac_stress_crew *crew, struct tac_stress_board *board)
{
    tac_atomic_store_release_u32(&board->stop, 1);
    for (uint32_t i = 0; i < crew->started; i++) {
        struct tac_stress_worker *worker = &crew->workers[i];
        int                       joined = pthread_join(worker->id, NULL);

        tac_assert(joined == 0);
        tactus_batch_free(worker->batch);
        free(worker->least);
        free(worker->most);
        free(worker->found);
        free(worker->steps);
    }
    free(crew->workers);
    *crew = (struct tac_stress_crew){0};
}
