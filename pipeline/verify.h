/* SPDX-License-Identifier: Apache-2.0 */
/* verify -- walks everything that the last durable superblock reaches, past all caches: for
 * tactus_verify and tactus_digest. The caller holds commit_lock and no checkpoint is under way, so
 * nothing of it can be overwritten meanwhile. */
#ifndef TACTUS_PIPELINE_VERIFY_H
#define TACTUS_PIPELINE_VERIFY_H

#include "pipeline/store.h"

struct tac_walk {
    /* The caller's */
    struct tactus *store;
    void (*damage_fn)(void *context, const char *text); /* NULL: the first damage ends the walk */
    void                        *damage_context;
    bool                         checks_records; /* Order, filters, sums; else checksums only */
    struct tactus_verify_report *report;
    /* Result */
    struct tac_u128 digest; /* Over all blocks, in the order of the walk */
    /* The walk's */
    struct tac_superblock    superblock;
    struct tac_manifest     *manifest;
    struct tac_manifest_log *log;
    struct tac_free_set     *free_set;
    uint64_t                *reached;  /* Bit per block */
    uint64_t                 reached_size;
    uint64_t                 unseen; /* Blocks of tables whose index block is damaged */
    uint8_t                 *index_data, *block_data, *filter_data;
    struct tac_error         first;    /* First damage */
};

/* TACTUS_ECORRUPT: there was damage. Other codes: the walk could not be made. */
TAC_MUST_CHECK int tac_walk_all(struct tac_walk *walk, struct tac_error *error);

#endif
