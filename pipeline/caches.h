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
};

/* The read side, with caches of the sizes that the options say by then. */
TAC_MUST_CHECK int tac_caches_create(struct tactus *store, struct tac_error *error);

#endif
