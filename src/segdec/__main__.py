"""``python -m segdec``, as ``torchrun -m segdec`` needs it."""

from segdec.cli import main

main()
