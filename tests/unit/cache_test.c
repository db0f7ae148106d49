/* SPDX-License-Identifier: Apache-2.0 */
#include "reading/cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/lib/tap.h"

#define FRAME_BYTES 512

static struct tac_cache *cache_of(uint64_t bytes, uint32_t extra_size)
{
    struct tac_cache *cache;
    struct tac_error  error;

    if (tac_cache_new(bytes, bytes, FRAME_BYTES, extra_size, &cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    return cache;
}

/* The least bytes with which a cache has that many frames. */
static uint64_t bytes_for_frames(uint64_t frames)
{
    for (uint64_t bytes = frames * FRAME_BYTES;; bytes += 64) {
        struct tac_cache *cache = cache_of(bytes, 0);
        bool              is_enough = tac_cache_frame_count(cache) >= frames;

        tac_cache_free(cache);
        if (is_enough) {
            return bytes;
        }
    }
}

static struct tac_cache_key key_of(uint64_t number)
{
    return (struct tac_cache_key){number, tac_mix_u64(number + 1), number % 7};
}

/* Puts a key with contents of its own; false: no frame. */
static bool put(struct tac_cache *cache, uint64_t number)
{
    struct tac_cache_key    key = key_of(number);
    struct tac_cache_frame *frame = tac_cache_claim(cache, &key);

    if (frame == NULL) {
        return false;
    }
    memset(frame->data, (int)(number & 0xff), FRAME_BYTES);
    tac_cache_publish(frame);
    tac_cache_unpin(frame);
    return true;
}

/* True when the key is found, with its contents. */
static bool has(struct tac_cache *cache, uint64_t number)
{
    struct tac_cache_key    key = key_of(number);
    struct tac_cache_frame *frame = tac_cache_find(cache, &key);
    bool                    is_right;

    if (frame == NULL) {
        return false;
    }
    is_right = frame->data[0] == (number & 0xff) && frame->data[FRAME_BYTES - 1] == (number & 0xff);
    tac_cache_unpin(frame);
    return is_right;
}

static void test_no_frames(void)
{
    struct tac_cache    *cache = cache_of(0, 0);
    struct tac_cache_key key = key_of(1);

    tap_ok(tac_cache_frame_count(cache) == 0 && tac_cache_memory_bytes(cache) == 0,
           "a cache of no bytes has no frames");
    tap_ok(tac_cache_find(cache, &key) == NULL && tac_cache_claim(cache, &key) == NULL,
           "nothing is found in it and nothing can be put");
    tac_cache_free(cache);
}

static void test_sizes(uint64_t seed)
{
    struct tac_prng prng = {seed};
    bool            is_within = true, is_used = true, is_apart = true;

    for (uint32_t i = 0; i < 300; i++) {
        uint64_t          bytes = tac_prng_below(&prng, 1 << tac_prng_below(&prng, 21));
        uint32_t          extra = (uint32_t)tac_prng_below(&prng, 200);
        struct tac_cache *cache = cache_of(bytes, extra);
        uint64_t          frames = tac_cache_frame_count(cache);

        is_within = is_within && tac_cache_memory_bytes(cache) <= bytes;
        /* At most a set and a page of rounding are lost. */
        is_used = is_used && (frames + TAC_CACHE_WAYS + 1) * (FRAME_BYTES + 320) + 4096 > bytes;
        if (frames > 0) {
            struct tac_cache_key    key = key_of(i);
            struct tac_cache_frame *frame = tac_cache_claim(cache, &key);

            memset(frame->data, 1, FRAME_BYTES);
            memset(frame->extra, 2, extra);
            is_apart = is_apart && (uintptr_t)frame->data % FRAME_BYTES == 0 &&
                       frame->data[0] == 1 && frame->data[FRAME_BYTES - 1] == 1;
            tac_cache_publish(frame);
            tac_cache_unpin(frame);
        }
        tac_cache_free(cache);
    }
    tap_ok(is_within, "a cache never takes more than its bytes");
    tap_ok(is_used, "it makes use of nearly all of them");
    tap_ok(is_apart, "frames are aligned, and their extra bytes are their own");
}

static void test_life(void)
{
    struct tac_cache       *cache = cache_of(bytes_for_frames(64), 0);
    struct tac_cache_key    key = key_of(5), other;
    struct tac_cache_frame *frame = tac_cache_claim(cache, &key);

    tap_ok(tac_cache_find(cache, &key) == NULL,
           "a claimed frame is not found before it is published");
    memset(frame->data, 5, FRAME_BYTES);
    tac_cache_publish(frame);
    tap_ok(has(cache, 5), "a published one is");
    tac_cache_unpin(frame);
    tap_ok(has(cache, 5), "and after it is unpinned");
    other = key;
    other.address++;
    tap_ok(tac_cache_find(cache, &other) == NULL, "not under another address");
    other = key;
    other.checksum_low++;
    tap_ok(tac_cache_find(cache, &other) == NULL, "not under another checksum: stale is no hit");
    other = key;
    other.detail++;
    tap_ok(tac_cache_find(cache, &other) == NULL, "not under another detail");
    key = key_of(6);
    tac_cache_abandon(tac_cache_claim(cache, &key));
    tap_ok(tac_cache_find(cache, &key) == NULL, "an abandoned frame is not found");
    tap_ok(put(cache, 6) && has(cache, 6) && has(cache, 5), "its key can be put again");
    tac_cache_free(cache);
}

/* Every frame of a small cache is given to other keys again and again; the hints stay. Some keys
 * are asked for more often, so that they are found and have hints. */
static void test_hints(uint64_t seed)
{
    struct tac_prng   prng = {seed};
    struct tac_cache *cache = cache_of(bytes_for_frames(TAC_CACHE_WAYS), 0);
    uint32_t          hints[3 * TAC_CACHE_WAYS] = {0};
    uint64_t          keys = sizeof hints / sizeof hints[0];
    uint32_t          found = 0, wrong = 0;

    for (uint64_t i = 0; i < 100 * keys; i++) {
        uint64_t                number = 1 + tac_prng_below(&prng, i % 2 == 0 ? keys : 6);
        struct tac_cache_key    key = key_of(number);
        bool                    is_there = has(cache, number);
        struct tac_cache_frame *frame;

        tac_cache_prefetch_hinted(cache, &hints[number - 1], 0);
        frame = tac_cache_find_hinted(cache, &key, &hints[number - 1]);
        wrong += (frame != NULL) != is_there;
        if (frame != NULL) {
            found++;
            wrong += frame->data[0] != number || hints[number - 1] == 0;
            tac_cache_unpin(frame);
        } else if (!put(cache, number)) {
            wrong++;
        }
    }
    tap_ok(wrong == 0 && found > 0, "what a hint leads to is the key's, or it is looked for");
    wrong = 0;
    for (uint64_t i = 0; i < keys; i++) {
        struct tac_cache_key    key = key_of(i + 1);
        struct tac_cache_frame *frame;
        bool                    is_there = has(cache, i + 1);

        hints[i] = UINT32_MAX - (uint32_t)(i % 2);
        tac_cache_prefetch_hinted(cache, &hints[i], 0);
        frame = tac_cache_find_hinted(cache, &key, &hints[i]);
        wrong += (frame != NULL) != is_there;
        if (frame != NULL) {
            tac_cache_unpin(frame);
        }
    }
    tap_ok(wrong == 0, "a hint of another cache, to a frame that this one does not have, is none");
    tac_cache_free(cache);
}

static void test_pins(void)
{
    for (uint32_t frames = 1; frames <= TAC_CACHE_WAYS; frames++) {
        struct tac_cache       *cache = cache_of(bytes_for_frames(frames), 0);
        struct tac_cache_frame *pinned[TAC_CACHE_WAYS];
        struct tac_cache_key    key;
        bool                    is_kept = true;

        for (uint32_t i = 0; i < frames; i++) {
            key = key_of(i);
            pinned[i] = tac_cache_claim(cache, &key);
            memset(pinned[i]->data, (int)i, FRAME_BYTES);
            tac_cache_publish(pinned[i]);
        }
        key = key_of(100);
        is_kept = tac_cache_frame_count(cache) == frames && tac_cache_claim(cache, &key) == NULL;
        for (uint32_t i = 0; i < frames; i++) {
            is_kept = is_kept && has(cache, i);
        }
        tac_cache_unpin(pinned[frames - 1]);
        is_kept = is_kept && put(cache, 101) && has(cache, 101) && !has(cache, frames - 1);
        for (uint32_t i = 0; i + 1 < frames; i++) {
            is_kept = is_kept && pinned[i]->data[7] == i && has(cache, i);
            tac_cache_unpin(pinned[i]);
        }
        tap_ok(is_kept, "of %u frames the pinned ones are never reused, the others are", frames);
        tac_cache_free(cache);
    }
}

static void test_second_chance(void)
{
    struct tac_cache *cache = cache_of(bytes_for_frames(TAC_CACHE_WAYS), 0);
    bool              is_kept = true;
    uint32_t          others = 0;

    for (uint64_t i = 0; i < TAC_CACHE_WAYS; i++) {
        put(cache, i);
    }
    for (uint64_t i = 100; i < 300; i++) {
        is_kept = is_kept && has(cache, 3);
        put(cache, i);
    }
    for (uint64_t i = 0; i < TAC_CACHE_WAYS; i++) {
        others += i != 3 && has(cache, i);
    }
    tap_ok(is_kept, "what is found again and again outlives any stream of new keys");
    tap_ok(others == 0, "what is not, does not");
    tac_cache_free(cache);
}

/* What is retired goes first, unless it is found again. */
static void test_retire(void)
{
    struct tac_cache    *cache = cache_of(bytes_for_frames(TAC_CACHE_WAYS), 0);
    struct tac_cache_key key = key_of(3), again = key_of(5), other = key_of(99);
    bool                 was_used = tac_cache_is_used(cache);
    uint32_t             left = 0;

    for (uint64_t i = 0; i < TAC_CACHE_WAYS; i++) {
        put(cache, i);
    }
    for (uint64_t i = 0; i < TAC_CACHE_WAYS; i++) {
        left += has(cache, i);
    }
    tap_ok(!was_used && tac_cache_is_used(cache) && left == TAC_CACHE_WAYS &&
               tac_cache_retire(cache, &key) && tac_cache_retire(cache, &again) &&
               !tac_cache_retire(cache, &other) && has(cache, 5),
           "what is there can be retired, what is not cannot");
    put(cache, 100);
    left = 0;
    for (uint64_t i = 0; i < TAC_CACHE_WAYS; i++) {
        left += has(cache, i);
    }
    tap_ok(left == TAC_CACHE_WAYS - 1 && !has(cache, 3) && has(cache, 100),
           "then it makes room for the next key, and not what was found again");
    tac_cache_free(cache);
}

/* Two choices: a cache that is nearly full has still lost next to nothing. */
static void test_fill(uint64_t seed)
{
    struct tac_cache *cache = cache_of(TAC_MIB, 0);
    uint64_t          count = tac_cache_frame_count(cache) * 85 / 100, found = 0;

    for (uint64_t i = 0; i < count; i++) {
        put(cache, seed + i);
    }
    for (uint64_t i = 0; i < count; i++) {
        found += has(cache, seed + i);
    }
    tap_ok(found * 1000 >= count * 995, "filled to 85 %% it still has %llu of %llu keys",
           (unsigned long long)found, (unsigned long long)count);
    for (uint64_t i = 0; i < 10 * count; i++) {
        put(cache, seed + count + i);
    }
    found = 0;
    for (uint64_t i = 0; i < 11 * count; i++) {
        found += has(cache, seed + i);
    }
    tap_ok(found == tac_cache_frame_count(cache), "in the long run every frame is in use");
    tac_cache_free(cache);
}

#define CHANGE_FRAMES 4096

/* Of the keys 0 … count - 1. */
static uint64_t count_found(struct tac_cache *cache, uint64_t count)
{
    uint64_t found = 0;

    for (uint64_t number = 0; number < count; number++) {
        found += has(cache, number);
    }
    return found;
}

static void test_change_keeps(uint64_t seed)
{
    struct tac_prng   prng = {seed ^ 0x6368616e6765};
    uint64_t          bytes = bytes_for_frames(CHANGE_FRAMES);
    struct tac_cache *cache;
    struct tac_error  error;
    uint64_t          least = UINT64_MAX;
    bool              is_within = true;

    if (tac_cache_new(bytes / 2, 2 * bytes, FRAME_BYTES, 0, &cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint64_t number = 0; number < CHANGE_FRAMES / 4; number++) {
        (void)put(cache, number);
    }
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t size = bytes / 2 + tac_prng_below(&prng, 3 * bytes / 2 + 1);

        tac_cache_change(cache, size, NULL);
        is_within = is_within && tac_cache_memory_bytes(cache) <= size &&
                    tac_cache_memory_bytes(cache) + 8 * FRAME_BYTES * 3 > size;
        least = tac_min_u64(least, count_found(cache, CHANGE_FRAMES / 4));
    }
    tap_ok(is_within, "a changed cache takes the bytes that it is given");
    tap_ok(least == CHANGE_FRAMES / 4, "what it has room for stays (%llu of %u)",
           (unsigned long long)least, CHANGE_FRAMES / 4);

    tac_cache_free(cache);
}

static void test_change_chooses(void)
{
    uint64_t          bytes = bytes_for_frames(CHANGE_FRAMES);
    struct tac_cache *cache = cache_of(bytes, 0);
    uint64_t          again, all;

    for (uint64_t number = 0; number < CHANGE_FRAMES * 3 / 4; number++) {
        (void)put(cache, number);
    }
    (void)count_found(cache, CHANGE_FRAMES / 8);
    tac_cache_change(cache, bytes / 2, NULL);
    again = count_found(cache, CHANGE_FRAMES / 8);
    all = count_found(cache, CHANGE_FRAMES);
    tap_ok(all >= tac_cache_frame_count(cache) * 9 / 10 && all <= tac_cache_frame_count(cache) &&
               again >= CHANGE_FRAMES / 8 * 9 / 10,
           "a smaller one is full, and what was read again is preferred (%llu of %u)",
           (unsigned long long)again, CHANGE_FRAMES / 8);
    tac_cache_change(cache, 0, NULL);
    tap_ok(tac_cache_frame_count(cache) == 0 && count_found(cache, CHANGE_FRAMES) == 0 &&
               !put(cache, 1) && tac_cache_memory_bytes(cache) == tac_cache_kept_bytes(cache),
           "one of no bytes has nothing, and takes nothing");
    tac_cache_change(cache, bytes, NULL);
    tap_ok(put(cache, 1) && count_found(cache, 2) == 1, "it can be used again");
    tac_cache_free(cache);
}

/* Pages of the system that the frame's data is in and that are in memory. */
static bool is_resident(const struct tac_cache_frame *frame)
{
    uintptr_t     page = (uintptr_t)frame->data & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    unsigned char state = 0;

    return mincore((void *)page, 1, &state) == 0 && (state & 1) != 0;
}

static void test_change_gives_back(void)
{
    enum {
        FRAMES = 256,
        SIZE = 65536
    };
    struct tac_cache_frame *frames[FRAMES];
    struct tac_cache       *cache;
    struct tac_error        error;
    uint64_t                bytes = FRAMES * (SIZE + 256), resident = 0;

    if (tac_cache_new(bytes, bytes, SIZE, 0, &cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    for (uint64_t number = 0; number < FRAMES; number++) {
        struct tac_cache_key key = key_of(number);

        frames[number] = tac_cache_claim(cache, &key);
        if (frames[number] != NULL) {
            memset(frames[number]->data, 1, SIZE);
            tac_cache_publish(frames[number]);
        }
    }
    for (uint64_t number = 0; number < FRAMES / 2; number++) {
        if (frames[number] != NULL) {
            tac_cache_unpin(frames[number]);
        }
    }
    tac_cache_change(cache, 0, NULL);
    for (uint64_t number = 0; number < FRAMES / 2; number++) {
        resident += frames[number] != NULL && is_resident(frames[number]);
    }
    tap_ok(resident == 0, "the memory of frames that go is given back");
    for (uint64_t number = FRAMES / 2; number < FRAMES; number++) {
        resident += frames[number] != NULL && frames[number]->data[SIZE - 1] == 1;
    }
    tap_ok(resident > FRAMES / 4, "pinned ones stay as they are (%llu)",
           (unsigned long long)resident);
    for (uint64_t number = FRAMES / 2; number < FRAMES; number++) {
        if (frames[number] != NULL) {
            tac_cache_unpin(frames[number]);
            resident -= !is_resident(frames[number]);
        }
    }
    tap_ok(resident == 0, "and are given back with their last pin");
    tac_cache_free(cache);
}

static void test_change_kept(void)
{
    enum {
        SIZE = 65536
    };
    struct tac_cache_key    key = key_of(7);
    struct tac_cache_frame *frame, *other;
    struct tac_cache       *cache;
    struct tac_error        error;
    uint64_t                bytes = 64 * (SIZE + 256);

    if (tac_cache_new(bytes, bytes, SIZE, 0, &cache, &error) != TACTUS_OK) {
        tap_bail("%s", error.message);
    }
    frame = tac_cache_claim(cache, &key);
    memset(frame->data, 1, SIZE);
    tac_cache_publish(frame);
    tap_ok(tac_cache_keep(cache, frame), "a frame is kept");
    tac_cache_unpin(frame);
    tac_cache_change(cache, 0, NULL);
    tap_ok(is_resident(frame) && frame->data[SIZE - 1] == 1 && tac_cache_is_gone(frame),
           "it stays in a cache of no bytes, which tells that it has gone");
    tac_cache_change(cache, bytes, NULL);
    other = tac_cache_find(cache, &key);
    tap_ok(other == frame && frame->data[SIZE - 1] == 1 && !tac_cache_is_gone(frame),
           "and is found when that grows again");
    tap_ok(!tac_cache_keep(cache, frame), "it has one keeper");
    tac_cache_unpin(frame);
    tac_cache_change(cache, 0, NULL);
    tac_cache_let_go(cache, frame);
    tap_ok(!is_resident(frame), "and goes when it is let go");
    tac_cache_change(cache, bytes, NULL);
    frame = tac_cache_claim(cache, &key);
    memset(frame->data, 1, SIZE);
    tac_cache_publish(frame);
    tac_cache_change(cache, 0, NULL);
    tap_ok(!tac_cache_keep(cache, frame) && is_resident(frame), "one that has gone is not kept");
    tac_cache_unpin(frame);
    tap_ok(!is_resident(frame), "and goes with its last pin");
    tac_cache_free(cache);
}

static void test_private(void)
{
    struct tac_cache_frame *frame = tac_cache_frame_private(100000, 200);

    tap_ok((uintptr_t)frame->data % 4096 == 0, "a private frame's data is aligned");
    memset(frame->data, 1, 100000);
    memset(frame->extra, 2, 200);
    tac_cache_publish(frame);
    tap_ok(frame->data[0] == 1 && frame->data[99999] == 1, "and apart from its extra bytes");
    tac_cache_unpin(frame);
    tac_cache_abandon(tac_cache_frame_private(1, 0)); /* A leak check tells whether it is freed. */
}

static void test_claim_empty(void)
{
    struct tac_cache       *cache = cache_of(bytes_for_frames(64), 0);
    uint32_t                taken = 0, kept = 0;
    struct tac_cache_frame *frame;

    for (uint64_t i = 0; i < 10000; i++) {
        struct tac_cache_key key = key_of(i);

        frame = tac_cache_claim_empty(cache, &key);
        if (frame != NULL) {
            memset(frame->data, (int)(i & 0xff), FRAME_BYTES);
            tac_cache_publish(frame);
            tac_cache_unpin(frame);
            taken++;
        }
    }
    for (uint64_t i = 0; i < 10000; i++) {
        kept += has(cache, i);
    }
    tap_ok(taken == tac_cache_frame_count(cache) && kept == taken,
           "what only takes empty frames takes each once, and nothing leaves for it (%u)", taken);
    tac_cache_free(cache);
}

static void fill(struct tac_cache *cache, uint32_t number)
{
    struct tac_cache_key    key = key_of(number);
    struct tac_cache_frame *frame = tac_cache_claim(cache, &key);

    if (frame == NULL) {
        return;
    }
    memset(frame->data, (int)(number & 0xff), FRAME_BYTES);
    tac_cache_publish(frame);
    tac_cache_unpin(frame);
}

/* Half of the frames can be kept; what comes then goes round them. */
/* As many of the frames of the first keys as can be kept. Returns how many; false in *ret_is_right:
 * one was kept twice, or refused too early. */
static uint32_t frames_keep(struct tac_cache *cache, struct tac_cache_frame **kept,
                            bool *ret_is_right)
{
    uint64_t frames = tac_cache_frame_count(cache);
    uint32_t kept_count = 0;

    *ret_is_right = true;
    for (uint32_t i = 0; i < frames; i++) {
        struct tac_cache_key    key = key_of(i);
        struct tac_cache_frame *frame = tac_cache_find(cache, &key);

        if (frame == NULL) {
            continue;
        }
        if (tac_cache_keep(cache, frame)) {
            *ret_is_right = *ret_is_right && !tac_cache_keep(cache, frame);
            kept[kept_count++] = frame;
        } else {
            *ret_is_right = *ret_is_right && kept_count == frames / 2;
        }
        tac_cache_unpin(frame);
    }
    return kept_count;
}

static void test_keep(void)
{
    struct tac_cache       *cache = cache_of(64 * (FRAME_BYTES + 256), 0);
    uint64_t                frames = tac_cache_frame_count(cache);
    struct tac_cache_frame *kept[64], *frame;
    uint32_t                kept_count, there = 0;
    bool                    is_refused;

    for (uint32_t i = 0; i < frames; i++) {
        fill(cache, i);
    }
    kept_count = frames_keep(cache, kept, &is_refused);
    tap_ok(kept_count == frames / 2 && is_refused,
           "half of the frames are kept, and each once (%u of %llu)", kept_count,
           (unsigned long long)frames);
    for (uint32_t i = 1000; i < 5000; i++) {
        fill(cache, i);
    }
    for (uint32_t i = 0; i < kept_count; i++) {
        there += tac_cache_find(cache, &kept[i]->key) == kept[i];
        tac_cache_pin_kept(kept[i]);
        tac_cache_unpin(kept[i]);
        tac_cache_unpin(kept[i]);
    }
    tap_ok(there == kept_count, "they stay where they are whatever comes");
    for (uint32_t i = 0; i < kept_count; i++) {
        tac_cache_let_go(cache, kept[i]);
    }
    for (uint32_t i = 5000; i < 9000; i++) {
        fill(cache, i);
    }
    there = 0;
    for (uint32_t i = 0; i < frames; i++) {
        there += has(cache, i);
    }
    tap_ok(there == 0, "let go, they leave like others");
    frame = tac_cache_frame_private(FRAME_BYTES, 0);
    tap_ok(frame != NULL && !tac_cache_keep(cache, frame), "a private frame is not kept");
    tac_cache_abandon(frame);
    tac_cache_free(cache);
}

int main(void)
{
    uint64_t seed;

    tap_plan(0);
    seed = tap_seed();
    test_no_frames();
    test_sizes(seed);
    test_life();
    test_hints(seed);
    test_pins();
    test_second_chance();
    test_retire();
    test_fill(seed);
    test_change_keeps(seed);
    test_change_chooses();
    test_change_gives_back();
    test_change_kept();
    test_private();
    test_claim_empty();
    test_keep();
    return tap_done();
}
