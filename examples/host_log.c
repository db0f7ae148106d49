/* SPDX-License-Identifier: Apache-2.0 */
/* host_log -- a program with a log of its own, by which its store goes on (TACTUS_LOG_HOST).
 *
 *   host_log DIRECTORY OPTIONS <OPS
 *
 * Line n is op n: tree, put KEY VALUE, del KEY or drain; those that earlier runs have logged are
 * passed over. Ops go into the log, and the log to the disk, a group of them at a time; only then
 * the calls are made, so that the store has no op that the log has not. After a crash the store is
 * at its last checkpoint, and the program does again what the log has from there on: that gives, to
 * the byte, the store that there would be without the crash. What a durable checkpoint holds, the
 * log forgets. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tactus.h>

#define LINE_BYTES_MAX 255
#define GROUP_OPS 256
#define LOG_BYTES (256 * 1024) /* From then on "log" may become "log.old" */

/* An op in the log, in frame_bytes bytes. */
struct frame {
    uint32_t checksum; /* Of all that comes behind it */
    uint32_t line_size;
    uint64_t op;
    char     line[LINE_BYTES_MAX + 1];
};

struct program {
    struct tactus *store;
    uint32_t       tree;
    uint64_t       op; /* The last one that is done */
    FILE          *log;
    size_t         log_size;
    uint64_t       old_op;           /* Last one in "log.old"; 0: there is none */
    struct frame   group[GROUP_OPS]; /* In the log, but not done */
    uint32_t       group_count;
};

static _Noreturn void fail(const char *text, const char *reason)
{
    fprintf(stderr, "host_log: %s%s\n", text, reason);
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

/* ---- ops ------------------------------------------------------------------------------------ */

enum op_kind {
    OP_NONE,
    OP_TREE,
    OP_PUT,
    OP_DELETE,
    OP_DRAIN
};

static enum op_kind line_parse(const char *line, char key[LINE_BYTES_MAX + 1],
                               char value[LINE_BYTES_MAX + 1])
{
    return strlen(line) > LINE_BYTES_MAX                          ? OP_NONE
           : strcmp(line, "tree") == 0                            ? OP_TREE
           : strcmp(line, "drain") == 0                           ? OP_DRAIN
           : sscanf(line, "put %255s %255[^\n]", key, value) == 2 ? OP_PUT
           : sscanf(line, "del %255s %c", key, value) == 1        ? OP_DELETE
                                                                  : OP_NONE;
}

/* A call that fails takes no number, but in the log the op has one: it ends the program. */
static void op_do(struct program *program, const struct frame *frame)
{
    struct tactus_layout layout = {TACTUS_LAYOUT_VARIABLE, LINE_BYTES_MAX, LINE_BYTES_MAX};
    struct tactus       *store = program->store;
    char                 key[LINE_BYTES_MAX + 1], value[LINE_BYTES_MAX + 1];

    switch (line_parse(frame->line, key, value)) {
    case OP_TREE:
        check(tactus_tree_create(store, "records", &layout, &program->tree));
        break;
    case OP_PUT:
        check(tactus_put(store, program->tree, key, strlen(key), value, strlen(value)));
        break;
    case OP_DELETE:
        check(tactus_delete(store, program->tree, key, strlen(key)));
        break;
    case OP_DRAIN:
        check(tactus_drain(store));
        break;
    case OP_NONE:
        fail("no op, but in the log: ", frame->line);
    }
    if (tactus_last_op(store) != frame->op) {
        fail("the log is not that of the store", "");
    }
    program->op = frame->op;
}

/* ---- the log -------------------------------------------------------------------------------- */

/* A name that is new survives a crash when its directory has been synced. */
static void directory_sync(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    system_check(directory >= 0 && fsync(directory) == 0, "sync the directory: ");
    close(directory);
}

static void log_open(struct program *program)
{
    program->log = fopen("log", "a+");
    system_check(program->log != NULL, "open the log: ");
    directory_sync();
    program->log_size = 0;
}

/* Does the ops in the file that the store has not; *ret_last is the last one in it. Returns where
 * its last whole frame ends. What is behind was being written when the program was killed: this
 * log cannot tell that from damage. */
static size_t file_replay(struct program *program, FILE *file, uint64_t *ret_last)
{
    struct frame frame;
    size_t       end = 0;

    /* Of a killed program, it may be in the system's memory alone. */
    system_check(fdatasync(fileno(file)) == 0, "sync the log: ");
    while (fread(&frame, offsetof(struct frame, line), 1, file) == 1 &&
           frame.line_size <= LINE_BYTES_MAX &&
           fread(frame.line, 1, frame.line_size, file) == frame.line_size &&
           frame.checksum == frame_checksum(&frame)) {
        frame.line[frame.line_size] = '\0';
        if (frame.op > program->op + 1) {
            fail("ops are missing between the store and the log", "");
        }
        if (frame.op == program->op + 1) {
            op_do(program, &frame);
        }
        *ret_last = frame.op;
        end += frame_bytes(&frame);
    }
    system_check(ferror(file) == 0, "read the log: ");
    return end;
}

static void log_replay(struct program *program)
{
    FILE    *old = fopen("log.old", "r");
    uint64_t first = tactus_replay_op(program->store), last;

    program->op = first - 1;
    if (old != NULL) {
        size_t end = file_replay(program, old, &program->old_op);

        if (fseek(old, 0, SEEK_END) != 0 || ftell(old) != (long)end) {
            fail("log.old is damaged", "");
        }
        fclose(old);
    }
    log_open(program);
    program->log_size = file_replay(program, program->log, &last);
    system_check(ftruncate(fileno(program->log), (off_t)program->log_size) == 0 &&
                     fseek(program->log, 0, SEEK_END) == 0,
                 "cut the log: ");
    tactus_replay_end(program->store);
    printf("replayed %" PRIu64 " to %" PRIu64 "\n", first, program->op);
}

/* Two files: the old one goes as soon as no replay needs it, then the other one becomes the old. */
static void log_trim(struct program *program)
{
    if (program->old_op != 0 && tactus_durable_op(program->store) >= program->old_op) {
        system_check(unlink("log.old") == 0, "remove log.old: ");
        program->old_op = 0;
    }
    if (program->old_op == 0 && program->log_size >= LOG_BYTES) {
        system_check(rename("log", "log.old") == 0, "rename the log: ");
        fclose(program->log);
        program->old_op = program->op;
        log_open(program);
    }
}

static void group_commit(struct program *program)
{
    /* No second try: a sync that fails once may say the next time that all is well. */
    system_check(fflush(program->log) == 0 && fdatasync(fileno(program->log)) == 0,
                 "write the log: ");
    for (uint32_t i = 0; i < program->group_count; i++) {
        op_do(program, &program->group[i]);
    }
    program->group_count = 0;
    printf("acknowledged %" PRIu64 "\n", program->op);
    log_trim(program);
}

static void group_add(struct program *program, uint64_t op, const char *line)
{
    struct frame *frame = &program->group[program->group_count++];

    strcpy(frame->line, line);
    frame->line_size = (uint32_t)strlen(line);
    frame->op = op;
    frame->checksum = frame_checksum(frame);
    system_check(fwrite(frame, frame_bytes(frame), 1, program->log) == 1, "write the log: ");
    program->log_size += frame_bytes(frame);
    if (program->group_count == GROUP_OPS) {
        group_commit(program);
    }
}

/* ---- the program ---------------------------------------------------------------------------- */

static void store_open(struct program *program, const char *text)
{
    struct tactus_options options;
    int                   code;

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
    code = tactus_tree_find(program->store, "records", &program->tree);
    check(code == TACTUS_ENOTREE ? TACTUS_OK : code); /* An op creates it. */
}

int main(int argc, char **argv)
{
    static struct program program;
    char                  line[LINE_BYTES_MAX + 2]; /* A newline, too */
    char                  key[LINE_BYTES_MAX + 1], value[LINE_BYTES_MAX + 1];
    uint64_t              logged_op;

    if (argc != 3) {
        fail("usage: host_log DIRECTORY OPTIONS <OPS", "");
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* It is said before a crash comes. */
    system_check(chdir(argv[1]) == 0, "enter the directory: ");
    store_open(&program, argv[2]);
    log_replay(&program);
    logged_op = program.op;
    for (uint64_t op = 1; fgets(line, sizeof line, stdin) != NULL; op++) {
        line[strcspn(line, "\n")] = '\0';
        if (op <= logged_op) {
            continue;
        }
        if (line_parse(line, key, value) == OP_NONE) {
            fail("no op: ", line); /* In the log it would be for ever. */
        }
        group_add(&program, op, line);
    }
    group_commit(&program);
    check(tactus_close(program.store));
    return 0;
}
