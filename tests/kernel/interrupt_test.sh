#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# System calls that fail, as strace makes them: an interruption or a refusal for the moment is dealt
# with and changes nothing; an error stops the writing, is named, and costs nothing durable.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../lib/tap.sh"
export LC_ALL=C

tactus=${TACTUS_TOOL:?the path of the command to test}
directory=$(mktemp -d "${TMPDIR:-/tmp}/interrupt_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99

if ! command -v strace >/dev/null; then
    echo "1..0 # SKIP strace is missing"
    exit 0
fi
if [ "${TACTUS_INSTRUMENTED:-}" = yes ]; then
    echo "1..0 # SKIP a sanitizer makes system calls of its own"
    exit 0
fi
if ! strace -f -o trace -e trace=read -e inject=read:error=EINTR:when=60000 true 2>/dev/null; then
    echo "1..0 # SKIP strace may not trace here"
    exit 0
fi

caches=(--option page_cache_size=1MiB --option index_cache_size=4MiB)
awk 'BEGIN {
    for (i = 0; i < 12000; i++) {
        printf "key%06d\tvalue %d of the record, with some text\n", (i * 7919) % 12000, i
    }
}' >lines
sort lines >sorted

new_store() {
    rm -f store
    "$tactus" create store --option memtable_size=256KiB --option block_size=16KiB \
        --option file_size_max=1GiB --option checkpoint_interval_bars=1 \
        --option uuid=00112233445566778899aabbccddeeff
}

# traced CALLS INJECTION COMMAND…: runs the command of the tool with that done to its system calls.
# Its output is in out and err. A minute is a hundred times what it takes: it hangs.
traced() {
    local calls=$1 injection=$2

    shift 2
    timeout -s KILL 60 strace -f -qq -o trace -e trace="$calls" -e inject="$calls:$injection" \
        "$tactus" "$1" store "${caches[@]}" "${@:2}" >out 2>err
}

injected() { grep -q INJECTED trace; }

# unharmed CALLS INJECTION OPTION…: a load, a digest, a scan and a verify, with the calls so treated.
unharmed() {
    new_store && traced "$1" "$2" load "${@:3}" <lines && injected &&
        "$tactus" digest store "${caches[@]}" >digest && cmp digest expected &&
        traced "$1" "$2" scan "${@:3}" && cmp out sorted &&
        traced "$1" "$2" verify "${@:3}"
}

new_store && "$tactus" load store "${caches[@]}" <lines
"$tactus" digest store "${caches[@]}" >expected

if "$tactus" tree store list --backend io_uring "${caches[@]}" >out 2>err; then
    for threads in 1,1,1 0; do
        for error in EINTR EAGAIN EBUSY; do
            is "io_uring, threads $threads: every third submission fails with $error" \
                unharmed io_uring_enter error=$error:when=3+3 --backend io_uring --threads $threads
        done
    done
    is "io_uring: a long row of interruptions" \
        unharmed io_uring_enter error=EINTR:when=3..200 --backend io_uring --threads 0
else
    skip "io_uring" "it cannot be used here"
fi
for threads in 1,1,1 0; do
    is "posix, threads $threads: every second transfer and sync is interrupted" \
        unharmed preadv,pwritev,fdatasync,fsync error=EINTR:when=2+2 --backend posix \
        --threads $threads
done

# poisoned CALL INJECTION TEXT OPTION…: the load ends with an error that says TEXT, and the store
# is sound afterwards, with the lines that some checkpoint had; then it takes the rest.
poisoned() {
    local status=0 count

    new_store && traced "$1" "$2" load "${@:4}" <lines
    status=$?
    [ $status = 3 ] && injected && grep -q "$3" err || return 1
    "$tactus" scan store "${caches[@]}" >out 2>err || return 1
    count=$(wc -l <out)
    head -n "$count" lines | sort | cmp - out || return 1
    "$tactus" verify store "${caches[@]}" >out 2>err || return 1
    "$tactus" load store "${caches[@]}" <lines && "$tactus" scan store "${caches[@]}" >out &&
        cmp out sorted
}

# strace counts the calls of each thread for itself. A load syncs a dozen times and writes a hundred
# times: whichever of three threads does it, one comes to its third sync, and to its twentieth write.
for threads in 1,1,1 0; do
    is "posix, threads $threads: a sync that fails stops the writing" \
        poisoned fdatasync error=EIO:when=3+ 'Input/output error' --backend posix \
        --threads $threads
    is "posix, threads $threads: so does a write that fails" \
        poisoned pwritev error=EIO:when=20+ 'Input/output error' --backend posix --threads $threads
    is "posix, threads $threads: so does one that finds no space" \
        poisoned pwritev error=ENOSPC:when=20+ 'No space left' --backend posix --threads $threads
done
is "a file that cannot be synced is not opened" \
    poisoned fsync error=EIO:when=1+ 'cannot sync .*Input/output error' --backend posix

tap_done
