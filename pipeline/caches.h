/* SPDX-License-Identifier: Apache-2.0 */
/* caches -- how much memory the readers' two caches have, at the open and later. */
#ifndef TACTUS_PIPELINE_CACHES_H
#define TACTUS_PIPELINE_CACHES_H

#include <pthread.h>

#include "base/error.h"

struct tactus;

struct tac_caches {
    uint64_t        page_max_bytes, index_max_bytes; /* Of address space; fixed at open */
    pthread_mutex_t lock; /* Of who changes them; taken before a pool's locks, after none */
    uint64_t        page_bytes, index_bytes;
    uint64_t        shrinks; /* RMW: times that the index cache was made smaller so far */
    /* Coordinator */
    uint64_t shrinks_seen;
    uint32_t walks_left; /* Bars' ends at which index blocks are looked for that are kept in vain */
};

/* The read side, with caches of the sizes that the options say by then. */
TAC_MUST_CHECK int tac_caches_create(struct tactus *store, struct tac_error *error);

/* Coordinator: tables have become retained ones in this bar. */
void tac_caches_retained(struct tactus *store);
/* Coordinator, when a bar has ended, readers of views from before it have left, and the new one is
 * published. What descriptors keep of the index cache in vain is let go: frames that the cache does
 * not have any more, since it was made smaller, and those of retained tables. Each such frame has
 * gone at the fifth bar's end at the latest. */
void tac_caches_bar_end(struct tactus *store);

#endif
