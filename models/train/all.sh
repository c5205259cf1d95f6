#!/bin/sh
# all.sh FOLDER: the whole way from nothing to ../builtin/*.onnx. FOLDER keeps what is fetched,
# rendered and trained (about 2 GB); what is there already is not made again.
# Needs Python 3.11 and an OpenGL 3.3 library with EGL (Debian: libegl1-mesa libgl1-mesa-dri).
set -eu
work=${1:?folder for the work}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work/shards"
work=$(cd "$work" && pwd)
cd "$here"
[ -x "$work/venv/bin/python" ] || {
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q -r requirements.txt
}
python="$work/venv/bin/python"
"$python" -c 'import assets, pathlib, sys; assets.fetch(pathlib.Path(sys.argv[1]))' "$work"

# one rendering process per core; each picture depends on its number alone
export LP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
render() { # KIND COUNT
    seq 0 400 $(($2 - 1)) | xargs -P "$(nproc)" -I N sh -c \
        '[ -e "$3/shards/$1-$2.npz" ] || "$4" render.py --kind "$1" --data "$3" \
            --out "$3/shards/$1-$2.npz" --first "$2" --count 400' sh "$1" N "$work" "$python"
}
go() { # KIND NAME EPOCHS [more for train.py]: one go of training, into NAME.pt
    kind=$1 name=$2 epochs=$3
    shift 3
    [ -e "$work/$name.pt" ] || "$python" train.py --net "$kind" --shards "$work/shards" \
        --out "$work/$name.part" --epochs "$epochs" "$@"
    [ -e "$work/$name.pt" ] || mv "$work/$name.part" "$work/$name.pt"
}
put() { # KIND NAME FILE
    "$python" export.py --net "$1" --weights "$work/$2.pt" --out "../builtin/$3"
}
render eye 3200
go eye eye 30
put eye eye eye_state.onnx

# each go starts from the last one's weights; the last two see better light and cameras
render face 10000
face="--batch 64 --threads 1 --half"
# shellcheck disable=SC2086 # the words of $face are arguments
{
    go face face-1 36 $face
    go face face-2 24 $face --start "$work/face-1.pt" --rate 2e-3
    go face face-3 14 $face --start "$work/face-2.pt" --rate 1.5e-3 --good 0.75
    go face face-4 22 $face --start "$work/face-3.pt" --rate 2e-3 --good 0.75 --seed 2
}
put face face-4 face_state.onnx

render phone 2400
go phone phone 70
put phone phone phone.onnx
"$python" score.py --models ../builtin --shards "$work/shards" --data ../../../shared/data --pack ../../../shared/models \
    --labels ../../tests/data/labels
# the constants of agent/src/perception/cabin/eye_scale.rs, for comparison with what stands there
[ ! -e ../../../shared/models/iris_landmark.onnx ] ||
    "$python" scale.py --models ../builtin --shards "$work/shards" --pack ../../../shared/models
