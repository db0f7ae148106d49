#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The driver of `make compare`: each workload, small, on each engine that it was built with; and the
# report of all. Figures are not judged: see docs/COMPARE.md.
set -u

source=$(dirname "$0")
# shellcheck source=tests/lib/tap.sh
. "$source/lib/tap.sh"

compare=$PWD/tools/compare/tactus-compare
if [ ! -x "$compare" ]; then
    skip "the comparison" "libjansson-dev was not found by configure"
    tap_done
    exit
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

# run ENGINE WORKLOAD OPERATIONS
run() {
    "$compare" run --engine "$1" --workload "$2" --path data --records 60000 --cache 256 \
        --operations "$3" --rate 20000 --seconds 1 >>runs 2>err
}

# 3: the engine is not asked to do that, and the reason is said.
run_or_refuse() {
    run "$@"
    case $? in
    0) ;;
    3) grep -q "^$1: $2: ." err ;;
    *) false ;;
    esac
}

fresh() { rm -rf data && mkdir data; }

for engine in $("$compare" engines); do
    fresh
    is "$engine: load" run_or_refuse "$engine" load 0
    for workload in get miss scan mixed; do
        is "$engine: $workload" run_or_refuse "$engine" $workload 2000
    done
    is "$engine: fullscan" run_or_refuse "$engine" fullscan 2
    for workload in ingest compact overwrite delete paced; do
        fresh
        is "$engine: $workload" run_or_refuse "$engine" $workload 2000
    done
done
fresh
is "tactus compacts" run tactus compact 0
report() { "$compare" report runs . >out 2>err; }

is "a report" report
is "with a table of each workload, in which tactus is" test "$(grep -c '^  tactus ' out)" = 11
is "with medians as JSON" grep -q '"records_per_s_settled"' results.json
is "with a page" grep -q '</html>' index.html
refuses_engine() {
    ! "$compare" run --engine nobody --workload get --path . >out 2>err &&
        grep -q -- '--engine nobody' err
}
is "an unknown engine is an error" refuses_engine
tap_done
