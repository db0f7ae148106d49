/* SPDX-License-Identifier: Apache-2.0 */
/* child -- checks whose body runs in a process of its own.
 *
 * Whatever changes a process for good (limits, system call filters, mounts, identity) or ends it
 * happens in a child, and the parent says what came of it. */
#ifndef TACTUS_TESTS_LIB_CHILD_H
#define TACTUS_TESTS_LIB_CHILD_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a body returns: 0, the number of the line that failed, or what child_skip returns. */
#define CHILD_SKIPPED (-1)
#define CHILD_DIED (-2) /* It returned nothing */
typedef int child_fn(const void *context);

/* In a body. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return __LINE__;                                                                       \
        }                                                                                          \
    } while (0)

/* Runs the body in a child and makes one check of its result. A child that hangs is ended, and has
 * failed. What the engine said last is printed with a failure. */
bool child_check(child_fn *body, const void *context, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For bodies: what they check cannot be done here, and why. */
int child_skip(const char *reason);

/* For bodies: a part of the body that must be in a process of its own again. Returns the wait
 * status. */
int child_wait_status(child_fn *body, const void *context);

/* Memory that a child shares with its parent; zeroed. Never NULL. */
void *child_share(size_t size);

/* For bodies: a file system of this type over the directory, a name space of its own around it: it
 * goes with the process, however that ends. False: not possible here. */
bool child_mount(const char *type, const char *directory, const char *options);
/* Only the name space. */
bool child_mounts_unshare(void);

/* For bodies: a filter of system calls, until the process ends. False: not possible here. */
bool child_filter_install(struct sock_filter *filter, size_t count);
/* The system call of this number fails with the errno. */
bool child_filter_deny(int number, int os_error);

#define FILTER_LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define FILTER_SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define FILTER_RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))

#endif
