/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that were compiled with an earlier or a later tactus.h, whose structs end sooner or later
 * than those of this library. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/tap.h"

#define CANARY 0xa5
#define ROOM_BYTES 4096

/* Of an earlier version: before there was a choice of the log's interval and what follows. */
#define EARLIER_OPTIONS_BYTES offsetof(struct tactus_options, log_interval_ms)
#define EARLIER_STATS_BYTES offsetof(struct tactus_stats, waits)
#define LATER_BYTES 24 /* More than this library's */

/* A program's struct, and what lies behind it in its memory. */
union options_room {
    struct tactus_options options;
    uint8_t               bytes[ROOM_BYTES];
};
union stats_room {
    struct tactus_stats stats;
    uint8_t             bytes[ROOM_BYTES];
};

static bool is_all(const uint8_t *bytes, size_t begin, size_t end, uint8_t value)
{
    for (size_t i = begin; i < end; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static bool says(const char *text) { return strstr(tactus_message(), text) != NULL; }

static void options_begin(union options_room *room, size_t size)
{
    memset(room->bytes, CANARY, sizeof room->bytes);
    tactus_options_init_sized(&room->options, size);
    room->options.backend = TACTUS_BACKEND_MEMORY;
    room->options.threads = 0;
    room->options.memtable_size = TAC_MIB;
    room->options.file_size_max = TAC_GIB;
    room->options.page_cache_size = room->options.index_cache_size = TAC_MIB;
}

static int opened(const union options_room *room)
{
    struct tactus *store;
    int            code = tactus_open(NULL, &room->options, &store);

    if (code == TACTUS_OK) {
        tactus_abandon(store);
    }
    return code;
}

static void test_earlier_options(void)
{
    union options_room    room;
    struct tactus_options ours;

    tactus_options_init(&ours);
    options_begin(&room, EARLIER_OPTIONS_BYTES);
    tap_ok(is_all(room.bytes, EARLIER_OPTIONS_BYTES, ROOM_BYTES, CANARY) &&
               room.options.struct_size == EARLIER_OPTIONS_BYTES &&
               room.options.block_size == ours.block_size && room.options.log == ours.log,
           "init fills what an earlier program has, and no more");
    /* What lies behind would be no value of any option. */
    tap_ok(opened(&room) == TACTUS_OK, "what it does not have is at its default");
    tap_ok(tactus_options_set(&room.options, "io_depth", "7") == TACTUS_OK &&
               room.options.io_depth == 7 &&
               tactus_options_parse(&room.options, "io_depth=9, log=sync") == TACTUS_OK &&
               room.options.io_depth == 9 && room.options.log == TACTUS_LOG_SYNC &&
               is_all(room.bytes, EARLIER_OPTIONS_BYTES, ROOM_BYTES, CANARY),
           "options are set by name, within its struct");
    tap_ok(tactus_options_set(&room.options, "scrub_days", "7") == TACTUS_EOPTION &&
               says("scrub_days") && says("compile it again") &&
               tactus_options_parse(&room.options, "io_depth=1, log_interval_ms=1") ==
                   TACTUS_EOPTION &&
               room.options.io_depth == 9 &&
               is_all(room.bytes, EARLIER_OPTIONS_BYTES, ROOM_BYTES, CANARY),
           "but not one that its struct does not have: %s", tactus_message());
}

static void test_later_options(void)
{
    size_t             size = sizeof(struct tactus_options) + LATER_BYTES;
    union options_room room;

    options_begin(&room, size);
    tap_ok(is_all(room.bytes, sizeof(struct tactus_options), size, 0) &&
               is_all(room.bytes, size, ROOM_BYTES, CANARY) && room.options.struct_size == size,
           "init leaves 0 what only a later program has");
    tap_ok(opened(&room) == TACTUS_OK &&
               tactus_options_set(&room.options, "scrub_days", "7") == TACTUS_OK &&
               room.options.scrub_days == 7 && room.options.struct_size == size,
           "with that it opens");
    room.bytes[size - 1] = 1;
    tap_ok(opened(&room) == TACTUS_EOPTION && says("newer library") &&
               tactus_create("/nowhere/store", &room.options) == TACTUS_EOPTION &&
               tactus_options_parse(&room.options, "io_depth=1") == TACTUS_EOPTION,
           "an option that the library does not know is refused: %s", tactus_message());
    room.bytes[size - 1] = 0;
    room.bytes[size] = 1;
    tap_ok(opened(&room) == TACTUS_OK, "what lies behind the struct is not looked at");
}

static void test_no_options(void)
{
    static union options_room zeros;
    union options_room        room;

    tap_ok(opened(&zeros) == TACTUS_EOPTION && says("tactus_options_init"),
           "options that init has not filled are refused: %s", tactus_message());
    options_begin(&room, sizeof(struct tactus_options));
    room.options.struct_size = SIZE_MAX;
    tap_ok(opened(&room) == TACTUS_EOPTION && says("tactus_options_init"),
           "so are those with another size than any");
}

static void test_stats(void)
{
    size_t             later = sizeof(struct tactus_stats) + LATER_BYTES;
    union options_room options;
    union stats_room   room;
    struct tactus     *store;

    options_begin(&options, sizeof(struct tactus_options));
    if (tactus_open(NULL, &options.options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    memset(room.bytes, CANARY, sizeof room.bytes);
    tactus_stat_sized(store, &room.stats, EARLIER_STATS_BYTES);
    tap_ok(room.stats.struct_size == EARLIER_STATS_BYTES && room.stats.checkpoint_sequence == 1 &&
               is_all(room.bytes, EARLIER_STATS_BYTES, ROOM_BYTES, CANARY),
           "an earlier program is told what its struct has");
    tactus_stat_sized(store, &room.stats, later);
    tap_ok(room.stats.struct_size == sizeof(struct tactus_stats) &&
               room.stats.memory_budget_bytes > 0 &&
               is_all(room.bytes, sizeof(struct tactus_stats), later, 0) &&
               is_all(room.bytes, later, ROOM_BYTES, CANARY),
           "a later one is told what this library knows, the rest is 0");
    tactus_abandon(store);
}

int main(void)
{
    tap_plan(0);
    test_earlier_options();
    test_later_options();
    test_no_options();
    test_stats();
    return tap_done();
}
