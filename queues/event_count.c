/* SPDX-License-Identifier: Apache-2.0 */
/* event_count -- see event_count.h for the protocol and its notes. */
#include "queues/event_count.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mutant.h"
#include "queues/atomics.h"

int tac_parker_create(struct tac_parker *parker, struct tac_error *error)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    if (fd < 0) {
        return tac_error_set(error, TACTUS_EIO,
                             "cannot create the eventfd of a thread: %s; raise the limit of open "
                             "files (ulimit -n) or use fewer threads",
                             strerror(errno));
    }
    parker->fd = fd;
    return TACTUS_OK;
}

void tac_parker_destroy(struct tac_parker *parker)
{
    tac_assert(parker->fd >= 0);
    close(parker->fd);
    parker->fd = -1;
}

void tac_parker_wait(struct tac_parker *parker)
{
    uint64_t tokens = 0;
    ssize_t  size;

    do {
        size = read(parker->fd, &tokens, sizeof tokens);
    } while (size < 0 && errno == EINTR);
    tac_assert(size == (ssize_t)sizeof tokens); /* An eventfd of our own knows no other error. */
    tac_assert(tokens > 0);
}

void tac_parker_clear(struct tac_parker *parker)
{
    struct pollfd tokens = {.fd = parker->fd, .events = POLLIN};

    if (poll(&tokens, 1, 0) > 0) { /* Nobody else takes any. */
        tac_parker_wait(parker);
    }
}

void tac_parker_wake(struct tac_parker *parker)
{
    uint64_t token = 1;
    ssize_t  size;

    do { /* It would wait only at 2^64 - 2 tokens. */
        size = write(parker->fd, &token, sizeof token);
    } while (size < 0 && errno == EINTR);
    tac_assert(size == (ssize_t)sizeof token);
}

/* ---- event count ---------------------------------------------------------------------------- */

static uint64_t *slot_word(uint64_t *words, uint32_t slot) { return &words[slot / 64]; }
static uint64_t  slot_bit(uint32_t slot) { return (uint64_t)1 << (slot % 64); }

void tac_event_count_create(struct tac_event_count *ec, struct tac_parker *const *parkers,
                            uint32_t slot_count)
{
    tac_assert(slot_count <= TAC_EVENT_COUNT_SLOTS_MAX);

    memset(ec, 0, sizeof *ec);
    ec->slot_count = slot_count;
    ec->word_count = (uint32_t)tac_div_ceil(slot_count, 64);
    for (uint32_t i = 0; i < slot_count; i++) {
        tac_assert(parkers[i] != NULL);
        ec->parkers[i] = parkers[i];
    }
}

void tac_event_count_destroy(struct tac_event_count *ec)
{
    for (uint32_t i = 0; i < TAC_EVENT_COUNT_WORDS; i++) {
        tac_assert(ec->parked[i] == 0);
        tac_assert(ec->taken[i] == 0);
    }
    ec->slot_count = 0;
    ec->word_count = 0;
}

/* Clears the slot's bit; true if this call did it, and nobody has claimed the slot. */
static bool bit_clear(struct tac_event_count *ec, uint32_t slot)
{
    uint64_t before = tac_atomic_fetch_and_u64(slot_word(ec->parked, slot), ~slot_bit(slot));

    return (before & slot_bit(slot)) != 0;
}

void tac_event_count_prepare(struct tac_event_count *ec, uint32_t slot)
{
    uint64_t before;

    tac_assert(slot < ec->slot_count);
    tac_yield_point();
    before = tac_atomic_fetch_or_u64(slot_word(ec->parked, slot), slot_bit(slot));
    tac_assert((before & slot_bit(slot)) == 0);
    tac_yield_point();
}

void tac_event_count_cancel(struct tac_event_count *ec, uint32_t slot)
{
    tac_assert(slot < ec->slot_count);
    tac_yield_point();
    if (!bit_clear(ec, slot) && !TAC_MUTANT(WAKE_KEPT)) {
        tac_event_count_notify(ec, 1); /* note: wake-up passed on */
    }
}

void tac_event_count_wait(struct tac_event_count *ec, uint32_t slot)
{
    tac_assert(slot < ec->slot_count);
    tac_yield_point();
    tac_parker_wait(ec->parkers[slot]);
    tac_yield_point();
    /* Set: the token was a completion's or a left-over. Clear: claimed. Either way the caller looks
     * for work next, and sees what the notifier did before it claimed the bit. */
    tac_maybe(bit_clear(ec, slot));
}

/* Claims up to wake_max of the word's parked slots, wakes them, returns how many. */
static uint32_t word_notify(struct tac_event_count *ec, uint32_t word, uint32_t wake_max)
{
    /* Reads as a party of the order of note: parking. Bits that are set later belong to threads
     * whose second look comes after our work: they are not needed, which bounds the loop. */
    uint64_t parked = tac_atomic_fetch_add_u64(&ec->parked[word], 0);
    uint32_t woken = 0;

    while (parked != 0 && woken < wake_max) {
        uint32_t slot = 64 * word + (uint32_t)__builtin_ctzll(parked);

        tac_assert(slot < ec->slot_count);
        tac_yield_point();
        if (bit_clear(ec, slot)) {
            tac_parker_wake(ec->parkers[slot]);
            woken++;
        }
        parked &= parked - 1;
    }
    return woken;
}

uint32_t tac_event_count_notify(struct tac_event_count *ec, uint32_t wake_max)
{
    uint32_t woken = 0;

    tac_assert(wake_max > 0);
    tac_yield_point();
    for (uint32_t word = 0; word < ec->word_count && woken < wake_max; word++) {
        woken += word_notify(ec, word, wake_max - woken);
    }
    tac_assert(woken <= wake_max);
    return woken;
}

uint32_t tac_event_count_notify_all(struct tac_event_count *ec)
{
    return tac_event_count_notify(ec, TAC_EVENT_COUNT_SLOTS_MAX);
}

uint32_t tac_event_count_parked(const struct tac_event_count *ec)
{
    uint32_t count = 0;

    for (uint32_t word = 0; word < ec->word_count; word++) {
        count += (uint32_t)__builtin_popcountll(tac_atomic_load_relaxed_u64(&ec->parked[word]));
    }
    return count;
}

/* ---- borrowed slots ------------------------------------------------------------------------- */

uint32_t tac_event_count_slot_acquire(struct tac_event_count *ec)
{
    for (uint32_t slot = 0; slot < ec->slot_count; slot++) {
        uint64_t  bit = slot_bit(slot);
        uint64_t *word = slot_word(ec->taken, slot);

        if ((tac_atomic_load_relaxed_u64(word) & bit) == 0 &&
            (tac_atomic_fetch_or_u64(word, bit) & bit) == 0) {
            return slot;
        }
    }
    return TAC_EVENT_COUNT_NO_SLOT;
}

void tac_event_count_slot_release(struct tac_event_count *ec, uint32_t slot)
{
    uint64_t before;

    tac_assert(slot < ec->slot_count);
    tac_assert((tac_atomic_load_relaxed_u64(slot_word(ec->parked, slot)) & slot_bit(slot)) == 0);
    before = tac_atomic_fetch_and_u64(slot_word(ec->taken, slot), ~slot_bit(slot));
    tac_assert((before & slot_bit(slot)) != 0);
}
