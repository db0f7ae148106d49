/* SPDX-License-Identifier: Apache-2.0 */
/* storage -- the store's file: the only door to the device, as one table of functions.
 *
 * Backends: io_uring, posix (pread/pwrite), memory (a disk of the process, for tests and the
 * simulator, which also decides when its requests complete). A stage thread has a queue of its own,
 * in a pool of threads one for each store, all with one wake_fd; reads by applications and all of
 * open and create go through the synchronous calls.
 *
 * A request that succeeds was transferred whole: short transfers, EINTR and EAGAIN are dealt with
 * here. A failed write or sync is never retried as though it had worked (rule R8).
 *
 * A turn of a thread with a queue: submit what there is to do, flush, reap. Before it parks on
 * wake_fd it has flushed, and flush said true; then wake_fd is signalled whenever there is
 * something to reap. One thread at a time uses a queue; it need not always be the same one. */
#ifndef TACTUS_STAGES_STORAGE_H
#define TACTUS_STAGES_STORAGE_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

enum tac_io_kind {
    TAC_IO_READ,
    TAC_IO_WRITE,
    TAC_IO_SYNC
};

#define TAC_IO_SEGMENTS_MAX 8
/* The alignment that a storage may ask for: 512 even where the device needs none, so that a
 * misaligned request is found wherever it is first made. */
#define TAC_STORAGE_ALIGNMENT_MIN 512
#define TAC_STORAGE_ALIGNMENT_MAX 4096

/* One request; the submitter's memory until it comes back from reap. */
struct tac_io {
    enum tac_io_kind kind;
    uint32_t         segment_count;
    struct iovec     segments[TAC_IO_SEGMENTS_MAX]; /* Consecutive in the file; the backend may
                                                       change them */
    uint64_t         offset_bytes;
    uint64_t         size_bytes; /* Sum of the segments */
    int              result;     /* Set at completion: 0 or TACTUS_EIO, TACTUS_EFULL */
    int              os_error;   /* errno of a failure; 0 is the end of the file */
    void            *owner;      /* The submitter's */
    struct tac_io   *next;       /* The holder's: submitter before submit, backend after */
    uint64_t         done_bytes; /* The backend's */
};

/* What cannot be read, or does not match its checksum, is read once more (rule R8): what the device
 * or the bus got wrong once is not damage. By the callers: only they know the checksum. */
#define TAC_READ_ATTEMPTS 2

struct tac_storage;
struct tac_io_queue;

struct tac_storage_ops {
    const char *name;
    /* Synchronous; any thread. Offsets and sizes are multiples of the alignment (below). */
    int (*read)(struct tac_storage *, void *data, uint64_t size, uint64_t offset,
                struct tac_error *);
    int (*write)(struct tac_storage *, const void *data, uint64_t size, uint64_t offset,
                 struct tac_error *);
    int (*sync)(struct tac_storage *, struct tac_error *); /* What completed before the call */
    /* Grows to size, allocated where the file system can; never shrinks. Unchanged on failure. One
     * thread at a time, and nobody writes beyond the end meanwhile. */
    int (*resize)(struct tac_storage *, uint64_t size, struct tac_error *);
    uint64_t (*size)(struct tac_storage *); /* 0 too where the system cannot tell */
    void (*close)(struct tac_storage *);    /* All queues are gone; frees */
    /* wake_fd: eventfd that is signalled when there is something to reap, or -1. */
    int (*queue_new)(struct tac_storage *, uint32_t depth, int wake_fd, struct tac_io_queue **,
                     struct tac_error *);
    void (*queue_free)(struct tac_io_queue *); /* Nothing in flight */
    /* Takes the request; it may wait here for the next flush or reap. A sync covers the writes that
     * came back from reap before it was submitted. false: full, try later. */
    bool (*submit)(struct tac_io_queue *, struct tac_io *);
    /* Hands everything submitted to the device, in one system call. false: the kernel takes no
     * more at the moment: nobody may park before a flush that says true. */
    bool (*flush)(struct tac_io_queue *);
    /* Count of finished requests, linked by next. Flushes too: what was short goes on. */
    uint32_t (*reap)(struct tac_io_queue *, struct tac_io **ret_list);
};

/* Requests that succeeded, and their bytes. */
struct tac_storage_counters {
    uint64_t read_bytes, written_bytes;
    uint64_t reads, writes, syncs;
};

struct tac_storage {
    const struct tac_storage_ops *ops;
    bool                          is_direct;
    uint32_t                      alignment_bytes; /* Of offsets, sizes and memory */
    uint16_t io_priority; /* Of requests, as ioprio_set(2) has it; before any queue. 0: none */
    /* The backend's */
    struct tac_storage_counters counters;  /* Any thread; atomics */
    pid_t                       owner_pid; /* Who opened it */
    const uint8_t              *fork_mark; /* A byte that the kernel clears in children, or NULL */
};

struct tac_io_queue {
    struct tac_storage *storage;
    uint32_t            in_flight;
    uint32_t            depth;
};

/* Creates the file (it must not exist) and opens it; opens an existing file. Both lock it (OFD
 * lock; TACTUS_ELOCKED). A create that fails leaves no file; after it the file is the caller's to
 * unlink. An open syncs the file first: what is then read is on the device. backend AUTO tries
 * io_uring first and falls back to posix where io_uring is missing or forbidden; direct I/O falls
 * back to buffered where the file system refuses it: tac_storage says which is in use. */
TAC_MUST_CHECK int tac_storage_create_file(const char *path, enum tactus_backend backend,
                                           bool direct_io, struct tac_storage **ret_storage,
                                           struct tac_error *error);
/* The same, but the file is at its path only when it is published, and is nowhere if it is closed
 * before that: so whatever a process is killed in, there is either no file at the path or a whole one.
 * To publish makes file and name durable; TACTUS_EEXISTS, there too: something is at the path. Where
 * it fails there is nothing of ours, and the storage is to be closed. */
TAC_MUST_CHECK int tac_storage_create_unpublished(const char *path, enum tactus_backend backend,
                                                  bool direct_io, struct tac_storage **ret_storage,
                                                  struct tac_error *error);
TAC_MUST_CHECK int tac_storage_publish(struct tac_storage *storage, struct tac_error *error);
TAC_MUST_CHECK int tac_storage_open_file(const char *path, enum tactus_backend backend,
                                         bool direct_io, struct tac_storage **ret_storage,
                                         struct tac_error *error);

/* Unlinks the file, durably. No error when there is none. */
TAC_MUST_CHECK int tac_storage_remove_file(const char *path, struct tac_error *error);

/* True in a child of the process that opened the storage. A child may then only ask this again: the
 * file's offsets, the lock and the ring are its parent's. */
static inline bool tac_storage_is_forked(const struct tac_storage *storage)
{
    return storage->fork_mark != NULL ? *(const volatile uint8_t *)storage->fork_mark == 0
                                      : getpid() != storage->owner_pid;
}
/* Exact when nothing is in flight. */
void tac_storage_counters(const struct tac_storage    *storage,
                          struct tac_storage_counters *ret_counters);

/* A disk in memory that outlives its storages. One storage at a time has it open (TACTUS_ELOCKED).
 * seed 0: requests complete at the next reap, in order; nothing is kept for a crash.
 * Else each takes a random number of reaps, they complete in random order, and submit says "full"
 * now and then; the same for every run with one caller. A write is there for others, and a read
 * takes its bytes, at the moment of completion. NULL: no memory. */
struct tac_memory_disk;
struct tac_memory_disk *tac_memory_disk_new(uint64_t seed);
void                    tac_memory_disk_free(struct tac_memory_disk *disk);
TAC_MUST_CHECK int      tac_storage_open_memory(struct tac_memory_disk *disk,
                                                struct tac_storage    **ret_storage,
                                                struct tac_error       *error);
/* The same for a disk that goes with its storage: freed by its close, or here on failure. */
TAC_MUST_CHECK int tac_storage_open_memory_owned(struct tac_memory_disk *disk,
                                                 struct tac_storage **ret_storage,
                                                 struct tac_error *error);
/* Everything in it, for comparisons: size bytes, valid until the disk is freed. Nothing may be
 * under way meanwhile. */
const uint8_t *tac_memory_disk_data(const struct tac_memory_disk *disk, uint64_t *ret_size);
/* What lies beyond was never written. */
uint64_t tac_memory_disk_written_bytes(const struct tac_memory_disk *disk);
/* Changes bytes behind the back of whoever has it open, as damage would: no request, and not kept
 * for a crash. They lie within its size. */
void tac_memory_disk_damage(struct tac_memory_disk *disk, uint64_t offset, const uint8_t *bytes,
                            uint64_t size);

/* Cuts the power. Of the writes that no sync covers, in flight or done, a random subset stays, some
 * torn at 512 bytes; growth may be undone with them. Until the disk is opened again every request
 * fails (EIO), those in flight included, so that what ran before can be taken down as usual. Needs
 * a disk with a seed other than 0. */
void tac_memory_disk_crash(struct tac_memory_disk *disk, uint64_t seed);
/* The same with the fates chosen, and for a copy: a new disk that holds what a cut of power would
 * leave now; the disk itself goes on. fate_of is asked about each write and each growth that no
 * sync covers, oldest first, what is in flight last; a growth has no sectors. It must not call this
 * disk. The new size is that of the last one that leaves something. seed is that of the copy, not
 * 0. NULL: no memory. */
#define TAC_MEMORY_FATE_KEPT UINT64_MAX
struct tac_prng;
struct tac_memory_fate {
    uint64_t         prefix_sectors; /* Of 512 bytes, that stay; TAC_MEMORY_FATE_KEPT: all */
    struct tac_prng *chance;         /* Of the rest each stays by chance; NULL: none does */
};
typedef struct tac_memory_fate (*tac_memory_fate_fn)(void *context, uint64_t sector_count);
/* Any; context is a struct tac_prng. */
struct tac_memory_fate  tac_memory_fate_draw(void *context, uint64_t sector_count);
struct tac_memory_disk *tac_memory_disk_crashed(struct tac_memory_disk *disk, uint64_t seed,
                                                tac_memory_fate_fn fate_of, void *context);
/* What a sync that fails may leave: of the writes done that no sync covers, a random subset stays,
 * some torn; no later sync brings the others back. The size stays. Needs a seed other than 0. */
void tac_memory_disk_lose_unsynced(struct tac_memory_disk *disk, uint64_t seed);

#endif
