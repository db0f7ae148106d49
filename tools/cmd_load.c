/* SPDX-License-Identifier: Apache-2.0 */
/* load -- lines of a file into a tree, in batches.
 *
 * Whatever ends a load early (a bad line, a full store, a signal), the lines before it are stored
 * and the store is closed properly; the message says how many they are. With --sorted all lines are
 * one run, and none is stored.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/escape.h"

/* Large enough that a commit's fixed cost vanishes, small enough that its wait stays short. */
#define BATCH_BYTES ((size_t)64 << 10)

/* The longest line: the largest key and value that any store takes, every byte escaped. */
#define LINE_BYTES_MAX (TAC_ESCAPE_FACTOR * (TACTUS_KEY_SIZE_MAX + ((size_t)256 << 10)) + 1)

/* Holds the longest line and keeps reads large. */
#define BUFFER_BYTES (2 * LINE_BYTES_MAX)

#define PROGRESS_INTERVAL_NS 500000000u

struct load {
    const struct tac_arguments *arguments;
    struct tac_session          session;
    struct tactus_batch        *batch;
    size_t                      batch_bytes;
    uint64_t                    batch_lines;
    uint64_t                    loaded; /* Lines committed; the batch's lines come next */
    const char                 *input_name;
    int                         input_fd;
    char                       *buffer; /* BUFFER_BYTES; [begin, end) is not yet parsed */
    size_t                      begin, end;
    bool                        is_at_end;
    bool                        has_progress;
    struct tactus_run_record    record;     /* --sorted: the line that the run's reader gives */
    int                         run_status; /* With which that one has broken the run off … */
    bool                        is_run_broken_off; /* … and has said why */
    uint64_t                    start_ns, progress_ns;
};

static volatile sig_atomic_t signal_taken;

static void signal_take(int signal) { signal_taken = signal; }

/* Makes way for a message. */
static void progress_clear(const struct load *load)
{
    if (load->has_progress) {
        fputs("\r\033[K", stderr);
    }
}

static int line_fail(const struct load *load, const char *what, const char *advice)
{
    progress_clear(load);
    return tac_fail(TAC_EXIT_INPUT, "line %" PRIu64 ": %s\n  %s",
                    load->loaded + load->batch_lines + 1, what, advice);
}

/* ---- input ---------------------------------------------------------------------------------- */

/* Reads more behind what is there. */
static int input_fill(struct load *load)
{
    ssize_t size;

    if (load->begin > 0) {
        memmove(load->buffer, load->buffer + load->begin, load->end - load->begin);
        load->end -= load->begin;
        load->begin = 0;
    }
    tac_assert(load->end < BUFFER_BYTES);
    do {
        size = read(load->input_fd, load->buffer + load->end, BUFFER_BYTES - load->end);
    } while (size < 0 && errno == EINTR && signal_taken == 0);
    if (size < 0 && signal_taken != 0) {
        return TAC_EXIT_OK;
    }
    if (size < 0) {
        progress_clear(load);
        return tac_fail(TAC_EXIT_FAILED, "cannot read %s: %s", load->input_name, strerror(errno));
    }
    load->is_at_end = size == 0;
    load->end += (size_t)size;
    return TAC_EXIT_OK;
}

/* The next line without its newline; *ret_line is NULL at the end of the input, or of patience
 * (signal_taken). A last line needs no newline. */
static int line_next(struct load *load, char **ret_line, size_t *ret_size)
{
    size_t searched = 0;

    *ret_line = NULL;
    while (signal_taken == 0) {
        char  *line = load->buffer + load->begin;
        size_t size = load->end - load->begin;
        char  *newline = memchr(line + searched, '\n', size - searched);
        int    status;

        if (newline != NULL || (load->is_at_end && size > 0)) {
            *ret_size = newline != NULL ? (size_t)(newline - line) : size;
            *ret_line = line;
            load->begin += *ret_size + (newline != NULL);
            return TAC_EXIT_OK;
        }
        if (load->is_at_end) {
            return TAC_EXIT_OK;
        }
        if (size > LINE_BYTES_MAX) {
            return line_fail(load, "longer than any record can be", "Is it a text of lines?");
        }
        searched = size;
        status = input_fill(load);
        if (status != TAC_EXIT_OK) {
            return status;
        }
    }
    return TAC_EXIT_OK;
}

/* ---- progress ------------------------------------------------------------------------------- */

static double seconds_since(uint64_t start_ns) { return (double)(tac_now_ns() - start_ns) / 1e9; }

static void progress_print(struct load *load, const char *end)
{
    struct tactus_stats stats;
    double              seconds = seconds_since(load->start_ns);
    char                bytes[TAC_HUMAN_BYTES];

    tactus_stat(load->session.store, &stats);
    tac_assert(stats.levels <= TACTUS_LEVELS_MAX);
    fprintf(stderr, "\r%" PRIu64 " records, %.0f/s, longest wait %.1f ms, levels", load->loaded,
            (double)load->loaded / (seconds > 0 ? seconds : 1), (double)stats.wait_ns_max / 1e6);
    for (uint32_t i = 0; i < stats.levels; i++) {
        fprintf(stderr, "%s %s", i == 0 ? "" : " |", tac_human(stats.level[i].bytes, bytes));
    }
    fprintf(stderr, "\033[K%s", end);
}

static void progress_step(struct load *load)
{
    uint64_t now_ns;

    if (!load->has_progress) {
        return;
    }
    now_ns = tac_now_ns();
    if (now_ns - load->progress_ns >= PROGRESS_INTERVAL_NS) {
        load->progress_ns = now_ns;
        progress_print(load, "");
    }
}

/* ---- lines ---------------------------------------------------------------------------------- */

static int batch_commit(struct load *load)
{
    uint64_t first = load->loaded + 1;
    int      code = tactus_batch_commit(load->batch, NULL);

    if (code != TACTUS_OK) {
        int status;

        progress_clear(load);
        status = tac_fail(tac_code_status(code), "line %" PRIu64 ": %s", first, tactus_message());
        load->batch_lines = 0; /* None of them is stored, nor is tried again */
        tactus_batch_clear(load->batch);
        if (tac_code_advice(code) != NULL) {
            fprintf(stderr, "  %s\n", tac_code_advice(code));
        }
        return status;
    }
    load->loaded += load->batch_lines;
    load->batch_lines = 0;
    load->batch_bytes = 0;
    progress_step(load);
    return TAC_EXIT_OK;
}

static int part_unescape(const struct load *load, char *part, size_t *size)
{
    size_t bad;
    char   text[64];

    if (!load->arguments->has_escape || tac_unescape(part, *size, size, &bad)) {
        return TAC_EXIT_OK;
    }
    snprintf(text, sizeof text, "malformed escape \\%.1s", bad + 1 < *size ? part + bad + 1 : "");
    return line_fail(load, text,
                     "Escapes are \\t, \\n, \\\\ and \\xHH; without --escape a backslash is just "
                     "that.");
}

static int record_add(struct load *load, const char *key, size_t key_size, const char *value,
                      size_t value_size)
{
    int code;

    code =
        load->arguments->has_delete
            ? tactus_batch_delete(load->batch, load->session.tree, key, key_size)
            : tactus_batch_put(load->batch, load->session.tree, key, key_size, value, value_size);
    if (code == TACTUS_EBATCHSIZE && load->batch_lines > 0) {
        int status = batch_commit(load);

        return status != TAC_EXIT_OK ? status : record_add(load, key, key_size, value, value_size);
    }
    if (code != TACTUS_OK) {
        const char *advice = tac_code_advice(code);

        return line_fail(load, tactus_message(), advice == NULL ? "" : advice);
    }
    load->batch_lines++;
    load->batch_bytes += key_size + value_size + TACTUS_RECORD_OVERHEAD_BYTES;
    return load->batch_bytes >= BATCH_BYTES ? batch_commit(load) : TAC_EXIT_OK;
}

/* One line of a run at a time: the next one may move the buffer. */
static void run_record_set(struct load *load, const char *key, size_t key_size, const char *value,
                           size_t value_size)
{
    load->batch_lines++;
    load->record = (struct tactus_run_record){
        .key = key,
        .key_size = key_size,
        .value = value,
        .value_size = value_size,
        .is_tombstone = load->arguments->has_delete,
    };
}

static int line_add(struct load *load, char *line, size_t size)
{
    char  *tab = memchr(line, '\t', size);
    size_t key_size = tab == NULL ? size : (size_t)(tab - line);
    char  *value = tab == NULL ? line + size : tab + 1;
    size_t value_size = size - (size_t)(value - line);
    int    status;

    tac_assert(key_size + value_size <= size);
    if (tab == NULL && !load->arguments->has_delete) {
        return line_fail(load, "there is no tab between key and value",
                         "A line is key, tab, value; with --delete the key alone will do.");
    }
    status = part_unescape(load, line, &key_size);
    if (status == TAC_EXIT_OK && !load->arguments->has_delete) {
        status = part_unescape(load, value, &value_size);
    }
    if (status == TAC_EXIT_OK && load->arguments->has_sorted) {
        run_record_set(load, line, key_size, value, value_size);
        return TAC_EXIT_OK;
    }
    return status != TAC_EXIT_OK ? status : record_add(load, line, key_size, value, value_size);
}

/* ---- a sorted run --------------------------------------------------------------------------- */

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct load *load = context;
    char        *line = NULL;
    size_t       size;

    load->run_status = line_next(load, &line, &size);
    if (load->run_status == TAC_EXIT_OK && line != NULL) {
        load->run_status = line_add(load, line, size);
    }
    if (load->run_status != TAC_EXIT_OK || signal_taken != 0) {
        load->is_run_broken_off = true;
        return TACTUS_EINVAL;
    }
    *ret_records = &load->record;
    *ret_count = line != NULL;
    return TACTUS_OK;
}

static int run_load(struct load *load)
{
    int code = tactus_ingest(load->session.store, load->session.tree, run_read, load, NULL);

    if (load->is_run_broken_off) {
        return load->run_status;
    }
    if (code != TACTUS_OK) {
        int status = tac_fail_code(code);

        return code == TACTUS_EINVAL ? TAC_EXIT_INPUT : status;
    }
    load->loaded = load->batch_lines;
    return TAC_EXIT_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int lines_load(struct load *load)
{
    int status = TAC_EXIT_OK;

    while (status == TAC_EXIT_OK) {
        char  *line;
        size_t size;

        status = line_next(load, &line, &size);
        if (status != TAC_EXIT_OK || line == NULL) {
            break;
        }
        status = line_add(load, line, size);
    }
    load->has_progress = load->has_progress && status == TAC_EXIT_OK; /* The message stays last */
    if (load->batch_lines > 0) { /* After a bad line, too: those before it are good */
        int commit_status = batch_commit(load);

        status = status == TAC_EXIT_OK ? commit_status : status;
    }
    return status;
}

static int statistics_print(struct load *load)
{
    struct tactus_stats stats;
    int                 code = tactus_drain(load->session.store);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tactus_stat(load->session.store, &stats);
    printf("{\n\"loaded_records\": %" PRIu64 ",\n\"loaded_seconds\": %.3f,\n", load->loaded,
           seconds_since(load->start_ns));
    tac_stats_members_print(stdout, &stats);
    printf("}\n");
    return TAC_EXIT_OK;
}

static int input_open(struct load *load)
{
    const struct tac_arguments *arguments = load->arguments;

    load->input_fd = STDIN_FILENO;
    load->input_name = "standard input";
    if (arguments->operand_count == 1 && strcmp(arguments->operands[0], "-") != 0) {
        load->input_name = arguments->operands[0];
        load->input_fd = open(load->input_name, O_RDONLY | O_CLOEXEC);
        if (load->input_fd < 0) {
            return tac_fail(TAC_EXIT_FAILED, "cannot open %s: %s\n  Nothing was loaded.",
                            load->input_name, strerror(errno));
        }
    }
    load->buffer = malloc(BUFFER_BYTES);
    return load->buffer == NULL ? tac_fail(TAC_EXIT_FAILED, "out of memory") : TAC_EXIT_OK;
}

/* Without SA_RESTART: a read that waits for a terminal or a pipe has to return. A second signal
 * ends the command at once. */
static void signals_take(void)
{
    struct sigaction action = {.sa_handler = signal_take, .sa_flags = (int)SA_RESETHAND};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int result = sigaction(signals[i], &action, NULL);

        tac_assert(result == 0);
    }
}

/* With the store open. */
static int load_run(struct load *load)
{
    int code = tactus_batch_new(load->session.store, &load->batch);
    int status;

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    signals_take();
    load->start_ns = tac_now_ns();
    /* Statistics wait for a run's end. */
    load->has_progress = isatty(STDERR_FILENO) != 0 && !load->arguments->has_sorted;
    status = load->arguments->has_sorted ? run_load(load) : lines_load(load);
    if (status == TAC_EXIT_OK && signal_taken == 0 && load->arguments->has_json) {
        status = statistics_print(load);
    }
    if (load->has_progress) {
        progress_print(load, "\n");
    }
    if (status != TAC_EXIT_OK || signal_taken != 0) {
        fprintf(stderr, "  %" PRIu64 " lines were loaded%s.\n", load->loaded,
                signal_taken != 0 ? " when a signal came" : "; none after them");
    }
    tactus_batch_free(load->batch);
    return status == TAC_EXIT_OK && signal_taken != 0 ? 128 + signal_taken : status;
}

int tac_cmd_load(struct tac_arguments *arguments)
{
    struct load load = {.arguments = arguments};
    int         status = input_open(&load);

    tac_assert(arguments->operand_count <= 1);
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, false, &load.session);
    }
    if (status == TAC_EXIT_OK) {
        status = tac_session_close(&load.session, load_run(&load));
    }
    free(load.buffer);
    if (load.input_fd > STDIN_FILENO) {
        close(load.input_fd);
    }
    return status;
}
