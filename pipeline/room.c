/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/room.h"

#include "base/mutant.h"
#include "pipeline/ranges.h"
#include "pipeline/recovery.h"

/* A bar is ended to make room for an op. In a pause none is; but who has ended one goes on, as any
 * write that waits: else bars would have ended, and no op would tell where. */
static int bar_end(struct tactus *store, struct tac_error *error)
{
    int result = store->has_made_room ? TACTUS_OK : tac_writer_pause_check(store, error);

    if (result == TACTUS_OK) {
        result = tac_writer_end_bar(store, error);
    }
    if (result == TACTUS_OK) {
        store->has_made_room = true;
        result = tac_writer_rest(store, error);
    }
    return result;
}

int tac_room_for_tree(struct tactus *store, struct tac_error *error)
{
    int result = tac_writer_rest(store, error);

    /* It ends: each bar takes some of the dropped trees' tables, or one off the bars that they
     * linger. */
    while (result == TACTUS_OK && !tac_manifest_number_is_free(store->manifest) &&
           tac_manifest_number_is_coming(store->manifest)) {
        result = bar_end(store, error);
    }
    return result;
}

/* Bars in which no range comes to its end, though two have come to tables and compactions of what
 * holds them have been planned. */
#define RANGES_IDLE_BARS_MAX 4

int tac_room_for_range(struct tactus *store, struct tac_error *error)
{
    uint32_t idle = 0;
    bool     has_room;
    int      result = tac_writer_rest(store, error);

    if (result != TACTUS_OK) {
        return result;
    }
    if (tac_recovery_is_refilling(store)) {
        if (tac_ranges_count_all(store) < TAC_RANGES_MAX) {
            return TACTUS_OK; /* There was room before the checkpoint. */
        }
        tac_recovery_refill_end(store); /* Other ops than those that the checkpoint knew */
    }
    has_room = tac_ranges_have_room(store, &store->wants_checkpoint);
    while (result == TACTUS_OK && !has_room && idle < RANGES_IDLE_BARS_MAX) {
        uint32_t count = tac_ranges_count_all(store);

        result = bar_end(store, error);
        idle = tac_ranges_count_all(store) < count ? 0 : idle + 1;
        has_room = tac_ranges_have_room(store, &store->wants_checkpoint);
    }
    store->wants_checkpoint = false;
    if (result != TACTUS_OK || has_room) {
        return result;
    }
    if (store->is_replaying && tac_ranges_count_all(store) < TAC_RANGES_MAX) {
        return TACTUS_OK; /* There was room for it, and damage has come since. */
    }
    return tac_error_set(error, TACTUS_EFULL,
                         "%u deleted ranges, as many as there can be, wait for compaction to come "
                         "to the tables at their ends: end a tactus_compaction_hold, or call "
                         "tactus_compact",
                         tac_ranges_count_all(store));
}

bool tac_room_refused(struct tactus *store, int result, bool is_range)
{
    uint8_t                    value[TAC_WAL_REFUSED_BYTES];
    const struct tac_wal_entry entry = {
        .kind = TAC_WAL_REFUSED, .is_last = true, .value = {value, sizeof value}};
    struct tac_error error;

    if (result != TACTUS_EFULL || !store->has_made_room ||
        tac_writer_rest(store, &error) != TACTUS_OK) {
        return false;
    }
    tac_store_u64(value, store->bar_count);
    value[8] = is_range;
    if (tac_wal_append(&store->wal, &entry, &error) != TACTUS_OK) {
        return false;
    }
    tac_writer_control_op(store);
    return true;
}

/* A store of as many tables as there can be ends fewer until dropped trees are given back. */
#define REFUSED_BARS_MAX (1u << 20)

/* A checkpoint that was begun meanwhile has some of the bars: bar_count says how many. */
int tac_room_refused_again(struct tactus *store, const struct tac_wal_entry *entry,
                           struct tac_error *error)
{
    const uint8_t *value = entry->value.data;
    /* Before the checkpoint */
    bool had_run = tac_recovery_is_refilling(store) || TAC_MUTANT(REFUSED_BARS_LOST);
    int  result = tac_writer_rest(store, error);

    while (result == TACTUS_OK && !had_run && store->bar_count < tac_load_u64(value)) {
        if (tac_load_u64(value) - store->bar_count > REFUSED_BARS_MAX) {
            return tac_error_set(error, TACTUS_ECORRUPT, "more bars than a write can end");
        }
        if (value[8] != 0) {
            (void)tac_ranges_have_room(store, &store->wants_checkpoint);
        }
        result = bar_end(store, error);
        store->wants_checkpoint = false;
    }
    return result == TACTUS_OK ? tac_writer_control(store, entry, error) : result;
}
