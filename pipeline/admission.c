/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/admission.h"

/* Job a comes before job b: a total order, so that any sort gives the same. */
static bool comes_before(const uint64_t *bytes, uint32_t a, uint32_t b)
{
    return bytes[a] != bytes[b] ? bytes[a] > bytes[b] : a < b;
}

/* Lets the entry at `at` go down to where both below it come before it. */
static void sift_down(const uint64_t *bytes, uint32_t *heap, uint32_t at, uint32_t count)
{
    uint32_t entry = heap[at];

    for (;;) { /* Ends: `at` goes down a tree. */
        uint32_t child = 2 * at + 1;

        if (child + 1 < count && comes_before(bytes, heap[child], heap[child + 1])) {
            child++;
        }
        if (child >= count || !comes_before(bytes, entry, heap[child])) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

void tac_admission_order(const uint64_t *bytes, uint32_t count, uint32_t *ret_order)
{
    for (uint32_t i = 0; i < count; i++) {
        ret_order[i] = i;
    }
    for (uint32_t i = count / 2; i > 0; i--) {
        sift_down(bytes, ret_order, i - 1, count);
    }
    for (uint32_t end = count; end > 1; end--) {
        uint32_t last = ret_order[0];

        ret_order[0] = ret_order[end - 1];
        ret_order[end - 1] = last;
        sift_down(bytes, ret_order, 0, end - 1);
    }
}
