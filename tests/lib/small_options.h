/* SPDX-License-Identifier: Apache-2.0 */
/* small_options -- options of a store that a unit test fills within moments: a few hundred records are
 * a bar. */
#ifndef TACTUS_TESTS_LIB_SMALL_OPTIONS_H
#define TACTUS_TESTS_LIB_SMALL_OPTIONS_H

#include "base/units.h"
#include "tactus.h"

/* No threads; everything else as tactus_options_init leaves it. */
static inline void small_options(struct tactus_options *options)
{
    tactus_options_init(options);
    options->block_size = 4 * TAC_KIB;
    options->page_size = 512;
    options->memtable_size = 32 * TAC_KIB;
    options->slice_size = 64 * TAC_KIB;
    options->beats_per_bar = 16;
    options->threads = 0;
}

#endif
