/* SPDX-License-Identifier: Apache-2.0 */
/* api_snapshot -- snapshots of tactus.h: the ops, and reading. */
#include <stdlib.h>
#include <string.h>

#include "pipeline/api_internal.h"
#include "queues/atomics.h"

/* Everything but the links is fixed once it is open, so readers need no lock. */
struct tactus_snapshot {
    struct tactus            *store;
    struct tac_snapshot_entry entry;
    struct tac_manifest      *manifest; /* Its descriptors are its own */
    struct tac_version       *version;
    struct tac_view           view;
    struct tactus_snapshot   *next; /* Open ones of the store; with its snapshots' lock */
};

/* ---- the ops -------------------------------------------------------------------------------- */

static int name_check(const char *name)
{
    return tac_api_name_is_legal(name, TACTUS_SNAPSHOT_NAME_MAX)
               ? TACTUS_OK
               : tac_error_set(&tac_api_error, TACTUS_EINVAL,
                               "a snapshot's name is 1 to %d of A-Z a-z 0-9 _ . -",
                               TACTUS_SNAPSHOT_NAME_MAX);
}

int tactus_snapshot_create(struct tactus *store, const char *name, uint64_t *ret_op)
{
    uint64_t op;
    int      result;

    if (name_check(name) != TACTUS_OK || tac_api_maintenance_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_snapshot_take(store, name, &tac_api_error);
    op = store->last_op;
    tac_api_unlock(store);
    if (result == TACTUS_OK && ret_op != NULL) {
        *ret_op = op;
    }
    return result;
}

int tactus_snapshot_release(struct tactus *store, const char *name)
{
    int result;

    if (name_check(name) != TACTUS_OK || tac_api_maintenance_lock(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    result = tac_snapshot_release(store, name, &tac_api_error);
    tac_api_unlock(store);
    return result;
}

/* One that is being taken is not there yet: its checkpoint is not durable. */
static bool entry_is_there(struct tactus *store, const struct tac_snapshot_entry *entry)
{
    return entry->op <= tac_atomic_load_acquire_u64(&store->durable_op);
}

int tactus_snapshot_list(struct tactus *store, struct tactus_snapshot_info *snapshots,
                         uint32_t snapshots_max, uint32_t *ret_count)
{
    const struct tac_snapshot_directory *directory = &store->snapshots.directory;
    uint32_t                             count = 0;

    if (tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    pthread_mutex_lock(&store->snapshots.lock);
    for (uint32_t i = 0; i < directory->count; i++) {
        const struct tac_snapshot_entry *entry = &directory->entries[i];

        if (!entry_is_there(store, entry)) {
            continue;
        }
        if (count < snapshots_max) {
            memcpy(snapshots[count].name, entry->name, sizeof snapshots[count].name);
            snapshots[count].op = entry->op;
            snapshots[count].tables = entry->table_count;
            snapshots[count].bytes = entry->bytes;
        }
        count++;
    }
    pthread_mutex_unlock(&store->snapshots.lock);
    *ret_count = count;
    return TACTUS_OK;
}

/* ---- open and close ------------------------------------------------------------------------- */

bool tac_snapshot_is_open(const struct tac_snapshots *snapshots, uint64_t op)
{
    const struct tactus_snapshot *snapshot = snapshots->open_first;

    while (snapshot != NULL && snapshot->entry.op != op) {
        snapshot = snapshot->next;
    }
    return snapshot != NULL;
}

/* From here on it cannot be released. */
static int snapshot_enter(struct tactus_snapshot *snapshot, const char *name)
{
    struct tac_snapshots                *snapshots = &snapshot->store->snapshots;
    const struct tac_snapshot_directory *directory = &snapshots->directory;
    int                                  result = TACTUS_OK;
    uint32_t                             number;

    pthread_mutex_lock(&snapshots->lock);
    number = tac_snapshot_directory_find(directory, name);
    if (number == directory->count ||
        !entry_is_there(snapshot->store, &directory->entries[number]) ||
        directory->entries[number].op == snapshots->releasing_op) {
        result =
            tac_error_set(&tac_api_error, TACTUS_ENOTFOUND, "there is no snapshot \"%s\"", name);
    } else {
        snapshot->entry = directory->entries[number];
        snapshot->next = snapshots->open_first;
        snapshots->open_first = snapshot;
    }
    pthread_mutex_unlock(&snapshots->lock);
    return result;
}

static void snapshot_leave(struct tactus_snapshot *snapshot)
{
    struct tac_snapshots    *snapshots = &snapshot->store->snapshots;
    struct tactus_snapshot **link = &snapshots->open_first;

    pthread_mutex_lock(&snapshots->lock);
    while (*link != snapshot) {
        tac_assert(*link != NULL); /* Else it is closed twice */
        link = &(*link)->next;
    }
    *link = snapshot->next;
    pthread_mutex_unlock(&snapshots->lock);
}

static int snapshot_load(struct tactus_snapshot *snapshot)
{
    struct tac_manifest_log *log;
    uint32_t                 tables;
    int result = tac_snapshot_read(snapshot->store, &snapshot->entry, &snapshot->manifest, &log,
                                   &tac_api_error);

    if (result != TACTUS_OK) {
        return result;
    }
    tac_manifest_log_free(log);
    tables = (uint32_t)tac_manifest_table_count(snapshot->manifest);
    snapshot->version = tac_version_new(tables > 0 ? tables : 1);
    if (snapshot->version == NULL) {
        tac_manifest_free(snapshot->manifest);
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM,
                             "snapshot \"%s\": out of memory for %u tables", snapshot->entry.name,
                             tables);
    }
    tac_manifest_trees_open(snapshot->manifest, snapshot->entry.op);
    tac_version_fill(snapshot->version, snapshot->manifest, TAC_VIEW_BAR_NEVER);
    snapshot->view = (struct tac_view){.bar = TAC_VIEW_BAR_NEVER, .version = snapshot->version};
    return TACTUS_OK;
}

int tactus_snapshot_open(struct tactus *store, const char *name,
                         struct tactus_snapshot **ret_snapshot)
{
    struct tactus_snapshot *snapshot;
    int                     result;

    if (name_check(name) != TACTUS_OK || tac_api_fork_check(store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return tac_error_set(&tac_api_error, TACTUS_ENOMEM, "out of memory for a snapshot");
    }
    snapshot->store = store;
    result = snapshot_enter(snapshot, name);
    if (result == TACTUS_OK) {
        result = snapshot_load(snapshot);
        if (result != TACTUS_OK) {
            snapshot_leave(snapshot);
        }
    }
    if (result != TACTUS_OK) {
        free(snapshot);
        return result;
    }
    *ret_snapshot = snapshot;
    return TACTUS_OK;
}

/* In a forked child the lock may be held for ever; its list of open ones is of no use there. */
void tactus_snapshot_close(struct tactus_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    if (!tac_storage_is_forked(snapshot->store->storage)) {
        snapshot_leave(snapshot);
    }
    tac_version_free(snapshot->version);
    tac_manifest_free(snapshot->manifest);
    free(snapshot);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* *ret_tree: as the snapshot has it. */
static int tree_find(const struct tactus_snapshot *snapshot, uint32_t id,
                     const struct tac_version_tree **ret_tree)
{
    if (tac_api_fork_check(snapshot->store) != TACTUS_OK) {
        return tac_api_error.code;
    }
    *ret_tree = tac_version_tree_find(snapshot->version, id);
    return *ret_tree != NULL
               ? TACTUS_OK
               : tac_error_set(&tac_api_error, TACTUS_ENOTREE,
                               "snapshot \"%s\" has no tree with id %u", snapshot->entry.name, id);
}

int tactus_snapshot_get(struct tactus_snapshot *snapshot, uint32_t tree, const void *key,
                        size_t key_size, void *buffer, size_t buffer_size, size_t *ret_value_size)
{
    struct tac_value_sink          sink = {.buffer = buffer, .room = buffer_size};
    const struct tac_version_tree *found;
    int                            result = tree_find(snapshot, tree, &found);

    if (result == TACTUS_OK) {
        result = tac_api_key_check(&found->layout, key, key_size);
    }
    if (result == TACTUS_OK) {
        tac_error_clear(&tac_api_error);
        result = tac_read_side_get_of(&snapshot->store->read_side, &snapshot->view, tree,
                                      (struct tac_bytes){key, (uint32_t)key_size}, &sink,
                                      &tac_api_error);
    }
    if (result == TACTUS_OK && ret_value_size != NULL) {
        *ret_value_size = sink.size;
    }
    return result;
}

int tactus_snapshot_iterator(struct tactus_snapshot *snapshot, uint32_t tree,
                             struct tactus_iterator **ret_iterator)
{
    const struct tac_version_tree *found;
    int                            result = tree_find(snapshot, tree, &found);

    return result != TACTUS_OK
               ? result
               : tac_api_iterator_open(snapshot->store, &snapshot->view, tree, ret_iterator);
}
