/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/snapshot_directory.h"

#include "base/bytes.h"
#include "base/mutant.h"
#include "lsm/manifest_event.h"

/* A block's own fields behind the common header, then the entries. */
enum {
    OFFSET_COUNT = TAC_BLOCK_HEADER_BYTES, /* u32; 12 zero bytes follow */
    OFFSET_ENTRIES = TAC_BLOCK_HEADER_BYTES + 16,
};
enum {
    ENTRY_OFFSET_NAME = 0, /* 64 bytes, zero-padded */
    ENTRY_OFFSET_OP = 64,
    ENTRY_OFFSET_SEQUENCE = 72,
    ENTRY_OFFSET_TABLE_ID_LAST = 80,
    ENTRY_OFFSET_STAMP_LAST = 88,
    ENTRY_OFFSET_TABLE_COUNT = 96,
    ENTRY_OFFSET_BYTES = 104,
    ENTRY_OFFSET_BLOCK_COUNT = 112,
    ENTRY_OFFSET_NEWEST = 120,   /* u64 address, u128 checksum */
    ENTRY_OFFSET_CHECKSUM = 144, /* u128 */
    ENTRY_BYTES = 160,
};

tac_static_assert(ENTRY_OFFSET_NAME + TACTUS_SNAPSHOT_NAME_MAX + 1 == ENTRY_OFFSET_OP,
                  "a name has its room");
tac_static_assert(OFFSET_ENTRIES + TAC_SNAPSHOTS_MAX * ENTRY_BYTES <= 4096,
                  "a directory fits into the smallest block");

/* ---- what is needed ------------------------------------------------------------------------- */

uint32_t tac_snapshot_directory_find(const struct tac_snapshot_directory *directory,
                                     const char                          *name)
{
    uint32_t number = 0;

    while (number < directory->count && strcmp(directory->entries[number].name, name) != 0) {
        number++;
    }
    return number;
}

uint64_t tac_snapshot_directory_newest(const struct tac_snapshot_directory *directory,
                                       const struct tac_table              *table)
{
    const struct tac_snapshot_entry *newest;

    tac_assert(!table->is_retained);
    if (directory->count == 0) {
        return 0;
    }
    newest = &directory->entries[directory->count - 1];
    return table->id + TAC_MUTANT(SNAPSHOT_LAST_TABLE) <= newest->table_id_last ? newest->op : 0;
}

bool tac_snapshot_directory_needs(const struct tac_snapshot_directory *directory,
                                  const struct tac_table              *table)
{
    tac_assert(table->is_retained);
    for (uint32_t i = 0; i < directory->count; i++) {
        const struct tac_snapshot_entry *entry = &directory->entries[i];

        if (table->id <= entry->table_id_last && entry->op <= table->snapshot_max) {
            return true;
        }
    }
    return false;
}

/* Ids of tables ascend: below which one must one have been, to be in any such snapshot? */
static uint64_t table_id_before(const struct tac_snapshot_directory *directory, uint64_t op)
{
    uint64_t id = 0;

    for (uint32_t i = 0; i < directory->count && directory->entries[i].op < op; i++) {
        id = directory->entries[i].table_id_last;
    }
    return id;
}

bool tac_snapshot_directory_has_tree(const struct tac_snapshot_directory *directory,
                                     const struct tac_manifest_tree      *tree)
{
    uint64_t id = table_id_before(directory, tree->dropped_op);

    for (uint32_t i = 0; i < TACTUS_LEVELS_MAX; i++) {
        for (uint32_t j = 0; j < tree->levels[i].table_count; j++) {
            if (tree->levels[i].tables[j]->id <= id) {
                return true;
            }
        }
    }
    for (uint32_t i = 0; i < tree->retained.table_count; i++) {
        if (tac_snapshot_directory_needs(directory, tree->retained.tables[i])) {
            return true;
        }
    }
    return false;
}

uint64_t tac_snapshot_directory_unneeded(const struct tac_snapshot_directory *directory,
                                         struct tac_manifest                 *manifest)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < tac_manifest_tree_count(manifest); i++) {
        const struct tac_manifest_retained *retained = &tac_manifest_tree(manifest, i)->retained;

        for (uint32_t j = 0; j < retained->table_count; j++) {
            count += !tac_snapshot_directory_needs(directory, retained->tables[j]);
        }
    }
    return count;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void entry_encode(uint8_t *bytes, const struct tac_snapshot_entry *entry)
{
    memcpy(bytes + ENTRY_OFFSET_NAME, entry->name, strlen(entry->name));
    tac_store_u64(bytes + ENTRY_OFFSET_OP, entry->op);
    tac_store_u64(bytes + ENTRY_OFFSET_SEQUENCE, entry->sequence);
    tac_store_u64(bytes + ENTRY_OFFSET_TABLE_ID_LAST, entry->table_id_last);
    tac_store_u64(bytes + ENTRY_OFFSET_STAMP_LAST, entry->stamp_last);
    tac_store_u64(bytes + ENTRY_OFFSET_TABLE_COUNT, entry->table_count);
    tac_store_u64(bytes + ENTRY_OFFSET_BYTES, entry->bytes);
    tac_store_u64(bytes + ENTRY_OFFSET_BLOCK_COUNT, entry->block_count);
    tac_store_u64(bytes + ENTRY_OFFSET_NEWEST, entry->newest.address);
    tac_store_u64(bytes + ENTRY_OFFSET_NEWEST + 8, entry->newest.checksum.low);
    tac_store_u64(bytes + ENTRY_OFFSET_NEWEST + 16, entry->newest.checksum.high);
    tac_store_u64(bytes + ENTRY_OFFSET_CHECKSUM, entry->manifest_checksum.low);
    tac_store_u64(bytes + ENTRY_OFFSET_CHECKSUM + 8, entry->manifest_checksum.high);
}

void tac_snapshot_directory_encode(const struct tac_snapshot_directory *directory,
                                   const struct tac_geometry *geometry, uint64_t address,
                                   uint64_t sequence, uint8_t *block)
{
    struct tac_block_header header = {
        .kind = TAC_BLOCK_SNAPSHOTS,
        .address = address,
        .sequence = sequence,
        .used_bytes = OFFSET_ENTRIES + directory->count * ENTRY_BYTES,
    };

    tac_assert(directory->count > 0 && directory->count <= TAC_SNAPSHOTS_MAX);
    memset(block, 0, geometry->block_size);
    tac_block_header_encode(block, &header);
    tac_store_u32(block + OFFSET_COUNT, directory->count);
    for (uint32_t i = 0; i < directory->count; i++) {
        entry_encode(block + OFFSET_ENTRIES + i * ENTRY_BYTES, &directory->entries[i]);
    }
}

static struct tac_snapshot_entry entry_decode(const uint8_t *bytes)
{
    struct tac_snapshot_entry entry = {
        .op = tac_load_u64(bytes + ENTRY_OFFSET_OP),
        .sequence = tac_load_u64(bytes + ENTRY_OFFSET_SEQUENCE),
        .table_id_last = tac_load_u64(bytes + ENTRY_OFFSET_TABLE_ID_LAST),
        .stamp_last = tac_load_u64(bytes + ENTRY_OFFSET_STAMP_LAST),
        .table_count = tac_load_u64(bytes + ENTRY_OFFSET_TABLE_COUNT),
        .bytes = tac_load_u64(bytes + ENTRY_OFFSET_BYTES),
        .block_count = tac_load_u64(bytes + ENTRY_OFFSET_BLOCK_COUNT),
        .newest.address = tac_load_u64(bytes + ENTRY_OFFSET_NEWEST),
        .newest.checksum.low = tac_load_u64(bytes + ENTRY_OFFSET_NEWEST + 8),
        .newest.checksum.high = tac_load_u64(bytes + ENTRY_OFFSET_NEWEST + 16),
        .manifest_checksum.low = tac_load_u64(bytes + ENTRY_OFFSET_CHECKSUM),
        .manifest_checksum.high = tac_load_u64(bytes + ENTRY_OFFSET_CHECKSUM + 8),
    };

    memcpy(entry.name, bytes + ENTRY_OFFSET_NAME, sizeof entry.name);
    return entry;
}

/* `before`: the entry in front of it, NULL: none. Returns what is wrong, or NULL. */
static const char *entry_check(const struct tac_snapshot_entry *entry,
                               const struct tac_snapshot_entry *before,
                               const struct tac_superblock     *superblock)
{
    if (entry->op == 0 || entry->op > superblock->op_persisted || entry->sequence == 0 ||
        entry->sequence > superblock->sequence ||
        entry->table_id_last > superblock->table_id_last ||
        entry->stamp_last > superblock->stamp_last) {
        return "is of ops or tables that there have not been yet";
    }
    if (before != NULL &&
        (entry->op <= before->op || entry->sequence <= before->sequence ||
         entry->table_id_last < before->table_id_last || entry->stamp_last < before->stamp_last)) {
        return "is not newer than the one before it";
    }
    if (entry->table_count > entry->table_id_last ||
        entry->table_count > superblock->blocks_in_file ||
        entry->block_count > superblock->blocks_in_file ||
        (entry->table_count > 0 && entry->block_count == 0)) {
        return "has an impossible number of tables or blocks";
    }
    if (entry->block_count == 0
            ? entry->newest.address != 0 || !tac_u128_is_zero(entry->newest.checksum)
            : entry->newest.address >= superblock->blocks_in_file ||
                  tac_free_set_address_is_superblock(entry->newest.address)) {
        return "names a block that it cannot have";
    }
    return NULL;
}

static int entries_check(const struct tac_snapshot_directory *directory,
                         const struct tac_superblock *superblock, struct tac_error *error)
{
    for (uint32_t i = 0; i < directory->count; i++) {
        const struct tac_snapshot_entry *entry = &directory->entries[i];
        const char                      *fault;

        if (!tac_manifest_name_is_valid((const uint8_t *)entry->name)) {
            return tac_error_set(error, TACTUS_ECORRUPT, "snapshot %u has an impossible name", i);
        }
        fault = entry_check(entry, i > 0 ? entry - 1 : NULL, superblock);
        if (fault == NULL && tac_snapshot_directory_find(directory, entry->name) < i) {
            fault = "has another one's name";
        }
        if (fault != NULL) {
            return tac_error_set(error, TACTUS_ECORRUPT, "snapshot \"%s\" %s", entry->name, fault);
        }
    }
    return TACTUS_OK;
}

int tac_snapshot_directory_decode(struct tac_snapshot_directory *ret_directory,
                                  const struct tac_geometry     *geometry,
                                  const struct tac_superblock *superblock, const uint8_t *block,
                                  struct tac_error *error)
{
    uint64_t                address = superblock->snapshots.address;
    uint32_t                count = tac_load_u32(block + OFFSET_COUNT);
    struct tac_block_header header;

    if (tac_block_header_decode(block, geometry, TAC_BLOCK_SNAPSHOTS, address, &header, error) !=
        TACTUS_OK) {
        return error->code;
    }
    if (header.sequence > superblock->sequence) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "block %llu is of a later checkpoint than the newest superblock, "
                             "which was lost",
                             (unsigned long long)address);
    }
    if (count == 0 || count > TAC_SNAPSHOTS_MAX ||
        header.used_bytes != OFFSET_ENTRIES + count * ENTRY_BYTES) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: %u snapshots in %u bytes",
                             (unsigned long long)address, count, header.used_bytes);
    }
    ret_directory->count = count;
    for (uint32_t i = 0; i < count; i++) {
        ret_directory->entries[i] = entry_decode(block + OFFSET_ENTRIES + i * ENTRY_BYTES);
    }
    return entries_check(ret_directory, superblock, error);
}
