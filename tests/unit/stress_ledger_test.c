/* SPDX-License-Identifier: Apache-2.0 */
/* What `tactus stress` calls right and wrong: its keys and values, what a reader may find, and what
 * a store may hold after a crash. Its threads on a store: stress_roles_test.c. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "tests/lib/stress_values.h"
#include "tests/lib/tap.h"
#include "tools/stress/ledger.h"

#define KEYS 2048
#define WRITERS 2
#define OPS 300
#define HISTORY_ITEMS 20 /* Of a writer: groups and singles */

static struct tac_stress_world world;

/* ---- keys and values ------------------------------------------------------------------------ */

static int keys_compare(const struct tac_stress_key *a, const struct tac_stress_key *b)
{
    uint32_t common = a->size < b->size ? a->size : b->size;
    int      order = memcmp(a->data, b->data, common);

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static void test_keys(void)
{
    bool is_found = true, is_ordered = true, is_spoiled = true, is_prefix = true;

    for (uint32_t place = 0; place < world.places; place++) {
        uint32_t              tree = tac_stress_tree_of(place), slot = world.slot_of[place];
        uint32_t              item = tac_stress_item_of(&world, place);
        struct tac_stress_key key, other;

        tac_stress_key_make(&world, place, &key);
        is_found =
            is_found && tac_stress_key_find(&world, tree, key.data, key.size) == place &&
            world.place_of[tree][slot] == place && place >= tac_stress_first_place(&world, item) &&
            place < tac_stress_first_place(&world, item) + tac_stress_place_count(&world, item);
        if (slot > 0) {
            tac_stress_key_make(&world, world.place_of[tree][slot - 1], &other);
            is_ordered = is_ordered && keys_compare(&other, &key) < 0;
            is_prefix = is_prefix && (memcmp(other.data, key.data, tac_stress_prefix_size(tree)) ==
                                      0) == (slot % TAC_STRESS_PREFIX_SLOTS != 0);
        }
        tac_stress_key_spoil(place, &key);
        is_spoiled = is_spoiled && key.size <= tac_stress_trees[tree].layout.key_size &&
                     tac_stress_key_find(&world, tree, key.data, key.size) == TAC_STRESS_NOWHERE;
    }
    tap_ok(is_found, "each of %u keys leads to its place, and that to its item", world.places);
    tap_ok(is_ordered, "keys are in the order of their slots");
    tap_ok(is_prefix, "slots from a multiple of %d on have one prefix", TAC_STRESS_PREFIX_SLOTS);
    tap_ok(is_spoiled, "a key with another end is nobody's");
}

static void test_values(void)
{
    bool     is_read = true, is_strict = true, is_sized = true;
    uint32_t deleted = 0, empty = 0, full = 0;

    for (uint32_t place = 0; place < world.places; place++) {
        const struct tactus_layout *layout = &tac_stress_trees[tac_stress_tree_of(place)].layout;

        for (uint32_t version = 1; version <= 40; version++) {
            struct tac_stress_value value;
            uint32_t                found;

            tac_stress_value_make(&world, place, version, &value);
            deleted += value.is_deleted;
            empty += !value.is_deleted && value.size == 0;
            if (value.size == 0) {
                continue;
            }
            full++;
            found = tac_stress_value_read(&world, place, value.data, value.size);
            is_read = is_read && found == version;
            is_sized = is_sized &&
                       (layout->kind == TACTUS_LAYOUT_FIXED ? value.size == layout->value_size
                                                            : value.size <= layout->value_size);
            is_strict = is_strict &&
                        tac_stress_value_read(&world, (place + TAC_STRESS_TREES) % world.places,
                                              value.data, value.size) == TAC_STRESS_WRONG &&
                        tac_stress_value_read(&world, place, value.data, value.size - 1) ==
                            TAC_STRESS_WRONG;
            value.data[version % value.size] ^= 1;
            is_strict = is_strict && tac_stress_value_read(&world, place, value.data, value.size) ==
                                         TAC_STRESS_WRONG;
        }
    }
    tap_ok(is_read && is_sized, "a value says its version, and fits its tree");
    tap_ok(is_strict, "cut, of another place or with another bit it is nobody's");
    tap_ok(deleted > full / 10 && empty > full / 100, "some versions are deletes or empty values");
}

static void test_agreement(void)
{
    uint32_t version = stress_full_version(&world, 2, 6, 1),
             later = stress_full_version(&world, 2, 6, version + 1);

    tap_ok(tac_stress_is_agreed(&world, 2, version, 6, version) &&
               tac_stress_is_agreed(&world, 2, TAC_STRESS_ABSENT, 6, TAC_STRESS_ABSENT),
           "members of one version agree");
    tap_ok(!tac_stress_is_agreed(&world, 2, version, 6, later) &&
               !tac_stress_is_agreed(&world, 2, version, 6, TAC_STRESS_ABSENT) &&
               !tac_stress_is_agreed(&world, 2, TAC_STRESS_ABSENT, 6, version) &&
               !tac_stress_is_agreed(&world, 2, TAC_STRESS_EMPTY, 6, TAC_STRESS_ABSENT) &&
               !tac_stress_is_agreed(&world, 2, version, 6, TAC_STRESS_EMPTY) &&
               !tac_stress_is_agreed(&world, 2, TAC_STRESS_WRONG, 6, TAC_STRESS_WRONG),
           "those of two do not");
}

/* ---- reading -------------------------------------------------------------------------------- */

static void ledger_make(struct tac_stress_ledger *ledger)
{
    if (!tac_stress_ledger_init(ledger, &world, WRITERS)) {
        tap_bail("no ledger");
    }
}

static struct tac_stress_write single_write(uint32_t item, uint32_t version)
{
    return (struct tac_stress_write){1, {item}, {version}};
}

static bool is_seen(struct tac_stress_ledger *ledger, uint32_t place, uint32_t found)
{
    uint32_t item = tac_stress_item_of(&world, place);

    return tac_stress_seen(ledger, place, found, tac_stress_least(ledger, item),
                           tac_stress_most(ledger, item));
}

static void test_reading(void)
{
    uint32_t item = world.groups, place = tac_stress_first_place(&world, item);
    uint32_t writer = item % WRITERS, first = stress_full_version(&world, place, place, 1);
    uint32_t second = stress_full_version(&world, place, place, first + 1);
    struct tac_stress_write  write = single_write(item, first);
    struct tac_stress_ledger ledger;

    ledger_make(&ledger);
    tap_ok(is_seen(&ledger, place, TAC_STRESS_ABSENT) && !is_seen(&ledger, place, first),
           "what nobody has begun is not to be found");
    tac_stress_write_begin(&ledger, writer, &write, 0);
    tap_ok(is_seen(&ledger, place, TAC_STRESS_ABSENT) && is_seen(&ledger, place, first),
           "a write under way may be found or not");
    tap_ok(!is_seen(&ledger, place, TAC_STRESS_ABSENT), "once it was found it stays");
    tac_stress_write_end(&ledger, writer, &write, 1, true);
    tap_ok(is_seen(&ledger, place, first) && !is_seen(&ledger, place, second) &&
               !is_seen(&ledger, place, TAC_STRESS_WRONG) &&
               !is_seen(&ledger, place, TAC_STRESS_EMPTY),
           "and nothing else is found");
    write = single_write(item, second);
    tac_stress_write_begin(&ledger, writer, &write, 0);
    tap_ok(tac_stress_write_cancel(&ledger, writer, &write) && !is_seen(&ledger, place, second),
           "a write that was refused is not to be found");
    write.versions[0] = tac_stress_version_next(&ledger, item, false);
    tap_ok(write.versions[0] == second + 1, "and its version is not given again");
    tac_stress_write_begin(&ledger, writer, &write, 0);
    tap_ok(tac_stress_seen(&ledger, place, first, first, write.versions[0]), "one is under way");
    ledger.done[item] = write.versions[0];
    tap_ok(!tac_stress_write_cancel(&ledger, writer, &write), "who has seen it is told of");
    tac_stress_ledger_destroy(&ledger);
}

/* ---- after a crash -------------------------------------------------------------------------- */

/* OPS writes of up to three items, by both writers, numbered from 1 on. */
struct history {
    struct tac_stress_write writes[OPS + 1];
    uint32_t                writer[OPS + 1];
};

static struct history history;

static void items_draw(struct tac_prng *prng, uint32_t writer, uint32_t *version,
                       struct tac_stress_write *write)
{
    uint32_t stride = world.items / WRITERS / HISTORY_ITEMS;

    *write = (struct tac_stress_write){0};
    for (uint64_t i = tac_prng_below(prng, 3) + 1; i > 0; i--) {
        uint32_t rank = (uint32_t)tac_prng_below(prng, HISTORY_ITEMS) * stride;
        uint32_t item = rank * WRITERS + writer;
        bool     is_new = true;

        for (uint32_t j = 0; j < write->count; j++) {
            is_new = is_new && write->items[j] != item;
        }
        if (is_new) {
            write->items[write->count] = item;
            write->versions[write->count++] = ++version[item];
        }
    }
}

static void history_make(uint64_t seed)
{
    struct tac_prng prng = {seed};
    uint32_t       *version = calloc(world.items, sizeof *version);

    tac_assert(version != NULL);
    for (uint32_t op = 1; op <= OPS; op++) {
        history.writer[op] = (uint32_t)tac_prng_below(&prng, WRITERS);
        items_draw(&prng, history.writer[op], version, &history.writes[op]);
    }
    free(version);
}

static uint32_t found_of(uint32_t place, uint32_t version)
{
    struct tac_stress_value value;

    tac_stress_value_make(&world, place, version, &value);
    return value.is_deleted ? TAC_STRESS_ABSENT : value.size == 0 ? TAC_STRESS_EMPTY : version;
}

/* What a store has in which the writes up to `op` were done, but for the one that is left out. */
static void found_make(uint32_t op, uint32_t left_out, uint32_t *found)
{
    memset(found, 0, world.places * sizeof *found);
    for (uint32_t i = 1; i <= op; i++) {
        const struct tac_stress_write *write = &history.writes[i];

        for (uint32_t j = 0; i != left_out && j < write->count; j++) {
            uint32_t place = tac_stress_first_place(&world, write->items[j]);
            uint32_t end = place + tac_stress_place_count(&world, write->items[j]);

            for (; place < end; place++) {
                found[place] = found_of(place, write->versions[j]);
            }
        }
    }
}

/* All of the history was begun, and has returned up to `done`. Where it is not known exactly which
 * op a write was, it may have been one before or after it that is the other writer's. */
static void ledger_fill(struct tac_stress_ledger *ledger, uint32_t done, bool is_exact)
{
    ledger_make(ledger);
    for (uint32_t op = 1; op <= OPS; op++) {
        uint32_t writer = history.writer[op];
        uint32_t before = !is_exact && op > 1 && history.writer[op - 1] != writer ? op - 2 : op - 1;
        uint32_t most = !is_exact && op < OPS && history.writer[op + 1] != writer ? op + 1 : op;

        tac_stress_write_begin(ledger, writer, &history.writes[op], before);
        if (op <= done) {
            tac_stress_write_end(ledger, writer, &history.writes[op], most, is_exact);
        }
    }
}

static bool is_settled(struct tac_stress_ledger *ledger, uint64_t op, const uint32_t *found)
{
    char message[TAC_STRESS_MESSAGE_BYTES] = "";
    bool is_right = tac_stress_settle(ledger, op, op, found, message);

    return is_right || (message[0] == 0 && tap_ok(false, "a refusal says why"));
}

static bool settles(uint32_t op, const uint32_t *found, bool is_exact)
{
    struct tac_stress_ledger ledger;
    bool                     is_right;

    ledger_fill(&ledger, OPS, is_exact);
    is_right = is_settled(&ledger, op, found);
    tac_stress_ledger_destroy(&ledger);
    return is_right;
}

/* A place of a group, and one more of it, which the op writes; and both are there after it. */
static bool group_find(uint32_t op, const uint32_t *before, const uint32_t *after,
                       uint32_t *ret_place)
{
    const struct tac_stress_write *write = &history.writes[op];

    for (uint32_t i = 0; i < write->count; i++) {
        uint32_t place = tac_stress_first_place(&world, write->items[i]);

        if (write->items[i] < world.groups && before[place] != after[place] &&
            before[place + 1] != after[place + 1]) {
            *ret_place = place;
            return true;
        }
    }
    return false;
}

struct tally {
    uint32_t made, told;
};

/* With one op left out, if that makes a difference. */
static void hole_try(uint32_t op, const uint32_t *found, uint32_t *other, struct tally *tally)
{
    found_make(op, op - op % 8, other); /* 0 leaves out none */
    if (memcmp(found, other, world.places * sizeof *found) != 0) {
        tally->made++;
        tally->told += !settles(op, other, true);
    }
}

/* With one place as the op leaves it, the rest as it was before. */
static void torn_try(uint32_t op, const uint32_t *found, uint32_t *other, struct tally *tally)
{
    uint32_t place;

    found_make(op - 1, 0, other);
    if (group_find(op, other, found, &place)) {
        other[place] = found[place];
        tally->made++;
        tally->told += !settles(op, other, true) && !settles(op - 1, other, true) &&
                       !settles(op, other, false);
    }
}

static void record_try(uint32_t op, const uint32_t *found, uint32_t *other, struct tally *tally)
{
    uint32_t place = op * 7919 % world.places;

    memcpy(other, found, world.places * sizeof *found);
    other[place] = found[place] == TAC_STRESS_ABSENT ? 1000 : TAC_STRESS_ABSENT;
    tally->made++;
    tally->told += !settles(op, other, true);
    other[place] = TAC_STRESS_WRONG;
    tally->made++;
    tally->told += !settles(op, other, false);
}

static void test_settling(void)
{
    uint32_t    *found = calloc(world.places, sizeof *found);
    uint32_t    *other = calloc(world.places, sizeof *other);
    struct tally holes = {0}, torn = {0}, records = {0};
    uint32_t     right = 0;

    tac_assert(found != NULL && other != NULL);
    for (uint32_t op = 1; op <= OPS; op++) {
        found_make(op, 0, found);
        right += settles(op, found, true) && settles(op, found, false);
        hole_try(op, found, other, &holes);
        torn_try(op, found, other, &torn);
        record_try(op, found, other, &records);
    }
    tap_ok(right == OPS, "each state as of an op is right after a crash (%u of %u)", right, OPS);
    tap_ok(holes.made > OPS / 4 && holes.told == holes.made,
           "one that lacks an op is not (%u of %u)", holes.told, holes.made);
    tap_ok(torn.made > OPS / 20 && torn.told == torn.made,
           "nor one with a part of a batch (%u of %u)", torn.told, torn.made);
    tap_ok(records.told == records.made,
           "nor one with a record too many or too few, or of nobody (%u of %u)", records.told,
           records.made);
    free(found);
    free(other);
}

/* States of other ops than the store says. */
static void test_op_bounds(void)
{
    uint32_t                *found = calloc(world.places, sizeof *found);
    uint32_t                 before_wrong = 0, after_wrong = 0, changes = 0;
    uint32_t                *other = calloc(world.places, sizeof *other);
    struct tac_stress_ledger ledger;

    tac_assert(found != NULL && other != NULL);
    for (uint32_t op = 1; op <= OPS; op++) {
        found_make(op, 0, found);
        found_make(op - 1, 0, other);
        if (memcmp(found, other, world.places * sizeof *found) != 0) {
            changes++;
            before_wrong += !settles(op, other, true);
            after_wrong += !settles(op - 1, found, true);
        }
    }
    tap_ok(changes > OPS / 2 && before_wrong == changes, "what is older than the op is wrong");
    tap_ok(after_wrong == changes, "and what is newer (%u of %u)", after_wrong, changes);

    found_make(OPS - 1, 0, found);
    ledger_fill(&ledger, OPS - 1, true);
    tap_ok(is_settled(&ledger, OPS - 1, found), "a write that had not returned may be lost");
    tac_stress_ledger_destroy(&ledger);
    found_make(OPS, 0, found);
    ledger_fill(&ledger, OPS - 1, true);
    tap_ok(is_settled(&ledger, OPS, found), "or be there");
    tap_ok(tac_stress_version_now(&ledger, history.writes[OPS].items[0]) ==
               history.writes[OPS].versions[0],
           "and then is what the next one follows");
    tac_stress_ledger_destroy(&ledger);
    found_make(OPS - 1, 0, found);
    ledger_fill(&ledger, OPS, true);
    tac_stress_safe_op_raise(&ledger, OPS);
    tap_ok(!is_settled(&ledger, OPS - 1, found), "what was durable may not be lost");
    tac_stress_ledger_destroy(&ledger);
    ledger_fill(&ledger, OPS, true);
    tac_stress_returned_is_safe(&ledger, true);
    tap_ok(!is_settled(&ledger, OPS - 1, found),
           "nor what has returned, where that says that it is safe");
    tac_stress_ledger_destroy(&ledger);
    free(found);
    free(other);
}

/* A journal that is longer than it can be: what is durable leaves it. */
static void test_journal(void)
{
    uint32_t                *found = calloc(world.places, sizeof *found);
    struct tac_stress_write  write = single_write(0, 0);
    struct tac_stress_ledger ledger;
    uint64_t                 op = 0;

    tac_assert(found != NULL);
    ledger_make(&ledger);
    while (tac_stress_journal_has_room(&ledger, 0, 0)) {
        write.versions[0] = tac_stress_version_next(&ledger, 0, false);
        tac_stress_write_begin(&ledger, 0, &write, op++);
        tac_stress_write_end(&ledger, 0, &write, op, true);
    }
    tap_ok(op > 1000 && !tac_stress_journal_has_room(&ledger, 0, 0),
           "a journal takes %" PRIu64 " writes that a crash could take back", op);
    tap_ok(tac_stress_journal_has_room(&ledger, 0, op - 1), "and more when they are durable");
    do {
        write.versions[0] = tac_stress_version_next(&ledger, 0, false);
        tac_stress_write_begin(&ledger, 0, &write, op++);
        tac_stress_write_end(&ledger, 0, &write, op, true);
    } while (tac_stress_is_deleted(&world, 0, write.versions[0]));
    for (uint32_t place = 0; place < TAC_STRESS_MEMBERS; place++) {
        found[place] = found_of(place, write.versions[0]);
    }
    tap_ok(is_settled(&ledger, op, found), "what has left it is still expected");
    memset(found, 0, world.places * sizeof *found);
    tap_ok(!is_settled(&ledger, op, found), "and its absence is told of");
    tac_stress_ledger_destroy(&ledger);
    free(found);
}

int main(void)
{
    uint64_t seed = tap_seed();

    tap_plan(0);
    if (!tac_stress_world_init(&world, seed, KEYS)) {
        tap_bail("no world");
    }
    history_make(seed);
    test_keys();
    test_values();
    test_agreement();
    test_reading();
    test_settling();
    test_op_bounds();
    test_journal();
    tac_stress_world_destroy(&world);
    return tap_done();
}
