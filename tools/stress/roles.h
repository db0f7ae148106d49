/* SPDX-License-Identifier: Apache-2.0 */
/* roles -- the threads that work on the store of `tactus stress`, by what they do. A role is
 * a row of the table: it takes turns until it is stopped, each a call or a few. */
#ifndef TACTUS_TOOLS_STRESS_ROLES_H
#define TACTUS_TOOLS_STRESS_ROLES_H

#include <pthread.h>

#include "base/prng.h"
#include "tools/stress/check.h"

enum tac_stress_role_id {
    TAC_STRESS_WRITER,
    TAC_STRESS_READER,
    TAC_STRESS_SCANNER,
    TAC_STRESS_MAINTAINER,
    TAC_STRESS_PAUSER,
    TAC_STRESS_CHANGER,
    TAC_STRESS_SNAPSHOTTER,
    TAC_STRESS_DROPPER,
    TAC_STRESS_ERASER,
    TAC_STRESS_INGESTER,
    TAC_STRESS_COMPACTOR,
    TAC_STRESS_THROTTLER,
    TAC_STRESS_NEIGHBOUR,
    TAC_STRESS_ROLES,
};

/* What a throttler has set, and what there was then. */
struct tac_stress_limit {
    uint64_t rate_bytes; /* In a second; 0: no limit, or it has set none */
    uint64_t begin_ns;
    uint64_t moved_bytes; /* Read and written by the stages */
    uint64_t workers;     /* That move them */
};

/* One thread. */
struct tac_stress_worker {
    const struct tac_stress_role  *role;
    const struct tac_stress_scene *scene;
    struct tac_stress_row         *row;
    uint32_t                       number; /* Among those of its role */
    uint32_t                       owner;  /* A writer's, an ingester's: as the ledger has it */
    struct tac_prng                prng;
    pthread_t                      id;
    struct tactus_batch           *batch; /* A writer's; made by its first turn that needs it */
    uint32_t                       deletes_left;  /* A writer's, after it has met a full store */
    uint32_t                      *least, *found; /* A scanner's, by slot; made by its first turn */
    uint32_t                      *most;
    uint64_t                       durable_op; /* A maintainer's: what it was told last */
    uint32_t                       own_tree;   /* A dropper's, an eraser's, if it has one */
    uint64_t                      *steps;      /* An eraser's: of each key that of its record */
    bool                           has_begun;  /* A dropper: what was there before it is gone */
    bool                           has_range;  /* A compactor: one was under way */
    struct tac_stress_limit        limit;      /* A throttler's */
    struct tactus                 *neighbour;  /* A neighbour's store; NULL: it is not open */
    bool                           is_synced;  /* Its log has each write that returned */
};

struct tac_stress_role {
    const char *name;  /* Of one; with s behind it the option that says how many */
    const char *text;  /* What they do, for --help */
    uint32_t    count; /* Unless said otherwise */
    uint32_t    count_min, count_max;
    void (*turn)(struct tac_stress_worker *worker);
    void (*end)(struct tac_stress_worker *worker); /* After the last turn; may be NULL */
};

extern const struct tac_stress_role tac_stress_roles[TAC_STRESS_ROLES];

void tac_stress_writer_turn(struct tac_stress_worker *worker);     /* writer.c */
void tac_stress_reader_turn(struct tac_stress_worker *worker);     /* reader.c */
void tac_stress_scanner_turn(struct tac_stress_worker *worker);    /* scanner.c */
void tac_stress_maintainer_turn(struct tac_stress_worker *worker); /* maintainer.c */
void tac_stress_pauser_turn(struct tac_stress_worker *worker);
void tac_stress_changer_turn(struct tac_stress_worker *worker);
void tac_stress_snapshotter_turn(struct tac_stress_worker *worker); /* snapshotter.c */
void tac_stress_dropper_turn(struct tac_stress_worker *worker);     /* dropper.c */
void tac_stress_eraser_turn(struct tac_stress_worker *worker);      /* eraser.c */
void tac_stress_ingester_turn(struct tac_stress_worker *worker);    /* ingester.c */
void tac_stress_compactor_turn(struct tac_stress_worker *worker);   /* compactor.c */
void tac_stress_throttler_turn(struct tac_stress_worker *worker);   /* throttler.c */
void tac_stress_neighbour_turn(struct tac_stress_worker *worker);   /* neighbour.c */
void tac_stress_neighbour_end(struct tac_stress_worker *worker);

/* The store of a neighbour; ret_path has PATH_MAX bytes. */
void tac_stress_neighbour_path(const char *path, uint32_t number, char *ret_path);

/* ---- for turns ------------------------------------------------------------------------------ */

static inline uint64_t tac_stress_draw(struct tac_stress_worker *worker, uint64_t bound)
{
    return tac_prng_below(&worker->prng, bound);
}

/* Sleeps up to so long. */
void tac_stress_nap(struct tac_stress_worker *worker, uint64_t most_ns);

/* Before a call that a pause may refuse: what tac_stress_is_refused wants to know afterwards. */
uint64_t tac_stress_pause_mark(const struct tac_stress_worker *worker);
/* Whether the call may have failed with this code: the store may be full, or there may have been a
 * pause since the mark. That is counted; anything else is a violation. */
bool tac_stress_is_refused(struct tac_stress_worker *worker, const char *what, int code,
                           uint64_t pause_mark);

/* The same for tactus_compaction_hold, and a step of a key range that it may hold back. */
uint64_t tac_stress_hold_mark(const struct tac_stress_worker *worker);
bool     tac_stress_is_held(const struct tac_stress_worker *worker, uint64_t hold_mark);

/* Gets the record of a place, copied or pinned, and checks it. */
void tac_stress_place_read(struct tac_stress_worker *worker, uint32_t place);
/* Whether the ledger takes another write of this owner; if not, something is made durable. */
bool tac_stress_room_make(struct tac_stress_worker *worker);

/* What was found where, and what would have been right. */
void tac_stress_wrong_read(struct tac_stress_worker *worker, const char *what, uint32_t place,
                           uint32_t found, uint32_t least, uint32_t most);

/* ---- all of them ---------------------------------------------------------------------------- */

struct tac_stress_crew {
    struct tac_stress_worker *workers;
    uint32_t                  count, started;
};

/* Starts them on the open store; each draws what it does from the seed. Their rows follow each
 * other from TAC_STRESS_ROW_WORKERS on. False: a violation was told, and those that were started
 * are still to be joined. */
bool tac_stress_crew_start(struct tac_stress_crew *crew, const struct tac_stress_scene *scene,
                           const uint32_t counts[TAC_STRESS_ROLES], uint64_t seed) TAC_MUST_CHECK;
/* Stops them, waits for them and frees what they had. */
void tac_stress_crew_join(struct tac_stress_crew *crew, struct tac_stress_board *board);

#endif
