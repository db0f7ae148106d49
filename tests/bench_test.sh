#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `tactus bench`: tiny runs of every workload. Figures are not judged, but for what must hold between
# them; digests are.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

tactus=${TACTUS_TOOL:?the path of the command to test}
documents=$(cd "${srcdir:-.}" && pwd)/docs
directory=$(mktemp -d "${TMPDIR:-/tmp}/bench_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99
export TMPDIR=$directory
records=5000

# Small blocks, so that few records have levels and compactions, and a compaction eight runs.
blocks=(--option block_size=4KiB --option page_size=512 --option table_size=64KiB
    --option slice_size=64KiB --option file_size_max=1GiB
    --option page_cache_size=256KiB --option index_cache_size=1MiB)
small=("${blocks[@]}" --option memtable_size=64KiB)

fields='workload shape records seconds records_per_s records_per_s_settled user_bytes written_bytes
read_bytes write_amplification space_amplification latency_us_p50 latency_us_p90 latency_us_p99
latency_us_p999 latency_us_p9999 latency_us_max longest_wait_us longest_sync_us syncs cpu_seconds cpu_ns_per_record
peak_rss_bytes memory_budget_bytes threads_read threads_merge threads_write backend digest'

# bench FILE ARGUMENT…: runs the command; its JSON is in FILE. --records goes without saying.
bench() { "$tactus" bench "${@:2}" --records $records --json >"$1" 2>err; }

# field FILE NAME: the value, without quotes.
field() { sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1"; }

# equal NAME FILE FILE: both have the field, with one value.
equal() { [ -n "$(field "$2" "$1")" ] && [ "$(field "$2" "$1")" = "$(field "$3" "$1")" ]; }
differ() { [ -n "$(field "$2" "$1")" ] && [ "$(field "$2" "$1")" != "$(field "$3" "$1")" ]; }
has() { [ "$(field "$1" "$2")" = "$3" ]; } # FILE NAME VALUE

has_fields() { # FILE
    local name

    for name in $fields; do
        [ -n "$(field "$1" "$name")" ] || { echo "$1: no field $name" >>err && return 1; }
    done
}

# One object, a member a line, no name twice: any parser takes it.
is_flat_json() { # FILE
    local value='("[^"\\]*"|-?[0-9]+(\.[0-9]+)?|true|false|null)'

    [ "$(head -n 1 "$1")" = '{' ] && [ "$(tail -n 1 "$1")" = '}' ] &&
        ! sed '1d;$d' "$1" | sed '$s/$/,/' | grep -qvE "^  \"[a-z_0-9]+\": $value,\$" &&
        [ -z "$(grep -oE '^  "[^"]+"' "$1" | sort | uniq -d)" ]
}

are_explained() { # FILE
    local name

    while read -r name; do
        grep -q "^| .*\`$name\`.* |" "$documents/BENCHMARK.md" ||
            { echo "$name is not explained" >>err && return 1; }
    done < <(sed -n 's/^  "\([^"]*\)".*/\1/p' "$1")
}

# computes FILE EXPRESSION: awk finds it true; the fields are v["name"].
computes() {
    sed -n 's/^  "\([^"]*\)": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1 \2/p' "$1" |
        awk "{ v[\$1] = \$2 } END { exit !($2) }"
}

# sum STAGE_FIGURE…: the expression of their sum.
sum() { printf '('; printf 'v["stage_%s"] + ' "$@"; printf '0)'; }
busy=$(sum {read,merge,write,coordinator}_busy_ns)
idle=$(sum {read,merge,write,coordinator}_idle_ns)
waits=$(sum {read,merge,write,coordinator}_wait_work_ns {read,write}_wait_device_ns \
    merge_wait_{credit,read,write}_ns)

# refuses STATUS TEXT ARGUMENT…
refuses() {
    local status=0

    bench out "${@:3}" || status=$?
    [ $status = "$1" ] && grep -qe "$2" err && [ "$(wc -l <err)" -ge 2 ] && [ ! -s out ]
}

verifies() { "$tactus" verify "$1" >verify.out 2>err; }

reads() { # WORKLOAD OPERATION_COUNT RECORDS_DONE ARGUMENT…
    bench "$1.json" "$1" --store store --operations "$2" "${@:4}" "${small[@]}" &&
        has_fields "$1.json" && has "$1.json" records_done "$3" &&
        equal digest "$1.json" ingest.json
}

# ---- ingest --------------------------------------------------------------------------------------

is 'ingest runs' bench ingest.json ingest --store store --threads 1,1,1 "${small[@]}"
is 'ingest: every field is there' has_fields ingest.json
is 'ingest: the output is one flat JSON object' is_flat_json ingest.json
is 'every field is explained in docs/BENCHMARK.md' are_explained ingest.json
is 'ingest: user bytes are records of 128 bytes' has ingest.json user_bytes $((records * 128))
is 'ingest: rates, amplification and percentiles agree with each other' computes ingest.json \
    'v["records_per_s"] >= v["records_per_s_settled"] && v["records_per_s_settled"] > 0 &&
     v["written_bytes"] >= v["user_bytes"] &&
     v["write_amplification"] * v["user_bytes"] > v["written_bytes"] * 0.999 &&
     v["write_amplification"] * v["user_bytes"] < v["written_bytes"] * 1.001 &&
     v["space_amplification"] >= 1 && v["latency_us_p50"] > 0 &&
     v["latency_us_p50"] <= v["latency_us_p99"] && v["latency_us_p99"] <= v["latency_us_max"] &&
     v["latency_us_max"] >= v["longest_wait_us"] && v["latency_us_max"] / 1e6 <= v["seconds"] &&
     v["latency_us_mean"] * v["records"] / 1e6 <= v["seconds"] * 1.01 &&
     v["latency_us_mean"] * v["records"] / 1e6 >= v["seconds"] * 0.9 &&
     v["peak_rss_bytes"] > 0 && v["cpu_seconds"] > 0'
is 'ingest: the stages wrote and read what the engine did, and took in more than was put' \
    computes ingest.json 'v["stage_write_bytes"] == v["written_bytes_engine"] &&
     v["stage_read_bytes"] == v["read_bytes_engine"] && v["stage_read_bytes"] > 0 &&
     v["stage_read_gathered_bytes"] == v["user_bytes"] &&
     v["stage_merge_bytes"] > v["user_bytes"]'
is 'ingest: each stage was busy' computes ingest.json \
    'v["stage_read_busy_ns"] > v["stage_read_gather_ns"] && v["stage_read_gather_ns"] > 0 &&
     v["stage_merge_busy_ns"] > 0 && v["stage_write_busy_ns"] > 0 &&
     v["stage_coordinator_busy_ns"] > 0 && v["stage_read_items"] > 0 &&
     v["stage_merge_items"] > 0 && v["stage_write_items"] > 0 && v["stage_coordinator_items"] > 0'
is 'ingest: four threads were busy or idle most of the time, and idle for what they waited for' \
    computes ingest.json "($busy + $idle) / 1e9 > 3 * v[\"seconds_settled\"] && $idle == $waits"
is 'the digest is the one that the digest command prints' \
    test "$(field ingest.json digest)" = "$("$tactus" digest store)"
is 'the store it leaves is sound' verifies store

# A beat is 1 KiB, and a record of A is accounted with 184 bytes.
bench timed.json ingest --timeline timeline "${small[@]}"
is 'a timeline has a line for each beat, and all puts in it' test \
    "$(awk 'NR > 1 { lines++; puts = $1 } END { print lines, puts }' timeline)" = \
    "$(((records + 4) / 5)) $records"
is 'its times go on, no mean is above the longest' awk 'NR > 1 {
    if ($2 < last || $3 > $4 || $3 <= 0) wrong = 1
    last = $2
} END { exit wrong }' timeline
most=$(awk 'NR > 1 && $4 > most { most = $4 } END { print most }' timeline)
is 'its longest put is the longest of all' computes timed.json \
    "v[\"latency_us_max\"] <= $most * 1.001 && v[\"latency_us_max\"] >= $most * 0.999"
is 'it changes no byte' equal digest timed.json ingest.json

bench threads.json ingest --threads 2,3,1 "${small[@]}"
is 'other threads, the same digest' equal digest threads.json ingest.json
bench threads.json ingest --threads 0 "${small[@]}"
is 'no threads, the same digest' equal digest threads.json ingest.json
is 'no threads: nobody is idle, the one there is was busy' computes threads.json \
    "$idle == 0 && $busy > 0 && $busy / 1e9 <= v[\"seconds_settled\"] * 1.01"
is 'no threads, the same bytes for each stage' computes threads.json \
    "v[\"stage_merge_bytes\"] == $(field ingest.json stage_merge_bytes) &&
     v[\"stage_read_bytes\"] == $(field ingest.json stage_read_bytes) &&
     v[\"stage_write_bytes\"] == $(field ingest.json stage_write_bytes)"
bench memory.json ingest --backend memory "${small[@]}"
is 'in memory, the same digest' equal digest memory.json ingest.json
bench seed.json ingest --backend memory --seed 2 "${small[@]}"
is 'another seed, another digest' differ digest seed.json ingest.json

# ---- reading -------------------------------------------------------------------------------------

is 'get reads what ingest left, and changes nothing' reads get 500 500
is 'get: nothing is said of the stages' computes get.json "$busy + $idle == 0"
is 'get: the warm-up is told apart' has get.json warmup_operations 500
is 'get: four readers share the operations' reads get 501 501 --readers 4
is 'miss finds nothing' reads miss 500 500
is 'scan reads a hundred records for most operations' reads scan 20 \
    "$(bench scan.json scan --store store --operations 20 && field scan.json records_done)"
is 'scan: as many' computes scan.json 'v["records_done"] > 1000 && v["records_done"] <= 2000'
is 'getmany reads 64 records in each of its operations' reads getmany 30 $((30 * 64))
is 'fullscan reads every record twice in two passes' reads fullscan 2 $((2 * records))
is 'fullscan: each of three readers reads all' reads fullscan 3 $((3 * records)) --readers 3
is 'the warm-up can be left out' reads get 10 10 --warmup 0
is 'get: no operation was a warm-up' has get.json warmup_operations 0

for shape in B C; do
    is "shape $shape: ingest and get" bench shape.json get --shape $shape --operations 300 \
        --backend memory "${small[@]}"
    is "shape $shape: fullscan finds all" bench shape.json fullscan --shape $shape --store new$shape \
        "${small[@]}"
    is "shape $shape: the store it built stays" bench again.json get --shape $shape --warmup 0 \
        --operations 300 --store new$shape
    is "shape $shape: and is the same" equal digest again.json shape.json
done

# ---- bulk ----------------------------------------------------------------------------------------

bulks() { # FILE ARGUMENT…
    bench "$1" bulk "${@:2}" "${small[@]}" && has_fields "$1" &&
        has "$1" records_done $records && has "$1" operations 1
}

is 'bulk takes all records as one run' bulks bulk.json --store bulk
is 'and writes less than half of what puts do' computes bulk.json \
    "v[\"written_bytes\"] < $(field ingest.json written_bytes) / 2 &&
     v[\"records_per_s_settled\"] > 0"
is 'its store can be read' bench get.json get --store bulk --operations 100 "${small[@]}"
is 'bulk: of shape C, without threads, in memory' bulks bulk.json --shape C --threads 0 \
    --backend memory

# ---- compact -------------------------------------------------------------------------------------

compacts() { # FILE ARGUMENT…
    bench "$1" compact "${@:2}" "${blocks[@]}" && has_fields "$1" &&
        computes "$1" "v[\"records_done\"] == $records && v[\"depth_max\"] == 8 &&
            v[\"operations\"] == 1 && v[\"seconds\"] > 0 &&
            v[\"stage_merge_bytes\"] >= v[\"user_bytes\"] && v[\"stage_merge_busy_ns\"] > 0 &&
            v[\"stage_read_bytes\"] == v[\"read_bytes_engine\"] &&
            v[\"stage_read_gathered_bytes\"] == 0"
}

is 'compact merges eight runs of shape A into one' compacts compact.json --store compacted
is 'compact: of shape B' compacts compact.json --shape B --backend memory
is 'compact: of shape C' compacts compact.json --shape C --backend memory
is 'a compacted store can be read' bench get.json get --store compacted --operations 100
is 'compact refuses a memtable_size' refuses 2 memtable_size compact "${small[@]}"

# ---- what it refuses -----------------------------------------------------------------------------

is 'ingest overwrites nothing' refuses 3 'store exists' ingest --store store "${small[@]}"
is 'the store is as it was' test "$(field ingest.json digest)" = "$("$tactus" digest store)"
is 'get refuses another seed' refuses 3 'seed 1' get --store store --seed 7
is 'get refuses another shape' refuses 3 'shape A' get --store store --shape B
echo 'a letter to a friend, of some length' >letter
is '--force leaves foreign files alone' refuses 3 'only Tactus stores' ingest --store letter --force
is 'the file is as it was' grep -q friend letter
"$tactus" create plain "${small[@]}" 2>err
is 'get refuses a store of somebody else' refuses 3 'no store that' get --store plain
is '--force overwrites a store' bench forced.json ingest --store plain --force "${small[@]}"
is 'and then it is that of the seed' equal digest forced.json ingest.json
is 'a store with a log' bench logged.json ingest --store logged --option log=sync "${small[@]}"
is '--force overwrites both' bench forced.json ingest --store logged --force "${small[@]}"
is 'a temporary store with a log' bench logged.json ingest --option log=sync "${small[@]}"
mkdir taken-wal
is 'a store that cannot be opened' refuses 2 'is a directory' ingest --store taken \
    --option log=sync "${small[@]}"
is 'is not left behind' test ! -e taken
is 'an unknown workload is a usage error' refuses 2 'no workload' dance
is 'an unknown shape is a usage error' refuses 2 'not A, B or C' get --shape D
is 'a timeline is for ingest' refuses 2 'timeline' get --store store --timeline timeline
is 'a timeline that cannot be written is said' refuses 3 'no/such' ingest --timeline no/such \
    --backend memory "${small[@]}"
is 'readers are for reading' refuses 2 'readers' ingest --readers 2
is 'no temporary file is left' test -z "$(compgen -G 'tactus-bench*')"

"$tactus" bench get --store store --records $records --operations 10 >out 2>err
is 'without --json there is a table with the digest' grep -q "^digest *$(field ingest.json digest)" out
"$tactus" bench ingest --backend memory --records $records "${small[@]}" >out 2>err
stage='^(read|merge|write|coordinator|memtables)  .* [0-9]+\.[0-9]{3}'
is 'after an ingest one of the stages, too' test "$(grep -cE "$stage" out)" = 5

tap_done
