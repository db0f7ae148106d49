/* SPDX-License-Identifier: Apache-2.0 */
/* get, put and delete -- one record. */
#include <stdlib.h>

#include "tools/command.h"
#include "tools/escape.h"

static int value_print(const struct tac_arguments *arguments, const char *value, size_t size)
{
    char *escaped;

    if (!arguments->has_escape) {
        fwrite(value, 1, size, stdout);
        putchar('\n');
        return TAC_EXIT_OK;
    }
    escaped = malloc(TAC_ESCAPE_FACTOR * size + 1);
    if (escaped == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory");
    }
    fwrite(escaped, 1, tac_escape(value, size, escaped), stdout);
    putchar('\n');
    free(escaped);
    return TAC_EXIT_OK;
}

static int record_get(const struct tac_session *session, const char *key, size_t key_size,
                      char *value, size_t size, size_t *ret_size)
{
    return session->snapshot != NULL
               ? tactus_snapshot_get(session->snapshot, session->tree, key, key_size, value, size,
                                     ret_size)
               : tactus_get(session->store, session->tree, key, key_size, value, size, ret_size);
}

/* The value's size is known only from a first call; nobody writes in between. */
static int value_get(const struct tac_session *session, const struct tac_arguments *arguments,
                     size_t key_size)
{
    const char *key = arguments->operands[0];
    char       *value;
    size_t      size;
    int         code = record_get(session, key, key_size, NULL, 0, &size);
    int         status;

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    value = malloc(size + 1);
    if (value == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory");
    }
    code = record_get(session, key, key_size, value, size, &size);
    status = code == TACTUS_OK ? value_print(arguments, value, size) : tac_fail_code(code);
    free(value);
    return status;
}

int tac_cmd_get(struct tac_arguments *arguments)
{
    struct tac_session session;
    size_t             key_size;
    int                status;

    tac_assert(arguments->operand_count == 1);
    status = tac_text_decode(arguments, "key", arguments->operands[0], &key_size);
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, false, &session);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    status = value_get(&session, arguments, key_size);
    tac_session_release(&session);
    return status;
}

int tac_cmd_put(struct tac_arguments *arguments)
{
    struct tac_session session;
    size_t             key_size, value_size;
    int                code, status;

    tac_assert(arguments->operand_count == 2);
    status = tac_text_decode(arguments, "key", arguments->operands[0], &key_size);
    if (status == TAC_EXIT_OK) {
        status = tac_text_decode(arguments, "value", arguments->operands[1], &value_size);
    }
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, false, &session);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_put(session.store, session.tree, arguments->operands[0], key_size,
                      arguments->operands[1], value_size);
    return tac_session_close(&session, code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code));
}

int tac_cmd_delete(struct tac_arguments *arguments)
{
    struct tac_session session;
    size_t             key_size;
    int                code, status;

    tac_assert(arguments->operand_count == 1);
    status = tac_text_decode(arguments, "key", arguments->operands[0], &key_size);
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, false, &session);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_delete(session.store, session.tree, arguments->operands[0], key_size);
    return tac_session_close(&session, code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code));
}
