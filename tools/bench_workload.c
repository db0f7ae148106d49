/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_workload.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/units.h"
#include "tools/command.h"

#define DRAW_SALT 0xa0761d6478bd642fu /* Random keys are not those of the records */

/* ---- operations ----------------------------------------------------------------------------- */

struct bench_thread {
    const struct tac_bench_run *run;
    pthread_t                   id;
    uint64_t                    operations; /* This thread's share */
    uint64_t                    done;
    struct tac_prng             prng;
    struct tac_bench_record     record;
    struct tac_bench_record     records[TAC_BENCH_LOOKUPS]; /* Of GET_MANY */
    uint8_t                     buffer[TAC_BENCH_VALUE_SIZE_MAX];
    struct tac_bench_result     result;
};

typedef int operation_fn(struct bench_thread *thread);

static int wrong(struct bench_thread *thread, const char *what)
{
    snprintf(thread->result.message, sizeof thread->result.message,
             "wrong answer at operation %" PRIu64 ": %s", thread->done, what);
    return TACTUS_ECORRUPT;
}

static int failed(struct bench_thread *thread, int code)
{
    tac_assert(code != TACTUS_OK);
    snprintf(thread->result.message, sizeof thread->result.message, "%s", tactus_message());
    return code;
}

static void sums_add(struct tac_bench_sums *sums, uint64_t key_prefix, size_t key_size,
                     size_t value_size)
{
    sums->records++;
    sums->bytes += key_size + value_size;
    sums->key_prefix += key_prefix;
}

static void record_add(struct bench_thread *thread)
{
    sums_add(&thread->result.sums, thread->record.key_prefix, thread->record.key_size,
             thread->record.value_size);
}

static void key_make(struct bench_thread *thread, uint64_t number)
{
    tac_bench_key_make(thread->run->shape, thread->run->seed, number, &thread->record);
}

static uint64_t number_present(struct bench_thread *thread)
{
    return tac_prng_below(&thread->prng, thread->run->sums.records);
}

static uint64_t number_absent(struct bench_thread *thread)
{
    uint64_t records = thread->run->sums.records;

    return records + tac_prng_below(&thread->prng, UINT64_MAX - records);
}

static int make_put(struct bench_thread *thread)
{
    key_make(thread, thread->done);
    tac_bench_value_make(&thread->record);
    record_add(thread);
    return TACTUS_OK;
}

static int make_get(struct bench_thread *thread)
{
    key_make(thread, number_present(thread));
    tac_bench_value_make(&thread->record);
    record_add(thread);
    return TACTUS_OK;
}

static int make_miss(struct bench_thread *thread)
{
    key_make(thread, number_absent(thread));
    return TACTUS_OK;
}

static int put(struct bench_thread *thread)
{
    struct tac_bench_record *record = &thread->record;
    int                      code;

    make_put(thread);
    code = tactus_put(thread->run->store, thread->run->tree, record->key, record->key_size,
                      record->value, record->value_size);
    return code == TACTUS_OK ? TACTUS_OK : failed(thread, code);
}

static int get(struct bench_thread *thread)
{
    struct tac_bench_record *record = &thread->record;
    size_t                   value_size = 0;
    int                      code;

    make_get(thread);
    code = tactus_get(thread->run->store, thread->run->tree, record->key, record->key_size,
                      thread->buffer, sizeof thread->buffer, &value_size);
    if (code == TACTUS_ENOTFOUND) {
        return wrong(thread, "a record is missing");
    }
    if (code != TACTUS_OK) {
        return failed(thread, code);
    }
    if (value_size != record->value_size ||
        memcmp(thread->buffer, record->value, value_size) != 0) {
        return wrong(thread, "the value is another one");
    }
    return TACTUS_OK;
}

static int lookup_check(struct bench_thread *thread, const struct tactus_lookup *lookup,
                        const struct tac_bench_record *record)
{
    if (lookup->code == TACTUS_ENOTFOUND) {
        return wrong(thread, "a record is missing");
    }
    if (lookup->value.size != record->value_size ||
        memcmp(lookup->value.data, record->value, record->value_size) != 0) {
        return wrong(thread, "the value is another one");
    }
    sums_add(&thread->result.sums, record->key_prefix, record->key_size, record->value_size);
    return TACTUS_OK;
}

static int get_many(struct bench_thread *thread)
{
    struct tactus_lookup lookups[TAC_BENCH_LOOKUPS];
    int                  code;

    for (uint32_t i = 0; i < TAC_BENCH_LOOKUPS; i++) {
        struct tac_bench_record *record = &thread->records[i];

        tac_bench_key_make(thread->run->shape, thread->run->seed, number_present(thread), record);
        tac_bench_value_make(record);
        lookups[i] = (struct tactus_lookup){.key = record->key, .key_size = record->key_size};
    }
    code = tactus_get_many(thread->run->store, thread->run->tree, lookups, TAC_BENCH_LOOKUPS);
    if (code != TACTUS_OK) {
        code = failed(thread, code);
    }
    for (uint32_t i = 0; i < TAC_BENCH_LOOKUPS; i++) {
        if (code == TACTUS_OK) {
            code = lookup_check(thread, &lookups[i], &thread->records[i]);
        }
        tactus_value_release(&lookups[i].value);
    }
    return code;
}

static int miss(struct bench_thread *thread)
{
    struct tac_bench_record *record = &thread->record;
    size_t                   value_size;
    int                      code;

    make_miss(thread);
    code = tactus_get(thread->run->store, thread->run->tree, record->key, record->key_size,
                      thread->buffer, sizeof thread->buffer, &value_size);
    if (code == TACTUS_OK) {
        return wrong(thread, "a key was found that was never written");
    }
    thread->result.sums.records++; /* Asked for, not found */
    return code == TACTUS_ENOTFOUND ? TACTUS_OK : failed(thread, code);
}

/* Reads up to `limit` records from where the iterator stands; `code` is what led it there. */
static int records_read(struct bench_thread *thread, struct tactus_iterator *iterator, int code,
                        uint64_t limit)
{
    for (uint64_t i = 0; code == TACTUS_OK; code = tactus_iterator_next(iterator)) {
        const void *key, *value;
        size_t      key_size, value_size;

        tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
        sums_add(&thread->result.sums, tac_load_u64(key), key_size, value_size);
        if (++i == limit) {
            return TACTUS_OK;
        }
    }
    return code == TACTUS_ENOTFOUND ? TACTUS_OK : failed(thread, code);
}

static bool iterator_is_at(const struct tactus_iterator  *iterator,
                           const struct tac_bench_record *record)
{
    const void *key, *value;
    size_t      key_size, value_size;

    tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
    return key_size == record->key_size && memcmp(key, record->key, key_size) == 0;
}

static int scan(struct bench_thread *thread)
{
    struct tac_bench_record *record = &thread->record;
    struct tactus_iterator  *iterator;
    int                      code;

    key_make(thread, number_present(thread));
    code = tactus_iterator_open(thread->run->store, thread->run->tree, &iterator);
    if (code != TACTUS_OK) {
        return failed(thread, code);
    }
    code = tactus_iterator_seek(iterator, record->key, record->key_size);
    if (code == TACTUS_ENOTFOUND || (code == TACTUS_OK && !iterator_is_at(iterator, record))) {
        code = wrong(thread, "a scan does not find its first key");
    } else {
        code = records_read(thread, iterator, code, TAC_BENCH_SCAN_RECORDS);
    }
    tactus_iterator_close(iterator);
    return code;
}

static int full_scan(struct bench_thread *thread)
{
    const struct tac_bench_sums *expected = &thread->run->sums;
    struct tac_bench_sums        before = thread->result.sums;
    struct tac_bench_sums       *after = &thread->result.sums;
    struct tactus_iterator      *iterator;
    int                          code;

    code = tactus_iterator_open(thread->run->store, thread->run->tree, &iterator);
    if (code != TACTUS_OK) {
        return failed(thread, code);
    }
    code = records_read(thread, iterator, tactus_iterator_first(iterator), UINT64_MAX);
    tactus_iterator_close(iterator);
    if (code == TACTUS_OK && (after->records - before.records != expected->records ||
                              after->bytes - before.bytes != expected->bytes ||
                              after->key_prefix - before.key_prefix != expected->key_prefix)) {
        return wrong(thread, "the records are not those that were put");
    }
    return code;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static operation_fn *const operations[TAC_BENCH_OPERATIONS_COUNT] = {
    [TAC_BENCH_PUT] = put,
    [TAC_BENCH_GET] = get,
    [TAC_BENCH_GET_MANY] = get_many,
    [TAC_BENCH_MISS] = miss,
    [TAC_BENCH_SCAN] = scan,
    [TAC_BENCH_FULL_SCAN] = full_scan,
    [TAC_BENCH_MAKE_PUT] = make_put,
    [TAC_BENCH_MAKE_GET] = make_get,
    [TAC_BENCH_MAKE_MISS] = make_miss,
};

static void *thread_main(void *context)
{
    struct bench_thread       *thread = context;
    struct tac_bench_result   *result = &thread->result;
    operation_fn              *operation = operations[thread->run->operation];
    struct tac_bench_timeline *timeline = thread->run->timeline;
    uint64_t                   last_ns;

    result->begin_ns = last_ns = tac_now_ns();
    while (thread->done < thread->operations && result->code == TACTUS_OK) {
        uint64_t now_ns;

        result->code = operation(thread);
        now_ns = tac_now_ns();
        tac_histogram_record(&result->latency, now_ns - last_ns);
        if (timeline != NULL) {
            tac_bench_timeline_add(timeline, thread->done, last_ns, now_ns);
        }
        last_ns = now_ns;
        thread->done++;
    }
    result->end_ns = last_ns;
    return NULL;
}

static void result_merge(struct tac_bench_result *target, const struct tac_bench_result *source)
{
    tac_assert(source->end_ns >= source->begin_ns);
    target->begin_ns = tac_min_u64(target->begin_ns, source->begin_ns);
    target->end_ns = tac_max_u64(target->end_ns, source->end_ns);
    target->sums.records += source->sums.records;
    target->sums.bytes += source->sums.bytes;
    target->sums.key_prefix += source->sums.key_prefix;
    tac_histogram_merge(&target->latency, &source->latency);
    if (target->code == TACTUS_OK && source->code != TACTUS_OK) {
        target->code = source->code;
        memcpy(target->message, source->message, sizeof target->message);
    }
}

static void thread_prepare(struct bench_thread *thread, const struct tac_bench_run *run,
                           uint32_t index)
{
    thread->run = run;
    thread->operations = run->operations / run->threads + (index < run->operations % run->threads);
    thread->prng.state =
        tac_mix_u64(tac_mix_u64(run->seed ^ DRAW_SALT) + (run->sequence << 16) + index);
    tac_histogram_init(&thread->result.latency);
}

static int run_fail(struct tac_bench_result *result, const char *text)
{
    result->code = TACTUS_ENOMEM;
    snprintf(result->message, sizeof result->message, "%s", text);
    return result->code;
}

int tac_bench_run(const struct tac_bench_run *run, struct tac_bench_result *ret_result)
{
    struct bench_thread *threads;
    uint32_t             started = 0;

    tac_assert(run->threads >= 1 && run->threads <= TAC_BENCH_READERS_MAX);
    tac_assert(run->operation < TAC_BENCH_OPERATIONS_COUNT);
    tac_assert(run->threads == 1 || (run->operation != TAC_BENCH_PUT && run->timeline == NULL));
    memset(ret_result, 0, sizeof *ret_result);
    ret_result->begin_ns = UINT64_MAX;
    threads = calloc(run->threads, sizeof *threads);
    if (threads == NULL) {
        return run_fail(ret_result, "out of memory for the threads of a run");
    }
    for (; started < run->threads; started++) {
        thread_prepare(&threads[started], run, started);
        if (pthread_create(&threads[started].id, NULL, thread_main, &threads[started]) != 0) {
            run_fail(ret_result, "the system refuses another thread");
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        int joined = pthread_join(threads[i].id, NULL);

        tac_assert(joined == 0);
        result_merge(ret_result, &threads[i].result);
    }
    free(threads);
    return ret_result->code;
}
