/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <tactus.h>

static void check(int code)
{
    if (code != TACTUS_OK) {
        fprintf(stderr, "first_store: %s\n", tactus_message());
        exit(1);
    }
}

int main(void)
{
    struct tactus_options   options;
    struct tactus_layout    layout = {.kind = TACTUS_LAYOUT_VARIABLE, .key_size = 32};
    struct tactus          *store;
    struct tactus_iterator *iterator;
    const void             *key, *value;
    size_t                  key_size, value_size;
    char                    capital[64];
    uint32_t                tree;
    int                     code;

    tactus_options_init(&options);
    code = tactus_create("first.tactus", &options);
    check(code == TACTUS_EEXISTS ? TACTUS_OK : code); /* from an earlier run */
    check(tactus_open("first.tactus", &options, &store));
    code = tactus_tree_create(store, "capitals", &layout, &tree);
    check(code == TACTUS_EEXISTS ? tactus_tree_find(store, "capitals", &tree) : code);

    check(tactus_put(store, tree, "Peru", 4, "Lima", 4));
    check(tactus_put(store, tree, "Norway", 6, "Oslo", 4));
    check(tactus_get(store, tree, "Peru", 4, capital, sizeof capital, &value_size));
    printf("The capital of Peru is %.*s.\n", (int)value_size, capital);

    check(tactus_iterator_open(store, tree, &iterator));
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        printf("%.*s: %.*s\n", (int)key_size, (const char *)key, (int)value_size,
               (const char *)value);
    }
    check(code == TACTUS_ENOTFOUND ? TACTUS_OK : code); /* no further record */
    tactus_iterator_close(iterator);
    check(tactus_close(store));
    return 0;
}
