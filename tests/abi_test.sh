#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The binary interface is the one that was written down: a program that was compiled with an earlier
# tactus.h works with this library. symbols_test shows that the functions are what is exported.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

source=$(cd "${srcdir:-.}" && pwd)
header=$source/include/tactus.h
directory=$(mktemp -d "${TMPDIR:-/tmp}/abi_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99

describe() { bash "$source/tests/abi/describe.sh" "$1" 2>err; }

describe_ours() { describe "$header" >now; }

is_unchanged() { diff -u "$source/tests/abi/tactus.abi" now >changes; }

# The header with a change of its text is described otherwise.
change() { # SED_COMMAND
    mkdir -p other
    sed "$1" "$header" >other/tactus.h
    ! cmp -s "$header" other/tactus.h
}

sees() { change "$1" && describe other/tactus.h >out && ! cmp -s out now; }
overlooks() { change "$1" && describe other/tactus.h >out && cmp out now; }
refuses() { change "$1" && ! describe other/tactus.h >out && grep -q 'not understood' err; }

is 'tactus.h can be described' describe_ours
is 'it is as tests/abi/tactus.abi says' is_unchanged
if [ -s changes ]; then
    sed 's/^/# /' changes
    echo '# Is the change allowed? docs/TESTING.md, "The binary interface". Then: make abi-baseline'
fi
is 'a member more is seen' sees '/^    uint64_t damages;/a uint64_t more;'
is 'two members of a size that change places' sees 's/last_op, durable_op,/durable_op, last_op,/'
is 'another type of the same size' sees 's/uint32_t tables_max;/int32_t tables_max;/'
is 'a longer array' sees '/define TACTUS_LEVELS_MAX/s/12/13/'
is 'another constant' sees '/define TACTUS_KEY_SIZE_MAX/s/1024/2048/'
is 'another error code' sees 's/X(EPAUSED, 26,/X(EPAUSED, 27,/'
is 'another enumerator' sees '/^    TACTUS_STAGE_MERGE,/d'
is 'a function that is gone' sees '/^TACTUS_API int tactus_resume/d'
is 'an inline one that is gone' sees '/^static inline void tactus_stat(/,/^}/d'
is 'another type of a parameter' sees 's/uint32_t trees_max,/uint64_t trees_max,/'
is 'another name of a parameter is no change' overlooks 's/uint32_t trees_max,/uint32_t most,/'
is 'nor is a comment' overlooks 's/An op\./One op./'
is 'what is not understood is an error' refuses '/^struct tactus;/a typedef int tactus_number;'
is 'in a struct, too' refuses '/^    uint64_t damages;/a unsigned is_sound : 1;'

tap_done
