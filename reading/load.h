/* SPDX-License-Identifier: Apache-2.0 */
/* load -- a block or a page on its way from the storage into the cache, for a reader that has several
 * of them under way at once. Private to reading/.
 *
 * A load goes round: a get finds that it lacks something (wanted), its read is begun (under way),
 * what was read is checked and put into the cache (there), the get is made again and takes it, or
 * finds it in the cache (none). What cannot be read or is not what it should be is given up: it is
 * for a plain get to read it again and to say what is wrong.
 *
 * Queues  Made with the read side. A call takes one for itself, as long as it lasts; if all are taken
 *         it does without. */
#ifndef TACTUS_READING_LOAD_H
#define TACTUS_READING_LOAD_H

#include "reading/block_read.h"

#define TAC_LOAD_QUEUES 4
#define TAC_LOADS_MAX 32 /* Under way in one queue */

enum tac_load_state {
    TAC_LOAD_NONE,
    TAC_LOAD_WANTED,
    TAC_LOAD_UNDER_WAY,
    TAC_LOAD_THERE
};

struct tac_load {
    enum tac_load_state state;
    /* What it is of; not when there is none. */
    struct tac_cache_key       key;
    bool                       is_page;
    enum tac_block_kind        kind; /* Of a block */
    struct tac_block_reference block; /* Of a page the address alone */
    struct tac_page_entry      entry; /* Of a page, with its tree's layout */
    struct tac_layout          layout;
    /* Under way: claimed or private, and not filled. There: pinned. */
    struct tac_cache_frame *frame;
    uint8_t                *bounce; /* What is read into when the frame has not enough room; or NULL */
    uint64_t                skip;   /* From where it is read to, to the page */
    const uint8_t          *data;   /* There: in the frame */
    struct tac_io           io;
};

/* One call at a time uses a queue. */
struct tac_load_queue {
    uint32_t             is_taken; /* Atomic */
    int                  wake_fd;
    struct tac_io_queue *io;
    struct tac_load      loads[TAC_LOADS_MAX]; /* For the call; none of them when it is over */
};

TAC_MUST_CHECK int tac_load_queues_new(struct tac_storage     *storage,
                                       struct tac_load_queue **ret_queues, struct tac_error *error);
/* The first `count` of them. */
void tac_load_queues_free(struct tac_load_queue *queues, uint32_t count);

/* NULL: all are taken. */
struct tac_load_queue *tac_load_queue_take(struct tac_read_side *side);
void                   tac_load_queue_give_back(struct tac_load_queue *queue);

/* From whatever it was, but not while it is under way. */
void tac_load_want_block(struct tac_load *load, enum tac_block_kind kind,
                         const struct tac_block_reference *reference);
void tac_load_want_page(struct tac_load *load, uint64_t address, const struct tac_page_entry *entry,
                        uint32_t tree, const struct tac_layout *layout);
/* Begins to read what is wanted. False: there is no memory, or no such place; then there is none. */
TAC_MUST_CHECK bool tac_load_begin(struct tac_read_side *side, struct tac_load_queue *queue,
                                   struct tac_load *load);
/* Waits until at least one read is done: these, linked by next; owner is the load. */
struct tac_io *tac_load_wait(struct tac_load_queue *queue);
/* What was read is there, or there is none. */
void tac_load_end(struct tac_read_side *side, struct tac_load *load);
/* The frame of the key, if it is there: the pin is then the caller's, and there is no load. */
bool tac_load_take(struct tac_load *load, const struct tac_cache_key *key,
                   struct tac_cache_frame **ret_frame, const uint8_t **ret_data);
/* What is there, or wanted, is no longer. */
void tac_load_drop(struct tac_load *load);

/* As tac_read_side_get, but reads nothing: false when it would have to; then the load is wanted. */
TAC_MUST_CHECK bool tac_read_side_get_try(struct tac_read_side *side, uint32_t tree,
                                          struct tac_bytes key, struct tac_value_sink *sink,
                                          struct tac_load *load, int *ret_code,
                                          struct tac_error *error);

#endif
