/* SPDX-License-Identifier: Apache-2.0 */
/* A process is killed in tactus_create, before and after each of its system calls: at the path there
 * is then either nothing, and a create makes a store, or a whole store. Once with files that have no
 * name before they are whole, and once where the file system has neither those nor renames that
 * replace nothing. */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "tests/lib/child.h"
#include "tests/lib/sequence.h"
#include "tests/lib/tap.h"

#define STOPS_MAX 1000 /* Far more than a create has */

struct mode {
    const char *name;
    bool        has_no_unnamed; /* O_TMPFILE, and renameat2 too, are refused */
    bool        may_leave;      /* A file under another name */
};

static char directory[256], path[300];

/* ---- refusals ------------------------------------------------------------------------------- */

/* O_TMPFILE as where the file system does not know it, and renameat2. */
static bool unnamed_refuse(void)
{
    struct sock_filter filter[] = {
        FILTER_LOAD(nr),
        FILTER_SKIP_UNLESS(__NR_openat, 4),
        FILTER_LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        FILTER_RETURN(SECCOMP_RET_ERRNO | EOPNOTSUPP),
        FILTER_RETURN(SECCOMP_RET_ALLOW),
        FILTER_SKIP_UNLESS(__NR_renameat2, 1),
        FILTER_RETURN(SECCOMP_RET_ERRNO | EINVAL),
        FILTER_RETURN(SECCOMP_RET_ALLOW),
    };

    return child_filter_install(filter, TAC_ARRAY_COUNT(filter));
}

/* ---- what is there -------------------------------------------------------------------------- */

static uint32_t files_count(void)
{
    DIR           *listing = opendir(directory);
    struct dirent *entry;
    uint32_t       count = 0;

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return count;
}

static void files_remove(void)
{
    DIR           *listing = opendir(directory);
    struct dirent *entry;

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)unlinkat(dirfd(listing), entry->d_name, 0);
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
}

static void options_make(struct tactus_options *options)
{
    sequence_options(options, TACTUS_BACKEND_POSIX, 0);
}

/* A new store, which can be written to. */
static bool is_whole(void)
{
    struct tactus_options options;
    struct tactus        *store;
    bool                  is_right;

    options_make(&options);
    if (tactus_open(path, &options, &store) != TACTUS_OK) {
        tap_diag("open: %s", tactus_message());
        return false;
    }
    is_right = tactus_last_op(store) == 0 && sequence_run(store, 20) == TACTUS_OK &&
               sequence_is_held(store);
    tactus_abandon(store);
    return is_right;
}

/* ---- kills ---------------------------------------------------------------------------------- */

static _Noreturn void victim_main(const struct mode *mode)
{
    struct tactus_options options;

    options_make(&options);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0 ||
        (mode->has_no_unnamed && !unnamed_refuse())) {
        _exit(2);
    }
    _exit(tactus_create(path, &options) == TACTUS_OK ? 0 : 1);
}

/* Kills a create at a stop: each system call has two. Returns the wait status. */
static int create_kill(const struct mode *mode, uint32_t stop)
{
    pid_t child;
    int   status = -1;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        victim_main(mode);
    }
    (void)waitpid(child, &status, 0);
    for (uint32_t i = 0; i < stop && WIFSTOPPED(status); i++) {
        (void)ptrace(PTRACE_SYSCALL, child, NULL, NULL);
        (void)waitpid(child, &status, 0);
    }
    if (WIFSTOPPED(status)) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, &status, 0);
    }
    return status;
}

/* What a kill has left. *ret_has_store: of the two. */
static bool rest_is_right(const struct mode *mode, bool *ret_has_store)
{
    struct tactus_options options;
    bool                  has_store = access(path, F_OK) == 0;

    options_make(&options);
    *ret_has_store = has_store;
    if (has_store && tactus_create(path, &options) != TACTUS_EEXISTS) {
        return false;
    }
    if (!has_store && tactus_create(path, &options) != TACTUS_OK) {
        tap_diag("create: %s", tactus_message());
        return false;
    }
    return is_whole() && (mode->may_leave || files_count() == 1);
}

static int child_kills(const void *context)
{
    const struct mode *mode = context;
    uint32_t           stops = 0, stores = 0;
    int                status = 0;
    bool               has_store;

    while (stops < STOPS_MAX && !WIFEXITED(status = create_kill(mode, stops))) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK(rest_is_right(mode, &has_store));
        CHECK(has_store || stores == 0); /* Once it is there it is there. */
        stores += has_store;
        files_remove();
        stops++;
    }
    if (stops == 0) {
        return child_skip("a process cannot be traced here");
    }
    if (WEXITSTATUS(status) == 2) {
        return child_skip("no filter of system calls here");
    }
    CHECK(WEXITSTATUS(status) == 0 && files_count() == 1 && is_whole());
    CHECK(stops > 20 && stores > 0 && stores < stops);
    files_remove();
    return 0;
}

/* ---- beside each other ---------------------------------------------------------------------- */

#define CREATORS 4

/* Of several creates of one path one makes the store, the others leave nothing. */
static int child_race(const void *context)
{
    const struct mode *mode = context;
    pid_t              children[CREATORS];
    uint32_t           made = 0;

    if (mode->has_no_unnamed && !unnamed_refuse()) {
        return child_skip("no filter of system calls here");
    }
    for (uint32_t i = 0; i < CREATORS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct tactus_options options;
            int                   code;

            options_make(&options);
            code = tactus_create(path, &options);
            _exit(code == TACTUS_OK ? 0 : code == TACTUS_EEXISTS ? 1 : 2);
        }
    }
    for (uint32_t i = 0; i < CREATORS; i++) {
        int status = -1;

        (void)waitpid(children[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        made += WEXITSTATUS(status) == 0;
    }
    CHECK(made == 1 && files_count() == 1 && is_whole());
    files_remove();
    return 0;
}

int main(void)
{
    static const struct mode modes[] = {
        {"no name until it is whole", false, false},
        {"another name until it is whole", true, true},
    };
    const char *base = getenv("TMPDIR");

    tap_plan(0);
    snprintf(directory, sizeof directory, "%.200s/create-kill-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(directory) == NULL) {
        tap_bail("cannot make %s", directory);
    }
    snprintf(path, sizeof path, "%s/store", directory);
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(modes); i++) {
        child_check(child_kills, &modes[i], "%s: a kill anywhere leaves nothing or a store",
                    modes[i].name);
        files_remove();
        child_check(child_race, &modes[i], "%s: of several creates one makes it", modes[i].name);
        files_remove();
    }
    if (rmdir(directory) != 0) {
        tap_diag("%s is not empty", directory);
    }
    return tap_done();
}
