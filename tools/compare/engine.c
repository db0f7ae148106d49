/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/compare/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/units.h"

#define QUIET_NS (TAC_SECOND_NS / 2)
#define QUIET_CPU_NS (TAC_SECOND_NS / 100) /* Threads that wake up to look for work */

const struct tac_engine_ops *const tac_engines[] = {
    &tac_engine_null,
    &tac_engine_tactus,
#ifdef HAVE_ROCKSDB
    &tac_engine_rocksdb,
#endif
#ifdef HAVE_LEVELDB
    &tac_engine_leveldb,
#endif
#ifdef HAVE_WIREDTIGER
    &tac_engine_wiredtiger,
#endif
#ifdef HAVE_LMDB
    &tac_engine_lmdb,
#endif
    NULL,
};

const struct tac_engine_ops *tac_engine_find(const char *name)
{
    for (uint32_t i = 0; tac_engines[i] != NULL; i++) {
        if (strcmp(tac_engines[i]->name, name) == 0) {
            return tac_engines[i];
        }
    }
    return NULL;
}

uint64_t tac_engine_memtable_bytes(const struct tac_engine_config *config)
{
    uint64_t record_bytes = config->shape->layout.key_size + config->shape->layout.value_size +
                            TAC_ENGINE_RECORD_OVERHEAD_BYTES;

    return config->memtable_records == 0 ? 64 * TAC_MIB
                                         : (config->memtable_records + 1) * record_bytes;
}

int tac_engine_fail(const char *engine, const char *what, const char *text)
{
    fprintf(stderr, "%s: %s: %s\n", engine, what, text == NULL ? "failed" : text);
    return -1;
}

static uint64_t cpu_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * TAC_SECOND_NS + (uint64_t)now.tv_nsec;
}

static uint64_t written_now_bytes(void)
{
    FILE    *file = fopen("/proc/self/io", "r");
    char     line[128];
    uint64_t bytes = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "write_bytes: %" SCNu64, &bytes);
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

uint64_t tac_engine_wait_quiet(void)
{
    for (;;) {
        uint64_t              begin_ns = tac_clock_now_ns();
        uint64_t              cpu_ns = cpu_now_ns(), written_bytes = written_now_bytes();
        const struct timespec rest = {0, QUIET_NS};

        nanosleep(&rest, NULL);
        if (cpu_now_ns() - cpu_ns < QUIET_CPU_NS && written_now_bytes() == written_bytes) {
            return tac_clock_now_ns() - begin_ns;
        }
    }
}
