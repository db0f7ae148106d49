/* SPDX-License-Identifier: Apache-2.0 */
/* two_stores -- a program with two stores that share the threads of one pool, and its memory.
 *
 *   two_stores DIRECTORY OPTIONS COUNT
 *
 * One thread writes COUNT readings of sensors into the store "readings"; meanwhile another one
 * keeps the latest reading of each sensor in the store "states", and reads what was there before.
 * The stores have nothing to do with each other: each could be closed, and another one opened,
 * while the other is at work.
 *
 * Memory is divided by the pool's memory_shares: both take a half, if their caches may have what
 * the rest leaves, and then there is none for a third. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tactus.h>

#define SENSORS 500

struct reading {
    uint64_t number;
    uint64_t value;
};

struct part {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       count;
    uint64_t       changes; /* Of states: readings that differed from the one before */
};

static void check(int code)
{
    if (code != TACTUS_OK) {
        fprintf(stderr, "two_stores: %s\n", tactus_message());
        exit(1);
    }
}

static struct reading reading_make(uint64_t number)
{
    return (struct reading){number, number * 2654435761u % 1000};
}

/* Keys are in order of time. */
static void *readings_main(void *argument)
{
    struct part *part = argument;

    for (uint64_t i = 0; i < part->count; i++) {
        struct reading reading = reading_make(i);
        char           key[32];
        size_t         size = (size_t)snprintf(key, sizeof key, "%012" PRIu64, i);

        check(tactus_put(part->store, part->tree, key, size, &reading, sizeof reading));
    }
    return NULL;
}

static void *states_main(void *argument)
{
    struct part *part = argument;

    for (uint64_t i = 0; i < part->count; i++) {
        struct reading reading = reading_make(i), before;
        uint64_t       sensor = i % SENSORS;
        size_t         size;
        int            code = tactus_get(part->store, part->tree, &sensor, sizeof sensor, &before,
                                         sizeof before, &size);

        if (code != TACTUS_ENOTFOUND) {
            check(code);
            part->changes += before.value != reading.value;
        }
        check(
            tactus_put(part->store, part->tree, &sensor, sizeof sensor, &reading, sizeof reading));
    }
    return NULL;
}

static int store_open(struct tactus_pool *pool, const char *directory, const char *name,
                      const struct tactus_options *options, struct tactus **ret_store)
{
    char path[4096];
    int  code;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    code = tactus_create(path, options);
    if (code != TACTUS_OK && code != TACTUS_EEXISTS) {
        return code;
    }
    return tactus_open_in(pool, path, options, ret_store);
}

static void part_open(struct part *part, struct tactus_pool *pool, const char *directory,
                      const char *name, const struct tactus_options *options)
{
    struct tactus_layout layout = {.kind = TACTUS_LAYOUT_VARIABLE, .key_size = 16};
    int                  code;

    check(store_open(pool, directory, name, options, &part->store));
    code = tactus_tree_create(part->store, "records", &layout, &part->tree);
    check(code == TACTUS_EEXISTS ? tactus_tree_find(part->store, "records", &part->tree) : code);
}

int main(int argument_count, char **arguments)
{
    struct tactus_pool_options pool_options;
    struct tactus_pool_stats   stats;
    struct tactus_pool        *pool;
    struct tactus_options      options;
    struct tactus             *third;
    struct part                readings = {.count = 0}, states = {.count = 0};
    pthread_t                  thread;

    if (argument_count != 4) {
        fprintf(stderr, "usage: two_stores DIRECTORY OPTIONS COUNT\n");
        return 2;
    }
    readings.count = states.count = strtoull(arguments[3], NULL, 10);
    tactus_pool_options_init(&pool_options);
    pool_options.threads = 4;
    pool_options.memory_size = (uint64_t)256 << 20;
    pool_options.memory_shares = 2;
    check(tactus_pool_open(&pool_options, &pool));

    tactus_options_init(&options);
    options.memory_size = TACTUS_SIZE_AUTO;
    check(tactus_options_parse(&options, arguments[2]));
    part_open(&readings, pool, arguments[1], "readings", &options);
    part_open(&states, pool, arguments[1], "states", &options);
    if (store_open(pool, arguments[1], "third", &options, &third) != TACTUS_ENOMEM) {
        fprintf(stderr, "two_stores: there should be no memory for a third store\n");
        return 1;
    }
    fprintf(stderr, "no third store: %s\n", tactus_message());

    if (pthread_create(&thread, NULL, readings_main, &readings) != 0) {
        fprintf(stderr, "two_stores: no thread\n");
        return 1;
    }
    (void)states_main(&states);
    pthread_join(thread, NULL);
    tactus_pool_stat(pool, &stats);
    fprintf(stderr,
            "%" PRIu32 " stores, %" PRIu64 " MiB of %" PRIu64 "; threads busy %" PRIu64
            " ms, idle %" PRIu64 " ms\n",
            stats.stores, stats.memory_budget_bytes >> 20, stats.memory_size >> 20,
            stats.busy_ns / 1000000, stats.idle_ns / 1000000);
    check(tactus_close(readings.store));
    check(tactus_close(states.store));
    check(tactus_pool_close(pool));
    printf("%" PRIu64 " readings, %" PRIu64 " changes of state\n", readings.count, states.changes);
    return 0;
}
