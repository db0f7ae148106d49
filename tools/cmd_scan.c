/* SPDX-License-Identifier: Apache-2.0 */
/* scan -- a range of records as lines, in either direction. */
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/escape.h"

/* A byte string that orders like a key but belongs to somebody else. */
struct span {
    const char *data;
    size_t      size;
};

struct scan {
    const struct tac_arguments *arguments;
    struct tac_session          session;
    struct tactus_iterator     *iterator;
    struct span                 from, to; /* data NULL: no such bound */
    struct span                 last;     /* The record printed last; data NULL: none yet */
    char                        last_key[TACTUS_KEY_SIZE_MAX];
    uint64_t                    count;
    char                       *escaped; /* Room for one escaped record */
    size_t                      escaped_size;
};

static bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static struct span scan_key(const struct scan *scan)
{
    const void *key, *value;
    size_t      key_size, value_size;

    tactus_iterator_record(scan->iterator, &key, &key_size, &value, &value_size);
    return (struct span){key, key_size};
}

static int scan_move(struct scan *scan)
{
    return scan->arguments->has_reverse ? tactus_iterator_previous(scan->iterator)
                                        : tactus_iterator_next(scan->iterator);
}

static int iterator_open(struct scan *scan)
{
    const struct tac_session *session = &scan->session;

    return session->snapshot != NULL
               ? tactus_snapshot_iterator(session->snapshot, session->tree, &scan->iterator)
               : tactus_iterator_open(session->store, session->tree, &scan->iterator);
}

/* Opens the iterator, in place of one that expired, and moves it to where it goes on. */
static int scan_open(struct scan *scan)
{
    const struct span *from = &scan->from, *to = &scan->to, *last = &scan->last;
    bool               has_reverse = scan->arguments->has_reverse;
    int                code;

    tactus_iterator_close(scan->iterator);
    scan->iterator = NULL;
    code = iterator_open(scan);
    if (code == TACTUS_OK) {
        code = tactus_iterator_bound(scan->iterator, from->data, from->size, to->data, to->size);
    }
    if (code != TACTUS_OK) {
        return code;
    }
    if (last->data == NULL) {
        return has_reverse ? tactus_iterator_last(scan->iterator)
                           : tactus_iterator_first(scan->iterator);
    }
    code = has_reverse ? tactus_iterator_seek_back(scan->iterator, last->data, last->size)
                       : tactus_iterator_seek(scan->iterator, last->data, last->size);
    return code == TACTUS_OK && span_equal(scan_key(scan), *last) ? scan_move(scan) : code;
}

/* The key is shown escaped, so that the message itself stays one line. */
static int unprintable_fail(const struct span key, const char *what)
{
    char escaped[TAC_ESCAPE_FACTOR * TACTUS_KEY_SIZE_MAX];

    tac_assert(key.size <= TACTUS_KEY_SIZE_MAX);
    return tac_fail(TAC_EXIT_INPUT,
                    "a line cannot hold the record with key %.*s (escaped): there is %s in it\n"
                    "  Use --escape here, and again when you load the lines.",
                    (int)tac_escape(key.data, key.size, escaped), escaped, what);
}

static int escaped_print(struct scan *scan, struct span key, struct span value)
{
    size_t most = TAC_ESCAPE_FACTOR * (key.size + value.size) + 2;
    size_t size;

    if (most > scan->escaped_size) {
        free(scan->escaped);
        scan->escaped = malloc(2 * most);
        scan->escaped_size = scan->escaped == NULL ? 0 : 2 * most;
    }
    if (scan->escaped == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory");
    }
    size = tac_escape(key.data, key.size, scan->escaped);
    scan->escaped[size++] = '\t';
    size += tac_escape(value.data, value.size, scan->escaped + size);
    scan->escaped[size++] = '\n';
    fwrite_unlocked(scan->escaped, 1, size, stdout);
    return TAC_EXIT_OK;
}

static int record_print(struct scan *scan)
{
    const void *key, *value;
    size_t      key_size, value_size;

    tactus_iterator_record(scan->iterator, &key, &key_size, &value, &value_size);
    if (scan->arguments->has_escape) {
        return escaped_print(scan, (struct span){key, key_size}, (struct span){value, value_size});
    }
    if (memchr(key, '\t', key_size) != NULL) {
        return unprintable_fail((struct span){key, key_size}, "a tab");
    }
    if (memchr(key, '\n', key_size) != NULL ||
        (value_size > 0 && memchr(value, '\n', value_size) != NULL)) {
        return unprintable_fail((struct span){key, key_size}, "a newline");
    }
    fwrite_unlocked(key, 1, key_size, stdout);
    putchar_unlocked('\t');
    fwrite_unlocked(value, 1, value_size, stdout);
    putchar_unlocked('\n');
    return TAC_EXIT_OK;
}

/* Remembers the key under the iterator as the place to go on from. */
static void last_set(struct scan *scan, struct span key)
{
    tac_assert(key.size >= 1 && key.size <= sizeof scan->last_key);
    memcpy(scan->last_key, key.data, key.size);
    scan->last = (struct span){scan->last_key, key.size};
}

static int scan_run(struct scan *scan)
{
    int code = scan_open(scan);

    for (;;) {
        struct span key;
        int         status;

        while (code == TACTUS_EEXPIRED) { /* A fresh one lives for a bar of writes at least */
            code = scan_open(scan);
        }
        if (code != TACTUS_OK) {
            break;
        }
        if (scan->count >= scan->arguments->limit) {
            return TAC_EXIT_OK;
        }
        key = scan_key(scan);
        status = scan->arguments->has_count ? TAC_EXIT_OK : record_print(scan);
        if (status != TAC_EXIT_OK) {
            return status;
        }
        if (ferror_unlocked(stdout)) {
            return tac_output_finish(TAC_EXIT_OK);
        }
        scan->count++;
        last_set(scan, key);
        code = scan_move(scan);
    }
    return code == TACTUS_ENOTFOUND ? TAC_EXIT_OK : tac_fail_code(code);
}

/* A bound from the command line, of the option; NULL text is none. */
static int bound_take(const struct tac_arguments *arguments, const char *option, char *text,
                      struct span *ret_bound)
{
    char   what[32];
    size_t size;
    int    status;

    if (text == NULL) {
        return TAC_EXIT_OK;
    }
    snprintf(what, sizeof what, "key of %s", option);
    status = tac_text_decode(arguments, what, text, &size);
    if (status != TAC_EXIT_OK) {
        return status;
    }
    if (size == 0 || size > TACTUS_KEY_SIZE_MAX) {
        return tac_fail(TAC_EXIT_INPUT,
                        "%s: a key of %zu bytes; keys have 1 to %d\n"
                        "  Leave the option out to scan without this bound.",
                        option, size, TACTUS_KEY_SIZE_MAX);
    }
    *ret_bound = (struct span){text, size};
    return TAC_EXIT_OK;
}

int tac_cmd_scan(struct tac_arguments *arguments)
{
    static char output_buffer[1 << 18]; /* Outlives main: stdout is flushed after it */
    struct scan scan = {.arguments = arguments};
    int         status;

    tac_assert(arguments->operand_count == 0);
    setvbuf(stdout, output_buffer, _IOFBF, sizeof output_buffer);
    status = bound_take(arguments, "--from", arguments->from, &scan.from);
    if (status == TAC_EXIT_OK) {
        status = bound_take(arguments, "--to", arguments->to, &scan.to);
    }
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, false, &scan.session);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    status = scan_run(&scan);
    if (status == TAC_EXIT_OK && arguments->has_count) {
        printf("%llu\n", (unsigned long long)scan.count);
    }
    tactus_iterator_close(scan.iterator);
    free(scan.escaped);
    tac_session_release(&scan.session);
    return status;
}
