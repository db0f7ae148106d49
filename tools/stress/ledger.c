/* SPDX-License-Identifier: Apache-2.0 */
/* ledger -- see ledger.h.
 *
 * A process may be killed between any two stores to the shared memory; what it leaves must do:
 *   * A journal's entries are there before its head says so, and the head before the write begins.
 *   * What leaves a journal is safe, and known to be (safe_op) before `settled` has it; a settling
 *     that was cut short is made again, with the same result: the store still opens at the same op,
 *     or at a later one of the same ops. */
#include "tools/stress/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/units.h"
#include "queues/atomics.h"

#define JOURNAL_ENTRIES (1u << 18)
#define LAST_OF_OP (1u << 31)
#define NOT_MET UINT32_MAX

struct entry {
    uint32_t item; /* With LAST_OF_OP */
    uint32_t version;
    /* In the last entry of an op. */
    uint64_t op_before; /* It came after this one */
    uint64_t op_most;   /* It was this one, or one before it. 0: it has not returned */
};

/* A ring. Written by its writer alone. */
struct tac_stress_journal {
    uint64_t     tail, head; /* Entries that have left it; entries there were */
    struct entry entries[JOURNAL_ENTRIES];
};

struct tac_stress_bounds {
    uint64_t safe_op;
    uint32_t is_returned_safe;
};

tac_static_assert(TAC_STRESS_KEYS_MAX < LAST_OF_OP, "an item's number leaves room for the flag");

/* ---- life ----------------------------------------------------------------------------------- */

bool tac_stress_ledger_init(struct tac_stress_ledger *ledger, const struct tac_stress_world *world,
                            uint32_t writers)
{
    size_t   journals_bytes = writers * sizeof *ledger->journals;
    size_t   versions_bytes = tac_round_up(world->items * sizeof(uint32_t), TAC_CACHE_LINE_BYTES);
    uint8_t *shared;

    tac_assert(writers >= 1 && writers <= TAC_STRESS_WRITERS_MAX);
    memset(ledger, 0, sizeof *ledger);
    ledger->world = world;
    ledger->writers = writers;
    ledger->shared_bytes = journals_bytes + 4 * versions_bytes + sizeof *ledger->bounds;
    shared = mmap(NULL, ledger->shared_bytes, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    ledger->journals = (struct tac_stress_journal *)(void *)shared;
    ledger->attempted = (uint32_t *)(void *)(shared + journals_bytes);
    ledger->begun = ledger->attempted + versions_bytes / sizeof(uint32_t);
    ledger->done = ledger->begun + versions_bytes / sizeof(uint32_t);
    ledger->settled = ledger->done + versions_bytes / sizeof(uint32_t);
    ledger->bounds = (void *)(shared + journals_bytes + 4 * versions_bytes);
    return true;
}

void tac_stress_ledger_destroy(struct tac_stress_ledger *ledger)
{
    if (ledger->journals != NULL) {
        munmap(ledger->journals, ledger->shared_bytes);
    }
    memset(ledger, 0, sizeof *ledger);
}

static void raise_u32(uint32_t *word, uint32_t value)
{
    uint32_t before = tac_atomic_load_acquire_u32(word);

    while (before < value && !tac_atomic_compare_exchange_u32(word, &before, value)) {
    }
}

static void raise_u64(uint64_t *word, uint64_t value)
{
    uint64_t before = tac_atomic_load_acquire_u64(word);

    while (before < value && !tac_atomic_compare_exchange_u64(word, &before, value)) {
    }
}

/* ---- journals ------------------------------------------------------------------------------- */

static struct entry *entry_at(struct tac_stress_journal *journal, uint64_t index)
{
    return &journal->entries[index % JOURNAL_ENTRIES];
}

static uint32_t item_in(const struct entry *entry) { return entry->item & ~LAST_OF_OP; }

static bool is_last_of_op(const struct entry *entry) { return (entry->item & LAST_OF_OP) != 0; }

/* Ops leave it whole. */
static void journal_retire(struct tac_stress_ledger *ledger, struct tac_stress_journal *journal,
                           uint64_t safe_op)
{
    uint64_t tail = journal->tail;

    for (uint64_t i = tail; i < journal->head; i++) {
        const struct entry *last = entry_at(journal, i);

        if (!is_last_of_op(last)) {
            continue;
        }
        if (last->op_most == 0 || last->op_most > safe_op) {
            return;
        }
        for (; tail <= i; tail++) {
            const struct entry *entry = entry_at(journal, tail);

            ledger->settled[item_in(entry)] = entry->version;
        }
        tac_atomic_store_release_u64(&journal->tail, tail);
    }
}

bool tac_stress_journal_has_room(struct tac_stress_ledger *ledger, uint32_t writer,
                                 uint64_t durable_op)
{
    struct tac_stress_journal *journal = &ledger->journals[writer];

    tac_assert(writer < ledger->writers);
    if (journal->head - journal->tail > JOURNAL_ENTRIES / 2) {
        tac_stress_safe_op_raise(ledger, durable_op);
        journal_retire(ledger, journal, durable_op);
    }
    return journal->head - journal->tail <= JOURNAL_ENTRIES - TAC_STRESS_WRITE_ITEMS_MAX;
}

/* ---- writing -------------------------------------------------------------------------------- */

uint32_t tac_stress_version_now(const struct tac_stress_ledger *ledger, uint32_t item)
{
    return tac_atomic_load_acquire_u32(&ledger->done[item]);
}

uint32_t tac_stress_version_next(const struct tac_stress_ledger *ledger, uint32_t item,
                                 bool wants_delete)
{
    uint32_t version = tac_atomic_load_relaxed_u32(&ledger->attempted[item]) + 1;

    while (wants_delete && !tac_stress_is_deleted(ledger->world, item, version)) {
        version++;
    }
    tac_assert(version <= TAC_STRESS_VERSION_MAX);
    return version;
}

void tac_stress_write_begin(struct tac_stress_ledger *ledger, uint32_t writer,
                            const struct tac_stress_write *write, uint64_t last_op)
{
    struct tac_stress_journal *journal = &ledger->journals[writer];

    tac_assert(write->count >= 1 && write->count <= TAC_STRESS_WRITE_ITEMS_MAX);
    tac_assert(journal->head - journal->tail + write->count <= JOURNAL_ENTRIES);
    for (uint32_t i = 0; i < write->count; i++) {
        bool     is_last = i + 1 == write->count;
        uint32_t item = write->items[i];

        tac_assert(item % ledger->writers == writer);
        *entry_at(journal, journal->head + i) =
            (struct entry){item | (is_last ? LAST_OF_OP : 0), write->versions[i], last_op, 0};
        tac_atomic_store_relaxed_u32(&ledger->attempted[item], write->versions[i]);
        tac_atomic_store_release_u32(&ledger->begun[item], write->versions[i]);
    }
    tac_atomic_store_release_u64(&journal->head, journal->head + write->count);
}

void tac_stress_write_end(struct tac_stress_ledger *ledger, uint32_t writer,
                          const struct tac_stress_write *write, uint64_t op, bool is_exact)
{
    struct tac_stress_journal *journal = &ledger->journals[writer];
    struct entry              *last = entry_at(journal, journal->head - 1);

    tac_assert(op > last->op_before);
    if (is_exact) {
        last->op_before = op - 1;
    }
    tac_atomic_store_release_u64(&last->op_most, op);
    for (uint32_t i = 0; i < write->count; i++) {
        raise_u32(&ledger->done[write->items[i]], write->versions[i]);
    }
}

bool tac_stress_write_cancel(struct tac_stress_ledger *ledger, uint32_t writer,
                             const struct tac_stress_write *write)
{
    struct tac_stress_journal *journal = &ledger->journals[writer];
    bool                       is_seen = false;

    tac_atomic_store_release_u64(&journal->head, journal->head - write->count);
    for (uint32_t i = 0; i < write->count; i++) {
        uint32_t done = tac_atomic_load_acquire_u32(&ledger->done[write->items[i]]);

        is_seen = is_seen || done >= write->versions[i];
        tac_atomic_store_release_u32(&ledger->begun[write->items[i]], done);
    }
    return !is_seen;
}

/* ---- reading -------------------------------------------------------------------------------- */

uint32_t tac_stress_least(const struct tac_stress_ledger *ledger, uint32_t item)
{
    return tac_atomic_load_acquire_u32(&ledger->done[item]);
}

uint32_t tac_stress_most(const struct tac_stress_ledger *ledger, uint32_t item)
{
    return tac_atomic_load_acquire_u32(&ledger->begun[item]);
}

/* A deleted item, or an empty value, may be of several versions: seen is the first of them. */
bool tac_stress_seen(struct tac_stress_ledger *ledger, uint32_t place, uint32_t found,
                     uint32_t least, uint32_t most)
{
    uint32_t item = tac_stress_item_of(ledger->world, place);
    uint32_t version;

    if (least > most || found == TAC_STRESS_WRONG ||
        !tac_stress_match_find(ledger->world, place, found, least, most, &version)) {
        return false;
    }
    raise_u32(&ledger->done[item], version);
    return true;
}

/* ---- stopping and starting ------------------------------------------------------------------ */

void tac_stress_safe_op_raise(struct tac_stress_ledger *ledger, uint64_t op)
{
    raise_u64(&ledger->bounds->safe_op, op);
}

uint64_t tac_stress_safe_op(const struct tac_stress_ledger *ledger)
{
    return tac_atomic_load_acquire_u64(&ledger->bounds->safe_op);
}

void tac_stress_returned_is_safe(struct tac_stress_ledger *ledger, bool is_safe)
{
    tac_atomic_store_release_u32(&ledger->bounds->is_returned_safe, is_safe);
}

/* Of one journal. */
struct count {
    uint64_t ops;          /* That are in it */
    uint64_t fewest, most; /* The store must have, may have so many of them */
    uint64_t fitting;      /* Between them the number that explains most of what was found … */
    uint64_t anyway;       /* … and of all numbers */
};

/* Looks for the number of a journal's ops that the store has. Each place of an item in the journal
 * votes for all numbers that would leave there what was found; the right number has every vote. */
struct settling {
    struct tac_stress_ledger  *ledger;
    struct tac_stress_journal *journal;
    uint64_t                   op_least, op_most;
    const uint32_t            *found;
    uint32_t                  *since;   /* By item: the number of ops from which on it has … */
    uint32_t                  *version; /* … this version; NOT_MET: it is not in the journal */
    int64_t                   *votes;   /* By number of ops, as differences to the number before */
    struct count               counts[TAC_STRESS_WRITERS_MAX];
};

static void bounds_find(const struct settling *settling, struct count *count)
{
    bool is_returned_safe = settling->ledger->bounds->is_returned_safe != 0;

    for (uint64_t i = settling->journal->tail; i < settling->journal->head; i++) {
        const struct entry *entry = entry_at(settling->journal, i);

        if (!is_last_of_op(entry)) {
            continue;
        }
        count->ops++;
        if (entry->op_most != 0 && (is_returned_safe || entry->op_most <= settling->op_least)) {
            count->fewest = count->ops;
        }
        if (entry->op_before < settling->op_most) {
            count->most = count->ops;
        }
    }
}

/* For all numbers of ops from `since` to `until`. */
static void item_vote(struct settling *settling, uint32_t item, uint64_t until)
{
    const struct tac_stress_world *world = settling->ledger->world;
    uint32_t                       place = tac_stress_first_place(world, item);
    uint32_t                       end = place + tac_stress_place_count(world, item);

    for (; place < end; place++) {
        if (tac_stress_is_match(world, place, settling->found[place], settling->version[item])) {
            settling->votes[settling->since[item]]++;
            settling->votes[until + 1]--;
        }
    }
}

static void votes_take(struct settling *settling)
{
    uint32_t ops = 0;

    for (uint64_t i = settling->journal->tail; i < settling->journal->head; i++) {
        const struct entry *entry = entry_at(settling->journal, i);
        uint32_t            item = item_in(entry);

        if (settling->since[item] == NOT_MET) {
            settling->since[item] = 0;
            settling->version[item] = settling->ledger->settled[item];
        }
        item_vote(settling, item, ops);
        settling->since[item] = ops + 1;
        settling->version[item] = entry->version;
        ops += is_last_of_op(entry);
    }
    for (uint64_t i = settling->journal->tail; i < settling->journal->head; i++) {
        uint32_t item = item_in(entry_at(settling->journal, i));

        if (settling->since[item] != NOT_MET) {
            item_vote(settling, item, ops);
            settling->since[item] = NOT_MET;
        }
    }
}

/* The number with most votes, of these; of several the highest: they leave the same. */
static uint64_t votes_count(const struct settling *settling, uint64_t fewest, uint64_t most)
{
    int64_t  votes = 0, best_votes = -1;
    uint64_t best = fewest;

    for (uint64_t number = 0; number <= most; number++) {
        votes += settling->votes[number];
        if (number >= fewest && votes >= best_votes) {
            best_votes = votes;
            best = number;
        }
    }
    return best;
}

/* From here on the store has so many ops of the journal. */
static void journal_settle(const struct settling *settling, uint64_t number)
{
    struct tac_stress_journal *journal = settling->journal;
    uint64_t                   ops = 0;

    for (uint64_t i = journal->tail; i < journal->head && ops < number; i++) {
        const struct entry *entry = entry_at(journal, i);

        settling->ledger->settled[item_in(entry)] = entry->version;
        ops += is_last_of_op(entry);
    }
}

static bool writer_settle(struct settling *settling, uint32_t writer, char *ret_message)
{
    struct count *count = &settling->counts[writer];

    settling->journal = &settling->ledger->journals[writer];
    bounds_find(settling, count);
    if (count->fewest > count->most) {
        snprintf(ret_message, TAC_STRESS_MESSAGE_BYTES,
                 "opened again at op %" PRIu64 ", but %" PRIu64 " writes of writer %u had returned "
                 "since, and each is safe that has",
                 settling->op_most, count->fewest - count->most, writer);
        return false;
    }
    settling->votes = calloc(count->ops + 2, sizeof *settling->votes);
    if (settling->votes == NULL) {
        snprintf(ret_message, TAC_STRESS_MESSAGE_BYTES, "out of memory");
        return false;
    }
    votes_take(settling);
    count->fitting = votes_count(settling, count->fewest, count->most);
    count->anyway = votes_count(settling, 0, count->ops);
    journal_settle(settling, count->fitting);
    free(settling->votes);
    return true;
}

static void places_compare(const struct settling *settling, uint32_t *ret_first,
                           uint64_t *ret_count)
{
    const struct tac_stress_world *world = settling->ledger->world;

    *ret_count = 0;
    for (uint32_t place = 0; place < world->places; place++) {
        uint32_t version = settling->ledger->settled[tac_stress_item_of(world, place)];

        if (!tac_stress_is_match(world, place, settling->found[place], version)) {
            *ret_first = *ret_count == 0 ? place : *ret_first;
            (*ret_count)++;
        }
    }
}

static void wrong_place_tell(const struct settling *settling, uint32_t place, uint64_t places,
                             char *ret_message)
{
    const struct tac_stress_ledger *ledger = settling->ledger;
    uint32_t                        item = tac_stress_item_of(ledger->world, place);
    uint32_t                        writer = item % ledger->writers;
    const struct count             *count = &settling->counts[writer];
    char place_text[TAC_STRESS_TEXT_BYTES], found_text[TAC_STRESS_TEXT_BYTES];
    char version_text[TAC_STRESS_TEXT_BYTES];

    tac_stress_place_text(ledger->world, place, place_text);
    tac_stress_found_text(settling->found[place], found_text);
    tac_stress_version_text(ledger->world, place, ledger->settled[item], version_text);
    snprintf(ret_message, TAC_STRESS_MESSAGE_BYTES,
             "opened again at op %" PRIu64 ", wrong in %" PRIu64 " places. %s: found %s, expected "
             "%s. Item %u of writer %u; last version begun %u; of the %" PRIu64
             " writes of this writer since the safe op %" PRIu64 ", %" PRIu64 " to %" PRIu64
             " were to be there; %" PRIu64 " would fit best",
             settling->op_most, places, place_text, found_text, version_text, item, writer,
             ledger->attempted[item], count->ops, tac_stress_safe_op(ledger), count->fewest,
             count->most, count->anyway);
}

/* If the number of ops that fits best leaves something else, so do all others. */
static bool places_check(const struct settling *settling, char *ret_message)
{
    uint32_t first = 0;
    uint64_t places;

    places_compare(settling, &first, &places);
    if (places > 0) {
        wrong_place_tell(settling, first, places, ret_message);
    }
    return places == 0;
}

static bool writers_settle(struct settling *settling, char *ret_message)
{
    struct tac_stress_ledger *ledger = settling->ledger;

    memset(settling->since, 0xff, ledger->world->items * sizeof *settling->since);
    for (uint32_t writer = 0; writer < ledger->writers; writer++) {
        if (!writer_settle(settling, writer, ret_message)) {
            return false;
        }
    }
    if (!places_check(settling, ret_message)) {
        return false;
    }
    for (uint32_t item = 0; item < ledger->world->items; item++) {
        ledger->begun[item] = ledger->done[item] = ledger->settled[item];
    }
    for (uint32_t writer = 0; writer < ledger->writers; writer++) {
        ledger->journals[writer].tail = ledger->journals[writer].head;
    }
    return true;
}

bool tac_stress_settle(struct tac_stress_ledger *ledger, uint64_t op_least, uint64_t op_most,
                       const uint32_t *found, char *ret_message)
{
    size_t          bytes = ledger->world->items * sizeof(uint32_t);
    struct settling settling = {
        .ledger = ledger, .op_least = op_least, .op_most = op_most, .found = found};
    bool is_right = false;

    if (op_most < tac_stress_safe_op(ledger)) {
        snprintf(ret_message, TAC_STRESS_MESSAGE_BYTES,
                 "opened again at op %" PRIu64 ", but op %" PRIu64 " was durable", op_most,
                 tac_stress_safe_op(ledger));
        return false;
    }
    settling.since = malloc(bytes);
    settling.version = malloc(bytes);
    if (settling.since == NULL || settling.version == NULL) {
        snprintf(ret_message, TAC_STRESS_MESSAGE_BYTES, "out of memory");
    } else {
        is_right = writers_settle(&settling, ret_message);
    }
    free(settling.since);
    free(settling.version);
    return is_right;
}
