/* SPDX-License-Identifier: Apache-2.0 */
/* fault_check -- what the calls of a script may say and find: codes and texts that the fault
 * explains, records that the model has, a store that is sound after it was opened again. */
#ifndef TACTUS_TESTS_SIM_FAULT_CHECK_H
#define TACTUS_TESTS_SIM_FAULT_CHECK_H

#include "tests/sim/fault_run.h"

/* Returns ok. */
bool run_expect(struct run *run, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool run_has_fault(const struct run *run);
/* A call that writes. True: it was done. */
bool run_write_result(struct run *run, int code, const char *what);
/* A call that creates or opens. True: it was done. */
bool run_open_result(struct run *run, const struct tac_error *error, int code, const char *what);

void run_gets(struct run *run, uint32_t count);
void run_scans(struct run *run);
/* If there is one: its keys, or every so many of them. */
void run_snapshot_read(struct run *run, uint32_t stride);
/* Content, blocks in use, tactus_verify. */
void run_check(struct run *run);

#endif
