#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `tactus stress`: short runs of each kind, what they report, and that something wrong is told.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

tactus=${TACTUS_TOOL:?the path of the command to test}
directory=$(mktemp -d "${TMPDIR:-/tmp}/stress_tool_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99

# stress STATUS ARGUMENT…: a run on the store s ends with the status. Its output is in out and err.
# After one that did not the next one begins anew.
stress() {
    local status=0

    timeout -s KILL 300 "$tactus" stress s --quiet "${@:2}" >out 2>err || status=$?
    [ $status = "$1" ] && return
    sed -n '/^violation/,$p' err >out
    echo "status $status, expected $1" >>err
    rm -f s s-wal
    false
}

# field NAME: the value of the last report.
field() { sed -n "s/^  \"$1\": \"\{0,1\}\([^\"]*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" out; }

# each NAME…: all of these fields are above 0.
each() {
    local name

    for name; do
        awk -v value="$(field "$name")" 'BEGIN { exit !(value > 0) }' ||
            { echo "$name is not above 0" >>err && return 1; }
    done
}

# reaching "NAME…" SECONDS ARGUMENT…: a run that makes these fields more than 0; on a machine that
# is busy with other things it may take four or sixteen times the seconds.
reaching() {
    local seconds

    for seconds in "$2" $(($2 * 4)) $(($2 * 16)); do
        stress 0 --seconds "$seconds" "${@:3}" || return
        # shellcheck disable=SC2086 # names
        each $1 && return
    done
}

none() { # NAME…: all of them are 0
    local name

    for name; do
        [ "$(field "$name")" = 0 ] || { echo "$name is not 0" >>err && return 1; }
    done
}

is_flat_json() {
    local value='("([^"\\]|\\.)*"|[0-9]+(\.[0-9]+)?)'

    [ "$(head -n 1 out)" = '{' ] && [ "$(tail -n 1 out)" = '}' ] &&
        ! sed '1d;$d' out | sed '$s/$/,/' | grep -qvE "^  \"[a-z_0-9]+\": $value,\$" &&
        [ -z "$(grep -oE '^  "[^"]+"' out | sort | uniq -d)" ]
}

is_gone() { [ -z "$(ls -d s s-wal s.* 2>/dev/null)" ]; }

# ---- runs ---------------------------------------------------------------------------------------

is 'a run' stress 0 --seconds 2 --seed 1 --keys 5000 --reopen-every 1 --json
is 'it reports one flat JSON object' is_flat_json
is 'it found nothing wrong' none violations kills kills_early
is 'it wrote in every way' each puts deletes puts_if_absent exchanges batches conflicts
is 'it read in every way' each gets pinned_gets many_gets misses scans records_scanned reads_checked
is 'it compacted, opened again, and compared' each bars compactions_done opens closes whole_checks
is 'it tells how long it took' each seconds worked_seconds operations_per_s longest_write_us
is 'its store is gone' is_gone
again=$(head -n 1 err)
is 'it says first how to repeat it' test "$again" = \
    'tactus stress s --quiet --seconds 2 --seed 1 --keys 5000 --reopen-every 1 --json'
is 'and in the report' test "$(field command)" = "$again"

is 'kills' reaching 'kills faults_survived whole_checks' 3 --seed 2 --keys 5000 --reopen-every 0 \
    --crash-every 1 --json
is 'are survived' each kills faults_survived whole_checks
is 'without closes but the last' test "$(field closes)" = 1
for log in interval sync; do
    is "kills with log=$log" reaching 'kills log_syncs' 3 --seed 5 --keys 5000 \
        --reopen-every 0 --crash-every 1 --option log=$log --json
    is 'are survived' each kills log_syncs
done

is 'a store that gets full' reaching 'refused_full deletes faults_survived' 3 --seed 4 \
    --keys 60000 --reopen-every 2 \
    --option memtable_size=256KiB --option file_size_max=12MiB --readers 0 --scanners 1 --json
is 'is survived' each refused_full deletes faults_survived

is 'pauses' stress 0 --seconds 2 --seed 5 --keys 5000 --pausers 2 --maintainers 2 --json
is 'are made, and refuse what would wait' each pauses refused_paused checkpoints syncs
is 'and numbers of threads change' each thread_changes

features='snapshots_taken snapshots_read snapshots_kept snapshots_released snapshot_records
    trees_created trees_dropped tree_records tree_reads runs records_ingested runs_cut
    ranges_begun ranges_done ranges_cancelled range_steps rate_changes
    ranges_deleted erased_records erased_reads views_kept cache_changes'
is 'snapshots, trees, sorted runs, key ranges, deleted ranges, limits of I/O, sizes of caches' \
    reaching "$features" 6 --seed 11 --keys 5000 --reopen-every 1 --maintainers 0 \
    --option runs_per_level=2 --json
# shellcheck disable=SC2086 # names
is 'are all used' each $features
is 'and found right' none violations
is 'the same with kills' reaching \
    "kills snapshots_kept trees_dropped runs ranges_begun ranges_deleted views_kept beats" 4 \
    --seed 12 --keys 5000 --reopen-every 0 --crash-every 1 --option runs_per_level=4 --json
is 'deleted ranges with kills and each write durable' reaching 'kills ranges_deleted views_kept' 4 \
    --seed 17 --keys 5000 --reopen-every 0 --crash-every 1 --erasers 4 --option log=sync --json
is 'are as they were when each call returned' none violations
is 'no sorted runs with levelling' reaching runs_refused 1 --seed 13 --keys 500 \
    --option runs_per_level=1 --json
is 'are refused, and nothing of them is there' none runs violations
is 'fewer snapshots than threads want' stress 0 --seconds 1 --seed 14 --keys 500 \
    --snapshotters 4 --option snapshots_max=1 --json
is 'a pool' reaching 'neighbour_opens neighbour_closes neighbour_writes neighbour_reads kills' 4 \
    --seed 15 --keys 5000 --reopen-every 1 --crash-every 1 --pool --json
is 'has neighbours' test "$(field neighbours)" = 2
is 'whose stores are gone, too' is_gone
is 'a pool without threads' stress 0 --seconds 1 --seed 16 --keys 500 --neighbours 1 --threads 0

is '64 stage threads' stress 0 --seconds 2 --seed 6 --keys 5000 --threads 64 --json
is 'work' each records_written compactions_done
is 'and stay' none thread_changes cache_changes
is 'threads by stage' stress 0 --seconds 1 --seed 6 --keys 500 --threads 1,2,1 \
    --backend posix --json
is 'stay, too' none thread_changes
is 'their priority alone' reaching thread_changes 1 --seed 6 --keys 500 \
    --option threads_priority=idle --json
is 'does not keep their numbers' each thread_changes

is 'caches that are asked for' stress 0 --seconds 1 --seed 6 --keys 500 \
    --option page_cache_size=1MiB --json
is 'stay' none cache_changes

is 'damaged copies' reaching damages_found 4 --seed 7 --keys 3000 --reopen-every 1 --damage --json
is 'are found' each damages_found
is 'and removed' is_gone

# More than a buffer on the stack had room for; behind the last word nothing is an option any more.
long=$(printf '%05000d' 1)
is 'a run without --seed' stress 0 --seconds "$long" --keys 500 --writers 1 --
is 'reports in words' grep -q '^violations *0$' out
is 'and names the seed that it chose' grep -q '^tactus stress --seed=[0-9]* s ' err
is 'before all other words' grep -q "^tactus stress --seed=.* --seconds $long --keys 500 .* --\$" err
seed=$(sed -n '1s/.*--seed=\([0-9]*\) .*/\1/p' err)
is 'with which it can be repeated' stress 0 --seconds 1 --keys 500 --writers 1 --seed="$seed" --json
is 'and is' test "$(field seed)" = "$seed"

is 'a store that is kept' stress 0 --seconds 1 --seed 8 --keys 500 --keep
is 'is there' test -f s
verifies() { "$tactus" verify s >out 2>err; }
is 'and sound' verifies
is 'the next run does not touch it' stress 3 --seconds 1
is 'and says so' grep -q 'exists' err
rm -f s s-wal
echo letter >s-wal
is 'nor another file of that name' stress 3 --seconds 1
is 'which stays' grep -q letter s-wal
rm -f s-wal
echo letter >s.neighbour-1
is 'nor one that has the name of a neighbour' stress 3 --seconds 1 --pool
rm -f s.neighbour-1

# ---- signals ------------------------------------------------------------------------------------

# interrupted SIGNAL: a long run is ended by it, early and well.
interrupted() {
    local begin=$SECONDS process

    "$tactus" stress s --quiet --seconds 200 --seed 9 --keys 500 >out 2>err &
    process=$!
    sleep 2
    kill -"$1" $process
    wait $process && [ $((SECONDS - begin)) -lt 100 ] && grep -q '^ended early' out && is_gone
}
is 'an interrupt ends a run, with all its checks' interrupted TERM

# ---- something is wrong -------------------------------------------------------------------------

# spoiled: the store's file is written over from outside while it is used.
spoiled() {
    local status=0 process

    "$tactus" stress s --quiet --seconds 100 --seed 10 --keys 5000 --reopen-every 1 >out 2>err &
    process=$!
    sleep 2
    dd if=/dev/zero of=s bs=64K count=40 seek=10 conv=notrunc status=none
    wait $process || status=$?
    [ $status = 1 ]
}
is 'a store that is spoiled from outside is told' spoiled
is 'with what is wrong' grep -q '^violation: .' err
is 'and the command that repeats it' grep -q '^  Again: tactus stress s .*--seed 10' err
is 'and is kept' test -f s
is 'and counted' grep -qE '^violations *[1-9]' out
rm -f s s-wal

# ---- the command line ---------------------------------------------------------------------------

refuses() { # TEXT ARGUMENT…
    local status=0

    "$tactus" stress "${@:2}" >out 2>err || status=$?
    [ $status = 2 ] && grep -qe "$1" err && [ "$(wc -l <err)" -ge 2 ] && [ ! -s out ]
}
is 'no store' refuses 'expected'
is 'two stores' refuses 'expected' s t
is 'an unknown option' refuses 'unrecognized' s --no-such-option
is 'a number that is none' refuses 'seconds' s --seconds soon
is 'no writers' refuses 'writers' s --writers 0
is 'too many' refuses 'scanners' s --scanners 1000
is 'too few keys' refuses 'keys' s --keys 1
is 'threads that are none' refuses 'threads' s --threads 1,2
is 'too few threads' refuses 'threads' s --threads 2
is 'an option that is none' refuses 'no_such' s --option no_such=1
is 'an option without a value' refuses 'no = in it' s --option ring_size
is 'an option that is impossible' refuses 'ring_size' s --option ring_size=3
is 'a store in memory' refuses 'memory' s --backend memory
is 'an unknown role' refuses 'unrecognized' s --dancers 1
is 'the log of another' refuses 'log=host' s --option log=host
is 'none of these made a store' is_gone
says() { "$tactus" "${@:2}" >out 2>err && grep -qe "$1" out; }
is '--help' says '--crash-every' stress --help
is 'names each role' says '--pausers N' stress --help
is 'the command is listed' says '^  stress ' --help

tap_done
