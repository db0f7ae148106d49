/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/board.h"

#include <stdio.h>
#include <sys/mman.h>

#define NAME(name, text) #name,
const char *const tac_stress_counter_names[TAC_STRESS_COUNTERS_COUNT] = {TAC_STRESS_COUNTERS(NAME)};
#undef NAME

#define TEXT(name, text) text,
const char *const tac_stress_counter_texts[TAC_STRESS_COUNTERS_COUNT] = {TAC_STRESS_COUNTERS(TEXT)};
#undef TEXT

static size_t board_bytes(uint32_t row_count)
{
    return sizeof(struct tac_stress_board) + row_count * sizeof(struct tac_stress_row);
}

struct tac_stress_board *tac_stress_board_new(uint32_t row_count)
{
    struct tac_stress_board *board;

    tac_assert(row_count > TAC_STRESS_ROW_MAIN);
    board = mmap(NULL, board_bytes(row_count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
    if (board == MAP_FAILED) {
        return NULL;
    }
    board->row_count = row_count;
    return board;
}

void tac_stress_board_free(struct tac_stress_board *board)
{
    if (board != NULL) {
        munmap(board, board_bytes(board->row_count));
    }
}

void tac_stress_violation(struct tac_stress_board *board, const char *format, ...)
{
    uint32_t number = tac_atomic_fetch_add_u32(&board->violations, 1);
    va_list  arguments;

    if (number < TAC_STRESS_VIOLATIONS_KEPT) {
        va_start(arguments, format);
        vsnprintf(board->texts[number], sizeof board->texts[number], format, arguments);
        va_end(arguments);
        tac_atomic_store_release_u32(&board->is_kept[number], 1);
    }
    tac_atomic_store_release_u32(&board->stop, 1);
}

bool tac_stress_is_stopped(const struct tac_stress_board *board)
{
    return tac_atomic_load_acquire_u32(&board->stop) != 0;
}

uint64_t tac_stress_count_of(const struct tac_stress_board *board, enum tac_stress_counter counter)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < board->row_count; i++) {
        sum += tac_atomic_load_relaxed_u64(&board->rows[i].counts[counter]);
    }
    return sum;
}

uint64_t tac_stress_longest_write_ns(const struct tac_stress_board *board)
{
    uint64_t longest_ns = 0;

    for (uint32_t i = 0; i < board->row_count; i++) {
        longest_ns =
            tac_max_u64(longest_ns, tac_atomic_load_relaxed_u64(&board->rows[i].longest_write_ns));
    }
    return longest_ns;
}
