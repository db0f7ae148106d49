/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of the same workload form a group; of each engine in it the report has the median of every
 * figure, and the curves of the run in the middle. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/compare.h"

#define ROUNDS_MAX 64

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* ---- reading -------------------------------------------------------------------------------- */

static json_t *runs_read(const char *path)
{
    FILE        *file = fopen(path, "r");
    json_t      *runs = json_array();
    json_error_t error;

    if (file == NULL) {
        fprintf(stderr, "tactus-compare: %s: %s\n", path, strerror(errno));
        json_decref(runs);
        return NULL;
    }
    for (;;) {
        json_t *run = json_loadf(file, JSON_DISABLE_EOF_CHECK, &error);

        if (run == NULL) {
            break;
        }
        json_array_append_new(runs, run);
    }
    if (!feof(file)) {
        fprintf(stderr, "tactus-compare: %s: run %zu: %s\n", path, json_array_size(runs) + 1,
                error.text);
        json_decref(runs);
        runs = NULL;
    }
    fclose(file);
    return runs;
}

/* ---- medians -------------------------------------------------------------------------------- */

static void group_name(const json_t *run, char name[160])
{
    const char *label = text_of(run, "label");

    snprintf(name, 160, "%s %s%s%s%s", text_of(run, "workload"), text_of(run, "shape"),
             strcmp(text_of(run, "log"), "none") == 0 ? "" : ", log", label[0] != 0 ? ", " : "",
             label);
}

static int number_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *numbers, size_t count)
{
    qsort(numbers, count, sizeof *numbers, number_compare);
    return count % 2 != 0 ? numbers[count / 2] : (numbers[count / 2 - 1] + numbers[count / 2]) / 2;
}

static double field_median(const json_t *rounds, const char *name)
{
    double numbers[ROUNDS_MAX];
    size_t count = tac_min_u64(json_array_size(rounds), ROUNDS_MAX);

    for (size_t i = 0; i < count; i++) {
        numbers[i] = number_of(json_array_get(rounds, i), name);
    }
    return median(numbers, count);
}

/* The one whose rate is nearest to the median. */
static json_t *round_in_the_middle(const json_t *rounds)
{
    double  middle = field_median(rounds, "records_per_s_settled");
    json_t *found = json_array_get(rounds, 0);

    for (size_t i = 1; i < json_array_size(rounds); i++) {
        json_t *round = json_array_get(rounds, i);

        if (fabs(number_of(round, "records_per_s_settled") - middle) <
            fabs(number_of(found, "records_per_s_settled") - middle)) {
            found = round;
        }
    }
    return found;
}

static json_t *rounds_median(const json_t *rounds)
{
    json_t     *result = json_copy(round_in_the_middle(rounds));
    const char *name;
    json_t     *value;
    json_t     *figures = json_object();

    json_object_foreach(result, name, value)
    {
        if (json_is_number(value)) {
            json_object_set_new(figures, name, json_real(field_median(rounds, name)));
        }
    }
    json_object_update(result, figures);
    json_decref(figures);
    json_object_set_new(result, "rounds", json_integer((json_int_t)json_array_size(rounds)));
    return result;
}

/* {group: {engine: [run…]}}, in the order of the runs. */
static json_t *runs_group(const json_t *runs)
{
    json_t *groups = json_object();
    size_t  i;
    json_t *run;

    json_array_foreach(runs, i, run)
    {
        char    name[160];
        json_t *group, *rounds;

        group_name(run, name);
        group = json_object_get(groups, name);
        if (group == NULL) {
            json_object_set_new(groups, name, group = json_object());
        }
        rounds = json_object_get(group, text_of(run, "engine"));
        if (rounds == NULL) {
            json_object_set_new(group, text_of(run, "engine"), rounds = json_array());
        }
        json_array_append(rounds, run);
    }
    return groups;
}

/* {group: {engine: medians}} */
static json_t *groups_median(json_t *groups)
{
    const char *name, *engine;
    json_t     *group, *rounds;
    json_t     *medians = json_object();

    json_object_foreach(groups, name, group)
    {
        json_t *target = json_object();

        json_object_foreach(group, engine, rounds)
        {
            json_object_set_new(target, engine, rounds_median(rounds));
        }
        json_object_set_new(medians, name, target);
    }
    return medians;
}

/* ---- the table ------------------------------------------------------------------------------ */

static void engine_print(const json_t *run, double tactus_per_s)
{
    double per_s = number_of(run, "records_per_s_settled");

    printf("  %-11s %10.0f %10.0f %9.2f %9.1f %9.1f %9.2f %8.0f %6.2f %6.2f %7.0f", /**/
           text_of(run, "engine"), number_of(run, "records_per_s"), per_s,
           number_of(run, "latency_us_p50"), number_of(run, "latency_us_p99"),
           number_of(run, "latency_us_p999"), number_of(run, "latency_us_max") / 1e3,
           number_of(run, "cpu_ns_per_record"), number_of(run, "write_amplification"),
           number_of(run, "space_amplification"), number_of(run, "peak_rss_bytes") / 1e6);
    if (tactus_per_s > 0 && per_s > 0) {
        printf(" %6.2f", tactus_per_s / per_s);
    }
    putchar('\n');
}

static void table_print(json_t *medians)
{
    const char *name, *engine;
    json_t     *group, *run;

    json_object_foreach(medians, name, group)
    {
        double tactus = number_of(json_object_get(group, "tactus"), "records_per_s_settled");

        printf("\n%s\n  %-11s %10s %10s %9s %9s %9s %9s %8s %6s %6s %7s %6s\n", name, "engine",
               "records/s", "settled/s", "p50 us", "p99 us", "p99.9 us", "max ms", "CPU ns",
               "write", "space", "RSS MB", "x");
        json_object_foreach(group, engine, run) { engine_print(run, tactus); }
    }
    puts("\nMedians. write: bytes written by bytes put; space: bytes on disk by live bytes;\n"
         "x: Tactus's rate by this engine's, settled.");
}

int tac_compare_report(const char *runs_path, const char *folder)
{
    json_t *runs = runs_read(runs_path);
    json_t *groups, *medians;
    char    path[4096];
    int     result;

    if (runs == NULL) {
        return -1;
    }
    groups = runs_group(runs);
    medians = groups_median(groups);
    table_print(medians);
    snprintf(path, sizeof path, "%s/results.json", folder);
    result = json_dump_file(medians, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (result != 0) {
        fprintf(stderr, "tactus-compare: cannot write %s\n", path);
    } else {
        result = tac_compare_page(medians, folder);
    }
    json_decref(medians);
    json_decref(groups);
    json_decref(runs);
    return result;
}
