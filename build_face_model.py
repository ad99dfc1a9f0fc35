"""Turn ICT-FaceKit, Basel Face Model files, plain arrays or the sample model into a face_model.hdf5."""

from prnet.commands.build_face_model import main
from prnet.commands.terminal import run_script

if __name__ == "__main__":
    run_script(main)
