/* SPDX-License-Identifier: Apache-2.0 */
/* Tactus -- an embeddable LSM-tree storage engine whose compaction keeps time. Start here.
 *
 * A store is one file that holds several named trees. A tree is a sorted set of records: keys that
 * compare as bytes, each with a value. Writes are numbered operations ("ops"): 1, 2, 3 … A write is
 * visible when its call returns; it survives a crash when tactus_durable_op() has reached its op.
 *
 * Errors   Every function that can fail returns 0 (TACTUS_OK) or an error code; tactus_message()
 *          gives the text of the calling thread's last failure: what, where, what to do.
 * Threads  A store may be used from any number of threads at once, except where a function says
 *          otherwise. Writes are put in one order by a lock; reads take none. An iterator and a
 *          batch belong to one thread at a time.
 * Memory   Everything is allocated by tactus_open within a budget that tactus_stat reports;
 *          iterators and snapshots allocate their own buffers when they are opened, and so does
 *          tactus_ingest.
 * Sizes    Bytes, unless the name says something else. Names end in the unit.
 */
#ifndef TACTUS_H
#define TACTUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TACTUS_API __attribute__((visibility("default")))

/* ---- errors --------------------------------------------------------------------------------- */

/* X(name, number, text): the numbers are part of the interface and never change. */
#define TACTUS_ERRORS(X)                                                                           \
    X(OK, 0, "success")                                                                            \
    X(EINVAL, 1, "invalid argument")                                                               \
    X(ENOTFOUND, 2, "no such key")                                                                 \
    X(EEXISTS, 3, "already exists")                                                                \
    X(ENOTREE, 4, "no such tree")                                                                  \
    X(ELAYOUT, 5, "the record does not fit the layout of the tree")                                \
    X(EKEYSIZE, 6, "key empty or too long")                                                        \
    X(EVALUESIZE, 7, "value too long")                                                             \
    X(EBATCHSIZE, 8, "batch too large")                                                            \
    X(EOPTION, 9, "unknown, contradictory or impossible option")                                   \
    X(ENOSTORE, 10, "no such store")                                                               \
    X(EFORMAT, 11, "not a Tactus store, or of an unknown version")                                 \
    X(ELOCKED, 12, "the store is open elsewhere")                                                  \
    X(EFORKED, 13, "the store was opened by the parent process")                                   \
    X(EFULL, 14, "no space left in the store")                                                     \
    X(ENOMEM, 15, "out of memory")                                                                 \
    X(EIO, 16, "input/output error")                                                               \
    X(ECORRUPT, 17, "damaged data")                                                                \
    X(EPOISONED, 18, "writing stopped after an earlier failure")                                   \
    X(EAGAIN, 19, "would have to wait")                                                            \
    X(EEXPIRED, 20, "the iterator is too old")                                                     \
    X(ECLOSED, 21, "the store is closing")                                                         \
    X(EACCESS, 22, "permission denied")                                                            \
    X(EFORK, 23, "two different newest superblocks")                                               \
    X(ELOG, 24, "the write-ahead log is missing")                                                  \
    X(ECONFLICT, 25, "the condition of a write does not hold")                                     \
    X(EPAUSED, 26, "compaction is paused, and the call would have to wait for it")

enum tactus_error {
#define TACTUS_ERROR_CODE(name, number, text) TACTUS_##name = number,
    TACTUS_ERRORS(TACTUS_ERROR_CODE)
#undef TACTUS_ERROR_CODE
};

/* The longest text tactus_message returns, terminator included. */
#define TACTUS_MESSAGE_BYTES 512

/* The fixed text of an error code. Never NULL; any thread. */
TACTUS_API const char *tactus_strerror(int code);

/* The text of the calling thread's last failed call; valid until its next call into Tactus. */
TACTUS_API const char *tactus_message(void);

/* ---- options -------------------------------------------------------------------------------- */

#define TACTUS_KEY_SIZE_MAX 1024
#define TACTUS_TREE_NAME_MAX 63
#define TACTUS_SNAPSHOT_NAME_MAX 63
#define TACTUS_TREES_MAX 64
#define TACTUS_UUID_BYTES 16

/* Accounted bytes of a record beside key and value: what fills a memtable, a bar and a beat. A
 * delete is accounted without a value, but in a tree of fixed layout like a put: its tables give it
 * as much room. */
#define TACTUS_RECORD_OVERHEAD_BYTES 56

/* Thread counts may also be this: derived from the processors that the process may use. */
#define TACTUS_THREADS_AUTO UINT32_MAX

/* The sizes of the three caches, and memory_size, may also be this. */
#define TACTUS_SIZE_AUTO UINT64_MAX

/* When stage threads get a processor. */
enum tactus_priority {
    TACTUS_PRIORITY_NORMAL = 0, /* As often as the application's threads, which they do not
                                   interrupt when they wake up (SCHED_BATCH) */
    TACTUS_PRIORITY_IDLE = 1,   /* When no other thread wants it (SCHED_IDLE). Where processors are
                                   few a put is delayed less. Where other threads take all there is,
                                   compaction gets next to nothing, and writes wait for it */
};

/* What the device does first, where its scheduler heeds priorities (ioprio_set(2); bfq does). */
enum tactus_io_priority {
    TACTUS_IO_PRIORITY_NORMAL = 0, /* As the system has it for a thread */
    TACTUS_IO_PRIORITY_LOW = 1,    /* The last of the best-effort class */
    TACTUS_IO_PRIORITY_IDLE = 2,   /* The idle class: when nobody else wants the device. Where
                                      others take all of it, compaction stands still, and writes
                                      wait */
};

enum tactus_backend {
    TACTUS_BACKEND_AUTO = 0,     /* io_uring, or pread/pwrite where that is missing or forbidden */
    TACTUS_BACKEND_IO_URING = 1,
    TACTUS_BACKEND_POSIX = 2,    /* pread/pwrite */
    TACTUS_BACKEND_MEMORY = 3,   /* nothing on disk: gone with the close */
};

/* What brings back the ops after the last checkpoint when a store is opened again. */
enum tactus_log {
    TACTUS_LOG_NONE = 0,     /* Nothing: a crash takes back what no checkpoint holds. An open that
                                finds a log does its ops, makes a checkpoint, which is an op, and
                                removes it */
    TACTUS_LOG_HOST = 1,     /* The application, by a log of its own: see tactus_replay_op */
    TACTUS_LOG_INTERVAL = 2, /* A write-ahead log, synced every log_interval_ms: a crash takes back
                                what was written since then and while that sync ran */
    TACTUS_LOG_SYNC = 3,     /* A write-ahead log: a write returns when it is durable; threads that
                                write at the same time share a sync */
};

/* How much a line of logger_fn (struct tactus_options) matters. */
enum tactus_logger_level {
    TACTUS_LOGGER_ERROR = 0,   /* Something is lost, damaged, or has stopped */
    TACTUS_LOGGER_WARNING = 1, /* It goes on, but somebody should know */
    TACTUS_LOGGER_INFO = 2,    /* Opened, closed, and what was changed meanwhile */
    TACTUS_LOGGER_DEBUG = 3,   /* Every checkpoint, too */
};

/* The longest line that logger_fn is given, terminator included. */
#define TACTUS_LOGGER_LINE_BYTES 1024

/* Fill with tactus_options_init, then change what you need; tactus_options_set does the same from
 * text. Options marked (create) shape the bytes of the file: they are fixed when the store is
 * created, kept in its superblock, and ignored by later opens. 0 is never "default": init sets
 * every field.
 * Later versions add members at the end. A library that is newer than the program takes those that
 * the program does not know at their defaults; one that is older refuses those that it does not
 * know, unless they are 0 as its init leaves them (TACTUS_EOPTION). */
struct tactus_options {
    size_t struct_size;              /* Set by tactus_options_init, and not to be changed. */
    /* (create) */
    uint64_t memtable_size;          /* Accounted bytes of a bar; 64 MiB. */
    uint32_t block_size;             /* Power of two, 4 KiB to 1 MiB; 128 KiB. */
    uint32_t page_size;              /* Power of two, 512 B to 64 KiB, 4 to 128 per block; 4 KiB. */
    uint64_t table_size;             /* Largest target size of a table; 8 MiB. */
    uint64_t slice_size;             /* A compaction above this is cut into several jobs; 6 MiB. */
    uint32_t runs_per_level;         /* 1 (classic levelling) to 16; 8. */
    uint32_t last_ratio;             /* Last level : level above; 1 to 16; 2. */
    uint32_t beats_per_bar;          /* 8 to 1024, with runs of 1 even; 64. */
    uint32_t lag_beats;              /* A writer waits when work is more beats behind; 1 to 8, and
                                        at most a plan's beats (beats_per_bar; with runs of 1 half
                                        of them) less 3. 0: an eighth of a plan's beats, at most
                                        8; 0. */
    uint32_t checkpoint_interval_bars; /* 1 to 64; 4. */
    uint32_t filter_bits_per_key;    /* 0 (no filter) to 20; 10. More where there is room. */
    uint64_t file_size_max;          /* The file never grows beyond this; 1 TiB, or with smaller
                                        blocks as much as they can have. */
    uint8_t  uuid[TACTUS_UUID_BYTES]; /* All zero: random. */
    /* Free at every open */
    uint64_t memory_size;            /* All that the store may take (struct tactus_stats,
                                        memory_budget_bytes): caches whose size is
                                        TACTUS_SIZE_AUTO have what the rest leaves. 0: no limit of
                                        its own. TACTUS_SIZE_AUTO: a share of its pool's memory_size
                                        (struct tactus_pool_options); 0 where there is none; 0. */
    uint32_t threads;                /* All stage threads: a quarter of them read, a quarter write.
                                        0 (stepped by the caller), or at least 3.
                                        TACTUS_THREADS_AUTO: as many as there are processors;
                                        TACTUS_THREADS_AUTO. */
    /* Free at every open, and derived from those above unless they are given */
    uint32_t threads_read;           /* AUTO: a quarter of threads. All three 0, or each at least
                                        1. */
    uint32_t threads_merge;          /* AUTO: the rest. */
    uint32_t threads_write;          /* AUTO: a quarter. */
    enum tactus_priority threads_priority; /* TACTUS_PRIORITY_NORMAL. */
    uint64_t level0_cache_size;      /* Blocks of the newest tables, kept in memory until a
                                        compaction reads them, which it does once: nearly half of
                                        what compactions read. Becomes resident as it is first used.
                                        AUTO: none without memory_size; else runs_per_level + 2
                                        memtables, which is all there can be, but not more than a
                                        quarter of what is left. */
    uint64_t page_cache_size;        /* Cached pages for reads. AUTO: 64 MiB without memory_size. */
    uint64_t index_cache_size;       /* Cached index and filter blocks for reads. AUTO: 192 MiB
                                        without memory_size; else that or an eighth of what is left,
                                        but not more than half. */
    /* Free at every open */
    uint32_t ring_size;              /* Slots of a stage's ring; power of two, 2 to 65536; 256. */
    bool     assist;                 /* Idle stage threads take other stages' work; true. */
    uint64_t pool_size;              /* Block buffers for compaction; 0: the least of use; 0. */
    uint32_t tables_max;             /* Tables the manifest can hold; 16384. */
    uint32_t io_depth;               /* Requests in flight per stage thread; 1 to 64; 4. */
    enum tactus_backend backend;     /* TACTUS_BACKEND_AUTO. */
    bool     direct_io;              /* false: buffered I/O although direct I/O is possible. */
    enum tactus_log log;             /* TACTUS_LOG_NONE. The write-ahead log is a second file, named
                                        as the store with "-wal" behind it. */
    uint32_t log_interval_ms;        /* 1 to 60000; 100. */
    bool     log_loss_accepted;      /* Opens although the log is missing, or damaged in ops that
                                        were durable: these are lost. false. */
    uint32_t scrub_days;             /* Every block that the store reaches is read and checked in
                                        the background once in so many days, evenly; 0 (never) to
                                        3650; 0. Without threads tactus_step does it. What is found
                                        is told by tactus_stat. */
    uint64_t io_rate_max_bytes;      /* What flushes, compactions and checkpoints may read and write
                                        in a second, together; see tactus_io_rate_change. 0: no
                                        limit; 0. */
    enum tactus_io_priority io_priority; /* Of stage threads, but for a pool's, and of requests of
                                        io_uring; TACTUS_IO_PRIORITY_NORMAL. */
    uint32_t snapshots_max;          /* No snapshot is taken when there are so many; 0 to 24; 8. */
    uint64_t cache_size_max;         /* What tactus_cache_change may make of each of page_cache_size
                                        and index_cache_size: so much address space. No memory,
                                        which is taken by the change. 0: what they have at
                                        open; 0. */
    void (*logger_fn)(void *context, enum tactus_logger_level level, const char *line);
                                     /* Called for what people would look for in a log: what an open
                                        found and derived, damage, writing that has stopped and why,
                                        a full store, pauses, other threads and caches, the close. A
                                        line is UTF-8 without control characters, valid during the
                                        call; errors are in it as tactus_message has them. One call
                                        at a time, in order, until the store is closed, or its open
                                        has failed. With stage threads a thread of the store's own
                                        makes them; without, tactus_open, tactus_step and other
                                        calls as they return. No lock is held, but it must not use
                                        the store. What it takes delays later lines, an open that
                                        fails, a close, and without stage threads those calls. 128
                                        lines may wait; of more a line tells how many. NULL: none;
                                        NULL. */
    void    *logger_context;         /* Given to logger_fn; NULL. */
    enum tactus_logger_level logger_level; /* Lines of this level and of those before it;
                                        TACTUS_LOGGER_INFO. */
    uint64_t bytes_per_sync;         /* The file is synced each time when about so much was written
                                        to it, so that a device with a write cache is never busy
                                        with its flush for long; with TACTUS_LOG_INTERVAL the log
                                        too, with a quarter of that. Nothing in the file is durable
                                        by these syncs alone. 0: only by checkpoints, and the log by
                                        its interval; up to 1 TiB; 16 MiB. */
};

/* Fills in every default. struct_size: of the struct that the program was compiled with; for calls
 * from other languages, C and C++ have tactus_options_init. */
TACTUS_API void tactus_options_init_sized(struct tactus_options *options, size_t struct_size);
/* Fills in every default. */
static inline void tactus_options_init(struct tactus_options *options)
{
    tactus_options_init_sized(options, sizeof *options);
}

/* Sets one option from text, such as ("memtable_size", "8MiB") or ("threads_merge", "auto").
 * Sizes take the suffixes KiB, MiB, GiB, TiB. TACTUS_EOPTION names setting, value and range. */
TACTUS_API int tactus_options_set(struct tactus_options *options, const char *name,
                                  const char *value);
/* Sets all of a list such as "memtable_size=8MiB, log=sync": separated by commas or white space. On
 * failure, which one that is twice in the list is too, *options is as it was. */
TACTUS_API int tactus_options_parse(struct tactus_options *options, const char *text);
/* The same from an ini file, NAME = VALUE a line: from the lines under [section], or, NULL, from
 * those before the first section; others are passed over. Errors name file and line. */
TACTUS_API int tactus_options_load(struct tactus_options *options, const char *path,
                                   const char *section);

enum tactus_option_source {
    TACTUS_OPTION_DEFAULT = 0, /* That of tactus_options_init, given or not */
    TACTUS_OPTION_GIVEN = 1,
    TACTUS_OPTION_DERIVED = 2, /* From others, the processors, or at random */
};

/* What a store would make of an option. Later versions add members at the end. */
struct tactus_option_info {
    size_t      struct_size; /* What the library has filled */
    const char *name;
    const char *value;       /* As tactus_options_set takes it */
    enum tactus_option_source source;
    bool        is_fixed;    /* When the store is created: the byte-shaping ones */
    const char *reason;      /* DERIVED: from what. memory_size: what the store takes. Else empty */
};

/* Calls option_fn for each option, one after the other, with what a store that is
 * created and opened with them would have, and why. There are three to begin with: memory_size, of
 * which the caches are derived; threads, of which those of the stages, the jobs side by side, and
 * the blocks of pool_size; and io_rate_max_bytes, compaction's share of the device. What shapes the
 * file is derived of neither. options may be NULL (defaults); nothing is opened. Texts are valid
 * during the call. Any thread. TACTUS_EINVAL, ENOMEM; TACTUS_EOPTION as create and open say it. */
TACTUS_API int tactus_options_explain(const struct tactus_options *options,
                                      void (*option_fn)(void *context,
                                                        const struct tactus_option_info *option),
                                      void *context);

/* ---- store ---------------------------------------------------------------------------------- */

struct tactus;

/* Creates the store file, which must not exist; the store is not left open. The file gets its name
 * when it is whole and durable: a kill or a crash leaves either nothing at the path or a store. */
TACTUS_API int tactus_create(const char *path, const struct tactus_options *options);

/* Opens a store at its last checkpoint. options may be NULL (defaults).
 * One open at a time in all processes: TACTUS_ELOCKED otherwise.
 * On success *ret_store is to be given to tactus_close; on failure it is untouched. */
TACTUS_API int tactus_open(const char *path, const struct tactus_options *options,
                           struct tactus **ret_store);

/* Drains (see tactus_drain), makes everything durable, frees everything. The store is gone
 * whatever the result; an error says that the file may end at an earlier checkpoint. With a log it
 * does not drain but stops at once: the log brings the rest back.
 * No other call on the store may be under way; iterators and snapshots must have been closed.
 * In a forked child: TACTUS_EFORKED, and the store is left to the parent; so with every call that
 * returns a code, but for those that only fill a batch. A child that lives on after its parent was
 * killed keeps the store locked. */
TACTUS_API int tactus_close(struct tactus *store);

/* Stops without draining: a reopen finds what it finds after a crash. In a forked
 * child it does nothing. */
TACTUS_API void tactus_abandon(struct tactus *store);

/* ---- pools ---------------------------------------------------------------------------------- */

/* Stage threads and memory for several stores of a process. What a store writes to its file does
 * not depend on the pool. A store has a light thread of its own beside them, which plans (and those
 * of log and scrub, if it has these). */
struct tactus_pool;

/* Fill with tactus_pool_options_init, then change what you need. Threads are given as in struct
 * tactus_options; with 0 the stores are stepped by the caller. It grows as that does. */
struct tactus_pool_options {
    size_t struct_size;              /* Set by tactus_pool_options_init, and not to be changed. */
    uint64_t memory_size;            /* What all its stores together may take: the sum of their
                                        budgets (struct tactus_stats, memory_budget_bytes). 0: no
                                        limit; 0. */
    uint32_t memory_shares;          /* A store whose memory_size is TACTUS_SIZE_AUTO has one of so
                                        many equal parts of the pool's; 1 to 65536; 1. */
    uint32_t threads;                /* TACTUS_THREADS_AUTO. */
    uint32_t threads_read;           /* TACTUS_THREADS_AUTO. */
    uint32_t threads_merge;          /* TACTUS_THREADS_AUTO. */
    uint32_t threads_write;          /* TACTUS_THREADS_AUTO. */
    enum tactus_priority threads_priority; /* TACTUS_PRIORITY_NORMAL. */
};

/* As tactus_options_init_sized. */
TACTUS_API void tactus_pool_options_init_sized(struct tactus_pool_options *options,
                                               size_t struct_size);
/* Fills in every default. */
static inline void tactus_pool_options_init(struct tactus_pool_options *options)
{
    tactus_pool_options_init_sized(options, sizeof *options);
}

/* Starts the threads. options may be NULL (defaults). On success *ret_pool is to be given to
 * tactus_pool_close; on failure it is untouched. TACTUS_EOPTION, ENOMEM, EIO. */
TACTUS_API int tactus_pool_open(const struct tactus_pool_options *options,
                                struct tactus_pool **ret_pool);
/* Ends the threads and frees everything. No other call on the pool may be under way.
 * TACTUS_EINVAL: stores are still open in it, and all stays as it was. TACTUS_EFORKED: it is left
 * to the parent; so with every call on it that returns a code. */
TACTUS_API int tactus_pool_close(struct tactus_pool *pool);

/* As tactus_open, in a pool, from any thread: its threads serve all its stores in turn, a step of
 * about a block each. The store's own options of threads are not looked at. A store may join or
 * leave, by tactus_close, while others are written to.
 * TACTUS_ENOMEM: the store's memory is more than the pool has left; the message tells both. It
 * comes back with the close.
 * A step waits for no device, but with the backend "posix": there one slow device holds up threads
 * that others need. */
TACTUS_API int tactus_open_in(struct tactus_pool *pool, const char *path,
                              const struct tactus_options *options, struct tactus **ret_store);

/* Other numbers of threads, each at least 1 or TACTUS_THREADS_AUTO, for all stores of a pool that
 * was opened with some. No write waits for that. Memory, and how many jobs of a store run side by
 * side, stay as its open made them. TACTUS_EOPTION. TACTUS_ENOMEM, TACTUS_EIO: all is as it was. */
TACTUS_API int tactus_pool_threads_change(struct tactus_pool *pool, uint32_t threads_read,
                                          uint32_t threads_merge, uint32_t threads_write);

/* For a pool without threads: some of the background work of each of its stores. Returns true while
 * there is more that could be done now. It waits for no device: there may be more when the
 * descriptor of one of the stores (tactus_descriptor) can be read, or after a write. No lock of the
 * pool is held while it tells events or lines of a store: what is called may open and close other
 * stores of the pool. */
TACTUS_API bool tactus_pool_step(struct tactus_pool *pool);

/* Later versions add members at the end. Those that the library does not know are 0. */
struct tactus_pool_stats {
    size_t   struct_size;           /* Of these, what the library has filled */
    uint64_t memory_size;           /* As it was opened; 0: no limit */
    uint64_t memory_budget_bytes;   /* What its stores have taken of it */
    uint64_t busy_ns, idle_ns;      /* Of all its threads since they were started: in steps that did
                                       something, and asleep */
    uint32_t stores;                /* Open, being opened or being closed */
    uint32_t threads_read, threads_merge, threads_write;
};

/* As tactus_pool_stat. struct_size: as for tactus_stat_sized. */
TACTUS_API void tactus_pool_stat_sized(struct tactus_pool *pool,
                                       struct tactus_pool_stats *ret_stats, size_t struct_size);
/* Any thread, at any time. In a forked child all but struct_size is 0. */
static inline void tactus_pool_stat(struct tactus_pool *pool, struct tactus_pool_stats *ret_stats)
{
    tactus_pool_stat_sized(pool, ret_stats, sizeof *ret_stats);
}

/* ---- trees ---------------------------------------------------------------------------------- */

enum tactus_layout_kind {
    TACTUS_LAYOUT_FIXED = 1,    /* Every key key_size bytes, every value value_size bytes. */
    TACTUS_LAYOUT_VARIABLE = 2, /* Keys of 1 to key_size, values of 0 to value_size bytes. */
};

struct tactus_layout {
    enum tactus_layout_kind kind;
    uint32_t key_size;   /* 1 to TACTUS_KEY_SIZE_MAX */
    uint32_t value_size; /* With the key at most a quarter of a block. 0 if VARIABLE: that most */
};

struct tactus_tree_info {
    char                 name[TACTUS_TREE_NAME_MAX + 1];
    uint32_t             id;
    struct tactus_layout layout;
};

/* Creates a tree; an op like any other. *ret_tree is the tree's id for the calls below.
 * TACTUS_EEXISTS when the name is taken; TACTUS_EOPTION when file_size_max is too small for
 * memtables of such records. Names: 1 to 63 of [A-Za-z0-9_.-]. There are TACTUS_TREES_MAX at most;
 * where these and dropped trees whose space has not come back yet are as many, the call ends bars
 * until one's has, which in a pause it cannot (TACTUS_EPAUSED). TACTUS_EFULL: there are too many;
 * it takes an op if bars were ended before damage kept a number from becoming free. TACTUS_ENOMEM
 * comes before any bar is ended, and changes nothing. */
TACTUS_API int tactus_tree_create(struct tactus *store, const char *name,
                                  const struct tactus_layout *layout, uint32_t *ret_tree);
/* TACTUS_ENOTREE when there is none of this name. */
TACTUS_API int tactus_tree_find(struct tactus *store, const char *name, uint32_t *ret_tree);
/* Drops a tree with all its records; an op. When it returns the name is free, and no call knows the
 * id any more, for good: TACTUS_ENOTREE, also from the commit of a batch that was filled before. An
 * iterator that is open on it keeps its view, and expires as any does. The space comes back with
 * the bars to come, as a part of their work: a few tables each, more where the store is full, where
 * a drop is possible too; tactus_drain returns when all has. TACTUS_ENOTREE: there is none. */
TACTUS_API int tactus_tree_drop(struct tactus *store, uint32_t tree);
/* Copies up to trees_max descriptions, of all trees in no particular order; *ret_count is how many
 * there are. */
TACTUS_API int tactus_tree_list(struct tactus *store, struct tactus_tree_info *trees,
                                uint32_t trees_max, uint32_t *ret_count);

/* ---- writing -------------------------------------------------------------------------------- */

/* Key and value are copied. A write may wait while compaction catches up, never longer than one
 * beat's work (struct tactus_stats tells the bound); with no stage threads it does that work
 * itself. TACTUS_EFULL leaves everything as it was; deletes then still work, as far as compaction
 * can make room for them: one that is refused has tried that, and takes an op. TACTUS_ECORRUPT
 * names a damaged table over which nothing more can be piled up: this tree takes no writes, others
 * do. */
TACTUS_API int tactus_put(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                          const void *value, size_t value_size);
/* Deleting a key that is not there is no error. */
TACTUS_API int tactus_delete(struct tactus *store, uint32_t tree, const void *key,
                             size_t key_size);

/* Deletes every record with a key from `first` on and before `end`, in order of memcmp, as one op,
 * which goes to *ret_op; that may be NULL. It takes as long as any delete, however many there are:
 * nothing is read or written for them. Tables that lie within the range are given back unread, a
 * few with each bar; others lose what was deleted when they are compacted. Bounds may be longer
 * than the tree's keys. A store notes up to 256 ranges (ranges of tactus_stat), fewer where keys
 * are long and blocks small, until compactions have gone over the tables at their ends; they see to
 * that from half of them on. One is noted until a checkpoint says that it has come to its end, and
 * a quarter is kept for what is taken while a checkpoint is written: so there is room for all in
 * any replay. A call that finds none ends bars until there is some, with checkpoints, which in
 * a pause it cannot (TACTUS_EPAUSED). TACTUS_EINVAL: a bound is missing, or `first` is not below
 * `end`. TACTUS_EKEYSIZE: a bound has more than TACTUS_KEY_SIZE_MAX bytes. TACTUS_EFULL as for
 * tactus_delete, or because no range comes to its end: compaction is held back, or damage is in the
 * way. TACTUS_ECORRUPT as for tactus_put. */
TACTUS_API int tactus_delete_range(struct tactus *store, uint32_t tree, const void *first,
                                   size_t first_size, const void *end, size_t end_size,
                                   uint64_t *ret_op);

/* Puts the record if there is none with its key. TACTUS_ECONFLICT: there is one, and it stays. */
TACTUS_API int tactus_put_if_absent(struct tactus *store, uint32_t tree, const void *key,
                                    size_t key_size, const void *value, size_t value_size);
/* If the key has the expected value (NULL with size 0: if there is no such record), gives it this
 * value (NULL with size 0: deletes it). TACTUS_ECONFLICT: it has another one, which stays. */
TACTUS_API int tactus_compare_and_set(struct tactus *store, uint32_t tree, const void *key,
                                      size_t key_size, const void *expected, size_t expected_size,
                                      const void *value, size_t value_size);

/* A batch: puts and deletes over any trees that become visible together. Later entries win. */
struct tactus_batch;

/* Empty, and of this store: to be freed before it is closed. One thread at a time uses a batch. */
TACTUS_API int  tactus_batch_new(struct tactus *store, struct tactus_batch **ret_batch);
TACTUS_API void tactus_batch_free(struct tactus_batch *batch);
TACTUS_API void tactus_batch_clear(struct tactus_batch *batch);
/* TACTUS_EBATCHSIZE when the batch would pass a quarter of memtable_size (accounted bytes). */
TACTUS_API int tactus_batch_put(struct tactus_batch *batch, uint32_t tree, const void *key,
                                size_t key_size, const void *value, size_t value_size);
TACTUS_API int tactus_batch_delete(struct tactus_batch *batch, uint32_t tree, const void *key,
                                   size_t key_size);
/* A condition: the commit writes nothing unless, just before it, the key has the expected value
 * (NULL with size 0: there is no such record). What the batch itself writes does not count. */
TACTUS_API int tactus_batch_expect(struct tactus_batch *batch, uint32_t tree, const void *key,
                                   size_t key_size, const void *expected, size_t expected_size);
/* Applies the batch as one op and clears it. An empty batch takes no op. *ret_op may be NULL.
 * TACTUS_ECONFLICT when a condition does not hold: nothing has changed, but that is an op too. The
 * batch keeps its entries when it fails, unless it was applied and the sync of the log failed. */
TACTUS_API int tactus_batch_commit(struct tactus_batch *batch, uint64_t *ret_op);

/* A record of a sorted run. */
struct tactus_run_record {
    const void *key;
    size_t      key_size;
    const void *value;        /* Not looked at if is_tombstone, nor is its size */
    size_t      value_size;
    bool        is_tombstone; /* Deletes the key */
};

/* Takes a sorted run, of any length, into a tree as tables, past memtable and write-ahead log: one
 * op, whole or not at all. Where nothing of the tree lies in the range of a table, it goes to the
 * last level at once and is not written again. When the call returns, the run and all ops before it
 * are in a durable checkpoint: an application with its own log may forget them. An empty run is no
 * op.
 * read_fn gives the next records of the run: *ret_records points to *ret_count of them, keys
 * strictly ascending over the whole run. They stay its own, and as they are until its next call, or
 * this one returns. A count of 0, which it finds there, ends the run. Any other code than TACTUS_OK
 * ends the ingest with that code. It may get and iterate in the store, and call no other function
 * on it.
 * Writes of other threads, tactus_stat and what else takes a place among the ops wait meanwhile, as
 * for tactus_drain; reads do not. It ends the bar, and then a bar for each memtable of what it
 * could not place in the last level, so that compaction keeps up.
 * Whatever ends the ingest with an error before the run is whole in tables, the reader's code among
 * them, changes nothing and takes no number: TACTUS_EINVAL, TACTUS_EKEYSIZE, TACTUS_EVALUESIZE and
 * TACTUS_ELAYOUT name the record, the first is 1; TACTUS_EFULL: there is no room, or the run has
 * more tables than tables_max leaves, or than the manifest can note at once (some thousands, with
 * the longest keys a hundred): ingest it in parts; TACTUS_ENOMEM, TACTUS_EPAUSED, TACTUS_ECORRUPT as
 * for tactus_put, TACTUS_EIO when the file cannot grow. TACTUS_EOPTION: with runs_per_level of 1
 * there are no sorted runs. After TACTUS_EPOISONED open the store again: the run is in it if
 * tactus_last_op says so. *ret_op may be NULL. */
TACTUS_API int tactus_ingest(struct tactus *store, uint32_t tree,
                             int (*read_fn)(void *context,
                                            const struct tactus_run_record **ret_records,
                                            size_t *ret_count),
                             void *context, uint64_t *ret_op);

/* ---- reading -------------------------------------------------------------------------------- */

/* Copies the value into buffer (up to buffer_size bytes) and its whole size into *ret_value_size.
 * TACTUS_ENOTFOUND when there is no such key. buffer may be NULL with buffer_size 0. */
TACTUS_API int tactus_get(struct tactus *store, uint32_t tree, const void *key, size_t key_size,
                          void *buffer, size_t buffer_size, size_t *ret_value_size);

/* A value where it lies, not copied: in a page of the cache, which cannot be used for anything else
 * meanwhile; or, if the record is still in a memtable, in memory of its own. It does not change. To
 * be given to tactus_value_release, soon, and before the store is closed. */
struct tactus_value {
    const void *data; /* Never NULL; not terminated, not aligned */
    size_t      size;
    void       *internal[2];
};

/* As tactus_get. On success *ret_value is filled, on failure untouched. */
TACTUS_API int tactus_get_pinned(struct tactus *store, uint32_t tree, const void *key,
                                 size_t key_size, struct tactus_value *ret_value);
TACTUS_API void tactus_value_release(struct tactus_value *value);

/* A key of tactus_get_many, and its answer. */
struct tactus_lookup {
    const void *key;            /* The caller's, like key_size; not changed */
    size_t      key_size;
    int         code;           /* What tactus_get_pinned returns for it */
    struct tactus_value value;  /* With TACTUS_OK to be given to tactus_value_release; else empty,
                                   and may be */
};

/* As tactus_get_pinned for each of `count` keys of a tree, in any order; code and value of all are
 * filled. Each key is looked up by itself: a batch that is committed meanwhile may show in one and
 * not in another. What has to come from the device is read side by side, up to 32 reads, in up to
 * four such calls at once; further calls, and all with the backend "posix", wait for one read after
 * the other. Returns TACTUS_OK when each code is that or TACTUS_ENOTFOUND, else another code, whose
 * text tactus_message has. */
TACTUS_API int tactus_get_many(struct tactus *store, uint32_t tree, struct tactus_lookup *lookups,
                               size_t count);

/* An iterator sees the tree as of its opening for at least one whole bar of writes; then its calls
 * may return TACTUS_EEXPIRED: open another one at the last key. It stands on a record or nowhere.
 * Moves return TACTUS_ENOTFOUND where there is no further record (it then stands nowhere). */
struct tactus_iterator;

/* It stands nowhere; to be closed before the store. One thread at a time uses an iterator. */
TACTUS_API int tactus_iterator_open(struct tactus *store, uint32_t tree,
                                    struct tactus_iterator **ret_iterator);
TACTUS_API void tactus_iterator_close(struct tactus_iterator *iterator);
/* From now on it has only the keys from `low` on and before `high`, in order of memcmp; NULL (with
 * size 0): no bound. Moves end there and seeks go no further, so tables beyond are not read. Both
 * are copied, 1 to TACTUS_KEY_SIZE_MAX bytes. It then stands nowhere. */
TACTUS_API int tactus_iterator_bound(struct tactus_iterator *iterator, const void *low,
                                     size_t low_size, const void *high, size_t high_size);
/* The same for all keys that begin with the prefix. */
TACTUS_API int tactus_iterator_prefix(struct tactus_iterator *iterator, const void *prefix,
                                      size_t prefix_size);
TACTUS_API int  tactus_iterator_first(struct tactus_iterator *iterator);
TACTUS_API int  tactus_iterator_last(struct tactus_iterator *iterator);
/* To the first record with a key at or after the given one. */
TACTUS_API int tactus_iterator_seek(struct tactus_iterator *iterator, const void *key,
                                    size_t key_size);
/* To the last record with a key at or before the given one. */
TACTUS_API int tactus_iterator_seek_back(struct tactus_iterator *iterator, const void *key,
                                         size_t key_size);
TACTUS_API int tactus_iterator_next(struct tactus_iterator *iterator);
TACTUS_API int tactus_iterator_previous(struct tactus_iterator *iterator);
/* The record under the iterator; the bytes are valid until its next move or close. */
TACTUS_API void tactus_iterator_record(const struct tactus_iterator *iterator, const void **ret_key,
                                       size_t *ret_key_size, const void **ret_value,
                                       size_t *ret_value_size);

/* ---- snapshots ------------------------------------------------------------------------------ */

/* A snapshot is the whole store as of one op, under a name, until it is released: across closes and
 * crashes. Nothing is copied: tables that compactions would give back stay in the file as long as a
 * snapshot has them, so what it costs grows with what is written after it (retained_bytes of
 * tactus_stat), and it counts for file_size_max and tables_max. */
struct tactus_snapshot_info {
    char     name[TACTUS_SNAPSHOT_NAME_MAX + 1];
    uint64_t op;     /* It has what the ops up to this one have made, and nothing later */
    uint64_t tables; /* That it has … */
    uint64_t bytes;  /* … and the keys and values in them, tombstones included */
};

/* Ends the bar early until all ops before the call are in tables, and takes the snapshot with a
 * durable checkpoint. An op, the one that the snapshot is of: *ret_op, which may be NULL. Names: 1
 * to 63 of [A-Za-z0-9_.-]. TACTUS_EEXISTS when there is one of this name; TACTUS_EOPTION: there are
 * snapshots_max; TACTUS_EFULL: no room for the list of its tables. With that one there is no
 * snapshot, but a checkpoint, and the op. */
TACTUS_API int tactus_snapshot_create(struct tactus *store, const char *name, uint64_t *ret_op);
/* Gives back what no other snapshot and no tree needs: with the plans to come, some of it in each.
 * An op, with a durable checkpoint like the other. TACTUS_ENOTFOUND; TACTUS_EAGAIN while somebody
 * has it open; TACTUS_ECORRUPT: the list of its tables is damaged, and nothing has changed. */
TACTUS_API int tactus_snapshot_release(struct tactus *store, const char *name);
/* Copies up to snapshots_max descriptions, the oldest first; *ret_count is how many there are. */
TACTUS_API int tactus_snapshot_list(struct tactus *store, struct tactus_snapshot_info *snapshots,
                                    uint32_t snapshots_max, uint32_t *ret_count);

/* A snapshot to be read. Any thread may use it, and several at once; reading takes no lock. */
struct tactus_snapshot;

/* Reads the list of its tables and keeps it in memory of its own: about 200 bytes and two keys a
 * table. To be closed before the store. TACTUS_ENOTFOUND, TACTUS_ENOMEM, TACTUS_ECORRUPT,
 * TACTUS_EIO. */
TACTUS_API int tactus_snapshot_open(struct tactus *store, const char *name,
                                    struct tactus_snapshot **ret_snapshot);
/* Its iterators must have been closed. */
TACTUS_API void tactus_snapshot_close(struct tactus_snapshot *snapshot);
/* As tactus_get. TACTUS_ENOTREE when the tree was created later. */
TACTUS_API int tactus_snapshot_get(struct tactus_snapshot *snapshot, uint32_t tree, const void *key,
                                   size_t key_size, void *buffer, size_t buffer_size,
                                   size_t *ret_value_size);
/* An iterator like any other, but that it never expires. */
TACTUS_API int tactus_snapshot_iterator(struct tactus_snapshot *snapshot, uint32_t tree,
                                        struct tactus_iterator **ret_iterator);

/* ---- maintenance ---------------------------------------------------------------------------- */

/* Until both memtables are empty, every level is within its size and depth, and a checkpoint is
 * durable. An op. TACTUS_EFULL: there is no room to compact. TACTUS_ECORRUPT names a damaged table
 * that was in the way. With both, all is durable, and what could be compacted is. */
TACTUS_API int tactus_drain(struct tactus *store);

/* Compacts every record of the tree into its last level, then drains, with the same errors. Writes
 * wait until it is done: see tactus_compact_range for one that they do not wait for. An op. */
TACTUS_API int tactus_compact(struct tactus *store, uint32_t tree);

/* Compacting a key range beside the writes: it is begun, goes on with each bar that ends, and can
 * be looked at and cancelled. Bars end when their memtable is full; a store that nobody writes to
 * is stepped, by a loop of tactus_compact_step. One range at a time. With a log it goes on after an
 * open; without one, an open or a close ends it. What has been done is kept in any case. */

/* Begins to bring every record of the tree with a key from `low` on and before `high`, in order of
 * memcmp, that has been written so far into the last level; NULL (with size 0): no bound. Of a
 * bound the first 392 bytes count: one that is longer is taken as if nothing followed at `low`, and
 * as the next string of 392 bytes at `high`. Returns at once. Until it is done each bar has up to
 * four memtables' bytes to compact beside its own work, and a write waits for its beat's part of
 * that. An op, which ends a tactus_compaction_hold; a later hold holds it back. TACTUS_EINVAL:
 * `low` is not below `high`. TACTUS_EKEYSIZE: a bound has size 0 or more than TACTUS_KEY_SIZE_MAX.
 * TACTUS_EEXISTS: a range is being compacted already. */
TACTUS_API int tactus_compact_range(struct tactus *store, uint32_t tree, const void *low,
                                    size_t low_size, const void *high, size_t high_size);
/* Does what is left of the bar's work at once, whatever beat it is, and ends the bar. Other threads
 * write on meanwhile, but for the end itself. An op, with or without a range. *ret_is_done: no
 * range is being compacted, or none any more: tactus_compact_progress says why. For a settled store
 * call tactus_drain when it is done. TACTUS_EAGAIN: tactus_compaction_hold holds the range back,
 * and no op was taken. TACTUS_EPAUSED. */
TACTUS_API int tactus_compact_step(struct tactus *store, bool *ret_is_done);
/* From the next bar on no more is done for the range; the plan of this bar is still carried out.
 * Returns within a beat or two, as any write. An op, also if there is no range. */
TACTUS_API int tactus_compact_cancel(struct tactus *store);

enum tactus_compact_state {
    TACTUS_COMPACT_NONE = 0,      /* No range since open */
    TACTUS_COMPACT_FLUSHING = 1,  /* What was in the memtables is coming to tables: two bars'
                                     ends */
    TACTUS_COMPACT_RUNNING = 2,
    TACTUS_COMPACT_DONE = 3,      /* What lies under damaged tables apart (tables_damaged) */
    TACTUS_COMPACT_CANCELLED = 4,
    TACTUS_COMPACT_STUCK = 5,     /* Given up: 64 plans in a row found no room for more of it, or
                                     more keys than a bar compacts are alike in 392 bytes */
};

/* Of the last range since open, as of the last bar's end. Bytes are those of the tables that
 * overlap the range above the last level and have not been taken yet, as the manifest has them:
 * keys and values, which also may be newer than the range's begin. A pass is a byte's way down one
 * level; passes are what the speed is of, since all have to be made before the bytes in the last
 * one are gone. */
struct tactus_compact_progress {
    enum tactus_compact_state state;
    uint32_t tree;
    uint64_t op;                 /* That began it */
    uint32_t level;              /* That is being emptied, from the top */
    uint64_t total_bytes;        /* When RUNNING began, in an earlier open too */
    uint64_t left_bytes;
    uint64_t passes_total_bytes; /* total_bytes, each as often as levels it had to go down */
    uint64_t passes_left_bytes;
    uint64_t bytes_per_second;   /* Passes since it was begun, or since open */
    uint64_t elapsed_ns;         /* Since then */
    uint64_t time_left_ns;       /* At that speed; UINT64_MAX: not known yet */
};

/* Any thread, at any time; never waits. In a forked child: all zero. */
TACTUS_API void tactus_compact_progress(struct tactus *store,
                                        struct tactus_compact_progress *ret_progress);

/* Holds back (true) or allows again (false) every compaction but the flush. An op. A drain ends it,
 * and so does the close of a store without a log. For bulk loads that end with tactus_compact;
 * reads slow down meanwhile. */
TACTUS_API int tactus_compaction_hold(struct tactus *store, bool hold);

/* The next beat, for a host with a clock of its own. A bar has beats_per_bar beats. By itself one
 * is over when that part of memtable_size has been written; this ends the one that runs at once,
 * whatever has been written in it, and with the last one the bar, whose memtable is then flushed as
 * it is. So a store that few writes come to goes on with what compaction is due, in equal parts:
 * one for each call, which may be each op of a replicated log, or each tick. Writes that are
 * further than the calls begin beats as ever: the bar is where whichever is further has brought it.
 * An op: stores that are to be equal need it in the same places. It waits as a write in that beat
 * does. TACTUS_EPAUSED: it would have to wait, and took no op. TACTUS_EFULL: the log has no room for
 * it; it took none. TACTUS_EPOISONED. */
TACTUS_API int tactus_beat(struct tactus *store);

/* Pauses flushes and compactions: when it returns nothing more of them is begun, and what was under
 * way ends within a block's time; what is done stays done. A checkpoint that is being written is
 * finished. A write of another thread that waits, or is about to, is let through first, which takes
 * one beat's work at most; so is a drain, a compaction, a delete in a full store, or a call that
 * ends bars to make room for a tree or a range, which may take long. No op: no byte of the file
 * depends on it, and a close, or opening again, ends it. Reads, and the write-ahead log, go on. So
 * do writes for lag_beats and for what had been done ahead; one that would have to wait for
 * compaction, tactus_drain, tactus_compact, tactus_checkpoint, the ops of snapshots, and
 * tactus_sync without a write-ahead log, return TACTUS_EPAUSED and change nothing. Pausing twice is
 * pausing once. TACTUS_EPOISONED: nothing runs anyway. */
TACTUS_API int tactus_pause(struct tactus *store);
/* Goes on. No error if nothing was paused. */
TACTUS_API int tactus_resume(struct tactus *store);

/* Other numbers of stage threads for a store that was opened with some: each at least 1, or
 * TACTUS_THREADS_AUTO. The threads there are end with their step and their I/O, and the new ones go
 * on. A write of another thread waits for that, and this call for a write, a drain or a compaction
 * of another thread. No op: no byte of the file depends on it. Memory, and how many jobs run side
 * by side, stay as the open made them: open with the most threads that there will be.
 * TACTUS_EOPTION. TACTUS_ENOMEM, TACTUS_EIO: those there were go on; but if the system refuses the
 * new threads when the old ones have ended there are none, as tactus_stat says: writes then do the
 * work themselves, and another call may bring threads back. Of a store in a pool they are the
 * pool's. */
TACTUS_API int tactus_threads_change(struct tactus *store, uint32_t threads_read,
                                     uint32_t threads_merge, uint32_t threads_write);

/* Another io_rate_max_bytes from now on; 0: no limit. Where compaction is held up by it writes
 * wait, evenly, as they do for a slow device; drains and closes keep to it, too: take the limit
 * away before a close that is to be quick. For 20 ms what was not used is kept. Reads of the
 * application, the scrub, the write-ahead log and what an open loads are not limited. No op: no
 * byte of the file depends on it. Waits for nothing. TACTUS_EOPTION. TACTUS_ENOMEM: there is no
 * thread for it; the limit stays as it was. */
TACTUS_API int tactus_io_rate_change(struct tactus *store, uint64_t io_rate_max_bytes);

/* Other sizes of the readers' caches from now on: from 0 to what cache_size_max of the open
 * allows, or TACTUS_SIZE_AUTO, as in struct tactus_options. Reads, writes and compactions go on
 * meanwhile. What the caches have room for stays in them: it is copied to its new place by the
 * calling thread, which takes up to some seconds a GiB. Memory that a cache gains is touched as
 * it fills; what it gives up goes back to the system before this returns, but for pages that are
 * pinned (by an iterator, a struct tactus_value), which follow when they are released, and for
 * index blocks of tables that gets have looked at, up to half of the cache, which follow within
 * five bars. Of a page that a cache has once had room for 64 bytes stay, and count in its size.
 * memory_budget_bytes changes with it, and, in a pool, what the pool has left. Calls wait for
 * each other, and for nothing else. No op: no byte of the file depends on it. TACTUS_EOPTION: out
 * of range, or more than memory_size. TACTUS_ENOMEM: more than the pool has left. With both all
 * is as it was. */
TACTUS_API int tactus_cache_change(struct tactus *store, uint64_t page_cache_size,
                                   uint64_t index_cache_size);

/* Ends the bar early until all ops before the call are in a durable checkpoint. An op. A write-ahead
 * log that is full, so that other calls are refused with TACTUS_EFULL, has room for it. */
TACTUS_API int tactus_checkpoint(struct tactus *store);

/* Until all ops before the call are durable: by a sync of the write-ahead log; where there is none,
 * by tactus_checkpoint. */
TACTUS_API int tactus_sync(struct tactus *store);

/* The last op that a crash cannot take back, and the last op there is. */
TACTUS_API uint64_t tactus_durable_op(struct tactus *store);
TACTUS_API uint64_t tactus_last_op(struct tactus *store);

/* The op that the next write will be. With TACTUS_LOG_HOST, right after tactus_open: the first op
 * that the application has to do again from its log, every op in its order, control ops included.
 * The store is then byte for byte as if it had never stopped. Ops before it may be forgotten.
 * An op is any call that writes, and any other that this header calls one; a call that failed took
 * no number, but for writes that end with TACTUS_ECONFLICT, as they do when done again; for drains
 * and compactions that end with TACTUS_EFULL or TACTUS_ECORRUPT; for snapshots that are refused
 * with TACTUS_EFULL; and for deletes, ranges too, and batches of deletes that end with
 * TACTUS_EFULL: in place of these do tactus_checkpoint again. The application notes an op before it
 * makes the call: a crash may find it half-way. */
TACTUS_API uint64_t tactus_replay_op(struct tactus *store);
/* After the last op of the application's log, or when there is none, and before anything new. */
TACTUS_API void tactus_replay_end(struct tactus *store);

/* Does some of the background work, for stores without stage threads. Returns true while there is
 * more that could be done now. When only the device has something to do it waits for that. */
TACTUS_API bool tactus_step(struct tactus *store);
/* For a loop that sleeps in poll or epoll: a descriptor that can be read when the device has done
 * something, or when a limit of I/O lets something go on. From this call on tactus_step does not
 * wait for the device: it returns false, and there may be more to do when the descriptor can be
 * read, or after a write. It is not to be read from or closed, and goes with the store.
 * TACTUS_EOPTION: the store has stage threads. TACTUS_EIO, ENOMEM. */
TACTUS_API int tactus_descriptor(struct tactus *store, int *ret_descriptor);

/* ---- observing ------------------------------------------------------------------------------ */

#define TACTUS_LEVELS_MAX 12

struct tactus_level_stats {
    uint64_t tables;
    uint64_t bytes;      /* Keys and values */
    uint64_t records;    /* Tombstones included */
    uint64_t tombstones;
    uint32_t depth;      /* Most tables over one key */
};

/* The stages of the pipeline, which tactus_stats tells apart. */
enum tactus_stage {
    TACTUS_STAGE_READ,        /* Reads blocks and checks them; gathers what a flush takes out of a
                                 memtable into blocks. */
    TACTUS_STAGE_MERGE,       /* Merges sources into blocks, checksums included. */
    TACTUS_STAGE_WRITE,       /* Writes blocks, and syncs. */
    TACTUS_STAGE_COORDINATOR, /* Plans, paces, and commits what was merged; checkpoints. */
    TACTUS_STAGES,
};

/* Where the time went since open, of one stage. Any thread may do a stage's work (option assist;
 * without threads, the one that waits or calls tactus_step): bytes, items and busy_ns are those of
 * the stage, whoever did it. What is idle is a thread, and counts under its own stage (threads_read
 * and so on); without threads nobody is. Of a store's thread busy and idle time together are the
 * time since open, but for the step that it is in. A thread of a pool is idle for all its stores
 * while it sleeps; while it is busy for one, it is neither for the others. It is time by the clock:
 * a thread that waits for a processor in the middle of a step is busy. */
struct tactus_stage_stats {
    uint64_t bytes;          /* READ, WRITE: read from and written to the store file. MERGE: keys
                                and values that it took in. COORDINATOR: none. */
    uint64_t items;          /* READ: reads that came back, and gathers, of a block each. WRITE:
                                writes and syncs that came back. MERGE: turns, of about a block of
                                input each or until one lacks something. COORDINATOR: turns. */
    uint64_t busy_ns;        /* In steps that did something. With the backend "posix" the device's
                                time too: it is waited for in a step. */
    uint64_t gathered_bytes; /* READ: keys and values gathered out of memtables; not in bytes. */
    uint64_t gather_ns;      /* READ: what that took; in busy_ns. */
    uint64_t idle_ns;        /* Of its threads: asleep, going to sleep, waking up. It is the sum of
                                those below, each by what the thread waited for as it lay down. */
    uint64_t wait_work_ns;   /* Nothing was there to be done. MERGE: fewer jobs waited for anything
                                than threads slept. */
    uint64_t wait_device_ns; /* READ, WRITE: requests that the thread itself had submitted. */
    uint64_t wait_credit_ns; /* MERGE: a job had used up the credit of the beats so far. */
    uint64_t wait_read_ns;   /* MERGE: most jobs that waited needed a block from READ: from the
                                device, or still to be asked for, checked or gathered. */
    uint64_t wait_write_ns;  /* MERGE: most jobs that waited needed one of their blocks back from
                                WRITE, to fill it again, or had only their last writes to come. */
};

/* Of waits: the first those of up to 1 µs, each next one up to twice as long, the last the rest. */
#define TACTUS_WAIT_BUCKETS 24

/* Later versions add members at the end. Those that the library does not know are 0. */
struct tactus_stats {
    size_t   struct_size;           /* Of these, what the library has filled: less than the sizeof
                                       of the program if the library is older */
    uint64_t last_op, durable_op, checkpoint_sequence;
    uint64_t bars, beats;
    uint64_t user_bytes;            /* Keys and values accepted by writes since open */
    uint64_t records_put, records_deleted;
    uint64_t written_bytes, read_bytes; /* By the store file's I/O since open */
    uint64_t cache_hits, cache_misses;
    uint64_t cache_carried;         /* Pages that compactions put into the cache in place of those
                                       they were made from */
    uint64_t level0_cache_hits;     /* Blocks that compactions found in memory */
    uint64_t waits;                 /* Writes that waited for compaction */
    uint64_t wait_ns_total, wait_ns_max;
    uint64_t wait_buckets[TACTUS_WAIT_BUCKETS]; /* How many took how long */
    uint64_t wait_bound_bytes;      /* The most work one wait covers, in this bar */
    uint64_t checkpoint_waits;      /* Bars that had to wait for a checkpoint */
    uint64_t log_bytes, log_syncs;  /* Of the write-ahead log since open */
    uint64_t log_waits;             /* Writes that waited for a checkpoint to give room in it */
    uint64_t tight_plans;           /* Made with as few tables as can be: blocks were scarce */
    uint64_t compactions, jobs, tables_moved, tables_written;
    uint64_t records_merged;        /* Records read by compactions and flushes */
    uint64_t records_overwritten, tombstones_dropped;
    uint64_t records_discarded;     /* Of memtables, with trees that were dropped */
    uint64_t bar_work_bytes;        /* Planned input bytes of the current bar */
    uint64_t bar_work_done_bytes;
    uint64_t block_size, blocks_acquired, blocks_released, blocks_in_file;
    uint64_t live_bytes;            /* Keys and values in tables, tombstones included */
    uint64_t tables_damaged;        /* Found so by a compaction: left where they are, with what
                                       lies over them */
    uint64_t tables_discarded;      /* That no level has any more, while their blocks are still to
                                       be given back: a few with each bar */
    uint64_t discarded_bytes;       /* What these take in the file */
    uint64_t discards_done;         /* Tables whose blocks were given back so since open */
    uint64_t discards_damaged;      /* Of tables_discarded: their index block is damaged, and what
                                       they take in the file is lost */
    uint64_t tables_retained;       /* That no level has any more, but snapshots; or whose snapshots
                                       were released, and their blocks are still to be given back */
    uint64_t retained_bytes;        /* What these take in the file */
    uint64_t scrub_blocks;          /* Read and checked by the scrub since open */
    uint64_t scrub_rounds;          /* Rounds in which it has read all there is */
    uint64_t scrub_round_blocks;    /* Of scrub_blocks, those of the round under way */
    uint64_t scrub_damages;         /* Of scrub_blocks, those that were damaged or unreadable. One
                                       that stays so counts in each round */
    uint64_t memory_budget_bytes;
    uint64_t manifest_log_blocks;
    uint32_t depth_max;             /* Deepest level ever seen since open */
    uint32_t threads_read, threads_merge, threads_write;
    uint32_t trees, levels;         /* levels: of the deepest tree */
    uint32_t snapshots;
    const char *backend;            /* "io_uring", "posix", "memory"; static */
    bool     direct_io;
    bool     is_paused;             /* By tactus_pause */
    struct tactus_stage_stats stage[TACTUS_STAGES];
    struct tactus_level_stats level[TACTUS_LEVELS_MAX]; /* All trees together */
    char     scrub_damage[TACTUS_MESSAGE_BYTES]; /* The last of scrub_damages: place and what is
                                                    wrong; empty: none */
    uint32_t ranges;                /* That tactus_delete_range has deleted, and that tables or
                                       memtables may still have records of */
    uint64_t records_range_deleted; /* Left out by flushes and compactions since open, as a range
                                       had deleted them */
    uint64_t syncs;                 /* Of the store file since open: of checkpoints, and those of
                                       bytes_per_sync */
    uint64_t sync_ns_max;           /* The longest of them that a stage thread made: what the device
                                       takes for its flush. Blocks may wait for it meanwhile */
};

/* As tactus_stat. struct_size: of the struct that the program was compiled with, no more of which
 * is written; for calls from other languages, C and C++ have tactus_stat. */
TACTUS_API void tactus_stat_sized(struct tactus *store, struct tactus_stats *ret_stats,
                                  size_t struct_size);
/* Any thread, at any time: what the bars have done is as of the last one's end. */
static inline void tactus_stat(struct tactus *store, struct tactus_stats *ret_stats)
{
    tactus_stat_sized(store, ret_stats, sizeof *ret_stats);
}

enum tactus_plan_kind {
    TACTUS_PLAN_FLUSH = 0,    /* A memtable into level 0; with runs of 1 merged with its tables */
    TACTUS_PLAN_MERGE = 1,    /* Into the level below */
    TACTUS_PLAN_IN_PLACE = 2, /* Within the level: it is little over much below */
    TACTUS_PLAN_MOVE = 3,     /* A table changes level, and no byte is read */
};

/* What was due when it was chosen. */
enum tactus_plan_reason {
    TACTUS_PLAN_FOR_FLUSH = 0,
    TACTUS_PLAN_FOR_DEPTH = 1, /* More than runs_per_level tables over a key */
    TACTUS_PLAN_FOR_SIZE = 2,  /* The level is above its capacity */
    TACTUS_PLAN_FORWARD = 3,   /* Nothing yet, but soon, and the bar had less to do than others */
    TACTUS_PLAN_BY_HAND = 4,   /* tactus_compact_range or tactus_compact */
    TACTUS_PLAN_FOR_SPACE = 5, /* The store is full: everything that may make room; or deleted
                                  ranges are to come to their end */
};

#define TACTUS_PLAN_KEY_BYTES 64
#define TACTUS_PLAN_ENTRIES_MAX 1024

struct tactus_plan_entry {
    uint32_t                tree;
    enum tactus_plan_kind   kind;
    enum tactus_plan_reason reason;
    bool     is_due;       /* Not in the plan that is being carried out: left for later bars. Then
                              it stands for all that is due of the level for this reason */
    uint32_t level_from, level_to;
    uint32_t tables;       /* That it takes. FOR_DEPTH and due: so many over one key */
    uint64_t input_bytes;  /* Keys and values that it reads, as planned; of a move 0. FOR_SIZE and
                              due: above capacity. BY_HAND and due: of the range, in this level and
                              further down; FOR_DEPTH and due: 0 */
    /* The keys between which it lies; 0: none known. The whole sizes, of which there may be more
     * than the first bytes that are here. */
    uint32_t low_size, high_size;
    uint8_t  low[TACTUS_PLAN_KEY_BYTES], high[TACTUS_PLAN_KEY_BYTES];
};

/* Copies up to entries_max compactions: those of the plan of this bar (with runs of 1: half a bar),
 * as it was made in the bar's first beats and before any of it was run, in order of tree and level;
 * then what is due and was left for later. *ret_count is how many there are, of which the first
 * TACTUS_PLAN_ENTRIES_MAX can be had. Any thread, at any time; never waits. TACTUS_EFORKED. */
TACTUS_API int tactus_plan(struct tactus *store, struct tactus_plan_entry *entries,
                           uint32_t entries_max, uint32_t *ret_count);

/* The statistics as text for Prometheus (exposition format 0.0.4): names begin with tactus_, units
 * are seconds and bytes. labels: what each sample is to have, such as "store=\"orders\"", or NULL.
 * Writes at most buffer_size bytes, a terminator included; *ret_size is what the whole text has,
 * without it: when that is not below buffer_size, call again with more. */
TACTUS_API int tactus_metrics(struct tactus *store, const char *labels, char *buffer,
                              size_t buffer_size, size_t *ret_size);

/* A checksum of everything that the last durable superblock reaches: equal for equal ops, options
 * and UUID, whatever the threads. 16 bytes. */
TACTUS_API int tactus_digest(struct tactus *store, uint8_t ret_digest[16]);

/* What tactus_events_set tells of. */
enum tactus_event_kind {
    TACTUS_EVENT_JOB = 1,         /* A part of a flush or a compaction is done, or has failed */
    TACTUS_EVENT_FLUSH = 2,       /* Records of a memtable are in tables of level 0 */
    TACTUS_EVENT_COMPACTION = 4,  /* Tables were merged: at their plan's end, in which others took
                                     their places */
    TACTUS_EVENT_MOVE = 8,        /* Tables changed level without being written again */
    TACTUS_EVENT_CHECKPOINT = 16, /* A checkpoint is durable */
    TACTUS_EVENT_WAIT = 32,       /* A write has waited */
    TACTUS_EVENT_ERROR = 64,      /* Writing has stopped, or damage was found */
};

/* An event; what does not go with its kind is 0. Later versions add members at the end. */
struct tactus_event {
    size_t   struct_size;           /* What the library has filled */
    enum tactus_event_kind kind;
    int      code;                  /* JOB, ERROR: what went wrong; else TACTUS_OK */
    uint64_t time_ns;               /* When it was over, by CLOCK_MONOTONIC */
    uint64_t duration_ns;           /* All but MOVE and ERROR: how long it took. FLUSH, COMPACTION:
                                       from the begin of its first job to the end of its last one.
                                       0: it had begun when nobody listened */
    uint32_t tree;                  /* JOB, FLUSH, COMPACTION, MOVE: its id */
    uint32_t level_from, level_to;  /* The same, of tables; a flush: both 0 */
    uint32_t jobs;                  /* FLUSH, COMPACTION */
    uint64_t tables_in, tables_out; /* JOB, FLUSH, COMPACTION: read, written. MOVE: both those
                                       moved */
    uint64_t bytes_in, bytes_out;   /* The same: keys and values. CHECKPOINT: written to the file */
    uint64_t records_in, records_out; /* JOB, FLUSH, COMPACTION: tombstones and versions included */
    uint64_t op;                    /* FLUSH: the last one whose records are in. CHECKPOINT: the
                                       last one that is durable. WAIT: the one that waited */
    uint64_t missed_count;          /* Events before this one that found 512 waiting to be told */
    const char *text;               /* JOB, ERROR with a code: in words. Else NULL. Valid during the
                                       call */
};

/* From now on event_fn is called for each event of `kinds` (bits of enum tactus_event_kind), with
 * the context, one at a time, in order; of waits for those of at least wait_ns_min. NULL: no
 * longer; when that returns no call is under way. A close tells what there is, and ends it too.
 * With stage threads a thread of the store's own calls it; without, tactus_step and any other call
 * of the application does as it returns. No lock is held: event_fn may call everything of the store
 * but tactus_close, tactus_abandon and this (TACTUS_EINVAL). What it takes delays later events, and
 * without stage threads that call, nothing else. It allocates memory for 512 events. No op: no byte
 * of the file depends on it. TACTUS_EINVAL changes nothing; TACTUS_ENOMEM: nobody is told any
 * more. */
TACTUS_API int tactus_events_set(struct tactus *store,
                                 void (*event_fn)(void *context, const struct tactus_event *event),
                                 void *context, uint32_t kinds, uint64_t wait_ns_min);

struct tactus_verify_report {
    uint64_t tables, blocks, records;
    uint64_t damages;               /* 0: everything reachable is sound */
};

/* Reads everything reachable and checks it: checksums, key order, stamp order, disjointness of the
 * last level, free-set accounting, record sums, filters against keys. Calls damage_fn for each
 * damage with its place; TACTUS_ECORRUPT when there was any. The store must be quiet (no
 * writes). */
TACTUS_API int tactus_verify(struct tactus *store,
                             void (*damage_fn)(void *context, const char *text), void *context,
                             struct tactus_verify_report *ret_report);

#ifdef __cplusplus
}
#endif
#endif
