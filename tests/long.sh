#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a night is for: `make check-long MINUTES=360`, which calls this in its build directory. The
# simulator has one core all the time; the other suites share a second one, each for its percent of
# the minutes. Each goes on from seed to seed until its time is over. FIRST=n is the first seed; by
# default the day's number times 100,000, so that each night has seeds of its own. Fails when
# anything has failed; the output of what did is kept in long-logs/.

set -u

minutes=${1:?usage: tests/long.sh MINUTES}
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
first=${FIRST:-$(($(date +%s) / 86400 * 100000))}
logs=$PWD/long-logs
rm -rf "$logs"
mkdir -p "$logs"
export TMPDIR=$logs LONG=1

# suite NAME PERCENT STEP COMMAND…: with SEED, from `first` on by STEP, as long as its time lasts.
suite() {
    local name=$1 percent=$2 step=$3 seed=$first turns=0 end

    shift 3
    end=$(($(date +%s) + minutes * 60 * percent / 100))
    while [ "$(date +%s)" -lt "$end" ]; do
        if ! SEED=$seed "$@" > "$logs/$name.log" 2>&1; then
            mv "$logs/$name.log" "$logs/$name-$seed.failed"
            echo "not ok - $name, seed $seed: see $logs/$name-$seed.failed"
        fi
        seed=$((seed + step))
        turns=$((turns + 1))
    done
    echo "# $name: $turns times, seeds from $first on"
}

simulator() {
    FIRST=$SEED SEEDS=100 SEED=0 tests/sim/store_sim_test
}

# In a shell of its own: the next turn begins in this directory again.
fuzz() (
    cd build-fuzz || exit
    FUZZ_TIME=60 bash "$source/tests/fuzz/run.sh" "$source/tests/fuzz/corpus" tests/fuzz/*_fuzz
)

stress() {
    tools/tactus stress "$logs/stress-$SEED" --seed "$SEED" --seconds 60 --quiet --crash-every 5 \
        --damage
}

suite simulator 100 100 simulator &
suite crash-points 25 1 tests/sim/crash_test
suite fail-the-nth-call 10 1 tests/sim/nth_fault_test
suite corruption 5 1 tests/sim/corruption_test
suite same-bytes 10 1 tests/sim/same_bytes_test
suite kills 10 1 tests/kernel/kill_test
suite stress 10 1 env STRESS_SECONDS=60 tests/stress/store_stress_test
suite all-at-once 10 1 stress
if [ -x build-tsan/tests/stress/store_stress_test ]; then
    suite tsan-stress 20 1 env STRESS_SECONDS=60 build-tsan/tests/stress/store_stress_test
else
    echo "# tsan-stress: not built; make tsan-stress does"
fi
if [ -x build-fuzz/tests/fuzz/wal_fuzz ]; then
    suite fuzz 10 1 fuzz
else
    echo "# fuzz: not built; make fuzz does"
fi
wait
! ls "$logs"/*.failed > "$logs/failed" 2>&1
