/* SPDX-License-Identifier: Apache-2.0 */
/* tactus_get_many: each key has its own answer, and what one lacks is not the others' concern. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 4000
#define LOOKUPS 200

static char path[512];

static struct tactus *store_open(enum tactus_backend backend)
{
    struct tactus_options options;
    struct tactus        *store;

    small_options(&options);
    options.file_size_max = TAC_GIB;
    options.page_cache_size = 16 * TAC_KIB;
    options.index_cache_size = TAC_MIB;
    options.threads = 3;
    options.backend = backend;
    if (access(path, F_OK) != 0 && tactus_create(path, &options) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    if (tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return store;
}

static void key_make(char key[16], uint32_t number) { snprintf(key, 16, "key-%08u", number); }

static uint32_t tree_fill(struct tactus *store)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 16, 64};
    uint32_t             tree;

    if (tactus_tree_create(store, "tree", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t number = (uint32_t)((uint64_t)i * 2654435761u % RECORDS);
        char     key[16];

        key_make(key, number);
        if (tactus_put(store, tree, key, 12, &number, number % 3 == 0 ? 0 : sizeof number) !=
            TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    if (tactus_drain(store) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    return tree;
}

/* Each second key is not there. */
static void test_answers(struct tactus *store, uint32_t tree, const char *backend)
{
    static char          keys[LOOKUPS][16];
    struct tactus_lookup lookups[LOOKUPS];
    uint32_t             wrong = 0;

    for (uint32_t i = 0; i < LOOKUPS; i++) {
        key_make(keys[i], i * 19);
        lookups[i] = (struct tactus_lookup){keys[i], 12 - i % 2, -1, {keys, 1, {keys, keys}}};
    }
    tap_ok(tactus_get_many(store, tree, lookups, LOOKUPS) == TACTUS_OK,
           "%s: keys that are not there are no failure", backend);
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        const struct tactus_value *value = &lookups[i].value;
        uint32_t                   number = i * 19, size = number % 3 == 0 ? 0 : sizeof number;

        if (i % 2 == 1) {
            wrong += lookups[i].code != TACTUS_ENOTFOUND || value->data != NULL || value->size != 0;
        } else {
            wrong += lookups[i].code != TACTUS_OK || value->size != size || value->data == NULL ||
                     memcmp(value->data, &number, size) != 0;
        }
        tactus_value_release(&lookups[i].value);
        tactus_value_release(&lookups[i].value);
    }
    tap_ok(wrong == 0, "%s: each has its answer, an empty value too; a release twice does no harm",
           backend);
    tap_ok(tactus_get_many(store, tree, NULL, 0) == TACTUS_OK, "%s: none is nothing", backend);
}

static void test_failures(struct tactus *store, uint32_t tree)
{
    struct tactus_lookup lookups[] = {{.key = "key-00000001", .key_size = 12},
                                      {.key = "", .key_size = 0},
                                      {.key = "key-00000001, and longer", .key_size = 24},
                                      {.key = "key-00000002", .key_size = 12}};
    struct tactus_stats  stats;

    tap_ok(tactus_get_many(store, tree, lookups, 4) == TACTUS_EKEYSIZE &&
               strstr(tactus_message(), "key") != NULL && lookups[0].code == TACTUS_OK &&
               lookups[1].code == TACTUS_EKEYSIZE && lookups[2].code == TACTUS_EKEYSIZE &&
               lookups[3].code == TACTUS_OK,
           "a key that cannot be is the failure of the whole; the others are answered");
    for (uint32_t i = 0; i < 4; i++) {
        tactus_value_release(&lookups[i].value);
    }
    tap_ok(tactus_get_many(store, tree + 1, lookups, 4) == TACTUS_ENOTREE &&
               lookups[0].code == TACTUS_ENOTREE && lookups[3].code == TACTUS_ENOTREE &&
               lookups[0].value.data == NULL,
           "without a tree all fail");
    tactus_stat(store, &stats);
    tap_ok(stats.cache_misses > 0, "pages were read for all this");
}

int main(void)
{
    const char    *directory = getenv("TMPDIR");
    struct tactus *store;
    uint32_t       tree;

    tap_plan(0);
    snprintf(path, sizeof path, "%s/get_many_test.%d", directory != NULL ? directory : "/tmp",
             (int)getpid());
    store = store_open(TACTUS_BACKEND_AUTO);
    tree = tree_fill(store);
    test_answers(store, tree, "the best backend");
    test_failures(store, tree);
    tap_ok(tactus_close(store) == TACTUS_OK, "the store closes");
    store = store_open(TACTUS_BACKEND_POSIX);
    test_answers(store, tree, "posix");
    tap_ok(tactus_close(store) == TACTUS_OK, "and again");
    (void)unlink(path);
    return tap_done();
}
