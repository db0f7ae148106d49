/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, bytes, checksum arithmetic, the generator, units; and that an assertion really ends the
 * process. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/prng.h"
#include "base/units.h"
#include "tests/lib/tap.h"

/* ---- assertions ----------------------------------------------------------------------------- */

static void assert_false(void) { tac_assert(1 + 1 == 3); }
static void assert_true(void) { tac_assert(1 + 1 == 2); }
static void assert_slow_false(void) { tac_assert_slow(1 + 1 == 3); }
static void reach_unreachable(void) { tac_unreachable(); }

/* Runs the function in a child; returns its wait status and what it said on standard error. */
static int child_run(void (*function)(void), char *ret_text, size_t text_size)
{
    int    ends[2];
    int    status = 0;
    size_t size = 0;
    pid_t  child;

    if (pipe(ends) != 0 || (child = fork()) < 0) {
        tap_bail("cannot start a child process");
    }
    if (child == 0) {
        struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        function();
        _exit(0);
    }
    close(ends[1]);
    while (size < text_size - 1) {
        ssize_t got = read(ends[0], ret_text + size, text_size - 1 - size);

        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    ret_text[size] = 0;
    close(ends[0]);
    if (waitpid(child, &status, 0) != child) {
        tap_bail("lost a child process");
    }
    return status;
}

static bool ends_with_abort(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_assert(void)
{
    char text[16 * 1024];
    int  status;

    status = child_run(assert_false, text, sizeof text);
    tap_ok(ends_with_abort(status), "a false assertion aborts the process");
    tap_ok(strstr(text, "1 + 1 == 3") != NULL && strstr(text, "base_test.c") != NULL &&
               strstr(text, "assert_false") != NULL,
           "it names expression, file and function");
    status = child_run(assert_true, text, sizeof text);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 && text[0] == 0,
           "a true assertion does nothing");
    status = child_run(reach_unreachable, text, sizeof text);
    tap_ok(ends_with_abort(status), "reaching the unreachable aborts the process");
    status = child_run(assert_slow_false, text, sizeof text);
#ifdef TACTUS_VERIFY
    tap_ok(ends_with_abort(status), "a false slow assertion aborts with --enable-verify");
#else
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
           "a false slow assertion is not evaluated without --enable-verify");
#endif
}

/* ---- errors --------------------------------------------------------------------------------- */

static void test_error_text(void)
{
    struct tac_error error = {0};
    char             longest[2 * TACTUS_MESSAGE_BYTES];
    int              code;

    code = tac_error_set(&error, TACTUS_EIO, "read of block %d failed", 7);
    tap_ok(code == TACTUS_EIO && error.code == TACTUS_EIO &&
               strcmp(error.message, "read of block 7 failed") == 0,
           "an error keeps its code and text");
    code = tac_error_wrap(&error, "table %d", 3);
    tap_ok(code == TACTUS_EIO && strcmp(error.message, "table 3: read of block 7 failed") == 0,
           "wrapping puts the caller's view in front");
    tac_error_clear(&error);
    tap_ok(error.code == TACTUS_OK && error.message[0] == 0, "a cleared error is none");
    tap_ok(tac_error_set(NULL, TACTUS_EFULL, "no room") == TACTUS_EFULL,
           "without a place for the text the code is still returned");
    tac_error_clear(NULL);

    tac_error_set(&error, TACTUS_ENOTREE, "no tree \"%s\"", "a\nb\tc\x7f");
    tap_ok(strcmp(error.message, "no tree \"a\\x0ab\\x09c\\x7f\"") == 0,
           "control characters are escaped");
    tac_error_wrap(&error, "\xc3\xa4\r");
    tap_ok(strcmp(error.message, "\xc3\xa4\\x0d: no tree \"a\\x0ab\\x09c\\x7f\"") == 0,
           "those of a caller's view, too, and no other bytes");

    memset(longest, '\n', sizeof longest);
    longest[sizeof longest - 1] = 0;
    tac_error_set(&error, TACTUS_EIO, "%s", longest);
    tap_ok(strlen(error.message) == (TACTUS_MESSAGE_BYTES - 1) / 4 * 4 &&
               strspn(error.message, "\\x0a") == strlen(error.message),
           "none is cut in its middle");
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    tac_error_set(&error, TACTUS_EIO, "%s", longest);
    for (int i = 0; i < 3; i++) {
        tac_error_wrap(&error, "%s", longest);
    }
    tap_ok(memchr(error.message, 0, sizeof error.message) != NULL && error.code == TACTUS_EIO,
           "texts that are too long are cut, not overrun");
}

static bool path_text_is(const char *path, const char *text)
{
    return strcmp(tac_path_text(path).text, text) == 0;
}

static void test_path_text(void)
{
    struct tac_error error = {0};
    char             path[2 * TAC_PATH_TEXT_BYTES], text[TAC_PATH_TEXT_BYTES];
    char            *last = path + sizeof path - 1, *shortest = last - (TAC_PATH_TEXT_BYTES - 1);

    memset(path, 'p', sizeof path);
    *last = 0;
    tap_ok(path_text_is("", "") && path_text_is("a/b\n", "a/b\\x0a") &&
               path_text_is(shortest, shortest),
           "a path is in a text as it is, but for control characters");
    snprintf(text, sizeof text, "...%s", shortest + 3);
    tap_ok(path_text_is(shortest - 1, text) && path_text_is(path, text),
           "a long one loses its beginning");
    shortest[0] = '\n';
    snprintf(text, sizeof text, "...%s", shortest + 3);
    tap_ok(path_text_is(shortest, text), "one that is long with its control characters, too");
    for (int i = 0; i < 3; i++) { /* U+20AC, of which the end has three, two and one byte */
        memset(path, 'p', sizeof path - 1);
        memcpy(shortest + 3 - i, "\xe2\x82\xac", 3);
        snprintf(text, sizeof text, "...%s", shortest + (i == 0 ? 3 : 6 - i));
        tap_ok(path_text_is(path, text), "no character of a path is cut: %d", i);
    }
    tac_error_set(&error, TACTUS_EIO, "cannot write %llu bytes at %llu of %s: %s",
                  (unsigned long long)TAC_GIB, (unsigned long long)UINT64_MAX,
                  tac_path_text(path).text, "no space left on device");
    tac_error_wrap(&error, "%s", tac_path_text(path).text);
    tap_ok(strstr(error.message, "no space left on device") != NULL,
           "after two long paths there is room for a reason");
}

static void test_error_names(void)
{
    static const int codes[] = {
#define CODE(name, number, text) TACTUS_##name,
        TACTUS_ERRORS(CODE)
#undef CODE
    };
    bool distinct = true;

    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(codes); i++) {
        for (uint32_t j = 0; j < i; j++) {
            distinct = distinct && codes[i] != codes[j] &&
                       strcmp(tactus_strerror(codes[i]), tactus_strerror(codes[j])) != 0;
        }
    }
    tap_ok(distinct, "error codes and their texts are all different");
    tap_ok(strcmp(tactus_strerror(TACTUS_OK), "success") == 0 &&
               strcmp(tactus_strerror(-1), "unknown error code") == 0 &&
               strcmp(tactus_strerror(1 << 20), "unknown error code") == 0,
           "every number has a text");
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static int sign(int x) { return (x > 0) - (x < 0); }

static struct tac_bytes bytes_of(const char *text)
{
    return (struct tac_bytes){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
}

static void test_bytes_compare(void)
{
    static const char *const ascending[] = {"",     "a",    "aa",   "ab",      "b",
                                            "\x7f", "\x80", "\xff", "\xff\xff"};
    bool                     ordered = true;

    for (int i = 0; i < (int)TAC_ARRAY_COUNT(ascending); i++) {
        for (int j = 0; j < (int)TAC_ARRAY_COUNT(ascending); j++) {
            int order = tac_bytes_compare(bytes_of(ascending[i]), bytes_of(ascending[j]));

            ordered = ordered && sign(order) == sign(i - j);
        }
    }
    tap_ok(ordered, "keys compare as unsigned bytes, the shorter first");
    tap_ok(tac_bytes_compare((struct tac_bytes){NULL, 0}, (struct tac_bytes){NULL, 0}) == 0,
           "two absent byte strings are equal");
}

static void test_bytes_prefix(struct tac_prng *prng)
{
    bool agrees = true;

    for (int round = 0; round < 20000; round++) {
        uint8_t          a_data[12];
        uint8_t          b_data[12];
        struct tac_bytes a = {a_data, (uint32_t)tac_prng_below(prng, sizeof a_data + 1)};
        struct tac_bytes b = {b_data, (uint32_t)tac_prng_below(prng, sizeof b_data + 1)};
        uint64_t         a_prefix;
        uint64_t         b_prefix;

        for (size_t i = 0; i < sizeof a_data; i++) {
            a_data[i] = (uint8_t)(tac_prng_below(prng, 2) * 0xff);
            b_data[i] = (uint8_t)(tac_prng_below(prng, 2) * 0xff);
        }
        a_prefix = tac_key_prefix(a_data, a.size);
        b_prefix = tac_key_prefix(b_data, b.size);
        if (a_prefix != b_prefix) {
            agrees = agrees && (a_prefix < b_prefix) == (tac_bytes_compare(a, b) < 0);
        }
    }
    tap_ok(agrees, "different prefixes order as their keys do");
}

static void test_bytes_fields(void)
{
    uint8_t field[9] = {0};

    tac_store_u64(field + 1, 0x0102030405060708u);
    tap_ok(field[1] == 8 && field[8] == 1 && tac_load_u64(field + 1) == 0x0102030405060708u,
           "64-bit fields are little-endian at any alignment");
    tac_store_u32(field + 1, 0xa1b2c3d4u);
    tap_ok(field[1] == 0xd4 && field[4] == 0xa1 && field[5] == 4 &&
               tac_load_u32(field + 1) == 0xa1b2c3d4u,
           "32-bit fields touch four bytes");
    tac_store_u16(field + 1, 0xeeff);
    tap_ok(field[1] == 0xff && field[2] == 0xee && field[3] == 0xb2 &&
               tac_load_u16(field + 1) == 0xeeff,
           "16-bit fields touch two bytes");
}

/* ---- checksums, generator, units ------------------------------------------------------------ */

static struct tac_u128 u128_of(unsigned __int128 value)
{
    return (struct tac_u128){.low = (uint64_t)value, .high = (uint64_t)(value >> 64)};
}

/* The published first outputs of XXH3-128 over no bytes and of splitmix64 from state 0. */
static void test_known_values(void)
{
    struct tac_u128 empty = tac_checksum("", 0, 0);
    struct tac_prng prng = {0};

    tap_ok(empty.low == 0x6001c324468d497fu && empty.high == 0x99aa06d3014798d8u,
           "the checksum is XXH3-128");
    tap_ok(!tac_u128_equal(tac_checksum("a", 1, 0), tac_checksum("a", 1, 1)) &&
               !tac_u128_equal(tac_checksum("a", 1, 0), tac_checksum("b", 1, 0)),
           "the checksum depends on seed and bytes");
    tap_ok(tac_prng_next(&prng) == 0xe220a8397b1dcdafu &&
               tac_prng_next(&prng) == 0x6e789e6aa1b965f4u,
           "the generator is splitmix64");
}

/* What the library hashes for us has the values of what is compiled in, at whatever size the one
 * takes over from the other. */
static void test_checksum_sizes(struct tac_prng *prng)
{
    const uint32_t size_max = 140000;
    uint8_t       *data = malloc(size_max);
    uint32_t       wrong = 0;

    tac_assert(data != NULL);
    for (uint32_t i = 0; i < size_max; i++) {
        data[i] = (uint8_t)tac_prng_next(prng);
    }
    for (uint32_t size = 0; size <= size_max; size += size < 2048 ? 1 : 1021) {
        uint64_t        seed = tac_prng_next(prng);
        XXH128_hash_t   inlined = XXH3_128bits_withSeed(data, size, seed);
        struct tac_u128 checksum = tac_checksum(data, size, seed);

        wrong += checksum.low != inlined.low64 || checksum.high != inlined.high64;
    }
    tap_ok(wrong == 0, "long and short checksums are of one kind: %u sizes differ", wrong);
    free(data);
}

/* The bit of AVX among the processor's states that are in use (XGETBV with 1 in ECX), or -1 where it
 * does not tell. Intel's manual, volume 1, "XSAVE-supported features and state-component bitmaps". */
static int upper_vectors_in_use(void)
{
#ifdef __x86_64__
    uint32_t       eax, ebx, ecx, edx;
    const uint32_t xgetbv1 = 1U << 2, avx = 1U << 2;

    if (!__builtin_cpu_supports("avx") || !__get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) ||
        (eax & xgetbv1) == 0) {
        return -1;
    }
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(1));
    return (eax & avx) != 0;
#else
    return -1;
#endif
}

/* Whoever returns with them in use makes all SSE code of the program slow, ours and the host's. */
static void test_checksum_leaves_vectors(void)
{
    static uint8_t  page[4096];
    struct tac_u128 checksum = tac_checksum(page, sizeof page, 1);
    int             in_use = upper_vectors_in_use();

    if (in_use < 0) {
        tap_skip("this processor does not tell which vector registers are in use");
        return;
    }
    tap_ok(in_use == 0 && !tac_u128_is_zero(checksum),
           "a checksum leaves the upper halves of the vector registers unused");
}

static void test_u128(struct tac_prng *prng)
{
    static const uint64_t words[] = {0, 1, 2, UINT64_MAX - 1, UINT64_MAX};
    bool                  sums = true;
    bool                  inverse = true;

    for (int round = 0; round < 20000; round++) {
        uint64_t          w[4];
        unsigned __int128 a;
        unsigned __int128 b;
        struct tac_u128   sum;

        for (int i = 0; i < 4; i++) {
            uint64_t pick = tac_prng_below(prng, TAC_ARRAY_COUNT(words) + 2);

            w[i] = pick < TAC_ARRAY_COUNT(words) ? words[pick] : tac_prng_next(prng);
        }
        a = (unsigned __int128)w[0] << 64 | w[1];
        b = (unsigned __int128)w[2] << 64 | w[3];
        sum = tac_u128_add(u128_of(a), u128_of(b));
        sums = sums && tac_u128_equal(sum, u128_of(a + b)) &&
               tac_u128_equal(tac_u128_subtract(u128_of(a), u128_of(b)), u128_of(a - b));
        inverse = inverse && tac_u128_equal(tac_u128_subtract(sum, u128_of(b)), u128_of(a)) &&
                  tac_u128_is_zero(tac_u128_subtract(sum, sum));
    }
    tap_ok(sums, "128-bit sums and differences agree with the compiler's");
    tap_ok(inverse, "subtracting undoes adding");
    tap_ok(!tac_u128_is_zero(u128_of(1)) && !tac_u128_is_zero(u128_of((unsigned __int128)1 << 64)),
           "a number is zero only when both words are");
}

static void test_prng_below(struct tac_prng *prng)
{
    uint32_t counts[7] = {0};
    bool     below = true;

    for (int i = 0; i < 70000; i++) {
        uint64_t value = tac_prng_below(prng, TAC_ARRAY_COUNT(counts));

        if (value >= TAC_ARRAY_COUNT(counts)) {
            below = false;
            break;
        }
        counts[value]++;
    }
    /* 10 standard deviations of about 93 each: no seed gets there by chance. */
    for (uint32_t i = 0; i < TAC_ARRAY_COUNT(counts); i++) {
        below = below && counts[i] > 9070 && counts[i] < 10930;
    }
    tap_ok(below, "numbers below a bound are evenly spread");
}

static void test_units(void)
{
    tap_ok(tac_div_ceil(0, 4) == 0 && tac_div_ceil(1, 4) == 1 && tac_div_ceil(4, 4) == 1 &&
               tac_round_up(4097, 4096) == 8192 && tac_round_up(4096, 4096) == 4096,
           "division and rounding go up");
    tap_ok(tac_is_power_of_two(1) && tac_is_power_of_two(TAC_TIB) && !tac_is_power_of_two(0) &&
               !tac_is_power_of_two(6),
           "powers of two are told from other numbers");
    tap_ok(tac_subtract_floor_zero(3, 5) == 0 && tac_subtract_floor_zero(5, 3) == 2,
           "a floored difference never wraps");
}

int main(void)
{
    struct tac_prng prng;

    tap_plan(0);
    prng.state = tap_seed();
    test_assert();
    test_error_text();
    test_path_text();
    test_error_names();
    test_bytes_compare();
    test_bytes_prefix(&prng);
    test_bytes_fields();
    test_known_values();
    test_checksum_sizes(&prng);
    test_checksum_leaves_vectors();
    test_u128(&prng);
    test_prng_below(&prng);
    test_units();
    return tap_done();
}
