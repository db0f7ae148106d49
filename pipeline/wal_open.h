/* SPDX-License-Identifier: Apache-2.0 */
/* wal_open -- reads the log that an open finds, does its ops again, and makes it ready to go on. */
#ifndef TACTUS_PIPELINE_WAL_OPEN_H
#define TACTUS_PIPELINE_WAL_OPEN_H

#include "pipeline/store.h"

/* Opens the log beside the store, if there is one (store->wal.storage stays NULL if not), and finds
 * where its ops begin. TACTUS_ELOG: the superblock says that there is one.
 * TACTUS_ECORRUPT: it does not go on from the superblock's P. */
TAC_MUST_CHECK int tac_wal_find(struct tactus *store, const struct tac_superblock *superblock,
                                const struct tac_log_place *place, struct tac_error *error);
/* Once the workers run: does every op after P again, then makes the log ready for what comes, or
 * new, or takes it away, as options->log wants. */
TAC_MUST_CHECK int tac_wal_replay(struct tactus *store, const struct tac_log_place *place,
                                  struct tac_error *error);

#endif
