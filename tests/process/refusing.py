"""Runs a program under a seccomp filter that refuses something of io_uring.

usage: refusing.py io_uring|buffer_rings program [argument ...]

io_uring      io_uring_setup fails with EPERM, as under the default profile of container engines
buffer_rings  registering a ring of provided buffers fails with EINVAL, as on a kernel that has none
"""
import ctypes
import errno
import os
import sys

# The same numbers on every architecture.
IO_URING_SETUP, IO_URING_REGISTER, REGISTER_PBUF_RING = 425, 427, 22
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SYSTEM_CALL, SECOND_ARGUMENT = 0, 24  # where the filter finds them; the lower half of a word, on a little-endian machine
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("value", ctypes.c_uint)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]


FILTERS = {
    "io_uring": [
        (LOAD_WORD, 0, 0, SYSTEM_CALL),
        (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ],
    "buffer_rings": [
        (LOAD_WORD, 0, 0, SYSTEM_CALL),
        (JUMP_IF_EQUAL, 0, 3, IO_URING_REGISTER),
        (LOAD_WORD, 0, 0, SECOND_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, REGISTER_PBUF_RING),
        (RETURN, 0, 0, REFUSE | errno.EINVAL),
        (RETURN, 0, 0, ALLOW),
    ],
}
lines = [Instruction(*line) for line in FILTERS[sys.argv[1]]]
lines = (Instruction * len(lines))(*lines)
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(lines), lines)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)):
    sys.exit(f"cannot install the filter: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[2], sys.argv[2:])
