"""Starts the sandbox's servers, and ends them however the test process ends.

It leads a session of its own, so no signal of the tests' terminal reaches it. It reads requests, a JSON object a line, on
its standard input; the other end is held by the test process alone. End of file there, whatever the reason, means: end
every server, remove the scratch directories. A parent-death signal would not do: it fires when the *thread* that started
the child ends, and a change of user clears it.

Requests: {"run": [ARGV], "env": {}, "directory": D, "log": FILE, "user": [UID, GID] or null, "end_signal": N} -> {"pid": N}
          {"end": PID} -> {"ended": PID}
When a server ends by itself, FILE.exit holds its exit code.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile

servers = {}  # pid -> (process, pidfd, end signal, log)


def answer(value):
    os.write(1, json.dumps(value).encode() + b"\n")


def run(request):
    identity = {}
    if request["user"]:
        uid, gid = request["user"]
        identity = {"user": uid, "group": gid, "extra_groups": []}
    with open(request["log"], "ab") as log:
        process = subprocess.Popen(
            request["run"],
            env=request["env"],
            cwd=request["directory"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
            **identity,
        )
    servers[process.pid] = (process, os.pidfd_open(process.pid), request["end_signal"], request["log"])
    return {"pid": process.pid}


def end(pid):
    if pid in servers:
        process, pidfd, end_signal, _ = servers.pop(pid)
        process.send_signal(end_signal)
        try:
            process.wait(timeout=6)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        os.close(pidfd)
    return {"ended": pid}


def reap(pidfd):
    for pid, (process, other, _, log) in list(servers.items()):
        if other == pidfd:
            code = process.wait()
            with open(log + ".exit.new", "w") as file:
                file.write(str(code))
            os.rename(log + ".exit.new", log + ".exit")
            os.close(pidfd)
            del servers[pid]


def serve():
    pending = b""
    while True:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        for _, pidfd, _, _ in servers.values():
            poll.register(pidfd, select.POLLIN)
        for descriptor, _ in poll.poll():
            if descriptor != 0:
                reap(descriptor)
                continue
            read = os.read(0, 65536)
            if not read:
                return
            pending += read
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                request = json.loads(line)
                try:
                    answer(run(request) if "run" in request else end(request["end"]))
                except (OSError, subprocess.SubprocessError) as error:
                    if isinstance(error, BrokenPipeError):
                        raise
                    answer({"error": str(error)})


def stop(*_):
    raise SystemExit(0)


# Handlers, not SIG_IGN: that would be inherited by the servers.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, lambda *_: None)
signal.signal(signal.SIGTERM, stop)
roots = []
try:
    # On disk, and in memory: TMPDIR, and what XDG_RUNTIME_DIR is on a real machine.
    for place in sys.argv[1:]:
        roots.append(tempfile.mkdtemp(prefix="dbt-lease-sandbox-", dir=place))
        # Passable for the user that PostgreSQL runs as.
        os.chmod(roots[-1], 0o711)
    answer({"roots": roots})
    serve()
except BrokenPipeError:
    pass
finally:
    signal.signal(signal.SIGTERM, lambda *_: None)
    for pid in list(servers):
        end(pid)
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)
