/* SPDX-License-Identifier: Apache-2.0 */
/* cache -- blocks or pages of one size that readers have read and checked.
 *
 * The checksum of the contents is part of the key, so a stale block can never be a hit and nothing
 * ever has to be invalidated. A frame is not touched before it is first filled. Address space is
 * fixed when the cache is made; how much of it is used can be changed at any time.
 *
 * A key has two sets of TAC_CACHE_WAYS frames that it may lie in, as in two-choice hashing: the
 * cache can be full to the brim before a set overflows, where one set each would overflow at two
 * thirds.
 *
 * Thread   any, at any time; no locks. Two threads that miss the same key may both fill a frame of
 *          their own: harmless.
 * Life     find or claim gives a pinned frame. A claimed one is the claimer's to fill, then to
 *          publish or to abandon. A pinned, published frame does not change. Unpin it soon: a frame
 *          that is pinned cannot be reused. A published frame can be *kept* too, for many to look at
 *          it without a pin each.
 */
#ifndef TACTUS_READING_CACHE_H
#define TACTUS_READING_CACHE_H

#include "base/error.h"
#include "base/units.h"

#define TAC_CACHE_WAYS 8

/* Two keys are equal when all three numbers are. */
struct tac_cache_key {
    uint64_t address;      /* Of the block */
    uint64_t checksum_low; /* Of the contents */
    uint64_t detail; /* Whatever else decides how the contents may be used: place in the block,
                              number of records, … */
};

static inline bool tac_cache_key_equal(const struct tac_cache_key *a, const struct tac_cache_key *b)
{
    return a->checksum_low == b->checksum_low && a->address == b->address && a->detail == b->detail;
}

struct tac_cache_frame {
    uint32_t             state; /* Atomic; pins and flags, see cache.c */
    uint32_t             data_size; /* Fixed */
    struct tac_cache_key key;   /* Written by the claimer, stable while pinned and published */
    uint8_t             *data;  /* frame_size bytes; fixed */
    void                *extra; /* extra_size bytes; fixed. What is decoded once per fill */
};

struct tac_cache;

/* bytes: of everything the cache allocates but its own small struct. Frames are what fits; none is
 * legal. bytes_max: what it may be changed to; address space until then. frame_size: a power of two
 * from 512 on; data is aligned to it, up to 4096. */
TAC_MUST_CHECK int tac_cache_new(uint64_t bytes, uint64_t bytes_max, uint32_t frame_size,
                                 uint32_t extra_size, struct tac_cache **ret_cache,
                                 struct tac_error *error);
/* No frame is pinned. */
void     tac_cache_free(struct tac_cache *cache);
uint64_t tac_cache_frame_count(const struct tac_cache *cache);
uint64_t tac_cache_memory_bytes(const struct tac_cache *cache);

/* Data and extra bytes of a frame have been copied to another one, byte by byte; NULL: that will do. */
typedef void tac_cache_copied_fn(struct tac_cache_frame *to, const struct tac_cache_frame *from);
/* Of other threads none changes it meanwhile; all else goes on, and finds nearly all that was in the
 * cache, if it has room for it: it is copied to where its keys lie from now on. bytes: up to
 * bytes_max. The heads of frames that it has once had stay (tac_cache_kept_bytes): it takes at
 * least these. Memory goes back to the system at once, but for that of pinned frames, which goes
 * with their last pin, and of kept ones, which goes when they are let go. */
void tac_cache_change(struct tac_cache *cache, uint64_t bytes, tac_cache_copied_fn *copied_fn);
uint64_t tac_cache_kept_bytes(const struct tac_cache *cache);

/* What a find of the key will look at comes into the processor's caches, in two steps for which
 * nothing waits: first where the keys of its sets lie, then the frame's state, and of its data
 * TAC_CACHE_AROUND_BYTES around an offset. */
#define TAC_CACHE_AROUND_BYTES 640
void tac_cache_prefetch_set(const struct tac_cache *cache, const struct tac_cache_key *key);
void tac_cache_prefetch_frame(const struct tac_cache *cache, const struct tac_cache_key *key,
                              uint32_t offset);
/* The published frame of the key, pinned; or NULL. */
struct tac_cache_frame *tac_cache_find(struct tac_cache *cache, const struct tac_cache_key *key);
/* The same for whoever keeps a word for the key, 0 at first, that tells where it was found last: an
 * atomic, any number of threads may share it. Whatever it says is checked. */
struct tac_cache_frame *tac_cache_find_hinted(struct tac_cache           *cache,
                                              const struct tac_cache_key *key, uint32_t *hint);
/* The hinted frame's state comes into the processor's caches, with the first extra_bytes of `extra`. */
void tac_cache_prefetch_hinted(const struct tac_cache *cache, const uint32_t *hint,
                               uint32_t extra_bytes);

/* The key's frame, if there is one, is the next to go unless somebody finds it again. True: there is
 * one. */
bool tac_cache_retire(struct tac_cache *cache, const struct tac_cache_key *key);
/* False: no frame has ever been claimed. */
bool tac_cache_is_used(const struct tac_cache *cache);

/* A frame to fill, pinned, which is not in the cache yet; or NULL when every frame that the key may
 * use is pinned: then use a private one. */
struct tac_cache_frame *tac_cache_claim(struct tac_cache *cache, const struct tac_cache_key *key);
/* The same, but nothing leaves the cache for it: NULL too when the key has no empty frame. */
struct tac_cache_frame *tac_cache_claim_empty(struct tac_cache           *cache,
                                              const struct tac_cache_key *key);
/* The claimed frame is filled: others may find it. It stays pinned. Private frames: nothing. */
void tac_cache_publish(struct tac_cache_frame *frame);
/* The claimed or private frame could not be filled: gives it back, unpinned. */
void tac_cache_abandon(struct tac_cache_frame *frame);
void tac_cache_unpin(struct tac_cache_frame *frame);

/* A pinned, published frame stays as it is, pins or not, until tac_cache_let_go: who may still look at
 * it then is the keeper's to know. False: it is kept already, or half of all frames are, or it is
 * gone. */
bool tac_cache_keep(struct tac_cache *cache, struct tac_cache_frame *frame);
/* Nobody looks at the kept frame any more but with a pin. */
void tac_cache_let_go(struct tac_cache *cache, struct tac_cache_frame *frame);
/* The cache has become smaller, and the frame, which is kept, is none of it any more: its memory
 * waits for tac_cache_let_go. */
bool tac_cache_is_gone(const struct tac_cache_frame *frame);
/* One more pin, for a frame that is kept. */
void tac_cache_pin_kept(struct tac_cache_frame *frame);

/* A frame of its own that no cache knows; freed by its unpin. data is aligned to 4096.
 * NULL: out of memory. */
struct tac_cache_frame *tac_cache_frame_private(uint64_t data_size, uint32_t extra_size);

#endif
