#!/bin/sh
# The large comparison on one machine with a GPU: its eight systems side by side, and what they left so far as one archive
# in a folder, renewed every 10 seconds: `sh benchmarks/large.sh FOLDER [--smoke ROWS]`. SYSTEMS names others than all.
folder=$1
shift
logs=.jokbo/large/logs
mkdir -p "$folder" "$logs" family/results/large
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 RAYON_NUM_THREADS=2
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

keep() {
    tar czf "$folder/.large.tar.gz" "$logs" family/results/large && mv "$folder/.large.tar.gz" "$folder/large.tar.gz"
}

# Without NVIDIA's MPS the processes take turns on the GPU, and each of their steps takes several times as long.
CUDA_MPS_PIPE_DIRECTORY=$(mktemp -d)
export CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY="$CUDA_MPS_PIPE_DIRECTORY"
if nvidia-cuda-mps-control -d 2>/dev/null; then
    trap 'echo quit | nvidia-cuda-mps-control' EXIT
else
    unset CUDA_MPS_PIPE_DIRECTORY
fi

systems=0
rm -f "$logs"/*
for system in ${SYSTEMS:-elmo deberta xlnet electra bert roberta bart gpt2}; do # the slowest first
    (
        python3 -m benchmarks.large "$@" "$system" >"$logs/$system.log" 2>&1
        echo "$system ends with $?" >"$logs/$system.ended"
    ) &
    systems=$((systems + 1))
done
while [ "$(ls "$logs" | grep -c ended)" -lt $systems ]; do
    sleep 10
    keep
    tail -qn 1 "$logs"/*.log
done
keep
cat "$logs"/*.ended
grep -h ' s: ' "$logs"/*.log
