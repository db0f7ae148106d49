/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block.h"

#include "base/mutant.h"
#include "base/units.h"
#include "lsm/value_page.h"

#define BLOCK_VERSION 1

tac_static_assert(TAC_BLOCK_OFFSET_USED + 4 <= TAC_BLOCK_HEADER_BYTES, "header fields fit");

void tac_block_header_encode(uint8_t *block, const struct tac_block_header *header)
{
    tac_assert(header->address != 0);
    tac_assert(header->used_bytes >= TAC_BLOCK_HEADER_BYTES);
    memset(block, 0, TAC_BLOCK_HEADER_BYTES);
    tac_store_u32(block + TAC_BLOCK_OFFSET_MAGIC, TAC_BLOCK_MAGIC);
    tac_store_u16(block + TAC_BLOCK_OFFSET_VERSION, BLOCK_VERSION);
    block[TAC_BLOCK_OFFSET_KIND] = (uint8_t)header->kind;
    tac_store_u64(block + TAC_BLOCK_OFFSET_ADDRESS, header->address);
    tac_store_u64(block + TAC_BLOCK_OFFSET_SEQUENCE, header->sequence);
    tac_store_u32(block + TAC_BLOCK_OFFSET_TREE, header->tree);
    tac_store_u32(block + TAC_BLOCK_OFFSET_USED, header->used_bytes);
}

int tac_block_header_decode(const uint8_t *block, const struct tac_geometry *geometry,
                            enum tac_block_kind kind, uint64_t address,
                            struct tac_block_header *ret_header, struct tac_error *error)
{
    uint32_t used_bytes = tac_load_u32(block + TAC_BLOCK_OFFSET_USED);

    if (tac_load_u32(block + TAC_BLOCK_OFFSET_MAGIC) != TAC_BLOCK_MAGIC) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: no block header",
                             (unsigned long long)address);
    }
    if (tac_load_u16(block + TAC_BLOCK_OFFSET_VERSION) != BLOCK_VERSION) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: unknown version %u",
                             (unsigned long long)address,
                             tac_load_u16(block + TAC_BLOCK_OFFSET_VERSION));
    }
    if (block[TAC_BLOCK_OFFSET_KIND] != kind || block[TAC_BLOCK_OFFSET_FLAGS] != 0) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: kind %u where %u was expected",
                             (unsigned long long)address, block[TAC_BLOCK_OFFSET_KIND], kind);
    }
    if (tac_load_u64(block + TAC_BLOCK_OFFSET_ADDRESS) != address && !TAC_MUTANT(MISDIRECTED)) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: is a copy of block %llu",
                             (unsigned long long)address,
                             (unsigned long long)tac_load_u64(block + TAC_BLOCK_OFFSET_ADDRESS));
    }
    if (used_bytes < TAC_BLOCK_HEADER_BYTES || used_bytes > geometry->block_size) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: %u bytes in use",
                             (unsigned long long)address, used_bytes);
    }
    ret_header->kind = kind;
    ret_header->address = address;
    ret_header->sequence = tac_load_u64(block + TAC_BLOCK_OFFSET_SEQUENCE);
    ret_header->tree = tac_load_u32(block + TAC_BLOCK_OFFSET_TREE);
    ret_header->used_bytes = used_bytes;
    return TACTUS_OK;
}

/* Checks each data page, and the unused tail, against the header page's list, which covers every
 * unit of the block exactly once. */
static int value_pages_verify(const uint8_t *block, const struct tac_geometry *geometry,
                              uint64_t address, struct tac_error *error)
{
    uint32_t units = geometry->block_size / geometry->page_size;
    uint32_t entry_count = tac_load_u32(block + TAC_VALUE_OFFSET_ENTRIES);
    uint32_t unit_next = 1;

    if (entry_count >= units) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: lists %u pages",
                             (unsigned long long)address, entry_count);
    }
    for (uint32_t i = 0; i < entry_count; i++) {
        struct tac_page_entry entry = tac_page_entry_load(tac_value_entry(block, i));
        struct tac_u128       checksum;

        if (entry.unit_first != unit_next || entry.unit_count == 0 ||
            entry.unit_count > units - unit_next) {
            return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: page %u out of place",
                                 (unsigned long long)address, i);
        }
        checksum =
            tac_checksum(block + (size_t)unit_next * geometry->page_size,
                         (size_t)entry.unit_count * geometry->page_size, geometry->checksum_seed);
        if (!tac_u128_equal(checksum, entry.checksum)) {
            return tac_error_set(error, TACTUS_ECORRUPT,
                                 "block %llu: wrong checksum of page %u: found " TAC_U128_FORMAT
                                 ", expected " TAC_U128_FORMAT,
                                 (unsigned long long)address, i, TAC_U128_ARGUMENTS(checksum),
                                 TAC_U128_ARGUMENTS(entry.checksum));
        }
        unit_next += entry.unit_count;
    }
    if (unit_next != units) {
        return tac_error_set(error, TACTUS_ECORRUPT, "block %llu: %u units of %u are listed",
                             (unsigned long long)address, unit_next, units);
    }
    return TACTUS_OK;
}

int tac_block_verify(const uint8_t *block, const struct tac_geometry *geometry,
                     enum tac_block_kind kind, const struct tac_block_reference *reference,
                     struct tac_error *error)
{
    struct tac_block_header header;
    struct tac_u128         checksum;
    int                     rv;

    tac_assert(tac_value_block_geometry_fits(geometry));
    checksum = kind == TAC_BLOCK_VALUE
                   ? tac_checksum(block, geometry->page_size, geometry->checksum_seed)
                   : tac_block_checksum(block, geometry);
    if (!tac_u128_equal(checksum, reference->checksum) && !TAC_MUTANT(BLOCK_NOT_CHECKED)) {
        return tac_error_set(error, TACTUS_ECORRUPT,
                             "block %llu: wrong checksum: found " TAC_U128_FORMAT
                             ", expected " TAC_U128_FORMAT,
                             (unsigned long long)reference->address, TAC_U128_ARGUMENTS(checksum),
                             TAC_U128_ARGUMENTS(reference->checksum));
    }
    rv = tac_block_header_decode(block, geometry, kind, reference->address, &header, error);
    if (rv != TACTUS_OK || kind != TAC_BLOCK_VALUE) {
        return rv;
    }
    return value_pages_verify(block, geometry, reference->address, error);
}
