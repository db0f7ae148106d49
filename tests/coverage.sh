#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of a build with --enable-coverage have run, by gcov, in the current directory:
# lines and branches of each folder, the functions with most lines that were never run, and failure
# when lsm/, stages/ or pipeline/ are below the limits. Assertions have no branches here: their
# other side is never to be taken. Only .c files count: a header's code is many times in a program.

set -u

lines_min=90
branches_min=80
gcov=${GCOV:-gcov}

# Writes "folder/file.c<TAB>kind<TAB>..." for each function, line and branch.
facts() {
    local data

    find lsm stages pipeline reading -name '*.gcda' | sort | while read -r data; do
        # -b: branches, -c: counts, -t: to standard output.
        $gcov -b -c -t "$data" 2> /dev/null
    done | awk '
        /^ +-: +0:Source:/ {
            file = ""
            if (match($0, /(lsm|stages|pipeline|reading)\/[a-z0-9_]+\.c$/)) {
                file = substr($0, RSTART)
            }
            name = "?"
            next
        }
        file == "" { next }
        /^function / { name = $2; next }
        /^branch / {
            if (!is_assertion) {
                print file "\tbranch\t" ($3 == "taken" && $4 > 0)
            }
            next
        }
        /^ *[0-9#=*-]+: *[0-9]+:/ {
            count = $0
            sub(/^ */, "", count)
            sub(/:.*/, "", count)
            is_assertion = $0 ~ /tac_(assert|assert_slow|maybe|unreachable)\(/
            if (count != "-" && $0 !~ /tac_unreachable\(/) {
                print file "\tline\t" (count !~ /^[#=]/) "\t" name
            }
        }'
}

if [ -z "$(find lsm -name '*.gcda' | head -n 1)" ]; then
    echo "coverage: no test has run here; configure with --enable-coverage, then make check" >&2
    exit 1
fi
facts | awk -F '\t' -v lines_min=$lines_min -v branches_min=$branches_min '
    function share(done, all) { return all == 0 ? 100 : 100 * done / all }
    {
        folder = $1
        sub(/\/.*/, "", folder)
        all[folder, $2]++
        done[folder, $2] += $3
        all_of[$1, $2]++
        done_of[$1, $2] += $3
        files[$1]
        folders[folder]
        if ($2 == "line" && !$3) {
            missed[$1 " " $4]++
        }
    }
    END {
        print "File                               lines          branches"
        sort = "sort"
        for (file in files) {
            printf "%-30s %5d %6.1f %%   %5d %6.1f %%\n", file, all_of[file, "line"],
                share(done_of[file, "line"], all_of[file, "line"]), all_of[file, "branch"],
                share(done_of[file, "branch"], all_of[file, "branch"]) | sort
        }
        close(sort)
        print "\nNever run: lines, file, function"
        sort = "sort -rn | head -n 30"
        for (name in missed) {
            printf "%4d  %s\n", missed[name], name | sort
        }
        close(sort)
        print ""
        split("lsm stages pipeline", limited, " ")
        for (i in limited) {
            if (!(limited[i] in folders)) {
                print "coverage: nothing is known of " limited[i] "/: has gcov failed?"
                failed++
            }
        }
        for (folder in folders) {
            lines = share(done[folder, "line"], all[folder, "line"])
            branches = share(done[folder, "branch"], all[folder, "branch"])
            is_low = folder != "reading" && (lines < lines_min || branches < branches_min)
            failed += is_low
            printf "%-10s lines %5.1f %% of %5d, branches %5.1f %% of %5d%s\n", folder "/", lines,
                all[folder, "line"], branches, all[folder, "branch"],
                is_low ? "   TOO LOW" : ""
        }
        exit failed > 0
    }'
