#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The parking protocol, model-checked: as built it loses no wake-up; with any one of its parts left
# out it does, and Spin finds it. LONG=1 adds two larger configurations (0.8 GB).

set -u

model=$(cd "$(dirname "$0")" && pwd)/parking.pml
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

# Searches one configuration: items at the start, pops of the consumers, pushes of the producers.
# More options may follow.
search() { # filled pops_0 pops_1 pushes_2 pushes_3 [option...]
    local options="-DFILLED=$1 -DPOPS_0=$2 -DPOPS_1=$3 -DPUSHES_2=$4 -DPUSHES_3=$5"

    shift 5
    rm -f "$dir"/pan*
    # shellcheck disable=SC2086
    (cd "$dir" && cp "$model" parking.pml &&
        spin $options "$@" -a parking.pml &&
        $cc $optimize -w -DSAFETY -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c &&
        ./pan -m10000) > "$dir/log" 2>&1
}

# A search that was cut short (memory, depth) proves nothing.
check_no_loss() { # text configuration...
    local text=$1 ok=no

    shift
    if search "$@" && grep -q 'errors: 0$' "$dir/log" &&
        ! grep -Eqi 'not completed|max search depth|memory limit' "$dir/log"; then
        ok=yes
        echo "# $(grep -o '[0-9]* states, stored' "$dir/log")"
    fi
    report $ok "$text"
}

check_loss() { # text configuration...
    local text=$1 ok=no

    shift
    search "$@"
    if grep -q 'invalid end state' "$dir/log" && grep -q 'errors: 1$' "$dir/log"; then
        ok=yes
    fi
    report $ok "$text"
}

check_no_loss "consumers sleep on an empty ring: no wake-up is lost" 0 1 1 1 1
check_no_loss "producers sleep on a full ring: no wake-up is lost" 2 1 1 1 1
optimize=-O1
check_no_loss "both sides sleep, consumers the more: no wake-up is lost" 1 2 1 1 1
if [ -n "${LONG:-}" ]; then
    check_no_loss "both sides sleep, producers the more: no wake-up is lost" 1 1 1 2 1
    check_no_loss "three items through a ring of two: no wake-up is lost" 0 2 1 2 1
fi
optimize=-O0
for side in "consumers:0 1 1 1 1" "producers:2 1 1 1 1"; do
    # shellcheck disable=SC2086
    for option in "PLAIN_LOAD:when notify reads with a plain load" \
        "NO_SECOND_LOOK:without the second look" \
        "NO_PASS_ON:when a wake-up is kept by who leaves"; do
        check_loss "${side%%:*} sleep for ever ${option#*:}" ${side#*:} "-D${option%%:*}"
    done
done
check_loss "consumers sleep for ever when a busy try-lock counts as a refusal" 0 1 1 1 1 -DTRY_LOCK

echo "1..$number"
exit $failed
