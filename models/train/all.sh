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
EPOCHS_eye=30 EPOCHS_face=36 EPOCHS_phone=70
make_net() { # KIND PICTURES EPOCHS FILE [more for train.py]
    kind=$1 pictures=$2 epochs=$3 file=$4
    shift 4
    render "$kind" "$pictures"
    [ -e "$work/$kind.pt" ] || "$python" train.py --net "$kind" --shards "$work/shards" \
        --out "$work/$kind.part" --epochs "$epochs" "$@"
    [ -e "$work/$kind.pt" ] || mv "$work/$kind.part" "$work/$kind.pt"
    "$python" export.py --net "$kind" --weights "$work/$kind.pt" --out "../builtin/$file"
}
make_net eye 3200 "$EPOCHS_eye" eye_state.onnx
make_net face 6000 "$EPOCHS_face" face_state.onnx --batch 64 --threads 1 --half
make_net phone 2400 "$EPOCHS_phone" phone.onnx
"$python" score.py --models ../builtin --shards "$work/shards" --data ../../../shared/data --pack ../../../shared/models \
    --labels ../../tests/data/labels
