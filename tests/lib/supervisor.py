# What systemd does for a service of the type notify with a socket, without systemd: binds a port, runs the command with it
# (sd_listen_fds(3)) and with a socket for its words (sd_notify(3)), and tells each on standard output: "port N", then "said TEXT"
# by "pid P" of who said it. Ends with the command.
import os, socket, struct, subprocess, sys, threading

directory, *command = sys.argv[1:]
words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
words.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
words.bind(directory + "/notify")
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
print("port", listener.getsockname()[1], flush=True)


def tell():
    while True:
        text, control, _, _ = words.recvmsg(4096, socket.CMSG_SPACE(12))
        pid = struct.unpack("3i", control[0][2][:12])[0]
        for line in text.decode().split("\n"):
            print("pid", pid, "said", line, flush=True)


threading.Thread(target=tell, daemon=True).start()
pid = os.fork()
if pid == 0:
    os.dup2(listener.fileno(), 3)
    env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=directory + "/notify", WATCHDOG_USEC="300000")
    os.execvpe(command[0], command, env)
listener.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
