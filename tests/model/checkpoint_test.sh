#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checkpoints, model-checked: as built none that was acknowledged is lost, whatever is cut off when
# and whichever one thing fails; with any one rule broken it is, and Spin finds it. LONG=1 adds
# larger configurations (0.4 GB).

set -u

model=$(cd "$(dirname "$0")" && pwd)/checkpoint.pml
cc=${CC:-cc}

for program in spin "${cc%% *}"; do
    if ! command -v "$program" > /dev/null; then
        echo "1..0 # SKIP $program is not installed"
        exit 0
    fi
done

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT

number=0
failed=0

# Says how one check went; the log of the search follows a failure.
report() { # ok text
    number=$((number + 1))
    if [ "$1" = yes ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        sed 's/^/# /' "$dir/log"
        failed=1
    fi
}

# To compile the search takes longer than most searches: optimized only for the long ones.
optimize=-O0

# Searches one configuration. More options may follow.
search() { # checkpoints crashes faults blocks [option...]
    local options="-DCHECKPOINTS=$1 -DCRASHES=$2 -DFAULTS=$3 -DBLOCKS=$4"

    shift 4
    rm -f "$dir"/pan*
    # shellcheck disable=SC2086
    (cd "$dir" && cp "$model" checkpoint.pml &&
        spin $options "$@" -a checkpoint.pml &&
        $cc $optimize -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c &&
        ./pan -m100000) > "$dir/log" 2>&1
}

# A search that was cut short (memory, depth) proves nothing.
check_holds() { # text configuration...
    local text=$1 ok=no

    shift
    if search "$@" && grep -q 'errors: 0$' "$dir/log" &&
        ! grep -Eqi 'not completed|max search depth|memory limit' "$dir/log"; then
        ok=yes
        echo "# $(grep -o '[0-9]* states, stored' "$dir/log")"
    fi
    report $ok "$text"
}

check_fails() { # text configuration...
    local text=$1 ok=no

    shift
    search "$@"
    if grep -q 'assertion violated' "$dir/log" && grep -q 'errors: 1$' "$dir/log"; then
        ok=yes
    fi
    report $ok "$text"
}

check_holds "4 checkpoints, 3 crashes, no fault: no checkpoint is lost" 4 3 0 3
check_holds "3 checkpoints, 2 crashes, any one fault: no checkpoint is lost" 3 2 1 3
if [ -n "${LONG:-}" ]; then
    optimize=-O1
    check_holds "5 checkpoints, 3 crashes, no fault: no checkpoint is lost" 5 3 0 3
    check_holds "4 checkpoints, 3 crashes, any one fault: no checkpoint is lost" 4 3 1 3
fi
optimize=-O0
# Without a fault where none is needed.
check_fails "lost without a sync of the data" 2 2 0 3 -DNO_DATA_SYNC
check_fails "lost without a sync of the superblocks" 2 2 0 3 -DNO_ROOT_SYNC
check_fails "lost when an open does not sync" 2 3 0 3 -DNO_OPEN_SYNC
check_fails "lost when every superblock goes to one pair" 2 2 0 3 -DONE_PAIR
check_fails "overwritten when blocks are free too early" 2 2 0 3 -DFREE_AT_BEGIN
check_fails "lost when a failed sync is made again" 2 2 1 3 -DSYNC_RETRY
check_fails "forked without the second phase of the repair" 3 2 1 3 -DNO_PHASE_2
check_fails "lost when the repair rewrites good copies" 2 2 1 3 -DREWRITE_GOOD
check_fails "lost when it rewrites misplaced ones with the bad ones" 2 2 1 3 -DMISPLACED_FIRST

echo "1..$number"
exit $failed
