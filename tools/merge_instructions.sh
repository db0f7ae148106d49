#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Counts the instructions a record that a compaction takes, by what they are for: eight runs of a
# store in memory are merged into one, without threads, under callgrind. The counts do not depend on
# what else the machine does. `make instructions`; docs/PERFORMANCE.md has the figures.
#
#   RECORDS  of the store (200000)      SHAPES  (A B C)
set -euo pipefail

tactus=${TACTUS:?the path of tactus}
records=${RECORDS:-200000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for command in valgrind callgrind_annotate; do
    if ! command -v $command >/dev/null; then
        echo "make instructions needs valgrind: apt-get install valgrind" >&2
        exit 1
    fi
done

# profile KIND SHAPE: "instructions function" of each function, KIND yes with what it calls.
profile() {
    callgrind_annotate --auto=no --inclusive="$1" --threshold=100 "$work/$2" |
        sed -n 's/^ *\([0-9,]*\) (.*)  [^ ]*:\([A-Za-z0-9_.]*\).*/\1 \2/p' | tr -d ,
}

# A function is listed once more for each file that something inlined into it is from: with what it
# calls, the largest is the whole; without, all of them together are.
# of KIND SHAPE PATTERN [PATTERN]: instructions a record of the functions whose names match the first
# pattern, less those of the second.
of() {
    profile "$1" "$2" | awk -v records="$records" -v kind="$1" -v wanted="^($3)\$" \
        -v other="^(${4:-none})\$" '
        $2 ~ wanted { sum += $1; most = $1 > most ? $1 : most }
        $2 ~ other { less = $1 > less ? $1 : less }
        END {
            if (sum == 0) { print "nothing is called " wanted >"/dev/stderr"; exit 1 }
            printf " %.0f |", ((kind == "yes" ? most : sum) - less) / records
        }'
}

echo '| shape | all | merging | of it the kernel | record hashes | filters | checks of what is read |'
echo '| --- | --- | --- | --- | --- | --- | --- |'
for shape in ${SHAPES:-A B C}; do
    valgrind --tool=callgrind --toggle-collect=tactus_compact --callgrind-out-file="$work/$shape" \
        "$tactus" bench compact --shape "$shape" --records "$records" --threads 0 \
        --backend memory >"$work/log" 2>&1 ||
        { cat "$work/log" >&2 && exit 1; }
    printf '| %s |' "$shape"
    of yes "$shape" tactus_compact disk_perform # Copies what a device would transfer
    of yes "$shape" tac_merge_run
    of no "$shape" 'tac_merge_kernel_.*'
    of yes "$shape" XXH_INLINE_XXH3_128bits_withSeed
    of yes "$shape" tac_filter_build
    of yes "$shape" tac_block_verify
    echo
done
