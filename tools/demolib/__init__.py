"""The parts of tools/demo; standard library only, but for the line crops, which Pillow cuts."""
