/* SPDX-License-Identifier: Apache-2.0 */
/* options_fuzz -- names and values of options as text: lines of NAME=VALUE.
 *
 * A refusal must say why; what all checks take together must open as a store in memory and hold a
 * record, as long as it asks for little memory. */
#include <stdio.h>

#include "base/units.h"
#include "pipeline/options.h"
#include "tests/fuzz/fuzz.h"

const uint32_t fuzz_cost = 4;

#define LINE_MAX_BYTES 128

/* Of a store that is opened here. */
static bool is_cheap(const struct tactus_options *options)
{
    return options->memtable_size <= TAC_MIB && options->table_size <= 4 * TAC_MIB &&
           options->block_size <= 128 * TAC_KIB && options->page_cache_size <= TAC_MIB &&
           options->index_cache_size <= TAC_MIB && options->tables_max <= 4096 &&
           options->pool_size <= 16 * TAC_MIB && options->ring_size <= 1024 &&
           options->threads_merge == 0;
}

static void set_one(struct tactus_options *options, const char *line)
{
    char        name[LINE_MAX_BYTES];
    const char *equals = strchr(line, '=');
    size_t      name_size = equals == NULL ? strlen(line) : (size_t)(equals - line);
    int         rv;

    memcpy(name, line, name_size);
    name[name_size] = 0;
    rv = tactus_options_set(options, name, equals == NULL ? "" : equals + 1);
    if (rv != TACTUS_OK) {
        tac_assert(rv == TACTUS_EOPTION && tactus_message()[0] != 0);
    }
}

static void lines_set(struct fuzz_input *input, struct tactus_options *options)
{
    char line[LINE_MAX_BYTES];

    while (input->size > 0) {
        const uint8_t *end = memchr(input->data, '\n', input->size);
        size_t         size = end == NULL ? input->size : (size_t)(end - input->data);
        size_t         taken = tac_min_u64(size, sizeof line - 1);

        memcpy(line, input->data, taken);
        line[taken] = 0;
        set_one(options, line);
        size += end != NULL;
        input->data += size;
        input->size -= size;
    }
}

/* A store with these options keeps a record over a bar's end. */
static void store_use(const struct tactus_options *options)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, 8, 16};
    struct tactus       *store;
    uint32_t             tree;
    size_t               size;
    int                  rv = tactus_open(NULL, options, &store);

    if (rv != TACTUS_OK) {
        tac_assert(rv == TACTUS_EOPTION || rv == TACTUS_ENOMEM);
        tac_assert(tactus_message()[0] != 0);
        return;
    }
    fuzz_accepted++;
    rv = tactus_tree_create(store, "tree", &layout, &tree);
    if (rv == TACTUS_OK) {
        rv = tactus_put(store, tree, "key", 3, "value", 5);
        tac_assert(rv == TACTUS_OK);
        rv = tactus_compact(store, tree);
        tac_assert(rv == TACTUS_OK);
        rv = tactus_get(store, tree, "key", 3, NULL, 0, &size);
        tac_assert(rv == TACTUS_OK && size == 5);
    } else {
        tac_assert(rv == TACTUS_EOPTION); /* A file too small for such memtables */
    }
    rv = tactus_close(store);
    tac_assert(rv == TACTUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input     input = {data, size};
    struct tactus_options options, resolved;
    struct tac_shape      shape;
    struct tac_error      error;

    tactus_options_init(&options);
    /* Cheap but for what the input says. */
    options.memtable_size = 32 * TAC_KIB;
    options.block_size = 4096;
    options.page_size = 512;
    options.table_size = options.slice_size = 32 * TAC_KIB;
    options.page_cache_size = options.index_cache_size = 0;
    options.tables_max = 1024;
    options.threads_read = options.threads_merge = options.threads_write = 0;
    lines_set(&input, &options);
    options.backend = TACTUS_BACKEND_MEMORY;
    tac_error_clear(&error);
    resolved = options;
    tac_options_shape(&options, &shape);
    if (tac_options_resolve(&resolved, &error) != TACTUS_OK ||
        tac_shape_check(&shape, &error) != TACTUS_OK) {
        tac_assert(error.code == TACTUS_EOPTION && error.message[0] != 0);
    }
    if (is_cheap(&resolved) && shape.file_size_max <= 64 * TAC_GIB) {
        store_use(&options);
    }
    return 0;
}

/* ---- seeds ---------------------------------------------------------------------------------- */

size_t fuzz_seed(uint32_t number, uint8_t *buffer)
{
    static const char *const texts[] = {
        "memtable_size=64KiB\nblock_size=4096\npage_size=1K\ntable_size=16384\nslice_size=8KiB",
        "runs_per_level=1\nlast_ratio=16\nbeats_per_bar=8\nlag_beats=5",
        "runs_per_level=1\nlast_ratio=16\nbeats_per_bar=8\nlag_beats=1",
        "beats_per_bar=1024\nlag_beats=8\ncheckpoint_interval_bars=64\nfilter_bits_per_key=20",
        "file_size_max=1MiB\nfilter_bits_per_key=0",
        "uuid=01234567-89ab-cdef-0123-456789abcdef\nassist=off\ndirect_io=no",
        "threads_read=auto\nthreads_merge=0\nthreads_write=64\nring_size=3",
        "ring_size=2\npool_size=1MiB\npage_cache_size=4096\nindex_cache_size=1K\nio_depth=1",
        "tables_max=16777217\nio_depth=65\nbackend=memory\n=\n\nunknown=1\nblock_size",
        "memtable_size=18446744073709551615\ntable_size=16777216T\nslice_size=-1\nuuid=0",
        "block_size=65536\npage_size=512\nmemtable_size=1MiB",
        "block_size=131072\npage_size=4096\nmemtable_size=1MiB\ntable_size=256K\nslice_size=1G",
        "runs_per_level=16\nmemtable_size=32768\ntable_size=8192\nslice_size=8192",
    };

    if (number >= TAC_ARRAY_COUNT(texts)) {
        return 0;
    }
    memcpy(buffer, texts[number], strlen(texts[number]));
    return strlen(texts[number]);
}
