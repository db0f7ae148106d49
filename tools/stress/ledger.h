/* SPDX-License-Identifier: Apache-2.0 */
/* ledger -- what was written to the store of `tactus stress`, and what it may therefore
 * hold.
 *
 * All of it is in memory that a process shares with its children: a writer that is killed leaves
 * there what it had begun and what it had been told.
 *
 * Writers    Each item is written by one writer alone: number item % writers. Threads that ingest
 *            sorted runs are writers, too, with the numbers behind the others.
 * Reading    An item has the version of which a write last returned, or that of the write under
 *            way. A version that somebody has seen counts as one that has returned: nobody may see
 *            an older one from then on.
 * Journal    The writes of one writer since the last durable op that it knows, in order. After a
 *            crash the store must hold a beginning of each journal: every op up to the store's last
 *            one, and of later ones nothing.
 */
#ifndef TACTUS_TOOLS_STRESS_LEDGER_H
#define TACTUS_TOOLS_STRESS_LEDGER_H

#include "tools/stress/world.h"

#define TAC_STRESS_WRITERS_MAX 68 /* 64 writers, 4 ingesters */
#define TAC_STRESS_WRITE_ITEMS_MAX 512
#define TAC_STRESS_MESSAGE_BYTES 2048

struct tac_stress_journal;
struct tac_stress_bounds;

struct tac_stress_ledger {
    const struct tac_stress_world *world;
    uint32_t                       writers;
    /* Shared. By item; written by the item's writer, `done` by readers too. */
    uint32_t *attempted; /* The highest version that was ever begun: none is begun twice */
    uint32_t *begun;     /* Of the write that was begun last, if it has not failed */
    uint32_t *done;      /* The highest version that is known to be visible */
    uint32_t *settled;   /* The version before the first one in the journal */
    /* Shared. */
    struct tac_stress_journal *journals; /* By writer */
    struct tac_stress_bounds  *bounds;
    size_t                     shared_bytes;
};

/* One op: items of one writer, each once, and the versions that they are to have. */
struct tac_stress_write {
    uint32_t count;
    uint32_t items[TAC_STRESS_WRITE_ITEMS_MAX];
    uint32_t versions[TAC_STRESS_WRITE_ITEMS_MAX];
};

/* The world must outlive it. False: out of memory. */
bool tac_stress_ledger_init(struct tac_stress_ledger *ledger, const struct tac_stress_world *world,
                            uint32_t writers) TAC_MUST_CHECK;
void tac_stress_ledger_destroy(struct tac_stress_ledger *ledger);

/* ---- writing: the writer of the items ------------------------------------------------------- */

/* Of the writer's own item, with no write of it under way. */
uint32_t tac_stress_version_now(const struct tac_stress_ledger *ledger, uint32_t item);
/* One that was never begun; the next one that is a delete, if one is wanted. */
uint32_t tac_stress_version_next(const struct tac_stress_ledger *ledger, uint32_t item,
                                 bool wants_delete);

/* Before the call that writes; its op comes after last_op. There must be room in the journal. */
void tac_stress_write_begin(struct tac_stress_ledger *ledger, uint32_t writer,
                            const struct tac_stress_write *write, uint64_t last_op);
/* It has returned; its op was `op` or, if that is not exact, one before it. */
void tac_stress_write_end(struct tac_stress_ledger *ledger, uint32_t writer,
                          const struct tac_stress_write *write, uint64_t op, bool is_exact);
/* It has failed. False: somebody has seen it all the same. */
bool tac_stress_write_cancel(struct tac_stress_ledger *ledger, uint32_t writer,
                             const struct tac_stress_write *write) TAC_MUST_CHECK;

/* Whether another write fits into the journal, once what is durable has left it. */
bool tac_stress_journal_has_room(struct tac_stress_ledger *ledger, uint32_t writer,
                                 uint64_t durable_op);

/* ---- reading: any thread -------------------------------------------------------------------- */

/* The version that a read which begins now must find, or a later one. */
uint32_t tac_stress_least(const struct tac_stress_ledger *ledger, uint32_t item);
/* The latest that a read which has ended may have found. */
uint32_t tac_stress_most(const struct tac_stress_ledger *ledger, uint32_t item);
/* Was this to be found, by a read with these bounds? If so, nobody finds anything older later. */
bool tac_stress_seen(struct tac_stress_ledger *ledger, uint32_t place, uint32_t found,
                     uint32_t least, uint32_t most) TAC_MUST_CHECK;

/* ---- stopping and starting ------------------------------------------------------------------ */

/* A store that is opened again must have all ops up to this one. */
void     tac_stress_safe_op_raise(struct tac_stress_ledger *ledger, uint64_t op);
uint64_t tac_stress_safe_op(const struct tac_stress_ledger *ledger);
/* Whether from now on each write that has returned is safe. */
void tac_stress_returned_is_safe(struct tac_stress_ledger *ledger, bool is_safe);

/* The store was opened again, at an op from op_least to op_most, and holds what was found, by
 * place. True: that is what it must hold, and from here on it is what was written. Only while
 * nobody writes or reads. ret_message has TAC_STRESS_MESSAGE_BYTES. */
bool tac_stress_settle(struct tac_stress_ledger *ledger, uint64_t op_least, uint64_t op_most,
                       const uint32_t *found, char *ret_message) TAC_MUST_CHECK;

#endif
