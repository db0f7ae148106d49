/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "tests/lib/child.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/tap.h"

/* Far more than any body takes, under a sanitizer too. */
#define CHILD_SECONDS_MAX 300

struct child_result {
    int  line;
    char message[TACTUS_MESSAGE_BYTES];
};

static struct child_result *own_result; /* In a child */

int child_skip(const char *reason)
{
    snprintf(own_result->message, sizeof own_result->message, "%s", reason);
    return CHILD_SKIPPED;
}

void *child_share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        tap_bail("cannot share memory");
    }
    return memory;
}

static _Noreturn void child_main(child_fn *body, const void *context, struct child_result *result)
{
    alarm(CHILD_SECONDS_MAX);
    own_result = result;
    result->line = CHILD_DIED;
    result->line = body(context);
    if (result->line != CHILD_SKIPPED) {
        snprintf(result->message, sizeof result->message, "%s", tactus_message());
    }
    _exit(0);
}

static int child_run(child_fn *body, const void *context, struct child_result *result)
{
    int   status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        child_main(body, context, result);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        tap_bail("cannot start a child");
    }
    return status;
}

bool child_check(child_fn *body, const void *context, const char *format, ...)
{
    struct child_result *result = child_share(sizeof *result);
    char                 text[256];
    char                 skipped[sizeof text + TACTUS_MESSAGE_BYTES + 2];
    va_list              arguments;
    int                  status = child_run(body, context, result);
    bool                 is_ok = result->line == 0 && status == 0;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (result->line == CHILD_SKIPPED) {
        snprintf(skipped, sizeof skipped, "%s: %s", text, result->message);
        tap_skip(skipped);
    } else if (!tap_ok(is_ok, "%s", text)) {
        tap_diag("line %d of the test, wait status 0x%x, last message: %s", result->line, status,
                 result->message);
    }
    munmap(result, sizeof *result);
    return is_ok;
}

int child_wait_status(child_fn *body, const void *context)
{
    struct child_result *result = child_share(sizeof *result);
    int                  status = child_run(body, context, result);

    if (result->line != 0 && status == 0) {
        fprintf(stderr, "# line %d of the test: %s\n", result->line, result->message);
        status = -1;
    }
    munmap(result, sizeof *result);
    return status;
}

/* ---- mounts --------------------------------------------------------------------------------- */

static bool text_write(const char *path, const char *text)
{
    ssize_t size = (ssize_t)strlen(text);
    int     fd = open(path, O_WRONLY | O_CLOEXEC);
    bool    is_written = fd >= 0 && write(fd, text, (size_t)size) == size;

    if (fd >= 0) {
        close(fd);
    }
    return is_written;
}

/* Who is not root makes a name space for users around it, and stays who it is. */
bool child_mounts_unshare(void)
{
    char user_map[64];
    char group_map[64];

    snprintf(user_map, sizeof user_map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(group_map, sizeof group_map, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !text_write("/proc/self/uid_map", user_map) ||
         !text_write("/proc/self/setgroups", "deny") ||
         !text_write("/proc/self/gid_map", group_map))) {
        return false;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

bool child_mount(const char *type, const char *directory, const char *options)
{
    return child_mounts_unshare() && mount("none", directory, type, 0, options) == 0;
}

/* ---- system call filters -------------------------------------------------------------------- */

bool child_filter_install(struct sock_filter *filter, size_t count)
{
    struct sock_fprog program = {.len = (unsigned short)count, .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool child_filter_deny(int number, int os_error)
{
    struct sock_filter filter[] = {
        FILTER_LOAD(nr),
        FILTER_SKIP_UNLESS((uint32_t)number, 1),
        FILTER_RETURN(SECCOMP_RET_ERRNO | (uint32_t)os_error),
        FILTER_RETURN(SECCOMP_RET_ALLOW),
    };

    return child_filter_install(filter, TAC_ARRAY_COUNT(filter));
}
