# SPDX-License-Identifier: Apache-2.0
# Checks of test scripts, which source this before they change their directory. What a command left
# in the files out and err is shown when its check fails.

number=0
failed=0

is() { # TEXT COMMAND…
    local text=$1 file

    shift
    number=$((number + 1))
    if "$@"; then
        echo "ok $number - $text"
    else
        echo "not ok $number - $text"
        echo "# failed: $*"
        for file in out err; do
            [ -s $file ] && head -n 5 $file | sed "s/^/# $file: /"
        done
        failed=$((failed + 1))
    fi
}

skip() { # TEXT REASON
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

# The plan and the verdict: the script's last command.
tap_done() {
    echo "1..$number"
    [ $failed = 0 ]
}
