/* SPDX-License-Identifier: Apache-2.0 */
/* command -- see command.h. */
#include "tools/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "tools/escape.h"

static const char *command_name = "";

void tac_command_name_set(const char *name)
{
    tac_assert(name != NULL);
    command_name = name;
}

int tac_fail(int status, const char *format, ...)
{
    va_list arguments;

    tac_assert(status != TAC_EXIT_OK);
    fflush(stdout);
    fprintf(stderr, "tactus %s: ", command_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return status;
}

void tac_logger_print(void *context, enum tactus_logger_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    (void)context;
    fprintf(stderr, "tactus %s: %s: %s\n", command_name, names[level], line);
}

int tac_code_status(int code)
{
    tac_assert(code != TACTUS_OK);
    switch (code) {
    case TACTUS_ENOTFOUND:
        return TAC_EXIT_NO;
    case TACTUS_EINVAL:
    case TACTUS_EOPTION:
        return TAC_EXIT_USAGE;
    case TACTUS_ELAYOUT:
    case TACTUS_EKEYSIZE:
    case TACTUS_EVALUESIZE:
    case TACTUS_EBATCHSIZE:
        return TAC_EXIT_INPUT;
    default:
        return TAC_EXIT_FAILED;
    }
}

const char *tac_code_advice(int code)
{
    switch (code) {
    case TACTUS_EEXISTS:
        return "Choose another name; nothing was changed.";
    case TACTUS_ENOTREE:
        return "`tactus tree STORE list` shows the trees, `tactus tree STORE create NAME` makes "
               "one.";
    case TACTUS_ELAYOUT:
    case TACTUS_EKEYSIZE:
    case TACTUS_EVALUESIZE:
        return "`tactus tree STORE list` shows which sizes each tree takes.";
    case TACTUS_EBATCHSIZE:
        return "The record needs a store with a larger memtable_size; see `tactus create --help`.";
    case TACTUS_EOPTION:
        return "`tactus create --help` lists the options.";
    case TACTUS_ENOSTORE:
        return "Check the path, or make a store there: tactus create STORE";
    case TACTUS_EFORMAT:
        return "Check the path: the file was left as it is.";
    case TACTUS_ELOCKED:
        return "Wait until the other program has closed it, or stop that program.";
    case TACTUS_EFULL:
        return "Then run `tactus compact STORE`; a store created with a larger file_size_max, on a "
               "device with room for it, holds more.";
    case TACTUS_ENOMEM:
        return "Open with smaller caches, such as --option page_cache_size=8MiB "
               "--option index_cache_size=16MiB.";
    case TACTUS_ECORRUPT:
        return "`tactus verify STORE` names every damage; take the data from a copy, or what is "
               "left of it by `tactus repair STORE NEW_STORE`.";
    case TACTUS_EIO:
    case TACTUS_EPOISONED:
        return "See the system's log about the device; the store keeps its last checkpoint.";
    case TACTUS_EACCESS:
        return "Check the owner and mode of the file and of its directory.";
    default:
        return NULL;
    }
}

int tac_fail_code(int code)
{
    const char *advice = tac_code_advice(code);
    const char *message = tactus_message();

    tac_fail(TAC_EXIT_FAILED, "%s", message[0] != 0 ? message : tactus_strerror(code));
    if (advice != NULL) {
        fprintf(stderr, "  %s\n", advice);
    } else if (tac_code_status(code) == TAC_EXIT_USAGE) {
        fprintf(stderr, "  `tactus %s --help` explains.\n", command_name);
    }
    return tac_code_status(code);
}

int tac_fail_create(int code)
{
    if (code != TACTUS_ENOSTORE) {
        return tac_fail_code(code);
    }
    return tac_fail(TAC_EXIT_FAILED, "%s\n  Make the directory first: only the file is made.",
                    tactus_message());
}

int tac_fail_snapshot(int code)
{
    if (code != TACTUS_ENOTFOUND) {
        return tac_fail_code(code);
    }
    return tac_fail(TAC_EXIT_FAILED, "%s\n  `tactus snapshot STORE list` shows the snapshots.",
                    tactus_message());
}

int tac_session_open(const struct tac_arguments *arguments, bool is_whole,
                     struct tac_session *ret_session)
{
    struct tac_session session = {NULL, 0, NULL};
    int                code, status = TAC_EXIT_OK;

    code = tactus_open(arguments->store_path, &arguments->options, &session.store);
    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    if (!is_whole) {
        code = tactus_tree_find(session.store, arguments->tree, &session.tree);
        status = code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
    }
    if (!is_whole && status == TAC_EXIT_OK && arguments->snapshot != NULL) {
        code = tactus_snapshot_open(session.store, arguments->snapshot, &session.snapshot);
        status = code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_snapshot(code);
    }
    if (status != TAC_EXIT_OK) {
        tactus_abandon(session.store);
        return status;
    }
    *ret_session = session;
    return TAC_EXIT_OK;
}

int tac_session_close(struct tac_session *session, int status)
{
    int code;

    tac_assert(session->store != NULL && session->snapshot == NULL);
    code = tactus_close(session->store);
    session->store = NULL;
    if (code != TACTUS_OK) {
        int close_status = tac_fail_code(code);

        return status == TAC_EXIT_OK ? close_status : status;
    }
    return status;
}

void tac_session_release(struct tac_session *session)
{
    tac_assert(session->store != NULL);
    if (session->snapshot != NULL) {
        tactus_snapshot_close(session->snapshot);
        session->snapshot = NULL;
    }
    tactus_abandon(session->store);
    session->store = NULL;
}

int tac_text_decode(const struct tac_arguments *arguments, const char *what, char *text,
                    size_t *ret_size)
{
    size_t size, bad;

    tac_assert(text != NULL);
    size = strlen(text);
    if (arguments->has_escape && !tac_unescape(text, size, &size, &bad)) {
        return tac_fail(TAC_EXIT_INPUT,
                        "malformed escape at byte %zu of the %s\n"
                        "  Escapes are \\t, \\n, \\\\ and \\xHH; write a backslash as \\\\.",
                        bad + 1, what);
    }
    *ret_size = size;
    return TAC_EXIT_OK;
}

int tac_output_finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return tac_fail(TAC_EXIT_FAILED,
                        "cannot write to standard output: %s\n"
                        "  Make room where the output goes, then run it again.",
                        strerror(errno));
    }
    return status;
}

const char *tac_human(uint64_t bytes, char text[TAC_HUMAN_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double                   number = (double)bytes;
    size_t                   unit = 0;

    while (number >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        number /= 1024;
        unit++;
    }
    snprintf(text, TAC_HUMAN_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", number, units[unit]);
    return text;
}

uint64_t tac_now_ns(void)
{
    struct timespec now;
    int             result = clock_gettime(CLOCK_MONOTONIC, &now);

    tac_assert(result == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
