/* SPDX-License-Identifier: Apache-2.0 */
/* tactus-compare -- one workload on one engine, or the report of many such runs. compare.sh calls
 * it; docs/COMPARE.md explains. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "tools/compare/compare.h"

enum {
    EXIT_USAGE = 2,
    EXIT_REFUSED = 3, /* This engine is not asked to do that */
};

static int usage(FILE *out)
{
    fputs("usage: tactus-compare engines\n"
          "       tactus-compare run --engine NAME --workload NAME --path DIRECTORY [OPTION…]\n"
          "       tactus-compare report RUNS DIRECTORY\n\n"
          "`run` prints one line of JSON; `report` makes a table and a page of many.\n\n"
          "  --shape A|B|C    --records N      --operations N   --seed N\n"
          "  --cache MIB      --log none|interval\n"
          "  --rate N         --seconds N      (paced)\n"
          "  --label TEXT     tells apart runs of one workload\n",
          out);
    return out == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

static bool number_parse(const char *text, uint64_t *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
}

enum argument {
    ARGUMENT_ENGINE,
    ARGUMENT_WORKLOAD,
    ARGUMENT_PATH,
    ARGUMENT_SHAPE,
    ARGUMENT_LOG,
    ARGUMENT_RECORDS,
    ARGUMENT_OPERATIONS,
    ARGUMENT_SEED,
    ARGUMENT_CACHE,
    ARGUMENT_RATE,
    ARGUMENT_SECONDS,
    ARGUMENT_LABEL,
};

static const struct option arguments[] = {
    {"engine", required_argument, NULL, ARGUMENT_ENGINE},
    {"workload", required_argument, NULL, ARGUMENT_WORKLOAD},
    {"path", required_argument, NULL, ARGUMENT_PATH},
    {"shape", required_argument, NULL, ARGUMENT_SHAPE},
    {"log", required_argument, NULL, ARGUMENT_LOG},
    {"records", required_argument, NULL, ARGUMENT_RECORDS},
    {"operations", required_argument, NULL, ARGUMENT_OPERATIONS},
    {"seed", required_argument, NULL, ARGUMENT_SEED},
    {"cache", required_argument, NULL, ARGUMENT_CACHE},
    {"rate", required_argument, NULL, ARGUMENT_RATE},
    {"seconds", required_argument, NULL, ARGUMENT_SECONDS},
    {"label", required_argument, NULL, ARGUMENT_LABEL},
    {NULL, 0, NULL, 0},
};

static bool log_parse(const char *text, enum tac_engine_log *ret_log)
{
    *ret_log = strcmp(text, "interval") == 0 ? TAC_ENGINE_LOG_INTERVAL : TAC_ENGINE_LOG_NONE;
    return strcmp(text, "interval") == 0 || strcmp(text, "none") == 0;
}

static bool argument_take(struct tac_run *run, enum argument argument, const char *value)
{
    bool is_right;

    switch (argument) {
    case ARGUMENT_ENGINE:
        run->ops = tac_engine_find(value);
        return run->ops != NULL;
    case ARGUMENT_WORKLOAD:
        run->workload = tac_workload_find(value);
        return run->workload != NULL;
    case ARGUMENT_PATH:
        run->config.path = value;
        return true;
    case ARGUMENT_SHAPE:
        run->config.shape = tac_bench_shape_find(value);
        return run->config.shape != NULL;
    case ARGUMENT_LOG:
        return log_parse(value, &run->config.log);
    case ARGUMENT_RECORDS:
        return number_parse(value, &run->records) && run->records > 0;
    case ARGUMENT_OPERATIONS:
        return number_parse(value, &run->operations);
    case ARGUMENT_SEED:
        return number_parse(value, &run->config.seed);
    case ARGUMENT_CACHE:
        is_right = number_parse(value, &run->config.cache_bytes);
        run->config.cache_bytes *= TAC_MIB;
        return is_right && run->config.cache_bytes > 0;
    case ARGUMENT_RATE:
        return number_parse(value, &run->rate);
    case ARGUMENT_SECONDS:
        return number_parse(value, &run->seconds);
    case ARGUMENT_LABEL:
        run->label = value;
        return true;
    }
    return false;
}

static bool arguments_take(struct tac_run *run, int argc, char **argv)
{
    int argument, index = 0;

    while ((argument = getopt_long(argc, argv, "", arguments, &index)) != -1) {
        if (argument == '?') {
            return false;
        }
        if (!argument_take(run, (enum argument)argument, optarg)) {
            fprintf(stderr, "tactus-compare: --%s %s is not possible here\n", arguments[index].name,
                    optarg);
            return false;
        }
    }
    if (run->ops == NULL || run->workload == NULL || run->config.path == NULL || optind != argc) {
        fprintf(stderr, "tactus-compare: --engine, --workload and --path are needed\n");
        return false;
    }
    return true;
}

static int run_main(int argc, char **argv)
{
    static struct tac_run run; /* A megabyte of slices and histogram */
    const char           *refusal;
    json_t               *result;

    run.config.shape = tac_bench_shape_find("A");
    run.config.seed = 1;
    run.config.cache_bytes = TAC_GIB;
    run.records = 1000000;
    run.label = "";
    if (!arguments_take(&run, argc, argv)) {
        return usage(stderr);
    }
    refusal = tac_workload_refusal(run.workload, run.ops);
    if (refusal != NULL) {
        fprintf(stderr, "%s: %s: %s\n", run.ops->name, tac_workload_name(run.workload), refusal);
        return EXIT_REFUSED;
    }
    if (tac_run(&run) != 0) {
        return EXIT_FAILURE;
    }
    result = tac_compare_result(&run);
    json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(result);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "engines") == 0) {
        for (uint32_t i = 0; tac_engines[i] != NULL; i++) {
            puts(tac_engines[i]->name);
        }
        return EXIT_SUCCESS;
    }
    if (argc >= 2 && strcmp(argv[1], "run") == 0) {
        return run_main(argc - 1, argv + 1);
    }
    if (argc == 4 && strcmp(argv[1], "report") == 0) {
        return tac_compare_report(argv[2], argv[3]) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    return usage(argc >= 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
}
