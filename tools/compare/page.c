/* SPDX-License-Identifier: Apache-2.0 */
/* One page that needs nothing else: the figures as tables, the curves drawn by gnuplot as SVG. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/compare.h"

#define SCRIPT_NAME "plot.gnuplot"

struct page {
    FILE       *out;
    const char *folder;
    bool        has_gnuplot;
};

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static double pair_number(const json_t *pair, size_t index)
{
    return json_number_value(json_array_get(pair, index));
}

/* ---- plots ---------------------------------------------------------------------------------- */

/* A block of inline data for each engine. */
static void curve_write(FILE *script, const char *engine, const json_t *run)
{
    size_t  i;
    json_t *pair;

    fprintf(script, "$%s_curve << END\n", engine);
    json_array_foreach(json_object_get(run, "latency_curve"), i, pair)
    {
        fprintf(script, "%g %g\n", pair_number(pair, 1), pair_number(pair, 0));
    }
    fputs("END\n", script);
}

static void slices_write(FILE *script, const char *engine, const json_t *run)
{
    const double slice_seconds = (double)TAC_MEASURE_SLICE_NS / 1e9;
    size_t       i;
    json_t      *pair;

    fprintf(script, "$%s_slices << END\n", engine);
    json_array_foreach(json_object_get(run, "slices"), i, pair)
    {
        fprintf(script, "%g %g %g\n", (double)i * slice_seconds,
                pair_number(pair, 0) / slice_seconds, pair_number(pair, 1) / 1e3);
    }
    fputs("END\n", script);
}

static void plot_write(FILE *script, json_t *group, const char *block, const char *columns,
                       const char *style)
{
    const char *engine, *separator = "plot ";
    json_t     *run;

    json_object_foreach(group, engine, run)
    {
        fprintf(script, "%s$%s_%s using %s with %s title \"%s\"", separator, engine, block, columns,
                style, engine);
        separator = ", \\\n  ";
    }
    fputc('\n', script);
}

static void bars_write(FILE *script, json_t *group)
{
    const char *engine;
    json_t     *run;

    fputs("$bars << END\n", script);
    json_object_foreach(group, engine, run)
    {
        fprintf(script, "%s %g %g %g\n", engine, number_of(run, "written_bytes") / 1e9,
                number_of(run, "read_bytes") / 1e9, number_of(run, "cpu_ns_per_record"));
    }
    fputs("END\n", script);
}

/* One operation that takes all the time has no curve. */
static bool has_curves(json_t *group)
{
    const char *engine;
    json_t     *run;

    json_object_foreach(group, engine, run)
    {
        if (json_array_size(json_object_get(run, "latency_curve")) < 2) {
            return false;
        }
    }
    return true;
}

static void curves_plot(FILE *script, const char *name, json_t *group)
{
    const char *engine;
    json_t     *run;

    json_object_foreach(group, engine, run)
    {
        curve_write(script, engine, run);
        slices_write(script, engine, run);
    }
    fprintf(script, "set title \"%s: operations per second over time\"\nset xlabel 'seconds'\n",
            name);
    fputs("set yrange [0:*]\n", script);
    plot_write(script, group, "slices", "1:2", "lines");
    fputs("set title 'longest operation in each 0.1 s'\nset ylabel 'ms'\nset logscale y\n"
          "set yrange [*:*]\n",
          script);
    plot_write(script, group, "slices", "1:3", "lines");
    fputs("unset ylabel\nset title 'part of the operations that took longer'\nset xlabel 'us'\n"
          "set logscale xy\nset key bottom left\n",
          script);
    plot_write(script, group, "curve", "1:2", "linespoints");
}

static void script_write(FILE *script, const char *name, json_t *group)
{
    bool is_whole = has_curves(group);

    fprintf(script,
            "set terminal svg size 1100,%d font 'sans-serif,11' background 'white'\n"
            "set multiplot layout %d,2\nset grid\nset key bottom right\n",
            is_whole ? 720 : 360, is_whole ? 2 : 1);
    bars_write(script, group);
    if (is_whole) {
        curves_plot(script, name, group);
    }
    fputs("unset logscale\nunset xlabel\nset title 'GB written, GB read; CPU ns a record (right)'\n"
          "set style data histogram\nset style fill solid 0.6\nset yrange [0:*]\n"
          "set y2tics\nset y2range [0:*]\nset key top left\n"
          "plot $bars using 2:xtic(1) title 'written', '' using 3 title 'read', "
          "'' using 4 axes x1y2 title 'CPU ns'\nunset multiplot\n",
          script);
}

/* gnuplot's output into the page. */
static int plot_insert(const struct page *page, const char *script_path)
{
    char  command[4200];
    char  buffer[4096];
    FILE *plot;
    bool  is_inside = false;

    snprintf(command, sizeof command, "gnuplot '%s'", script_path);
    plot = popen(command, "r");
    if (plot == NULL) {
        return -1;
    }
    while (fgets(buffer, sizeof buffer, plot) != NULL) {
        is_inside |= strstr(buffer, "<svg") != NULL; /* The XML heading stays outside */
        if (is_inside) {
            fputs(buffer, page->out);
        }
    }
    return pclose(plot) == 0 ? 0 : -1;
}

static int group_plot(const struct page *page, const char *name, json_t *group)
{
    char  path[4096];
    FILE *script;
    int   result;

    snprintf(path, sizeof path, "%s/" SCRIPT_NAME, page->folder);
    script = fopen(path, "w");
    if (script == NULL) {
        fprintf(stderr, "tactus-compare: %s: %s\n", path, strerror(errno));
        return -1;
    }
    script_write(script, name, group);
    result = fclose(script) == 0 ? plot_insert(page, path) : -1;
    (void)remove(path);
    if (result != 0) {
        fprintf(stderr, "tactus-compare: gnuplot cannot draw \"%s\"\n", name);
    }
    return result;
}

/* ---- tables --------------------------------------------------------------------------------- */

static const struct {
    const char *title, *name, *format;
    double      unit;
} columns[] = {
    {"records/s", "records_per_s", "%.0f", 1},
    {"settled/s", "records_per_s_settled", "%.0f", 1},
    {"p50 &micro;s", "latency_us_p50", "%.2f", 1},
    {"p99 &micro;s", "latency_us_p99", "%.1f", 1},
    {"p99.9 &micro;s", "latency_us_p999", "%.1f", 1},
    {"max ms", "latency_us_max", "%.2f", 1e3},
    {"CPU ns/record", "cpu_ns_per_record", "%.0f", 1},
    {"written GB", "written_bytes", "%.2f", 1e9},
    {"read GB", "read_bytes", "%.2f", 1e9},
    {"write ampl.", "write_amplification", "%.2f", 1},
    {"space ampl.", "space_amplification", "%.2f", 1},
    {"RSS MB", "peak_rss_bytes", "%.0f", 1e6},
};

static void group_table(FILE *out, json_t *group)
{
    const char *engine;
    json_t     *run;

    fputs("<table><tr><th>engine</th>", out);
    for (size_t i = 0; i < TAC_ARRAY_COUNT(columns); i++) {
        fprintf(out, "<th>%s</th>", columns[i].title);
    }
    fputs("</tr>\n", out);
    json_object_foreach(group, engine, run)
    {
        fprintf(out, "<tr><td>%s %s</td>", engine,
                json_string_value(json_object_get(run, "version")));
        for (size_t i = 0; i < TAC_ARRAY_COUNT(columns); i++) {
            fputs("<td>", out);
            fprintf(out, columns[i].format, number_of(run, columns[i].name) / columns[i].unit);
            fputs("</td>", out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</table>\n", out);
}

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<title>Tactus beside other engines</title>\n<style>body{font:14px sans-serif;margin:2em;"
    "max-width:1200px}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right;"
    "border-bottom:1px solid #ccc}td:first-child,th:first-child{text-align:left}svg{width:100%;"
    "height:auto}</style></head><body>\n<h1>Tactus beside other engines</h1>\n"
    "<p>Medians of all rounds; curves of the round in the middle. docs/COMPARE.md says what each "
    "workload does and how each engine is set.</p>\n";

int tac_compare_page(const json_t *medians, const char *folder)
{
    struct page page = {.folder = folder};
    char        path[4096];
    const char *name;
    json_t     *group;
    int         result = 0;

    page.has_gnuplot = system("gnuplot --version >/dev/null 2>&1") == 0;
    snprintf(path, sizeof path, "%s/index.html", folder);
    page.out = fopen(path, "w");
    if (page.out == NULL) {
        fprintf(stderr, "tactus-compare: %s: %s\n", path, strerror(errno));
        return -1;
    }
    fputs(head, page.out);
    if (!page.has_gnuplot) {
        fputs("<p>No plots: gnuplot is not installed.</p>\n", page.out);
    }
    json_object_foreach((json_t *)medians, name, group)
    {
        fprintf(page.out, "<h2>%s</h2>\n", name);
        group_table(page.out, group);
        if (page.has_gnuplot && group_plot(&page, name, group) != 0) {
            result = -1;
        }
    }
    fputs("</body></html>\n", page.out);
    return fclose(page.out) == 0 ? result : -1;
}
