/* SPDX-License-Identifier: Apache-2.0 */
/* logger -- lines for people: options.logger_fn. Told by a teller (teller.h): the thread
 * tac-logger, or without stage threads the application's calls as they return.
 *
 * Bound   TAC_LOGGER_LINES_MAX lines wait at most; of more a line tells how many there were.
 * Life    From the beginning of an open until the store's memory is freed, so that what an open
 *         finds before it fails, and how a close ends, are told too.
 * Unset   costs one look at `fn` where something rare has happened. */
#ifndef TACTUS_PIPELINE_LOGGER_H
#define TACTUS_PIPELINE_LOGGER_H

#include "pipeline/teller.h"

#define TAC_LOGGER_LINES_MAX 128

typedef void tac_logger_fn(void *context, enum tactus_logger_level level, const char *line);

struct tac_logger {
    struct tac_teller teller;

    /* Fixed at open */
    tac_logger_fn           *fn; /* NULL: nobody is told */
    void                    *context;
    enum tactus_logger_level level;
};

struct tactus;

void tac_logger_init(struct tac_logger *logger, const struct tactus_options *options);
/* Tells what waits, and frees everything. */
void tac_logger_destroy(struct tac_logger *logger);
/* Nothing is taken before. is_stepped: without a thread. */
TAC_MUST_CHECK int tac_logger_begin(struct tac_logger *logger, bool is_stepped,
                                    struct tac_error *error);
/* A line, if it is wanted. Any thread, with any lock. */
void tac_logger_add(struct tac_logger *logger, enum tactus_logger_level level, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));
/* What an open has found, and what the store makes of its options. Without locks. */
void tac_logger_add_open(struct tactus *store);

#endif
