/* SPDX-License-Identifier: Apache-2.0 */
/* indexed_objects -- orders, and three secondary indexes that never disagree with them.
 *
 *   indexed_objects run STORE OPTIONS COUNT   so many random changes, each printed when it is made
 *   indexed_objects check STORE OPTIONS       compares orders and indexes both ways, prints orders
 *
 * An index is a tree without values. Its keys are a field of an order and then, as many orders may
 * have the same, the id of the order. A change of an order and of its index records is one batch: a
 * crash leaves all of it or nothing, with a log or without. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tactus.h>

#define NUMBER_BYTES 8
#define KEY_BYTES_MAX (2 * NUMBER_BYTES)
#define ORDER_BYTES (FIELDS * NUMBER_BYTES)

enum {
    ID,
    CUSTOMER,
    STATUS,
    DUE,
    FIELDS
};

struct order {
    uint64_t field[FIELDS];
};

/* A tree for each field: that of the id has the orders, the others are indexes. */
static const char *const tree_names[FIELDS] = {"orders", "by_customer", "by_status", "by_due"};

struct database {
    struct tactus       *store;
    struct tactus_batch *batch; /* For every change: a commit clears it and keeps its memory */
    uint32_t             tree[FIELDS];
};

static void check(int code)
{
    if (code != TACTUS_OK) {
        fprintf(stderr, "indexed_objects: %s\n", tactus_message());
        exit(1);
    }
}

/* Keys compare as bytes: highest byte first, so that numbers keep their order. */
static void number_put(uint8_t *bytes, uint64_t number)
{
    for (int i = NUMBER_BYTES - 1; i >= 0; i--) {
        bytes[i] = (uint8_t)number;
        number >>= 8;
    }
}

static uint64_t number_get(const uint8_t *bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < NUMBER_BYTES; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/* The key of the order in the tree of this field. Returns its size. */
static size_t key_make(const struct order *order, int field, uint8_t key[KEY_BYTES_MAX])
{
    size_t size = 0;

    if (field != ID) {
        number_put(key, order->field[field]);
        size = NUMBER_BYTES;
    }
    number_put(key + size, order->field[ID]);
    return size + NUMBER_BYTES;
}

/* Returns the last op that the store came with. */
static uint64_t database_open(struct database *database, const char *path, const char *text)
{
    struct tactus_options options;
    uint64_t              op;
    int                   code;

    tactus_options_init(&options);
    check(tactus_options_parse(&options, text));
    code = tactus_create(path, &options);
    check(code == TACTUS_EEXISTS ? TACTUS_OK : code);
    check(tactus_open(path, &options, &database->store));
    op = tactus_last_op(database->store);
    for (int i = 0; i < FIELDS; i++) {
        struct tactus_layout layout = {TACTUS_LAYOUT_FIXED, KEY_BYTES_MAX, 0};

        if (i == ID) {
            layout.key_size = NUMBER_BYTES;
            layout.value_size = ORDER_BYTES;
        }
        code = tactus_tree_find(database->store, tree_names[i], &database->tree[i]);
        check(code == TACTUS_ENOTREE
                  ? tactus_tree_create(database->store, tree_names[i], &layout, &database->tree[i])
                  : code);
    }
    check(tactus_batch_new(database->store, &database->batch));
    return op;
}

static bool order_find(struct database *database, uint64_t id, struct order *ret_order)
{
    uint8_t key[NUMBER_BYTES], value[ORDER_BYTES];
    size_t  size;
    int     code;

    number_put(key, id);
    code = tactus_get(database->store, database->tree[ID], key, sizeof key, value, sizeof value,
                      &size);
    if (code == TACTUS_ENOTFOUND) {
        return false;
    }
    check(code);
    for (int i = 0; i < FIELDS; i++) {
        ret_order->field[i] = number_get(value + i * NUMBER_BYTES);
    }
    return true;
}

/* From what an order was to what it is to be; NULL: it was not there, or is not to be. Returns the
 * op. Which index records go follows from what was stored: where several threads write, give that
 * to tactus_batch_expect, and after TACTUS_ECONFLICT find the order again. */
static uint64_t order_change(struct database *database, const struct order *before,
                             const struct order *after)
{
    struct tactus_batch *batch = database->batch;
    uint8_t              key[KEY_BYTES_MAX], value[ORDER_BYTES];
    uint64_t             op = 0;

    for (int i = 0; i < FIELDS; i++) {
        if (before != NULL) {
            size_t size = key_make(before, i, key);

            check(tactus_batch_delete(batch, database->tree[i], key, size));
        }
        if (after != NULL && i != ID) { /* Where the key is the same, the later entry wins. */
            size_t size = key_make(after, i, key);

            check(tactus_batch_put(batch, database->tree[i], key, size, NULL, 0));
        }
    }
    if (after != NULL) {
        for (int i = 0; i < FIELDS; i++) {
            number_put(value + i * NUMBER_BYTES, after->field[i]);
        }
        check(tactus_batch_put(batch, database->tree[ID], value + ID * NUMBER_BYTES, NUMBER_BYTES,
                               value, sizeof value));
    }
    check(tactus_batch_commit(batch, &op));
    return op;
}

static void order_print(const struct order *order)
{
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", order->field[ID],
           order->field[CUSTOMER], order->field[STATUS], order->field[DUE]);
}

static void run(struct database *database, unsigned long count)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* What is done has been said when a crash comes. */
    srand((unsigned)tactus_last_op(database->store));
    for (; count > 0; count--) {
        struct order after = {{(uint64_t)(rand() % 2000), (uint64_t)(rand() % 100),
                               (uint64_t)(rand() % 5), (uint64_t)rand()}};
        struct order before;
        bool         is_there = order_find(database, after.field[ID], &before);
        bool         is_delete = is_there && rand() % 4 == 0;
        uint64_t op = order_change(database, is_there ? &before : NULL, is_delete ? NULL : &after);

        printf("%" PRIu64 " %s ", op, is_delete ? "delete" : "put");
        order_print(is_delete ? &before : &after);
    }
}

/* All records of this tree: each belongs to an order, and each order has one in every index. */
static void tree_check(struct database *database, int field)
{
    struct tactus_iterator *iterator;
    int                     code;

    check(tactus_iterator_open(database->store, database->tree[field], &iterator));
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        const void  *key, *value;
        size_t       key_size, size;
        uint8_t      expected[KEY_BYTES_MAX];
        struct order order;
        uint64_t     id;
        bool         agrees;

        tactus_iterator_record(iterator, &key, &key_size, &value, &size);
        id = number_get((const uint8_t *)key + key_size - NUMBER_BYTES);
        agrees = order_find(database, id, &order) &&
                 key_make(&order, field, expected) == key_size &&
                 memcmp(key, expected, key_size) == 0;
        for (int i = ID + 1; agrees && field == ID && i < FIELDS; i++) {
            size_t index_size = key_make(&order, i, expected);

            code = tactus_get(database->store, database->tree[i], expected, index_size, NULL, 0,
                              &size);
            agrees = code != TACTUS_ENOTFOUND;
            check(agrees ? code : TACTUS_OK);
        }
        if (!agrees) {
            fprintf(stderr, "indexed_objects: order %" PRIu64 " and its indexes disagree\n", id);
            exit(1);
        }
        if (field == ID) {
            order_print(&order);
        }
    }
    check(code == TACTUS_ENOTFOUND ? TACTUS_OK : code);
    tactus_iterator_close(iterator);
}

int main(int argc, char **argv)
{
    bool            is_run = argc == 5 && strcmp(argv[1], "run") == 0;
    struct database database;
    uint64_t        op;

    if (!is_run && !(argc == 4 && strcmp(argv[1], "check") == 0)) {
        fputs("usage: indexed_objects run STORE OPTIONS COUNT | check STORE OPTIONS\n", stderr);
        return 2;
    }
    op = database_open(&database, argv[2], argv[3]);
    if (is_run) {
        run(&database, strtoul(argv[4], NULL, 10));
    } else {
        printf("op %" PRIu64 "\n", op);
        for (int i = 0; i < FIELDS; i++) {
            tree_check(&database, i);
        }
    }
    tactus_batch_free(database.batch);
    if (is_run) {
        check(tactus_close(database.store));
    } else {
        tactus_abandon(database.store); /* Changes nothing; a close would drain. */
    }
    return 0;
}
