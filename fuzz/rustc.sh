#!/bin/sh
# `cargo fuzz run` asks for -Zsanitizer, which a stable compiler refuses unless told otherwise.
# Only such builds are told; every other build stays strictly stable.
for argument in "$@"; do
    case "$argument" in
    -Zsanitizer=*) export RUSTC_BOOTSTRAP=1 && break ;;
    esac
done
exec "$@"
