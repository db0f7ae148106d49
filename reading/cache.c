/* SPDX-License-Identifier: Apache-2.0 */
/* note: frame-state
 *
 * A frame's state is one word: the number of pins, and flags.
 *
 *     empty      0
 *     filling    FILLING + pins    the claimer's; others may pin it for a moment, see that it is
 *                                  not published, and unpin it
 *     published  PUBLISHED + pins  key and data do not change while there is a pin
 *     kept       and KEPT          the same without a pin
 *     private    PRIVATE + 1       of no cache
 *     gone       GONE [+ pins]     not to be used: the cache is smaller. Beside FILLING or PUBLISHED
 *                                  it means that the frame goes when it has no more pins
 *
 * Only a frame without pins that is not kept is claimed, by one compare-and-exchange of the whole word: of two
 * claimers one wins, and a reader that pinned the frame in between makes both fail.
 *
 * Reading: the reader's fetch-and-add (acquire) takes its pin and shows PUBLISHED in one step. The
 * publisher's add (release) came before, so key and data are there. From then on a claim fails
 * until the reader's unpin (release), which the claim (acquire) sees: so the reader has finished
 * with the data before a claimer writes a byte of it.
 *
 * A tag is only a hint where to look: it is written by the claimer and may be one of an earlier or
 * a later key of the frame. The key decides, compared after the pin.
 *
 * Keeping: the flag is set (RMW) by somebody who has a pin, so a claim fails from then on. The
 * keeper tells others of the frame by a release store; they look at it without touching the state.
 * When they have all left, which the keeper knows by its own means, and these order their looking
 * before it, the flag is taken away (RMW, release), which the claim (acquire) sees. A frame that is
 * gone by the time of that RMW is not kept: so whoever sets GONE, and tells the keepers after it,
 * can be sure that each frame that is both had its keeper before.
 *
 * note: change
 *
 * A key's sets follow from set_count, in order: with more sets each key's set has the same number as
 * before or a higher one. So a change stores the new set_count, and then copies what lies in a wrong
 * set to its right one: from the top down when there are more, from the bottom up when there are
 * fewer, so that the sets it comes to have been emptied before. Whoever still goes by the old
 * count misses, or publishes where nobody looks: a miss more, and the frame is the next to go.
 *
 * A kept frame stays where it is, whether its key is looked for there or not: its keeper knows it.
 *
 * The frames of sets that are no more get GONE, for good or until the cache grows: nobody claims
 * them then, by whatever count. With no pins, and not kept, one compare-and-exchange takes PUBLISHED away, as a
 * claim would; from then on nobody may read or fill the data, and its memory goes back. Who takes
 * away the last pin of a frame that is GONE does the same, with a pin of its own until the memory
 * has gone: a growth that comes meanwhile takes GONE away, but nobody claims the frame before that.
 *
 * note: second-chance
 *
 * A hit sets REFERENCED; a claim passes over each referenced frame once and clears it. A frame is
 * published without it, so that what is read once leaves before what is read twice. */
#include "reading/cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mutant.h"
#include "base/prng.h"
#include "queues/atomics.h"

#define STATE_PINS 0x00ffffffu
#define STATE_FILLING 0x01000000u
#define STATE_PUBLISHED 0x02000000u
#define STATE_REFERENCED 0x04000000u
#define STATE_PRIVATE 0x08000000u
#define STATE_GONE 0x10000000u
#define STATE_KEPT 0x20000000u

#define FRAME_ALIGNMENT 4096 /* What direct I/O may ask of memory */

/* Hints where the keys of a set lie; 0: nowhere. */
struct tac_cache_set {
    uint32_t tags[TAC_CACHE_WAYS]; /* Atomics, relaxed */
};

struct tac_cache {
    uint8_t              *memory;         /* Frames, sets, data; NULL: no frames */
    uint64_t              reserved_bytes; /* Of address space */
    struct tac_cache_set *sets;           /* set_max, like all that is of sets */
    uint8_t              *frames;         /* way_count of each set, frame_stride apart */
    uint8_t              *data;           /* Of the frames, in the same order */
    uint32_t              frame_stride;   /* A frame, its extra bytes, up to a cache line's end */
    uint32_t              frame_size;
    uint32_t              extra_size;
    uint32_t              set_max;
    uint32_t              way_count;  /* TAC_CACHE_WAYS, or the frames of a tiny cache */
    uint32_t              set_ready;  /* Sets that have had frames; who changes it */
    uint32_t              set_count;  /* Atomic: those that keys lie in now. Note change */
    uint32_t              is_used;    /* Atomic, relaxed: a frame has been claimed */
    uint32_t              kept_count; /* Atomic, relaxed */
};

/* Where a key may lie. */
struct place {
    uint32_t sets[2];
    uint32_t ways; /* Of each; 0: nowhere */
    uint32_t tag;
};

static struct place cache_place(const struct tac_cache *cache, const struct tac_cache_key *key)
{
    uint64_t hash =
        tac_mix_u64(key->checksum_low ^ key->address * 0x9e3779b97f4a7c15u ^ key->detail);
    uint64_t sets = tac_atomic_load_acquire_u32(&cache->set_count);

    return (struct place){
        .sets = {(uint32_t)((hash >> 32) * sets >> 32),
                 (uint32_t)((hash & UINT32_MAX) * sets >> 32)},
        .ways = sets == 0 ? 0 : cache->way_count,
        .tag = (uint32_t)(hash >> 16) | 1,
    };
}

static struct tac_cache_frame *cache_frame(const struct tac_cache *cache, uint32_t set,
                                           uint32_t way)
{
    uint64_t index = (uint64_t)set * cache->way_count + way;

    return (struct tac_cache_frame *)(cache->frames + index * cache->frame_stride);
}

/* ---- life ---- */

static uint64_t heads_bytes(const struct tac_cache *cache, uint64_t sets)
{
    return tac_round_up(
        sets * (sizeof(struct tac_cache_set) + (uint64_t)cache->way_count * cache->frame_stride),
        FRAME_ALIGNMENT);
}

static uint64_t data_bytes(const struct tac_cache *cache, uint64_t sets)
{
    return sets * cache->way_count * cache->frame_size;
}

/* The most sets that fit into the bytes, of which `ready` ones have their heads in any case. */
static uint64_t sets_of(const struct tac_cache *cache, uint64_t bytes, uint64_t ready)
{
    uint64_t sets = bytes / (heads_bytes(cache, 1) + data_bytes(cache, 1));

    if (heads_bytes(cache, ready) + data_bytes(cache, ready) > bytes) {
        return tac_subtract_floor_zero(bytes, heads_bytes(cache, ready)) / data_bytes(cache, 1);
    }
    /* The rounding up is once for all of them: more sets may fit. */
    sets = tac_max_u64(sets, ready);
    while (heads_bytes(cache, sets + 1) + data_bytes(cache, sets + 1) <= bytes) {
        sets++;
    }
    return sets;
}

/* As many sets of TAC_CACHE_WAYS frames as fit into the bytes, or one smaller set, or none. */
static void cache_dimension(struct tac_cache *cache, uint64_t bytes)
{
    uint64_t sets;

    cache->way_count = TAC_CACHE_WAYS;
    sets = sets_of(cache, bytes, 0);
    if (sets == 0) {
        sets = 1;
        while (cache->way_count > 0 && heads_bytes(cache, 1) + data_bytes(cache, 1) > bytes) {
            cache->way_count--;
        }
    }
    tac_assert(sets <= UINT32_MAX);
    cache->set_max = (uint32_t)sets;
}

/* The sets between get frames to be used, for the first time or again. */
static void sets_begin(struct tac_cache *cache, uint32_t begin, uint32_t end)
{
    for (uint32_t set = begin; set < end; set++) {
        for (uint32_t way = 0; way < cache->way_count; way++) {
            struct tac_cache_frame *frame = cache_frame(cache, set, way);
            uint64_t                index = (uint64_t)set * cache->way_count + way;

            if (set < cache->set_ready) {
                tac_atomic_fetch_and_u32(&frame->state, ~STATE_GONE);
            } else {
                frame->data = cache->data + index * cache->frame_size;
                frame->data_size = cache->frame_size;
                frame->extra = frame + 1;
            }
        }
    }
    cache->set_ready = (uint32_t)tac_max_u64(cache->set_ready, end);
}

tac_static_assert(sizeof(struct tac_cache_frame) % 8 == 0, "extra bytes are aligned");

static int memory_reserve(struct tac_cache *cache, struct tac_error *error)
{
    uint64_t heads = heads_bytes(cache, cache->set_max);
    uint64_t bytes = heads + data_bytes(cache, cache->set_max);
    void    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for a cache of %llu bytes",
                             (unsigned long long)bytes);
    }
    /* Advice: a get that visits twenty filters then misses few translations. */
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    cache->memory = memory;
    cache->reserved_bytes = bytes;
    cache->frames = cache->memory;
    cache->sets =
        (struct tac_cache_set *)(cache->memory +
                                 (uint64_t)cache->set_max * cache->way_count * cache->frame_stride);
    cache->data = cache->memory + heads;
    return TACTUS_OK;
}

int tac_cache_new(uint64_t bytes, uint64_t bytes_max, uint32_t frame_size, uint32_t extra_size,
                  struct tac_cache **ret_cache, struct tac_error *error)
{
    struct tac_cache *cache = calloc(1, sizeof *cache);

    tac_assert(frame_size >= 512 && tac_is_power_of_two(frame_size) && bytes <= bytes_max);
    if (cache == NULL) {
        return tac_error_set(error, TACTUS_ENOMEM, "no memory for a cache");
    }
    cache->frame_size = frame_size;
    cache->extra_size = extra_size;
    cache->frame_stride =
        (uint32_t)tac_round_up(sizeof(struct tac_cache_frame) + extra_size, TAC_CACHE_LINE_BYTES);
    cache_dimension(cache, bytes_max);
    if (cache->way_count > 0) {
        if (memory_reserve(cache, error) != TACTUS_OK) {
            free(cache);
            return error->code;
        }
        cache->set_count = bytes == bytes_max ? cache->set_max : (uint32_t)sets_of(cache, bytes, 0);
        sets_begin(cache, 0, cache->set_count);
        tac_assert(tac_cache_memory_bytes(cache) <= bytes);
    }
    *ret_cache = cache;
    return 0;
}

void tac_cache_free(struct tac_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (uint64_t i = 0; i < (uint64_t)cache->set_ready * cache->way_count; i++) {
        struct tac_cache_frame *frame =
            (struct tac_cache_frame *)(cache->frames + i * cache->frame_stride);

        tac_assert((tac_atomic_load_acquire_u32(&frame->state) & STATE_PINS) == 0);
    }
    if (cache->memory != NULL) {
        munmap(cache->memory, cache->reserved_bytes);
    }
    free(cache);
}

uint64_t tac_cache_frame_count(const struct tac_cache *cache)
{
    return (uint64_t)tac_atomic_load_relaxed_u32(&cache->set_count) * cache->way_count;
}

uint64_t tac_cache_kept_bytes(const struct tac_cache *cache)
{
    return heads_bytes(cache, cache->set_ready);
}

uint64_t tac_cache_memory_bytes(const struct tac_cache *cache)
{
    return tac_cache_kept_bytes(cache) +
           data_bytes(cache, tac_atomic_load_relaxed_u32(&cache->set_count));
}

/* ---- finding ---- */

/* Pins the frame if it is published with this key, and returns its state before. 0: it is not. Note
 * frame-state. */
static uint32_t frame_pin_only(struct tac_cache_frame *frame, const struct tac_cache_key *key)
{
    uint32_t before = tac_atomic_fetch_add_acq_rel_u32(&frame->state, 1);

    tac_yield_point();
    tac_assert((before & STATE_PINS) < STATE_PINS);
    if ((before & STATE_PUBLISHED) == 0 ||
        (!tac_cache_key_equal(&frame->key, key) && !TAC_MUTANT(HINT_BELIEVED))) {
        tac_cache_unpin(frame);
        return 0;
    }
    return before;
}

/* The same for somebody who reads it. */
static bool frame_pin(struct tac_cache_frame *frame, const struct tac_cache_key *key)
{
    uint32_t before = frame_pin_only(frame, key);

    if (before == 0) {
        return false;
    }
    if ((before & STATE_REFERENCED) == 0) {
        tac_atomic_fetch_or_u32(&frame->state, STATE_REFERENCED);
    }
    return true;
}

void tac_cache_prefetch_set(const struct tac_cache *cache, const struct tac_cache_key *key)
{
    if (cache->way_count > 0) {
        struct place place = cache_place(cache, key);

        __builtin_prefetch(&cache->sets[place.sets[0]]);
        __builtin_prefetch(&cache->sets[place.sets[1]]);
    }
}

/* The frame's data lies where its number says: there is no need to wait for the frame. */
static void frame_prefetch(const struct tac_cache *cache, uint32_t set, uint32_t way,
                           uint32_t offset)
{
    const uint8_t *data =
        cache->data + ((uint64_t)set * cache->way_count + way) * cache->frame_size;
    uint32_t begin = offset > TAC_CACHE_AROUND_BYTES / 2 ? offset - TAC_CACHE_AROUND_BYTES / 2 : 0;
    uint32_t end = (uint32_t)tac_min_u64(begin + TAC_CACHE_AROUND_BYTES, cache->frame_size);

    __builtin_prefetch(cache_frame(cache, set, way), 1);
    for (uint32_t at = begin; at < end; at += TAC_CACHE_LINE_BYTES) {
        __builtin_prefetch(data + at);
    }
}

/* Which ways of the set have the tag, a bit for each. All are looked at: who knows which is no use
 * to a processor that has to guess it. */
static inline uint32_t set_tagged(const struct tac_cache_set *set, uint32_t tag)
{
    uint32_t tagged = 0;

#pragma GCC unroll 8
    for (uint32_t way = 0; way < TAC_CACHE_WAYS; way++) {
        tagged |= (uint32_t)(tac_atomic_load_relaxed_u32(&set->tags[way]) == tag) << way;
    }
    return tagged;
}

/* The key's frames with its tag: the ways of the first set, above them those of the second. */
static inline uint32_t place_tagged(const struct tac_cache *cache, const struct place *place)
{
    uint32_t in_use = (1u << place->ways) - 1;

    if (place->ways == 0) {
        return 0;
    }
    return (set_tagged(&cache->sets[place->sets[0]], place->tag) & in_use) |
           (set_tagged(&cache->sets[place->sets[1]], place->tag) & in_use) << TAC_CACHE_WAYS;
}

void tac_cache_prefetch_frame(const struct tac_cache *cache, const struct tac_cache_key *key,
                              uint32_t offset)
{
    struct place place = cache_place(cache, key);

    for (uint32_t left = place_tagged(cache, &place); left != 0; left &= left - 1) {
        uint32_t at = (uint32_t)__builtin_ctz(left);

        frame_prefetch(cache, place.sets[at / TAC_CACHE_WAYS], at % TAC_CACHE_WAYS, offset);
    }
}

/* Takes a frame out of those that have the key's tag; NULL: there is none. */
static inline struct tac_cache_frame *tagged_frame(const struct tac_cache *cache,
                                                   const struct place *place, uint32_t *left)
{
    uint32_t at;

    if (*left == 0) {
        return NULL;
    }
    at = (uint32_t)__builtin_ctz(*left);
    *left &= *left - 1;
    return cache_frame(cache, place->sets[at / TAC_CACHE_WAYS], at % TAC_CACHE_WAYS);
}

struct tac_cache_frame *tac_cache_find(struct tac_cache *cache, const struct tac_cache_key *key)
{
    struct place            place = cache_place(cache, key);
    uint32_t                left = place_tagged(cache, &place);
    struct tac_cache_frame *frame;

    do {
        frame = tagged_frame(cache, &place, &left);
    } while (frame != NULL && !frame_pin(frame, key));
    return frame;
}

bool tac_cache_retire(struct tac_cache *cache, const struct tac_cache_key *key)
{
    struct place            place = cache_place(cache, key);
    uint32_t                left = place_tagged(cache, &place);
    struct tac_cache_frame *frame;

    do {
        frame = tagged_frame(cache, &place, &left);
    } while (frame != NULL && frame_pin_only(frame, key) == 0);
    if (frame == NULL) {
        return false;
    }
    tac_atomic_fetch_and_u32(&frame->state, ~STATE_REFERENCED);
    tac_cache_unpin(frame);
    return true;
}

bool tac_cache_is_used(const struct tac_cache *cache)
{
    return tac_atomic_load_relaxed_u32(&cache->is_used) != 0;
}

/* A hint is a frame's number and one; 0 and what no frame has: none. */
static struct tac_cache_frame *hinted_frame(const struct tac_cache *cache, const uint32_t *hint)
{
    uint64_t number = tac_atomic_load_relaxed_u32(hint) - UINT64_C(1);

    return number < (uint64_t)cache->set_max * cache->way_count
               ? (struct tac_cache_frame *)(cache->frames + number * cache->frame_stride)
               : NULL;
}

struct tac_cache_frame *tac_cache_find_hinted(struct tac_cache           *cache,
                                              const struct tac_cache_key *key, uint32_t *hint)
{
    struct tac_cache_frame *frame = hinted_frame(cache, hint);

    if (frame == NULL || !frame_pin(frame, key)) {
        frame = tac_cache_find(cache, key);
        if (frame != NULL) {
            uint64_t number = (uint64_t)((uint8_t *)frame - cache->frames) / cache->frame_stride;

            tac_atomic_store_relaxed_u32(hint, number < UINT32_MAX ? (uint32_t)number + 1 : 0);
        }
    }
    return frame;
}

void tac_cache_prefetch_hinted(const struct tac_cache *cache, const uint32_t *hint,
                               uint32_t extra_bytes)
{
    const struct tac_cache_frame *frame = hinted_frame(cache, hint);
    uint32_t                      bytes = (uint32_t)sizeof *frame + extra_bytes;

    for (uint32_t at = 0; at < bytes && frame != NULL; at += TAC_CACHE_LINE_BYTES) {
        __builtin_prefetch((const uint8_t *)frame + at);
    }
}

/* The memory of the whole pages between goes back to the system; they are zeros from now on. */
static void memory_give_back(uint8_t *begin, uint8_t *end)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t from = tac_round_up((uintptr_t)begin, page_bytes);
    uint64_t to = (uintptr_t)end / page_bytes * page_bytes;

    if (from < to) {
        (void)madvise((void *)(uintptr_t)from, to - from, MADV_DONTNEED);
    }
}

/* The last pin of a frame that is to go was taken away. Whoever pins it again does the same later. */
static void frame_give_back(struct tac_cache_frame *frame)
{
    uint32_t state = tac_atomic_load_relaxed_u32(&frame->state);

    if ((state & (STATE_PINS | STATE_KEPT | STATE_GONE | STATE_PUBLISHED)) ==
            (STATE_GONE | STATE_PUBLISHED) &&
        tac_atomic_compare_exchange_u32(&frame->state, &state, STATE_GONE | 1)) {
        memory_give_back(frame->data, frame->data + frame->data_size);
        tac_atomic_fetch_add_acq_rel_u32(&frame->state, UINT32_MAX);
    }
}

void tac_cache_unpin(struct tac_cache_frame *frame)
{
    uint32_t before;

    tac_yield_point();
    before = tac_atomic_fetch_add_acq_rel_u32(&frame->state, UINT32_MAX);

    tac_assert((before & STATE_PINS) > 0);
    if ((before & (STATE_PRIVATE | STATE_GONE)) != 0) {
        if ((before & STATE_PRIVATE) != 0) {
            tac_assert((before & STATE_PINS) == 1);
            free(frame);
        } else {
            frame_give_back(frame);
        }
    }
}

/* ---- keeping ---- */

bool tac_cache_keep(struct tac_cache *cache, struct tac_cache_frame *frame)
{
    uint64_t kept_max = tac_cache_frame_count(cache) / 2;

    /* Looked at first: where nothing can be kept, nobody writes a word that all share. */
    if (tac_atomic_load_relaxed_u32(&cache->kept_count) >= kept_max ||
        (tac_atomic_load_relaxed_u32(&frame->state) & (STATE_KEPT | STATE_PRIVATE | STATE_GONE)) !=
            0) {
        return false;
    }
    if (tac_atomic_fetch_add_u32(&cache->kept_count, 1) < kept_max) {
        uint32_t before = tac_atomic_fetch_or_u32(&frame->state, STATE_KEPT);

        if ((before & STATE_KEPT) == 0) {
            if ((before & STATE_GONE) == 0) {
                return true;
            }
            tac_cache_let_go(cache, frame); /* It went just now; nobody else knows it as kept. */
            return false;
        }
    }
    tac_atomic_fetch_add_u32(&cache->kept_count, UINT32_MAX);
    return false;
}

bool tac_cache_is_gone(const struct tac_cache_frame *frame)
{
    return (tac_atomic_load_relaxed_u32(&frame->state) & STATE_GONE) != 0;
}

void tac_cache_let_go(struct tac_cache *cache, struct tac_cache_frame *frame)
{
    uint32_t before = tac_atomic_fetch_and_u32(&frame->state, ~STATE_KEPT);

    tac_assert((before & STATE_KEPT) != 0);
    tac_atomic_fetch_add_u32(&cache->kept_count, UINT32_MAX);
    if ((before & STATE_GONE) != 0) {
        frame_give_back(frame);
    }
}

void tac_cache_pin_kept(struct tac_cache_frame *frame)
{
    uint32_t before = tac_atomic_fetch_add_acq_rel_u32(&frame->state, 1);

    tac_assert((before & STATE_KEPT) != 0);
}

/* ---- filling ---- */

/* Claims the frame if it has no pins, and is empty where `empty_only`; else, if it is referenced,
 * takes away its second chance. */
static bool frame_claim(struct tac_cache_frame *frame, bool empty_only)
{
    uint32_t state = tac_atomic_load_relaxed_u32(&frame->state);

    if ((state & (STATE_PINS | STATE_FILLING | STATE_KEPT | STATE_GONE)) != 0 ||
        (empty_only && state != 0)) {
        return false;
    }
    if ((state & STATE_REFERENCED) != 0) {
        tac_atomic_fetch_and_u32(&frame->state, ~STATE_REFERENCED);
        return false;
    }
    tac_yield_point();
    return tac_atomic_compare_exchange_u32(&frame->state, &state, STATE_FILLING | 1);
}

/* Claims the frame for the key if it can be. */
static struct tac_cache_frame *way_claim(struct tac_cache *cache, uint32_t set, uint32_t way,
                                         uint32_t tag, const struct tac_cache_key *key,
                                         bool empty_only)
{
    struct tac_cache_frame *frame = cache_frame(cache, set, way);

    if (!frame_claim(frame, empty_only)) {
        return NULL;
    }
    frame->key = *key;
    tac_atomic_store_relaxed_u32(&cache->sets[set].tags[way], tag);
    if (tac_atomic_load_relaxed_u32(&cache->is_used) == 0) {
        tac_atomic_store_relaxed_u32(&cache->is_used, 1);
    }
    return frame;
}

/* An empty frame, of the emptier set: both fill up from their first way. */
static struct tac_cache_frame *empty_claim(struct tac_cache *cache, const struct place *place,
                                           const struct tac_cache_key *key)
{
    struct tac_cache_frame *frame = NULL;

    for (uint32_t i = 0; i < 2 * place->ways && frame == NULL; i++) {
        frame = way_claim(cache, place->sets[i % 2], i / 2, place->tag, key, true);
    }
    return frame;
}

struct tac_cache_frame *tac_cache_claim_empty(struct tac_cache           *cache,
                                              const struct tac_cache_key *key)
{
    struct place place = cache_place(cache, key);

    return empty_claim(cache, &place, key);
}

struct tac_cache_frame *tac_cache_claim(struct tac_cache *cache, const struct tac_cache_key *key)
{
    struct place            place = cache_place(cache, key);
    uint32_t                ways = place.ways;
    struct tac_cache_frame *frame = empty_claim(cache, &place, key);

    /* Any frame, around both sets from a place that the key decides; and once more, as the first
     * round may only have taken second chances away. */
    for (uint32_t i = 0; i < 4 * ways && frame == NULL; i++) {
        uint32_t at = ((place.tag >> 8) + i) % (2 * ways);

        frame = way_claim(cache, place.sets[at / ways], at % ways, place.tag, key, false);
    }
    return frame;
}

void tac_cache_publish(struct tac_cache_frame *frame)
{
    uint32_t before = tac_atomic_load_relaxed_u32(&frame->state);

    tac_assert((before & STATE_PINS) > 0);
    if ((before & STATE_PRIVATE) == 0) {
        tac_assert((before & (STATE_FILLING | STATE_PUBLISHED)) == STATE_FILLING);
        tac_yield_point();
        tac_atomic_fetch_add_acq_rel_u32(&frame->state, STATE_PUBLISHED - STATE_FILLING);
    }
}

void tac_cache_abandon(struct tac_cache_frame *frame)
{
    uint32_t before = tac_atomic_load_relaxed_u32(&frame->state);

    tac_assert((before & STATE_PUBLISHED) == 0);
    if ((before & STATE_PRIVATE) == 0) {
        tac_assert((before & STATE_FILLING) != 0);
        tac_atomic_fetch_add_acq_rel_u32(&frame->state, 0 - STATE_FILLING);
    }
    tac_cache_unpin(frame);
}

struct tac_cache_frame *tac_cache_frame_private(uint64_t data_size, uint32_t extra_size)
{
    uint64_t head = tac_round_up(sizeof(struct tac_cache_frame) + extra_size, FRAME_ALIGNMENT);
    struct tac_cache_frame *frame;

    tac_assert(data_size > 0);
    frame = aligned_alloc(FRAME_ALIGNMENT, head + tac_round_up(data_size, FRAME_ALIGNMENT));
    if (frame == NULL) {
        return NULL;
    }
    frame->state = STATE_PRIVATE | 1;
    frame->data_size = 0; /* Of a cache's frames only */
    frame->key = (struct tac_cache_key){0};
    frame->data = (uint8_t *)frame + head;
    frame->extra = frame + 1;
    return frame;
}

/* ---- changing ---- */

/* A frame for what lies where its key is not looked for; NULL: it is not worth another one's. */
static struct tac_cache_frame *place_claim(struct tac_cache *cache, const struct tac_cache_key *key,
                                           bool is_referenced)
{
    return is_referenced ? tac_cache_claim(cache, key) : tac_cache_claim_empty(cache, key);
}

/* Copies the pinned frame to where its key lies from now on, and empties it unless others have it
 * pinned; one that lies there already stays. */
static void frame_move(struct tac_cache *cache, struct tac_cache_frame *frame, uint32_t set,
                       uint32_t state, tac_cache_copied_fn *copied_fn)
{
    struct tac_cache_key    key = frame->key;
    struct place            place = cache_place(cache, &key);
    bool                    is_referenced = (state & STATE_REFERENCED) != 0;
    struct tac_cache_frame *to;

    if (place.sets[0] == set || place.sets[1] == set || (state & STATE_KEPT) != 0) {
        tac_cache_unpin(frame);
        return;
    }
    to = place_claim(cache, &key, is_referenced);
    if (to != NULL) {
        memcpy(to->data, frame->data, cache->frame_size);
        memcpy(to->extra, frame->extra, cache->extra_size);
        if (copied_fn != NULL) {
            copied_fn(to, frame);
        }
        tac_cache_publish(to);
        if (is_referenced) {
            tac_atomic_fetch_or_u32(&to->state, STATE_REFERENCED);
        }
        tac_cache_unpin(to);
    }
    state = tac_atomic_load_relaxed_u32(&frame->state);
    if ((state & (STATE_PINS | STATE_KEPT)) != 1 ||
        !tac_atomic_compare_exchange_u32(&frame->state, &state, 0)) {
        tac_cache_unpin(frame);
    }
}

static void set_move(struct tac_cache *cache, uint32_t set, tac_cache_copied_fn *copied_fn)
{
    for (uint32_t way = 0; way < cache->way_count; way++) {
        struct tac_cache_frame *frame = cache_frame(cache, set, way);
        uint32_t                before;

        if ((tac_atomic_load_relaxed_u32(&frame->state) & STATE_PUBLISHED) == 0) {
            continue;
        }
        before = tac_atomic_fetch_add_acq_rel_u32(&frame->state, 1);
        if ((before & STATE_PUBLISHED) == 0) {
            tac_cache_unpin(frame);
            continue;
        }
        frame_move(cache, frame, set, before, copied_fn);
    }
}

/* Nobody fills the frame from now on. False: it is read or kept, and the last one gives it back. */
static bool frame_end(struct tac_cache_frame *frame)
{
    uint32_t state = tac_atomic_fetch_or_u32(&frame->state, STATE_GONE) | STATE_GONE;

    while ((state & STATE_PUBLISHED) != 0 &&
           ((state & (STATE_PINS | STATE_KEPT)) == 0 || TAC_MUTANT(CACHE_PIN_UNSEEN))) {
        if (tac_atomic_compare_exchange_u32(&frame->state, &state, STATE_GONE)) {
            return true;
        }
    }
    return (state & (STATE_PUBLISHED | STATE_FILLING)) == 0;
}

/* The frames of the sets between go; their memory in runs as long as can be. */
static void sets_end(struct tac_cache *cache, uint32_t begin, uint32_t end)
{
    uint8_t *run = NULL;

    for (uint32_t set = begin; set < end; set++) {
        for (uint32_t way = 0; way < cache->way_count; way++) {
            struct tac_cache_frame *frame = cache_frame(cache, set, way);

            if (frame_end(frame)) {
                run = run == NULL ? frame->data : run;
            } else if (run != NULL) {
                memory_give_back(run, frame->data);
                run = NULL;
            }
        }
    }
    if (run != NULL) {
        memory_give_back(run, cache->data + data_bytes(cache, end));
    }
}

void tac_cache_change(struct tac_cache *cache, uint64_t bytes, tac_cache_copied_fn *copied_fn)
{
    uint32_t before = cache->set_count, after;

    if (cache->way_count == 0) {
        return;
    }
    after = (uint32_t)tac_min_u64(sets_of(cache, bytes, cache->set_ready), cache->set_max);
    if (after > before) {
        sets_begin(cache, before, after);
    }
    tac_atomic_store_release_u32(&cache->set_count, after);
    for (uint32_t i = 0; i < before && after != before; i++) {
        set_move(cache, after > before ? before - 1 - i : i, copied_fn);
    }
    if (after < before) {
        sets_end(cache, after, before);
    }
}
