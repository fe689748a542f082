#!/usr/bin/env bash
# The weights that come with the package, from nothing. Everything resumes: run it again.
#
#   runs/train_default.sh OUT [OPTIONS]
#
# OPTIONS  of myna pretrain, for all three trainings: --devices 4 for as many GPUs;
#          --devices 2 --threads 1 for two CPU cores.
# Needs    myna-rpe with its extras (pip install '.[train,eval]'), apt-get and dpkg-deb.
# Disk     12 GB below OUT, of which 7 GB are spectrograms.
# Time     97 minutes with --devices 2 --threads 1: music and spectrograms 19, training 78.
set -euo pipefail

if [ $# -eq 0 ]; then
    sed -n '2,/^set/p' "$0" | grep '^#' | cut -c3-
    exit 2
fi
out=$1
options=("${@:2}")

myna corpus fetch "$out/music" --role train
myna corpus perform "$out/performances" --keys 2 --performances 3 --seconds 20
myna prepare "$out/music" "$out/performances" -o "$out/shards" --front-end fine-16k \
    --min-seconds 30 --speeds 1,0.8409,1.1225

pretrain() { # recipe, run, options
    local resume=()
    [ -e "$out/$2/config.json" ] && resume=(--resume)
    if [ ! -e "$out/$2/model/config.json" ]; then
        myna pretrain "$1" --data "$out/shards" -o "$out/$2" "${resume[@]}" "${@:3}" \
            --set seed=1 "${options[@]}"
    fi
}
# The weights that are shipped started from those of seed 0, and are else of seed 1.
myna models untrained tiny-hybrid-16k -o "$out/start"
pretrain myna-5m-sparse sparse --init "$out/start"
pretrain myna-5m-keys keys --init "$out/sparse/model"
pretrain myna-5m dense --init "$out/keys/model"

# Of the two shapes of patches that were trained together, the columns alone are better.
myna models part "$out/dense/model" 256x2 -o "$out/columns"
myna models round "$out/columns" -o "$out/myna-5m"
echo "weights: $out/myna-5m"
