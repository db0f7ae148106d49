#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The programs of examples/, as their readers have them: compiled against an installed Tactus by
# what pkg-config says, with the shared library and with the archive, and run. Three of them are
# killed at random moments. README shows the first one as it is.
#
# KILLS=n kills of each, SEED=n another choice of moments and lines.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

build=$PWD
source=$(cd "${srcdir:-.}" && pwd)
directory=$(mktemp -d "${TMPDIR:-/tmp}/examples_test.XXXXXX") || exit 99
pid=
trap '[ -z "$pid" ] || kill -KILL $pid; rm -rf "$directory"' EXIT
cd "$directory" || exit 99

seed=${SEED:-$RANDOM}
RANDOM=$seed
kills=${KILLS:-4}
echo "# SEED=$seed KILLS=$kills"

# An instrumented library needs its run-time library in the program, too.
instrument=
[ "${TACTUS_INSTRUMENTED:-}" = yes ] && instrument=${TACTUS_LDFLAGS:-}

# Small enough for a compaction every few hundred records, and for several checkpoints in a run.
small=memtable_size=256KiB,block_size=16KiB,table_size=128KiB,slice_size=256KiB,file_size_max=1GiB
small=$small,checkpoint_interval_bars=1,page_cache_size=1MiB,index_cache_size=4MiB,tables_max=2048
tiny=memtable_size=32KiB,block_size=4KiB,page_size=512,table_size=32KiB,slice_size=32KiB
tiny=$tiny,file_size_max=1GiB,page_cache_size=1MiB,index_cache_size=1MiB,tables_max=2048
caches=(--option page_cache_size=1MiB --option index_cache_size=4MiB)

# ---- installing and compiling --------------------------------------------------------------------

pkg_config_path=${PKG_CONFIG_PATH:-}
ld_library_path=${LD_LIBRARY_PATH:-}

# What the outer make was told is not for this one. The paths in tactus.pc become those below $root,
# as if that were the root of a system.
installs() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL \
        make -s -C "$build" install DESTDIR="$root" >out 2>err &&
        description=$(find "$root" -name tactus.pc) && [ -n "$description" ] &&
        sed -i "s|=/|=$root/|" "$description"
}

# Takes away the library that the programs are not to be linked with.
other_remove() { # NAME_PATTERN
    find "$root" -name "$1" -delete
    libraries=$(find "$root" -name 'libtactus.so' -o -name 'libtactus.a')
    export PKG_CONFIG_PATH LD_LIBRARY_PATH
    PKG_CONFIG_PATH=$(dirname "$description")${pkg_config_path:+:$pkg_config_path}
    LD_LIBRARY_PATH=$(dirname "${libraries:-/none}")${ld_library_path:+:$ld_library_path}
}

compiles() { # NAME PKG_CONFIG_OPTION…
    local name=$1

    shift
    # shellcheck disable=SC2046,SC2086
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror $instrument -o "$bin/$name" \
        "$source/examples/$name.c" $(${PKG_CONFIG:-pkg-config} "$@" tactus) >out 2>err
}

# ---- running -------------------------------------------------------------------------------------

# killed LINES COMMAND…: runs it and kills it at some moment after it has printed so many lines;
# short delays are as frequent as long ones. Its output is in out and err, without a last line that
# was cut off; $status is 0 if it had come to its end before. Its input is the file $input.
killed() {
    local delay

    : >out
    "${@:2}" >out 2>err <"${input:-/dev/null}" &
    pid=$!
    while [ "$(wc -l <out)" -lt "$1" ] && kill -0 $pid 2>/dev/null; do
        sleep 0.01
    done
    delay=$((RANDOM % (1 << RANDOM % 7)))
    sleep "$(printf 0.%03d $delay)"
    {
        kill -KILL $pid
        wait $pid
        status=$?
    } 2>/dev/null
    pid=
    [ -z "$(tail -c 1 out)" ] || sed -i '$d' out
    [ $status = 137 ] || [ $status = 0 ]
}

# Of four lives, the first is counted from the start: it may end in the open. The others have
# printed more than the line that tells what was recovered.
lines_drawn() { # ROUND LINES_MAX
    lines=$(($1 % 4 == 0 ? 0 : 2 + RANDOM % $2))
}

# Whether so many of the lives were cut off between two acknowledgements as to show something. A
# single one may have ended in the open.
cut_enough() { # CUT
    [ "$1" -gt 0 ] || [ "$kills" = 1 ]
}

# ---- first_store ---------------------------------------------------------------------------------

first_store_runs() {
    "$bin/first_store" >out 2>err && cmp out capitals
}

first_store_checks() {
    printf 'The capital of Peru is Lima.\nNorway: Oslo\nPeru: Lima\n' >capitals
    rm -f first.tactus
    is "$kind: first_store prints what it stored, in order" first_store_runs
    is "$kind: over its own store it prints the same" first_store_runs
}

# ---- indexed_objects -----------------------------------------------------------------------------

# The store after a run that began with the orders in `before` and op $op, and printed `changes`:
# the four trees agree, and have what the changes up to the last op in the store made. That op is at
# least FEWEST, or, "", that of the last change; at most it is one more, which nobody told of.
agrees() { # OPTIONS FEWEST
    "$bin/indexed_objects" check store "$1" >found 2>err &&
        awk -v last="$op" -v fewest="$2" '
            FILENAME == "before" { order[$1] = $0; next }
            FILENAME == "changes" { last = $1; op[++count] = $1; change[count] = $0; next }
            $1 == "op" {
                now = $2
                for (i = 1; i <= count && op[i] <= now; i++) {
                    split(change[i], word, " ")
                    if (word[2] == "put") {
                        order[word[3]] = word[3] " " word[4] " " word[5] " " word[6]
                    } else {
                        delete order[word[3]]
                    }
                }
                next
            }
            { differing += order[$1] != $0; delete order[$1] }
            END {
                for (id in order) {
                    differing += order[id] != ""
                }
                if (now < (fewest == "" ? last : fewest) || now > last + 1 ||
                    differing > (now > last)) {
                    printf "op %d, the last one told of is %d; %d orders differ\n", now, last,
                        differing
                    exit 1
                }
            }' before changes found >>err &&
        op=$(sed -n '1s/^op //p' found) && sed 1d found >before
}

# A close without a log drains, which is an op.
indexed_objects_runs() { # OPTIONS COUNT
    "$bin/indexed_objects" run store "$1" "$2" >changes 2>err &&
        [ "$(wc -l <changes)" = "$2" ] && agrees "$1" "" && [ -s before ]
}

indexed_objects_survives() { # OPTIONS FEWEST LINES_MAX
    local lines round

    for ((round = 0; round < kills; round++)); do
        lines_drawn $round "$3"
        killed "$lines" "$bin/indexed_objects" run store "$1" 1000000 || return 1
        mv out changes
        [ $status = 137 ] && agrees "$1" "$2" || return 1
    done
}

indexed_objects_checks() { # NAME OPTIONS LINES_MAX FEWEST WHAT_IS_THERE
    rm -f store store-wal
    : >before
    op=0
    is "$kind: indexed_objects, $1: orders and indexes agree, and are those of the changes" \
        indexed_objects_runs "$2" 300
    is "$kind: indexed_objects, $1: after $kills kills they agree, with $5" \
        indexed_objects_survives "$2" "$4" "$3"
}

# ---- host_log ------------------------------------------------------------------------------------

ops=60000
host_options=$small,uuid=0123456789abcdef0123456789abcdef

host_log_ops() {
    awk -v seed="$seed" -v ops=$ops 'BEGIN {
        srand(seed)
        print "tree"
        for (i = 2; i < ops; i++) {
            key = int(rand() * 20000)
            if (i % 9973 == 0) {
                print "drain"
            } else if (rand() < 0.2) {
                print "del key-" key
            } else {
                printf "put key-%d %0" 20 + int(rand() * 150) "d\n", key, i
            }
        }
        print "drain"
    }' >ops
    awk '$1 == "put" { value[$2] = $3 } $1 == "del" { delete value[$2] }
        END { for (key in value) print key "\t" value[key] }' ops | sort >content
}

# The content by the command, which opens the store without a log.
content_is() { # DIRECTORY
    "$root_tactus" scan "$1/store" "${caches[@]}" --tree records >scanned 2>err &&
        cmp scanned content
}

host_log_runs() {
    rm -rf whole && mkdir whole &&
        "$bin/host_log" whole "$host_options,threads=0" <ops >out 2>err &&
        [ "$(tail -n 1 out)" = "acknowledged $ops" ] &&
        "$root_tactus" digest whole/store "${caches[@]}" >digest && content_is whole
}

# Each run goes on from the last op that the one before has acknowledged, or a later one. Some of
# them are killed when ops are done and others are to come.
host_log_survives() {
    local acknowledged=0 cut=0 line lines round

    rm -rf cut && mkdir cut
    for ((round = 0; round < kills; round++)); do
        lines_drawn $round $((1 + ops / 256 / kills))
        input=ops killed "$lines" "$bin/host_log" cut "$host_options" || return 1
        line=$(sed -n 's/^replayed [0-9]* to //p' out)
        if [ "${line:-$acknowledged}" -lt "$acknowledged" ]; then
            echo "op $acknowledged was acknowledged, the replay came to $line" >>err
            return 1
        fi
        line=$(sed -n 's/^acknowledged //p' out | tail -n 1)
        acknowledged=${line:-$acknowledged}
        [ $status = 0 ] || [ -z "$line" ] || cut=$((cut + 1))
    done
    echo "# $cut runs ended after an acknowledgement, the last one after op $acknowledged of $ops"
    cut_enough $cut && "$bin/host_log" cut "$host_options" <ops >out 2>err &&
        [ "$(tail -n 1 out)" = "acknowledged $ops" ]
}

host_log_is_same() {
    "$root_tactus" digest cut/store "${caches[@]}" >out 2>err && cmp out digest && content_is cut
}

# Of the 6 MB that the ops take: two files of 256 KiB, and what a checkpoint does not have yet.
host_log_is_short() {
    cat whole/log* | wc -c >out
    [ "$(cat out)" -lt 1500000 ]
}

# A new store in place of the one that the log belongs to.
host_log_refuses() {
    rm cut/store && ! "$bin/host_log" cut "$host_options" <ops >out 2>err &&
        grep -q 'ops are missing' err
}

host_log_checks() {
    is "$kind: host_log does $ops ops" host_log_runs
    is "$kind: host_log trims its log" host_log_is_short
    is "$kind: host_log goes on after $kills kills" host_log_survives
    is "$kind: then digest and content are those of the run that was not killed" host_log_is_same
    is "$kind: host_log refuses a log that begins after the store ends" host_log_refuses
}

# ---- host_memtable -------------------------------------------------------------------------------

puts=30000

host_memtable_lines() {
    awk -v seed="$seed" -v puts=$puts 'BEGIN {
        srand(seed)
        for (i = 1; i <= puts; i++) {
            # Some keys again and again, and some that nothing lies over yet.
            key = rand() < 0.7 ? "key-" int(rand() * 8000) : sprintf("new-%07d", i)
            if (rand() < 0.15) {
                delete value[key]
                print "del " key
            } else {
                value[key] = sprintf("%0" 20 + int(rand() * 100) "d", i)
                print "put " key " " value[key]
            }
            if (i % 10 == 0) {
                key = "key-" int(rand() * 8000)
                print "get " key
                print (key in value ? "value " value[key] : "none") >"values"
            }
        }
        print "list"
        for (key in value) {
            print key "\t" value[key] | "sort >records"
        }
    }' >puts
}

host_memtable_runs() {
    rm -rf whole && mkdir whole &&
        "$bin/host_memtable" whole "$host_options,threads=0" <puts >out 2>err &&
        [ "$(tail -n 1 out)" = "acknowledged $puts" ] &&
        "$root_tactus" digest whole/store "${caches[@]}" >digest
}

host_memtable_answers() {
    grep -E '^(value |none$)' out >answered
    cmp answered values
}

host_memtable_lists() { # DIRECTORY
    grep $'\t' out >listed
    cmp listed records && "$root_tactus" verify "$1/store" "${caches[@]}" >verified 2>err
}

# One log, of what is in the memtable; the runs before it are in the store alone.
host_memtable_is_trimmed() {
    echo whole/log-* >logs
    [ "$(wc -w <logs)" = 1 ] && [ "$(sed 's/.*-//' logs)" -gt 15 ]
}

# Each run goes on from the last line that the one before has acknowledged, or a later one.
host_memtable_survives() {
    local acknowledged=0 cut=0 line lines round

    rm -rf cut && mkdir cut
    for ((round = 0; round < kills; round++)); do
        lines_drawn $round $((1 + puts / 64 / kills))
        input=puts killed "$lines" "$bin/host_memtable" cut "$host_options" || return 1
        line=$(sed -n 's/^recovered //p' out)
        if [ "${line:-$acknowledged}" -lt "$acknowledged" ]; then
            echo "line $acknowledged was acknowledged, the recovery came to $line" >>err
            return 1
        fi
        line=$(sed -n 's/^acknowledged //p' out | tail -n 1)
        acknowledged=${line:-$acknowledged}
        [ $status = 0 ] || [ -z "$line" ] || cut=$((cut + 1))
    done
    echo "# $cut runs ended after an acknowledgement, the last one after line $acknowledged of $puts"
    cut_enough $cut && "$bin/host_memtable" cut "$host_options" <puts >out 2>err &&
        [ "$(tail -n 1 out)" = "acknowledged $puts" ]
}

host_memtable_is_same() {
    "$root_tactus" digest cut/store "${caches[@]}" >digested 2>err && cmp digested digest
}

host_memtable_checks() {
    is "$kind: host_memtable takes $puts puts and deletes" host_memtable_runs
    is "$kind: host_memtable answers from its memtables and the store" host_memtable_answers
    is "$kind: host_memtable lists all that is there" host_memtable_lists whole
    is "$kind: host_memtable keeps no log of what the store has" host_memtable_is_trimmed
    is "$kind: host_memtable goes on after $kills kills" host_memtable_survives
    is "$kind: then all is there" host_memtable_lists cut
    is "$kind: and the digest is that of the run that was not killed" host_memtable_is_same
}

# ---- event_loop ----------------------------------------------------------------------------------

event_loop_lines() {
    awk -v seed="$seed" 'BEGIN {
        srand(seed)
        for (i = 0; i < 8000; i++) {
            key = "key-" int(rand() * 500)
            chance = rand()
            if (chance < 0.5) {
                value[key] = sprintf("%0" 1 + int(rand() * 200) "d and more", i)
                print "put " key " " value[key]
                print "ok" >"answers"
            } else if (chance < 0.6) {
                delete value[key]
                print "del " key
                print "ok" >"answers"
            } else if (chance < 0.99) {
                print "get " key
                print (key in value ? "value " value[key] : "none") >"answers"
            } else {
                print "put " key
                print "error: put KEY VALUE, get KEY or del KEY" >"answers"
            }
        }
        for (i = 0; i < 500; i++) {
            key = "key-" i
            print "get " key >"lines-later"
            print (key in value ? "value " value[key] : "none") >"answers-later"
        }
    }' >lines
}

# The lines in pieces, which end in the middle of one; a piece comes when what was there before is
# answered, and after a rest.
event_loop_feed() {
    local size=0 piece=40003 total rests whole

    total=$(wc -c <lines)
    while [ $size -lt "$total" ]; do
        tail -c +$((size + 1)) lines | head -c $piece
        size=$((size + piece))
        whole=$(head -c $size lines | wc -l)
        for ((rests = 0; rests < 3000; rests++)); do # A minute: it has ended, or hangs.
            sleep 0.02
            [ "$(wc -l <out)" -lt "$whole" ] || break
        done
    done
}

event_loop_answers() {
    : >out
    event_loop_feed | "$bin/event_loop" loop "$tiny" >>out 2>err && cmp out answers
}

event_loop_answers_later() {
    "$bin/event_loop" loop "$tiny" <lines-later >out 2>err && cmp out answers-later
}

event_loop_is_sound() {
    "$root_tactus" verify loop "${caches[@]}" >out 2>err
}

event_loop_refuses() {
    printf 'put %065d v\nget a\n' 0 | "$bin/event_loop" loop "$tiny" >out 2>err &&
        [ "$(sed 's/^error: key of 65 bytes; .*/refused/' out)" = $'refused\nnone' ]
}

event_loop_checks() {
    rm -f loop
    is "$kind: event_loop answers each of 8000 lines" event_loop_answers
    is "$kind: it has done steps between them" grep -qE '^event_loop: [1-9][0-9]* steps' err
    sed 's/^event_loop/# &/' err
    is "$kind: opened again, it answers from what it stored" event_loop_answers_later
    is "$kind: what the store refuses is an answer, too" event_loop_refuses
    is "$kind: its store is sound" event_loop_is_sound
}

# ---- two_stores ----------------------------------------------------------------------------------

two_count=30000
two_options=memtable_size=256KiB,block_size=16KiB,table_size=128KiB,slice_size=256KiB
two_options=$two_options,file_size_max=1GiB,tables_max=2048,uuid=0123456789abcdef0123456789abcdef

two_stores_runs() { # DIRECTORY OPTIONS
    rm -rf "$1" && mkdir "$1" && "$bin/two_stores" "$1" "$2" $two_count >out 2>err &&
        grep -qE "^$two_count readings, [1-9][0-9]* changes of state\$" out
}

# The first one has all readings in order, the second one the latest of each sensor.
two_stores_content() {
    "$root_tactus" scan two/readings "${caches[@]}" --tree records --escape >scanned 2>err &&
        [ "$(cut -f 1 scanned)" = "$(seq -f %012.0f 0 $((two_count - 1)))" ] &&
        "$root_tactus" scan two/states "${caches[@]}" --tree records --escape >scanned 2>err &&
        [ "$(wc -l <scanned)" = 500 ]
}

two_stores_are_same() {
    local name

    for name in readings states; do
        "$root_tactus" digest two/$name "${caches[@]}" >digest-two 2>err &&
            "$root_tactus" digest other/$name "${caches[@]}" >out 2>>err &&
            cmp digest-two out || return 1
    done
}

two_stores_checks() {
    is "$kind: two_stores writes both" two_stores_runs two "$two_options"
    is "$kind: it has been told of the pool" grep -qE '^2 stores, 256 MiB of 256; ' err
    is "$kind: and that there is no memory for a third" grep -q '^no third store: .* has 0 left' err
    sed 's/^/# two_stores: /' err
    is "$kind: they hold what was written" two_stores_content
    is "$kind: two_stores runs with other options" two_stores_runs other \
        "$two_options,io_depth=1,assist=false,backend=posix"
    is "$kind: both stores are byte for byte the same" two_stores_are_same
}

# ---- all of them ---------------------------------------------------------------------------------

examples=(first_store indexed_objects host_log host_memtable event_loop two_stores)

checks() { # KIND OTHER_LIBRARY PKG_CONFIG_OPTION…
    local name other=$2

    kind=$1
    shift 2
    root=$directory/$kind
    bin=$directory/$kind-bin
    mkdir -p "$bin"
    is "$kind: make install" installs
    other_remove "$other"
    if [ -z "$libraries" ]; then
        skip "$kind: the examples" "the library was not built so"
        return
    fi
    root_tactus=$(find "$root" -path '*/bin/tactus')
    for name in "${examples[@]}"; do
        is "$kind: $name compiles without a warning" compiles "$name" "$@"
    done
    first_store_checks
    indexed_objects_checks 'no log' "$small" 20000 0 'what was done up to some op'
    indexed_objects_checks 'log=sync' "$small,log=sync" 200 '' 'all that the program told of'
    host_log_checks
    host_memtable_checks
    event_loop_checks
    two_stores_checks
}

# The part of a file that README shows, without its indentation.
core() { sed -n '/^ *check(tactus_create/,/^ *check(tactus_close/p' "$1"; }

core "$source/examples/first_store.c" | sed 's/^    //' >program
core "$source/README.md" >shown
is "README shows a part of the first example" test -s shown
is "as it is" cmp program shown

is "every example is compiled here" test \
    "$(cd "$source/examples" && printf '%s\n' *.c | sort | tr '\n' ' ')" = \
    "$(printf '%s.c\n' "${examples[@]}" | sort | tr '\n' ' ')"
host_log_ops
host_memtable_lines
event_loop_lines
checks shared '*.a' --cflags --libs
checks archive 'libtactus.so*' --cflags --static --libs

tap_done
