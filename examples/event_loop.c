/* SPDX-License-Identifier: Apache-2.0 */
/* event_loop -- a program of one thread, and a store that has none either: its background work is
 * done a step at a time, when there is nothing to read.
 *
 *   event_loop STORE OPTIONS
 *
 * Each line of standard input (put KEY VALUE, get KEY, del KEY) is answered by one on standard
 * output.
 *
 * A write that comes too far ahead of compaction does the work itself that is missing, so none has
 * to be tried again: one beat of work at most (tactus_stat tells wait_bound_bytes), and less, the
 * more is done between lines. Compare the counts that the program prints at its end. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tactus.h>

#define KEY_BYTES_MAX 64
#define VALUE_BYTES_MAX 512
#define INPUT_BYTES 16384

struct server {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       steps;
    char           input[INPUT_BYTES]; /* What has been read and not been answered */
    size_t         input_size;
};

static void check(int code)
{
    if (code != TACTUS_OK) {
        fprintf(stderr, "event_loop: %s\n", tactus_message());
        exit(1);
    }
}

static void system_check(bool is_done, const char *text)
{
    if (!is_done) {
        fprintf(stderr, "event_loop: %s: %s\n", text, strerror(errno));
        exit(1);
    }
}

static void line_answer(struct server *server, char *line)
{
    char       *rest;
    const char *command = strtok_r(line, " ", &rest);
    const char *key = command == NULL ? NULL : strtok_r(NULL, " ", &rest);
    const char *value = key == NULL ? NULL : strtok_r(NULL, "", &rest);
    char        found[VALUE_BYTES_MAX];
    size_t      size;
    int         code;

    if (value != NULL && strcmp(command, "put") == 0) {
        code = tactus_put(server->store, server->tree, key, strlen(key), value, strlen(value));
    } else if (key != NULL && value == NULL && strcmp(command, "del") == 0) {
        code = tactus_delete(server->store, server->tree, key, strlen(key));
    } else if (key != NULL && value == NULL && strcmp(command, "get") == 0) {
        code =
            tactus_get(server->store, server->tree, key, strlen(key), found, sizeof found, &size);
        if (code == TACTUS_OK) {
            printf("value %.*s\n", (int)(size < sizeof found ? size : sizeof found), found);
            return;
        }
        if (code == TACTUS_ENOTFOUND) {
            puts("none");
            return;
        }
    } else {
        puts("error: put KEY VALUE, get KEY or del KEY");
        return;
    }
    if (code == TACTUS_OK) {
        puts("ok");
    } else {
        printf("error: %s\n", tactus_message());
    }
}

/* Answers what whole lines there are. */
static void input_answer(struct server *server)
{
    char *end = server->input + server->input_size;
    char *line = server->input;

    for (char *newline; (newline = memchr(line, '\n', (size_t)(end - line))) != NULL;) {
        *newline = '\0';
        line_answer(server, line);
        line = newline + 1;
    }
    system_check(fflush(stdout) == 0, "write");
    server->input_size = (size_t)(end - line);
    memmove(server->input, line, server->input_size);
}

/* False: the input has ended. */
static bool input_read(struct server *server)
{
    ssize_t size = read(STDIN_FILENO, server->input + server->input_size,
                        sizeof server->input - server->input_size);

    if (size < 0 && errno == EINTR) {
        return true;
    }
    system_check(size >= 0, "read");
    server->input_size += (size_t)size;
    input_answer(server);
    if (server->input_size == sizeof server->input) {
        fputs("event_loop: a line is too long\n", stderr);
        exit(1);
    }
    return size > 0;
}

/* Lines first, then background work; it sleeps when there is neither, until a line comes or the
 * device has done something. A step takes about as long as a block takes to be merged. With
 * scrub_days poll needs a timeout of some seconds: the next block is due by the clock. */
static void serve(struct server *server)
{
    struct pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
    bool          has_work = true;

    check(tactus_descriptor(server->store, &polled[1].fd));
    for (;;) {
        int ready = poll(polled, 2, has_work ? 0 : -1);

        if (ready < 0) {
            system_check(errno == EINTR, "poll");
        } else if (polled[0].revents != 0) {
            if (!input_read(server)) {
                return;
            }
            has_work = true; /* Writes make some. */
        } else {
            has_work = tactus_step(server->store);
            server->steps += has_work;
        }
    }
}

static void tree_open(struct server *server)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, KEY_BYTES_MAX, VALUE_BYTES_MAX};
    int                  code = tactus_tree_find(server->store, "lines", &server->tree);

    if (code == TACTUS_ENOTREE) {
        code = tactus_tree_create(server->store, "lines", &layout, &server->tree);
    }
    check(code);
}

int main(int argc, char **argv)
{
    static struct server  server;
    struct tactus_options options;
    struct tactus_stats   stats;
    int                   code;

    if (argc != 3) {
        fputs("usage: event_loop STORE OPTIONS\n", stderr);
        return 2;
    }
    tactus_options_init(&options);
    check(tactus_options_parse(&options, argv[2]));
    options.threads = 0;
    code = tactus_create(argv[1], &options);
    check(code == TACTUS_EEXISTS ? TACTUS_OK : code);
    check(tactus_open(argv[1], &options, &server.store));
    tree_open(&server);
    serve(&server);
    tactus_stat(server.store, &stats);
    fprintf(stderr,
            "event_loop: %" PRIu64 " steps between lines; %" PRIu64
            " writes did work themselves, for %.1f ms at most\n",
            server.steps, stats.waits, (double)stats.wait_ns_max / 1e6);
    check(tactus_close(server.store));
    return 0;
}
