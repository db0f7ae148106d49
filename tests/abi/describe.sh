#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# describe.sh HEADER: prints what programs that were compiled with tactus.h rely on: constants, the
# members of structs and where they lie, the values of enumerators, and functions with the types of
# their parameters. What it does not understand is an error, so that nothing is left out.
#
# Declarations are taken from what the preprocessor makes of the header, and become a C program that
# prints what the compiler makes of them.
set -euo pipefail
export LC_ALL=C

header=$1
directory=$(mktemp -d "${TMPDIR:-/tmp}/abi.XXXXXX")
trap 'rm -rf "$directory"' EXIT

# shellcheck disable=SC2086 # CC may have options.
compile() { ${CC:-cc} -std=c11 -Wall -Wextra -Werror -I "$(dirname "$header")" "$@"; }

# The object-like macros with a value.
macros() {
    awk '/^#define TACTUS_[A-Z0-9_]+ / && $2 != "TACTUS_API" { print "    CONSTANT(" $2 ");" }' \
        "$header"
}

declarations() {
    awk '
        function fail(text) {
            print "describe.sh: this is not understood: " text >"/dev/stderr"
            exit 1
        }

        # The names of parameters go; they are no part of it.
        function nameless(text,    kept) {
            kept = substr(text, 1, index(text, "("))
            text = substr(text, length(kept) + 1)
            while (match(text, /[ *][a-z_][a-z0-9_]*[],)[]/)) {
                kept = kept substr(text, 1, RSTART - (substr(text, RSTART, 1) == " "))
                text = substr(text, RSTART + RLENGTH - 1)
            }
            return kept text
        }

        # A declaration of one or more members, or of a pointer to a function.
        function members(owner, text,    type, count, declarator, i, name) {
            if (match(text, /^[a-z][A-Za-z0-9_ *]*[(][*][a-z_]+[)][(]/) && text ~ /[^)][)]$/) {
                type = substr(text, 1, RLENGTH - 1)
                name = type
                sub(/^.*[(][*]/, "", name)
                sub(/[)]$/, "", name)
                print "    MEMBER(" owner ", " name ", \"" type \
                    nameless(substr(text, RLENGTH)) "\");"
                return
            }
            if (!match(text, /^(const )?((struct|enum) )?[A-Za-z_][A-Za-z0-9_]* /)) {
                fail(text)
            }
            type = substr(text, 1, RLENGTH - 1)
            count = split(substr(text, RLENGTH + 1), declarator, / *, */)
            for (i = 1; i <= count; i++) {
                name = declarator[i]
                if (name !~ /^[*]*[a-z_][a-z0-9_]*([[][^]]*[]])?$/) {
                    fail(text)
                }
                sub(/^[*]*/, "", name)
                sub(/[[].*/, "", name)
                print "    MEMBER(" owner ", " name ", \"" type " " declarator[i] "\");"
            }
        }

        function struct_members(text,    owner, count, member, i) {
            owner = text
            sub(/ [{].*/, "", owner)
            sub(/^[^{]*[{] /, "", text)
            if (text !~ /; }$/ || text ~ /[{]/) {
                fail(owner " " text)
            }
            print "    STRUCT(" owner ");"
            count = split(text, member, / *; */)
            for (i = 1; i < count; i++) {
                members(owner, member[i])
            }
        }

        function enumerators(text,    owner, count, constant, i) {
            owner = text
            sub(/ [{].*/, "", owner)
            sub(/^[^{]*[{] /, "", text)
            sub(/,? }$/, "", text)
            print "    ENUM(" owner ");"
            count = split(text, constant, / *, */)
            for (i = 1; i <= count; i++) {
                if (constant[i] !~ /^TACTUS_[A-Z0-9_]+( = [^{}]*)?$/) {
                    fail(constant[i])
                }
                sub(/ =.*/, "", constant[i])
                print "    CONSTANT(" constant[i] ");"
            }
        }

        function declaration(text) {
            if (sub(/^static inline /, "", text) && sub(/ [{][^{}]*}$/, "", text)) {
                print "    FUNCTION(\"inline " nameless(text) "\");"
            } else if (text ~ /^struct [a-z_]+$/) { # Opaque: a program has pointers to it only.
                return
            } else if (text ~ /^struct [a-z_0-9]+ [{]/) {
                struct_members(text)
            } else if (text ~ /^enum [a-z_0-9]+ [{]/) {
                enumerators(text)
            } else if (sub(/^__attribute__ ?[(][(]visibility[(]"default"[)][)][)] /, "", text) &&
                       text ~ /^[A-Za-z_][A-Za-z0-9_ *]*[ *]tactus_[a-z0-9_]+[(].*[)]$/) {
                print "    FUNCTION(\"" nameless(text) "\");"
            } else {
                fail(text)
            }
        }

        # Line markers tell from which file the lines are that follow.
        /^# [0-9]+ "/ { is_inside = /\/tactus[.]h"/; next }
        is_inside && !/^#/ { all = all " " $0 }
        END {
            gsub(/[ \t]+/, " ", all)
            for (at = depth = 0; (found = match(substr(all, at + 1), /[{};]/)) > 0; ) {
                at += found
                character = substr(all, at, 1)
                depth += (character == "{") - (character == "}")
                is_body = character == "}" && all ~ /^ static inline /
                if ((character == ";" || is_body) && depth == 0) {
                    declaration(substr(all, 2, at - 2 + is_body))
                    all = substr(all, at + 1)
                    at = 0
                }
            }
            if (all !~ /^ *$/) {
                fail(all)
            }
        }' "$1"
}

compile -x c -E "$header" >"$directory/preprocessed"
declarations "$directory/preprocessed" >"$directory/declarations"
{
    cat <<'END'
#include <stddef.h>
#include <stdio.h>
#include "tactus.h"

#define CONSTANT(name) printf("%s = %llu\n", #name, (name) + 0ULL)
#define ENUM(type) printf("\n%s: %zu bytes\n", #type, sizeof(type))
#define STRUCT(type)                                                                               \
    printf("\n%s: %zu bytes, aligned to %zu\n", #type, sizeof(type), _Alignof(type))
#define MEMBER(type, name, text)                                                                   \
    printf("%5zu %5zu  %s\n", offsetof(type, name), sizeof(((type *)NULL)->name), text)
#define FUNCTION(text) puts(text)

int main(void)
{
END
    macros
    grep -v FUNCTION "$directory/declarations"
    echo '    puts("");'
    grep FUNCTION "$directory/declarations"
    echo '    return 0;'
    echo '}'
} >"$directory/program.c"
compile -o "$directory/program" "$directory/program.c"

cat <<'END'
# SPDX-License-Identifier: Apache-2.0
# What programs that were compiled with tactus.h rely on. Of each member: its offset, its size.
# Made by `make abi-baseline`; docs/TESTING.md says when that is allowed.

END
"$directory/program"
