/* SPDX-License-Identifier: Apache-2.0 */
/* engine -- what the comparison asks of a storage engine, and the engines that were found.
 *
 * An engine is a table of functions over an open store of its own kind, in a directory of its own.
 * All are used by one thread; a sync may come from a second one. A function that returns int
 * returns 0, or -1 after tac_engine_fail has said why.
 *
 * Every engine gets the same records, the same memory for what it caches and about the same
 * memtable, no compression, filters of 10 bits a key, and as many background threads as there are
 * processors. What else an engine was told is in its file, in its open. */
#ifndef TACTUS_TOOLS_COMPARE_ENGINE_H
#define TACTUS_TOOLS_COMPARE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/bench_record.h"

#define TAC_ENGINE_FILTER_BITS 10

enum tac_engine_log {
    TAC_ENGINE_LOG_NONE,     /* No log; what an engine cannot do without is said in its `caveat` */
    TAC_ENGINE_LOG_INTERVAL, /* A log that is synced every 100 ms */
};

struct tac_engine_config {
    const char                   *path; /* A directory that exists */
    const struct tac_bench_shape *shape;
    uint64_t                      seed;
    uint64_t                      memtable_records; /* 0: as many as come to about 64 MiB */
    uint64_t                      cache_bytes;      /* The engine's own caches together */
    enum tac_engine_log           log;
    bool                          holds; /* No compaction before `compact` */
    bool                          only_reads;
};

/* What engines keep beside key and value in a memtable, about: so that all flush as often. */
#define TAC_ENGINE_RECORD_OVERHEAD_BYTES 56
uint64_t tac_engine_memtable_bytes(const struct tac_engine_config *config);

struct tac_engine {
    const struct tac_engine_ops *ops;
    struct tac_engine_config     config;
};

/* False: no further record. Key and value are valid during the call. */
typedef bool tac_engine_record_fn(void *context, const void *key, size_t key_size,
                                  const void *value, size_t value_size);

enum tac_engine_trait {
    TAC_ENGINE_READS_ONLY = 1,    /* Filled in order of keys, then only read */
    TAC_ENGINE_HOLDS = 2,         /* Can hold compactions back */
    TAC_ENGINE_KEEPS_NOTHING = 4, /* The null engine: what the driver alone costs */
    TAC_ENGINE_SYNCS_ITSELF = 8,  /* Syncs its log every 100 ms: needs no calls of sync */
};

struct tac_engine_ops {
    const char *name;
    const char *caveat; /* What is unlike the others, for the table's foot; NULL: nothing */
    uint32_t    traits;
    void (*version)(char text[32]);
    int (*open)(const struct tac_engine_config *config, struct tac_engine **ret_engine);
    int (*close)(struct tac_engine *engine); /* Durable first */
    int (*put)(struct tac_engine *engine, const void *key, size_t key_size, const void *value,
               size_t value_size);
    int (*remove)(struct tac_engine *engine, const void *key, size_t key_size);
    /* 1: found, the value's size is in *ret_size and up to `room` bytes of it in value; 0: not. */
    int (*get)(struct tac_engine *engine, const void *key, size_t key_size, void *value,
               size_t room, size_t *ret_size);
    /* All records from the first key at or after `key` on (NULL: from the first), in order. */
    int (*scan)(struct tac_engine *engine, const void *key, size_t key_size,
                tac_engine_record_fn *record_fn, void *context);
    /* Until compaction has done what is due and all is durable. *ret_idle_ns is how long of that
     * the engine did nothing any more, which was only waited to be sure of it. */
    int (*settle)(struct tac_engine *engine, uint64_t *ret_idle_ns);
    int (*release)(struct tac_engine *engine); /* What was put is on the disk, in the runs that
                                                  config.holds has kept; compact may come */
    int (*compact)(struct tac_engine *engine); /* All records into one run, durable */
    int (*sync)(struct tac_engine *engine);    /* The log; any thread */
    /* In use on the disk; NULL: what the files of the directory come to. */
    uint64_t (*disk_bytes)(struct tac_engine *engine);
    uint64_t (*memory_budget_bytes)(struct tac_engine *engine); /* NULL: it has none */
};

/* Those that configure found; NULL ends the list. */
extern const struct tac_engine_ops *const tac_engines[];

extern const struct tac_engine_ops tac_engine_null, tac_engine_tactus;
#ifdef HAVE_ROCKSDB
extern const struct tac_engine_ops tac_engine_rocksdb;
#endif
#ifdef HAVE_LEVELDB
extern const struct tac_engine_ops tac_engine_leveldb;
#endif
#ifdef HAVE_WIREDTIGER
extern const struct tac_engine_ops tac_engine_wiredtiger;
#endif
#ifdef HAVE_LMDB
extern const struct tac_engine_ops tac_engine_lmdb;
#endif

/* NULL: not found by configure, or there is none of this name. */
const struct tac_engine_ops *tac_engine_find(const char *name);

/* Says "engine: what: text" on standard error; returns -1. */
int tac_engine_fail(const char *engine, const char *what, const char *text);

/* For engines that do not tell when compaction has come to rest: until the process has used next to
 * no processor time for half a second, and written nothing. Returns how long that rest was. */
uint64_t tac_engine_wait_quiet(void);

#endif
