/* SPDX-License-Identifier: Apache-2.0 */
/* crash_script -- scripts on a tiny store, with a look at each place where the power could go out.
 *
 * A place is a set of writes and growth that no sync covers, of the store's file and of its log;
 * what the application knows to be durable belongs to it. The look can have the disks as a cut with
 * chosen fates leaves them, and have a store opened on these: its content is the model's as of the
 * last op that was durable, or the one in flight; tactus_verify finds nothing, each acquired block
 * is accounted for, and writing goes on. Places of that recovery can be looked at in turn. */
#ifndef TACTUS_TESTS_SIM_CRASH_SCRIPT_H
#define TACTUS_TESTS_SIM_CRASH_SCRIPT_H

#include "tests/sim/fault_script.h"

struct run;

struct crash_script {
    enum tactus_log log; /* NONE or SYNC */
    uint64_t        seed;
    bool            is_random; /* Operations of the seed; else the fixed list */
};

struct crash_place {
    uint64_t    number;     /* In its run, from 1 on */
    bool        is_opening; /* No op of the run has been done: it is being opened */
    struct run *run;
};
typedef void (*crash_look_fn)(void *context, const struct crash_place *place);

struct crash_image {
    struct tac_memory_disk *memory, *log;
};

/* The checkpoints that became durable. */
uint64_t crash_script_play(const struct crash_script *script, crash_look_fn look, void *context,
                           struct fault_outcome *ret_outcome);
/* Fates are asked for the file first, then for the log. */
struct crash_image crash_image_make(const struct crash_place *place, tac_memory_fate_fn fate_of,
                                    void *context);
/* Equal for equal bytes of which the same is expected. */
struct tac_u128 crash_image_digest(const struct crash_image *image,
                                   const struct crash_place *place);
void            crash_image_free(struct crash_image *image);
/* Opens, checks and goes on; the image is used up. look NULL: nobody looks. */
void crash_image_recover(const struct crash_script *script, struct crash_image *image,
                         const struct crash_place *place, crash_look_fn look, void *context,
                         struct fault_outcome *ret_outcome);

#endif
