/* SPDX-License-Identifier: Apache-2.0 */
/* replay -- the main of a fuzz target where there is no libFuzzer: a test of TAP.
 *
 * Without arguments: the target's own inputs, the files of corpus/<target>/, and mutations of both
 * that follow from SEED. With arguments: these files. What is being run when the process dies is
 * left in a file, which the program takes as an argument. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/tap.h"

#define INPUTS_MAX 512
#define ROUNDS 2000
#define ROUNDS_LONG 40000
#define SECONDS_MAX 20 /* Of one input; the slowest builds included */

struct replay_input {
    uint8_t *data;
    size_t   size;
};

uint64_t fuzz_accepted;

static struct replay_input inputs[INPUTS_MAX];
static uint32_t            input_count;
static char                target[64];
/* The input that is being run, for the signal handler. */
static uint8_t         current[FUZZ_INPUT_MAX];
static volatile size_t current_size;
static char            death_path[512];

/* Only calls that a signal handler may make. */
static void died(int number)
{
    static const char died_text[] = "# the input that ended the process is in the file above\n";
    static const char hang_text[] = "# the input that takes too long is in the file above\n";
    bool              is_hang = number == SIGALRM;
    int               fd = open(death_path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size &&
        write(STDOUT_FILENO, is_hang ? hang_text : died_text,
              is_hang ? sizeof hang_text - 1 : sizeof died_text - 1) > 0) {
        close(fd);
    }
    number = is_hang ? SIGABRT : number;
    signal(number, SIG_DFL);
    raise(number);
}

static void death_prepare(void)
{
    const int   numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    const char *folder = getenv("TMPDIR");

    snprintf(death_path, sizeof death_path, "%s/%s.input", folder == NULL ? "/tmp" : folder,
             target);
    tap_diag("an input that ends the process is left in %s", death_path);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        signal(numbers[i], died);
    }
}

static void run(const uint8_t *data, size_t size)
{
    memcpy(current, data, size);
    current_size = size;
    alarm(SECONDS_MAX);
    (void)LLVMFuzzerTestOneInput(current, size);
    alarm(0);
}

/* ---- inputs --------------------------------------------------------------------------------- */

static void input_add(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);

    if (copy == NULL || input_count == INPUTS_MAX) {
        tap_bail("more than %d inputs, or no memory for them", INPUTS_MAX);
    }
    memcpy(copy, data, size);
    inputs[input_count++] = (struct replay_input){copy, size};
}

static void file_add(const char *path)
{
    uint8_t data[FUZZ_INPUT_MAX];
    FILE   *file = fopen(path, "rb");
    size_t  size;

    if (file == NULL) {
        tap_bail("cannot read %s", path);
    }
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    input_add(data, size);
}

static void corpus_add(void)
{
    const char     *srcdir = getenv("srcdir");
    char            folder[512], path[1024];
    struct dirent **entries;
    int             count;

    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", srcdir == NULL ? "." : srcdir,
             target);
    count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            file_add(path);
        }
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
}

/* ---- mutations ------------------------------------------------------------------------------ */

static size_t mutate_one(uint8_t *data, size_t size, struct tac_prng *prng)
{
    static const uint8_t       edges[] = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff};
    size_t                     at = (size_t)tac_prng_below(prng, size);
    size_t                     rest = size - at;
    size_t                     count = (size_t)tac_prng_below(prng, rest < 16 ? rest : 16) + 1;
    const struct replay_input *other = &inputs[tac_prng_below(prng, input_count)];

    switch (tac_prng_below(prng, 7)) {
    case 0:
        data[at] ^= (uint8_t)(1u << tac_prng_below(prng, 8));
        return size;
    case 1:
        data[at] = edges[tac_prng_below(prng, sizeof edges)];
        return size;
    case 2:
        memset(data + at, edges[tac_prng_below(prng, sizeof edges)], count > rest ? rest : count);
        return size;
    case 3:
        data[at] = (uint8_t)(data[at] + tac_prng_below(prng, 17) - 8);
        return size;
    case 4: /* Take some out */
        count = count < rest ? count : rest - 1;
        memmove(data + at, data + at + count, rest - count);
        return size - count;
    case 5: /* Twice the same */
        if (size + count > FUZZ_INPUT_MAX || count > rest) {
            return size;
        }
        memmove(data + at + count, data + at, rest);
        return size + count;
    default: /* The end of another input */
        if (other->size <= at) {
            return size;
        }
        memcpy(data + at, other->data + at, other->size - at);
        return other->size;
    }
}

static size_t mutate(uint8_t *data, struct tac_prng *prng)
{
    const struct replay_input *input = &inputs[tac_prng_below(prng, input_count)];
    size_t                     size = input->size;

    memcpy(data, input->data, size);
    for (uint64_t i = tac_prng_below(prng, 4) + 1; i > 0 && size > 0; i--) {
        size = mutate_one(data, size, prng);
    }
    return size;
}

/* ---- the test ------------------------------------------------------------------------------- */

static void target_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    slash = slash == NULL ? path : slash + 1;
    if (strncmp(slash, "lt-", 3) == 0) {
        slash += 3; /* Libtool's name for what it runs */
    }
    snprintf(target, sizeof target, "%s", slash);
}

static void mutations_run(struct tac_prng *prng)
{
    static uint8_t data[FUZZ_INPUT_MAX];
    uint32_t       rounds = (getenv("LONG") == NULL ? ROUNDS : ROUNDS_LONG) / fuzz_cost;
    uint64_t       accepted = fuzz_accepted;

    for (uint32_t i = 0; i < rounds; i++) {
        run(data, mutate(data, prng));
    }
    tap_ok(true, "%s: so do %u mutations of them", target, rounds);
    tap_diag("%llu of the mutations are accepted", (unsigned long long)(fuzz_accepted - accepted));
}

int main(int argc, char **argv)
{
    struct tac_prng prng = {tap_seed()};
    static uint8_t  data[FUZZ_INPUT_MAX];
    uint32_t        seed_count = 0;

    target_name(argv[0]);
    for (int i = 1; i < argc; i++) {
        file_add(argv[i]);
    }
    if (argc == 1) {
        for (size_t size; (size = fuzz_seed(seed_count, data)) > 0; seed_count++) {
            input_add(data, size);
        }
        corpus_add();
    }
    death_prepare();
    for (uint32_t i = 0; i < input_count; i++) {
        run(inputs[i].data, inputs[i].size);
    }
    run(data, 0);
    tap_ok(true, "%s: %u inputs of its own and %u files of the corpus end in a result or an error",
           target, seed_count, input_count - seed_count);
    tap_diag("%llu of them are accepted", (unsigned long long)fuzz_accepted);
    if (argc == 1) {
        tap_ok(fuzz_accepted > 0, "%s: some of them are accepted", target);
        mutations_run(&prng);
    }
    for (uint32_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
    }
    return tap_done();
}
