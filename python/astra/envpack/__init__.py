"""Packs a Python environment into one relocatable, reproducible archive.

An app brings its whole Python with it: interpreter, standard library, packages and every shared library that is not
glibc's. Nothing of the node's own Python is used, so two apps may run two versions of Ray beside each other, and a
node needs no Python at all. The archive is content-addressed, so the same inputs must give the same bytes.

Subjects, one file each:

    interpreter.py  finds the source interpreter and copies it with its standard library
    install.py      runs pip and moves what it installed into the tree
    elf.py          reads what an ELF file needs
    libraries.py    copies the host's shared libraries that are needed, and sets search paths
    bytecode.py     compiles the tree's modules
    archive.py      writes the tree as .tar.zst
    manifest.py     describes the archive
    cache.py        keeps ready archives by what they were made of
    pack.py         puts these in order
    __main__.py     the command line

The packer uses the standard library only, and two tools of the host: patchelf and zstd.
"""

PACKER_VERSION = "1"
