/* SPDX-License-Identifier: Apache-2.0 */
/* first_store -- makes a store, puts two records into it, reads them back. */
#include <stdio.h>
#include <stdlib.h>
#include <tactus.h>

static void check(int code)
{
    if (code != TACTUS_OK && code != TACTUS_EEXISTS) { /* There is one from an earlier run */
        fprintf(stderr, "first_store: %s\n", tactus_message());
        exit(1);
    }
}

int main(void)
{
    struct tactus_layout    layout = {.kind = TACTUS_LAYOUT_VARIABLE, .key_size = 32};
    struct tactus          *store;
    struct tactus_iterator *iterator;
    const void             *key, *value;
    size_t                  key_size, size;
    char                    capital[64];
    uint32_t                tree;

    check(tactus_create("first.tactus", NULL));
    check(tactus_open("first.tactus", NULL, &store));
    check(tactus_tree_create(store, "capitals", &layout, NULL));
    check(tactus_tree_find(store, "capitals", &tree));

    check(tactus_put(store, tree, "Peru", 4, "Lima", 4));
    check(tactus_put(store, tree, "Norway", 6, "Oslo", 4));
    check(tactus_get(store, tree, "Peru", 4, capital, sizeof capital, &size));
    printf("The capital of Peru is %.*s.\n", (int)size, capital);

    check(tactus_iterator_open(store, tree, &iterator));
    for (int code = tactus_iterator_first(iterator); code != TACTUS_ENOTFOUND;
         code = tactus_iterator_next(iterator)) {
        check(code);
        tactus_iterator_record(iterator, &key, &key_size, &value, &size);
        printf("%.*s: %.*s\n", (int)key_size, (char *)key, (int)size, (char *)value);
    }
    tactus_iterator_close(iterator);
    check(tactus_close(store));
    return 0;
}
