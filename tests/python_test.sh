#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Python module: the library is installed beneath a directory of this test, pkg-config finds it
# there, the module is built against that, by the compiler alone and by setup.py, and its own tests
# are run.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"

skip_all() { # REASON
    echo "1..0 # SKIP $1"
    exit 0
}

[ -n "${PYTHON_INCLUDE:-}" ] || skip_all "no headers of Python 3.11 or later (Debian: python3-dev)"
[ "${TACTUS_INSTRUMENTED:-no}" = no ] || skip_all "Python cannot load a sanitizer with the library"
[ -e .libs/libtactus.so ] || skip_all "built without the shared library"

build=$PWD
source=$(cd "${srcdir:-.}" && pwd)
directory=$(mktemp -d "${TMPDIR:-/tmp}/python_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99
cp -R "$source/bindings/python" module && chmod -R u+w module

export PYTHONDONTWRITEBYTECODE=1 TACTUS_HEADER=$source/include/tactus.h
pkg_config=${PKG_CONFIG:-pkg-config}

# Whatever the prefix is, all of it goes beneath `root`, and nothing outside is taken for installed.
installs() {
    env -u MAKEFLAGS -u MFLAGS make -s -C "$build" install DESTDIR="$directory/root" >out 2>err &&
        PKG_CONFIG_PATH=$(dirname "$(find root -name tactus.pc)"):${PKG_CONFIG_PATH:-} &&
        PKG_CONFIG_PATH=$directory/$PKG_CONFIG_PATH &&
        export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR=$directory/root \
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 &&
        LD_LIBRARY_PATH=$directory/$(dirname "$(find root -name libtactus.so)") &&
        export LD_LIBRARY_PATH
}

# The headers of Python are not ours to judge.
compiles() {
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 -O1 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wvla -Werror -fPIC -fvisibility=hidden -shared -isystem "$PYTHON_INCLUDE" \
        -o tactus.abi3.so module/*.c $("$pkg_config" --cflags --libs tactus) >out 2>err
}

exports_one_symbol() {
    nm -D --defined-only --format=posix tactus.abi3.so | awk '{ print $1 }' >out
    [ "$(cat out)" = PyInit_tactus ]
}

builds_by_setup() {
    (cd module && "$PYTHON" setup.py -q build_ext --build-temp ../temp --build-lib ../lib) \
        >out 2>err &&
        PYTHONPATH=$directory/lib "$PYTHON" -P -c 'import tactus; print(tactus.__file__)' >out &&
        [ "$(cat out)" = "$directory/lib/tactus.abi3.so" ]
}

# Each test of the module is a line of ours.
runs_its_tests() {
    local status

    PYTHONPATH=$directory timeout -s KILL 600 "$PYTHON" module/test_tactus.py >results 2>err
    status=$?
    cat results
    number=$((number + $(grep -c '^ok ' results) + $(grep -c '^not ok ' results)))
    failed=$((failed + $(grep -c '^not ok ' results)))
    [ $status = 0 ]
}

is "the library installs, and pkg-config finds it" installs
is "the module compiles as C11 without a warning" compiles
if command -v nm >/dev/null; then
    is "it exports nothing but its entry" exports_one_symbol
else
    skip "it exports nothing but its entry" "nm is missing (Debian: binutils)"
fi
if "$PYTHON" -c 'import setuptools' 2>/dev/null; then
    is "setup.py builds it" builds_by_setup
else
    skip "setup.py builds it" "Python has no setuptools"
fi
rm -f out err
runs_its_tests
status=$?
is "its tests ran to their end" test $status = 0

tap_done
