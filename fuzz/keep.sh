#!/bin/sh
# fuzz/keep.sh TARGET [FOLDER]: adds to corpus/TARGET, by name, what FOLDER (or else the corpus with all
# that libFuzzer added) reaches beyond the named inputs: the fewest and smallest inputs, up to a limit.
set -eu
cd "$(dirname "$0")/.."
target=$1
from=${2:-fuzz/corpus/$target}
longest=4096 most=80 bytes=100000

named=$(mktemp -d) merged=$(mktemp -d) candidates=$(mktemp -d)
trap 'rm -rf "$named" "$merged" "$candidates"' EXIT
find "fuzz/corpus/$target" -type f ! -name '????????????????????????????????????????' -exec cp {} "$merged" \;
find "$from" -type f -size -"$((longest / 512 + 1))" -exec cp {} "$candidates" \;
cp "$merged"/* "$named"
cargo fuzz run "$target" -s none "$merged" "$candidates" -- -merge=1 -max_len=$longest >/dev/null 2>&1
total=0 count=0
for file in $(ls -Sr "$merged"); do
    [ -e "$named/$file" ] && continue
    size=$(wc -c <"$merged/$file")
    [ $count -lt $most ] && [ $((total + size)) -lt $bytes ] || break
    total=$((total + size)) count=$((count + 1))
    cp "$merged/$file" "fuzz/corpus/$target/grown_$(printf %.10s "$file")"
done
echo "$target: $count inputs, $total bytes added"
