/* SPDX-License-Identifier: Apache-2.0 */
/* host_memtable -- a program with a log and a memtable of its own, for which Tactus keeps the tables
 * and compacts them in the background.
 *
 *   host_memtable DIRECTORY OPTIONS <LINES
 *
 * Lines: put KEY VALUE, del KEY, get KEY, list. Puts and deletes, n being their number, go into the
 * log and then into a memtable; those that earlier runs have logged are passed over, gets among them
 * too. A full memtable is handed over as a sorted run, by a thread, while the next one fills: that
 * is one op of the store, and its number names the log's file. When it is durable the file goes.
 * After a crash the store is at its last durable op, and the files from there on fill the memtables
 * again. Which puts make a run follows from the puts alone, so the store is to the byte the one that
 * there would be without the crash. A get looks into both memtables, then into the store. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tactus.h>

#define LINE_BYTES_MAX 255
#define GROUP_LINES 64
#define MEMTABLE_RECORDS 1000
#define BLOCK_RECORDS 100 /* Handed over at a time */
#define OP_FIRST 2        /* Op 1 has created the tree. */

/* A put or a delete in the log, in frame_bytes bytes. */
struct frame {
    uint32_t checksum; /* Of all that comes behind it */
    uint32_t line_size;
    uint64_t number; /* 1, 2, 3 … in the order of the lines */
    char     line[LINE_BYTES_MAX + 1];
};

struct record {
    char *key;
    char *value; /* NULL: deleted */
};

/* A sorted array. */
struct memtable {
    struct record records[MEMTABLE_RECORDS];
    uint32_t      count;
    uint64_t      op; /* That it will be, and its log's name */
};

struct program {
    struct tactus   *store;
    uint32_t         tree;
    struct memtable *active;
    struct memtable *frozen; /* Being handed over; NULL: none */
    pthread_mutex_t  lock;   /* Of `frozen` */
    pthread_cond_t   change; /* … when that has changed */
    bool             is_over;
    FILE            *log;         /* Of the active one */
    uint64_t         number;      /* Of the last put or delete */
    uint32_t         group_count; /* Of lines that are not synced */
};

static _Noreturn void fail(const char *text, const char *reason)
{
    fprintf(stderr, "host_memtable: %s%s\n", text, reason);
    exit(1);
}

static void check(int code)
{
    if (code != TACTUS_OK) {
        fail("", tactus_message());
    }
}

static void system_check(bool is_done, const char *text)
{
    if (!is_done) {
        fail(text, strerror(errno));
    }
}

/* ---- the memtable --------------------------------------------------------------------------- */

/* The first record at or above the key. */
static uint32_t memtable_find(const struct memtable *memtable, const char *key)
{
    uint32_t low = 0, high = memtable->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (strcmp(memtable->records[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct record *memtable_get(const struct memtable *memtable, const char *key)
{
    uint32_t at = memtable == NULL ? 0 : memtable_find(memtable, key);

    return memtable != NULL && at < memtable->count && strcmp(memtable->records[at].key, key) == 0
               ? &memtable->records[at]
               : NULL;
}

/* value NULL: the key is deleted, which the store has to be told. */
static void memtable_put(struct memtable *memtable, const char *key, const char *value)
{
    uint32_t       at = memtable_find(memtable, key);
    struct record *record = &memtable->records[at];

    if (at == memtable->count || strcmp(record->key, key) != 0) {
        memmove(record + 1, record, (memtable->count - at) * sizeof *record);
        memtable->count++;
        record->key = strdup(key);
    } else {
        free(record->value);
    }
    record->value = value == NULL ? NULL : strdup(value);
    system_check(record->key != NULL && (value == NULL || record->value != NULL), "");
}

static struct memtable *memtable_new(uint64_t op)
{
    struct memtable *memtable = calloc(1, sizeof *memtable);

    system_check(memtable != NULL, "");
    memtable->op = op;
    return memtable;
}

static void memtable_free(struct memtable *memtable)
{
    for (uint32_t i = 0; i < memtable->count; i++) {
        free(memtable->records[i].key);
        free(memtable->records[i].value);
    }
    free(memtable);
}

/* ---- handing over --------------------------------------------------------------------------- */

struct run {
    const struct memtable   *memtable;
    uint32_t                 next;
    struct tactus_run_record block[BLOCK_RECORDS];
};

static int run_read(void *context, const struct tactus_run_record **ret_records, size_t *ret_count)
{
    struct run *run = context;
    size_t      count = 0;

    for (; count < BLOCK_RECORDS && run->next < run->memtable->count; count++, run->next++) {
        const struct record *record = &run->memtable->records[run->next];

        run->block[count] = (struct tactus_run_record){
            .key = record->key,
            .key_size = strlen(record->key),
            .value = record->value,
            .value_size = record->value == NULL ? 0 : strlen(record->value),
            .is_tombstone = record->value == NULL,
        };
    }
    *ret_records = run->block;
    *ret_count = count;
    return TACTUS_OK;
}

/* Returns when it is durable; then the log of it is no longer needed. */
static void hand_over(struct program *program, const struct memtable *memtable)
{
    struct run run = {.memtable = memtable};
    uint64_t   op = 0;
    char       name[32];

    check(tactus_ingest(program->store, program->tree, run_read, &run, &op));
    if (op != memtable->op || tactus_durable_op(program->store) < op) {
        fail("the log is not that of the store", "");
    }
    snprintf(name, sizeof name, "log-%" PRIu64, op);
    system_check(unlink(name) == 0, "remove a log: ");
}

static void *hand_over_main(void *argument)
{
    struct program *program = argument;

    pthread_mutex_lock(&program->lock);
    for (;;) {
        struct memtable *memtable = program->frozen;

        if (memtable == NULL && program->is_over) {
            break;
        }
        if (memtable == NULL) {
            pthread_cond_wait(&program->change, &program->lock);
            continue;
        }
        pthread_mutex_unlock(&program->lock);
        hand_over(program, memtable);
        pthread_mutex_lock(&program->lock);
        program->frozen = NULL; /* From now on reads find it in the store. */
        memtable_free(memtable);
        pthread_cond_broadcast(&program->change);
    }
    pthread_mutex_unlock(&program->lock);
    return NULL;
}

/* With the lock; until the memtable before has been handed over. */
static void frozen_wait(struct program *program)
{
    while (program->frozen != NULL) {
        pthread_cond_wait(&program->change, &program->lock);
    }
}

/* ---- the log -------------------------------------------------------------------------------- */

static size_t frame_bytes(const struct frame *frame)
{
    return offsetof(struct frame, line) + frame->line_size;
}

/* CRC-32, bit by bit. */
static uint32_t frame_checksum(const struct frame *frame)
{
    const uint8_t *bytes = (const uint8_t *)frame;
    uint32_t       sum = UINT32_MAX;

    for (size_t i = sizeof frame->checksum; i < frame_bytes(frame); i++) {
        sum ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xedb88320 : 0);
        }
    }
    return ~sum;
}

static void frame_write(struct program *program, const char *line)
{
    struct frame frame = {.line_size = (uint32_t)strlen(line), .number = program->number};

    strcpy(frame.line, line);
    frame.checksum = frame_checksum(&frame);
    system_check(fwrite(&frame, frame_bytes(&frame), 1, program->log) == 1, "write the log: ");
}

/* False: the log ends here, or what follows was being written when the program was killed. */
static bool frame_read(FILE *file, struct frame *frame)
{
    if (fread(frame, offsetof(struct frame, line), 1, file) != 1 ||
        frame->line_size > LINE_BYTES_MAX ||
        fread(frame->line, 1, frame->line_size, file) != frame->line_size ||
        frame->checksum != frame_checksum(frame)) {
        return false;
    }
    frame->line[frame->line_size] = '\0';
    return true;
}

static void directory_sync(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    system_check(directory >= 0 && fsync(directory) == 0, "sync the directory: ");
    close(directory);
}

/* Each file begins with an empty frame: the number of the last line before it. */
static void log_begin(struct program *program, uint64_t op)
{
    char name[32];

    snprintf(name, sizeof name, "log-%" PRIu64, op);
    program->log = fopen("log.new", "w");
    system_check(program->log != NULL, "open a log: ");
    frame_write(program, "");
    system_check(fflush(program->log) == 0 && fdatasync(fileno(program->log)) == 0 &&
                     rename("log.new", name) == 0,
                 "begin a log: ");
    directory_sync();
}

/* No second try: a sync that fails once may say the next time that all is well. */
static void log_sync(struct program *program)
{
    system_check(fflush(program->log) == 0 && fdatasync(fileno(program->log)) == 0,
                 "write the log: ");
    program->group_count = 0;
    printf("acknowledged %" PRIu64 "\n", program->number);
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Into the active memtable, which has room. */
static void line_apply(struct program *program, const char *line)
{
    char key[LINE_BYTES_MAX + 1], value[LINE_BYTES_MAX + 1];
    bool is_put = sscanf(line, "put %255s %255[^\n]", key, value) == 2;

    if (!is_put && sscanf(line, "del %255s", key) != 1) {
        fail("neither put nor del: ", line);
    }
    memtable_put(program->active, key, is_put ? value : NULL);
}

/* The full memtable goes to the thread; its log has ended. */
static void active_freeze(struct program *program)
{
    pthread_mutex_lock(&program->lock);
    frozen_wait(program);
    program->frozen = program->active;
    program->active = memtable_new(program->frozen->op + 1);
    pthread_cond_broadcast(&program->change);
    pthread_mutex_unlock(&program->lock);
}

static void line_write(struct program *program, const char *line)
{
    if (program->active->count == MEMTABLE_RECORDS) {
        log_sync(program);
        fclose(program->log);
        log_begin(program, program->active->op + 1);
        active_freeze(program);
    }
    program->number++;
    frame_write(program, line);
    line_apply(program, line);
    if (++program->group_count == GROUP_LINES) {
        log_sync(program);
    }
}

static void line_get(struct program *program, const char *key)
{
    const struct record *record = memtable_get(program->active, key);
    char                 value[LINE_BYTES_MAX + 1];
    size_t               size = 0;
    bool                 is_found;
    int                  code = TACTUS_OK;

    pthread_mutex_lock(&program->lock); /* The frozen one stays until it is copied. */
    if (record == NULL) {
        record = memtable_get(program->frozen, key);
    }
    is_found = record != NULL;
    if (record != NULL && record->value != NULL) {
        size = strlen(record->value);
        memcpy(value, record->value, size);
    }
    pthread_mutex_unlock(&program->lock);
    if (!is_found) {
        code =
            tactus_get(program->store, program->tree, key, strlen(key), value, sizeof value, &size);
    } else if (size == 0) {
        code = TACTUS_ENOTFOUND;
    }
    if (code == TACTUS_ENOTFOUND) {
        printf("none\n");
        return;
    }
    check(code);
    printf("value %.*s\n", (int)size, value);
}

/* All there is, in order: the active memtable over the store. */
static void line_list(struct program *program)
{
    const struct memtable  *active = program->active;
    struct tactus_iterator *iterator;
    uint32_t                next = 0;
    int                     code;

    pthread_mutex_lock(&program->lock);
    frozen_wait(program);
    pthread_mutex_unlock(&program->lock);
    check(tactus_iterator_open(program->store, program->tree, &iterator));
    code = tactus_iterator_first(iterator);
    while (code == TACTUS_OK || next < active->count) {
        const void *key = NULL, *value = NULL;
        size_t      key_size = 0, value_size = 0;
        int         order = -1; /* The memtable's comes first. */

        if (code == TACTUS_OK) {
            tactus_iterator_record(iterator, &key, &key_size, &value, &value_size);
            order = next == active->count ? 1 : strncmp(active->records[next].key, key, key_size);
            if (order == 0 && strlen(active->records[next].key) > key_size) {
                order = 1;
            }
        }
        if (order > 0) {
            printf("%.*s\t%.*s\n", (int)key_size, (const char *)key, (int)value_size,
                   (const char *)value);
        } else if (active->records[next].value != NULL) {
            printf("%s\t%s\n", active->records[next].key, active->records[next].value);
        }
        next += order <= 0;
        if (order >= 0) {
            code = tactus_iterator_next(iterator);
        }
    }
    if (code != TACTUS_ENOTFOUND) {
        check(code);
    }
    tactus_iterator_close(iterator);
}

/* ---- recovery ------------------------------------------------------------------------------- */

/* Fills the active memtable from its log, which is then open behind its last whole frame. False:
 * there is none. */
static bool log_replay(struct program *program)
{
    struct frame frame;
    char         name[32];
    long         end = 0;

    snprintf(name, sizeof name, "log-%" PRIu64, program->active->op);
    program->log = fopen(name, "r+");
    if (program->log == NULL && errno == ENOENT) {
        return false;
    }
    /* Of a killed program, it may be in the system's memory alone. */
    system_check(program->log != NULL && fdatasync(fileno(program->log)) == 0, "open the log: ");
    while (frame_read(program->log, &frame)) {
        program->number = frame.number;
        if (frame.line_size > 0) {
            line_apply(program, frame.line);
        }
        end = ftell(program->log);
    }
    system_check(ferror(program->log) == 0 && ftruncate(fileno(program->log), end) == 0 &&
                     fseek(program->log, end, SEEK_SET) == 0,
                 "read the log: ");
    return true;
}

/* The logs from the first op on that the store does not have; one of them, and perhaps the next. */
static void recover(struct program *program, uint64_t op)
{
    char name[32];

    snprintf(name, sizeof name, "log-%" PRIu64, op - 1);
    (void)unlink(name); /* It was durable, but its log had not gone. */
    program->active = memtable_new(op);
    if (!log_replay(program)) {
        if (op != OP_FIRST) {
            fail("a log is missing", "");
        }
        log_begin(program, op);
    }
    snprintf(name, sizeof name, "log-%" PRIu64, op + 1);
    if (access(name, F_OK) == 0) {
        fclose(program->log);
        active_freeze(program);
        if (!log_replay(program)) {
            fail("a log is missing", "");
        }
    }
    printf("recovered %" PRIu64 "\n", program->number);
}

/* ---- the program ---------------------------------------------------------------------------- */

/* Returns the first op that the store does not have. */
static uint64_t store_open(struct program *program, const char *text)
{
    struct tactus_layout  layout = {TACTUS_LAYOUT_VARIABLE, LINE_BYTES_MAX, LINE_BYTES_MAX};
    struct tactus_options options;
    uint64_t              op;

    tactus_options_init(&options);
    check(tactus_options_parse(&options, text));
    options.log = TACTUS_LOG_HOST;
    if (access("store", F_OK) != 0) { /* It gets this name when it is whole. */
        (void)unlink("store.new");
        check(tactus_create("store.new", &options));
        system_check(rename("store.new", "store") == 0, "rename the store: ");
        directory_sync();
    }
    check(tactus_open("store", &options, &program->store));
    op = tactus_replay_op(program->store);
    if (op < OP_FIRST) { /* The tree is durable with the first run. */
        check(tactus_tree_create(program->store, "records", &layout, &program->tree));
        op = OP_FIRST;
    } else {
        check(tactus_tree_find(program->store, "records", &program->tree));
    }
    tactus_replay_end(program->store); /* A run that is handed over again is as good as new. */
    return op;
}

int main(int argc, char **argv)
{
    static struct program program = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                     .change = PTHREAD_COND_INITIALIZER};
    pthread_t             thread;
    char                  line[LINE_BYTES_MAX + 2]; /* A newline, too */
    uint64_t              op, logged, number = 0;

    if (argc != 3) {
        fail("usage: host_memtable DIRECTORY OPTIONS <LINES", "");
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* It is said before a crash comes. */
    system_check(chdir(argv[1]) == 0, "enter the directory: ");
    op = store_open(&program, argv[2]);
    system_check(pthread_create(&thread, NULL, hand_over_main, &program) == 0, "begin a thread: ");
    recover(&program, op);
    logged = program.number;
    while (fgets(line, sizeof line, stdin) != NULL) {
        bool is_get = strncmp(line, "get ", 4) == 0, is_list = strcmp(line, "list\n") == 0;

        line[strcspn(line, "\n")] = '\0';
        number += !is_get && !is_list;
        if (is_list) {
            line_list(&program);
        } else if (is_get && number >= logged) {
            line_get(&program, line + 4);
        } else if (!is_get && number > logged) {
            line_write(&program, line);
        }
    }
    log_sync(&program);
    pthread_mutex_lock(&program.lock);
    program.is_over = true;
    pthread_cond_broadcast(&program.change);
    pthread_mutex_unlock(&program.lock);
    pthread_join(thread, NULL);
    fclose(program.log);
    memtable_free(program.active);
    check(tactus_close(program.store));
    return 0;
}
