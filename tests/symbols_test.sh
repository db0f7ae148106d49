#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the library puts into a program's name space: tactus_* alone from the shared library, and
# nothing but tactus_* and tac_* from the archive.
set -u

shared=.libs/libtactus.so
archive=.libs/libtactus.a
number=0

check() { # LINES WORDS: passes when there are no lines
    number=$((number + 1))
    if [ -z "$1" ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        echo "# ${1//$'\n'/$'\n'# }"
    fi
}

skip() { # REASON
    number=$((number + 1))
    echo "ok $number # SKIP $1"
}

symbols() { # FILE NM_OPTION: the names of the global symbols that it defines
    { nm --defined-only --format=posix "$2" "$1" || echo "nm: failed on $1"; } |
        awk 'NF >= 3 { print $1 }' | sort -u
}

declared() { # what tactus.h promises
    tr '\n' ' ' <"${srcdir:-.}/include/tactus.h" | grep -oE 'TACTUS_API [^;(]*\(' |
        grep -oE 'tactus_[a-z0-9_]+\($' | tr -d '(' | sort -u
}

if ! command -v nm >/dev/null; then
    echo "1..0 # SKIP nm is missing (Debian: binutils)"
    exit 0
fi
if [ "$TACTUS_INSTRUMENTED" = yes ]; then
    echo "1..0 # SKIP a sanitizer or gcov adds symbols of its own"
    exit 0
fi

echo 1..4
if [ -e $shared ]; then
    exported=$(symbols $shared -D)
    check "$(grep -v '^tactus_' <<<"$exported")" "the shared library exports only tactus_*"
    check "$(comm -23 <(echo "$exported") <(declared))" "all that it exports is in tactus.h"
    check "$(comm -13 <(echo "$exported") <(declared))" "all that tactus.h declares is exported"
else
    skip "built without the shared library"
    skip "built without the shared library"
    skip "built without the shared library"
fi
if [ -e $archive ]; then
    check "$(symbols $archive -g | grep -vE '^(tactus|tac)_')" \
        "the archive defines only tactus_* and tac_*"
else
    skip "built without the archive"
fi
