#!/usr/bin/env python3
"""Image archives in, Kubernetes manifests out. See `python3 build.py --help`."""
import os
import signal
import sys

if sys.version_info < (3, 9):
    sys.exit("error: %s: needs Python 3.9 or newer, this is %d.%d: start it with another python3"
             % ((os.path.basename(sys.argv[0]),) + sys.version_info[:2]))

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Ctrl-C while modules are imported: no traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

sys.dont_write_bytecode = True  # nothing is written next to it: the folder may be on a medium that is carried on

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python3 -I and PYTHONSAFEPATH leave it out

from builder.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
