#!/usr/bin/env bash
# Phillips & Koh 2026, both encoders, from nothing: MTG-Jamendo -> shards -> weights -> embeddings.
# Everything resumes: run it again.
#
#   runs/reproduce_paper.sh OUT [pretrain options, such as --devices 4 --workers 8]
#
# Needs    myna-rpe with its extra `train`; GPUs help, and are not required.
# Disk     156 GB for the tracks (quality low), 174 GB for the shards (uint8, 46 MB per hour of
#          music), 1 GB for each run. The tracks can go once the shards are there.
# Time     download: the line's. Spectrograms of 3,777 hours: 3 hours on two cores at the 747
#          times real time of one core (python -m benchmarks front_end), if the disk keeps up. Each encoder: 512 epochs x 32,136 tracks x 2 excerpts = 33
#          million excerpts; at the 200 per core-second measured here that is 46 core-hours on a
#          CPU. No GPU has been measured, and the whole of it has not been run here.
# Not in it: the probes of the paper's table. This version has no evaluation command yet; the runs
#          log retrieval on the validation split, and all tracks are embedded for probes of your own.
# Other    than the published code, this trains on the training split only.
set -euo pipefail

if [ $# -lt 1 ]; then
    sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3-
    exit 2
fi
out=$1
shift

myna download mtg-jamendo "$out/mtg-jamendo" --quality low
myna prepare "$out/mtg-jamendo" --dataset mtg-jamendo --subset top50 \
    --front-end rpe-44k --storage uint8 -o "$out/shards"

for recipe in paper-2d-alibi paper-1d-alibi; do
    run=$out/$recipe
    resume=()
    [ -e "$run/config.json" ] && resume=(--resume)
    if [ ! -e "$run/model/config.json" ]; then
        myna pretrain "$recipe" --data "$out/shards" -o "$run" "${resume[@]}" "$@"
    fi
    myna embed "$out/mtg-jamendo" -o "$run/tracks.parquet" --model "$run/model"
    tail -n 1 "$run/validation.jsonl"
done
