/* SPDX-License-Identifier: Apache-2.0 */
/* iterator_source -- one sorted input of an iterator: a memtable, or a run of tables of one level.
 * Private to reading/.
 *
 * A source stands on a record, its head; or, to save reading a table that may not be needed, only
 * at a bound: it has no record before the bound, and what comes next is read when the bound is
 * reached. Or it has ended. "Before" and "next" are meant in the direction of the walk.
 *
 * Heads lie in memory of the source, or in a page of the cache that it has pinned, never in a
 * memtable: they stay as they are until the source is moved, whatever becomes of the view.
 *
 * Guard    view, version, table descriptors and memtables are looked into only inside the guard and
 *          before the view has expired; no section lasts over a read of the storage.
 * Thread   one at a time, as the iterator. */
#ifndef TACTUS_READING_ITERATOR_SOURCE_H
#define TACTUS_READING_ITERATOR_SOURCE_H

#include "reading/block_read.h"

/* Pages of one read. A value block has at most 127 pages of data. */
#define TAC_CHUNK_PAGES_MAX 32

/* What the sources of an iterator have in common. */
struct tac_source_shared {
    struct tac_read_side  *side;
    const struct tac_view *view; /* Only inside the guard, before it has expired */
    uint64_t               view_bar;
    uint64_t               visible_op;
    uint32_t               tree;
    struct tac_layout      layout;
    bool                   is_backward;  /* The direction of the walk; changes at a seek only */
    uint32_t               record_bytes; /* Most that a record can have */
    uint32_t               chunk_units;  /* Most of one read */
    struct tac_read_counts counts;
};

enum tac_source_state {
    TAC_SOURCE_END,
    TAC_SOURCE_BOUND,  /* head.key is the bound; it has no value */
    TAC_SOURCE_RECORD, /* head is a record */
};

/* A page of the chunk. */
struct tac_chunk_page {
    uint32_t offset; /* From the chunk's first byte */
    uint16_t unit_count, record_count, flags;
};

struct tac_source {
    enum tac_source_state state;
    struct tac_record     head;
    /* Of two equal keys the one of the lower rank is newer; within a rank, that of the higher
     * stamp: 0 and 1 are the memtables, then come the levels. */
    uint32_t rank;
    uint64_t stamp;
    uint64_t op; /* Of a memtable's head; of a run, that of its table */
    /* Fixed. */
    struct tac_memtable_reader *reader; /* Of a memtable; NULL: a run */
    uint32_t                    run;    /* In its level, which is rank - 2 */
    uint8_t                    *near;   /* Of a memtable: its record. Of a run: two keys */
    uint8_t                    *far;    /* Of a run: memory for chunks; NULL: not needed yet */
    uint8_t                    *key_min, *key_max; /* Of the current table; in near */
    /* The current table of the run. */
    uint32_t               table, table_count;
    struct tac_table_place place;
    uint32_t               key_min_size, key_max_size;
    bool                   is_trimmed;            /* Records below key_min do not count */
    uint32_t               page_lowest, page_end; /* Pages with records that count */
    /* The chunk: a page of the cache, or pages in far, in order. */
    uint32_t                page_first, page_count;
    uint32_t                units_next; /* Of the next read: grows with every one in sequence */
    uint32_t                pages_walked; /* Since the seek; of the cache, or read */
    struct tac_cache_frame *frame;      /* Pinned, with the page; NULL: they are in far */
    const uint8_t          *chunk;
    /* While a seek is under way. */
    bool                    is_seeking;  /* It has to look at a page, */
    bool                    is_sought;   /* and it is known at which one */
    struct tac_page_place   sought;      /* That may hold the key */
    struct tac_cache_frame *index_frame; /* Inside the guard: of the table; NULL: none in memory */
    bool                    index_is_kept; /* Not pinned */
    /* The head in the chunk. */
    uint32_t        page; /* In the table */
    uint32_t        record;
    struct tac_page current;
    uint32_t        stride; /* From a record of the page to the next; 0: they must be looked up */
    /* The page that the walk comes to after this one; note next-page. */
    uint32_t              record_stop; /* A walk does not pass it without tac_source_pass_stop */
    uint32_t              next_steps;  /* Taken on this page */
    bool                  has_next;
    struct tac_page_place next;
    /* Of the chunk; the first page_count. */
    struct tac_chunk_page pages[TAC_CHUNK_PAGES_MAX];
};

/* Bytes in front of a walk that are asked for: a page is too short for the processor to notice that
 * it is read in order. */
#define TAC_WALK_AHEAD_BYTES 512

/* A source's memory, aligned to 8 bytes. What the chunks of long walks need comes when the first is
 * read. */
uint64_t tac_source_near_bytes(const struct tac_source_shared *shared, bool is_run);
void     tac_source_init_memtable(struct tac_source *source, const struct tac_source_shared *shared,
                                  uint32_t rank, struct tac_memtable_reader *reader, uint8_t *near);
void     tac_source_init_run(struct tac_source *source, const struct tac_source_shared *shared,
                             uint32_t level, uint32_t run, uint8_t *near);
/* Gives back what it has pinned and allocated. */
void tac_source_finish(struct tac_source *source);

/* Each source to its first record at or behind the key in the direction of the walk, or to a bound
 * before it. key.size 0: to the beginning. The key is not in a source's memory. */
TAC_MUST_CHECK int tac_sources_seek(struct tac_source *sources, uint32_t source_count,
                                    struct tac_source_shared *shared, struct tac_bytes key,
                                    struct tac_error *error);
/* From a bound to the first record behind it, to another bound, or to the end. */
TAC_MUST_CHECK int tac_source_load(struct tac_source *source, struct tac_source_shared *shared,
                                   struct tac_error *error);
/* From a record to the next one. */
TAC_MUST_CHECK int tac_source_advance(struct tac_source *source, struct tac_source_shared *shared,
                                      struct tac_error *error);
/* From a record to one behind it, none of the same table between them being at or behind the key in
 * the direction of the walk. The key is not in a source's memory, and is behind the record. */
TAC_MUST_CHECK int tac_source_skip(struct tac_source *source, struct tac_source_shared *shared,
                                   struct tac_bytes key, struct tac_error *error);
/* The walk stands at record_stop. False: it is the page's last record. */
bool tac_source_pass_stop(struct tac_source *source, struct tac_source_shared *shared);
/* The next record of the same page, if there is one: then head is all that changes. */
static inline bool tac_source_advance_in_page(struct tac_source        *source,
                                              struct tac_source_shared *shared)
{
    if (source->reader != NULL) {
        return false;
    }
    if (shared->is_backward) {
        /* Records below the edge of a trimmed table are looked for where the page is left. */
        if ((source->is_trimmed && source->page == source->page_lowest) ||
            (source->record == source->record_stop && !tac_source_pass_stop(source, shared))) {
            return false;
        }
        source->record--;
        source->head = tac_page_record(&source->current, source->record);
        return true;
    }
    if (source->record == source->record_stop && !tac_source_pass_stop(source, shared)) {
        return false;
    }
    source->record++;
    if (source->stride > 0) {
        source->head.key.data += source->stride;
        source->head.value.data += source->stride;
        __builtin_prefetch(source->head.key.data + TAC_WALK_AHEAD_BYTES);
    } else {
        source->head = tac_page_record(&source->current, source->record);
    }
    return true;
}

#endif
