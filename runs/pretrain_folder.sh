#!/usr/bin/env bash
# A folder of music -> an encoder of its own -> a table of embeddings. Everything resumes: run it again.
#
#   runs/pretrain_folder.sh MUSIC OUT [--set a.b=c]...
#
# Needs    myna-rpe with its extra `train` (pip install '.[train]'), at least 70 tracks of 10 s.
# Disk     29 MB per hour of music.
# Time     on two CPU cores: spectrograms 500 times as fast as the music plays; training
#          20,000 steps of 64 tracks at 496 excerpts/s, 86 minutes (one process per core is
#          faster: 60 minutes with --devices 2); embedding 70 times as fast as the music plays.
#          Shorter: --set budget.max_minutes=10.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3-
    exit 2
fi
music=$1 out=$2
shift 2

myna prepare "$music" -o "$out/shards"

resume=()
[ -e "$out/run/config.json" ] && resume=(--resume)
if [ ! -e "$out/run/model/config.json" ]; then
    myna pretrain tiny --data "$out/shards" -o "$out/run" "${resume[@]}" "$@"
fi

myna embed "$music" -o "$out/music.parquet" --model "$out/run/model"
echo "nearest tracks: myna similar FILE --in $out/music.parquet"
