/* SPDX-License-Identifier: Apache-2.0 */
/* salvage -- what can still be read of a store, without opening it and without writing to it.
 *
 * Needed are a superblock copy and the manifest log. Every table is then read page by page; each
 * page has a checksum of its own. A page that cannot be read, or a table whose index block cannot,
 * is a loss: a range of keys, of an age. A record in the range of a newer loss is doubtful: a newer
 * version, or a tombstone, may be among what was lost. What deleted ranges have deleted is neither
 * read nor lost. Named snapshots are listed, but what only they have is not read. */
#ifndef TACTUS_PIPELINE_SALVAGE_H
#define TACTUS_PIPELINE_SALVAGE_H

#include "pipeline/store.h"

/* What cannot be read. */
struct tac_salvage_loss {
    uint32_t         tree, level;
    uint64_t         table, stamp;
    uint64_t         address;    /* Of the block */
    uint32_t         unit_first; /* Of the page; 0: the index block, and so the whole table */
    uint64_t         records;    /* Lost there, at most */
    struct tac_bytes from, to;   /* Keys that may be lost */
    bool             is_to_excluded;
    char             reason[TACTUS_MESSAGE_BYTES];
};

struct tac_salvage {
    /* Result of begin */
    struct tac_superblock         superblock;
    struct tac_error              doubt; /* Not TACTUS_OK: it may not be the newest one */
    struct tac_manifest          *manifest;
    struct tac_snapshot_directory snapshots;
    struct tac_error              snapshots_error; /* Not TACTUS_OK: there are some, not listed */
    /* Result of the survey */
    struct tac_salvage_loss *losses;
    uint64_t                 loss_count;
    uint64_t                 tables, records; /* Read */
    /* Its own */
    struct tac_storage         *storage;
    struct tac_geometry         geometry;
    struct tac_manifest_log    *log;
    uint64_t                    loss_capacity;
    uint8_t                    *index_data, *page_data;
    const struct tac_table    **tables_sorted;
    uint64_t                    losses_met; /* In this pass */
    struct tac_salvage_visitor *visitor;    /* NULL: the survey */
};

/* A record that can be read. is_touched: its key is in the range of some loss of its tree;
 * is_doubtful: of a newer one. */
struct tac_salvage_record {
    uint32_t          tree, level;
    uint64_t          table;
    struct tac_record record;
    bool              is_touched, is_doubtful;
};

struct tac_salvage_visitor {
    /* Not TACTUS_OK ends the visit with this code. */
    int (*visit)(void *context, const struct tac_salvage_record *record, struct tac_error *error);
    void *context;
};

/* The storage stays the caller's. TACTUS_ECORRUPT: the manifest cannot be read, and which blocks
 * hold what is not known. After any result tac_salvage_end is to be called. */
TAC_MUST_CHECK int tac_salvage_begin(struct tac_salvage *salvage, struct tac_storage *storage,
                                     struct tac_error *error);
void               tac_salvage_end(struct tac_salvage *salvage);

/* Reads everything and lists the losses. */
TAC_MUST_CHECK int tac_salvage_survey(struct tac_salvage *salvage, struct tac_error *error);
/* Afterwards: every record that can be read; of each tree the older versions of a key first. */
TAC_MUST_CHECK int tac_salvage_visit(struct tac_salvage         *salvage,
                                     struct tac_salvage_visitor *visitor, struct tac_error *error);

#endif
