"""Where the stand-in says what a client of Ray must never do, though Ray itself might bear it: a line in the file that the
app's environment names by FAKERAY_STRICT. Tests demand that it is empty."""

import os


def complain(what):
    path = os.environ.get("FAKERAY_STRICT")
    if path:
        with open(path, "a") as log:
            log.write(f"{os.environ.get('ASTRA_UNIT')}: {what}\n")
    print("fakeray:", what, flush=True)
