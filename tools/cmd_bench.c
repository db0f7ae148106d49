/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_bench -- `tactus bench`: measures the engine on this machine. docs/BENCHMARK.md says how.
 *
 * Every workload goes the same way: a store is made or found, the harness is timed without it, the
 * measured part runs between two readings of all counters, peak memory is read, and only then the
 * mark and the digest, which cost time and memory of their own. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/units.h"
#include "tools/bench_report.h"
#include "tools/bench_store.h"
#include "tools/bench_workload.h"
#include "tools/command.h"

#define RECORDS_MAX ((uint64_t)1 << 40)
#define HARNESS_OPERATIONS_MAX 50000
#define HARNESS_ROUNDS 5
#define COMPACT_RUNS 8

enum workload_kind {
    WORKLOAD_INGEST,
    WORKLOAD_BULK,
    WORKLOAD_COMPACT,
    WORKLOAD_READ
};

struct workload {
    const char              *name;
    enum workload_kind       kind;
    enum tac_bench_operation operation;  /* Of a reading workload */
    enum tac_bench_operation harness;    /* OPERATIONS_COUNT: not worth telling */
    uint64_t                 operations; /* Unless said otherwise; 0: one for each reader */
};

static const struct workload workloads[] = {
    {"ingest", WORKLOAD_INGEST, TAC_BENCH_PUT, TAC_BENCH_MAKE_PUT, 0},
    {"bulk", WORKLOAD_BULK, TAC_BENCH_PUT, TAC_BENCH_OPERATIONS_COUNT, 0},
    {"get", WORKLOAD_READ, TAC_BENCH_GET, TAC_BENCH_MAKE_GET, 1000000},
    {"getmany", WORKLOAD_READ, TAC_BENCH_GET_MANY, TAC_BENCH_OPERATIONS_COUNT, 20000},
    {"miss", WORKLOAD_READ, TAC_BENCH_MISS, TAC_BENCH_MAKE_MISS, 1000000},
    {"scan", WORKLOAD_READ, TAC_BENCH_SCAN, TAC_BENCH_OPERATIONS_COUNT, 10000},
    {"fullscan", WORKLOAD_READ, TAC_BENCH_FULL_SCAN, TAC_BENCH_OPERATIONS_COUNT, 0},
    {"compact", WORKLOAD_COMPACT, TAC_BENCH_PUT, TAC_BENCH_OPERATIONS_COUNT, 0},
};

struct bench {
    const struct workload    *workload;
    uint64_t                  operations, warmup; /* UINT64_MAX: not given */
    uint64_t                  readers;
    bool                      has_json;
    const char               *timeline_path;      /* NULL: none is wanted */
    FILE                     *timeline_out;       /* From its open to its end */
    char                      options_text[2048]; /* As given: "name=value,name=value" */
    struct tac_bench_store    store;
    struct tac_bench_result   result;
    struct tac_bench_report   report;
    struct tac_bench_timeline timeline;
};

/* ---- arguments ------------------------------------------------------------------------------ */

static void usage_print(FILE *out)
{
    fputs("usage: tactus bench WORKLOAD [OPTION…]\n\n"
          "Measures the engine on this machine; docs/BENCHMARK.md explains every figure.\n\n"
          "workloads:\n"
          "  ingest    puts records in random order of keys, then waits until all is settled\n"
          "  bulk      hands all records over as one sorted run\n"
          "  get       reads random records\n"
          "  getmany   reads 64 random records at once\n"
          "  miss      asks for random keys that are not there\n"
          "  scan      reads 100 records from a random key on\n"
          "  fullscan  reads all records in order\n"
          "  compact   merges eight overlapping runs into one\n"
          "The reading ones use the store that one of the others left at --store, or build it.\n\n"
          "options:\n"
          "  --shape A|B|C        A: key 16 B, value 112 B; B: 8 B and 8 B;\n"
          "                       C: 16 to 40 B and 0 to 400 B, variable (A)\n"
          "  --records N          records of the store (1000000)\n"
          "  --seed S             all keys and values follow from it (1)\n"
          "  --store PATH         where the store is and stays; without it a temporary file in\n"
          "                       $TMPDIR, or in the current directory\n"
          "  --force              ingest, bulk, compact: overwrite the store at --store\n"
          "  --operations M       reading: operations of all readers together (get and miss\n"
          "                       1000000, getmany 20000, scan 10000, fullscan one for each\n"
          "                       reader)\n"
          "  --warmup M           reading: operations before the measured ones (as many)\n"
          "  --readers T          reading: threads (1)\n"
          "  --threads R,M,W      threads that read, merge and write; or 0 for none; or auto\n"
          "  --backend NAME       auto, io_uring, posix or memory\n"
          "  --option NAME=VALUE  set an option of the store; may be repeated\n"
          "  --timeline FILE      ingest: write there how long the puts of each beat took\n"
          "  --json               print one flat JSON object\n"
          "  --help               print this text\n\n",
          out);
    tac_exit_statuses_print(out);
}

/* Sets the option, and keeps it for the report. */
static int option_set(void *context, const char *name, const char *value)
{
    struct bench *bench = context;
    size_t        used = strlen(bench->options_text);
    size_t        room = sizeof bench->options_text - used;
    int           status = tac_option_set(&bench->store.options, name, value);

    if (status != TAC_EXIT_OK) {
        return status;
    }
    if ((size_t)snprintf(bench->options_text + used, room, "%s%s=%s", used > 0 ? "," : "", name,
                         value) >= room) {
        return tac_fail(TAC_EXIT_USAGE, "too many --option");
    }
    return TAC_EXIT_OK;
}

static int shape_set(struct bench *bench, const char *text)
{
    bench->store.shape = tac_bench_shape_find(text);
    return bench->store.shape != NULL ? TAC_EXIT_OK
                                      : tac_fail(TAC_EXIT_USAGE, "--shape %s: not A, B or C", text);
}

enum argument {
    ARGUMENT_SHAPE,
    ARGUMENT_RECORDS,
    ARGUMENT_SEED,
    ARGUMENT_STORE,
    ARGUMENT_FORCE,
    ARGUMENT_OPERATIONS,
    ARGUMENT_WARMUP,
    ARGUMENT_READERS,
    ARGUMENT_THREADS,
    ARGUMENT_BACKEND,
    ARGUMENT_OPTION,
    ARGUMENT_TIMELINE,
    ARGUMENT_JSON,
    ARGUMENT_HELP,
};

static const struct option long_options[] = {
    {"shape", required_argument, NULL, ARGUMENT_SHAPE},
    {"records", required_argument, NULL, ARGUMENT_RECORDS},
    {"seed", required_argument, NULL, ARGUMENT_SEED},
    {"store", required_argument, NULL, ARGUMENT_STORE},
    {"force", no_argument, NULL, ARGUMENT_FORCE},
    {"operations", required_argument, NULL, ARGUMENT_OPERATIONS},
    {"warmup", required_argument, NULL, ARGUMENT_WARMUP},
    {"readers", required_argument, NULL, ARGUMENT_READERS},
    {"threads", required_argument, NULL, ARGUMENT_THREADS},
    {"backend", required_argument, NULL, ARGUMENT_BACKEND},
    {"option", required_argument, NULL, ARGUMENT_OPTION},
    {"timeline", required_argument, NULL, ARGUMENT_TIMELINE},
    {"json", no_argument, NULL, ARGUMENT_JSON},
    {"help", no_argument, NULL, ARGUMENT_HELP},
    {NULL, 0, NULL, 0},
};

static int argument_set(struct bench *bench, enum argument argument, char *value)
{
    switch (argument) {
    case ARGUMENT_SHAPE:
        return shape_set(bench, value);
    case ARGUMENT_RECORDS:
        return tac_number_parse("records", value, 1, RECORDS_MAX, &bench->store.records);
    case ARGUMENT_SEED:
        return tac_number_parse("seed", value, 0, UINT64_MAX, &bench->store.seed);
    case ARGUMENT_STORE:
        bench->store.path = value;
        return TAC_EXIT_OK;
    case ARGUMENT_FORCE:
        bench->store.may_overwrite = true;
        return TAC_EXIT_OK;
    case ARGUMENT_OPERATIONS:
        return tac_number_parse("operations", value, 1, RECORDS_MAX, &bench->operations);
    case ARGUMENT_WARMUP:
        return tac_number_parse("warmup", value, 0, RECORDS_MAX, &bench->warmup);
    case ARGUMENT_READERS:
        return tac_number_parse("readers", value, 1, TAC_BENCH_READERS_MAX, &bench->readers);
    case ARGUMENT_THREADS:
        return tac_threads_take(value, option_set, bench);
    case ARGUMENT_BACKEND:
        return option_set(bench, "backend", value);
    case ARGUMENT_OPTION:
        return tac_name_value_take(value, option_set, bench);
    case ARGUMENT_TIMELINE:
        bench->timeline_path = value;
        return TAC_EXIT_OK;
    case ARGUMENT_JSON:
        bench->has_json = true;
        return TAC_EXIT_OK;
    case ARGUMENT_HELP: /* Answered by the caller */
        break;
    }
    tac_unreachable();
}

static int operand_take(struct bench *bench, int argc, char **argv)
{
    if (argc - optind != 1) {
        return tac_fail(TAC_EXIT_USAGE, "expected one workload");
    }
    for (size_t i = 0; i < TAC_ARRAY_COUNT(workloads); i++) {
        if (strcmp(argv[optind], workloads[i].name) == 0) {
            bench->workload = &workloads[i];
            return TAC_EXIT_OK;
        }
    }
    return tac_fail(TAC_EXIT_USAGE, "there is no workload \"%s\"", argv[optind]);
}

/* What cannot be meant together. */
static int arguments_check(const struct bench *bench)
{
    bool is_reading = bench->workload->kind == WORKLOAD_READ;

    if (!is_reading &&
        (bench->operations != UINT64_MAX || bench->warmup != UINT64_MAX || bench->readers != 0)) {
        return tac_fail(TAC_EXIT_USAGE,
                        "--operations, --warmup and --readers are for what only reads");
    }
    if (bench->timeline_path != NULL && bench->workload->kind != WORKLOAD_INGEST) {
        return tac_fail(TAC_EXIT_USAGE, "--timeline is for ingest");
    }
    if (is_reading && bench->store.may_overwrite) {
        return tac_fail(TAC_EXIT_USAGE, "--force is for ingest, bulk and compact");
    }
    if (bench->store.path != NULL && bench->store.options.backend == TACTUS_BACKEND_MEMORY) {
        return tac_fail(TAC_EXIT_USAGE, "a store in memory has no path: leave out --store");
    }
    return TAC_EXIT_OK;
}

static bool usage_fail(int *ret_status)
{
    fputs("  `tactus bench --help` explains.\n", stderr);
    *ret_status = TAC_EXIT_USAGE;
    return false;
}

/* False: *ret_status is the exit status, and everything has been said. */
static bool arguments_parse(struct bench *bench, int argc, char **argv, int *ret_status)
{
    int argument;

    *ret_status = TAC_EXIT_OK;
    while ((argument = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (argument == ARGUMENT_HELP || argument == 'h') {
            usage_print(stdout);
            return false;
        }
        if (argument == '?' || /* getopt has said what */
            argument_set(bench, (enum argument)argument, optarg) != TAC_EXIT_OK) {
            return usage_fail(ret_status);
        }
    }
    if (operand_take(bench, argc, argv) != TAC_EXIT_OK || arguments_check(bench) != TAC_EXIT_OK) {
        return usage_fail(ret_status);
    }
    return true;
}

static void defaults_set(struct bench *bench)
{
    memset(bench, 0, sizeof *bench);
    tactus_options_init(&bench->store.options);
    bench->store.shape = tac_bench_shape_find("A");
    bench->store.records = 1000000;
    bench->store.seed = 1;
    bench->operations = bench->warmup = UINT64_MAX;
}

/* After the arguments: what some of them leave open. */
static void defaults_derive(struct bench *bench)
{
    static const uint8_t none[TACTUS_UUID_BYTES];

    if (bench->readers == 0) {
        bench->readers = 1;
    }
    if (bench->operations == UINT64_MAX) {
        bench->operations = bench->workload->operations;
    }
    if (bench->operations == 0) {
        bench->operations = bench->readers;
    }
    if (bench->warmup == UINT64_MAX) {
        bench->warmup = bench->operations;
    }
    if (memcmp(bench->store.options.uuid, none, sizeof none) == 0) {
        tac_bench_uuid_make(bench->store.seed, bench->store.options.uuid);
    }
}

/* ---- steps of every workload ---------------------------------------------------------------- */

/* One run over the store; the sequence makes the random keys of each run its own. */
static int operations_run(struct bench *bench, enum tac_bench_operation operation,
                          uint64_t operations, uint64_t readers, uint64_t sequence)
{
    struct tac_bench_run run = {
        .store = bench->store.store,
        .tree = bench->store.tree,
        .shape = bench->store.shape,
        .seed = bench->store.seed,
        .sums = bench->store.sums,
        .operation = operation,
        .operations = operations,
        .threads = (uint32_t)readers,
        .sequence = sequence,
        .timeline =
            operation == TAC_BENCH_PUT && bench->timeline.slices != NULL ? &bench->timeline : NULL,
    };
    int code = tac_bench_run(&run, &bench->result);

    if (code != TACTUS_OK) {
        const char *advice = tac_code_advice(code);

        tac_fail(TAC_EXIT_FAILED, "%s", bench->result.message);
        if (advice != NULL) {
            fprintf(stderr, "  %s\n", advice);
        }
        return tac_code_status(code);
    }
    return TAC_EXIT_OK;
}

/* Everything but the engine, in the same loop. The best round: what others took is not its cost. */
static int harness_time(struct bench *bench)
{
    enum tac_bench_operation operation = bench->workload->harness;
    uint64_t                 operations = tac_min_u64(bench->store.records, HARNESS_OPERATIONS_MAX);
    uint64_t                 best_ns = UINT64_MAX;

    if (operation == TAC_BENCH_OPERATIONS_COUNT) {
        return TAC_EXIT_OK;
    }
    for (int round = 0; round < HARNESS_ROUNDS; round++) {
        int status = operations_run(bench, operation, operations, 1, 0);

        if (status != TAC_EXIT_OK) {
            return status;
        }
        best_ns = tac_min_u64(best_ns, bench->result.end_ns - bench->result.begin_ns);
    }
    bench->report.harness_ns_per_operation = (double)best_ns / (double)operations;
    return TAC_EXIT_OK;
}

static int records_put(struct bench *bench)
{
    int status = operations_run(bench, TAC_BENCH_PUT, bench->store.records, 1, 0);

    bench->store.sums = bench->result.sums;
    return status;
}

static void report_describe(struct bench *bench)
{
    struct tac_bench_report *report = &bench->report;

    report->workload = bench->workload->name;
    report->shape = bench->store.shape->name;
    report->options = bench->options_text;
    report->records = bench->store.records;
    report->seed = bench->store.seed;
}

/* Reads the whole store: last of all. */
static int digest_take(struct bench *bench)
{
    uint8_t digest[16];
    int     code = tactus_digest(bench->store.store, digest);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(bench->report.digest + 2 * i, 3, "%02x", digest[i]);
    }
    return TAC_EXIT_OK;
}

/* ---- ingest --------------------------------------------------------------------------------- */

static int timeline_fail(const struct bench *bench, const char *reason)
{
    return tac_fail(TAC_EXIT_FAILED, "%s: %s\n  Choose another file for --timeline.",
                    bench->timeline_path, reason);
}

/* A slice for each beat, if records are of one size; else for what a beat has in the mean. Before
 * the run, so that it is not in vain. */
static int timeline_open(struct bench *bench)
{
    const struct tac_bench_store *store = &bench->store;
    uint64_t                      beat_bytes, accounted, puts;

    if (bench->timeline_path == NULL) {
        return TAC_EXIT_OK;
    }
    bench->timeline_out = fopen(bench->timeline_path, "w");
    if (bench->timeline_out == NULL) {
        return timeline_fail(bench, strerror(errno));
    }
    beat_bytes = store->options.memtable_size / store->options.beats_per_bar;
    accounted = tac_bench_accounted_bytes(store->shape, store->seed, store->records);
    puts = (uint64_t)((unsigned __int128)beat_bytes * store->records / accounted);
    return tac_bench_timeline_open(&bench->timeline, store->records, tac_max_u64(puts, 1))
               ? TAC_EXIT_OK
               : timeline_fail(bench, "out of memory for so many records");
}

static int timeline_write(struct bench *bench)
{
    FILE *out = bench->timeline_out;
    bool  is_written;

    if (bench->timeline_path == NULL) {
        return TAC_EXIT_OK;
    }
    bench->timeline_out = NULL;
    tac_bench_timeline_write(&bench->timeline, bench->result.begin_ns, out);
    is_written = ferror(out) == 0;
    return fclose(out) == 0 && is_written ? TAC_EXIT_OK : timeline_fail(bench, strerror(errno));
}

static void timeline_close(struct bench *bench)
{
    if (bench->timeline_out != NULL) {
        fclose(bench->timeline_out); /* Of a run that failed */
    }
    tac_bench_timeline_close(&bench->timeline);
}

static int ingest_measure(struct bench *bench)
{
    struct tac_bench_report *report = &bench->report;
    struct tac_bench_usage   begin, end;
    uint64_t                 settled_ns;
    int                      status, code;

    tac_bench_usage_take(bench->store.store, &begin);
    status = records_put(bench);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_drain(bench->store.store);
    settled_ns = tac_now_ns();
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_bench_usage_take(bench->store.store, &end);
    report->operations = report->records_done = bench->store.records;
    report->user_bytes = report->live_bytes = bench->store.sums.bytes;
    tac_bench_report_times(report, bench->result.begin_ns, bench->result.end_ns, settled_ns);
    tac_bench_report_costs(report, &begin, &end);
    tac_bench_report_stages(report, &begin, &end);
    tac_bench_report_latency(report, &bench->result.latency);
    tac_bench_report_waits(report, bench->store.store);
    tac_bench_report_store(report, bench->store.store);
    return TAC_EXIT_OK;
}

static int ingest_run(struct bench *bench)
{
    int status = harness_time(bench);

    if (status == TAC_EXIT_OK) {
        status = timeline_open(bench);
    }
    if (status == TAC_EXIT_OK) {
        status = tac_bench_store_make(&bench->store);
    }
    if (status == TAC_EXIT_OK) {
        status = ingest_measure(bench);
    }
    if (status == TAC_EXIT_OK) {
        status = timeline_write(bench);
    }
    return status == TAC_EXIT_OK ? tac_bench_store_mark(&bench->store) : status;
}

/* ---- bulk ----------------------------------------------------------------------------------- */

#define BULK_BLOCK_RECORDS 256

/* A record's number by its key, of which the first eight bytes are enough. */
struct bulk_key {
    uint64_t prefix, number;
};

struct bulk {
    const struct bench      *bench;
    struct bulk_key         *keys;
    uint64_t                 next;
    struct tac_bench_sums    sums;
    struct tac_bench_record  block[BULK_BLOCK_RECORDS];
    struct tactus_run_record records[BULK_BLOCK_RECORDS];
};

static int bulk_compare(const void *a, const void *b)
{
    const struct bulk_key *x = a, *y = b;

    return (x->prefix > y->prefix) - (x->prefix < y->prefix);
}

static struct bulk *bulk_new(const struct bench *bench)
{
    const struct tac_bench_store *store = &bench->store;
    struct bulk                  *bulk = calloc(1, sizeof *bulk);

    if (bulk == NULL) {
        return NULL;
    }
    bulk->bench = bench;
    bulk->keys = malloc(store->records * sizeof *bulk->keys);
    if (bulk->keys == NULL) {
        free(bulk);
        return NULL;
    }
    for (uint64_t i = 0; i < store->records; i++) {
        struct tac_bench_record record;

        tac_bench_key_make(store->shape, store->seed, i, &record);
        bulk->keys[i] = (struct bulk_key){tac_key_prefix(record.key, 8), i};
    }
    qsort(bulk->keys, store->records, sizeof *bulk->keys, bulk_compare);
    return bulk;
}

static int bulk_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct bulk                  *bulk = context;
    const struct tac_bench_store *store = &bulk->bench->store;
    size_t                        count = 0;

    for (; count < BULK_BLOCK_RECORDS && bulk->next < store->records; count++, bulk->next++) {
        struct tac_bench_record *record = &bulk->block[count];

        tac_bench_key_make(store->shape, store->seed, bulk->keys[bulk->next].number, record);
        tac_bench_value_make(record);
        bulk->records[count] = (struct tactus_run_record){record->key, record->key_size,
                                                          record->value, record->value_size, false};
        bulk->sums.records++;
        bulk->sums.bytes += record->key_size + record->value_size;
        bulk->sums.key_prefix += record->key_prefix;
    }
    *ret_records = bulk->records;
    *ret_count = count;
    return TACTUS_OK;
}

static int bulk_measure(struct bench *bench, struct bulk *bulk)
{
    struct tac_bench_report *report = &bench->report;
    struct tactus           *store = bench->store.store;
    struct tac_bench_usage   begin, end;
    struct tac_histogram     latency;
    uint64_t                 begin_ns, end_ns, settled_ns;
    int                      code;

    tac_bench_usage_take(store, &begin);
    begin_ns = tac_now_ns();
    code = tactus_ingest(store, bench->store.tree, bulk_read, bulk, NULL);
    end_ns = tac_now_ns();
    if (code == TACTUS_OK) {
        code = tactus_drain(store);
    }
    settled_ns = tac_now_ns();
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_bench_usage_take(store, &end);
    tac_histogram_init(&latency);
    tac_histogram_record(&latency, end_ns - begin_ns);
    bench->store.sums = bulk->sums;
    report->operations = 1;
    report->records_done = bench->store.records;
    report->user_bytes = report->live_bytes = bulk->sums.bytes;
    tac_bench_report_times(report, begin_ns, end_ns, settled_ns);
    tac_bench_report_costs(report, &begin, &end);
    tac_bench_report_stages(report, &begin, &end);
    tac_bench_report_latency(report, &latency);
    tac_bench_report_store(report, store);
    return TAC_EXIT_OK;
}

/* The records are sorted before it begins. */
static int bulk_run(struct bench *bench)
{
    struct bulk *bulk = bulk_new(bench);
    int          status;

    if (bulk == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory to sort %" PRIu64 " records",
                        bench->store.records);
    }
    status = tac_bench_store_make(&bench->store);
    if (status == TAC_EXIT_OK) {
        status = bulk_measure(bench, bulk);
    }
    free(bulk->keys);
    free(bulk);
    return status == TAC_EXIT_OK ? tac_bench_store_mark(&bench->store) : status;
}

/* ---- compact -------------------------------------------------------------------------------- */

/* With an eighth of all accounted bytes and one largest record more, every bar but the last takes
 * at least an eighth: there are at most eight, and eight once a run has eight largest records. */
static int runs_prepare(struct bench *bench)
{
    struct tactus_options *options = &bench->store.options;
    struct tactus_options  defaults;
    char                   size[24];
    uint64_t               accounted;
    int                    status;

    tactus_options_init(&defaults);
    if (options->memtable_size != defaults.memtable_size) {
        return tac_fail(TAC_EXIT_USAGE,
                        "compact chooses memtable_size itself: %d runs from all records\n"
                        "  Leave the option out.",
                        COMPACT_RUNS);
    }
    if (options->runs_per_level < COMPACT_RUNS) {
        return tac_fail(TAC_EXIT_USAGE,
                        "compact needs runs_per_level of at least %d\n"
                        "  Leave the option out.",
                        COMPACT_RUNS);
    }
    accounted =
        tac_bench_accounted_bytes(bench->store.shape, bench->store.seed, bench->store.records);
    accounted =
        tac_div_ceil(accounted, COMPACT_RUNS) + tac_bench_accounted_bytes_max(bench->store.shape);
    snprintf(size, sizeof size, "%" PRIu64, accounted);
    status = option_set(bench, "memtable_size", size);
    if (status != TAC_EXIT_OK) {
        fprintf(stderr, "  An eighth of the records has to fit a memtable: change --records.\n");
    }
    return status;
}

/* Eight runs over all keys in level 0, on the disk, and nothing else. */
static int runs_load(struct bench *bench)
{
    struct tactus      *store = bench->store.store;
    struct tactus_stats stats;
    int                 code = tactus_compaction_hold(store, true);
    int                 status;

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    status = records_put(bench);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_checkpoint(store);
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tactus_stat(store, &stats);
    if (stats.level[0].depth != COMPACT_RUNS || stats.level[0].records != bench->store.records) {
        return tac_fail(TAC_EXIT_FAILED,
                        "%" PRIu64 " records gave %u runs, not %d\n  Use more records.",
                        stats.level[0].records, stats.level[0].depth, COMPACT_RUNS);
    }
    return TAC_EXIT_OK;
}

static int one_run_check(const struct bench *bench)
{
    struct tactus_stats stats;
    uint32_t            last;

    tactus_stat(bench->store.store, &stats);
    tac_assert(stats.levels >= 1 && stats.levels <= TACTUS_LEVELS_MAX);
    last = stats.levels - 1;
    if (stats.level[last].records != bench->store.records || stats.level[last].depth != 1) {
        return tac_fail(TAC_EXIT_FAILED, "the compaction left no single run of all records\n"
                                         "  This is an error of Tactus: please report it.");
    }
    return TAC_EXIT_OK;
}

static int compact_measure(struct bench *bench)
{
    struct tac_bench_report *report = &bench->report;
    struct tac_bench_usage   begin, end;
    struct tac_histogram     latency;
    uint64_t                 begin_ns, end_ns;
    int                      code;

    tac_bench_usage_take(bench->store.store, &begin);
    begin_ns = tac_now_ns();
    code = tactus_compact(bench->store.store, bench->store.tree);
    end_ns = tac_now_ns();
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_bench_usage_take(bench->store.store, &end);
    tac_histogram_init(&latency);
    tac_histogram_record(&latency, end_ns - begin_ns);
    report->operations = 1;
    report->records_done = bench->store.records;
    report->user_bytes = report->live_bytes = bench->store.sums.bytes;
    tac_bench_report_times(report, begin_ns, end_ns, end_ns);
    tac_bench_report_costs(report, &begin, &end);
    tac_bench_report_stages(report, &begin, &end);
    tac_bench_report_latency(report, &latency);
    tac_bench_report_store(report, bench->store.store);
    return one_run_check(bench);
}

static int compact_run(struct bench *bench)
{
    int status = runs_prepare(bench);

    if (status == TAC_EXIT_OK) {
        status = tac_bench_store_make(&bench->store);
    }
    if (status == TAC_EXIT_OK) {
        status = runs_load(bench);
    }
    if (status == TAC_EXIT_OK) {
        status = compact_measure(bench);
    }
    return status == TAC_EXIT_OK ? tac_bench_store_mark(&bench->store) : status;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int store_obtain(struct bench *bench)
{
    int status;
    int code;

    if (tac_bench_store_exists(&bench->store)) {
        return tac_bench_store_open(&bench->store);
    }
    status = tac_bench_store_make(&bench->store);
    if (status == TAC_EXIT_OK) {
        status = records_put(bench);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_drain(bench->store.store);
    return code == TACTUS_OK ? tac_bench_store_mark(&bench->store) : tac_fail_code(code);
}

static int warmup_run(struct bench *bench)
{
    int status;

    if (bench->warmup == 0) {
        return TAC_EXIT_OK;
    }
    status = operations_run(bench, bench->workload->operation, bench->warmup, bench->readers, 1);
    bench->report.warmup_operations = bench->warmup;
    bench->report.warmup_seconds = (double)(bench->result.end_ns - bench->result.begin_ns) / 1e9;
    return status;
}

static int read_measure(struct bench *bench)
{
    struct tac_bench_report *report = &bench->report;
    struct tac_bench_usage   begin, end;
    int                      status;

    tac_bench_usage_take(bench->store.store, &begin);
    status =
        operations_run(bench, bench->workload->operation, bench->operations, bench->readers, 2);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    tac_bench_usage_take(bench->store.store, &end);
    report->operations = bench->operations;
    report->readers = bench->readers;
    report->records_done = bench->result.sums.records;
    report->live_bytes = bench->store.sums.bytes;
    tac_bench_report_times(report, bench->result.begin_ns, bench->result.end_ns,
                           bench->result.end_ns);
    tac_bench_report_costs(report, &begin, &end);
    tac_bench_report_latency(report, &bench->result.latency);
    tac_bench_report_store(report, bench->store.store);
    return TAC_EXIT_OK;
}

static int read_run(struct bench *bench)
{
    int status = store_obtain(bench);

    if (status == TAC_EXIT_OK) {
        status = harness_time(bench);
    }
    if (status == TAC_EXIT_OK) {
        status = warmup_run(bench);
    }
    return status == TAC_EXIT_OK ? read_measure(bench) : status;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int workload_run(struct bench *bench)
{
    switch (bench->workload->kind) {
    case WORKLOAD_INGEST:
        return ingest_run(bench);
    case WORKLOAD_BULK:
        return bulk_run(bench);
    case WORKLOAD_COMPACT:
        return compact_run(bench);
    case WORKLOAD_READ:
        return read_run(bench);
    }
    tac_unreachable();
}

static int bench_run(struct bench *bench)
{
    int status;

    defaults_derive(bench);
    report_describe(bench);
    status = workload_run(bench);
    if (status == TAC_EXIT_OK) {
        status = digest_take(bench);
    }
    tac_bench_store_close(&bench->store);
    timeline_close(bench);
    if (status == TAC_EXIT_OK && bench->has_json) {
        tac_bench_report_json(stdout, &bench->report);
    } else if (status == TAC_EXIT_OK) {
        tac_bench_report_table(stdout, &bench->report);
    }
    return status;
}

int tac_cmd_bench(int argc, char **argv)
{
    static char  name[] = "tactus bench"; /* For getopt's own messages */
    struct bench bench;
    int          status;

    tac_assert(argc >= 1);
    argv[0] = name;
    tac_command_name_set("bench");
    defaults_set(&bench);
    if (arguments_parse(&bench, argc, argv, &status)) {
        status = bench_run(&bench);
    }
    return tac_output_finish(status);
}
