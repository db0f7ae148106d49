#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command: what it stores and prints, and what it says to bad input. After every refusal the
# store must still hold what it held.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

tactus=${TACTUS_TOOL:?the path of the command to test}
directory=$(mktemp -d "${TMPDIR:-/tmp}/tool_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99

# Small blocks and caches: every command opens the store anew.
small=(--option memtable_size=256KiB --option block_size=16KiB --option file_size_max=1GiB)
caches=(--option page_cache_size=1MiB --option index_cache_size=4MiB)

# run STATUS ARGUMENT…: runs the command; true when it ends with that status. Its output is in out
# and err. Two minutes are a hundred times what any of these takes.
run() {
    local expected=$1 status=0

    timeout -s KILL 120 "$tactus" "$2" "${caches[@]}" "${@:3}" >out 2>err || status=$?
    [ $status = "$expected" ] || { echo "status $status, expected $expected" >>err && false; }
}

# fails STATUS TEXT ARGUMENT…: the command ends with this status and says TEXT on standard error,
# and in a second line what to do.
fails() { run "$1" "${@:3}" && grep -qe "$2" err && [ "$(wc -l <err)" -ge 2 ]; }

# fails_with_input FILE STATUS TEXT ARGUMENT…
fails_with_input() { fails "${@:2}" <"$1"; }

# prints FILE ARGUMENT…: the command prints exactly the file.
prints() { run 0 "${@:2}" && cmp out "$1"; }

# holds STORE FILE: so does the store.
holds() { prints "$2" scan "$1"; }

new_store() { run 0 create "$1" "${small[@]}" "${@:2}"; }
load() { run 0 load "${@:2}" <"$1"; }

# lines_make N: N lines in a scattered order, every key once.
lines_make() {
    awk -v n="$1" 'BEGIN {
        for (i = 0; i < n; i++) {
            printf "key%06d\tvalue %d of the record, with some text\n", (i * 7919) % n, i
        }
    }'
}

# ---- the usual way ------------------------------------------------------------------------------

is "create makes a store" new_store a
printf 'default\tvariable\t1024\t3072\n' >expected
is "its tree is listed" prints expected tree a list
: >empty
is "it is empty" holds a empty
printf 'pear\tgreen\napple\tred\nplum\t\n' >lines
printf 'apple\tred\npear\tgreen\nplum\t\n' >sorted
is "load reads lines from standard input" load lines a
is "scan prints them in order, an empty value too" holds a sorted
is "load reads a file" run 0 load a lines
is "loading the same again changes nothing" holds a sorted
echo red >expected
is "get prints a value" prints expected get a apple
echo >expected
is "get prints an empty value" prints expected get a plum
is "get says that there is no such key" run 1 get a quince
is "put stores a record" run 0 put a quince yellow
is "put stores an empty value over one" run 0 put a apple ''
is "delete deletes a record" run 0 delete a pear
is "delete of a key that is not there is no error" run 0 delete a nothing
printf 'apple\t\nplum\t\nquince\tyellow\n' >expected
is "the store holds what was put" holds a expected
printf 'plum\tvalues are ignored\nquince\n' >keys
is "load --delete deletes keys" load keys a --delete
printf 'apple\t\n' >expected
is "the keys are gone" holds a expected
printf 'last\tline' >unfinished
is "a last line without newline is a line" load unfinished a
printf 'apple\t\nlast\tline\n' >expected
is "and is stored" holds a expected
is "an operand may begin with - after --" run 0 put -- a -k -v
echo -v >expected
is "and is stored" prints expected get -- a -k

# ---- many records -------------------------------------------------------------------------------

lines_make 30000 >many
sort many >many.sorted
new_store m && new_store copy
is "load takes 30000 lines, many memtables" load many m
is "scan gives all of them back" holds m many.sorted
"$tactus" scan m | "$tactus" load copy
is "what scan prints, load reads" holds copy many.sorted
new_store run
is "load --sorted takes them in order" load many.sorted run --sorted
is "and stores them" holds run many.sorted
is "over what is there, too" load many.sorted copy --sorted
is "and nothing changes" holds copy many.sorted
is "load --sorted wants them in order" fails_with_input many 4 'record [0-9]* of the run.*ascend' \
    load run --sorted
is "and then stores nothing" holds run many.sorted
cut -f 1 many.sorted >keys.sorted
is "load --sorted --delete" load keys.sorted copy --sorted --delete
is "deletes" holds copy empty
tac many.sorted >expected
is "scan --reverse" prints expected scan m --reverse
awk -F '\t' '$1 >= "key010000" && $1 < "key010100x"' many.sorted >expected
is "scan --from --to, the end excluded" prints expected scan m --from key010000 --to key010100x
grep -v key010100 expected >shorter
is "an end that is a key is excluded" prints shorter scan m --from key010000 --to key010100
tac shorter >expected
is "the same backwards" prints expected scan m --from key010000 --to key010100 --reverse
head -n 7 expected >shorter
is "and limited" prints shorter scan m --from key010000 --to key010100 --reverse --limit 7
head -n 5 many.sorted >expected
is "scan --limit" prints expected scan m --limit 5
is "scan --limit 0 prints nothing" prints empty scan m --limit 0
is "an empty range prints nothing" prints empty scan m --from b --to a
is "an empty --from is no key" fails 4 '^tactus scan: --from: a key of 0 bytes' scan m --from ''
is "nor is an empty --to" fails 4 '^tactus scan: --to: a key of 0 bytes' scan m --to ''
echo 30000 >expected
is "scan --count" prints expected scan m --count
cut -f 1 many | awk 'NR % 3 == 0' >keys
awk -F '\t' 'NR == FNR { gone[$1]; next } !($1 in gone)' keys many.sorted >rest.sorted
is "a third of the keys is deleted" load keys m --delete
is "the others stay" holds m rest.sorted
is "compact" run 0 compact m
is "compact keeps every record" holds m rest.sorted

one_level_without_tombstones() {
    run 0 stat m --json || return 1
    tr ',' '\n' <out | tr -d '" ' | awk -F : '
        /^level[0-9]+_records/ && $2 > 0 { used++; records = $2 }
        /^level[0-9]+_tombstones/ { tombstones += $2 }
        END { exit !(used == 1 && records == 20000 && tombstones == 0) }'
}
is "compact leaves one level with nothing superfluous" one_level_without_tombstones

tells_prometheus() {
    run 0 stat m --prometheus &&
        [ "$(awk '/^tactus_level_records/ { sum += $2 } END { print sum }' out)" = 20000 ] &&
        grep -q '^tactus_info{backend="[a-z_]*"} 1$' out
}
is "stat --prometheus has the same numbers" tells_prometheus

# With a log a close leaves the rest of the work, and the open plans it.
tells_plan() {
    new_store planned && run 0 load planned --option log=interval <many &&
        run 0 stat planned --option log=interval --plan &&
        grep -qE '^when tree level to +kind +for +tables +bytes +keys$' out &&
        grep -qE '^now +0 +0 +0 +flush +flush +0 .* key[0-9]+ \.\. key[0-9]+$' out
}
is "stat --plan has the flush, its reason and its keys" tells_plan

# ---- any bytes ----------------------------------------------------------------------------------

new_store any
awk 'BEGIN { for (i = 0; i < 256; i++) printf "\\x%02x%d\tv\\x%02x\\\\\\t\\n.\n", i, i, i }' >bytes
is "load --escape stores any byte" load bytes any --escape
"$tactus" scan any --escape >escaped
is "all 256 keys are there" test "$(wc -l <escaped)" = 256
new_store again
is "load --escape reads what scan --escape prints" load escaped again --escape
is "and gets the same" prints escaped scan again --escape
printf 'v\\x00\\\\\\t\\n.\n' >expected
is "get --escape" prints expected get any --escape '\x000'
is "delete --escape" run 0 delete any --escape '\x000'
is "and it is gone" run 1 get any --escape '\x000'
is "scan stops at a record that a line cannot hold" fails 4 'a line cannot hold' scan any
new_store tab && "$tactus" put tab --escape 'a\tb' c
is "and names its key and the reason" fails 4 'key a\\tb .*tab' scan tab
is "a malformed escape of a key is refused" fails 4 'malformed escape' get any --escape '\q'
printf 'ok\tok\nbad\t\\x1\n' >lines
is "a malformed escape of a line is refused by number" \
    fails_with_input lines 4 'line 2: malformed escape' load any --escape
is "the line before it is stored" run 0 get any ok
printf 'ok\t\\q\n' >lines
is "load --delete does not look at values" load lines any --delete --escape
is "and deletes the key" run 1 get any ok

# ---- trees and layouts --------------------------------------------------------------------------

is "tree create" run 0 tree a create other
is "tree create with a fixed layout" \
    run 0 tree a create fixed --layout fixed --key-size 4 --value-size 2
printf 'default\tvariable\t1024\t3072\nother\tvariable\t1024\t3072\nfixed\tfixed\t4\t2\n' >expected
is "tree list shows them" prints expected tree a list
is "a fixed layout needs its key size" fails 2 'size of the keys' tree a create x --layout fixed
is "key sizes of 0 are refused" fails 2 'key-size 0' tree a create x --key-size 0
is "a layout is not for a list" fails 2 'for create' tree a list --key-size 4
is "nor for a drop" fails 2 'for create' tree a drop other --layout fixed --key-size 4
new_store tiny --option block_size=4KiB --option page_size=512
is "tree create with a value size alone" run 0 tree tiny create short --value-size 100
printf 'default\tvariable\t256\t768\nshort\tvariable\t256\t100\n' >expected
is "takes the longest keys of its blocks" prints expected tree tiny list
is "a name that is taken is refused" fails 3 'exists' tree a create other
is "an illegal name is refused" fails 2 'name' tree a create 'a/b'
is "a layout too large for a block is refused" fails 4 'key size' tree a create big --key-size 9999
is "load --tree" load sorted a --tree other
is "scan --tree" prints sorted scan a --tree other
is "put of the right sizes into the fixed tree" run 0 put a --tree fixed abcd xy
is "a longer key is refused there" fails 4 'key of 5 bytes' put a --tree fixed abcde xy
is "a shorter key is refused there" fails 4 'key of 3 bytes' put a --tree fixed abc xy
is "a value of another size is refused there" fails 4 'value of 1 bytes' put a --tree fixed abce x
printf 'abcd\txy\n' >expected
is "it holds what it held" prints expected scan a --tree fixed
is "tree create of one to be dropped" run 0 tree a create passing
is "load into it" load sorted a --tree passing
is "tree drop" run 0 tree a drop passing
printf 'default\tvariable\t1024\t3072\nother\tvariable\t1024\t3072\nfixed\tfixed\t4\t2\n' >expected
is "it is not listed" prints expected tree a list
is "it is not found" fails 3 'no tree' scan a --tree passing
is "a tree that is not there is not dropped" fails 3 'no tree' tree a drop passing
is "its name is free" run 0 tree a create passing
is "and the new tree empty" prints /dev/null scan a --tree passing
is "tree drop again" run 0 tree a drop passing
is "the others have what they had" prints sorted scan a --tree other
is "an unknown tree is refused" fails 3 'no tree' scan a --tree nowhere
is "and named in one line" fails 3 'no tree "no\\x0awhere"$' scan a --tree $'no\nwhere'
is "also by put" fails 3 'no tree' put a --tree nowhere key value

# ---- snapshots ----------------------------------------------------------------------------------

lists_snapshots() { # NAME…: these, in this order, each with an op, tables and bytes above 0
    run 0 snapshot s list &&
        awk -F '\t' 'NF != 4 || $2 + 0 <= op || $3 < 1 || $4 < 1 { exit 1 } { op = $2 }' out &&
        [ "$(cut -f 1 out | tr '\n' ' ')" = "$* " ]
}

retains() { # COMPARISON: of the tables that only snapshots have, with 0
    run 0 stat s --json &&
        [ "$(tr ',' '\n' <out | tr -d '" {}' | sed -n 's/^tables_retained://p')" "$1" 0 ]
}

new_store s
is "there are no snapshots" prints empty snapshot s list
is "a snapshot to read must be there" fails 3 'no snapshot "first"' scan s --snapshot first
load many.sorted s
is "snapshot create" run 0 snapshot s create first
is "a name that is taken is refused" fails 3 'first' snapshot s create first
is "an illegal name is refused" fails 2 'name' snapshot s create 'a/b'
load keys s --delete
run 0 put s key000000 later
run 0 tree s create later
is "snapshot create of another state" run 0 snapshot s create second
run 0 compact s
is "snapshot list shows them, the oldest first" lists_snapshots first second
is "the store goes on, and its old tables stay" retains -gt
is "scan --snapshot" prints many.sorted scan s --snapshot first
head -n 5 many.sorted >expected
is "scan --snapshot --limit" prints expected scan s --snapshot first --limit 5
echo 20000 >expected
is "scan --snapshot --count of the other" prints expected scan s --snapshot second --count
sed -n 's/^key000000\t//p' many.sorted >expected
is "get --snapshot" prints expected get s --snapshot first key000000
echo later >expected
is "get of the store as it is" prints expected get s key000000
is "get --snapshot says that there was no such key" run 1 get s --snapshot first none
is "a tree that was made later is not in it" fails 3 'tree' scan s --snapshot first --tree later
is "snapshot release" run 0 snapshot s release first
is "it is not listed" lists_snapshots second
is "nor found" fails 3 'no snapshot "first"' get s --snapshot first key000000
is "nor released again" fails 3 'no snapshot "first"' snapshot s release first
is "the other one has what it had" run 0 scan s --snapshot second --count
is "which is 20000 records" test "$(cat out)" = 20000
is "release of the last one" run 0 snapshot s release second
is "gives back all that only snapshots had" retains -eq
is "more than snapshots_max are refused" \
    fails 2 'snapshots_max' snapshot s create third --option snapshots_max=0
is "snapshot wants to be told what to do" fails 2 'expected STORE create NAME' snapshot s take x
is "create wants a name" fails 2 'expected STORE create NAME' snapshot s create
is "the store is whole" run 0 verify s

# ---- bad input ----------------------------------------------------------------------------------

long_key=$(printf '%01025d' 0)
long_value=$(printf '%04000d' 0)
new_store b && load sorted b
is "an empty key is refused" fails 4 'key is empty' put b '' value
is "a key that is too long is refused" fails 4 'key of 1025 bytes' put b "$long_key" value
is "a value that is too long is refused" fails 4 'value of 4000 bytes' put b key "$long_value"
is "a key of the greatest length is stored" run 0 put b "${long_key:1}" value
is "and found" run 0 get b "${long_key:1}"
run 0 delete b "${long_key:1}"
is "the store holds what it held" holds b sorted
printf 'one\t1\ntwo\t2\nthree\nfour\t4\n' >lines
is "a line without tab is refused by number" fails_with_input lines 4 'line 3: .*no tab' load b
is "and it says how many lines are stored" grep -q '2 lines were loaded' err
{ cat sorted && printf 'one\t1\ntwo\t2\n'; } | sort >expected
is "these are stored, no others" holds b expected
printf 'one\t1\n\tkey is empty\n' >lines
is "a line with an empty key is refused by number" fails_with_input lines 4 'line 2: .*empty' load b
printf '%s\tv\n' "$long_key" >lines
is "a line with too long a key" fails_with_input lines 4 'line 1: key of 1025' load b
printf 'k\t%s\n' "$long_value" >lines
is "a line with too long a value" fails_with_input lines 4 'line 1: value of 4000' load b
head -c 3000000 /dev/zero >lines
is "a line without end" fails_with_input lines 4 'line 1: longer' load b
printf 'a\0b\tc\0d\n' >lines
is "a zero byte is a byte like others" load lines b
is "and comes back" run 0 scan b --from a --limit 1
is "byte for byte" cmp out lines
run 0 delete b --escape 'a\x00b'
is "an input file that is missing" fails 3 'cannot open' load b no_such_file
is "an input file that is a directory" fails 3 'cannot read' load b .
is "after all this the store is as before" holds b expected
is "and sound" run 0 verify b

# ---- stores that are not there, or not ours -----------------------------------------------------

is "a directory" fails 2 'is a directory' get . key
is "a store to be repaired into a missing directory" \
    fails 3 'no_such_directory' repair b no_such_directory/store
is "which is to be made" grep -q 'Make the directory' err
is "a missing store" fails 3 'no_such_store' get no_such_store key
is "is not made by reading it" test ! -e no_such_store
is "a store in a missing directory" fails 3 'no_such_directory' create no_such_directory/store
awk 'BEGIN { for (i = 0; i < 1000; i++) print "Dear friend, this is a long letter." }' >letter
cp letter letter.copy
is "a foreign file" fails 3 'not a Tactus store' scan letter
is "also to verify" fails 3 'not a Tactus store' verify letter
is "is left as it is" cmp letter letter.copy
echo 'Dear friend' >note
is "a short foreign file" fails 3 'not a Tactus store' verify note
is "smaller blocks limit the file by themselves" run 0 create small_blocks --option block_size=32KiB
is "a file too small for its tree" fails 2 'must be at least' create too_small \
    --option file_size_max=64MiB
is "create does not overwrite it" fails 3 'letter' create letter
is "and leaves it as it is" cmp letter letter.copy
is "an empty file is no store" fails 3 'empty' scan empty
head -c 40000 /dev/zero >zeros
is "nor is one of zeros" fails 3 'not a Tactus store' scan zeros
head -c 300000 m >truncated
is "a truncated store is refused" run 3 scan truncated
is "create over a store is refused" fails 3 'exists' create b
is "and leaves it" holds b expected
is "an impossible option" fails 2 'block_size' create new --option block_size=3
is "an unknown option" fails 2 'no_such_option' create new --option no_such_option=1
is "a failed create leaves no file" test ! -e new
is "one that fails at its tree" fails 2 'must be at least' create new --option log=sync \
    --option file_size_max=64MiB
is "leaves no log either" test ! -e new -a ! -e new-wal
is "create with a log" run 0 create new --option log=sync
is "puts its tree where there is no log yet" test -e new -a ! -e new-wal
rm new
mkdir closed && chmod 500 closed
if [ "$(id -u)" = 0 ]; then
    skip "a directory that may not be written" "root may write anywhere"
else
    is "a directory that may not be written" fails 3 'closed' create closed/store
fi

# ---- two at once, signals, crashes --------------------------------------------------------------

# Enough bytes that the pipe takes them only when the loader is reading.
mkfifo pipe
lines_make 20000 >stream
sort stream >stream.sorted
new_store c
"$tactus" load c "${caches[@]}" <pipe 2>load.err &
loader=$!
exec 3>pipe
cat stream >&3
is "a second open is refused" fails 3 'open' get c key
exec 3>&-
wait $loader
is "the first goes on and ends well" test $? = 0
is "with every record" holds c stream.sorted

# load_and_signal SIGNAL: a load of which the end never comes; $status is its exit status.
load_and_signal() {
    "$tactus" load d "${caches[@]}" <pipe 2>load.err &
    loader=$!
    exec 3>pipe
    cat stream >&3
    kill -"$1" $loader
    wait $loader
    status=$?
    exec 3>&-
}

# holds_first N: the store d holds the first N lines of the stream.
holds_first() { head -n "$1" stream | sort >expected && holds d expected; }

new_store d
load_and_signal TERM
is "a signal ends a load with its status" test "$status" = 143
loaded=$(sed -n 's/^ *\([0-9]*\) lines were loaded.*/\1/p' load.err)
is "it says how many lines are stored" test "${loaded:-0}" -ge 1
is "these are stored" holds_first "${loaded:-0}"

# A run may be stored by the time that the signal comes: it is whole, and said to be, or not there.
sorted_and_signal() { # SECONDS after its end
    rm -f d && new_store d
    "$tactus" load d "${caches[@]}" --sorted <pipe 2>load.err &
    loader=$!
    cat stream.sorted >pipe
    sleep "$1"
    kill -TERM $loader 2>/dev/null
    wait $loader
    status=$?
    loaded=$(sed -n 's/^ *\([0-9]*\) lines were loaded.*/\1/p' load.err)
    if [ $status = 0 ] || [ "$status,$loaded" = 143,20000 ]; then
        holds d stream.sorted
    else
        [ "$status,$loaded" = 143,0 ] && holds d empty
    fi
}
for seconds in 0 0.005 0.01 0.02 0.03 0.05; do
    is "a signal $seconds s after a sorted run leaves all of it or nothing" \
        sorted_and_signal $seconds
done

rm d && new_store d
load_and_signal KILL
run 0 scan d --count
is "after a crash the store opens with what the last checkpoint has" holds_first "$(cat out)"
is "and is sound" run 0 verify d
is "and can be loaded again" load stream d
is "with every record" holds d stream.sorted

# ---- the limit of the file ----------------------------------------------------------------------

run 0 create full --option memtable_size=256KiB --option block_size=16KiB \
    --option file_size_max=16MiB
lines_make 400000 >flood
is "a store that is full says so" fails_with_input flood 3 'file_size_max' load full
is "with the number of the line" grep -q 'line [0-9]*:' err
loaded=$(sed -n 's/^ *\([0-9]*\) lines were loaded.*/\1/p' err)
head -n "${loaded:-0}" flood | sort >expected
is "it holds the lines that it says it has, no others" holds full expected
is "there are some" test "${loaded:-0}" -ge 10000
is "the file is within its limit" test "$(stat -c %s full)" -le $((16 << 20))
head -n "${loaded:-0}" flood | cut -f 1 | awk 'NR % 10 != 0' >keys
is "a full store takes deletes" load keys full --delete
is "and compacts" run 0 compact full
is "and then has room again" run 0 put full zzz 'room'
awk -F '\t' 'NR == FNR { gone[$1]; next } !($1 in gone)' keys expected >rest
printf 'zzz\troom\n' >>rest
is "nothing was lost" holds full rest
is "it is sound" run 0 verify full

# ---- damage -------------------------------------------------------------------------------------

new_store e && load many e
cp e e.copy
offset=$(grep -abo 'value 12345 of' e | head -n 1 | cut -d : -f 1)
printf 'VALUE' | dd of=e bs=1 seek="${offset:-0}" conv=notrunc status=none
is "verify finds a changed byte" run 1 verify e
is "and prints the damage" grep -q '^damage: ' out
is "scan stops rather than print it" run 3 scan e
is "what it printed is right" test "$(comm -23 <(sort out) many.sorted | wc -l)" = 0
mv e.copy e
is "verify calls a good store sound" run 0 verify e
is "and says so" grep -q 'sound' out

# ---- repair -------------------------------------------------------------------------------------

# Older versions lie deep, newer ones and deletions over them.
awk 'BEGIN { for (i = 0; i < 30000; i += 7) printf "key%06d\tnewer %d of it\n", i, i }' >newer
awk 'BEGIN { for (i = 0; i < 30000; i += 11) printf "key%06d\n", i }' >gone
load newer e && load gone e --delete
{ cat many newer && awk '{ print $1 "\t" }' gone; } | awk -F '\t' '
    { value[$1] = $2 } END { for (key in value) if (value[key] != "") print key "\t" value[key] }' |
    sort >model
is "a store with old and new versions" holds e model

# repair_is_honest STORE: what repair writes out is the model's, or it is said to be doubtful; what
# is not there is said to be lost; the status tells; the store is left as it was.
repair_is_honest() {
    rm -f repaired before && cp "$1" before
    run 1 repair "$1" repaired || grep -q 'nothing is missing$' out || return 1
    mv out list && cmp "$1" before || return 1
    run 0 verify repaired && run 0 scan repaired && mv out got || return 1
    awk -F '\t' '
        FILENAME == "model" { model[$1] = $2; next }
        FILENAME == "got" { got[$1] = $2; next }
        /^lost: / {
            match($0, /keys from [^ ]* to (before )?[^ ]*: /)
            split(substr($0, RSTART, RLENGTH - 2), word, " ")
            from[++losses] = word[3]
            to[losses] = word[5] == "before" ? word[6] : word[5] "~"
        }
        /^doubtful: / { match($0, /key [^ :]*/); doubt[substr($0, RSTART + 4, RLENGTH - 4)] }
        END {
            for (key in got) bad += got[key] != model[key] && !(key in doubt)
            for (key in model) {
                for (i = losses; i > 0 && (key < from[i] || key >= to[i]); i--);
                bad += !(key in got) && i == 0
            }
            exit bad > 0
        }' model got list
}

# byte_spoil FILE OFFSET
byte_spoil() {
    local byte

    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# blocks_of_kind KIND: the offsets of all blocks that begin like one, current or not.
blocks_of_kind() { grep -abo --perl-regexp "TACB\x01\x00\x0$1" e | cut -d : -f 1; }

is "repair of a sound store" run 0 repair e whole
is "says that nothing is missing" grep -q 'nothing is missing' out
is "and the new one holds everything" holds whole model
new_store logged && run 0 put logged one tables && run 0 put logged two log --option log=sync
printf 'one\ttables\n' >expected
is "repair of a store with a log" run 1 repair logged unlogged
is "says that the log is not read" grep -q '^behind: .*log, which is not read$' out
is "and not that nothing is missing" test "$(grep -c 'nothing is missing' out)" = 0
is "and takes what is in tables" holds unlogged expected
is "repair does not write over a file" fails 3 'whole' repair e whole
is "nor reads what is no store" fails 3 'not a Tactus store' repair letter new
is "and makes none of it" test ! -e new
cp e spoiled
offset=$(grep -abo 'newer 14000 of' e | tail -n 1 | cut -d : -f 1)
byte_spoil spoiled "${offset:-0}"
is "a lost page of new versions" repair_is_honest spoiled
is "is named with its keys" \
    grep -qE '^lost: tree default, level [0-9]+, table [0-9]+, block [0-9]+, page' list
is "an older version in its range is doubtful" \
    grep -q '^doubtful: tree default, key key014000: ' list
is "a key outside of it is not" test "$(grep -c '^doubtful: ' list)" -lt 1000
for offset in $(blocks_of_kind 2 | tail -n 12); do
    cp e spoiled && byte_spoil spoiled $((offset + 200))
    is "with a spoiled index block at $offset repair is honest" repair_is_honest spoiled
done
cp e spoiled
for offset in $(blocks_of_kind 1); do
    byte_spoil spoiled $((offset + 5000))
done
is "with a page of every block spoiled, too" repair_is_honest spoiled
cp e spoiled
for offset in $(blocks_of_kind 5); do
    byte_spoil spoiled $((offset + 100))
done
is "without free set a store cannot be opened" run 3 scan spoiled
rm -f repaired
is "but repaired" run 0 repair spoiled repaired
is "with nothing missing" holds repaired model
cp e spoiled
for offset in $(blocks_of_kind 4); do
    byte_spoil spoiled $((offset + 100))
done
is "without manifest everything is lost" run 1 repair spoiled new
is "repair says so" grep -q '^lost: everything: ' out
is "and makes no store" test ! -e new

# ---- threads and digests ------------------------------------------------------------------------

for threads in 0 0,0,0 1,1,1 2,3,2 auto; do
    rm -f t && new_store t --option uuid=00112233445566778899aabbccddeeff --threads $threads
    is "load with --threads $threads" load many t --threads $threads
    is "and scan" prints many.sorted scan t --threads $threads
    "$tactus" digest t --threads $threads >>digests
done
is "a digest is 32 hexadecimal digits" grep -qE '^[0-9a-f]{32}$' digests
is "and the same for all five numbers of threads" \
    test "$(wc -l <digests), $(sort -u digests | wc -l)" = '5, 1'
"$tactus" put t one more && "$tactus" digest t >>digests
is "and another one after one more put" test "$(sort -u digests | wc -l)" = 2
is "load with --backend posix" load many t --backend posix
is "and scan" prints model scan e --backend posix

# ---- statistics ---------------------------------------------------------------------------------

is "stat" run 0 stat m
is "shows the levels" grep -q '^level' out
is "stat --json" run 0 stat m --json
flat_json() {
    tr -d '\n' <out | grep -qE \
        '^\{("[a-z0-9_]+": ([0-9.]+|"[a-z_]+"|true|false)(, ?|,|\}))+$'
}
is "is one flat object" flat_json
stage_members() { # of the last output
    grep -cE '^"stage_(read|merge|write|coordinator)_(items|busy_ns|idle_ns|wait_work_ns)": ' out
}
is "tells of each stage" test "$(stage_members)" = 16
is "tells of the scrub" grep -q '^"scrub_damages": 0,' out
is "which is an option" run 0 stat m --option scrub_days=30
is "stat prints one thing at a time" fails 2 'one of --json' stat m --json --plan
is "load --json" run 0 load m /dev/null --json
is "is one, too" flat_json

# ---- the command line ---------------------------------------------------------------------------

usage_fails() {
    local status=0

    "$tactus" "$@" >out 2>err || status=$?
    [ $status = 2 ] && [ -s err ] && [ ! -s out ]
}
is "no command" usage_fails
is "an unknown command" usage_fails no_such_command
is "an unknown option" usage_fails scan a --no-such-option
is "an option of another command" usage_fails get a key --limit 1
is "too few operands" usage_fails get a
is "too many operands" usage_fails scan a b
is "no store" usage_fails scan
is "a number that is none" usage_fails scan a --limit many
is "and what one is" grep -q '^  Write it in decimal digits' err
is "threads that are none" usage_fails scan a --threads 1,2
is "threads of too many digits" usage_fails scan a --threads "1,1,$(printf '%060d' 2)"
is "threads of which only some are 0" usage_fails scan a --threads 0,1,1
is "a backend that is none" usage_fails scan a --backend tape
is "an option without a value" usage_fails scan a --option ring_size
# says TEXT ARGUMENT…: the command succeeds and prints the text.
says() { "$tactus" "${@:2}" >out 2>err && grep -qe "$1" out; }
printf 'threads = 8\n[small]\nmemory_size = 1GiB\nmemtable_size = 16MiB\n' >options.ini
is "options derives caches from memory" says '^page_cache_size .* derived: .*memory_size' \
    options memory_size=1GiB
is "stages from threads" says '^threads_merge  *4  *derived: .*threads' options --file options.ini
is "and tells what is fixed" says '^memtable_size  *16MiB  *given, fixed$' \
    options --file options.ini --section small
is "as other commands take them, too" says '^threads  *4  *derived: the sum' \
    options --threads 1,2,1 --option memory_size=1GiB --backend posix
is "and the defaults" says '^runs_per_level  *8  *default, fixed$' options
options_fail() { # STATUS TEXT ARGUMENT…
    local status=0

    "$tactus" options "${@:3}" >out 2>err || status=$?
    [ $status = "$1" ] && grep -qe "$2" err && [ "$(wc -l <err)" -ge 2 ]
}
is "impossible ones are refused" options_fail 2 'memory_size: 1048576 bytes are not enough' \
    memory_size=1MiB
is "and unknown ones" options_fail 2 'unknown option "size"' size=1
is "and what is none" options_fail 2 'no = in it' memory_size
is "and a section of no file" options_fail 2 'of which file' --section small
for command in create tree load get put delete scan snapshot compact stat digest verify repair \
    options; do
    is "$command --help" says 'exit status' $command --help
    is "is listed" says "^  $command " --help
done
verbose() { # LEVEL: what scan says then, in err
    run 0 scan a --verbose --option logger_level="$1"
}
says_nothing() { verbose "$1" && [ ! -s err ]; }
is "--verbose tells what the open has found" eval \
    "run 0 scan a --verbose && grep -q '^tactus scan: info: opened at op [1-9]' err"
is "and derived" grep -q '^tactus scan: info: backend ' err
is "and how it ended" grep -q '^tactus scan: info: stopped without a drain' err
is "with warnings only it has nothing to say" says_nothing warning
is "with debug it tells of checkpoints" eval \
    "run 0 compact a --verbose --option logger_level=debug && grep -q ': debug: checkpoint ' err"
is "there is no other level" fails 2 'logger_level' scan a --option logger_level=loud
is "--version" says '^tactus [0-9]' --version
output_fails() {
    local status=0

    "$tactus" scan m >/dev/full 2>err || status=$?
    [ $status = 3 ] && grep -q 'standard output' err
}
is "output that cannot be written is an error" output_fails

tap_done
