/* SPDX-License-Identifier: Apache-2.0 */
/* plan_table -- see plan_table.h. */
#include "tools/plan_table.h"

#include <stdlib.h>

#include "base/units.h"
#include "tools/command.h"
#include "tools/escape.h"

static const char *const kinds[] = {
    [TACTUS_PLAN_FLUSH] = "flush",
    [TACTUS_PLAN_MERGE] = "merge",
    [TACTUS_PLAN_IN_PLACE] = "in place",
    [TACTUS_PLAN_MOVE] = "move",
};

static const char *const reasons[] = {
    [TACTUS_PLAN_FOR_FLUSH] = "flush", [TACTUS_PLAN_FOR_DEPTH] = "depth",
    [TACTUS_PLAN_FOR_SIZE] = "size",   [TACTUS_PLAN_FORWARD] = "ahead",
    [TACTUS_PLAN_BY_HAND] = "by hand", [TACTUS_PLAN_FOR_SPACE] = "space",
};

/* Keys that are longer than an entry has room for end with dots. */
static void key_print(FILE *out, const uint8_t *key, uint32_t size)
{
    char   text[TACTUS_PLAN_KEY_BYTES * TAC_ESCAPE_FACTOR];
    size_t text_size = tac_escape(key, tac_min_u64(size, TACTUS_PLAN_KEY_BYTES), text);

    fwrite(text, 1, text_size, out);
    fputs(size > TACTUS_PLAN_KEY_BYTES ? "..." : "", out);
}

static void entry_print(FILE *out, const struct tactus_plan_entry *entry)
{
    char bytes[TAC_HUMAN_BYTES];

    fprintf(out, "%-4s %4u %5u %2u  %-8s  %-8s %6u %11s", entry->is_due ? "due" : "now",
            entry->tree, entry->level_from, entry->level_to, kinds[entry->kind],
            reasons[entry->reason], entry->tables, tac_human(entry->input_bytes, bytes));
    if (entry->low_size + entry->high_size > 0) {
        fputs("  ", out);
        key_print(out, entry->low, entry->low_size);
        fputs(" .. ", out);
        key_print(out, entry->high, entry->high_size);
    }
    putc('\n', out);
}

int tac_plan_print(FILE *out, struct tactus *store)
{
    struct tactus_plan_entry *entries = calloc(TACTUS_PLAN_ENTRIES_MAX, sizeof *entries);
    uint32_t                  count = 0;
    int                       code;

    if (entries == NULL) {
        return tac_fail_code(TACTUS_ENOMEM);
    }
    code = tactus_plan(store, entries, TACTUS_PLAN_ENTRIES_MAX, &count);
    if (code == TACTUS_OK) {
        fputs("when tree level to  kind      for      tables       bytes  keys\n", out);
        for (uint32_t i = 0; i < count && i < TACTUS_PLAN_ENTRIES_MAX; i++) {
            entry_print(out, &entries[i]);
        }
    }
    if (count > TACTUS_PLAN_ENTRIES_MAX) {
        fprintf(out, "and %u more\n", count - TACTUS_PLAN_ENTRIES_MAX);
    }
    free(entries);
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}
