/* SPDX-License-Identifier: Apache-2.0 */
/* faulty_disk -- a disk in memory behind a storage whose reads go wrong on demand. One at a time in
 * a process. */
#ifndef TACTUS_TESTS_LIB_FAULTY_DISK_H
#define TACTUS_TESTS_LIB_FAULTY_DISK_H

#include "stages/storage.h"

#define FAULTY_ALWAYS UINT32_MAX

struct faulty_disk {
    struct tac_memory_disk *memory;
    /* Reads that touch the range go wrong, so many of them: its first byte comes back changed, or
     * the read fails (EIO), or (where somebody waits for it, and it is of the range only) other
     * bytes come back. */
    uint64_t       offset, size;
    uint32_t       reads_left;
    bool           is_io_error;
    const uint8_t *stale;     /* Those bytes, `size` of them; NULL: none */
    uint64_t       reads_met; /* That touched it, wrong or right */
    /* Called once, before the next read that somebody waits for; what it does, reads included, is
     * done when that read begins. NULL: nothing. */
    void (*before_read_fn)(void *context);
    void *before_read_context;
};

TAC_MUST_CHECK int faulty_disk_open(struct faulty_disk *disk, struct tac_storage **ret_storage,
                                    struct tac_error *error);

#endif
