#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The man pages and what they are about: all that is public is in them, they name nothing else, and
# their prototypes, numbers, defaults, ranges and options are those of the header, of the library
# and of the command.
#
# What is read of a page: sections (.SH), parts (.SS), of which those named "struct NAME" or "enum
# NAME" (maybe with a colon and more) are of that type, and entries: the line behind .TP or .TQ, its
# name being the second word.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib/tap.sh"
export LC_ALL=C

tactus=${TACTUS_TOOL:?the path of the command to test}
source=$(cd "${srcdir:-.}" && pwd)
header=$source/include/tactus.h
links=$PWD/man/links
probe=$PWD/tests/lib/option_probe
directory=$(mktemp -d "${TMPDIR:-/tmp}/man_test.XXXXXX") || exit 99
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 99
# No number of any option.
too_much=18446744073709551615

# nothing COMMAND…: prints nothing. Each check below prints what is wrong.
nothing() {
    "$@" >out 2>&1
    [ ! -s out ]
}

# only_in TEXT TEXT FILE FILE: the lines that only one of two sorted files has, with its text.
only_in() {
    comm -23 "$3" "$4" | sed "s/^/$1: /"
    comm -13 "$3" "$4" | sed "s/^/$2: /"
}

# ---- the header ---------------------------------------------------------------------------------

# Without comments, and with a line for each directive.
awk '{ text = text $0 "\n" }
    END {
        gsub(/\\\n/, " ", text)
        while ((at = index(text, "/*")) > 0) {
            rest = substr(text, at + 2)
            text = substr(text, 1, at - 1) " " substr(rest, index(rest, "*/") + 2)
        }
        printf "%s", text
    }' "$header" >plain
grep '^#' plain >directives
grep -v '^#' plain >code

tr '\n' ' ' <code | grep -oE 'TACTUS_API [^;]*;|static inline [^{]*\{' |
    sed -E 's/(TACTUS_API|static inline) //; s/[[:space:]]+/ /g; s/ \{$/;/' >prototypes
sed -E 's/\(.*//; s/.*[ *]//' prototypes >functions
sed -nE 's/^#define (TACTUS_[A-Z0-9_]+) +([A-Za-z0-9_]+) *$/\1 (\2)/p' directives | sort >constants
grep '^#define TACTUS_ERRORS(X)' directives | grep -oE 'X\([A-Z]+, [0-9]+, "[^"]*"\)' |
    sed -E 's/X\(([A-Z]+), ([0-9]+), "(.*)"\)/TACTUS_\1 (\2), \3/' | sort >errors

# Lines "struct NAME MEMBER" and "enum NAME VALUE". The values of tactus_error are a macro's.
{
    awk '
        /^(struct|enum) tactus_[a-z0-9_]+ \{/ { kind = $1; type = $2; body = ""; inside = 1; next }
        inside && /^\}/ {
            if (kind == "struct") {
                gsub(/\[[^]]*\]/, "", body)
                gsub(/\)[ \t]*\([^()]*\)/, "", body) # The parameters of a function pointer
                gsub(/;/, ",", body)
            }
            count = split(body, parts, ",")
            for (i = 1; i <= count; i++) {
                sub(/=.*/, "", parts[i])
                if (match(parts[i], /[A-Za-z_][A-Za-z0-9_]*[ \t]*$/)) {
                    name = substr(parts[i], RSTART)
                    sub(/[ \t]+$/, "", name)
                    print kind, type, name
                }
            }
            inside = 0
        }
        inside { body = body " " $0 }' code
    sed 's/ .*//; s/^/enum tactus_error /' errors
} | sort >members

# ---- the pages ----------------------------------------------------------------------------------

# Without fonts and escapes.
mkdir text
for page in "$source"/man/*.[1-9]; do
    sed -E 's/^\.\\".*//
        s/\\f(\[[^]]*\]|.)//g
        s/\\-/-/g
        s/\\[&c]//g
        s/\\\(aq/'\''/g
        s/\\\([lrd]q/"/g
        s/\\e/\\/g' "$page" >"text/${page##*/}"
done

# section PAGE NAME
section() {
    awk -v name="$2" '/^\.SH / { inside = $0 == ".SH " name; next } inside' "text/$1"
}

# Lines "NAME PAGE" for what stands under NAME.
for page in text/*; do
    for name in $(section "${page##*/}" NAME | tr ',\n' '  ' | sed 's/ - .*//'); do
        echo "$name ${page##*/}"
    done
done >homes
(cd text && printf '%s\n' ./*) | sed 's/..//' | sort >page_names
home() { awk -v name="$1" '$1 == name { print $2 }' homes; } # FUNCTION

# All entries: page, section, part, name and what stands behind it; with a tab between.
(cd text && awk '
    FNR == 1 { section = part = ""; is_tag = 0 }
    /^\.SH / { section = substr($0, 5); part = ""; next }
    /^\.SS / { part = substr($0, 5); next }
    /^\.T[PQ]$/ { is_tag = 1; next }
    is_tag {
        is_tag = 0
        rest = $0
        sub(/^[^ ]+ +[^ ]+ */, "", rest)
        gsub(/"/, "", rest)
        sub(/^ +/, "", rest)
        print FILENAME "\t" section "\t" part "\t" $2 "\t" rest
    }' ./* | sed 's/..//') >entries

# ---- functions ----------------------------------------------------------------------------------

functions_without_a_page() {
    local name

    while read -r name; do
        [ "$(home "$name" | wc -l)" = 1 ] ||
            echo "$name: under NAME of $(home "$name" | wc -l) pages"
    done <functions
}

links_missing() {
    local name page

    while read -r name; do
        page=$(home "$name")
        [ "$page" = "$name.3" ] || [ "$(cat "$links/$name.3")" = ".so man3/$page" ] ||
            echo "$name.3: no page, and no link to $page"
    done <functions
}

pages_not_installed() {
    local page

    for page in text/*; do
        grep -qE "^[[:space:]]man/${page##*/}( |\$)" "$source/Makefile.am" ||
            echo "${page##*/}: not in Makefile.am"
    done
}

# Sorted lines of a page and a prototype, by the header and by SYNOPSIS.
prototypes_differ() {
    local page name

    paste -d ' ' functions prototypes | while read -r name prototype; do
        echo "$(home "$name") $prototype"
    done | sort >wanted
    for page in text/*; do
        section "${page##*/}" SYNOPSIS | grep -v '^[.#]' | tr '\n' ' ' | grep -oE '[^;]*;' |
            sed -E "s/[[:space:]]+/ /g; s/^ ?/${page##*/} /"
    done | sort >found
    only_in 'header' 'page' wanted found
}

sections_missing() {
    local name prototype page

    paste -d ' ' functions prototypes | while read -r name prototype; do
        page=$(home "$name")
        [ -e "text/$page" ] || continue
        section "$page" THREADS | grep -q . || echo "$page: no THREADS"
        section "$page" 'RETURN VALUE' | grep -q . || [[ $prototype == void\ * ]] ||
            echo "$page: no RETURN VALUE"
        [[ $prototype != int\ * ]] || section "$page" ERRORS | grep -qw "$name" ||
            echo "$page: ERRORS does not name $name"
    done
}

is 'each function stands under NAME of one page' nothing functions_without_a_page
is 'man finds it by its own name' nothing links_missing
is 'the pages are installed' nothing pages_not_installed
is 'SYNOPSIS has the prototypes of the header, and no others' nothing prototypes_differ
is 'each function has RETURN VALUE, ERRORS and THREADS' nothing sections_missing

# ---- types, constants, error codes --------------------------------------------------------------

members_differ() {
    awk -F '\t' '$3 ~ /^(struct|enum) / { sub(/:.*/, "", $3); print $3, $4 }' entries | sort >found
    only_in 'header' 'page' members found
}

constants_differ() {
    awk -F '\t' '$4 ~ /^TACTUS_/ && $5 ~ /^\([^)]*\)$/ { print $4, $5 }' entries | sort >found
    only_in 'header' 'page' constants found
}

errors_differ() {
    awk -F '\t' '$3 == "enum tactus_error" { print $4, $5 }' entries | sort >found
    only_in 'header' 'page' errors found
}

# Lines "CODE FUNCTION", by what tactus_errors.3 says.
returned_by() {
    section tactus_errors.3 DESCRIPTION | awk '
        /^\.T[PQ]$/ { is_tag = 1; next }
        is_tag { is_tag = 0; code = $2; next }
        /^Returned by:$/ { inside = 1; next }
        inside {
            is_last = /\.$/
            gsub(/[,.]/, " ")
            for (i = 1; i <= NF; i++) print code, $i
            inside = !is_last
        }'
}

# As ERRORS of the pages has it, and as tactus_errors.3 has.
error_lists_differ() {
    local code name

    awk -F '\t' '$2 == "ERRORS" && $4 ~ /^TACTUS_/ { print $1, $4 }' entries | sort -u >found
    returned_by | while read -r code name; do
        echo "$(home "$name") $code"
    done | sort -u >wanted
    only_in 'tactus_errors.3' 'page' wanted found
}

# Lines "CODE FUNCTION" of those entries of ERRORS that name functions of their page, with a colon
# behind the last one; not of those for "all" or "moves". What tactus_open
# returns, tactus_open_in does.
said_to_return() { # PAGE
    section "$1" ERRORS | awk '
        function entry_end() {
            for (name in named) {
                if (!is_general) {
                    print code, name
                }
            }
            split("", named)
            split("", pending)
            is_general = 0
        }
        /^\.T[PQ]$/ { entry_end(); is_tag = 1; next }
        is_tag { is_tag = 0; code = $2; next }
        /^(All|The same functions|[Mm]oves)/ { is_general = 1 }
        $0 == "and" { next }
        !/^\.BR? tactus_[a-z_]+( [,:])?$/ { split("", pending); next }
        { pending[$2] }
        $3 == ":" {
            for (name in pending) {
                named[name]
            }
            if ("tactus_open" in named) {
                named["tactus_open_in"]
            }
        }
        END { entry_end() }' | sort
}

# Where an entry names functions, they are those that tactus_errors.3 has of the page.
error_functions_differ() {
    local code name page

    returned_by | while read -r code name; do
        echo "$(home "$name") $code $name"
    done | sort >all
    for page in text/*; do
        page=${page##*/}
        said_to_return "$page" >found
        awk -v page="$page" 'NR == FNR { is_named[$1]; next }
            $1 == page && $2 in is_named { print $2, $3 }' found all | sort >wanted
        only_in "tactus_errors.3" "$page" wanted found
    done
}

# What returns TACTUS_EFORKED is called by a child.
children_spared() {
    local name

    returned_by | sed -n 's/^TACTUS_EFORKED //p' | while read -r name; do
        grep -qE "CHECK\($name\(.*TACTUS_EFORKED" "$source/tests/unit/fork_test.c" || echo "$name"
    done
}

# Of codes that the library never sets tactus_errors.3 says so.
unused_differ() {
    local code

    sed 's/ .*//' errors | grep -vx TACTUS_OK | while read -r code; do
        (cd "$source" && grep -rqw "$code" base queues lsm stages reading pipeline) || echo "$code"
    done | sort >wanted
    section tactus_errors.3 DESCRIPTION | awk '
        /^\.T[PQ]$/ { is_tag = 1; next }
        is_tag { is_tag = 0; code = $2 }
        /^No call of this version returns it\.$/ { print code }' | sort >found
    only_in 'never set' 'said to be unused' wanted found
    returned_by | sed 's/ .*//' | sort -u >used
    sed 's/ .*//' errors | grep -vx TACTUS_OK | sort | comm -23 - used | comm -23 - found |
        sed 's/$/: who returns it?/'
}

is 'each member and each value of the public types has an entry' nothing members_differ
is 'each constant has one, with its value' nothing constants_differ
is 'each error code has one, with its number and text' nothing errors_differ
is 'tactus_errors.3 and ERRORS of the pages agree' nothing error_lists_differ
is 'so do the functions that they name' nothing error_functions_differ
is 'fork_test has a child call all that returns TACTUS_EFORKED' nothing children_spared
is 'tactus_errors.3 knows which codes are never returned' nothing unused_differ

# ---- names --------------------------------------------------------------------------------------

create() { # STORE
    "$tactus" create "$1" --option memtable_size=256KiB --option block_size=16KiB \
        --option file_size_max=1GiB --option page_cache_size=1MiB --option index_cache_size=4MiB
}
{ create store && "$tactus" stat store --prometheus; } >prometheus 2>err
sed -nE 's/^# TYPE ([a-z0-9_]+) ([a-z]+)$/\1 \2/p' prometheus | sort >metrics

names_unknown() {
    local page name

    {
        grep -ohE '(tactus|TACTUS)_[A-Za-z0-9_]+' plain
        sed 's/ .*//' errors
        sed 's/\..*//' page_names
    } | sort -u >known
    for page in text/*; do
        grep -ohE '(tactus|TACTUS)_[A-Za-z0-9_]+' "$page" | sort -u | comm -23 - known |
            while read -r name; do
                [ "$page" = text/tactus_metrics.3 ] && grep -q "^$name " metrics ||
                    echo "${page##*/}: $name"
            done
    done
}

references_missing() {
    grep -oE 'tactus[a-z0-9_]* \([1-9]\)' text/* | sed -E 's/.*:(.*) \((.)\)/\1.\2/' | sort -u |
        while read -r page; do
            [ -e "text/$page" ] || grep -qx "${page%.3}" functions || echo "$page"
        done
}

pages_not_listed() {
    grep -vx tactus.3 page_names >wanted
    awk -F '\t' '$1 == "tactus.3" && $2 == "PAGES" { print $4 $5 }' entries |
        sed -E 's/\((.)\).*/.\1/' | sort >found
    only_in 'not listed' 'listed' wanted found
}

metrics_differ() {
    section tactus_metrics.3 METRICS |
        sed -nE 's/^(tactus_[a-z0-9_]+) +([a-z]+) +[a-z0-9_]+$/\1 \2/p' | sort >found
    only_in 'stat --prometheus' 'page' metrics found
    section tactus_metrics.3 METRICS | sed -nE 's/^tactus_[a-z0-9_]+ +[a-z]+ +//p' | sort -u |
        comm -23 - <(sed -nE 's/^struct tactus_[a-z0-9]*_?stats //p' members | sort -u) |
        sed 's/$/: no member/'
}

is 'pages name nothing that the header does not have' nothing names_unknown
is 'each page that one refers to is there' nothing references_missing
is 'tactus.3 lists all pages' nothing pages_not_listed
is 'tactus_metrics.3 has the metrics that there are' nothing metrics_differ

# ---- options ------------------------------------------------------------------------------------

# Lines "NAME<TAB>FORM; CLASS; default VALUE; MIN to MAX.": what follows the name of each option.
awk '/^\.SS / { inside = $3 ~ /^tactus_options/ }
    /^\.T[PQ]$/ { is_tag = inside; next }
    is_tag { is_tag = 0; name = $2; has_name = 1; next }
    has_name { has_name = 0; print name "\t" $0 }' text/tactus_options.5 >options
sed -n 's/^struct tactus_options //p' members | grep -vxE 'struct_size|logger_fn|logger_context' |
    sort >option_names
sed -n '/^struct tactus_options {/,/^}/p' "$header" |
    sed -n '/(create)/,/Free at every open/p' |
    sed -nE 's/^    (uint[0-9]+_t|bool|enum [a-z_]+) +([a-z0-9_]+)(\[[A-Z_]*\])?;.*/\2/p' >created

line_pattern='^([^;]+); (create|open); default ([^;]+)(; ([0-9A-Za-z]+) to ([0-9A-Za-z]+))?\.$'

# option_line NAME: sets form, class, default, least, most. False: there is no such line.
option_line() {
    local line

    line=$(awk -F '\t' -v name="$1" '$1 == name { print $2 }' options)
    [[ $line =~ $line_pattern ]] || return 1
    form=${BASH_REMATCH[1]} class=${BASH_REMATCH[2]} default=${BASH_REMATCH[3]}
    least=${BASH_REMATCH[5]} most=${BASH_REMATCH[6]}
}

# number TEXT: without its suffix.
number() {
    case $1 in
    *KiB) echo $((${1%KiB} << 10)) ;;
    *MiB) echo $((${1%MiB} << 20)) ;;
    *GiB) echo $((${1%GiB} << 30)) ;;
    *TiB) echo $((${1%TiB} << 40)) ;;
    *) echo "$1" ;;
    esac
}

options_malformed() {
    local name

    while read -r name; do
        option_line "$name" || echo "$name: no line of form, class, default and range"
    done <option_names
}

options_fixed_differ() {
    local name

    while read -r name; do
        option_line "$name" || continue
        grep -qx "$name" created && [ "$class" != create ] && echo "$name: create, not $class"
        grep -qx "$name" created || [ "$class" = open ] || echo "$name: open, not $class"
    done <option_names
}

defaults_differ() {
    local name

    while read -r name; do
        option_line "$name" && ! "$probe" "$name" "$default" && echo "$name: $default"
    done <option_names
}

# The form or the range of an option as the library tells it when it refuses a value.
ranges_differ() {
    local name said range_pattern=' is outside ([0-9]+) to ([0-9]+)$' words_pattern=' is not (.*)$'

    while read -r name; do
        option_line "$name" || continue
        said=$("$probe" "$name" $too_much)
        if [[ $said =~ $range_pattern ]]; then
            [ "${BASH_REMATCH[*]:1}" = "$(number "$least") $(number "$most")" ] ||
                echo "$name: not $least to $most: $said"
        elif [[ $said =~ $words_pattern ]]; then
            said=${BASH_REMATCH[1]// or /, }
            [ "$form" = "$said" ] || [ "$form" = "One of $said" ] || echo "$name: not $form: $said"
        else
            echo "$name: is $too_much taken? $said"
        fi
        "$probe" "$name" auto >said
        if [ $? = 2 ]; then
            [[ $form != *auto* ]] || echo "$name: auto is refused"
        else
            [[ $form == *auto* ]] || echo "$name: auto is taken"
        fi
    done <option_names
}

# What a create says to the least value that text may have, with other options at their defaults.
create_ranges_differ() {
    local name said page_says

    while read -r name; do
        if ! option_line "$name" || [ "$form; $class" != 'Size in bytes; create' ]; then
            continue
        fi
        said=$("$probe" --create "$name=$least" |
            sed -nE "s/.*\b$name is [0-9]+, must be ([0-9]+) to ([0-9]+)( .*)?\$/\1 \2/p")
        page_says=$(awk -v name="$name" '
            /^\.T[PQ]$/ { is_tag = 1; next }
            is_tag { is_tag = 0; is_option = $2 == name }
            is_option && /^At create .* with the default block_size/ { print $3, $5 }' \
            text/tactus_options.5)
        # shellcheck disable=SC2086
        [ "$said" = "$(for text in $page_says; do number "$text"; done | paste -s -d ' ')" ] ||
            echo "$name: page: $page_says; library: $said"
    done <option_names
}

is 'each option has a line of its form, class, default and range' nothing options_malformed
is 'it says which are fixed at create' nothing options_fixed_differ
is 'the defaults are those of tactus_options_init' nothing defaults_differ
is 'the ranges and words are those that the library names' nothing ranges_differ
is 'so are the narrower ranges of create' nothing create_ranges_differ

# ---- the command --------------------------------------------------------------------------------

"$tactus" --help >help
sed -nE 's/^  ([a-z]+)  .*/\1/p' help | sort >commands
mkdir helps
while read -r command; do
    "$tactus" "$command" --help >"helps/$command"
done <commands

commands_differ() {
    section tactus.1 COMMANDS | sed -n 's/^\.SS //p' | sort >found
    only_in 'tactus --help' 'page' commands found
}

usages_differ() {
    local command usage

    while read -r command; do
        usage=$(sed -n 's/^usage: //p' "helps/$command" | sed 's/…/.../g')
        section tactus.1 COMMANDS |
            awk -v name="$command" '/^\.SS / { inside = $2 == name } inside' |
            grep -qxF ".B \"$usage\"" || echo "$usage"
    done <commands
}

# With their operands: those of all commands are in a section of their own.
command_options_differ() {
    local command

    while read -r command; do
        sed -nE 's/^  (--[a-z-]+( [^ ]+)?)  .*/\1/p' "helps/$command" | sort >wanted
        awk -F '\t' -v name="$command" '
            $1 == "tactus.1" && $4 ~ /^--/ &&
            ($2 == "COMMON OPTIONS" && !match($3, "(^| )" name "(,| |$)") ||
             $2 == "COMMANDS" && $3 == name) {
                print $4 ($5 == "" ? "" : " " $5)
            }' entries | sort >found
        only_in "$command --help" "$command, page" wanted found
    done <commands
}

options_unknown() {
    cat help helps/* | grep -oE -e '--[a-z][a-z-]*' | sort -u >known
    grep -ohE -e '--[a-z][a-z-]*' text/tactus.1 | sort -u | comm -23 - known
}

statuses_differ() {
    sed -nE 's/^  ([0-9])  .*/\1/p' help | sort >wanted
    awk -F '\t' '$1 == "tactus.1" && $2 == "EXIT STATUS" { print $4 }' entries | sort >found
    only_in 'tactus --help' 'page' wanted found
}

is 'tactus.1 has the commands' nothing commands_differ
is 'their usage' nothing usages_differ
is 'their options, with operands' nothing command_options_differ
is 'no other options' nothing options_unknown
is 'and the exit statuses' nothing statuses_differ

# ---- form ---------------------------------------------------------------------------------------

examples_fail() {
    local page

    for page in text/*; do
        section "${page##*/}" EXAMPLE | sed -n '/^\.EX$/,/^\.EE$/p' | grep -v '^\.E[XE]$' >example
        [ -s example ] || continue
        {
            printf '#include <%s.h>\n' stdio stdlib string tactus
            cat example
        } | "${CC:-cc}" -x c -std=c11 -Wall -Wextra -Werror -fsyntax-only -I "$source/include" - ||
            echo "${page##*/}: its example"
    done
}

# What a terminal of 80 columns does not break and cannot hold.
wide_lines() {
    awk '/^\.(nf|EX)$/ { inside = 1 }
        /^\.(fi|EE)$/ { inside = 0 }
        inside && !/^\./ && length($0) > 72 { print FILENAME ": " $0 }' text/*
}

other_characters() { (cd "$source/man" && grep -n '[^ -~]' ./*.[1-9]); }

groff_warnings() {
    local page

    for page in "$source"/man/*.[1-9]; do
        groff -man -ww -Tutf8 "$page" >/dev/null
    done
}

is 'examples compile' nothing examples_fail
is 'they fit into 80 columns' nothing wide_lines
is 'pages are plain ASCII' nothing other_characters
if command -v groff >/dev/null; then
    is 'groff has no warnings' nothing groff_warnings
else
    skip 'groff has no warnings' 'groff is missing (Debian: groff-base)'
fi

tap_done
