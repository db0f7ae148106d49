/* SPDX-License-Identifier: Apache-2.0 */
/* What a store tells of as it happens: who calls the callback, what that may call, what is told and
 * what is not. That it agrees with the statistics is the simulator's to show. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/store.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define RECORDS 4000
#define KINDS_ALL 127

struct listener {
    struct tactus  *store;
    uint32_t        tree;
    pthread_t       caller;
    uint64_t        counts[KINDS_ALL + 1];
    uint64_t        calls, elsewhere; /* elsewhere: by another thread than `caller` */
    uint64_t        wait_ns_min, missed;
    int             set_code, put_code, stat_is_right;
    int             code;
    char            text[TACTUS_MESSAGE_BYTES];
    bool            is_blocked; /* Atomic */
    pthread_mutex_t lock;
};

static void event_take(void *context, const struct tactus_event *event)
{
    struct listener    *listener = context;
    struct tactus_stats stats;

    while (__atomic_load_n(&listener->is_blocked, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    pthread_mutex_lock(&listener->lock);
    listener->counts[event->kind]++;
    listener->calls++;
    listener->missed += event->missed_count;
    listener->elsewhere += pthread_equal(pthread_self(), listener->caller) == 0;
    if (event->kind == TACTUS_EVENT_WAIT) {
        listener->wait_ns_min = tac_min_u64(listener->wait_ns_min, event->duration_ns);
    }
    if (event->kind == TACTUS_EVENT_ERROR) {
        listener->code = event->code;
        snprintf(listener->text, sizeof listener->text, "%s", event->text);
    }
    pthread_mutex_unlock(&listener->lock);
    if (listener->calls == 1) {
        tactus_stat(listener->store, &stats);
        listener->stat_is_right = stats.last_op > 0;
        listener->put_code = tactus_put(listener->store, listener->tree, "from within", 11, "x", 1);
        listener->set_code = tactus_events_set(listener->store, NULL, NULL, 0, 0);
    }
}

static uint64_t count_of(struct listener *listener, enum tactus_event_kind kind)
{
    uint64_t count;

    pthread_mutex_lock(&listener->lock);
    count = listener->counts[kind];
    pthread_mutex_unlock(&listener->lock);
    return count;
}

static void store_begin(struct listener *listener, uint32_t threads)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    struct tactus_options options;

    *listener = (struct listener){
        .caller = pthread_self(), .wait_ns_min = UINT64_MAX, .lock = PTHREAD_MUTEX_INITIALIZER};
    small_options(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    options.threads = threads;
    options.page_cache_size = options.index_cache_size = TAC_MIB;
    options.tables_max = 4096;
    options.file_size_max = TAC_GIB;
    if (tactus_open(NULL, &options, &listener->store) != TACTUS_OK ||
        tactus_tree_create(listener->store, "tree", &layout, &listener->tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
}

static bool fill(struct listener *listener, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        char key[16];

        snprintf(key, sizeof key, "%08u", i * 7919 % 100000);
        if (tactus_put(listener->store, listener->tree, key, 8, key, 8) != TACTUS_OK) {
            return false;
        }
    }
    return true;
}

static bool listen(struct listener *listener, uint32_t kinds, uint64_t wait_ns_min)
{
    return tactus_events_set(listener->store, event_take, listener, kinds, wait_ns_min) ==
           TACTUS_OK;
}

static void test_told(uint32_t threads, const char *name)
{
    struct listener     listener;
    struct tactus_stats stats;
    uint64_t            calls;

    store_begin(&listener, threads);
    tap_ok(listen(&listener, KINDS_ALL, 0) && fill(&listener, 0, RECORDS) &&
               tactus_drain(listener.store) == TACTUS_OK &&
               tactus_events_set(listener.store, NULL, NULL, 0, 0) == TACTUS_OK,
           "%s: a store tells while it is written to", name);
    tactus_stat(listener.store, &stats);
    tap_ok(listener.missed > 0 ||
               listener.counts[TACTUS_EVENT_FLUSH] + listener.counts[TACTUS_EVENT_COMPACTION] ==
                   stats.compactions,
           "%s: of each flush and compaction", name);
    tap_ok(listener.counts[TACTUS_EVENT_JOB] > 0 && listener.counts[TACTUS_EVENT_FLUSH] > 0 &&
               listener.counts[TACTUS_EVENT_CHECKPOINT] > 0 &&
               listener.counts[TACTUS_EVENT_ERROR] == 0,
           "%s: of jobs and checkpoints", name);
    tap_ok(listener.elsewhere == (threads > 0 ? listener.calls : 0), "%s: by %s", name,
           threads > 0 ? "a thread of its own" : "the thread that calls");
    tap_ok(listener.stat_is_right == 1 && listener.put_code == TACTUS_OK,
           "%s: the callback may ask the store, and write to it", name);
    tap_ok(listener.set_code == TACTUS_EINVAL, "%s: but not change itself", name);
    calls = listener.calls;
    tap_ok(fill(&listener, RECORDS, RECORDS) && listener.calls == calls,
           "%s: afterwards nothing is told", name);
    tap_ok(listen(&listener, TACTUS_EVENT_CHECKPOINT, 0) && fill(&listener, 0, 1000) &&
               tactus_close(listener.store) == TACTUS_OK && listener.calls > calls,
           "%s: a close tells what there is", name);
}

static void test_kinds(uint32_t threads, const char *name)
{
    struct listener listener;

    store_begin(&listener, threads);
    tap_ok(tactus_events_set(listener.store, event_take, &listener, 0, 0) == TACTUS_EINVAL &&
               tactus_events_set(listener.store, event_take, &listener, 128, 0) == TACTUS_EINVAL,
           "%s: kinds that there are not are refused: %s", name, tactus_message());
    tap_ok(listen(&listener, TACTUS_EVENT_FLUSH, 0) && fill(&listener, 0, RECORDS) &&
               listen(&listener, TACTUS_EVENT_FLUSH, 0) &&
               listener.counts[TACTUS_EVENT_FLUSH] == listener.calls && listener.calls > 0,
           "%s: of kinds that are not asked for nothing is told", name);
    tap_ok(listen(&listener, TACTUS_EVENT_WAIT, UINT64_MAX) && fill(&listener, 0, RECORDS) &&
               listen(&listener, TACTUS_EVENT_WAIT, 1) && listener.counts[TACTUS_EVENT_WAIT] == 0,
           "%s: nor of waits that are too short", name);
    tap_ok(fill(&listener, 0, RECORDS) &&
               tactus_events_set(listener.store, NULL, NULL, 0, 0) == TACTUS_OK &&
               (listener.counts[TACTUS_EVENT_WAIT] == 0 || listener.wait_ns_min >= 1) &&
               (threads > 0 || listener.counts[TACTUS_EVENT_WAIT] > 0),
           "%s: of longer ones it is", name);
    tac_assert(listen(&listener, TACTUS_EVENT_ERROR, 0));
    tac_store_poison(listener.store, TACTUS_EIO, "the device has gone");
    tap_ok(tactus_put(listener.store, listener.tree, "k", 1, "v", 1) == TACTUS_EPOISONED,
           "%s: writing stops", name);
    tactus_abandon(listener.store);
    tap_ok(listener.counts[TACTUS_EVENT_ERROR] == 1 && listener.code == TACTUS_EIO &&
               strcmp(listener.text, "the device has gone") == 0,
           "%s: and that is told, with its text", name);
}

/* A callback that does not return delays events, and nothing else. */
static void test_missed(void)
{
    struct listener     listener;
    struct tactus_stats stats = {0};

    store_begin(&listener, 3);
    __atomic_store_n(&listener.is_blocked, true, __ATOMIC_RELEASE);
    tac_assert(listen(&listener, TACTUS_EVENT_JOB, 0));
    for (uint32_t first = 0; stats.jobs < 2 * TAC_EVENTS_MAX; first += RECORDS) {
        tac_assert(fill(&listener, first, RECORDS));
        tactus_stat(listener.store, &stats);
    }
    __atomic_store_n(&listener.is_blocked, false, __ATOMIC_RELEASE);
    while (count_of(&listener, TACTUS_EVENT_JOB) < TAC_EVENTS_MAX) {
        usleep(1000);
    }
    tap_ok(fill(&listener, 0, RECORDS) && tactus_drain(listener.store) == TACTUS_OK &&
               tactus_events_set(listener.store, NULL, NULL, 0, 0) == TACTUS_OK &&
               listener.missed > 0,
           "a callback that blocks keeps nobody from writing, and is told how much it has missed");
    tactus_stat(listener.store, &stats);
    tap_ok(listener.counts[TACTUS_EVENT_JOB] + listener.missed == stats.jobs,
           "what was told and what was not is all there was");
    tap_ok(tactus_close(listener.store) == TACTUS_OK, "it closes");
}

int main(void)
{
    tap_plan(0);
    test_told(0, "no threads");
    test_told(3, "three threads");
    test_kinds(0, "no threads");
    test_kinds(3, "three threads");
    test_missed();
    return tap_done();
}
