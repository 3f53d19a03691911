"""An agent that tries to get at what is not its own.

Its arguments are a JSON object of what to try. It prints one JSON object: for
each attempt the text that it got, or "refused: " and why.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys


def attempt(action):
    try:
        return action()
    except Exception as e:
        return f"refused: {type(e).__name__}: {e}"


def read(path):
    """All text below a path."""
    if not os.path.isdir(path):
        with open(path, "rb") as f:
            return got(f.read(200).decode(errors="replace"))
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                found.append(os.path.join(folder, name) + ": " + f.read(200).decode(errors="replace"))
    return got("\n".join(found))


def got(text):
    if not text:
        raise OSError("there is nothing")
    return text


def memory(pid):
    """A piece of another process's heap."""
    with open(f"/proc/{pid}/maps") as maps:
        line = next(m for m in maps if " rw-p " in m)
    start = int(line.split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as mem:
        mem.seek(start)
        return got(mem.read(16).hex())


def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(16, pid, None, None) != 0:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(pid, 0)
    libc.ptrace(17, pid, None, None)  # PTRACE_DETACH
    return "attached"


def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        return "connected"


def ring(path):
    """The secret service of the session bus: what it holds for jit."""
    bus = ["dbus-send", f"--bus=unix:path={path}", "--print-reply=literal", "--dest=org.freedesktop.secrets"]
    out = subprocess.run(
        bus + ["/org/freedesktop/secrets/collection/login", "org.freedesktop.DBus.Properties.Get",
               "string:org.freedesktop.Secret.Collection", "string:Items"],
        capture_output=True, text=True, timeout=60)
    if out.returncode:
        raise OSError(out.stderr)
    return got(out.stdout)


def jit(args, more):
    """jit itself, as if it ran outside."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JIT_", "SNOWFLAKE_"))}
    out = subprocess.run(args, capture_output=True, text=True, timeout=60, env=env | more, stdin=subprocess.DEVNULL)
    if out.returncode:
        raise OSError(f"exit {out.returncode}: {out.stderr}")
    return got(out.stdout + out.stderr)


def signal(pid):
    os.kill(pid, 0)
    return "may signal"


def shell(script):
    out = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=60)
    if out.returncode:
        raise OSError(out.stderr)
    return out.stdout


ACTIONS = {"read": read, "memory": memory, "trace": trace, "connect": connect, "ring": ring, "signal": signal, "shell": shell}

wanted = json.loads(sys.argv[1])
result = {}
for name, what in wanted.items():
    kind, args = what[0], what[1:]
    if args and args[0] == "jit":
        args = [os.getppid()]
    if kind == "run":
        result[name] = attempt(lambda: jit(args[1], args[0]))
    else:
        result[name] = attempt(lambda: ACTIONS[kind](*args))
print(json.dumps(result))
