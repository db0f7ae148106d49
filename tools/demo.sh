#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh BUILD_DIRECTORY -- Tactus with a million real records, checked against standard tools.
#
# The records are the fields of all packages that this Debian knows: "package/Field", tab, text.
# They are stored, a part is changed, a part is deleted; what the store then holds is compared byte
# for byte with what sort, awk and join make of the same files. Needs 1 GiB in $TMPDIR or /var/tmp.
# shellcheck disable=SC2317 # The functions that end in _equal, _gone and _sound: `check` calls them
set -euo pipefail
export LC_ALL=C

# Small, so that a million records fill three levels.
store_options=(
    --option memtable_size=8MiB --option block_size=32KiB --option table_size=1MiB
    --option file_size_max=64GiB --option uuid=7ac705000000000000000000000000de
)
passes=(stored changed deleted)

fail() {
    echo "demo: $*" >&2
    exit 1
}

say() { echo "== $*"; }
lines() { wc -l <"$1"; }

# Every field of every package as a line; folded lines are joined. Fields longer than 7000 bytes
# become several records, since a record is at most a quarter of a block.
fields_list() {
    local lists=(/var/lib/apt/lists/*_Packages*) list

    [ -e "${lists[0]}" ] || fail "there are no package lists in /var/lib/apt/lists
  Run \`apt-get update\` as root, then start the demo again."
    for list in "${lists[@]}"; do
        /usr/lib/apt/apt-helper cat-file "$list"
        echo
    done | awk '
        function emit(  key, part) {
            if (field == "") return
            key = package "/" field
            for (part = 1; length(value) > 7000; part++) {
                print key "\t" substr(value, 1, 7000)
                value = substr(value, 7001)
                key = package "/" field "+" part
            }
            print key "\t" value
            field = ""
        }
        /^$/ { emit(); next }
        /^[ \t]/ { sub(/^[ \t]+/, ""); value = value " " $0; next }
        {
            emit()
            colon = index($0, ":")
            field = substr($0, 1, colon - 1)
            value = substr($0, colon + 1)
            sub(/^ /, "", value)
            if (field == "Package") package = value
        }'
}

# The input of the three passes.
inputs_make() {
    fields_list >stored.in
    awk -F '\t' '$1 ~ /\/(Version|Size|Installed-Size)$/ { print $0 "+1" }' stored.in >changed.in
    awk -F '\t' '$1 ~ /\/Description-md5$/ || $1 ~ /-doc\// { print $1 }' stored.in >deleted.in
}

# What the store must hold then: of equal keys the last line, and none of the deleted keys.
reference_make() {
    cat stored.in changed.in | sort -s -t $'\t' -k 1,1 | awk -F '\t' '
        NR > 1 && $1 "" != key "" { print line }
        { key = $1; line = $0 }
        END { if (NR > 0) print line }' >kept.tsv
    sort -u deleted.in >gone.txt
    join -t $'\t' -v 1 kept.tsv gone.txt >reference.tsv
}

# store_make NAME OPTION…: all passes into a new store. Statistics go to NAME.PASS.json.
store_make() {
    "$tactus" create "$1" "${store_options[@]}" "${@:2}"
    "$tactus" load "$1" stored.in --json "${@:2}" >"$1.stored.json"
    "$tactus" load "$1" changed.in --json "${@:2}" >"$1.changed.json"
    "$tactus" load "$1" --delete deleted.in --json "${@:2}" >"$1.deleted.json"
}

# check TEXT COMMAND…
check() {
    if "${@:2}"; then
        echo "   ok    $1"
    else
        echo "   FAIL  $1"
        failures=$((failures + 1))
    fi
}

all_is_equal() { "$tactus" scan demo.tactus | cmp - reference.tsv; }
reverse_is_equal() { "$tactus" scan demo.tactus --reverse | cmp - <(tac reference.tsv); }
range_is_equal() {
    "$tactus" scan demo.tactus --from k --to l |
        cmp - <(awk -F '\t' '$1 "" >= "k" && $1 "" < "l"' reference.tsv)
}

# sample FILE COUNT: that many of its lines, evenly spread.
sample() { awk -v step=$(($(lines "$1") / $2 + 1)) 'NR % step == 1 || step == 1' "$1"; }

gets_are_equal() {
    local line

    sample reference.tsv 20 >sample.tsv
    while IFS= read -r line; do
        [ "$("$tactus" get demo.tactus "${line%%$'\t'*}")" = "${line#*$'\t'}" ] || return 1
    done <sample.tsv
}

deleted_are_gone() {
    local key status

    sample gone.txt 10 >sample.tsv
    while IFS= read -r key; do
        status=0
        "$tactus" get demo.tactus "$key" >got.txt 2>&1 || status=$?
        [ "$status" = 1 ] || return 1
    done <sample.tsv
}

store_is_sound() { "$tactus" verify demo.tactus >verify.txt || ! cat verify.txt; }
digests_are_equal() {
    local digest

    digest=$("$tactus" digest demo.tactus) && [ "$digest" = "$("$tactus" digest stepped.tactus)" ]
}

# From the statistics of the three passes, which count from each open. A member's value comes
# behind its name, so the lines are cut where a value ends.
report() {
    local json=("${passes[@]/#/demo.tactus.}")

    say "report"
    "$tactus" stat demo.tactus | sed -n '/^level/,$p' | sed 's/^/   /'
    cat "${json[@]/%/.json}" | tr ',' '\n' | awk -F ': *' -v total=$SECONDS -v failures=$failures \
        -v records="$(lines reference.tsv)" '
        { gsub(/[" ]/, "", $1) }
        $1 == "{" { used = 0 }
        $1 == "loaded_records" { loaded += $2 }
        $1 == "loaded_seconds" { seconds += $2 }
        $1 == "user_bytes" { user += $2 }
        $1 == "written_bytes" { written += $2 }
        $1 == "wait_ns_max" && $2 > wait_ns { wait_ns = $2 }
        $1 == "wait_bound_bytes" && $2 > bound { bound = $2 }
        $1 ~ /^level[0-9]+_tables$/ && $2 > 0 && ++used > levels { levels = used }
        END {
            printf "   records in the store     %d\n", records
            printf "   levels used              %d\n", levels
            printf "   records written          %d in %.1f s with all compaction: %d/s\n",
                loaded, seconds, loaded / seconds
            printf "   keys and values written  %.1f MiB\n", user / 1048576
            printf "   write amplification      %.2f\n", written / user
            printf "   longest wait of a write  %.1f ms (the work of at most %d KiB)\n",
                wait_ns / 1e6, bound / 1024
            printf "   time for everything      %d s\n", total
            printf "   comparison               %s\n",
                failures == 0 ? "every byte is equal" : failures " CHECKS FAILED"
        }'
}

(($# == 1)) || fail "usage: tools/demo.sh BUILD_DIRECTORY"
tactus=$(realpath "$1")/tools/tactus
[ -x "$tactus" ] || fail "$tactus is not there; ./quickstart demo builds it"
directory=$(mktemp -d "${TMPDIR:-/var/tmp}/tactus-demo.XXXXXX")
trap 'rm -rf "$directory"' EXIT
cd "$directory"
failures=0

say "reading the fields of all packages from /var/lib/apt/lists"
inputs_make
echo "   $(lines stored.in) records to store, $(lines changed.in) to change," \
    "$(lines deleted.in) to delete"
say "what the store must hold then, by sort, awk and join"
reference_make
echo "   $(lines reference.tsv) records, $(($(wc -c <reference.tsv) / 1048576)) MiB"
if (($(lines stored.in) < 1000000)); then
    echo "   (fewer than a million to store: the package lists of this machine are short)"
fi
say "storing, changing and deleting them, with a memtable of 8 MiB"
store_make demo.tactus
say "the same again, without a thread of the store's own"
store_make stepped.tactus --threads 0
say "comparing"
check "the store equals the reference, byte for byte" all_is_equal
check "and backwards" reverse_is_equal
check "and in a range of keys" range_is_equal
check "single records are found" gets_are_equal
check "deleted records are gone" deleted_are_gone
check "all checksums, orders and sums in the file are right" store_is_sound
check "with and without threads the stores hold the same bytes" digests_are_equal
report
exit $((failures > 0))
