"""Runs a program under a seccomp filter that refuses io_uring_setup with EPERM, as the default profile of container engines does.

usage: without_io_uring.py program [argument ...]
"""
import ctypes
import errno
import os
import sys

IO_URING_SETUP = 425  # the same number on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("value", ctypes.c_uint)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]


lines = (Instruction * 4)(
    Instruction(LOAD_WORD, 0, 0, 0),  # the number of the system call
    Instruction(JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
    Instruction(RETURN, 0, 0, REFUSE),
    Instruction(RETURN, 0, 0, ALLOW),
)
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(lines), lines)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)):
    sys.exit(f"cannot install the filter: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
