/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/run.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/command.h"

#define LOOK_NS 5000000
#define PROGRESS_NS (10 * (uint64_t)TAC_SECOND_NS)
/* Ten minutes: a thread that is as long in one call is stuck. */
#define STUCK_NS (600 * (uint64_t)TAC_SECOND_NS)
#define LIFE_SALT 0x2545f4914f6cdd1du
#define VERIFY_ONE_IN 4
#define EARLY_KILL_ONE_IN 5
#define SHORT_LIFE_ONE_IN 4

struct run {
    struct tac_stress_settings *settings;
    struct tac_stress_world     world;
    struct tac_stress_ledger    ledger;
    struct tac_stress_snapshots snapshots;
    struct tac_stress_board    *board;
    struct tac_prng             prng; /* Draws the lives */
    uint64_t                    begin_ns, end_ns, progress_ns;
    uint64_t                    lives;
    char                        shape_text[TAC_STRESS_OPTIONS_BYTES]; /* What was drawn of it */
    /* Of the life under way. */
    struct tac_stress_life life;
    pid_t                  process;
    uint64_t               fork_ns;
    uint64_t               kill_ns;       /* So long after the work's begin … */
    bool                   is_kill_early; /* … or the fork */
    bool                   is_killed;
};

static volatile sig_atomic_t is_interrupted;

static void interrupt_note(int number)
{
    (void)number;
    is_interrupted = 1;
}

/* ---- options -------------------------------------------------------------------------------- */

struct choice {
    const char *name;
    const char *values[6]; /* NULL after the last */
};

/* Of all runs. */
static const struct choice defaults[] = {
    {"block_size", {"8KiB"}},   {"page_size", {"1KiB"}},       {"table_size", {"64KiB"}},
    {"slice_size", {"128KiB"}}, {"page_cache_size", {"1MiB"}}, {"index_cache_size", {"1MiB"}},
};

/* Drawn when the store is made. */
static const struct choice shapes[] = {
    {"memtable_size", {"256KiB", "512KiB", "1MiB"}},
    {"runs_per_level", {"1", "2", "4", "8"}},
    {"last_ratio", {"1", "2", "4"}},
    {"beats_per_bar", {"16", "32", "64"}},
    {"checkpoint_interval_bars", {"1", "2", "4"}},
    {"filter_bits_per_key", {"0", "10"}},
};

/* Drawn for each life but the first and the last. */
static const struct choice freedoms[] = {
    {"threads", {"0", "3", "4", "8", "16", "40"}},
    {"backend", {"auto", "posix"}},
    {"direct_io", {"true", "false"}},
    {"ring_size", {"2", "16", "256"}},
    {"io_depth", {"1", "4", "16"}},
    {"assist", {"true", "false"}},
    {"page_cache_size", {"64KiB", "1MiB", "8MiB"}},
    {"index_cache_size", {"64KiB", "1MiB", "8MiB"}},
    {"level0_cache_size", {"0", "2MiB"}},
    {"log", {"none", "interval", "sync"}},
    {"log_interval_ms", {"1", "30"}},
    {"scrub_days", {"0", "1"}},
    {"io_rate_max_bytes", {"0", "0", "100MiB"}},
    {"io_priority", {"normal", "low", "idle"}},
    {"cache_size_max", {"0", "16MiB"}},
};

int tac_stress_options_init(struct tactus_options *options)
{
    int code = TACTUS_OK;

    tactus_options_init(options);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(defaults) && code == TACTUS_OK; i++) {
        code = tactus_options_set(options, defaults[i].name, defaults[i].values[0]);
    }
    return code;
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* How many threads there are is one choice, and the caches' sizes are part of memory_size. */
static bool is_given(const struct tac_stress_settings *settings, const char *name)
{
    for (uint32_t i = 0; i < settings->given_count; i++) {
        const char *given = settings->given[i];

        if (strcmp(given, name) == 0 ||
            (strcmp(name, "threads") == 0 && begins_with(given, "threads_") &&
             strcmp(given, "threads_priority") != 0) ||
            (strcmp(given, "memory_size") == 0 && strstr(name, "cache_size") != NULL)) {
            return true;
        }
    }
    return false;
}

/* Adds what it has drawn to the text. */
static int choices_draw(struct run *run, const struct choice *choices, size_t count,
                        struct tactus_options *options, char *text)
{
    int code = TACTUS_OK;

    for (size_t i = 0; i < count && code == TACTUS_OK; i++) {
        const struct choice *choice = &choices[i];
        size_t               used = strlen(text), values = 0;
        const char          *value;

        while (values < TAC_ARRAY_COUNT(choice->values) && choice->values[values] != NULL) {
            values++;
        }
        value = choice->values[tac_prng_below(&run->prng, values)];
        if (!is_given(run->settings, choice->name)) {
            code = tactus_options_set(options, choice->name, value);
            snprintf(text + used, TAC_STRESS_OPTIONS_BYTES - used, "%s%s=%s", used > 0 ? ", " : "",
                     choice->name, value);
        }
    }
    return code;
}

/* ---- the store ------------------------------------------------------------------------------ */

static void store_remove(const char *path)
{
    char log[PATH_MAX + 8];

    snprintf(log, sizeof log, "%s-wal", path);
    (void)unlink(path);
    (void)unlink(log);
}

static void files_remove(const struct tac_stress_settings *settings)
{
    store_remove(settings->path);
    for (uint32_t i = 0; i < settings->counts[TAC_STRESS_NEIGHBOUR]; i++) {
        char path[PATH_MAX];

        tac_stress_neighbour_path(settings->path, i, path);
        store_remove(path);
    }
}

static int path_check(const char *path, const char *end)
{
    char whole[PATH_MAX + 16];

    snprintf(whole, sizeof whole, "%s%s", path, end);
    return access(whole, F_OK) != 0
               ? TAC_EXIT_OK
               : tac_fail(TAC_EXIT_FAILED, "%s exists\n  Choose another path for the store.",
                          whole);
}

/* What the run would write over, or take away at its end. */
static int paths_check(const struct tac_stress_settings *settings)
{
    static const char *const ends[] = {"-wal", ".damaged", ".damaged-wal"};
    int                      status = TAC_EXIT_OK;

    if (strlen(settings->path) + sizeof ".neighbour-0-wal" > PATH_MAX) {
        return tac_fail(TAC_EXIT_USAGE, "the path is too long");
    }
    for (size_t i = 0; i < TAC_ARRAY_COUNT(ends) && status == TAC_EXIT_OK; i++) {
        status = path_check(settings->path, ends[i]);
    }
    for (uint32_t i = 0; i < settings->counts[TAC_STRESS_NEIGHBOUR] && status == TAC_EXIT_OK; i++) {
        char path[PATH_MAX];

        tac_stress_neighbour_path(settings->path, i, path);
        status = path_check(path, "");
        if (status == TAC_EXIT_OK) {
            status = path_check(path, "-wal");
        }
    }
    return status;
}

/* Empty, and durable. What cannot be right in the options is found here. */
static int trees_make(const struct tac_stress_settings *settings)
{
    struct tac_stress_scene scene = {0};
    int                     status = TAC_EXIT_OK;
    int                     code = tactus_open(settings->path, &settings->options, &scene.store);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    code = tac_stress_trees_create(&scene);
    if (code != TACTUS_OK) {
        status = tac_fail_code(code);
    }
    code = tactus_close(scene.store);
    return code != TACTUS_OK && status == TAC_EXIT_OK ? tac_fail_code(code) : status;
}

static int store_make(const struct tac_stress_settings *settings)
{
    int status = paths_check(settings);
    int code;

    if (status != TAC_EXIT_OK) {
        return status;
    }
    code = tactus_create(settings->path, &settings->options);
    if (code != TACTUS_OK) {
        return tac_fail_create(code);
    }
    status = trees_make(settings);
    if (status != TAC_EXIT_OK) {
        files_remove(settings);
    }
    return status;
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* Most that is delicate happens at the beginning: one life of four is short. */
static uint64_t length_draw(struct run *run, uint64_t seconds)
{
    uint64_t most_ns = 2 * seconds * TAC_SECOND_NS;
    uint64_t length_ns = 1 + tac_prng_below(&run->prng, most_ns);
    uint64_t shift = tac_prng_below(&run->prng, 12);

    return tac_prng_below(&run->prng, SHORT_LIFE_ONE_IN) == 0 ? length_ns >> shift : length_ns;
}

static void end_draw(struct run *run)
{
    const struct tac_stress_settings *settings = run->settings;
    bool                              is_kill = settings->crash_seconds > 0 &&
                   (settings->reopen_seconds == 0 || tac_prng_below(&run->prng, 4) > 0);
    bool     is_abandon = tac_prng_below(&run->prng, 3) == 0;
    uint64_t seconds = is_kill ? settings->crash_seconds : settings->reopen_seconds;
    uint64_t length_ns = seconds > 0 ? length_draw(run, seconds) : UINT64_MAX;

    run->is_kill_early = tac_prng_below(&run->prng, EARLY_KILL_ONE_IN) == 0;
    run->kill_ns = length_ns;
    if (is_kill && run->is_kill_early) {
        run->kill_ns = tac_prng_below(&run->prng, TAC_SECOND_NS / 4);
    }
    run->life.work_ns = is_kill ? UINT64_MAX : length_ns;
    run->life.end = is_kill                     ? TAC_STRESS_END_KILL
                    : is_abandon && seconds > 0 ? TAC_STRESS_END_ABANDON
                                                : TAC_STRESS_END_CLOSE;
}

static void life_begin(struct run *run)
{
    run->life = (struct tac_stress_life){
        .path = run->settings->path,
        .options = run->settings->options,
        .seed = tac_mix_u64(run->settings->seed ^ LIFE_SALT) + (run->lives << 20),
        .counts = run->settings->counts,
        .scene = {.world = &run->world,
                  .ledger = &run->ledger,
                  .board = run->board,
                  .snapshots = &run->snapshots},
    };
    run->life.scene.has_size_limit = is_given(run->settings, "file_size_max");
    run->life.scene.keeps_caches =
        is_given(run->settings, "page_cache_size") || is_given(run->settings, "index_cache_size");
}

static int life_draw(struct run *run)
{
    int code = TACTUS_OK;

    life_begin(run);
    end_draw(run);
    run->life.verifies = tac_prng_below(&run->prng, VERIFY_ONE_IN) == 0;
    if (run->lives > 0) {
        code = choices_draw(run, freedoms, TAC_ARRAY_COUNT(freedoms), &run->life.options,
                            run->life.options_text);
    }
    run->life.work_ns =
        tac_min_u64(run->life.work_ns, tac_subtract_floor_zero(run->end_ns, tac_clock_now_ns()));
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* ---- the supervisor ------------------------------------------------------------------------- */

static const char *phase_name(enum tac_stress_phase phase)
{
    static const char *const names[TAC_STRESS_PHASES] = {"opening", "comparing", "working",
                                                         "closing"};

    return names[phase];
}

static void progress_print(struct run *run, uint64_t now_ns)
{
    const struct tac_stress_board *board = run->board;

    if (run->settings->is_quiet || now_ns < run->progress_ns) {
        return;
    }
    run->progress_ns += PROGRESS_NS;
    fprintf(stderr,
            "%6" PRIu64 " s: %" PRIu64 " records written, %" PRIu64 " gets, %" PRIu64
            " records scanned, %" PRIu64 " opens, %" PRIu64 " kills; longest write %.1f ms; %s\n",
            (now_ns - run->begin_ns) / TAC_SECOND_NS,
            tac_stress_count_of(board, TAC_STRESS_COUNT_records_written),
            tac_stress_count_of(board, TAC_STRESS_COUNT_gets) +
                tac_stress_count_of(board, TAC_STRESS_COUNT_pinned_gets) +
                tac_stress_count_of(board, TAC_STRESS_COUNT_many_gets),
            tac_stress_count_of(board, TAC_STRESS_COUNT_records_scanned),
            tac_stress_count_of(board, TAC_STRESS_COUNT_opens),
            tac_stress_count_of(board, TAC_STRESS_COUNT_kills) +
                tac_stress_count_of(board, TAC_STRESS_COUNT_kills_early),
            (double)tac_stress_longest_write_ns(board) / 1e6, phase_name(board->phase));
}

static bool is_kill_due(const struct run *run, uint64_t now_ns)
{
    uint64_t work_begin_ns = tac_atomic_load_acquire_u64(&run->board->work_begin_ns);

    if (run->life.end != TAC_STRESS_END_KILL || run->is_killed) {
        return false;
    }
    if (run->is_kill_early) {
        return now_ns - run->fork_ns >= run->kill_ns;
    }
    return work_begin_ns != 0 && (now_ns - work_begin_ns >= run->kill_ns || now_ns >= run->end_ns);
}

static void process_kill(struct run *run)
{
    bool is_early = tac_atomic_load_acquire_u64(&run->board->work_begin_ns) == 0;

    run->is_killed = true;
    kill(run->process, SIGKILL);
    tac_stress_count_add(&run->board->rows[TAC_STRESS_ROW_SUPERVISOR],
                         is_early ? TAC_STRESS_COUNT_kills_early : TAC_STRESS_COUNT_kills, 1);
}

/* The name of a row's owner. */
static const char *row_name(const struct run *run, uint32_t row)
{
    uint32_t first = TAC_STRESS_ROW_WORKERS;

    for (uint32_t role = 0; role < TAC_STRESS_ROLES; role++) {
        first += run->settings->counts[role];
        if (row >= TAC_STRESS_ROW_WORKERS && row < first) {
            return tac_stress_roles[role].name;
        }
    }
    return "the process";
}

/* An abort leaves a core where there can be one. */
static void stuck_check(struct run *run, uint64_t now_ns)
{
    for (uint32_t i = TAC_STRESS_ROW_MAIN; i < run->board->row_count && !run->is_killed; i++) {
        uint64_t step_ns = tac_atomic_load_acquire_u64(&run->board->rows[i].step_ns);

        if (step_ns != 0 && now_ns > step_ns && now_ns - step_ns > STUCK_NS) {
            tac_stress_violation(run->board, "%s has been in one call for %" PRIu64 " s, %s",
                                 row_name(run, i), (now_ns - step_ns) / TAC_SECOND_NS,
                                 phase_name(run->board->phase));
            run->is_killed = true;
            kill(run->process, SIGABRT);
        }
    }
}

static void process_end_check(struct run *run, int status)
{
    const char *phase = phase_name(run->board->phase);

    if (run->is_killed || (WIFEXITED(status) && WEXITSTATUS(status) == TAC_EXIT_OK)) {
        return;
    }
    if (WIFSIGNALED(status)) {
        tac_stress_violation(run->board, "the process died of signal %d (%s), %s", WTERMSIG(status),
                             strsignal(WTERMSIG(status)), phase);
    } else if (run->board->violations == 0) {
        tac_stress_violation(run->board, "the process ended with status %d, %s",
                             WEXITSTATUS(status), phase);
    }
}

static void process_watch(struct run *run)
{
    const struct timespec nap = {0, LOOK_NS};
    int                   status = 0;

    while (waitpid(run->process, &status, WNOHANG) == 0) {
        uint64_t now_ns = tac_clock_now_ns();

        if (is_interrupted != 0) {
            tac_atomic_store_release_u32(&run->board->stop, 1);
        } else if (is_kill_due(run, now_ns)) {
            process_kill(run);
        }
        stuck_check(run, now_ns);
        progress_print(run, now_ns);
        nanosleep(&nap, NULL);
    }
    process_end_check(run, status);
}

/* Ended by the supervisor's end, and by nothing that is meant for it. */
static _Noreturn void process_main(struct run *run, pid_t supervisor)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (getppid() != supervisor) {
        exit(TAC_EXIT_FAILED);
    }
    exit(tac_stress_life_live(&run->life));
}

static int life_run(struct run *run)
{
    struct tac_stress_board *board = run->board;
    pid_t                    supervisor = getpid();

    board->stop = 0;
    board->phase = TAC_STRESS_OPENING;
    board->work_begin_ns = 0;
    for (uint32_t i = 0; i < board->row_count; i++) {
        board->rows[i].step_ns = 0;
    }
    run->is_killed = false;
    run->fork_ns = tac_clock_now_ns();
    fflush(stdout);
    fflush(stderr);
    run->process = fork();
    if (run->process < 0) {
        return tac_fail(TAC_EXIT_FAILED, "the system gives no process: %s", strerror(errno));
    }
    if (run->process == 0) {
        process_main(run, supervisor);
    }
    process_watch(run);
    run->lives++;
    return TAC_EXIT_OK;
}

/* ---- a whole run ---------------------------------------------------------------------------- */

static bool is_over(const struct run *run)
{
    return run->board->violations > 0 || is_interrupted != 0 || tac_clock_now_ns() >= run->end_ns;
}

static int lives_run(struct run *run)
{
    int status = TAC_EXIT_OK;

    while (status == TAC_EXIT_OK && !is_over(run)) {
        status = life_draw(run);
        if (status == TAC_EXIT_OK) {
            status = life_run(run);
        }
        if (status == TAC_EXIT_OK && run->settings->has_damage && run->board->violations == 0 &&
            run->life.end == TAC_STRESS_END_CLOSE && is_interrupted == 0) {
            run->life.end = TAC_STRESS_END_DAMAGE;
            status = life_run(run);
        }
    }
    if (status == TAC_EXIT_OK && run->board->violations == 0) {
        life_begin(run);
        run->life.end = TAC_STRESS_END_COMPARE;
        run->life.verifies = true;
        status = life_run(run);
    }
    return status;
}

static void signals_take(void)
{
    struct sigaction action = {.sa_handler = interrupt_note};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool memory_make(struct run *run)
{
    const uint32_t *counts = run->settings->counts;
    uint32_t        workers = 0;

    for (uint32_t role = 0; role < TAC_STRESS_ROLES; role++) {
        workers += counts[role];
    }
    run->board = tac_stress_board_new(TAC_STRESS_ROW_WORKERS + workers);
    return run->board != NULL &&
           tac_stress_world_init(&run->world, run->settings->seed, (uint32_t)run->settings->keys) &&
           tac_stress_ledger_init(&run->ledger, &run->world,
                                  counts[TAC_STRESS_WRITER] + counts[TAC_STRESS_INGESTER]) &&
           tac_stress_snapshots_init(&run->snapshots, &run->world,
                                     counts[TAC_STRESS_SNAPSHOTTER] * TAC_STRESS_SNAPSHOTS_EACH);
}

static int lives_prepare(struct run *run)
{
    int code = choices_draw(run, shapes, TAC_ARRAY_COUNT(shapes), &run->settings->options,
                            run->shape_text);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    if (!memory_make(run)) {
        return tac_fail(TAC_EXIT_FAILED,
                        "out of memory for %" PRIu64 " keys\n  Choose fewer with --keys.",
                        run->settings->keys);
    }
    return store_make(run->settings);
}

int tac_stress_run(struct tac_stress_settings *settings, struct tac_stress_result *ret_result)
{
    struct run *run = calloc(1, sizeof *run);
    int         status;

    *ret_result = (struct tac_stress_result){0};
    if (run == NULL) {
        return tac_fail(TAC_EXIT_FAILED, "out of memory");
    }
    run->settings = settings;
    run->prng.state = tac_mix_u64(settings->seed);
    status = lives_prepare(run);
    if (status == TAC_EXIT_OK) {
        signals_take();
        run->begin_ns = tac_clock_now_ns();
        run->end_ns = run->begin_ns + settings->seconds * TAC_SECOND_NS;
        run->progress_ns = run->begin_ns + PROGRESS_NS;
        status = lives_run(run);
        if (run->board->violations == 0 && !settings->is_kept) {
            files_remove(settings);
        }
        ret_result->seconds = (double)(tac_clock_now_ns() - run->begin_ns) / 1e9;
    }
    ret_result->board = run->board;
    ret_result->lives = run->lives;
    ret_result->is_interrupted = is_interrupted != 0;
    memcpy(ret_result->shape_text, run->shape_text, sizeof ret_result->shape_text);
    memcpy(ret_result->options_text, run->life.options_text, sizeof ret_result->options_text);
    tac_stress_snapshots_destroy(&run->snapshots);
    tac_stress_ledger_destroy(&run->ledger);
    tac_stress_world_destroy(&run->world);
    free(run);
    return status;
}
