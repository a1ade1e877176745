#!/bin/sh
# Trains one stage on several hosts. On each host, in the project's folder, which all hosts see (docs/scale.md):
#   sh deploy/torchrun.sh STAGE HOSTS NUMBER_OF_THIS_HOST ADDRESS_OF_HOST_0 [RANKS_A_HOST]
# params.yaml has compute.launcher: external, and compute.processes: HOSTS x RANKS_A_HOST. What the stage reads is there
# already: `dvc repro` of the stage before it, on one host. The same commands again go on from the last checkpoint.
set -eu
usage="usage: sh deploy/torchrun.sh STAGE HOSTS NUMBER_OF_THIS_HOST ADDRESS_OF_HOST_0 [RANKS_A_HOST]"
stage=${1:?$usage} hosts=${2:?$usage} number=${3:?$usage} address=${4:?$usage} ranks=${5:-1}
python=${PYTHON:-.venv/bin/python}

"$python" -m torch.distributed.run --nnodes "$hosts" --node-rank "$number" --nproc-per-node "$ranks" \
    --master-addr "$address" --master-port "${MASTER_PORT:-29500}" -m "tasks.$stage"
# the stage has ended: DVC, which did not start it, is told so, once
[ "$number" -ne 0 ] || "$python" -m flows.dvc commit --force "$stage"
