#!/usr/bin/env bash
# Phillips & Koh 2026, both encoders, from nothing: MTG-Jamendo -> shards -> weights -> scores.
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
# Not in it: GTZAN and GiantSteps, which the paper reports. With copies of your own, see
#          `myna tasks list`, then: myna evaluate OUT/paper-2d-alibi/model --tasks gtzan
#          --root gtzan=DIR. What runs here is MTG-Jamendo's top-50 tags on its test split.
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
done

myna evaluate "2d-alibi=$out/paper-2d-alibi/model" "1d-alibi=$out/paper-1d-alibi/model" \
    --tasks mtg-jamendo-top50 --root "mtg-jamendo-top50=$out/mtg-jamendo" -o "$out/evaluation"
