/* SPDX-License-Identifier: Apache-2.0 */
/* reading_world -- a store built by hand for tests of the read path: tables on a memory disk, a
 * manifest, memtables, a view; and a model of what a reader must find.
 *
 * Keys are numbers; a number's key orders like the number. A value is a function of key and
 * version, so that a reader can tell from the bytes alone what it has read. Sources are added from
 * the oldest to the newest: the model takes each as the last word. */
#ifndef TACTUS_TESTS_LIB_READING_WORLD_H
#define TACTUS_TESTS_LIB_READING_WORLD_H

#include "base/prng.h"
#include "lsm/table_builder.h"
#include "reading/read_side.h"

#define WORLD_TABLES_MAX 4096
#define WORLD_MEMTABLES 4
#define WORLD_VIEWS 4
#define WORLD_VALUE_MAX 20000

/* A storage in front of the memory disk that counts reads and can spoil them. In its queues a read is
 * done at submit, and reap gives the last one first, one at a time. */
struct world_storage {
    struct tac_storage  base;
    struct tac_storage *inner;
    uint64_t            reads;
    uint32_t            in_flight_max; /* Of the queues; atomic */
    uint64_t            flip_every;    /* One read in so many gets a wrong byte; 0: none */
    uint64_t            fail_every;    /* One read in so many fails; 0: none */
    bool                fails_again;   /* … and so does the second attempt */
    uint64_t            wait_every; /* One read in so many waits for three bars to pass; 0: none */
    uint32_t            waits;      /* Atomic: how many have begun to */
    uint32_t            is_over;    /* Atomic: no bars will pass any more */
    const uint64_t     *bar_now;    /* Atomic: what to wait for */
    void (*before_read)(void *context, uint64_t offset); /* Once, then forgotten; or NULL */
    void *context;
};

struct world {
    struct tac_prng           prng;
    struct tac_geometry       geometry;
    struct tac_layout         layout;
    uint32_t                  filter_bits;
    uint32_t                  value_large; /* VARIABLE: one value in 16 has up to so many bytes */
    uint64_t                  table_bytes;
    struct tac_memory_disk   *disk;
    struct world_storage      storage;
    struct tac_read_side     *side;
    struct tac_manifest      *manifest;
    struct tac_table_builder *builder;
    struct tac_memtable      *memtables[WORLD_MEMTABLES];
    uint32_t                  memtable; /* Index of the mutable one */
    bool                      has_immutable;
    struct tac_view           views[WORLD_VIEWS];
    struct tac_version       *versions[WORLD_VIEWS];
    uint64_t                  bar, op, version, stamp, table_id, address_end;
    /* Of the table that is being built. */
    uint32_t         level;
    uint32_t         trim; /* Keys below it are built but do not count; 0: none */
    struct tac_bytes trim_key;
    /* The model: version of each key; 0: there is none. */
    uint32_t  key_count;
    uint32_t *model;
};

struct world_options {
    uint64_t          seed;
    struct tac_layout layout;
    uint32_t          block_size, page_size, filter_bits, value_large, key_count;
    uint32_t          alignment; /* Of the storage; 0: the disk's own */
    uint64_t          table_bytes, page_cache_bytes, index_cache_bytes;
};

struct world *world_new(const struct world_options *options);
/* One of WORLD_CONFIGURATIONS: layouts, filters in and out of index blocks, caches of any size. */
#define WORLD_CONFIGURATIONS 5
struct world *world_configured(uint32_t configuration, uint64_t seed);
void          world_free(struct world *world);
/* A read side of the same store with other caches; the view is published again. */
void world_caches(struct world *world, uint64_t page_cache_bytes, uint64_t index_cache_bytes);

/* buffer: TACTUS_KEY_SIZE_MAX. between: a key that is no number's, right above this number's. */
struct tac_bytes world_key(const struct world *world, uint32_t number, bool between,
                           uint8_t *buffer);
/* buffer: WORLD_VALUE_MAX. The first four bytes, if there are so many, are the version. */
struct tac_bytes world_value(const struct world *world, uint32_t number, uint32_t version,
                             uint8_t *buffer);

/* Tables of one stamp with a random share of the keys [begin, end). trim > 0: keys below it were
 * taken out by a slice, and blocks that hold nothing else are overwritten. */
void world_add_tables(struct world *world, uint32_t level, uint32_t begin, uint32_t end,
                      uint32_t percent, uint32_t percent_tombstones, uint32_t trim);
/* Tables with exactly what the model has. */
void world_add_model(struct world *world, uint32_t level);
void world_remove_tables(struct world *world);
/* One op with one record, in the mutable memtable. */
void world_put(struct world *world, uint32_t number, bool is_tombstone);
void world_put_random(struct world *world, uint32_t count, uint32_t percent_tombstones);
/* The mutable memtable becomes the immutable one. Takes effect with the next publish. */
void world_swap(struct world *world);
/* A new view of what there is now; a bar later. */
void world_publish(struct world *world);
/* Levels 0 to 2 with overlapping runs, two memtables, published. */
void world_fill(struct world *world);

/* XORs a byte of the disk. */
void world_flip(struct world *world, uint64_t offset);

#endif
