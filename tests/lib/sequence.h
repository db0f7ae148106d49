/* SPDX-License-Identifier: Apache-2.0 */
/* sequence -- a history that describes itself: what a store does as its op n follows from n alone.
 *
 * So whoever opens the file, in another process or after a kill, knows from tactus_last_op what it
 * must hold, and can go on from there. Ops 1 and 2 create two trees, "variable" and "fixed"; later
 * ones are puts, deletes, batches over both trees, and now and then a checkpoint or a drain. */
#ifndef TACTUS_TESTS_LIB_SEQUENCE_H
#define TACTUS_TESTS_LIB_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "tactus.h"

#define SEQUENCE_TREES 2
#define SEQUENCE_KEYS 3000 /* Per tree: each is written over and deleted again and again */

/* What a test divides its counts of ops by: all else is too slow under TSan. */
#ifdef __SANITIZE_THREAD__
#define SEQUENCE_SLOWNESS 8
#else
#define SEQUENCE_SLOWNESS 1
#endif

/* Small memtables and blocks: a bar is some 1,500 records, and all is in a file of 64 MiB. */
void sequence_options(struct tactus_options *options, enum tactus_backend backend,
                      uint32_t threads);

/* Does op number tactus_last_op() + 1. Returns the engine's code. */
int sequence_step(struct tactus *store);
/* Steps until last_op is at least op, or an error. */
int sequence_run(struct tactus *store, uint64_t op);
/* A close is an op, too: steps until the next op of the sequence is one that writes no record, and
 * closes the store in its place. The store is gone whatever the result. */
int sequence_close(struct tactus *store);

/* What a store holds after op `op`: for each key the tag of its value, 0 where there is none. */
struct sequence_model {
    uint64_t op;
    uint64_t tags[SEQUENCE_TREES][SEQUENCE_KEYS];
};

/* Forwards only; a zeroed model is that of a new store. */
void sequence_model_advance(struct sequence_model *model, uint64_t op);
/* Reads everything by iterators, and some by key. False: the store holds something else; the first
 * difference is printed. */
bool sequence_model_is_held(const struct sequence_model *model, struct tactus *store);
/* The same for a model that is made for the purpose, as of the store's last op. */
bool sequence_is_held(struct tactus *store);
/* Verifies the store; damage is printed. */
bool sequence_is_sound(struct tactus *store);

/* A whole life: a new store takes ops, is closed, opened again, and everything is checked. What it
 * holds in the end depends on ops alone. The file is gone afterwards. Returns the engine's code, or
 * TACTUS_ECORRUPT. */
int sequence_live(const char *path, const struct tactus_options *options, uint64_t op,
                  uint8_t ret_digest[16]);

#endif
