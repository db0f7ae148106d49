#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the workloads on every engine that was found, one after the other, in rounds, and reports
# medians: `make compare`. Each run is a process of its own, under a memory limit that holds the
# system's cache for it too. docs/COMPARE.md explains, and lists what can be set from outside:
#
#   ROUNDS     of everything (3)            ENGINES    (all that were found)
#   SHAPES     of ingest (A B C)            WORKLOADS  (all)
#   SCALE      of all numbers of records, in percent (100)
#   MEMORY     limit, MiB (4096)            OUT        where the results go (compare-results)
#   DATA       in whose folder tactus-compare-data the stores are made (OUT)
set -euo pipefail

compare=${COMPARE:?the path of tactus-compare}
rounds=${ROUNDS:-3}
scale=${SCALE:-100}
memory=${MEMORY:-4096}
out=${OUT:-compare-results}
data=${DATA:-$out}/tactus-compare-data # Deleted again and again: so it has a name of its own
workloads=${WORKLOADS:-ingest compact get miss scan fullscan cold mixed overwrite delete log paced}
shapes=${SHAPES:-A B C}
common_rate=${RATE:-100000}
pace_seconds=${SECONDS_PACED:-60}
record_bytes=128 # Of shape A
memory_min=512
declare -A records=([A]=20000000 [B]=50000000 [C]=10000000)
cgroup=
limit_file=
runs=$out/runs.jsonl

has() { [[ " $workloads " == *" $1 "* ]]; }

scaled() { echo $(($1 * scale / 100)); }

# ---- the memory limit -----------------------------------------------------------------------------

# limit MIB: how much what runs in the cgroup may have from now on.
limit() {
    [ -z "$cgroup" ] || echo $(($1 * 1024 * 1024)) >"$limit_file"
}

# A memory cgroup of our own, of version 1 or 2; none where the system does not let us.
limit_open() {
    local root name=tactus-compare-$$

    for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do
        mkdir "$root/$name" 2>/dev/null || continue
        for file in memory.limit_in_bytes memory.max; do
            if echo $((memory * 1024 * 1024)) 2>/dev/null >"$root/$name/$file"; then
                cgroup=$root/$name
                limit_file=$root/$name/$file
                return
            fi
        done
        rmdir "$root/$name"
    done
    echo "compare: no memory limit: this system has no cgroup that may be made here" >&2
}

limit_close() {
    [ -z "$cgroup" ] || rmdir "$cgroup" 2>/dev/null || true
}

# ---- runs -----------------------------------------------------------------------------------------

# Engines that read past the system's cache get what the others find there for their own: all but
# what they need besides, for memtables and compaction.
cache_of() {
    case $1 in
    tactus) echo $((memory - 384)) ;;
    *) echo $((memory / 4)) ;;
    esac
}

# run ENGINE WORKLOAD LABEL ARGUMENT…: its line goes to the results. An engine that refuses the
# workload is left out, with its reason; one that fails is too, and fails the whole at the end.
# $status is that of the run.
run() {
    local engine=$1 workload=$2 label=$3

    status=0

    shift 3
    sync
    printf '%s %-10s %s %s\n' "$(date +%T)" "$engine" "$workload" "$label $*" >&2
    (
        [ -z "$cgroup" ] || echo $BASHPID >"$cgroup/cgroup.procs"
        exec "$compare" run --engine "$engine" --workload "$workload" --label "$label" \
            --path "$data" --cache "$(cache_of "$engine")" "$@"
    ) >>"$runs" || status=$?
    case $status in
    0 | 3) ;;
    *) failures="$failures $engine/$workload" ;;
    esac
    return 0
}

# Until the devices have done nothing for two seconds: at least ten, as what was deleted is discarded
# some seconds after it, and at most a minute.
devices_rest() {
    local before now waited rested=0

    sleep 8
    now=$(cat /proc/diskstats)
    for ((waited = 0; waited < 52 && rested < 2; waited++)); do
        sleep 1
        before=$now
        now=$(cat /proc/diskstats)
        rested=$([ "$before" = "$now" ] && echo $((rested + 1)) || echo 0)
    done
}

# An empty directory. Gigabytes that are deleted are discarded at the device when the file system
# commits that: then, not within the first seconds of the next run.
fresh() {
    if [ "$(du -sm "$data" 2>/dev/null | cut -f 1)" -gt 100 ] 2>/dev/null; then
        rm -rf "$data"
        sync
        devices_rest
    fi
    rm -rf "$data"
    mkdir -p "$data"
}

# A figure of the last run in the results.
last_figure() {
    tail -n 1 "$runs" | sed -n "s/.*\"$1\":\([0-9.e+]*\).*/\1/p"
}

# Gets where the memory is a quarter of the data: most of them wait for the device.
cold() {
    local engine=$1 warm=$memory
    local memory=$((records[A] * record_bytes / 4 / 1024 / 1024 * scale / 100))

    memory=$((memory > memory_min ? memory : memory_min))
    limit $memory
    run "$engine" get "cold" --records "$(scaled ${records[A]})" \
        --operations "$(scaled 300000)"
    limit "$warm"
}

# The store that the reading workloads share. mixed changes it, so it comes last.
reading() {
    local engine=$1 workload

    for workload in get miss scan fullscan cold mixed; do
        if ! has $workload; then
            continue
        elif [ $workload = cold ]; then
            cold "$engine"
        else
            run "$engine" $workload "" --records "$(scaled ${records[A]})"
        fi
    done
}

# ingest of shape A leaves the store that is read afterwards.
ingest_and_read() {
    local engine=$1 shape

    for shape in $shapes; do
        fresh
        if has ingest && [ "$engine" != lmdb ]; then
            run "$engine" ingest "" --shape "$shape" --records "$(scaled ${records[$shape]})"
            [ "$shape" != A ] || [ $status != 0 ] ||
                rates[$engine]=$(last_figure records_per_s_settled)
        elif [ "$shape" = A ]; then
            run "$engine" load "" --records "$(scaled ${records[A]})"
        fi
        [ "$shape" != A ] || [ "$engine" = null ] || reading "$engine"
    done
}

writing() {
    local engine=$1

    if has compact; then
        fresh
        run "$engine" compact "" --records "$(scaled 8000000)"
    fi
    if has overwrite; then
        fresh
        run "$engine" overwrite "" --records "$(scaled 2000000)" --operations "$(scaled 20000000)"
    fi
    if has delete; then
        fresh
        run "$engine" delete "" --records "$(scaled 10000000)"
    fi
    if has log; then
        fresh
        run "$engine" ingest "" --log interval --records "$(scaled 10000000)"
    fi
}

# paced ENGINE RATE LABEL: the null engine at the same rate just before it, for the machine's floor.
paced() {
    local one

    for one in null "$1"; do
        fresh
        run "$one" paced "$3" --rate "$2" --seconds "$pace_seconds"
    done
}

pacing() {
    local engine=$1 rate=${rates[$1]:-} percent

    [ "$engine" != null ] && [ "$engine" != lmdb ] || return 0
    for percent in 70 90; do
        if [ -n "$rate" ]; then
            paced "$engine" "$(awk "BEGIN { printf \"%d\", $rate * $percent / 100 }")" \
                "$percent % of $engine's rate"
        fi
    done
    paced "$engine" "$common_rate" "$common_rate a second"
}

# What the device does by itself, without any engine: as much read as written, as compactions do;
# and small reads one at a time, as gets do that find nothing in memory.
device() {
    fresh
    if ! command -v fio >/dev/null; then
        echo "compare: fio is not installed: no figure for the device" >&2
        return 0
    fi
    fio --directory="$data" --size=2G --direct=1 --ioengine=libaio --bs=512k --iodepth=4 \
        --runtime=15 --time_based --output-format=terse --terse-version=3 \
        --name=read --rw=read --name=write --rw=write |
        awk -F ';' '{ read += $7; written += $48 }
            END { printf "device, by fio: %.0f MB/s read and %.0f MB/s written together\n",
                  read * 1024 / 1e6, written * 1024 / 1e6 }' | tee -a "$out/device.txt" >&2
    fio --directory="$data" --size=2G --direct=1 --ioengine=psync --bs=4k --runtime=10 \
        --time_based --output-format=terse --terse-version=3 --name=read --rw=randread |
        awk -F ';' '{ printf "device, by fio: %.0f reads of 4 KiB a second, one at a time\n", $8 }' |
        tee -a "$out/device.txt" >&2
}

# ---- the whole ------------------------------------------------------------------------------------

if ((memory < memory_min)); then
    echo "compare: MEMORY is $memory MiB; at least $memory_min" >&2
    exit 1
fi
mkdir -p "$out"
: >"$runs"
: >"$out/device.txt"
failures=
declare -A rates=()
engines=${ENGINES:-$("$compare" engines)}
limit_open
trap 'rm -rf "$data"; limit_close' EXIT

for ((round = 1; round <= rounds; round++)); do
    echo "compare: round $round of $rounds" >&2
    device
    for engine in $engines; do
        ingest_and_read "$engine"
        writing "$engine"
        if has paced; then
            pacing "$engine"
        fi
    done
done
"$compare" report "$runs" "$out" | tee "$out/table.txt"
cat "$out/device.txt"
echo "compare: $out/table.txt, $out/results.json and $out/index.html" >&2
if [ -n "$failures" ]; then
    echo "compare: failed:$failures" >&2
    exit 1
fi
