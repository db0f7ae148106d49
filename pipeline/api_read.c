/* SPDX-License-Identifier: Apache-2.0 */
/* api_read -- gets and iterators of tactus.h. No lock is taken here. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/api_internal.h"

struct tactus_iterator {
    struct tactus       *store;
    struct tac_iterator *iterator;
};

static int read_check(struct tactus *store, uint32_t tree, const void *key, size_t key_size)
{
    struct tac_layout layout;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (tac_api_tree_layout(store, tree, &layout) != TACTUS_OK) {
        return tac_api_error.code;
    }
    return key_size == SIZE_MAX ? TACTUS_OK : tac_api_key_check(&layout, key, key_size);
}

static int value_get(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                     struct tac_value_sink *sink)
{
    int result = read_check(store, tree, key, key_size);

    if (result != TACTUS_OK) {
        return result;
    }
    tac_error_clear(&tac_api_error);
    return tac_read_side_get(&store->read_side, tree, (struct tac_bytes){key, (uint32_t)key_size},
                             sink, &tac_api_error);
}

int tactus_get(struct tactus *store, uint32_t tree, const void *key, size_t key_size, void *buffer,
               size_t buffer_size, size_t *ret_value_size)
{
    struct tac_value_sink sink = {.buffer = buffer, .room = buffer_size};
    int                   result = value_get(store, tree, key, key_size, &sink);

    if (result == TACTUS_OK && ret_value_size != NULL) {
        *ret_value_size = sink.size;
    }
    return result;
}

int tactus_get_pinned(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                      struct tactus_value *ret_value)
{
    struct tac_value_sink sink = {.is_pinning = true};
    int                   result = value_get(store, tree, key, key_size, &sink);

    if (result == TACTUS_OK) {
        *ret_value = tac_value_sink_value(&sink);
    }
    return result;
}

void tactus_value_release(struct tactus_value *value)
{
    struct tac_value_sink sink = {.frame = value->internal[0], .copy = value->internal[1]};

    tac_value_sink_release(&sink);
    *value = (struct tactus_value){0};
}

int tactus_get_many(struct tactus *store, uint32_t tree, struct tactus_lookup *lookups,
                    size_t count)
{
    struct tac_layout layout;
    struct tac_error  first; /* Of a key that no record can have */
    int               result = TACTUS_OK, reads;
    int               whole = tac_api_fork_check(store);

    if (whole == TACTUS_OK) {
        whole = tac_api_tree_layout(store, tree, &layout);
    }
    for (size_t i = 0; i < count; i++) {
        struct tactus_lookup *lookup = &lookups[i];

        lookup->value = (struct tactus_value){0};
        lookup->code =
            whole != TACTUS_OK ? whole : tac_api_key_check(&layout, lookup->key, lookup->key_size);
        if (whole == TACTUS_OK && lookup->code != TACTUS_OK && result == TACTUS_OK) {
            result = lookup->code;
            first = tac_api_error;
        }
    }
    if (whole != TACTUS_OK) {
        return whole;
    }
    reads = tac_read_side_get_many(&store->read_side, tree, lookups, count, &tac_api_error);
    if (result != TACTUS_OK) {
        tac_api_error = first;
        return result;
    }
    return reads;
}

int tac_api_iterator_open(struct tactus *store, const struct tac_view *view, uint32_t tree,
                          struct tactus_iterator **ret_iterator)
{
    struct tactus_iterator *iterator;
    int                     result;

    iterator = calloc(1, sizeof *iterator);
    if (iterator == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for an iterator");
    }
    iterator->store = store;
    result = view == NULL
                 ? tac_iterator_open(&store->read_side, tree, &iterator->iterator, &tac_api_error)
                 : tac_iterator_open_of(&store->read_side, view, tree, &iterator->iterator,
                                        &tac_api_error);
    if (result != TACTUS_OK) {
        free(iterator);
        return result;
    }
    *ret_iterator = iterator;
    return TACTUS_OK;
}

int tactus_iterator_open(struct tactus *store, uint32_t tree, struct tactus_iterator **ret_iterator)
{
    int result = read_check(store, tree, NULL, SIZE_MAX);

    return result != TACTUS_OK ? result : tac_api_iterator_open(store, NULL, tree, ret_iterator);
}

void tactus_iterator_close(struct tactus_iterator *iterator)
{
    if (iterator != NULL) {
        tac_iterator_close(iterator->iterator);
        free(iterator);
    }
}

/* NULL is no bound. */
static int bound_check(const char *what, const void *key, size_t key_size)
{
    if (key == NULL && key_size == 0) {
        return TACTUS_OK;
    }
    if (key == NULL || key_size == 0 || key_size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE,
                             "%s of %zu bytes; 1 to %d, or NULL with 0 for none", what, key_size,
                             TACTUS_KEY_SIZE_MAX);
    }
    return TACTUS_OK;
}

int tactus_iterator_bound(struct tactus_iterator *iterator, const void *low, size_t low_size,
                          const void *high, size_t high_size)
{
    if (tac_api_fork_check(iterator->store) != TACTUS_OK ||
        bound_check("a low bound", low, low_size) != TACTUS_OK ||
        bound_check("a high bound", high, high_size) != TACTUS_OK) {
        return tac_api_error.code;
    }
    return tac_iterator_bound(iterator->iterator, (struct tac_bytes){low, (uint32_t)low_size},
                              (struct tac_bytes){high, (uint32_t)high_size}, &tac_api_error);
}

int tactus_iterator_prefix(struct tactus_iterator *iterator, const void *prefix, size_t prefix_size)
{
    uint8_t high[TACTUS_KEY_SIZE_MAX];
    size_t  high_size = prefix_size;

    if (tac_api_fork_check(iterator->store) != TACTUS_OK ||
        bound_check("a prefix", prefix, prefix_size) != TACTUS_OK) {
        return tac_api_error.code;
    }
    /* The least key above all that begin so: without the bytes at its end that are as high as can
     * be, and one more in what is left. No such key: no bound. */
    if (high_size > 0) {
        memcpy(high, prefix, high_size);
    }
    while (high_size > 0 && high[high_size - 1] == UINT8_MAX) {
        high_size--;
    }
    if (high_size > 0) {
        high[high_size - 1]++;
    }
    return tac_iterator_bound(iterator->iterator, (struct tac_bytes){prefix, (uint32_t)prefix_size},
                              (struct tac_bytes){high, (uint32_t)high_size}, &tac_api_error);
}

int tactus_iterator_first(struct tactus_iterator *iterator)
{
    return tac_api_fork_check(iterator->store) != TACTUS_OK
               ? tac_api_error.code
               : tac_iterator_first(iterator->iterator, &tac_api_error);
}

int tactus_iterator_last(struct tactus_iterator *iterator)
{
    return tac_api_fork_check(iterator->store) != TACTUS_OK
               ? tac_api_error.code
               : tac_iterator_last(iterator->iterator, &tac_api_error);
}

/* Any byte string is a place in the order; none at all is before every key. */
static int seek_check(const struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    if (tac_api_fork_check(iterator->store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    if (key == NULL || key_size == 0 || key_size > TACTUS_KEY_SIZE_MAX) {
        return tac_error_set(&tac_api_error, TACTUS_EKEYSIZE, "key of %zu bytes; 1 to %d", key_size,
                             TACTUS_KEY_SIZE_MAX);
    }
    return TACTUS_OK;
}

int tactus_iterator_seek(struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    int result = seek_check(iterator, key, key_size);

    return result != TACTUS_OK
               ? result
               : tac_iterator_seek(iterator->iterator, (struct tac_bytes){key, (uint32_t)key_size},
                                   &tac_api_error);
}

int tactus_iterator_seek_back(struct tactus_iterator *iterator, const void *key, size_t key_size)
{
    int result = seek_check(iterator, key, key_size);

    return result != TACTUS_OK ? result
                               : tac_iterator_seek_back(iterator->iterator,
                                                        (struct tac_bytes){key, (uint32_t)key_size},
                                                        &tac_api_error);
}

int tactus_iterator_next(struct tactus_iterator *iterator)
{
    return tac_api_fork_check(iterator->store) != TACTUS_OK
               ? tac_api_error.code
               : tac_iterator_next(iterator->iterator, &tac_api_error);
}

int tactus_iterator_previous(struct tactus_iterator *iterator)
{
    return tac_api_fork_check(iterator->store) != TACTUS_OK
               ? tac_api_error.code
               : tac_iterator_previous(iterator->iterator, &tac_api_error);
}

void tactus_iterator_record(const struct tactus_iterator *iterator, const void **ret_key,
                            size_t *ret_key_size, const void **ret_value, size_t *ret_value_size)
{
    const struct tac_record *record = tac_iterator_record(iterator->iterator);

    *ret_key = record->key.data;
    *ret_key_size = record->key.size;
    *ret_value = record->value.data;
    *ret_value_size = record->value.size;
}
