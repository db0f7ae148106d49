#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tactus.h by itself: as C11 and as C++17 it compiles with warnings as errors, and needs nothing
# before it; and each call, struct, option and code has words of its own in it.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

include=$(cd "${srcdir:-.}" && pwd)/include
header=$include/tactus.h
directory=$(mktemp -d "${TMPDIR:-/tmp}/header_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99
strict='-Wall -Wextra -Wpedantic -Werror -fsyntax-only'

compiles() { # COMPILER LANGUAGE STANDARD
    printf '#include "tactus.h"\n#include "tactus.h"\nint main(void) { return TACTUS_OK; }\n' >program
    # shellcheck disable=SC2086 # CC may have options, too.
    $1 -x "$2" -std="$3" $strict -I "$include" program 2>err
}

# Declarations of functions that no comment stands before: neither their own nor that of a group,
# which is of declarations that follow each other without an empty line.
uncommented() {
    awk '
        /\*\// { has_comment = 1; next }
        /^$/ { has_comment = 0 }
        /^(TACTUS_API|static inline)/ && !has_comment { print FNR ": " $0 }
        /^(TACTUS_API|static inline)/ { has_comment = 1 }
        /^}/ { has_comment = 0 }' "$header"
}

# Members of the options that no comment stands behind.
options_uncommented() {
    awk '/^struct tactus_options \{/ { inside = 1; next }
        inside && /^\}/ { exit }
        inside && /^    (u?int|bool|enum)[a-z0-9_]* .*;/ && !/\/\*/ { print FNR ": " $0 }' "$header"
}

nothing() { # COMMAND: ends well, and prints nothing
    "$1" >out 2>err || return
    cat out >>err
    [ ! -s out ]
}

is 'it compiles as C11' compiles "${CC:-cc}" c c11
if command -v "${CXX:-g++}" >/dev/null; then
    is 'it compiles as C++17' compiles "${CXX:-g++}" c++ c++17
else
    skip 'it compiles as C++17' 'no C++ compiler'
fi
is 'each function has a comment' nothing uncommented
is 'each option has one' nothing options_uncommented

tap_done
