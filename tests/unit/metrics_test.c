/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics as text for Prometheus: each line is of its format, and the numbers are those of
 * tactus_stat. */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/units.h"
#include "tactus.h"
#include "tests/lib/small_options.h"
#include "tests/lib/tap.h"

#define LABELS "store=\"orders\""

static struct tactus *store_open(void)
{
    struct tactus_options options;
    struct tactus_layout  layout = {TACTUS_LAYOUT_FIXED, 8, 100};
    struct tactus        *store;
    uint32_t              tree;

    small_options(&options);
    options.backend = TACTUS_BACKEND_MEMORY;
    if (tactus_open("metrics", &options, &store) != TACTUS_OK ||
        tactus_tree_create(store, "tree", &layout, &tree) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t number = i * UINT64_C(0x9e3779b97f4a7c15);
        char     value[100] = "";

        if (tactus_put(store, tree, &number, sizeof number, value, sizeof value) != TACTUS_OK) {
            tap_bail("%s", tactus_message());
        }
    }
    return store;
}

/* To be freed. */
static char *metrics_text(struct tactus *store, const char *labels)
{
    size_t size, again;
    char  *text;

    if (tactus_metrics(store, labels, NULL, 0, &size) != TACTUS_OK) {
        tap_bail("%s", tactus_message());
    }
    size += 1000; /* Numbers may grow meanwhile. */
    text = malloc(size);
    if (text == NULL || tactus_metrics(store, labels, text, size, &again) != TACTUS_OK ||
        again >= size || strlen(text) != again) {
        tap_bail("no text");
    }
    return text;
}

/* The sample's value, as it is written; NULL: there is none. */
static const char *sample(const char *text, const char *name)
{
    size_t size = strlen(name);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            return line + size + 1;
        }
    }
    return NULL;
}

static bool is_number(const char *text, const char *name, uint64_t number)
{
    const char *value = sample(text, name);

    return value != NULL && strtoull(value, NULL, 10) == number;
}

/* Lines that are no lines of the format, or have not these labels. */
static uint32_t lines_wrong(const char *text, const char *labels)
{
    char     copy[65536], *rest = copy, *line;
    uint32_t wrong = 0;
    regex_t  comment, sample_line;
    char     pattern[256];

    tac_assert(strlen(text) < sizeof copy);
    strcpy(copy, text);
    snprintf(pattern, sizeof pattern,
             "^tactus_[a-z0-9_]+(\\{%s(,?[a-z]+=\"[^\"]+\")?\\})%s [0-9]+(\\.[0-9]{9})?$", labels,
             labels[0] == 0 ? "?" : "");
    tac_assert(regcomp(&comment, "^# (HELP|TYPE) tactus_[a-z0-9_]+ [a-zA-Z].*$",
                       REG_EXTENDED | REG_NOSUB) == 0 &&
               regcomp(&sample_line, pattern, REG_EXTENDED | REG_NOSUB) == 0);
    while ((line = strsep(&rest, "\n")) != NULL) {
        bool is_end = *line == 0 && rest == NULL;

        if (!is_end && regexec(&comment, line, 0, NULL, 0) != 0 &&
            regexec(&sample_line, line, 0, NULL, 0) != 0) {
            tap_diag("%s", line);
            wrong++;
        }
    }
    regfree(&comment);
    regfree(&sample_line);
    return wrong;
}

static void test_text(struct tactus *store)
{
    char               *text = metrics_text(store, NULL), *labelled = metrics_text(store, LABELS);
    struct tactus_stats stats;
    uint64_t            waits = 0;

    tactus_stat(store, &stats);
    tap_ok(lines_wrong(text, "") == 0, "each line is of the format");
    tap_ok(lines_wrong(labelled, LABELS) == 0, "each sample has the labels");
    tap_ok(is_number(text, "tactus_records_put_total", 3000) &&
               is_number(text, "tactus_user_bytes_total", 3000 * 108) &&
               is_number(text, "tactus_last_op", stats.last_op) &&
               is_number(text, "tactus_threads_merge", 0) &&
               is_number(labelled, "tactus_records_put_total{" LABELS "}", 3000),
           "numbers are those of the store");
    tap_ok(is_number(text, "tactus_level_records{level=\"0\"}", stats.level[0].records) &&
               stats.level[0].records > 0,
           "so are those of its levels");
    tap_ok(is_number(text, "tactus_stage_bytes_total{stage=\"merge\"}",
                     stats.stage[TACTUS_STAGE_MERGE].bytes) &&
               stats.stage[TACTUS_STAGE_MERGE].bytes > 0,
           "and of its stages");
    for (uint32_t i = 0; i < TACTUS_WAIT_BUCKETS; i++) {
        waits += stats.wait_buckets[i];
    }
    tap_ok(stats.waits > 0 && waits == stats.waits &&
               is_number(text, "tactus_wait_seconds_count", waits) &&
               is_number(text, "tactus_wait_seconds_bucket{le=\"+Inf\"}", waits),
           "the histogram has all waits, %" PRIu64, waits);
    free(text);
    free(labelled);
}

static void test_room(struct tactus *store)
{
    char   small[100], whole[65536];
    size_t small_size, whole_size;

    memset(small, 'x', sizeof small);
    tap_ok(tactus_metrics(store, NULL, small, sizeof small - 1, &small_size) == TACTUS_OK &&
               tactus_metrics(store, NULL, whole, sizeof whole, &whole_size) == TACTUS_OK &&
               small_size == whole_size && strlen(small) == sizeof small - 2 &&
               strncmp(small, whole, strlen(small)) == 0 && small[sizeof small - 1] == 'x',
           "a small buffer gets the beginning, terminated, and the size of all");
    tap_ok(tactus_metrics(store, NULL, NULL, 1, &small_size) == TACTUS_EINVAL,
           "no buffer, no room");
}

int main(void)
{
    struct tactus *store;

    tap_plan(0);
    store = store_open();
    test_text(store);
    test_room(store);
    tap_ok(tactus_close(store) == TACTUS_OK, "the store closes");
    return tap_done();
}
