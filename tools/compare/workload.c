/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/compare/workload.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/prng.h"
#include "base/units.h"

#define COMPACT_RUNS 8
#define SCAN_RECORDS 100
#define OVERWRITE_KEYS 2000000
#define LOG_INTERVAL_NS 100000000u
#define PACE_SLEEP_NS 100000u /* Shorter sleeps cost more than they leave to others */
#define ZIPF_THETA 0.99       /* YCSB's */
#define VERSION_STEP 0x9e3779b97f4a7c15u

enum workload_need {
    NEEDS_NOTHING,
    NEEDS_STORE, /* One that `ingest` or `load` has left */
    ONLY_READS,  /* Such a store */
};

struct tac_workload {
    const char        *name;
    enum workload_need need;
    uint32_t           traits;     /* That the engine must have */
    uint64_t           operations; /* Unless the caller says otherwise; 0: one for each record */
    int (*go)(struct tac_run *run);
};

/* ---- records -------------------------------------------------------------------------------- */

static int wrong(const struct tac_run *run, const char *what)
{
    return tac_engine_fail(run->ops->name, run->workload->name, what);
}

static void key_make(struct tac_run *run, uint64_t number)
{
    tac_bench_key_make(run->config.shape, run->config.seed, number, &run->record);
}

/* The value of a record that was overwritten so often. */
static void value_make(struct tac_run *run, uint8_t version)
{
    uint64_t key_prefix = run->record.key_prefix;

    run->record.key_prefix = key_prefix + version * VERSION_STEP;
    tac_bench_value_make(&run->record);
    run->record.key_prefix = key_prefix;
}

static int record_put(struct tac_run *run, uint64_t number, uint8_t version)
{
    struct tac_bench_record *record = &run->record;

    key_make(run, number);
    value_make(run, version);
    return run->ops->put(run->engine, record->key, record->key_size, record->value,
                         record->value_size);
}

/* Got and compared; has_record says what is right. */
static int record_get(struct tac_run *run, uint64_t number, uint8_t version, bool has_record)
{
    struct tac_bench_record *record = &run->record;
    size_t                   size = 0;
    int                      found;

    key_make(run, number);
    if (has_record) {
        value_make(run, version);
    }
    found = run->ops->get(run->engine, record->key, record->key_size, run->buffer,
                          sizeof run->buffer, &size);
    if (found < 0) {
        return -1;
    }
    if (found != has_record) {
        return wrong(run, has_record ? "a record is missing" : "a key that was never put is there");
    }
    if (has_record &&
        (size != record->value_size || memcmp(run->buffer, record->value, size) != 0)) {
        return wrong(run, "the value is another one");
    }
    return 0;
}

static uint64_t record_bytes(const struct tac_run *run)
{
    return run->record.key_size + run->record.value_size;
}

static uint64_t random_below(struct tac_run *run, uint64_t bound)
{
    struct tac_prng prng = {run->random_state};
    uint64_t        number = tac_prng_below(&prng, bound);

    run->random_state = prng.state;
    return number;
}

/* ---- scans ---------------------------------------------------------------------------------- */

struct scan {
    uint64_t limit;
    uint64_t records, bytes;
    uint64_t key_sum; /* Of the first eight bytes of the keys */
    uint64_t key_first;
};

static bool scan_take(void *context, const void *key, size_t key_size, const void *value,
                      size_t value_size)
{
    struct scan *scan = context;
    uint64_t     prefix = tac_load_u64(key);

    (void)value;
    scan->key_first = scan->records == 0 ? prefix : scan->key_first;
    scan->key_sum += prefix;
    scan->bytes += key_size + value_size;
    return ++scan->records < scan->limit;
}

/* All records; compared with those that satisfy `is_there`. */
static int full_scan(struct tac_run *run, bool (*is_there)(uint64_t number), struct scan *scan)
{
    uint64_t begin_ns = tac_clock_now_ns(), end_ns;
    uint64_t records = 0, key_sum = 0;

    *scan = (struct scan){.limit = UINT64_MAX};
    if (run->ops->scan(run->engine, NULL, 0, scan_take, scan) != 0) {
        return -1;
    }
    end_ns = tac_clock_now_ns();
    for (uint64_t i = 0; i < run->records; i++) {
        if (is_there(i)) {
            key_make(run, i);
            key_sum += run->record.key_prefix;
            records++;
        }
    }
    if (scan->records != records || scan->key_sum != key_sum) {
        return wrong(run, "a scan does not give the records that were put");
    }
    run->scan_records_per_s =
        (double)records * TAC_SECOND_NS / (double)tac_max_u64(1, end_ns - begin_ns);
    return 0;
}

static bool is_any(uint64_t number)
{
    (void)number;
    return true;
}

static bool is_even(uint64_t number) { return number % 2 == 0; }

/* ---- the log -------------------------------------------------------------------------------- */

static struct {
    pthread_t       thread;
    _Atomic(bool)   ends;
    struct tac_run *run;
    bool            is_started;
} syncer;

static void *syncer_main(void *context)
{
    const struct timespec interval = {0, LOG_INTERVAL_NS};

    (void)context;
    while (!syncer.ends) {
        nanosleep(&interval, NULL);
        if (syncer.run->ops->sync(syncer.run->engine) != 0) {
            break;
        }
    }
    return NULL;
}

/* For engines that do not sync their log by the clock themselves. */
static int syncer_start(struct tac_run *run)
{
    if (run->config.log != TAC_ENGINE_LOG_INTERVAL ||
        (run->ops->traits & TAC_ENGINE_SYNCS_ITSELF) != 0) {
        return 0;
    }
    syncer.run = run;
    syncer.is_started = pthread_create(&syncer.thread, NULL, syncer_main, NULL) == 0;
    return syncer.is_started ? 0 : wrong(run, "the system refuses another thread");
}

static void syncer_stop(void)
{
    if (syncer.is_started) {
        syncer.ends = true;
        pthread_join(syncer.thread, NULL);
        syncer.is_started = false;
    }
}

/* ---- loops ---------------------------------------------------------------------------------- */

typedef int operation_fn(struct tac_run *run, uint64_t i);

/* As fast as they go. The end of one is the start of the next, so nothing falls between them. */
static int loop(struct tac_run *run, operation_fn *operation, uint64_t operations)
{
    uint64_t last_ns;

    tac_measure_begin(&run->measure);
    last_ns = run->measure.begin_ns;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t now_ns;

        if (operation(run, i) != 0) {
            return -1;
        }
        now_ns = tac_clock_now_ns();
        tac_measure_operation(&run->measure, last_ns, now_ns);
        last_ns = now_ns;
    }
    tac_measure_end(&run->measure);
    run->operations_done = operations;
    return 0;
}

static void sleep_until(uint64_t time_ns)
{
    struct timespec time = {(time_t)(time_ns / TAC_SECOND_NS), (long)(time_ns % TAC_SECOND_NS)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0) {
    }
}

/* Operations arrive at fixed times, whether or not those before are done; a latency counts from the
 * arrival. While none is due the thread sleeps, for long enough to be of use to others: what that
 * adds is in every engine's latencies, the null engine's too. */
static int loop_paced(struct tac_run *run, operation_fn *operation)
{
    uint64_t operations = run->rate * run->seconds;
    uint64_t now_ns;

    prctl(PR_SET_TIMERSLACK, 1);
    tac_measure_begin(&run->measure);
    now_ns = run->measure.begin_ns;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t due_ns =
            run->measure.begin_ns + (uint64_t)((double)i * TAC_SECOND_NS / (double)run->rate);

        if (now_ns < due_ns) {
            sleep_until(tac_max_u64(due_ns, now_ns + PACE_SLEEP_NS));
        }
        if (operation(run, i) != 0) {
            return -1;
        }
        now_ns = tac_clock_now_ns();
        tac_measure_operation(&run->measure, due_ns, now_ns);
    }
    tac_measure_end(&run->measure);
    run->operations_done = operations;
    return 0;
}

static int settle(struct tac_run *run)
{
    uint64_t idle_ns;

    syncer_stop(); /* Its syncs would look like work that is still to be done. */
    if (run->ops->settle(run->engine, &idle_ns) != 0) {
        return -1;
    }
    tac_measure_settled(&run->measure, idle_ns);
    return 0;
}

/* Twice everything, since a cache may only keep what comes again; then as many operations. Nothing
 * is kept of it but what it has left in caches. */
static int warm_up(struct tac_run *run, operation_fn *operation, uint64_t operations)
{
    struct scan scan;
    int         result = 0;

    for (uint32_t i = 0; i < 2 && result == 0; i++) {
        scan = (struct scan){.limit = UINT64_MAX};
        result = run->ops->scan(run->engine, NULL, 0, scan_take, &scan);
    }
    if (result == 0) {
        result = loop(run, operation, operations);
    }
    run->records_done = run->user_bytes = 0;
    return result;
}

static int read_loop(struct tac_run *run, operation_fn *operation, uint64_t operations)
{
    if (warm_up(run, operation, operations) != 0 || loop(run, operation, operations) != 0) {
        return -1;
    }
    tac_measure_settled(&run->measure, 0);
    return 0;
}

/* ---- operations ----------------------------------------------------------------------------- */

static int put_next(struct tac_run *run, uint64_t i)
{
    int result = record_put(run, i, 0);

    run->records_done++;
    run->user_bytes += record_bytes(run);
    return result;
}

static int get_random(struct tac_run *run, uint64_t i)
{
    (void)i;
    run->records_done++;
    return record_get(run, random_below(run, run->records), 0, true);
}

static int get_absent(struct tac_run *run, uint64_t i)
{
    (void)i;
    run->records_done++;
    return record_get(run, run->records + random_below(run, UINT64_MAX - run->records), 0, false);
}

static int scan_random(struct tac_run *run, uint64_t i)
{
    struct scan scan = {.limit = SCAN_RECORDS};

    (void)i;
    key_make(run, random_below(run, run->records));
    if (run->ops->scan(run->engine, run->record.key, run->record.key_size, scan_take, &scan) != 0) {
        return -1;
    }
    if (scan.records == 0 || scan.key_first != run->record.key_prefix) {
        return wrong(run, "a scan does not begin at its key");
    }
    run->records_done += scan.records;
    return 0;
}

/* The sum over all keys is compared after the loop. */
static int scan_whole(struct tac_run *run, uint64_t i)
{
    struct scan scan = {.limit = UINT64_MAX};

    (void)i;
    if (run->ops->scan(run->engine, NULL, 0, scan_take, &scan) != 0) {
        return -1;
    }
    if (scan.records != run->records) {
        return wrong(run, "a scan does not give as many records as were put");
    }
    run->records_done += scan.records;
    return 0;
}

static int overwrite(struct tac_run *run, uint64_t number)
{
    int result = record_put(run, number, ++run->versions[number]);

    run->records_done++;
    run->user_bytes += record_bytes(run);
    return result;
}

static int overwrite_random(struct tac_run *run, uint64_t i)
{
    (void)i;
    return overwrite(run, random_below(run, run->records));
}

static int remove_odd(struct tac_run *run, uint64_t i)
{
    key_make(run, 2 * i + 1);
    run->records_done++;
    run->user_bytes += run->record.key_size;
    return run->ops->remove(run->engine, run->record.key, run->record.key_size);
}

/* ---- zipfian numbers ------------------------------------------------------------------------ */

/* Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994; as YCSB has
 * it, ranks scattered over all records. */
static struct {
    double zeta_n, eta, alpha;
} zipf;

static void zipf_prepare(uint64_t records)
{
    double zeta_2 = 1 + pow(0.5, ZIPF_THETA);

    zipf.zeta_n = 0;
    for (uint64_t i = 1; i <= records; i++) {
        zipf.zeta_n += pow(1 / (double)i, ZIPF_THETA);
    }
    zipf.alpha = 1 / (1 - ZIPF_THETA);
    zipf.eta = (1 - pow(2 / (double)records, 1 - ZIPF_THETA)) / (1 - zeta_2 / zipf.zeta_n);
}

static uint64_t zipf_draw(struct tac_run *run)
{
    double   u = (double)random_below(run, (uint64_t)1 << 53) / (double)((uint64_t)1 << 53);
    double   uz = u * zipf.zeta_n;
    uint64_t rank;

    if (uz < 1) {
        rank = 0;
    } else if (uz < 1 + pow(0.5, ZIPF_THETA)) {
        rank = 1;
    } else {
        rank = (uint64_t)((double)run->records * pow(zipf.eta * u - zipf.eta + 1, zipf.alpha));
    }
    return tac_mix_u64(rank + 1) % run->records;
}

static int mixed(struct tac_run *run, uint64_t i)
{
    uint64_t number = zipf_draw(run);

    if (i % 2 == 0) {
        return overwrite(run, number);
    }
    run->records_done++;
    return record_get(run, number, run->versions[number], true);
}

/* ---- workloads ------------------------------------------------------------------------------ */

static int versions_make(struct tac_run *run)
{
    run->versions = calloc(run->records, 1);
    return run->versions != NULL ? 0 : wrong(run, "out of memory");
}

static int ingest_go(struct tac_run *run)
{
    if (loop(run, put_next, run->records) != 0 || settle(run) != 0) {
        return -1;
    }
    run->live_bytes = run->user_bytes;
    return 0;
}

static int paced_go(struct tac_run *run)
{
    if (run->rate == 0 || run->seconds == 0) {
        return wrong(run, "needs --rate and --seconds");
    }
    if (loop_paced(run, put_next) != 0) {
        return -1;
    }
    tac_measure_settled(&run->measure, 0);
    run->live_bytes = run->user_bytes;
    return 0;
}

static int compact_go(struct tac_run *run)
{
    uint64_t begin_ns;

    if (loop(run, put_next, run->records) != 0 || run->ops->release(run->engine) != 0) {
        return -1;
    }
    tac_measure_begin(&run->measure);
    begin_ns = run->measure.begin_ns;
    if (run->ops->compact(run->engine) != 0) {
        return -1;
    }
    tac_measure_operation(&run->measure, begin_ns, tac_clock_now_ns());
    tac_measure_end(&run->measure);
    tac_measure_settled(&run->measure, 0);
    run->operations_done = 1;
    run->live_bytes = run->user_bytes;
    return 0;
}

struct sorted {
    uint64_t key; /* The first eight bytes, as they compare */
    uint64_t number;
};

static int sorted_compare(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

/* For an engine that is only read: in order of keys. */
static int load_sorted(struct tac_run *run)
{
    struct sorted *sorted = malloc(run->records * sizeof *sorted);
    int            result = 0;

    if (sorted == NULL) {
        return wrong(run, "out of memory for sorting");
    }
    for (uint64_t i = 0; i < run->records; i++) {
        key_make(run, i);
        sorted[i] = (struct sorted){__builtin_bswap64(run->record.key_prefix), i};
    }
    qsort(sorted, run->records, sizeof *sorted, sorted_compare);
    tac_measure_begin(&run->measure);
    for (uint64_t i = 0; i < run->records && result == 0; i++) {
        result = put_next(run, sorted[i].number);
    }
    tac_measure_end(&run->measure);
    free(sorted);
    return result;
}

/* A store to read from; no figure of it is of interest. */
static int load_go(struct tac_run *run)
{
    bool is_sorted = (run->ops->traits & TAC_ENGINE_READS_ONLY) != 0;

    if ((is_sorted ? load_sorted(run) : loop(run, put_next, run->records)) != 0 ||
        settle(run) != 0) {
        return -1;
    }
    run->live_bytes = run->user_bytes;
    return 0;
}

static int get_go(struct tac_run *run) { return read_loop(run, get_random, run->operations); }

static int miss_go(struct tac_run *run) { return read_loop(run, get_absent, run->operations); }

static int scan_go(struct tac_run *run) { return read_loop(run, scan_random, run->operations); }

static int fullscan_go(struct tac_run *run)
{
    struct scan scan;

    if (read_loop(run, scan_whole, run->operations) != 0) {
        return -1;
    }
    return full_scan(run, is_any, &scan);
}

static int mixed_go(struct tac_run *run)
{
    zipf_prepare(run->records);
    if (versions_make(run) != 0 || warm_up(run, get_random, run->operations) != 0 ||
        loop(run, mixed, run->operations) != 0) {
        return -1;
    }
    return settle(run);
}

static int overwrite_go(struct tac_run *run)
{
    uint64_t    updates = run->operations;
    struct scan scan;

    run->records = tac_min_u64(run->records, OVERWRITE_KEYS);
    if (versions_make(run) != 0 || loop(run, put_next, run->records) != 0) {
        return -1;
    }
    run->live_bytes = run->user_bytes;
    run->records_done = run->user_bytes = 0;
    if (loop(run, overwrite_random, updates) != 0 || settle(run) != 0) {
        return -1;
    }
    for (uint64_t i = 0; i < run->records; i += 1000) {
        if (record_get(run, i, run->versions[i], true) != 0) {
            return -1;
        }
    }
    return full_scan(run, is_any, &scan);
}

static int delete_go(struct tac_run *run)
{
    struct scan scan;

    if (loop(run, put_next, run->records) != 0) {
        return -1;
    }
    run->records_done = run->user_bytes = 0;
    if (loop(run, remove_odd, run->records / 2) != 0 || settle(run) != 0) {
        return -1;
    }
    if (full_scan(run, is_even, &scan) != 0) {
        return -1;
    }
    run->live_bytes = scan.bytes;
    return 0;
}

static const struct tac_workload workloads[] = {
    {"load", NEEDS_NOTHING, 0, 0, load_go},
    {"ingest", NEEDS_NOTHING, 0, 0, ingest_go},
    {"paced", NEEDS_NOTHING, 0, 0, paced_go},
    {"compact", NEEDS_NOTHING, TAC_ENGINE_HOLDS, 0, compact_go},
    {"get", ONLY_READS, 0, 2000000, get_go},
    {"miss", ONLY_READS, 0, 2000000, miss_go},
    {"scan", ONLY_READS, 0, 50000, scan_go},
    {"fullscan", ONLY_READS, 0, 1, fullscan_go},
    {"mixed", NEEDS_STORE, 0, 4000000, mixed_go},
    {"overwrite", NEEDS_NOTHING, 0, 0, overwrite_go},
    {"delete", NEEDS_NOTHING, 0, 0, delete_go},
};

const struct tac_workload *tac_workload_find(const char *name)
{
    for (size_t i = 0; i < TAC_ARRAY_COUNT(workloads); i++) {
        if (strcmp(workloads[i].name, name) == 0) {
            return &workloads[i];
        }
    }
    return NULL;
}

const char *tac_workload_name(const struct tac_workload *workload) { return workload->name; }

const char *tac_workload_refusal(const struct tac_workload   *workload,
                                 const struct tac_engine_ops *ops)
{
    bool is_write = workload->need != ONLY_READS;
    bool is_timed_put = workload->go == ingest_go || workload->go == paced_go;

    if ((ops->traits & TAC_ENGINE_KEEPS_NOTHING) != 0 && !is_timed_put) {
        return "keeps nothing to be read";
    }
    if ((ops->traits & TAC_ENGINE_READS_ONLY) != 0 && is_write && workload->go != load_go) {
        return "is here to be read only";
    }
    if ((ops->traits & workload->traits) != workload->traits) {
        return "cannot hold compactions back";
    }
    return NULL;
}

/* ---- runs ----------------------------------------------------------------------------------- */

int tac_run(struct tac_run *run)
{
    const struct tac_workload *workload = run->workload;
    int                        result;

    run->random_state = tac_mix_u64(run->config.seed ^ 0xd1b54a32d192ed03u);
    if (run->operations == 0) {
        run->operations = workload->operations != 0 ? workload->operations : run->records;
    }
    if (workload->go == compact_go) {
        run->config.holds = true;
        run->config.memtable_records = tac_div_ceil(run->records, COMPACT_RUNS);
    }
    run->config.only_reads = workload->need == ONLY_READS;
    if (run->ops->open(&run->config, &run->engine) != 0) {
        return -1;
    }
    result = syncer_start(run);
    if (result == 0) {
        result = workload->go(run);
    }
    syncer_stop();
    run->disk_bytes = run->ops->disk_bytes != NULL ? run->ops->disk_bytes(run->engine)
                                                   : tac_measure_directory_bytes(run->config.path);
    run->memory_budget_bytes =
        run->ops->memory_budget_bytes != NULL ? run->ops->memory_budget_bytes(run->engine) : 0;
    if (run->ops->close(run->engine) != 0) {
        result = -1;
    }
    free(run->versions);
    return result;
}
