/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_event -- one change of the manifest as bytes: what manifest-log blocks are made of and
 * what the manifest's checksum is taken over. Byte tables: docs/FORMAT.md, "Manifest log". */
#ifndef TACTUS_LSM_MANIFEST_EVENT_H
#define TACTUS_LSM_MANIFEST_EVENT_H

#include "lsm/manifest.h"

enum tac_manifest_event_kind { /* On disk: do not change. */
    TAC_MANIFEST_EVENT_TREE = 1,
    TAC_MANIFEST_EVENT_TABLE = 2,
    TAC_MANIFEST_EVENT_REMOVE = 3,
    TAC_MANIFEST_EVENT_RANGE = 4,
};

#define TAC_MANIFEST_EVENT_TREE_BYTES 120
#define TAC_MANIFEST_EVENT_TREE_OPS_BYTES 136 /* Of a tree whose create or drop a crash may undo */
#define TAC_MANIFEST_EVENT_TABLE_BYTES 128 /* And both keys, rounded up to 8 */
#define TAC_MANIFEST_EVENT_REMOVE_BYTES 16
#define TAC_MANIFEST_EVENT_RANGE_BYTES 24  /* And both bounds, rounded up to 8 */
#define TAC_MANIFEST_EVENT_BYTES_MAX (TAC_MANIFEST_EVENT_TABLE_BYTES + 2 * TACTUS_KEY_SIZE_MAX)

/* Bytes of a table's event; a multiple of 8, like all events' sizes. */
uint32_t tac_manifest_event_table_bytes(const struct tac_table *table);
uint32_t tac_manifest_event_tree_bytes(const struct tac_manifest_tree *tree);

/* Instead of the number of the tree's last level, which changes. On disk: do not change. */
#define TAC_MANIFEST_LEVEL_LAST 0xff

/* Each writes one event, padding included, and returns its bytes. is_last: of the last level. */
uint32_t tac_manifest_event_encode_tree(uint8_t *event, const struct tac_manifest_tree *tree);
uint32_t tac_manifest_event_encode_table(uint8_t *event, const struct tac_table *table,
                                         bool is_last);
uint32_t tac_manifest_event_encode_remove(uint8_t *event, const struct tac_table *table);

/* Of a deleted range of a tree; without bounds: it is over. */
uint32_t tac_manifest_event_range_bytes(const struct tac_range *range);
uint32_t tac_manifest_event_encode_range(uint8_t *event, const struct tac_manifest_tree *tree,
                                         const struct tac_range *range);

/* 1 to TACTUS_TREE_NAME_MAX legal characters, then zeros. */
bool tac_manifest_name_is_valid(const uint8_t name[TACTUS_TREE_NAME_MAX + 1]);

/* A decoded event. Keys point into the block. */
struct tac_manifest_event {
    enum tac_manifest_event_kind kind;
    uint32_t                     size_bytes;
    uint32_t                     tree;
    uint64_t                     id; /* TABLE, REMOVE */
    /* TREE: what tac_manifest_tree_restore takes */
    struct tac_manifest_tree tree_state;
    /* TABLE: everything but what is in memory only */
    struct tac_table table;
    /* RANGE: of size 0: it is over */
    struct tac_range range;
    uint32_t         range_generation; /* Of its tree */
};

/* Decodes the event at `event`, of which size_bytes are left in the block. Everything that can be
 * told from the event and the block size alone is checked; TACTUS_ECORRUPT says what is wrong. */
TAC_MUST_CHECK int tac_manifest_event_decode(const uint8_t *event, uint32_t size_bytes,
                                             uint32_t                   block_size,
                                             struct tac_manifest_event *ret_event,
                                             struct tac_error          *error);

#endif
