/* SPDX-License-Identifier: Apache-2.0 */
/* The disk in memory: its order of completions, and what it loses with its power. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/units.h"
#include "stages/storage_file.h"
#include "tests/lib/tap.h"

#define SECTORS 256
#define SECTOR_BYTES 512
#define ROUNDS 200
#define WRITES 20 /* Of a round, at most */
#define DEPTH 8

static uint64_t test_seed;

static void *aligned_new(size_t size)
{
    void *data = NULL;

    if (posix_memalign(&data, TAC_STORAGE_ALIGNMENT_MIN, size) != 0) {
        tap_bail("no memory");
    }
    memset(data, 0, size);
    return data;
}

/* Submits one request and waits for it; returns its result. */
static int queue_perform(struct tac_io_queue *queue, struct tac_io *io)
{
    const struct tac_storage_ops *ops = queue->storage->ops;
    struct tac_io                *done = NULL;

    while (!ops->submit(queue, io)) {
    }
    while (ops->reap(queue, &done) == 0) {
    }
    return done == io && done->next == NULL ? io->result : -1;
}

/* Every write fills its sectors with its number, so a sector tells which write it is of. */
struct crash {
    struct tac_memory_disk *disk;
    struct tac_storage     *storage;
    struct tac_prng         prng;
    uint8_t                *buffer;
    uint32_t                version;
    uint32_t                versions[SECTORS][WRITES + 2]; /* Since the last sync */
    uint32_t                version_counts[SECTORS];
};

/* A write of up to 16 sectors; it is put into io for the caller to make. */
static void crash_write_prepare(struct crash *crash, struct tac_io *io)
{
    uint64_t  count = 1 + tac_prng_below(&crash->prng, 16);
    uint64_t  first = tac_prng_below(&crash->prng, SECTORS - count + 1);
    uint32_t *words = (uint32_t *)(void *)crash->buffer;

    crash->version++;
    for (uint64_t i = 0; i < count * SECTOR_BYTES / sizeof *words; i++) {
        words[i] = crash->version;
    }
    for (uint64_t i = first; i < first + count; i++) {
        crash->versions[i][crash->version_counts[i]++] = crash->version;
    }
    *io = tac_io_of_buffer(TAC_IO_WRITE, crash->buffer, count * SECTOR_BYTES, first * SECTOR_BYTES);
}

/* Only what the sectors hold now may be found after a crash. */
static void crash_sync_note(struct crash *crash)
{
    for (uint32_t i = 0; i < SECTORS; i++) {
        crash->versions[i][0] = crash->versions[i][crash->version_counts[i] - 1];
        crash->version_counts[i] = 1;
    }
}

/* True: every sector is whole, and of its last synced write or a later one. */
static bool crash_disk_check(struct crash *crash)
{
    uint64_t       size = 0;
    const uint8_t *data = tac_memory_disk_data(crash->disk, &size);

    for (uint32_t i = 0; i < SECTORS; i++) {
        const uint8_t *sector = data + (size_t)i * SECTOR_BYTES;
        uint32_t       found;
        uint32_t       index = 0;

        memcpy(&found, sector, sizeof found);
        if (memcmp(sector, sector + sizeof found, SECTOR_BYTES - sizeof found) != 0) {
            return false;
        }
        while (index < crash->version_counts[i] && crash->versions[i][index] != found) {
            index++;
        }
        if (index == crash->version_counts[i]) {
            return false;
        }
        /* What is found is durable now. */
        crash->versions[i][0] = found;
        crash->version_counts[i] = 1;
    }
    return true;
}

/* Writes, sometimes syncs, and leaves a write and a sync in flight when the power goes. */
static bool crash_round(struct crash *crash, uint64_t round)
{
    const struct tac_storage_ops *ops = crash->storage->ops;
    struct tac_io_queue          *queue = NULL;
    struct tac_error              error = {0};
    struct tac_io                 io, sync = {.kind = TAC_IO_SYNC};
    struct tac_io                *done = NULL;
    uint32_t                      done_count = 0, failed_count = 0;

    if (ops->queue_new(crash->storage, 2, -1, &queue, &error) != 0) {
        return false;
    }
    for (uint64_t i = tac_prng_below(&crash->prng, WRITES); i > 0; i--) {
        crash_write_prepare(crash, &io);
        if (queue_perform(queue, &io) != 0) {
            return false;
        }
        if (tac_prng_below(&crash->prng, 8) == 0) {
            sync = (struct tac_io){.kind = TAC_IO_SYNC};
            if (queue_perform(queue, &sync) != 0) {
                return false;
            }
            crash_sync_note(crash);
        }
    }
    crash_write_prepare(crash, &io);
    while (!ops->submit(queue, &io)) {
    }
    while (!ops->submit(queue, &sync)) {
    }
    tac_memory_disk_crash(crash->disk, test_seed + round);
    while (done_count < 2) {
        done_count += ops->reap(queue, &done);
        for (; done != NULL; done = done->next) {
            failed_count += done->result == TACTUS_EIO && done->os_error == EIO;
        }
    }
    ops->queue_free(queue);
    return failed_count == 2 && crash_disk_check(crash) &&
           ops->write(crash->storage, crash->buffer, SECTOR_BYTES, 0, &error) == TACTUS_EIO;
}

static void crash_rounds_check(void)
{
    struct crash    *crash = calloc(1, sizeof *crash);
    struct tac_error error = {0};
    bool             is_right;

    if (crash == NULL || (crash->disk = tac_memory_disk_new(test_seed | 1)) == NULL ||
        tac_storage_open_memory(crash->disk, &crash->storage, &error) != 0) {
        tap_bail("no disk in memory");
    }
    crash->buffer = aligned_new(16 * SECTOR_BYTES);
    crash->prng.state = test_seed;
    for (uint32_t i = 0; i < SECTORS; i++) {
        crash->version_counts[i] = 1; /* Version 0: zeros */
    }
    is_right = crash->storage->ops->resize(crash->storage, SECTORS * SECTOR_BYTES, &error) == 0 &&
               crash->storage->ops->sync(crash->storage, &error) == 0;
    for (uint64_t round = 0; round < ROUNDS && is_right; round++) {
        is_right = crash_round(crash, round);
        crash->storage->ops->close(crash->storage);
        if (tac_storage_open_memory(crash->disk, &crash->storage, &error) != 0) {
            tap_bail("%s", error.message);
        }
    }
    tap_ok(is_right,
           "after each of %d power cuts every sector is of its last synced write or of a later "
           "one, and requests fail until the next open",
           ROUNDS);
    crash->storage->ops->close(crash->storage);
    tac_memory_disk_free(crash->disk);
    free(crash->buffer);
    free(crash);
}

/* What is left of one write done and one in flight, of 8 sectors each, and of growth. */
struct crash_fates {
    uint32_t survivals[9]; /* How often so many sectors of the write were left */
    uint32_t in_flight_survivals[9];
    uint32_t grown;
    bool     is_growth_clean; /* What was cut off and grew again reads as zero */
};

/* Of the sectors from first on, how many hold ones. */
static uint32_t sectors_survived(const struct tac_memory_disk *disk, uint32_t first, uint32_t count)
{
    uint64_t       size = 0;
    const uint8_t *data = tac_memory_disk_data(disk, &size);
    uint32_t       survived = 0;

    for (uint32_t i = first; i < first + count && (i + 1) * SECTOR_BYTES <= size; i++) {
        survived += data[i * SECTOR_BYTES] == 1;
    }
    return survived;
}

/* A disk of 16 sectors; it grows, sectors 0 to 7 and 16 to 23 are written, after a sync was
 * submitted that is done only now and so covers none of this; then 8 to 15 are in flight. */
static void crash_fate_note(uint64_t seed, struct crash_fates *fates)
{
    struct tac_memory_disk       *disk = tac_memory_disk_new(1);
    struct tac_storage           *storage = NULL;
    struct tac_io_queue          *queue = NULL;
    struct tac_io                 sync = {.kind = TAC_IO_SYNC};
    struct tac_io                 late;
    struct tac_io                *done = NULL;
    const uint64_t                half_bytes = 8 * SECTOR_BYTES;
    const struct tac_storage_ops *ops;
    uint8_t                      *buffer = aligned_new(half_bytes);

    memset(buffer, 1, half_bytes);
    if (disk == NULL || tac_storage_open_memory(disk, &storage, NULL) != 0 ||
        storage->ops->queue_new(storage, 1, -1, &queue, NULL) != 0) {
        tap_bail("no disk in memory");
    }
    ops = storage->ops;
    if (ops->resize(storage, 2 * half_bytes, NULL) != 0) {
        tap_bail("cannot grow");
    }
    while (!ops->submit(queue, &sync)) {
    }
    if (ops->resize(storage, TAC_MIB, NULL) != 0 ||
        ops->write(storage, buffer, half_bytes, 0, NULL) != 0 ||
        ops->write(storage, buffer, half_bytes, 2 * half_bytes, NULL) != 0) {
        tap_bail("cannot write");
    }
    while (ops->reap(queue, &done) == 0) {
    }
    late = tac_io_of_buffer(TAC_IO_WRITE, buffer, half_bytes, half_bytes);
    while (!ops->submit(queue, &late)) {
    }
    tac_memory_disk_crash(disk, seed);
    while (ops->reap(queue, &done) == 0) {
    }
    ops->queue_free(queue);
    fates->survivals[sectors_survived(disk, 0, 8)]++;
    fates->in_flight_survivals[sectors_survived(disk, 8, 8)]++;
    ops->close(storage);
    if (tac_storage_open_memory(disk, &storage, NULL) != 0) {
        tap_bail("cannot open again");
    }
    if (ops->size(storage) == TAC_MIB) {
        fates->grown++;
    } else if (ops->size(storage) != 2 * half_bytes || ops->resize(storage, TAC_MIB, NULL) != 0 ||
               sectors_survived(disk, 16, 8) != 0) {
        fates->is_growth_clean = false;
    }
    ops->close(storage);
    tac_memory_disk_free(disk);
    free(buffer);
}

static void crash_fates_check(void)
{
    struct crash_fates fates = {.is_growth_clean = true};
    uint32_t           torn = 0;
    uint32_t           in_flight_torn = 0;

    for (uint64_t seed = 0; seed < 256; seed++) {
        crash_fate_note(seed, &fates);
    }
    for (uint32_t i = 1; i < 8; i++) {
        torn += fates.survivals[i];
        in_flight_torn += fates.in_flight_survivals[i];
    }
    tap_ok(fates.survivals[0] > 16 && fates.survivals[8] > 16 && torn > 16,
           "256 power cuts lose (%u), keep (%u) and tear (%u) writes that no sync covers",
           fates.survivals[0], fates.survivals[8], torn);
    tap_ok(fates.in_flight_survivals[0] > 16 && fates.in_flight_survivals[8] > 16 &&
               in_flight_torn > 16,
           "they lose (%u), keep (%u) and tear (%u) writes in flight", fates.in_flight_survivals[0],
           fates.in_flight_survivals[8], in_flight_torn);
    tap_ok(fates.grown > 16 && fates.grown < 240 && fates.is_growth_clean,
           "they undo growth or keep it (%u); what grows again is zero", fates.grown);
}

/* The same seed and caller: the same completions in the same order. */
static uint64_t memory_order_hash(uint64_t seed)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(seed);
    struct tac_storage     *storage = NULL;
    struct tac_io_queue    *queue = NULL;
    struct tac_io           ios[DEPTH];
    struct tac_io          *done = NULL;
    uint64_t                hash = 0;

    if (disk == NULL || tac_storage_open_memory(disk, &storage, NULL) != 0 ||
        storage->ops->queue_new(storage, DEPTH, -1, &queue, NULL) != 0) {
        tap_bail("no disk in memory");
    }
    for (uint32_t i = 0; i < DEPTH; i++) {
        ios[i] = (struct tac_io){.kind = TAC_IO_SYNC};
        while (!storage->ops->submit(queue, &ios[i])) {
            hash++;
        }
    }
    while (queue->in_flight > 0) {
        storage->ops->reap(queue, &done);
        hash = tac_mix_u64(hash + 1);
        for (; done != NULL; done = done->next) {
            hash = tac_mix_u64(hash + (uint64_t)(done - ios));
        }
    }
    storage->ops->queue_free(queue);
    storage->ops->close(storage);
    tac_memory_disk_free(disk);
    return hash;
}

/* The leak checker and the mutex see whether close frees the disk, once. */
static void owned_check(void)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(0);
    struct tac_storage     *storage = NULL;
    struct tac_storage     *other = NULL;
    struct tac_error        error = {0};
    uint8_t                *buffer = aligned_new(SECTOR_BYTES);

    tap_ok(disk != NULL && tac_storage_open_memory_owned(disk, &storage, &error) == TACTUS_OK &&
               storage->ops->write(storage, buffer, SECTOR_BYTES, 0, &error) == TACTUS_OK &&
               tac_storage_open_memory(disk, &other, &error) == TACTUS_ELOCKED,
           "a disk can be its storage's own");
    storage->ops->close(storage);
    free(buffer);
}

/* One synced write, one that is not, a sync that fails for it, one that does not, a power cut. */
static uint32_t failed_sync_survivals(uint64_t seed, bool *ret_is_right)
{
    struct tac_memory_disk *disk = tac_memory_disk_new(1);
    struct tac_storage     *storage = NULL;
    const uint64_t          half_bytes = 8 * SECTOR_BYTES;
    uint8_t                *buffer = aligned_new(half_bytes);
    uint32_t                survived;

    memset(buffer, 1, half_bytes);
    if (disk == NULL || tac_storage_open_memory(disk, &storage, NULL) != 0 ||
        storage->ops->write(storage, buffer, half_bytes, 0, NULL) != 0 ||
        storage->ops->sync(storage, NULL) != 0 ||
        storage->ops->write(storage, buffer, half_bytes, half_bytes, NULL) != 0) {
        tap_bail("cannot write");
    }
    tac_memory_disk_lose_unsynced(disk, seed);
    survived = sectors_survived(disk, 8, 8);
    *ret_is_right &=
        storage->ops->size(storage) == 2 * half_bytes && storage->ops->sync(storage, NULL) == 0;
    tac_memory_disk_crash(disk, seed);
    storage->ops->close(storage);
    *ret_is_right &= sectors_survived(disk, 0, 8) == 8 && sectors_survived(disk, 8, 8) == survived;
    tac_memory_disk_free(disk);
    free(buffer);
    return survived;
}

static void failed_sync_check(void)
{
    uint32_t survivals[9] = {0};
    bool     is_right = true;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        survivals[failed_sync_survivals(seed, &is_right)]++;
    }
    tap_ok(is_right && survivals[0] > 0 && survivals[4] > 0 && survivals[8] > 0,
           "a sync that fails loses what it likes, and a later sync does not bring it back");
}

int main(void)
{
    tap_plan(0);
    test_seed = tap_seed();
    tap_ok(memory_order_hash(5) == memory_order_hash(5) &&
               memory_order_hash(5) != memory_order_hash(6),
           "a seed gives the same completions every time, another seed others");
    owned_check();
    crash_rounds_check();
    crash_fates_check();
    failed_sync_check();
    return tap_done();
}
