/* SPDX-License-Identifier: Apache-2.0 */
/* compact, digest and verify -- the whole store at once. */
#include "tools/command.h"

int tac_cmd_compact(struct tac_arguments *arguments)
{
    struct tac_session session;
    int                code, status;

    tac_assert(arguments->operand_count == 0);
    status = tac_session_open(arguments, false, &session);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_compact(session.store, session.tree);
    return tac_session_close(&session, code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code));
}

int tac_cmd_digest(struct tac_arguments *arguments)
{
    struct tac_session session;
    uint8_t            digest[16];
    int                code, status;

    tac_assert(arguments->operand_count == 0);
    status = tac_session_open(arguments, true, &session);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_digest(session.store, digest);
    if (code == TACTUS_OK) {
        for (size_t i = 0; i < sizeof digest; i++) {
            printf("%02x", digest[i]);
        }
        putchar('\n');
    } else {
        status = tac_fail_code(code);
    }
    tac_session_release(&session);
    return status;
}

static void damage_print(void *context, const char *text)
{
    tac_assert(context == NULL);
    tac_assert(text != NULL);
    printf("damage: %s\n", text);
}

/* Damage that keeps the store from being opened at all is damage found, too. */
static int open_fail(int code)
{
    if (code != TACTUS_ECORRUPT) {
        return tac_fail_code(code);
    }
    damage_print(NULL, tactus_message());
    printf("the store cannot be opened\n");
    return TAC_EXIT_NO;
}

int tac_cmd_verify(struct tac_arguments *arguments)
{
    struct tactus_verify_report report = {0};
    struct tactus              *store;
    int                         code, status;

    tac_assert(arguments->operand_count == 0);
    code = tactus_open(arguments->store_path, &arguments->options, &store);
    if (code != TACTUS_OK) {
        return open_fail(code);
    }
    code = tactus_verify(store, damage_print, NULL, &report);
    if (code == TACTUS_OK || code == TACTUS_ECORRUPT) {
        printf("%llu tables, %llu blocks, %llu records read: ", (unsigned long long)report.tables,
               (unsigned long long)report.blocks, (unsigned long long)report.records);
        if (report.damages == 0) {
            printf("sound\n");
        } else {
            printf("%llu damages\n", (unsigned long long)report.damages);
        }
        status = report.damages == 0 ? TAC_EXIT_OK : TAC_EXIT_NO;
    } else {
        status = tac_fail_code(code);
    }
    tactus_abandon(store);
    return status;
}
