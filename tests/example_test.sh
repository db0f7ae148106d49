#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The example of README.md: it runs, twice in one directory, and README shows it as it is.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"

example=$PWD/examples/first_store
source=$(cd "${srcdir:-.}" && pwd)
directory=$(mktemp -d "${TMPDIR:-/tmp}/example_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99

# The part of a file that README shows, without its indentation.
core() { sed -n '/^ *check(tactus_create/,/^ *check(tactus_close/p' "$1"; }

printf 'The capital of Peru is Lima.\nNorway: Oslo\nPeru: Lima\n' >expected
"$example" >out
is "the example ends well" test $? = 0
is "it prints what it stored, in order" cmp out expected
"$example" >out
is "it runs again over its own store" test $? = 0
is "and prints the same" cmp out expected
core "$source/examples/first_store.c" | sed 's/^    //' >program
core "$source/README.md" >shown
is "README shows a part of it" test -s shown
is "as it is" cmp program shown

tap_done
