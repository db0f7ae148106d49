/* SPDX-License-Identifier: Apache-2.0 */
/* repair -- writes what can still be read of a damaged store into a new one, and lists what cannot.
 *
 * The damaged store is not written to. Records go into the new store from the oldest table to the
 * newest, so that of each key the newest version that can be read stays. A key in the range of a
 * loss that is newer than its version is doubtful. Which keys are, changes with each newer version;
 * this is kept in a store in memory, which has the same trees. */
#include <string.h>
#include <unistd.h>

#include "pipeline/options.h"
#include "pipeline/salvage.h"
#include "tools/command.h"
#include "tools/escape.h"

#define DOUBT_BYTES 64
/* Any key fits a sixteenth of a block. */
#define DOUBTS_BLOCK_BYTES (16 * TACTUS_KEY_SIZE_MAX)
#define DOUBTS_MEMTABLE_BYTES (1024 * 1024)

struct repair {
    struct tac_arguments *arguments;
    const char           *path; /* Of the new store */
    struct tac_salvage    salvage;
    struct tactus        *target;
    struct tactus        *doubts;                  /* NULL: nothing is lost */
    uint32_t              trees[TACTUS_TREES_MAX]; /* Ids in the new stores, by number in the old */
    uint64_t              records, doubtful;
};

static int error_fail(const struct tac_error *error)
{
    const char *advice = tac_code_advice(error->code);

    tac_fail(TAC_EXIT_FAILED, "%s\n  %s", error->message,
             advice != NULL ? advice : "Nothing was changed.");
    return tac_code_status(error->code);
}

/* ---- the new stores ------------------------------------------------------------------------- */

static int trees_make(struct repair *repair, struct tactus *store, bool is_doubts)
{
    struct tac_manifest *manifest = repair->salvage.manifest;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_tree *tree = tac_manifest_tree(manifest, i);
        struct tactus_layout            layout = {
                       .kind = (enum tactus_layout_kind)tree->layout.kind,
                       .key_size = tree->layout.key_size,
                       .value_size = tree->layout.value_size,
        };
        int code;

        if (!tree->is_open) {
            continue; /* It was dropped. */
        }
        if (is_doubts) {
            layout.kind = TACTUS_LAYOUT_VARIABLE;
            layout.value_size = DOUBT_BYTES;
        }
        code = tactus_tree_create(store, tree->name, &layout, &repair->trees[i]);
        if (code != TACTUS_OK) {
            return tac_fail_code(code);
        }
    }
    return TAC_EXIT_OK;
}

static int target_make(struct repair *repair)
{
    struct tactus_options options = repair->arguments->options;
    int                   code;

    tac_options_from_shape(&options, &repair->salvage.superblock.shape);
    options.log = TACTUS_LOG_NONE;
    code = tactus_create(repair->path, &options);
    if (code != TACTUS_OK) {
        return tac_fail_create(code);
    }
    code = tactus_open(repair->path, &options, &repair->target);
    if (code != TACTUS_OK) {
        (void)unlink(repair->path);
    }
    return code == TACTUS_OK ? trees_make(repair, repair->target, false) : tac_fail_code(code);
}

static int doubts_make(struct repair *repair)
{
    struct tactus_options options;
    int                   code;

    if (repair->salvage.loss_count == 0) {
        return TAC_EXIT_OK;
    }
    tactus_options_init(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.threads_read = options.threads_merge = options.threads_write = 0;
    options.block_size = DOUBTS_BLOCK_BYTES;
    options.page_size = DOUBTS_BLOCK_BYTES / 4;
    options.memtable_size = DOUBTS_MEMTABLE_BYTES;
    options.table_size = DOUBTS_MEMTABLE_BYTES;
    options.file_size_max = (uint64_t)32 << 30;
    options.page_cache_size = options.index_cache_size = DOUBTS_MEMTABLE_BYTES;
    code = tactus_open(NULL, &options, &repair->doubts);
    return code == TACTUS_OK ? trees_make(repair, repair->doubts, true) : tac_fail_code(code);
}

/* ---- records -------------------------------------------------------------------------------- */

static int doubt_note(struct repair *repair, const struct tac_salvage_record *found)
{
    struct tac_bytes key = found->record.key;
    char             text[DOUBT_BYTES];
    int              size;

    if (!found->is_doubtful) {
        return tactus_delete(repair->doubts, repair->trees[found->tree], key.data, key.size);
    }
    size = snprintf(text, sizeof text, "%s level %u, table %llu",
                    found->record.is_tombstone ? "deleted in" : "value of", found->level,
                    (unsigned long long)found->table);
    return tactus_put(repair->doubts, repair->trees[found->tree], key.data, key.size, text,
                      (size_t)size);
}

static int record_take(void *context, const struct tac_salvage_record *found,
                       struct tac_error *error)
{
    struct repair   *repair = context;
    struct tac_bytes key = found->record.key, value = found->record.value;
    uint32_t         tree = repair->trees[found->tree];
    int              code;

    if (found->record.is_tombstone) {
        code = tactus_delete(repair->target, tree, key.data, key.size);
    } else {
        code = tactus_put(repair->target, tree, key.data, key.size, value.data, value.size);
    }
    if (code == TACTUS_OK && found->is_touched) {
        code = doubt_note(repair, found);
    }
    if (code != TACTUS_OK) {
        return tac_error_set(error, code, "%s: %s", tac_path_text(repair->path).text,
                             tactus_message());
    }
    repair->records++;
    return TACTUS_OK;
}

/* ---- the list ------------------------------------------------------------------------------- */

static void key_print(struct tac_bytes key)
{
    char escaped[TAC_ESCAPE_FACTOR * TACTUS_KEY_SIZE_MAX];

    fwrite(escaped, 1, tac_escape((const char *)key.data, key.size, escaped), stdout);
}

static const char *tree_name(const struct repair *repair, uint32_t tree)
{
    return tac_manifest_tree(repair->salvage.manifest, tree)->name;
}

/* What no survey of the tables can find. */
static bool is_behind(const struct repair *repair)
{
    const struct tac_superblock *superblock = &repair->salvage.superblock;
    bool                         has_log = (superblock->control.flags & TAC_CONTROL_LOGGED) != 0;

    if (repair->salvage.doubt.code != TACTUS_OK) {
        printf("behind: what was written after op %llu may be missing: %s\n",
               (unsigned long long)superblock->op_persisted, repair->salvage.doubt.message);
    }
    if (has_log) {
        printf("behind: what was written after op %llu is in the store's log, which is not read\n",
               (unsigned long long)superblock->op_persisted);
    }
    return has_log || repair->salvage.doubt.code != TACTUS_OK;
}

/* The new store has none. */
static bool has_snapshots(const struct repair *repair)
{
    const struct tac_salvage *salvage = &repair->salvage;

    if (salvage->snapshots_error.code != TACTUS_OK) {
        printf("snapshots: not in the new store, and their list cannot be read: %s\n",
               salvage->snapshots_error.message);
        return true;
    }
    if (salvage->snapshots.count > 0) {
        printf("snapshots: %u not in the new store:", salvage->snapshots.count);
        for (uint32_t i = 0; i < salvage->snapshots.count; i++) {
            printf(" %s", salvage->snapshots.entries[i].name);
        }
        printf("\n");
    }
    return salvage->snapshots.count > 0;
}

static void losses_print(const struct repair *repair)
{
    for (uint64_t i = 0; i < repair->salvage.loss_count; i++) {
        const struct tac_salvage_loss *loss = &repair->salvage.losses[i];

        printf("lost: tree %s, level %u, table %llu, block %llu, ", tree_name(repair, loss->tree),
               loss->level, (unsigned long long)loss->table, (unsigned long long)loss->address);
        if (loss->unit_first == 0) {
            printf("the whole table");
        } else {
            printf("page at unit %u", loss->unit_first);
        }
        printf(": at most %llu records, keys from ", (unsigned long long)loss->records);
        key_print(loss->from);
        printf(loss->is_to_excluded ? " to before " : " to ");
        key_print(loss->to);
        printf(": %s\n", loss->reason);
    }
}

static int tree_doubts_print(struct repair *repair, uint32_t tree)
{
    struct tactus_iterator *iterator;
    int code = tactus_iterator_open(repair->doubts, repair->trees[tree], &iterator);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    for (code = tactus_iterator_first(iterator); code == TACTUS_OK;
         code = tactus_iterator_next(iterator)) {
        const void *key, *text;
        size_t      key_size, text_size;

        tactus_iterator_record(iterator, &key, &key_size, &text, &text_size);
        printf("doubtful: tree %s, key ", tree_name(repair, tree));
        key_print((struct tac_bytes){key, (uint32_t)key_size});
        printf(": %.*s; a newer version may be lost\n", (int)text_size, (const char *)text);
        repair->doubtful++;
    }
    tactus_iterator_close(iterator);
    return code == TACTUS_ENOTFOUND ? TAC_EXIT_OK : tac_fail_code(code);
}

static int doubts_print(struct repair *repair)
{
    int status = TAC_EXIT_OK;

    for (uint32_t i = 0; repair->doubts != NULL && status == TAC_EXIT_OK &&
                         i < tac_manifest_tree_count(repair->salvage.manifest);
         i++) {
        if (tac_manifest_tree(repair->salvage.manifest, i)->is_open) {
            status = tree_doubts_print(repair, i);
        }
    }
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Fills the new store and makes it durable. */
static int target_fill(struct repair *repair)
{
    struct tac_salvage_visitor visitor = {record_take, repair};
    struct tac_error           error;
    int                        status = target_make(repair);
    int                        code;

    if (status == TAC_EXIT_OK) {
        status = doubts_make(repair);
    }
    if (status == TAC_EXIT_OK &&
        tac_salvage_visit(&repair->salvage, &visitor, &error) != TACTUS_OK) {
        status = error_fail(&error);
    }
    if (repair->target == NULL) {
        return status; /* It was there before, or it could not be made. */
    }
    if (status == TAC_EXIT_OK) {
        code = tactus_close(repair->target);
        status = code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
    } else {
        tactus_abandon(repair->target);
    }
    if (status != TAC_EXIT_OK) {
        (void)unlink(repair->path); /* Half a copy would be taken for a whole one. */
    }
    return status;
}

static int salvage_run(struct repair *repair)
{
    struct tac_error error;
    int              status;
    bool             is_complete;

    if (tac_salvage_survey(&repair->salvage, &error) != TACTUS_OK) {
        return error_fail(&error);
    }
    status = target_fill(repair);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    is_complete = !is_behind(repair);
    is_complete = !has_snapshots(repair) && is_complete && repair->salvage.loss_count == 0;
    losses_print(repair);
    status = doubts_print(repair);
    printf("%llu tables, %llu records read: ", (unsigned long long)repair->salvage.tables,
           (unsigned long long)repair->records);
    if (is_complete) {
        printf("nothing is missing\n");
        return status;
    }
    printf("%llu losses, %llu doubtful keys\n", (unsigned long long)repair->salvage.loss_count,
           (unsigned long long)repair->doubtful);
    return status == TAC_EXIT_OK ? TAC_EXIT_NO : status;
}

/* Without the manifest nobody knows which of the file's blocks are current, nor of which tree. */
static int begin_fail(const struct tac_error *error)
{
    if (error->code != TACTUS_ECORRUPT) {
        return error_fail(error);
    }
    printf("lost: everything: %s\nno new store was made\n", error->message);
    return TAC_EXIT_NO;
}

int tac_cmd_repair(struct tac_arguments *arguments)
{
    struct repair       repair = {.arguments = arguments, .path = arguments->operands[0]};
    struct tac_storage *storage;
    struct tac_error    error;
    int                 status;

    tac_assert(arguments->operand_count == 1);
    if (tac_storage_open_file(arguments->store_path, arguments->options.backend,
                              arguments->options.direct_io, &storage, &error) != TACTUS_OK) {
        return error_fail(&error);
    }
    if (tac_salvage_begin(&repair.salvage, storage, &error) == TACTUS_OK) {
        status = salvage_run(&repair);
    } else {
        status = begin_fail(&error);
    }
    if (repair.doubts != NULL) {
        tactus_abandon(repair.doubts);
    }
    tac_salvage_end(&repair.salvage);
    storage->ops->close(storage);
    return status;
}
