"""Runs a program in a pseudo-terminal: pty.py COLUMNS ROWS PROGRAM ARGUMENT...

JSON lines on stdin tell what to do, JSON lines on stdout what happened:
  {"type": "text"}            typed
  {"size": [columns, rows]}   the window has changed
  {"modes": N}                -> {"modes": {"icanon": , "echo": , "isig": }, "n": N}
  {"signal": "TERM"}          to the program alone
-> {"pid": }, {"out": base64}, {"exit": code or null, "signal": number or null}, which is the last.
The terminal goes on after the program, so that its modes can be asked for then: the end of stdin ends it.
"""
import base64, fcntl, json, os, select, signal, struct, sys, termios


def tell(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def resize(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def modes(fd):
    flags = termios.tcgetattr(fd)[3]
    return {"icanon": bool(flags & termios.ICANON), "echo": bool(flags & termios.ECHO), "isig": bool(flags & termios.ISIG)}


def start(slave, argv):
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.closerange(3, 256)
    os.execvp(argv[0], argv)


def drain(master, seconds):
    while select.select([master], [], [], seconds)[0]:
        data = os.read(master, 65536)
        tell({"out": base64.b64encode(data).decode()})
        seconds = 0


def obey(line, master, pid):
    order = json.loads(line)
    if "type" in order:
        data = order["type"].encode()
        while data:
            data = data[os.write(master, data):]
    elif "size" in order:
        resize(master, *order["size"])
    elif "modes" in order:
        tell({"modes": modes(master), "n": order["modes"]})
    elif "signal" in order:
        os.kill(pid, getattr(signal, "SIG" + order["signal"]))


def main():
    master, slave = os.openpty()
    resize(master, int(sys.argv[1]), int(sys.argv[2]))
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pid = start(slave, sys.argv[3:])
    tell({"pid": pid})
    pending = b""
    while True:
        ready = select.select([master, 0, wake], [], [])[0]
        if master in ready:
            drain(master, 0)
        if wake in ready:
            os.read(wake, 64)
            done, status = os.waitpid(pid, os.WNOHANG) if pid else (0, 0)
            if done:
                drain(master, 0)
                ended = os.WIFEXITED(status)
                tell({"exit": os.WEXITSTATUS(status) if ended else None, "signal": None if ended else os.WTERMSIG(status)})
                pid = 0
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                obey(line, master, pid)
    if pid:
        os.kill(pid, signal.SIGKILL)


main()
