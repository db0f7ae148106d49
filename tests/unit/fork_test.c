/* SPDX-License-Identifier: Apache-2.0 */
/* A process forks with a store open: the child may do nothing with it, the parent goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "tactus.h"
#include "tests/lib/tap.h"

/* Never returns. The status tells the first call that did not say EFORKED. */
static void child_main(struct tactus *store, uint32_t tree, const char *path)
{
    struct tactus *again;

    if (tactus_put(store, tree, "b", 1, "2", 1) != TACTUS_EFORKED) {
        _exit(1);
    }
    if (tactus_drain(store) != TACTUS_EFORKED) {
        _exit(2);
    }
    if (tactus_open(path, NULL, &again) != TACTUS_ELOCKED) {
        _exit(3);
    }
    tactus_abandon(store);
    _exit(tactus_close(store) == TACTUS_EFORKED ? 0 : 4);
}

static void test_backend(enum tactus_backend backend, uint32_t threads, const char *name)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, 16, 100};
    struct tactus_options options;
    struct tactus        *store;
    const char           *directory = getenv("TMPDIR");
    char                  path[512], value[16];
    uint32_t              tree;
    size_t                size;
    int                   status = -1;
    pid_t                 child;

    snprintf(path, sizeof path, "%s/fork-%ld", directory != NULL ? directory : "/tmp",
             (long)getpid());
    tactus_options_init(&options);
    options.memtable_size = TAC_MIB;
    options.threads_read = options.threads_merge = options.threads_write = threads;
    options.backend = backend;
    if (tactus_create(path, &options) != TACTUS_OK ||
        tactus_open(path, &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, &tree) != TACTUS_OK ||
        tactus_put(store, tree, "a", 1, "1", 1) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    fflush(stdout);
    child = fork();
    if (child == 0) {
        child_main(store, tree, path);
    }
    tap_ok(child > 0 && waitpid(child, &status, 0) == child && status == 0,
           "%s: a child is refused everything", name);
    tap_diag("status %d", status);
    tap_ok(tactus_put(store, tree, "c", 1, "3", 1) == TACTUS_OK &&
               tactus_get(store, tree, "a", 1, value, sizeof value, &size) == TACTUS_OK &&
               tactus_close(store) == TACTUS_OK,
           "%s: the parent goes on and closes", name);
    (void)unlink(path);
}

int main(void)
{
    tap_plan(0);
    test_backend(TACTUS_BACKEND_POSIX, 0, "posix, no threads");
    test_backend(TACTUS_BACKEND_POSIX, 2, "posix, 2/2/2");
    test_backend(TACTUS_BACKEND_AUTO, 2, "2/2/2");
    return tap_done();
}
