# SPDX-License-Identifier: Apache-2.0
# Runs fuzz targets one after the other: run.sh CORPUS PROGRAM…, each for FUZZ_TIME seconds. Every
# target is run, also after one has crashed; then the inputs that did it are named, and the exit
# status is 1. What a target finds is kept in found/TARGET of this directory for its next run.
set -u

corpus=$1
shift
seconds=${FUZZ_TIME:-60}
failed=()
export ASAN_OPTIONS="quarantine_size_mb=16:${ASAN_OPTIONS:-}"

for program in "$@"; do
    target=$(basename "$program")
    found=found/$target
    mkdir -p "$found" crashes
    folders=("$found")
    if [ -d "$corpus/$target" ]; then
        folders+=("$corpus/$target")
    fi
    # What is compared, beside what is reached, where a run is short.
    profile=1
    case $target in image_fuzz | ops_fuzz) profile=0 ;; esac
    echo "== $target: $seconds s"
    if ! TACTUS_FUZZ_SEEDS=$found "$program" -max_total_time="$seconds" -timeout=5 \
        -rss_limit_mb=512 -max_len=16384 -use_value_profile=$profile -print_final_stats=1 \
        -artifact_prefix="crashes/$target-" "${folders[@]}" >"$target.log" 2>&1; then
        tail -n 40 "$target.log"
        echo "== $target FAILED; the whole output is in $PWD/$target.log"
        failed+=("$target")
        continue
    fi
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$target.log"
    grep -E 'cov:' "$target.log" | tail -n 1
done
if ((${#failed[@]} == 0)); then
    exit 0
fi
# Once more, short and at the end: a log that is kept in part is kept there.
for target in "${failed[@]}"; do
    echo "== $target FAILED:"
    grep -E 'ssert|ERROR|SUMMARY|Base64|unit was written' "$target.log" | cut -c 1-400
done
echo "inputs that crash are in $PWD/crashes; give one to its target to see it again"
exit 1
