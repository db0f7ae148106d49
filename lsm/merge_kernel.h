/* SPDX-License-Identifier: Apache-2.0 */
/* merge_kernel -- the loop of a merge, included once for each kind of record (merge_kernels.c).
 *
 * Set before the inclusion:
 *   KERNEL            name of the function
 *   KERNEL_KEY_BYTES  8 or 16: keys are exactly that long, and the integers are whole keys. 0: any
 *                     size, and there is one integer, of the first eight bytes
 *   KERNEL_IS_FIXED   1: fixed layout, 0: variable
 */

#define KERNEL_JOIN_(a, b) a##_##b
#define KERNEL_JOIN(a, b) KERNEL_JOIN_(a, b)
#define KERNEL_NAME(part) KERNEL_JOIN(KERNEL, part)

/* Records ahead of the cursor that are fetched into the cache: a page is too short for the
 * processor to notice that it is read in order. */
#define KERNEL_AHEAD_BYTES 512

static inline uint32_t KERNEL_NAME(key_size)(const struct tac_merge_source *source)
{
    return KERNEL_KEY_BYTES > 0 ? KERNEL_KEY_BYTES : source->key_size;
}

static inline bool KERNEL_NAME(is_tombstone)(const struct tac_merge_source *source)
{
    if (KERNEL_IS_FIXED) {
        return source->has_tombstones && tac_fixed_is_tombstone(source->bitmap, source->index);
    }
    return source->is_tombstone;
}

/* Brings a source's integers up to date: its cursor has moved. Without a record it loses against
 * every key but the highest, and tac_merge_match sees to that one. */
static inline void KERNEL_NAME(contend)(struct tac_merge *merge, uint32_t number)
{
    const struct tac_merge_source *source = &merge->sources[number];

    if (source->is_ended) {
        merge->high[number] = UINT64_MAX;
        merge->low[number] = UINT64_MAX;
        return;
    }
    if (KERNEL_KEY_BYTES > 0) {
        merge->high[number] = __builtin_bswap64(tac_load_u64(source->record));
    } else {
        merge->high[number] = tac_key_prefix(source->record, source->key_size);
    }
    if (KERNEL_KEY_BYTES == 16) {
        merge->low[number] = __builtin_bswap64(tac_load_u64(source->record + 8));
    }
}

static inline bool KERNEL_NAME(is_equal)(uint64_t high_a, uint64_t low_a, uint64_t high_b,
                                         uint64_t low_b)
{
    return high_a == high_b && (KERNEL_KEY_BYTES != 16 || low_a == low_b);
}

static inline bool KERNEL_NAME(is_below)(uint64_t high_a, uint64_t low_a, uint64_t high_b,
                                         uint64_t low_b)
{
    if (KERNEL_KEY_BYTES == 16) {
        return ((unsigned __int128)high_a << 64 | low_a) <
               ((unsigned __int128)high_b << 64 | low_b);
    }
    return high_a < high_b;
}

/* True if source a wins against source b. */
static inline bool KERNEL_NAME(wins)(const struct tac_merge *merge, uint32_t a, uint32_t b)
{
    uint64_t high_a = merge->high[a], low_a = merge->low[a];
    uint64_t high_b = merge->high[b], low_b = merge->low[b];

    if (__builtin_expect(KERNEL_NAME(is_equal)(high_a, low_a, high_b, low_b), 0)) {
        return tac_merge_match(merge, a, b);
    }
    return KERNEL_NAME(is_below)(high_a, low_a, high_b, low_b);
}

/* Plays the path of a source from its entry up; returns the winner. The exchange is done with
 * masks: who wins is what a processor cannot predict. */
static inline uint32_t KERNEL_NAME(play)(struct tac_merge *merge, uint32_t number)
{
    uint32_t node = (merge->options.source_count + number) / 2;
    uint32_t winner = number;
    uint64_t high = merge->high[number], low = merge->low[number];

    for (; node > 0; node /= 2) {
        uint32_t loser = merge->losers[node];
        uint64_t loser_high = merge->high[loser], loser_low = merge->low[loser];
        uint64_t mask;
        uint32_t exchange;

        if (__builtin_expect(KERNEL_NAME(is_equal)(loser_high, loser_low, high, low), 0)) {
            mask = -(uint64_t)tac_merge_match(merge, loser, winner);
        } else {
            mask = -(uint64_t)KERNEL_NAME(is_below)(loser_high, loser_low, high, low);
        }
        high ^= (high ^ loser_high) & mask;
        low ^= (low ^ loser_low) & mask;
        exchange = (winner ^ loser) & (uint32_t)mask;
        winner ^= exchange;
        merge->losers[node] = loser ^ exchange;
    }
    return winner;
}

/* The first tournament: matches bottom-up, every node keeps its loser. */
static void KERNEL_NAME(seed)(struct tac_merge *merge)
{
    uint32_t winners[2 * TAC_MERGE_SOURCES_MAX];
    uint32_t count = merge->options.source_count;

    for (uint32_t i = 0; i < count; i++) {
        KERNEL_NAME(contend)(merge, i);
        winners[count + i] = i;
    }
    for (uint32_t node = count - 1; node > 0; node--) {
        uint32_t a = winners[2 * node], b = winners[2 * node + 1];
        bool     a_wins = KERNEL_NAME(wins)(merge, a, b);

        winners[node] = a_wins ? a : b;
        merge->losers[node] = a_wins ? b : a;
    }
    merge->winner = winners[1];
    merge->is_seeded = true;
}

/* The best of all the others: it lost against the winner, so it is on the winner's path. */
static uint32_t KERNEL_NAME(rival)(const struct tac_merge *merge)
{
    uint32_t node = (merge->options.source_count + merge->winner) / 2;
    uint32_t rival = TAC_MERGE_NO_SOURCE;

    for (; node > 0; node /= 2) {
        if (rival == TAC_MERGE_NO_SOURCE || KERNEL_NAME(wins)(merge, merge->losers[node], rival)) {
            rival = merge->losers[node];
        }
    }
    return rival;
}

/* True if the record under the winner's cursor has the key that was taken last. Keys of one source
 * differ, so only another source's can. */
static inline bool KERNEL_NAME(is_overwritten)(const struct tac_merge *merge)
{
    const struct tac_merge_source *source = &merge->sources[merge->winner];

    if (!KERNEL_NAME(is_equal)(merge->last_high, merge->last_low, merge->high[merge->winner],
                               merge->low[merge->winner]) ||
        merge->last_source == merge->winner || merge->last_source == TAC_MERGE_NO_SOURCE) {
        return false;
    }
    return KERNEL_KEY_BYTES > 0 || (merge->last_key_size == source->key_size &&
                                    memcmp(merge->last_key, source->record, source->key_size) == 0);
}

/* Takes the record under the winner's cursor. False: too few buffers, and nothing was done. */
static inline bool KERNEL_NAME(take)(struct tac_merge *merge)
{
    struct tac_merge_source *source = &merge->sources[merge->winner];
    uint32_t                 key_size = KERNEL_NAME(key_size)(source);
    bool                     is_tombstone = KERNEL_NAME(is_tombstone)(source);
    uint32_t                 value_size = KERNEL_IS_FIXED && is_tombstone ? 0 : source->value_size;
    struct tac_record        record = {
               .key = {source->record, key_size},
               .value = {source->record + key_size, value_size},
               .is_tombstone = is_tombstone,
    };

    if (KERNEL_NAME(is_overwritten)(merge)) {
        tac_merge_account_record(&merge->overwritten, &record);
    } else if (is_tombstone && merge->options.drops_tombstones) {
        tac_merge_account_record(&merge->tombstones_dropped, &record);
    } else {
        struct tac_u128 hash = tac_record_hash(source->record, key_size, value_size, is_tombstone);
        bool            is_done;

        if (KERNEL_IS_FIXED) {
            is_done = !is_tombstone &&
                      tac_table_builder_append_fixed(merge->builder, source->record, key_size,
                                                     merge->high[merge->winner], hash);
        } else {
            is_done = tac_table_builder_append_variable(merge->builder, source->record, key_size,
                                                        value_size, is_tombstone,
                                                        merge->high[merge->winner], hash);
        }
        if (!is_done && !tac_merge_append(merge, &record, hash)) {
            return false;
        }
    }
    merge->last_source = merge->winner;
    merge->last_high = merge->high[merge->winner];
    merge->last_low = merge->low[merge->winner];
    merge->last_key = source->record;
    merge->last_key_size = key_size;
    return true;
}

/* Moves the cursor to the page's next record; false: the page has none. */
static inline bool KERNEL_NAME(advance)(const struct tac_merge  *merge,
                                        struct tac_merge_source *source)
{
    const uint8_t *slot;

    source->index++;
    if (source->index == source->index_end) {
        return false;
    }
    if (KERNEL_IS_FIXED) {
        source->record += merge->record_bytes;
        __builtin_prefetch(source->record + KERNEL_AHEAD_BYTES);
        if (merge->record_bytes > 64) {
            __builtin_prefetch(source->record + KERNEL_AHEAD_BYTES + 64);
        }
        return true;
    }
    slot = tac_page_slot(source->page, source->index);
    source->key_size = tac_load_u16(slot + TAC_SLOT_OFFSET_KEY_SIZE);
    source->is_tombstone = (source->key_size & TAC_SLOT_TOMBSTONE) != 0;
    source->key_size &= ~TAC_SLOT_TOMBSTONE;
    /* Records are packed downwards: this one ends where the one before begins. */
    source->value_size = (uint32_t)(source->record - source->page) - source->key_size -
                         tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
    source->record = source->page + tac_load_u16(slot + TAC_SLOT_OFFSET_PLACE);
    __builtin_prefetch(source->record - KERNEL_AHEAD_BYTES);
    return true;
}

/* The source whose cursor has moved, or which has got a block, takes part again. Whoever wins a
 * streak goes on without a match as long as it is ahead of its rival. */
static inline void KERNEL_NAME(rejoin)(struct tac_merge *merge, uint32_t number)
{
    KERNEL_NAME(contend)(merge, number);
    if (merge->streak == TAC_MERGE_STREAK) {
        if (merge->rival == TAC_MERGE_NO_SOURCE || KERNEL_NAME(wins)(merge, number, merge->rival)) {
            return;
        }
        merge->streak = 0;
    }
    merge->winner = KERNEL_NAME(play)(merge, number);
    merge->streak = merge->winner == number ? merge->streak + 1 : 0;
    if (merge->streak == TAC_MERGE_STREAK) {
        merge->rival = KERNEL_NAME(rival)(merge);
    }
}

enum tac_merge_status KERNEL(struct tac_merge *merge)
{
    if (!merge->is_seeded) {
        KERNEL_NAME(seed)(merge);
    } else if (merge->source_needed != TAC_MERGE_NO_SOURCE) {
        KERNEL_NAME(rejoin)(merge, merge->source_needed);
    }
    merge->source_needed = TAC_MERGE_NO_SOURCE;
    while (!merge->sources[merge->winner].is_ended) {
        uint32_t                 number = merge->winner;
        struct tac_merge_source *source = &merge->sources[number];
        bool                     is_new_page = false;

        if (!KERNEL_NAME(take)(merge)) {
            return TAC_MERGE_NEEDS_BUFFER;
        }
        if (!KERNEL_NAME(advance)(merge, source)) {
            is_new_page = true;
            if (!tac_merge_page_next(merge, source) && !source->is_ended) {
                merge->source_needed = number;
                return TAC_MERGE_NEEDS_BLOCK;
            }
        }
        KERNEL_NAME(rejoin)(merge, number);
        if (is_new_page && merge->consumed_bytes >= merge->consumed_stop) {
            return TAC_MERGE_PAUSED;
        }
    }
    return tac_merge_end(merge);
}

#undef KERNEL
#undef KERNEL_KEY_BYTES
#undef KERNEL_IS_FIXED
#undef KERNEL_AHEAD_BYTES
#undef KERNEL_NAME
#undef KERNEL_JOIN
#undef KERNEL_JOIN_
