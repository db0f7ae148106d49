/* SPDX-License-Identifier: Apache-2.0 */
/* Takes everything and keeps nothing: what driver, clock and machine cost by themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/engine.h"

static uint8_t last_record[TAC_BENCH_KEY_SIZE_MAX + TAC_BENCH_VALUE_SIZE_MAX];

static void null_version(char text[32]) { snprintf(text, 32, "-"); }

static int null_open(const struct tac_engine_config *config, struct tac_engine **ret_engine)
{
    struct tac_engine *engine = malloc(sizeof *engine);

    if (engine == NULL) {
        return tac_engine_fail("null", "open", "out of memory");
    }
    *engine = (struct tac_engine){&tac_engine_null, *config};
    *ret_engine = engine;
    return 0;
}

static int null_close(struct tac_engine *engine)
{
    free(engine);
    return 0;
}

static int null_put(struct tac_engine *engine, const void *key, size_t key_size, const void *value,
                    size_t value_size)
{
    (void)engine;
    memcpy(last_record, key, key_size);
    memcpy(last_record + TAC_BENCH_KEY_SIZE_MAX, value, value_size);
    return 0;
}

static int null_settle(struct tac_engine *engine, uint64_t *ret_idle_ns)
{
    (void)engine;
    *ret_idle_ns = 0;
    return 0;
}

static int null_sync(struct tac_engine *engine)
{
    (void)engine;
    return 0;
}

const struct tac_engine_ops tac_engine_null = {
    .name = "null",
    .traits = TAC_ENGINE_KEEPS_NOTHING,
    .version = null_version,
    .open = null_open,
    .close = null_close,
    .put = null_put,
    .settle = null_settle,
    .sync = null_sync,
};
