#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A failing test must be seen as failing: runs tests/unit/tap_canary under the driver that runs all
# tests and reads the driver's verdict.
set -u

canary=tests/unit/tap_canary
driver=${srcdir:=.}/build-aux/tap-driver.sh
number=0

# verdict MODE RESULT WORDS: the driver's overall result for the canary in that mode.
verdict() {
    local log=$TMPDIR/$1.log trs=$TMPDIR/$1.trs result

    sh "$driver" --test-name "$1" --log-file "$log" --trs-file "$trs" --color-tests no \
        --enable-hard-errors yes --expect-failure no -- "$canary" "$1" >"$TMPDIR/$1.out" 2>&1
    result=$(sed -n 's/^:global-test-result: //p' "$trs")
    number=$((number + 1))
    if [ "$result" = "$2" ]; then
        echo "ok $number - $3"
    else
        echo "not ok $number - $3"
        echo "# expected $2, got '$result'"
        sed 's/^/# /' "$log"
    fi
}

# results MODE RESULT COUNT WORDS: how many single results of that kind the driver counted.
results() {
    local count

    count=$(grep -c "^:test-result: $2" "$TMPDIR/$1.trs")
    number=$((number + 1))
    if [ "$count" = "$3" ]; then
        echo "ok $number - $4"
    else
        echo "not ok $number - $4"
        echo "# expected $3, got $count"
    fi
}

echo 1..13
verdict pass PASS "a program whose checks pass, passes"
verdict fail ERROR "one that fails a check does not: its exit status says so"
results fail FAIL 1 "and so does the check, whatever its text says"
verdict skip PASS "a skipped check is no failure"
results skip PASS 1 "and does not count as passed"
verdict few ERROR "fewer checks than planned are an error"
verdict none ERROR "a program that checks nothing is an error"
verdict silent ERROR "so is one that says nothing"
verdict bail ERROR "so is a bail-out"
verdict crash ERROR "so is a crash, even if all checks so far passed"
verdict exit ERROR "so is a bad exit status, even if all checks passed"
verdict threads PASS "checks made by eight threads at once pass"
results threads PASS 2001 "and none of their lines is lost or mixed"
