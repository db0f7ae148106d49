/* SPDX-License-Identifier: Apache-2.0 */
/* note: versions
 *
 * The writer makes a node's version odd, changes the node, and makes the version even again; all
 * its stores are releases, so whoever sees one of them also sees every store before it. A reader
 * takes an even version, reads the node, and reads the version again; all its loads are acquires,
 * so they happen in that order. Had one of its loads seen a change, then its second look at the
 * version would see at least the odd version before that change: equal versions prove an
 * undisturbed reading.
 *
 * Going down, a reader looks at the parent's version again after it has taken the child's. A split
 * makes the parent odd before the child and even after it: a reader that took the child's version
 * after the split finds the parent changed, and one that took it before finds the child changed at
 * the end. For the root the part of the parent is played by tree->root: a full root is first put
 * under a new root and only then split.
 *
 * A reader that is disturbed still stays inside: an entry below `count` has at all times been some
 * entry of that node, a count only passes what has been written, levels never change, nothing is
 * freed. So it may follow what it finds, and starts again when it learns that it was disturbed.
 *
 * A newer version of a key replaces the older one in its entry with one store, which needs no odd
 * version: whichever a reader sees, the versions it may read are there or behind it.
 */
#include "lsm/memtree.h"

#include <sched.h>
#include <string.h>

#define HALF (TAC_MEMTREE_FANOUT / 2)
#define WORDS_PER_LINE ((uint32_t)(TAC_CACHE_LINE_BYTES / sizeof(uint64_t)))

/* How often a reader looks at an odd version before it lets others run: the writer may have lost
 * its processor between two stores. */
#define SPINS_MAX 64

/* Words that tell all keys apart are good as they are; others are taken anew further along the keys
 * once a node's keys agree in this many more bytes. */
#define SKIP_GAIN_MIN 2

static inline uint32_t load_u32(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store_u32(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint64_t load_u64(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store_u64(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline struct tac_memnode *node_at(const struct tac_memarena *arena, uint32_t ref)
{
    return tac_memarena_at(arena, ref);
}

static inline struct tac_bytes key_at(const struct tac_memarena *arena, uint32_t record)
{
    return tac_memrecord_key(tac_memtree_record(arena, record));
}

/* ---- searching a node ----------------------------------------------------------------------- */

static inline uint64_t word_of(struct tac_bytes key, uint32_t skip)
{
    /* A disturbed reader may see the skip of another time. */
    uint32_t begin = skip < key.size ? skip : key.size;

    return tac_key_prefix(key.data + begin, key.size - begin);
}

/* The first entry of [begin, end) whose word is not below `word`; `end` if there is none. Words
 * behind the entries are not below any. Two steps whose loads do not wait for each other: the last
 * words of the lines but the last tell the line, all of its words the place. */
static inline uint32_t words_below(const struct tac_memnode *node, uint32_t begin, uint32_t end,
                                   uint64_t word)
{
    uint32_t rank = 0;
    uint32_t line;

    for (uint32_t i = 1; i < TAC_MEMTREE_FANOUT / WORDS_PER_LINE; i++) {
        rank += load_u64(&node->words[i * WORDS_PER_LINE - 1]) < word;
    }
    rank *= WORDS_PER_LINE;
    line = rank;
    for (uint32_t i = 0; i < WORDS_PER_LINE; i++) {
        rank += load_u64(&node->words[line + i]) < word;
    }
    /* Above `end` only for a reader that is disturbed. */
    rank = rank < end ? rank : end;
    return rank > begin ? rank : begin;
}

/* As node_rank, for keys whose words equal that of the key. */
static uint32_t rank_by_record(const struct tac_memarena *arena, const struct tac_memnode *node,
                               uint32_t begin, uint32_t end, struct tac_bytes key, bool or_equal,
                               bool *ret_is_equal)
{
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        int      order = tac_bytes_compare(key_at(arena, load_u32(&node->records[middle])), key);

        if (order == 0) {
            *ret_is_equal = true;
            return middle + or_equal;
        }
        if (order < 0) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

/* The first entry of [begin, end) whose key is above the key, or with or_equal false not below it.
 * *ret_is_equal is set when the key is there. */
static inline uint32_t node_rank(const struct tac_memarena *arena, const struct tac_memnode *node,
                                 uint32_t begin, uint32_t end, struct tac_bytes key, bool or_equal,
                                 bool *ret_is_equal)
{
    uint64_t word = word_of(key, load_u32(&node->skip));
    uint32_t rank = words_below(node, begin, end, word);

    tac_assert(end <= TAC_MEMTREE_FANOUT);
    *ret_is_equal = false;
    if (rank == end || load_u64(&node->words[rank]) != word) {
        return rank;
    }
    if (word != UINT64_MAX) {
        end = words_below(node, rank, end, word + 1);
    }
    return rank_by_record(arena, node, rank, end, key, or_equal, ret_is_equal);
}

/* The entry of an inner node that leads to the key; with or_equal false to what is just before. */
static inline uint32_t child_index(const struct tac_memarena *arena, const struct tac_memnode *node,
                                   struct tac_bytes key, bool or_equal)
{
    bool     is_equal;
    uint32_t count = load_u32(&node->count);

    tac_assert(node->level > 0 && count > 0);
    return node_rank(arena, node, 1, count, key, or_equal, &is_equal) - 1;
}

/* Nodes of the lower levels are likely not in the near caches: asks for all that a search may touch
 * at once. */
static inline void node_prefetch(const struct tac_memnode *node, uint32_t level)
{
    size_t end = level == 0 ? TAC_MEMLEAF_BYTES : TAC_MEMINNER_BYTES;

    for (size_t i = 0; i < end; i += TAC_CACHE_LINE_BYTES) {
        __builtin_prefetch((const uint8_t *)node + i);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

static void node_lock(struct tac_memnode *node)
{
    tac_assert(node->version % 2 == 0);
    store_u32(&node->version, node->version + 1);
}

static void node_unlock(struct tac_memnode *node)
{
    tac_assert(node->version % 2 == 1);
    store_u32(&node->version, node->version + 1);
}

static struct tac_memnode *node_new(struct tac_memarena *arena, uint32_t level, uint32_t *ret_ref)
{
    uint32_t ref =
        tac_memarena_take_node(arena, level == 0 ? TAC_MEMLEAF_BYTES : TAC_MEMINNER_BYTES);
    struct tac_memnode *node = node_at(arena, ref);

    memset(node, 0, offsetof(struct tac_memnode, words));
    memset(node->words, UINT8_MAX, sizeof node->words);
    node->level = level;
    *ret_ref = ref;
    return node;
}

/* Makes room for an entry at index and writes it. The node is locked or not yet seen by anyone. */
static void entry_insert(struct tac_memnode *node, uint32_t index, uint64_t word, uint32_t record,
                         uint32_t child)
{
    uint32_t count = node->count;

    tac_assert(count < TAC_MEMTREE_FANOUT && index <= count);
    for (uint32_t i = count; i > index; i--) {
        store_u64(&node->words[i], node->words[i - 1]);
    }
    for (uint32_t i = count; i > index; i--) {
        store_u32(&node->records[i], node->records[i - 1]);
    }
    store_u64(&node->words[index], word);
    store_u32(&node->records[index], record);
    if (node->level > 0) {
        tac_assert(child != 0);
        for (uint32_t i = count; i > index; i--) {
            store_u32(&node->children[i], node->children[i - 1]);
        }
        store_u32(&node->children[index], child);
    }
    store_u32(&node->count, count + 1);
}

static uint32_t common_bytes(struct tac_bytes a, struct tac_bytes b)
{
    uint32_t size = a.size < b.size ? a.size : b.size;
    uint32_t common = 0;

    while (common < size && a.data[common] == b.data[common]) {
        common++;
    }
    return common;
}

/* The words that a node's entries [begin, end) should have once it lies between low and high: as
 * they are, or taken anew at a greater skip. Returns the skip. */
static uint32_t words_fit(const struct tac_memarena *arena, const struct tac_memnode *node,
                          uint32_t begin, uint32_t end, uint32_t low, uint32_t high,
                          uint64_t ret_words[TAC_MEMTREE_FANOUT])
{
    uint32_t skip = node->skip;
    bool     has_ties = false;

    tac_assert(begin < end && end <= TAC_MEMTREE_FANOUT);
    memcpy(ret_words, &node->words[begin], (end - begin) * sizeof ret_words[0]);
    for (uint32_t i = 1; i < end - begin; i++) {
        has_ties |= ret_words[i - 1] == ret_words[i];
    }
    if (!has_ties || low == 0 || high == 0) {
        return skip;
    }
    skip = common_bytes(key_at(arena, low), key_at(arena, high));
    if (skip < node->skip + SKIP_GAIN_MIN) {
        return node->skip;
    }
    for (uint32_t i = 0; i < end - begin; i++) {
        ret_words[i] = word_of(key_at(arena, node->records[begin + i]), skip);
    }
    return skip;
}

/* Puts `right` into the tree as the right neighbour of `left`, of which the first left_count
 * entries stay. `parent` has room behind left's index; the separator is right's smallest key. */
static void node_link(struct tac_memarena *arena, struct tac_memnode *parent, uint32_t left_index,
                      struct tac_memnode *left, uint32_t left_count, struct tac_memnode *right,
                      uint32_t right_ref)
{
    uint32_t low = parent->records[left_index];
    uint32_t separator = right->records[0];
    uint64_t words[TAC_MEMTREE_FANOUT];
    uint32_t skip = words_fit(arena, left, 0, left_count, low, separator, words);

    right->next = left->next;
    node_lock(parent);
    node_lock(left);
    if (skip != left->skip) {
        store_u32(&left->skip, skip);
        for (uint32_t i = 0; i < left_count; i++) {
            store_u64(&left->words[i], words[i]);
        }
    }
    for (uint32_t i = left_count; i < left->count; i++) {
        store_u64(&left->words[i], UINT64_MAX);
    }
    store_u32(&left->count, left_count);
    if (left->level == 0) {
        store_u32(&left->next, right_ref);
    }
    entry_insert(parent, left_index + 1, word_of(key_at(arena, separator), parent->skip), separator,
                 right_ref);
    node_unlock(left);
    node_unlock(parent);
}

/* Moves the upper half of a full node to a new right neighbour. */
static void node_split(struct tac_memarena *arena, struct tac_memnode *parent, uint32_t index,
                       struct tac_memnode *node, uint32_t high)
{
    uint32_t            right_ref;
    struct tac_memnode *right = node_new(arena, node->level, &right_ref);
    size_t              moved_bytes = HALF * sizeof node->records[0];

    tac_assert(node->count == TAC_MEMTREE_FANOUT);
    tac_assert(parent->count < TAC_MEMTREE_FANOUT);
    right->skip =
        words_fit(arena, node, HALF, TAC_MEMTREE_FANOUT, node->records[HALF], high, right->words);
    memcpy(right->records, &node->records[HALF], moved_bytes);
    right->count = HALF;
    if (node->level > 0) {
        memcpy(right->children, &node->children[HALF], moved_bytes);
    } else {
        for (uint32_t i = 0; i < HALF; i++) {
            right->payload_bytes +=
                tac_memrecord_payload_bytes(tac_memtree_record(arena, right->records[i]));
        }
        node->payload_bytes -= right->payload_bytes;
    }
    node_link(arena, parent, index, node, HALF, right, right_ref);
}

/* Puts a new root, with the old one as its only child, on top. */
static struct tac_memnode *root_grow(struct tac_memarena *arena, struct tac_memtree *tree)
{
    const struct tac_memnode *old_root = node_at(arena, tree->root);
    uint32_t                  ref;
    struct tac_memnode       *root = node_new(arena, old_root->level + 1, &ref);

    tac_assert(old_root->count == TAC_MEMTREE_FANOUT);
    root->words[0] = 0;
    root->records[0] = 0;
    root->children[0] = tree->root;
    root->count = 1;
    store_u32(&tree->root, ref);
    return root;
}

/* The short way down for keys that come in order; false: take the long one. */
static bool descend_to_last(const struct tac_memarena *arena, const struct tac_memtree *tree,
                            struct tac_bytes key, struct tac_memtree_descent *ret_at)
{
    struct tac_memnode *parent;
    struct tac_memnode *leaf;
    uint32_t            index;

    if (tree->last_parent == NULL) {
        return false;
    }
    parent = tree->last_parent;
    tac_assert(parent->level == 1 && parent->count > 0);
    index = parent->count - 1;
    leaf = node_at(arena, parent->children[index]);
    if (parent->count == TAC_MEMTREE_FANOUT || leaf->next != 0) {
        return false;
    }
    if (tac_bytes_compare(key_at(arena, leaf->records[leaf->count - 1]), key) >= 0) {
        return false;
    }
    *ret_at = (struct tac_memtree_descent){
        .leaf = leaf, .parent = parent, .index = index, .is_behind_all = true};
    return true;
}

/* Goes down to the node above the leaf of a key, which is asked for and not looked at: so it may be
 * full. Without a leaf; parent NULL: there is no such node. */
static struct tac_memtree_descent descend_to_parent(const struct tac_memarena *arena,
                                                    const struct tac_memtree  *tree,
                                                    struct tac_bytes           key)
{
    struct tac_memtree_descent at = {.parent = NULL};
    struct tac_memnode        *node = node_at(arena, tree->root);
    uint32_t                   level = node->level;

    for (; level > 1; level--) {
        uint32_t index = child_index(arena, node, key, true);

        at.high = index + 1 < node->count ? node->records[index + 1] : at.high;
        node = node_at(arena, node->children[index]);
        node_prefetch(node, level - 1);
    }
    at.parent = level == 1 ? node : NULL;
    return at;
}

/* Goes down to the leaf of a key and splits every full inner node on the way, so that the leaf's
 * parent has room. The leaf itself is asked for, not looked at. */
static struct tac_memtree_descent descend(struct tac_memarena *arena, struct tac_memtree *tree,
                                          struct tac_bytes key)
{
    struct tac_memtree_descent at = {.leaf = NULL};
    struct tac_memnode        *node = node_at(arena, tree->root);
    uint32_t                   level;

    if (node->level > 0 && node->count == TAC_MEMTREE_FANOUT) {
        node = root_grow(arena, tree);
    }
    level = node->level;
    while (level > 0) {
        uint32_t            index = child_index(arena, node, key, true);
        struct tac_memnode *child = node_at(arena, node->children[index]);
        uint32_t            high = index + 1 < node->count ? node->records[index + 1] : at.high;

        node_prefetch(child, level - 1);
        if (level > 1 && child->count == TAC_MEMTREE_FANOUT) {
            node_split(arena, node, index, child, high);
            continue;
        }
        at.parent = node;
        at.index = index;
        at.high = high;
        node = child;
        level--;
    }
    at.leaf = node;
    return at;
}

/* The way to the leaf of a key, of which descend_to_parent has gone the first part: what was put
 * since has split no node but leaves. */
static struct tac_memtree_descent descend_on(struct tac_memarena *arena, struct tac_memtree *tree,
                                             struct tac_bytes                  key,
                                             const struct tac_memtree_descent *above)
{
    struct tac_memtree_descent at = *above;

    if (at.parent == NULL || at.parent->count == TAC_MEMTREE_FANOUT) {
        at = descend(arena, tree, key);
    } else {
        at.index = child_index(arena, at.parent, key, true);
        at.leaf = node_at(arena, at.parent->children[at.index]);
        node_prefetch(at.leaf, 0);
        at.high = at.index + 1 < at.parent->count ? at.parent->records[at.index + 1] : at.high;
    }
    if (at.high == 0 && at.parent != NULL) {
        tree->last_parent = at.parent;
    }
    return at;
}

/* A key above all others begins a new leaf when the last one is full: keys that come in order fill
 * their leaves. The leaf is never empty, which tac_memtree_seek builds upon. */
static void leaf_append(struct tac_memarena *arena, const struct tac_memtree_descent *at,
                        uint32_t record)
{
    uint32_t            ref;
    struct tac_memnode *leaf = node_new(arena, 0, &ref);

    tac_assert(at->high == 0 && at->leaf->next == 0);
    tac_assert(at->parent->count < TAC_MEMTREE_FANOUT);
    leaf->words[0] = word_of(key_at(arena, record), 0);
    leaf->records[0] = record;
    leaf->count = 1;
    leaf->payload_bytes = tac_memrecord_payload_bytes(tac_memtree_record(arena, record));
    node_link(arena, at->parent, at->index, at->leaf, at->leaf->count, leaf, ref);
}

/* Inserts a key that the leaf does not have yet, at its rank in the leaf. */
static void leaf_insert(struct tac_memarena *arena, struct tac_memtree *tree,
                        struct tac_memtree_descent *at, uint32_t rank, uint32_t record)
{
    struct tac_memnode *leaf = at->leaf;
    struct tac_bytes    key = key_at(arena, record);

    if (leaf->count == TAC_MEMTREE_FANOUT) {
        if (at->parent == NULL) {
            at->parent = root_grow(arena, tree);
            tac_assert(at->index == 0 && at->high == 0);
        }
        if (rank == TAC_MEMTREE_FANOUT && leaf->next == 0) {
            leaf_append(arena, at, record);
            return;
        }
        node_split(arena, at->parent, at->index, leaf, at->high);
        if (rank > HALF) {
            /* At HALF itself the key is below the separator: it belongs to the left. */
            rank -= HALF;
            leaf = node_at(arena, leaf->next);
        }
    }
    node_lock(leaf);
    entry_insert(leaf, rank, word_of(key, leaf->skip), record, 0);
    node_unlock(leaf);
    leaf->payload_bytes += tac_memrecord_payload_bytes(tac_memtree_record(arena, record));
}

static struct tac_memrecord *record_write(struct tac_memarena *arena, uint64_t op,
                                          const struct tac_record *record, uint32_t *ret_ref)
{
    uint32_t              size = record->key.size + record->value.size;
    uint32_t              ref = tac_memarena_take_record(arena, TAC_MEMRECORD_HEADER_BYTES + size);
    struct tac_memrecord *written = tac_memarena_at(arena, ref);

    written->op = op;
    written->older = 0;
    written->value_size = record->is_tombstone ? TAC_MEMRECORD_TOMBSTONE : record->value.size;
    written->key_size = (uint16_t)record->key.size;
    memcpy(written->bytes, record->key.data, record->key.size);
    if (record->value.size > 0) {
        memcpy(written->bytes + record->key.size, record->value.data, record->value.size);
    }
    *ret_ref = ref;
    return written;
}

void tac_memtree_put_end(struct tac_memarena *arena, struct tac_memtree *tree)
{
    struct tac_memtree_descent *at = &tree->pending_at;
    uint32_t                    ref = tree->pending;
    struct tac_memrecord       *record;
    bool                        is_equal = false;
    uint32_t                    rank;

    if (ref == 0) {
        return;
    }
    record = tac_memarena_at(arena, ref);
    rank = at->is_behind_all ? at->leaf->count
                             : node_rank(arena, at->leaf, 0, at->leaf->count,
                                         tac_memrecord_key(record), false, &is_equal);
    if (is_equal) {
        const struct tac_memrecord *older = tac_memtree_record(arena, at->leaf->records[rank]);
        uint32_t                    older_bytes = tac_memrecord_payload_bytes(older);

        tac_assert(older->op <= record->op);
        store_u32(&record->older, at->leaf->records[rank]);
        store_u32(&at->leaf->records[rank], ref);
        at->leaf->payload_bytes += tac_memrecord_payload_bytes(record) - older_bytes;
        tree->payload_bytes -= older_bytes;
        tree->tombstones -= tac_memrecord_is_tombstone(older);
    } else {
        leaf_insert(arena, tree, at, rank, ref);
        tree->records++;
    }
    store_u32(&tree->pending, 0);
}

void tac_memtree_put(struct tac_memarena *arena, struct tac_memtree *tree, uint64_t op,
                     const struct tac_record *record)
{
    struct tac_memtree_descent above = {.parent = NULL};
    struct tac_memrecord      *written;
    struct tac_u128            hash;
    uint32_t                   ref;
    bool                       is_first = tree->root == 0;
    /* The put before went to the last leaf: keys may come in order. */
    bool is_at_end = tree->pending_at.high == 0;

    tac_assert(record->key.size > 0 && record->key.size <= TACTUS_KEY_SIZE_MAX);
    tac_assert(record->value.size <= TAC_MEMTREE_VALUE_SIZE_MAX);
    if (is_first) {
        (void)node_new(arena, 0, &tree->first_leaf);
        store_u32(&tree->root, tree->first_leaf);
    } else if (!is_at_end) {
        above = descend_to_parent(arena, tree, record->key);
    }
    /* The put before is ended, and the record copied and hashed, while the leaf's parent is on its
     * way from memory; the leaf itself has time until the next put. */
    tac_memtree_put_end(arena, tree);
    written = record_write(arena, op, record, &ref);
    hash =
        tac_record_hash(written->bytes, record->key.size, record->value.size, record->is_tombstone);
    if (!is_at_end || !descend_to_last(arena, tree, record->key, &tree->pending_at)) {
        tree->pending_at = descend_on(arena, tree, record->key, &above);
    }
    tree->versions++;
    tree->tombstones += record->is_tombstone;
    tree->payload_bytes += tac_memrecord_payload_bytes(written);
    tree->payload_max =
        (uint32_t)tac_max_u64(tree->payload_max, tac_memrecord_payload_bytes(written));
    tree->inserted_sum = tac_u128_add(tree->inserted_sum, hash);
    store_u32(&tree->pending, ref);
    if (is_first) {
        tac_memtree_put_end(arena, tree); /* No leaf stays empty. */
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

static uint32_t version_even(const struct tac_memnode *node)
{
    for (uint32_t spins = 0;; spins++) {
        uint32_t version = load_u32(&node->version);

        if (version % 2 == 0) {
            return version;
        }
        if (spins < SPINS_MAX) {
            pause_briefly();
        } else {
            (void)sched_yield();
        }
    }
}

/* One way down to the leaf of a position, and the leaf's version as it was when the leaf was the
 * right one. False: disturbed. *ret_leaf is NULL in an empty tree. */
static bool leaf_try(const struct tac_memarena *arena, const struct tac_memtree *tree,
                     enum tac_memtree_position position, struct tac_bytes key,
                     const struct tac_memnode **ret_leaf, uint32_t *ret_version)
{
    uint32_t                  root = load_u32(&tree->root);
    const struct tac_memnode *node = NULL;
    uint32_t                  version = 0;

    if (root != 0) {
        node = node_at(arena, root);
        version = version_even(node);
        if (load_u32(&tree->root) != root) {
            return false;
        }
    }
    while (node != NULL && node->level > 0) {
        const struct tac_memnode *child;
        uint32_t                  child_version;
        uint32_t                  index = 0;

        if (position == TAC_MEMTREE_LAST) {
            index = load_u32(&node->count) - 1;
        } else if (position != TAC_MEMTREE_FIRST) {
            index = child_index(arena, node, key, position != TAC_MEMTREE_BEFORE_BACK);
        }
        child = node_at(arena, load_u32(&node->children[index]));
        node_prefetch(child, node->level - 1);
        child_version = version_even(child);
        if (load_u32(&node->version) != version) {
            return false;
        }
        node = child;
        version = child_version;
    }
    *ret_leaf = node;
    *ret_version = version;
    return true;
}

static const struct tac_memnode *leaf_find(const struct tac_memarena *arena,
                                           const struct tac_memtree  *tree,
                                           enum tac_memtree_position position, struct tac_bytes key,
                                           uint32_t *ret_version)
{
    const struct tac_memnode *leaf;

    while (!leaf_try(arena, tree, position, key, &leaf, ret_version)) {
        /* The writer got on with its work meanwhile. */
    }
    return leaf;
}

uint32_t tac_memtree_pending(const struct tac_memarena *arena, const struct tac_memtree *tree,
                             uint64_t visible_op)
{
    uint32_t pending = load_u32(&tree->pending);

    return pending != 0 && tac_memtree_record(arena, pending)->op <= visible_op ? pending : 0;
}

uint32_t tac_memtree_get(const struct tac_memarena *arena, const struct tac_memtree *tree,
                         struct tac_bytes key)
{
    for (;;) {
        uint32_t                  version;
        const struct tac_memnode *leaf = leaf_find(arena, tree, TAC_MEMTREE_BEFORE, key, &version);
        uint32_t                  record = 0;
        uint32_t                  rank;
        bool                      is_equal;

        if (leaf == NULL) {
            return 0;
        }
        rank = node_rank(arena, leaf, 0, load_u32(&leaf->count), key, false, &is_equal);
        if (is_equal) {
            record = load_u32(&leaf->records[rank]);
        }
        if (load_u32(&leaf->version) == version) {
            return record;
        }
    }
}

static void leaf_copy(const struct tac_memnode *leaf, struct tac_memleaf *ret_leaf)
{
    uint32_t count = load_u32(&leaf->count);

    tac_assert(leaf->level == 0 && count <= TAC_MEMTREE_FANOUT);
    for (uint32_t i = 0; i < count; i++) {
        ret_leaf->records[i] = load_u32(&leaf->records[i]);
    }
    ret_leaf->count = count;
    ret_leaf->point = 0;
    ret_leaf->next = load_u32(&leaf->next);
    ret_leaf->is_first = false;
}

void tac_memtree_seek(const struct tac_memarena *arena, const struct tac_memtree *tree,
                      enum tac_memtree_position position, struct tac_bytes key,
                      struct tac_memleaf *ret_leaf)
{
    const struct tac_memnode *leaf;
    uint32_t                  version;

    do {
        leaf = leaf_find(arena, tree, position, key, &version);
        if (leaf == NULL) {
            ret_leaf->count = 0;
            ret_leaf->point = 0;
            ret_leaf->next = 0;
            ret_leaf->is_first = true;
            return;
        }
        leaf_copy(leaf, ret_leaf);
        if (position == TAC_MEMTREE_LAST) {
            ret_leaf->point = ret_leaf->count;
        } else if (position != TAC_MEMTREE_FIRST) {
            bool is_equal;

            ret_leaf->point = node_rank(arena, leaf, 0, ret_leaf->count, key,
                                        position == TAC_MEMTREE_BEHIND, &is_equal);
        }
    } while (load_u32(&leaf->version) != version);
    ret_leaf->is_first = leaf == node_at(arena, tree->first_leaf);
    tac_assert(ret_leaf->point <= ret_leaf->count);
}

void tac_memtree_copy(const struct tac_memarena *arena, uint32_t leaf, struct tac_memleaf *ret_leaf)
{
    const struct tac_memnode *node = node_at(arena, leaf);
    uint32_t                  version;

    do {
        version = version_even(node);
        leaf_copy(node, ret_leaf);
    } while (load_u32(&node->version) != version);
    tac_assert(ret_leaf->count > 0);
}

/* A leaf's smallest key, and so the next one's, is fixed, but for the first leaf's. */
static bool leaf_may_have(const struct tac_memarena *arena, const struct tac_memleaf *leaf,
                          struct tac_bytes key)
{
    const struct tac_memnode *next = leaf->next == 0 ? NULL : node_at(arena, leaf->next);

    if (next != NULL && tac_bytes_compare(key, key_at(arena, load_u32(&next->records[0]))) >= 0) {
        return false;
    }
    return leaf->is_first || tac_bytes_compare(key, key_at(arena, leaf->records[0])) >= 0;
}

/* The first entry whose key is not below the key. */
static uint32_t leaf_rank(const struct tac_memarena *arena, const struct tac_memleaf *leaf,
                          struct tac_bytes key, bool *ret_is_equal)
{
    uint32_t begin = 0, end = leaf->count;

    *ret_is_equal = false;
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        int      order = tac_bytes_compare(key_at(arena, leaf->records[middle]), key);

        *ret_is_equal |= order == 0;
        if (order < 0) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

static bool position_is_behind(enum tac_memtree_position position, struct tac_bytes at,
                               struct tac_bytes key)
{
    switch (position) {
    case TAC_MEMTREE_FIRST:
        return false;
    case TAC_MEMTREE_LAST:
        return true;
    case TAC_MEMTREE_BEFORE:
    case TAC_MEMTREE_BEFORE_BACK:
        return tac_bytes_compare(key, at) < 0;
    case TAC_MEMTREE_BEHIND:
        break;
    }
    return tac_bytes_compare(key, at) <= 0;
}

void tac_memtree_leaf_add(const struct tac_memarena *arena, struct tac_memleaf *leaf,
                          uint32_t record, enum tac_memtree_position position, struct tac_bytes key)
{
    struct tac_bytes added = key_at(arena, record);
    bool             is_equal;
    uint32_t         rank;

    tac_assert(leaf->count > 0 && leaf->count <= TAC_MEMTREE_FANOUT);
    if (!leaf_may_have(arena, leaf, added)) {
        return;
    }
    rank = leaf_rank(arena, leaf, added, &is_equal);
    if (is_equal) {
        /* A newer one has this one behind it. Of one op it is the last: see tac_memtree_pending. */
        if (tac_memtree_record(arena, leaf->records[rank])->op <=
            tac_memtree_record(arena, record)->op) {
            leaf->records[rank] = record;
        }
        return;
    }
    memmove(&leaf->records[rank + 1], &leaf->records[rank],
            (leaf->count - rank) * sizeof leaf->records[0]);
    leaf->records[rank] = record;
    leaf->count++;
    if (rank < leaf->point || (rank == leaf->point && position_is_behind(position, key, added))) {
        leaf->point++;
    }
}

const struct tac_memnode *tac_memtree_find(const struct tac_memarena *arena,
                                           const struct tac_memtree *tree, struct tac_bytes key,
                                           uint32_t *ret_rank)
{
    uint32_t                  version;
    const struct tac_memnode *leaf = leaf_find(arena, tree, TAC_MEMTREE_BEFORE, key, &version);
    bool                      is_equal;

    if (leaf == NULL) {
        return NULL;
    }
    *ret_rank = node_rank(arena, leaf, 0, leaf->count, key, false, &is_equal);
    tac_assert(load_u32(&leaf->version) == version);
    return leaf;
}

/* Goes down one level at each call. */
static void node_prefetch_leaves(const struct tac_memarena *arena, const struct tac_memnode *node)
{
    for (uint32_t i = 0; node->level > 0 && i < node->count; i++) {
        const struct tac_memnode *child = node_at(arena, node->children[i]);

        if (node->level == 1) {
            __builtin_prefetch(child);
        } else {
            node_prefetch_leaves(arena, child);
        }
    }
}

void tac_memtree_prefetch_leaves(const struct tac_memarena *arena, const struct tac_memtree *tree)
{
    if (tree->root != 0) {
        node_prefetch_leaves(arena, node_at(arena, tree->root));
    }
}
