#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each planted bug of base/mutant.h must be found by a test: `make mutants` runs this in a build
# directory configured with --enable-mutants. Of each mutant first the test that its line names is
# run, then all others, the cheap ones first, until one fails, crashes or hangs. The simulator has
# 2,000 seeds. At the end the tests that failed are run again without a mutant, and must pass.
#
# usage: mutants.sh TEST…     from cheap to dear
# MUTANTS="3 7"  these alone; THIRD=0, 1, 2 or today: every third one
# ONLY=TEST      by this test alone, to see which mutants it kills
# SEEDS=n        of the simulator; SECONDS_MAX=n for one run of a test; JOBS=n mutants at a time
set -u

simulator=tests/sim/store_sim_test
seeds=${SEEDS:-2000}
only=${ONLY-}
unset SEED SEEDS ONLY LONG
seconds_max=${SECONDS_MAX:-120}
directory=mutants.tmp
build=$PWD
third=${THIRD-}
if [ "$third" = today ]; then
    third=$(($(date +%s) / 86400 % 3))
fi

# run NUMBER TEST SEEDS: false when the test fails, crashes or hangs; it is not run on after its first
# failure. What it has printed is in $directory/NUMBER/log.
run() {
    local own=$directory/$1 seconds=$seconds_max is_slow=no code

    # The simulator sees for itself that no seed hangs, with a limit for slow machines.
    if [ "$2" = $simulator ]; then
        seconds=$((seconds_max + $3 * 30))
        is_slow=yes
    fi

    rm -rf "$own" && mkdir -p "$own/tmp" && : >"$own/log"
    # Two mutants may run one test at a time: some have their store where they are.
    TACTUS_MUTANT=${1#-} TMPDIR=$build/$own/tmp SEEDS=$3 FAILURES=1 SHRINK=0 \
        TACTUS_INSTRUMENTED=$is_slow \
        timeout -k 5 $seconds env -C "$own/tmp" "$build/$2" >"$own/log" 2>&1 &
    while kill -0 $! 2>/dev/null; do
        if grep -q '^not ok' "$own/log"; then
            kill $! 2>/dev/null
        fi
        sleep 0.1
    done
    wait $!
    code=$?
    echo "$code" >"$own/code"
    [ "$code" = 0 ] && ! grep -q '^not ok' "$own/log"
}

# How the last run of the mutant has failed.
ending() {
    local own=$directory/$1 code seed

    code=$(cat "$own/code")
    seed=$(sed -n 's/^not ok [0-9]* - seed \([0-9]*\):.*/\1/p' "$own/log")
    if [ -n "$seed" ]; then
        echo "seed $seed"
    elif grep -q '^not ok' "$own/log"; then
        echo "a check"
    elif [ "$code" = 124 ] || [ "$code" = 137 ] || [ "$code" = 142 ]; then
        echo "a hang"
    else
        echo "an assertion"
    fi
}

# try NUMBER KILLER: prints the test that fails and how, with a tab between.
try() {
    local killer=tests/$2 test list how

    list="$killer ${tests[*]}"
    if [ -n "$only" ]; then
        list=$only
    fi
    for test in $list; do
        if ! run "$1" "$test" "$seeds"; then
            how=$(ending "$1")
            # A test that takes too long proves something only where it is known to hang.
            if [ "$how" != "a hang" ] || [ "$test" = "$killer" ]; then
                printf '%s\t%s\n' "${test#tests/}" "$how"
                return
            fi
        fi
    done
    printf 'none\tsurvives\n'
}

# Is the mutant one of those that were asked for?
is_chosen() {
    if [ -n "${MUTANTS-}" ]; then
        [[ " $MUTANTS " == *" $1 "* ]]
    else
        [ -z "$third" ] || [ $(($1 % 3)) = "$third" ]
    fi
}

tests=("$@")
rm -rf "$directory" && mkdir -p "$directory" || exit 1
tests/lib/mutant_list >"$directory/list" || exit 1

# A test that is not there fails too, and would be taken for one that finds the mutant.
while IFS=$'\t' read -r number name killer _; do
    if [[ " ${tests[*]} " != *" tests/$killer "* ]] || ! [ -x "tests/$killer" ]; then
        echo "mutant $number, $name: tests/$killer is not among mutant_tests of Makefile.am" >&2
        exit 1
    fi
done <"$directory/list"

while IFS=$'\t' read -r number name killer _; do
    if is_chosen "$number"; then
        while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-$(nproc)}" ]; do
            wait -n
        done
        try "$number" "$killer" >"$directory/$number.result" 2>/dev/null &
    fi
done <"$directory/list"
wait

count=0
failed=0
while IFS=$'\t' read -r number name killer stands_for wrong; do
    [ -f "$directory/$number.result" ] || continue
    IFS=$'\t' read -r test how <"$directory/$number.result"
    count=$((count + 1))
    verdict=ok
    if [ "${test:-none}" = none ]; then
        verdict="not ok"
        failed=$((failed + 1))
    fi
    printf '%s %d - mutant %s, %s: %s, %s\n' "$verdict" $count "$number" "$name" "$test" "$how"
    printf '| %s | %s | %s | %s | %s |\n' \
        "$number" "$wrong" "$stands_for" "$test" "$how" >>"$directory/table"
done <"$directory/list"

if [ $count = 0 ]; then
    echo "mutants.sh: there is no mutant of these: ${MUTANTS-$third}" >&2
    exit 1
fi

# The same tests without a mutant: the simulator with as many seeds as were needed.
for test in $(cut -f 1 "$directory"/*.result | sort -u); do
    needed=1
    [ "$test" = none ] && continue
    if [ "tests/$test" = "$simulator" ]; then
        needed=$(sed -n 's/.*\tseed \([0-9]*\)$/\1/p' "$directory"/*.result | sort -n | tail -n 1)
    fi
    count=$((count + 1))
    if run - "tests/$test" "${needed:-$seeds}"; then
        echo "ok $count - without a mutant $test passes"
    else
        echo "not ok $count - without a mutant $test passes"
        sed 's/^/# /' "$directory/-/log" | tail -n 20
        failed=$((failed + 1))
    fi
done
echo "1..$count"
echo
echo "| mutant | what is wrong | stands for | killed by | after |"
echo "| --- | --- | --- | --- | --- |"
cat "$directory/table"
[ $failed = 0 ]
