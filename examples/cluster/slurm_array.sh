#!/bin/bash
# Predict an archive as an array of Slurm jobs: each predicts its share of a list of paths.
#   find /data/ecgs -name '*.hea' | sort > ecgs.txt
#   sbatch examples/cluster/slurm_array.sh ecgs.txt /data/predictions
# A job that was stopped continues where it was: submit the same line again.
#SBATCH --job-name=ecg-predict
#SBATCH --array=0-99
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A_%a.log
set -euo pipefail

list=${1:?"usage: sbatch slurm_array.sh LIST OUT"}
out=${2:?"usage: sbatch slurm_array.sh LIST OUT"}
n=${SLURM_ARRAY_TASK_COUNT:-1}
i=${SLURM_ARRAY_TASK_ID:-0}

mkdir -p "$out"
share="$out/list-$(printf '%04d' "$i").txt"
split --number="l/$((i + 1))/$n" "$list" > "$share.tmp"
mv "$share.tmp" "$share"

export OMP_NUM_THREADS=1
exit_code=0
ecg-siglip predict model="${MODEL:-default}" "records=[@$share]" \
  "out=$out/part-$(printf '%04d' "$i")/" \
  measurements=false n_workers="${SLURM_CPUS_PER_TASK:-8}" || exit_code=$?
# 3: predicted, and some records are unreadable. Their rows state the reasons.
if [ "$exit_code" -ne 0 ] && [ "$exit_code" -ne 3 ]; then
  exit "$exit_code"
fi
