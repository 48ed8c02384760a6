#!/bin/sh
# fuzz/keep.sh TARGET [FOLDER]: adds to corpus/TARGET, by name, the fewest inputs of FOLDER (or else of
# the corpus with all that libFuzzer added) that reach what the named inputs do not: the largest of
# them, up to a limit.
set -eu
cd "$(dirname "$0")/.."
target=$1
from=${2:-fuzz/corpus/$target}
longest=4096 most=60 bytes=100000

named=$(mktemp -d) merged=$(mktemp -d) candidates=$(mktemp -d)
trap 'rm -rf "$named" "$merged" "$candidates"' EXIT
find "fuzz/corpus/$target" -type f ! -name '????????????????????????????????????????' -exec cp {} "$merged" \;
find "$from" -type f -size -"$((longest / 512 + 1))" -exec cp {} "$candidates" \;
cp "$merged"/* "$named"
cargo fuzz run "$target" -s none "$merged" "$candidates" -- \
    -set_cover_merge=1 -use_counters=0 -max_len=$longest >/dev/null 2>&1
total=0 count=0
for file in $(ls -S "$merged"); do
    [ -e "$named/$file" ] && continue
    size=$(wc -c <"$merged/$file")
    [ $count -lt $most ] || break
    [ $((total + size)) -lt $bytes ] || continue
    total=$((total + size)) count=$((count + 1))
    cp "$merged/$file" "fuzz/corpus/$target/grown_$(printf %.10s "$file")"
done
echo "$target: $count inputs, $total bytes added"
