/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot -- making, releasing and listing snapshots; get and scan read them. */
#include <string.h>

#include "tools/command.h"

#define SNAPSHOTS_MAX 64 /* More than a store takes */

static int snapshot_list(struct tactus *store)
{
    struct tactus_snapshot_info snapshots[SNAPSHOTS_MAX];
    uint32_t                    count;
    int code = tactus_snapshot_list(store, snapshots, SNAPSHOTS_MAX, &count);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_assert(count <= SNAPSHOTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        printf("%s\t%llu\t%llu\t%llu\n", snapshots[i].name, (unsigned long long)snapshots[i].op,
               (unsigned long long)snapshots[i].tables, (unsigned long long)snapshots[i].bytes);
    }
    return TAC_EXIT_OK;
}

static int snapshot_create(struct tactus *store, const char *name)
{
    int code = tactus_snapshot_create(store, name, NULL);

    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* The close drains, and so gives the space back; but not that of a store with a log. */
static int snapshot_release(struct tactus *store, const char *name)
{
    int code = tactus_snapshot_release(store, name);

    if (code != TACTUS_OK) {
        return tac_fail_snapshot(code);
    }
    code = tactus_drain(store);
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

int tac_cmd_snapshot(struct tac_arguments *arguments)
{
    const char        *verb = arguments->operands[0];
    struct tac_session session;
    bool               is_list = strcmp(verb, "list") == 0;
    bool               is_release = strcmp(verb, "release") == 0;
    int                status;

    tac_assert(arguments->operand_count == 1 || arguments->operand_count == 2);
    if ((!is_list && !is_release && strcmp(verb, "create") != 0) ||
        arguments->operand_count != (is_list ? 1 : 2)) {
        return tac_fail(TAC_EXIT_USAGE,
                        "expected STORE create NAME, STORE release NAME, or STORE list\n"
                        "  `tactus snapshot --help` explains.");
    }
    status = tac_session_open(arguments, true, &session);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    if (is_list) {
        status = snapshot_list(session.store);
        tac_session_release(&session);
        return status;
    }
    return tac_session_close(&session,
                             is_release ? snapshot_release(session.store, arguments->operands[1])
                                        : snapshot_create(session.store, arguments->operands[1]));
}
