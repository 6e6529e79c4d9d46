"""Becomes another program that is killed when its parent dies: `_exec_child.py PARENT_PID PROGRAM ARGUMENT...`.

A program of its own, because the alternative (`preexec_fn`) warns, rightly, in a process with threads.
Where the kernel has no such signal (not Linux) it only becomes the program.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent died before its child began")
os.execv(sys.argv[2], sys.argv[2:])
