/* SPDX-License-Identifier: Apache-2.0 */
/* block_read -- blocks and pages of tables for readers: from the cache, or from the storage and
 * checked. Private to reading/.
 *
 * Every function reads a second time what cannot be read or does not match its checksum
 * (TAC_READ_ATTEMPTS). TACTUS_ECORRUPT then means damage, or that the reader's view is so old that
 * the block has been overwritten: the caller knows its view (tac_read_side_is_stale). */
#ifndef TACTUS_READING_BLOCK_READ_H
#define TACTUS_READING_BLOCK_READ_H

#include "lsm/index_block.h"
#include "reading/read_side.h"

/* Of one call into the read side; added to the side's counters when it ends. */
struct tac_read_counts {
    uint32_t hits, misses;
    uint32_t memtable_hits; /* Gets that a memtable has answered */
};

/* A table as readers remember it outside the guard. */
struct tac_table_place {
    struct tac_block_reference index;
    uint64_t                   id;
    uint64_t                   stamp;
    uint32_t                   tree;
    uint32_t                   level;
};

static inline struct tac_table_place tac_table_place_of(const struct tac_table *table)
{
    return (struct tac_table_place){
        .index = table->index,
        .id = table->id,
        .stamp = table->stamp,
        .tree = table->tree,
        .level = __atomic_load_n(&table->level, __ATOMIC_RELAXED), /* The last level may sink */
    };
}

/* A page of a table, and where a record with the key would be found in it: a guess, of an index
 * block. Both are checked by whoever reads the page. */
struct tac_page_place {
    uint64_t              address; /* Of the value block */
    struct tac_page_entry entry;
    uint32_t              page;   /* Its number in the table */
    uint32_t              record; /* The guess */
};
struct tac_page_place tac_page_place_of(const struct tac_index_block *index, struct tac_bytes key);
/* Of a page by its number, without a guess. */
struct tac_page_place tac_page_place_at(const struct tac_index_block *index, uint32_t page);
/* The two steps of tac_cache_prefetch_set and tac_cache_prefetch_frame for a page. */
void tac_page_prefetch_set(struct tac_read_side *side, const struct tac_page_place *place,
                           uint32_t tree);
void tac_page_prefetch_frame(struct tac_read_side *side, const struct tac_page_place *place,
                             uint32_t tree);
/* What finding the table's index block and its filter looks at comes into the processor's caches,
 * and (`for_page`) what tells where its pages are. Inside the guard. */
void tac_table_index_prefetch(const struct tac_read_side *side, const struct tac_table *table,
                              bool for_page);
/* The table's index block if it is in the cache, or NULL. Inside the guard, in which a view of
 * view_bar has the descriptor.
 *
 * Pinned, but where *ret_is_kept is set: then the frame stays as it is while the descriptor does,
 * that is up to the end of the guarded section. The first call that finds the block keeps it for
 * the descriptor: tac_table_index_let_go is called before that goes, and tac_table_index_retire
 * when the cache became smaller. Not so with a snapshot's own descriptors (TAC_VIEW_BAR_NEVER),
 * which go in another way: their frames are pinned. */
struct tac_cache_frame *tac_table_index_look(struct tac_read_side *side, struct tac_table *table,
                                             uint64_t view_bar, struct tac_read_counts *counts,
                                             bool *ret_is_kept);
/* Coordinator, at a bar's end: what the last call took from the descriptor is let go, as all who were
 * in a guarded section then have left it since. Then the frame is taken from the descriptor if it
 * stays for nothing: its cache has become smaller, or gets do not meet the table any more. */
void tac_table_index_retire(struct tac_read_side *side, struct tac_table *table);
/* Coordinator, when no reader sees the descriptor any more. */
void tac_table_index_let_go(struct tac_read_side *side, struct tac_table *table);
/* An index or filter block that is in the cache, pinned; or NULL. */
struct tac_cache_frame *tac_block_find(struct tac_read_side *side, enum tac_block_kind kind,
                                       const struct tac_block_reference *reference,
                                       struct tac_read_counts           *counts);
/* A whole index or filter block. The frame's data is the block; of an index block, its extra is the
 * struct tac_index_block. Pinned: unpin it soon. */
TAC_MUST_CHECK int tac_block_read(struct tac_read_side *side, enum tac_block_kind kind,
                                  const struct tac_block_reference *reference,
                                  struct tac_read_counts           *counts,
                                  struct tac_cache_frame **ret_frame, struct tac_error *error);

/* A frame for a block that is not in the cache, to be filled: of the cache, or a private one. NULL: no
 * memory. */
struct tac_cache_frame *tac_block_frame(struct tac_read_side *side, const struct tac_cache_key *key);
/* What a block has in the index cache. */
struct tac_cache_key tac_block_key(enum tac_block_kind               kind,
                                   const struct tac_block_reference *reference);
/* Whether what was read into the frame is the block; decodes an index block. */
TAC_MUST_CHECK int tac_block_check(const struct tac_read_side *side, enum tac_block_kind kind,
                                   const struct tac_block_reference *reference,
                                   struct tac_cache_frame *frame, struct tac_error *error);

/* Puts an index or filter block that has just been made into the cache, as if it had been read. */
void tac_block_offer(struct tac_read_side *side, enum tac_block_kind kind,
                     const struct tac_block_reference *reference, const uint8_t *data);

/* What a page of one unit has in the page cache. All that its check depends on is part of it: a
 * hostile file may refer to one page in two ways. */
struct tac_cache_key tac_page_key(uint64_t address, const struct tac_page_entry *entry,
                                  uint32_t tree);
/* A page of a value block: from the page cache if it has one unit. The page lies in the frame. */
TAC_MUST_CHECK int tac_page_read(struct tac_read_side *side, uint64_t address,
                                 const struct tac_page_entry *entry, uint32_t tree,
                                 const struct tac_layout *layout, struct tac_read_counts *counts,
                                 struct tac_cache_frame **ret_frame, struct tac_page *ret_page,
                                 struct tac_error *error);

/* The page if it is in the cache, which it can be only if it has one unit; the frame is pinned. Or
 * NULL. */
struct tac_cache_frame *tac_page_find(struct tac_read_side *side, uint64_t address,
                                      const struct tac_page_entry *entry, uint32_t tree,
                                      struct tac_read_counts *counts);
/* Puts a page that was read past the cache, and checked, into it if it has one unit and there is
 * room: where nothing has to leave, or (`replaces`) as if it had been read by way of the cache. */
void tac_page_offer(struct tac_read_side *side, uint64_t address,
                    const struct tac_page_entry *entry, uint32_t tree, const uint8_t *data,
                    bool replaces);

/* Where units of a value block lie in the storage, up to its alignment. */
struct tac_units_range {
    uint64_t begin, end;
    uint64_t skip; /* From `begin` to the first unit */
};
TAC_MUST_CHECK int tac_units_range(const struct tac_read_side *side, uint64_t address,
                                   uint32_t unit_first, uint32_t unit_count,
                                   struct tac_units_range *ret_range, struct tac_error *error);
/* Reads units of a value block into memory, not by way of the cache and not checked. The buffer is
 * aligned like the storage and has room for tac_units_buffer_bytes; *ret_data is where the first
 * unit lies in it. */
TAC_MUST_CHECK int tac_units_read(struct tac_read_side *side, uint64_t address, uint32_t unit_first,
                                  uint32_t unit_count, uint8_t *buffer, const uint8_t **ret_data,
                                  struct tac_error *error);
uint64_t           tac_units_buffer_bytes(const struct tac_read_side *side, uint32_t unit_count);

/* The page that an entry describes, at data; and whether it is what the entry promises. */
struct tac_page    tac_page_of_entry(const struct tac_read_side  *side,
                                     const struct tac_page_entry *entry,
                                     const struct tac_layout *layout, const uint8_t *data);
TAC_MUST_CHECK int tac_page_verify(const struct tac_read_side *side, uint64_t address,
                                   const struct tac_page_entry *entry, const struct tac_page *page,
                                   struct tac_error *error);

/* What was read by somebody who entered with a view of this bar may have been overwritten. */
bool tac_read_side_is_stale(const struct tac_read_side *side, uint64_t view_bar);

/* Loads view and op so that the op lies within the view's time. Inside the guard. */
struct tac_view *tac_read_side_view(struct tac_read_side *side, uint64_t *ret_op);

void tac_read_side_count(struct tac_read_side *side, const struct tac_read_counts *counts);

/* Puts tree, level and table in front of a text; returns the error's code. */
int tac_read_side_name_place(struct tac_read_side *side, const struct tac_table_place *place,
                             int code, struct tac_error *error);

#endif
