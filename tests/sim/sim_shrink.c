/* SPDX-License-Identifier: Apache-2.0 */
/* sim_shrink -- runs in child processes, so that an assertion, a crash or a hang is a failure like
 * any other, and what makes a failing list short. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/store_sim.h"

/* Of one try to do without some ops: a list that hangs is short soon enough. */
#define TRY_SECONDS_MAX 4
#define FAILURE_LETTERS 30

struct sim_report *sim_report_new(void)
{
    struct sim_report *report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    tac_assert(report != MAP_FAILED);
    return report;
}

bool sim_run_child(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                   struct sim_report *report, FILE *log, uint32_t seconds_max)
{
    bool  is_quiet = log == NULL;
    int   status = 0;
    pid_t child;

    report->message[0] = 0;
    fflush(NULL);
    child = fork();
    tac_assert(child >= 0);
    if (child == 0) {
        alarm(seconds_max);
        /* While a list is made short, its hundred deaths are of no interest. */
        if (is_quiet && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(2);
        }
        sim_run(world, ops, keep, report, log);
        exit(0);
    }
    while (waitpid(child, &status, 0) < 0) {
        tac_assert(errno == EINTR);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    if (report->message[0] == 0) {
        snprintf(report->message, sizeof report->message, "ended by signal %d, exit status %d%s",
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                 WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it takes too long" : "");
    }
    return false;
}

/* A twin leaves the same file under another schedule. */
static bool twin_run(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                     struct sim_report *report, uint32_t seconds_max)
{
    struct sim_world twin = *world;
    struct tac_u128  file_sum = report->file_sum;

    sim_world_twist(&twin, world->seed + 1);
    if (!sim_run_child(&twin, ops, keep, report, NULL, seconds_max)) {
        return false;
    }
    report->marks.count[MARK_TWIN]++;
    if (!tac_u128_equal(file_sum, report->file_sum)) {
        snprintf(report->message, sizeof report->message,
                 "the same ops leave another file under another schedule");
        return false;
    }
    return true;
}

bool sim_run_whole(const struct sim_world *world, const struct sim_op *ops, const bool *keep,
                   struct sim_report *report, FILE *log, uint32_t seconds_max)
{
    return sim_run_child(world, ops, keep, report, log, seconds_max) &&
           (!world->is_twin || twin_run(world, ops, keep, report, seconds_max));
}

static uint64_t now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* The same failure, as far as its text tells without numbers: another one is for another day. */
static bool is_same_failure(const char *a, const char *b)
{
    for (uint32_t letters = 0; letters < FAILURE_LETTERS; letters++) {
        while (*a != 0 && !isalpha((unsigned char)*a)) {
            a++;
        }
        while (*b != 0 && !isalpha((unsigned char)*b)) {
            b++;
        }
        if (*a != *b) {
            return false;
        }
        if (*a == 0) {
            return true;
        }
        a++;
        b++;
    }
    return true;
}

/* Leaves out [begin, end) of what is kept, if it still fails without. */
static bool part_try(const struct sim_world *world, const struct sim_op *ops, bool *keep,
                     const uint32_t *kept, uint32_t begin, uint32_t end, struct sim_report *report,
                     const char *failure)
{
    for (uint32_t i = begin; i < end; i++) {
        keep[kept[i]] = false;
    }
    if (!sim_run_whole(world, ops, keep, report, NULL, TRY_SECONDS_MAX) &&
        is_same_failure(report->message, failure)) {
        return true;
    }
    for (uint32_t i = begin; i < end; i++) {
        keep[kept[i]] = true;
    }
    return false;
}

void sim_shrink(const struct sim_world *world, const struct sim_op *ops, bool *keep,
                struct sim_report *report, uint32_t seconds_max)
{
    uint32_t *kept = calloc(world->op_count, sizeof *kept);
    uint64_t  end_seconds = now_seconds() + seconds_max;
    uint32_t  part = world->op_count;
    char      failure[SIM_MESSAGE_BYTES];

    tac_assert(kept != NULL);
    memcpy(failure, report->message, sizeof failure);
    while (part > 1) {
        bool     has_shrunk = false;
        uint32_t count = 0;

        part = part > 4 ? part / 4 : 1;
        do {
            has_shrunk = false;
            count = 0;
            for (uint32_t i = 0; i < world->op_count; i++) {
                if (keep[i]) {
                    kept[count++] = i;
                }
            }
            /* From the end: what comes after the failure goes at once. */
            for (uint32_t end = count; end > 0 && now_seconds() < end_seconds;
                 end -= end < part ? end : part) {
                uint32_t begin = end < part ? 0 : end - part;

                has_shrunk |= part_try(world, ops, keep, kept, begin, end, report, failure);
            }
        } while (has_shrunk && part == 1 && now_seconds() < end_seconds);
    }
    free(kept);
}

bool sim_keep_parse(const char *text, bool *keep, uint32_t count)
{
    memset(keep, 0, count * sizeof *keep);
    while (*text != 0) {
        char         *end;
        unsigned long first = strtoul(text, &end, 10);
        unsigned long last = first;

        if (end == text) {
            return false;
        }
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
        }
        if (last >= count || first > last || (*end != 0 && *end != ',')) {
            return false;
        }
        for (unsigned long i = first; i <= last; i++) {
            keep[i] = true;
        }
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

void sim_keep_print(const bool *keep, uint32_t count, FILE *file)
{
    const char *comma = "";

    for (uint32_t i = 0; i < count; i++) {
        uint32_t last = i;

        if (!keep[i]) {
            continue;
        }
        while (last + 1 < count && keep[last + 1]) {
            last++;
        }
        fprintf(file, last > i ? "%s%u-%u" : "%s%u", comma, i, last);
        comma = ",";
        i = last;
    }
}
