/* root.c - the machine's own root, out of a tmpfs and pieces of the host.
 *
 * Two hands: the sources are opened as detached mounts by whoever may walk
 * to them (the launcher as root, since the machine's own uid range may not
 * enter our data directory; pid 1 itself as an ordinary user), and pid 1
 * pivots to a fresh tmpfs and hangs them there.  Every path of the machine
 * is walked after the pivot: what a machine kept from its last run (its
 * home, an image's changes) may be links to anywhere, and they lead to
 * nothing of the host when the host is no longer there.  The host's files are
 * never id-mapped: what its permissions hide from "others" stays hidden, as
 * uid 0 inside is nobody outside.  An image's files are mapped (idmap), so
 * that its root is the machine's root.
 */
#include "providers/local/launch/box.h"

#include "host/sys/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define OWN ".cchost" /* scratch inside the new root; gone before anybody looks */

static const char *const devs[] = { "null", "zero", "full", "random", "urandom", "tty" };
enum { DEVS = sizeof(devs) / sizeof(*devs) };

/* What can be had only while the host's root is in sight. */
struct held {
    int dev_fd[DEVS], proc_fd;
    char *share_link[BOX_MANY]; /* NULL: it is none */
};

static int detached(const char *path, uint64_t attr, int userns_fd)
{
    struct mount_attr a = { .attr_set = attr | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
    int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

    if (fd < 0)
        box_fail(errno, "%s", path);
    if (userns_fd >= 0) {
        a.attr_set |= MOUNT_ATTR_IDMAP;
        a.userns_fd = (uint64_t)userns_fd;
    }
    if (mount_setattr(fd, "", AT_EMPTY_PATH | (userns_fd < 0 ? AT_RECURSIVE : 0), &a, sizeof(a)) != 0)
        box_fail(errno, userns_fd < 0 ? "attributes of %s" : "id-mapping %s", path);
    return fd;
}

void box_sources(struct box *b, int userns_fd)
{
    struct stat st;
    int i;

    for (i = 0; i < b->share.n; i++) {
        b->share_fd[i] = -1;
        if (lstat(b->share.v[i], &st) == 0 && S_ISDIR(st.st_mode))
            b->share_fd[i] = detached(b->share.v[i], MOUNT_ATTR_RDONLY, -1);
    }
    for (i = 0; i < b->bind.n; i++)
        b->bind_fd[i] = detached(b->bind.v[i], 0, -1);
    if (b->image) {
        b->image_fd = detached(b->image, MOUNT_ATTR_RDONLY, userns_fd);
        b->upper_fd = detached(b->upper, 0, -1);
    }
    b->busy_fd = detached(b->agent, MOUNT_ATTR_RDONLY, -1);
    if (b->ssh)
        b->ssh_fd = detached(b->ssh, MOUNT_ATTR_RDONLY, -1);
}

static void dir(const char *path, mode_t mode)
{
    struct stat st;

    if (mkdir(path, mode) != 0 && errno != EEXIST)
        box_fail(errno, "making /%s", path);
    /* A link of the machine's leads to what need not be for everybody to write to. */
    if (mode & 01000 && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && chmod(path, mode) != 0)
        box_fail(errno, "mode of /%s", path);
}

/* Links are followed, but for those of /proc to what we have open. -1: errno */
static int open_dir(const char *path)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };

    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static int open_made(int parent, const char *path)
{
    const char *slash = strrchr(path, '/');
    int fd = open_dir(path);

    if (fd < 0 && errno == ENOENT && (mkdirat(parent, slash ? slash + 1 : path, 0755) == 0 || errno == EEXIST))
        fd = open_dir(path); /* EEXIST: a link into nothing, which it will say */
    if (fd < 0)
        box_fail(errno, "making /%s", path);
    close(parent);
    return fd;
}

/* Every directory on the way to `path` and itself, which is opened; relative to the root. */
static int place(const char *path)
{
    char buf[1024], *at;
    int fd = open_dir(".");

    if (fd < 0)
        box_fail(errno, "the machine's root");
    snprintf(buf, sizeof(buf), "%s", path);
    for (at = buf; (at = strchr(at + 1, '/')); *at = '/') {
        *at = 0;
        fd = open_made(fd, buf);
    }
    return open_made(fd, buf);
}

static void dirs(const char *path) { close(place(path)); }

static const char *rel(const char *path)
{
    while (*path == '/')
        path++;
    return *path ? path : ".";
}

static void hang(int fd, const char *at)
{
    if (move_mount(fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) != 0)
        box_fail(errno, "mounting /%s", at);
    close(fd);
}

/* On a directory, which is made. */
static void hang_in(int fd, const char *at)
{
    int to = place(at);

    if (move_mount(fd, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
        box_fail(errno, "mounting /%s", at);
    close(fd);
    close(to);
}

static void file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    size_t n = strlen(text);

    if (fd < 0 || (n && write(fd, text, n) != (ssize_t)n))
        box_fail(errno, "writing /%s", path);
    close(fd);
}

static void tmpfs(const struct box *b, const char *at, const char *mode)
{
    char opt[128];

    snprintf(opt, sizeof(opt), "mode=%s,size=%sm", mode, b->tmpfs ? b->tmpfs : "1024");
    if (mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, opt) != 0)
        box_fail(errno, "tmpfs on %s", at);
}

static void link_to(const char *text, const char *path)
{
    if (symlink(text, path) != 0 && errno != EEXIST)
        box_fail(errno, "link /%s", path);
}

/* Terminals belong to the group tty, as sshd wants it; an ordinary user's machine has no group but the user's. */
static void devices(const struct box *b, const struct held *h)
{
    char to[32];
    int i;

    for (i = 0; i < DEVS; i++) {
        snprintf(to, sizeof(to), "dev/%s", devs[i]);
        file(to, "", 0666);
        hang(h->dev_fd[i], to);
    }
    dir("dev/pts", 0755);
    dir("dev/shm", 01777);
    dir("dev/mqueue", 0755);
    if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
              b->mapped ? "newinstance,ptmxmode=0666,mode=0620,gid=5" : "newinstance,ptmxmode=0666,mode=0620") != 0)
        box_fail(errno, "devpts");
    link_to("pts/ptmx", "dev/ptmx");
    link_to("/proc/self/fd", "dev/fd");
    link_to("/proc/self/fd/0", "dev/stdin");
    link_to("/proc/self/fd/1", "dev/stdout");
    link_to("/proc/self/fd/2", "dev/stderr");
}

/* The host's system directories; a link such as /bin -> usr/bin stays a link. */
static void shares(struct box *b, const struct held *h)
{
    int i;

    for (i = 0; i < b->share.n; i++) {
        const char *at = rel(b->share.v[i]);

        if (b->share_fd[i] >= 0)
            hang_in(b->share_fd[i], at);
        else if (h->share_link[i])
            link_to(h->share_link[i], at);
    }
}

/* A new proc may be had only where one is that shows everything, which the host's is. */
static int new_proc(void)
{
    int fs = fsopen("proc", FSOPEN_CLOEXEC), fd = -1;

    if (fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (fd < 0)
        box_fail(errno, "proc");
    close(fs);
    return fd;
}

static void hold(const struct box *b, struct held *h)
{
    char path[32], text[512];
    ssize_t n;
    int i;

    for (i = 0; i < DEVS; i++) {
        snprintf(path, sizeof(path), "/dev/%s", devs[i]);
        if ((h->dev_fd[i] = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)) < 0)
            box_fail(errno, "device %s", path);
    }
    for (i = 0; i < b->share.n; i++) {
        n = b->share_fd[i] < 0 ? readlink(b->share.v[i], text, sizeof(text) - 1) : -1;
        h->share_link[i] = n > 0 ? strndup(text, (size_t)n) : NULL;
    }
    h->proc_fd = new_proc();
}

/* Puts our own text in the place of a file, whatever stands there: a file (bind over it), a link
 * into nothing (make what it points to), nothing (make it; a read-only place goes without). Runs
 * after the pivot, so that links mean what they say. */
static void replace(const char *path, const char *text)
{
    char own[64], to[512];
    const char *name = strrchr(path, '/') + 1;
    struct stat st;
    ssize_t n;
    int fd;

    if (stat(path, &st) == 0) {
        snprintf(own, sizeof(own), "/" OWN "/%s", name);
        file(own, text, 0644);
        if (mount(own, path, NULL, MS_BIND, NULL) != 0)
            box_fail(errno, "own %s", path);
        return;
    }
    if ((n = readlink(path, to, sizeof(to) - 1)) > 0 && to[n] == 0 && to[0] == '/') {
        char *slash = strrchr(to, '/');

        *slash = 0;
        if (*to)
            dirs(to + 1);
        *slash = '/';
        file(to, text, 0644);
    } else if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            box_fail(errno, "writing %s", path);
        close(fd);
    }
}

/* A login shell sets its PATH anew, so cchost-busy is added where that is done. Where there is no profile, or a very
 * long one, it is not. */
static void profile(void)
{
    static const char more[] = "\nPATH=$PATH:" CC_BUSY_BIN "\n";
    char text[16384];
    int fd = open("/etc/profile", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - sizeof(more)) : -1;

    if (fd >= 0)
        close(fd);
    if (n < 0 || (size_t)n == sizeof(text) - sizeof(more) || memchr(text, 0, (size_t)n))
        return;
    memcpy(text + n, more, sizeof(more));
    replace("/etc/profile", text);
}

static const char *login_shell(void) { return access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh"; }

static void accounts(const struct box *b)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "root:x:0:0:root:/root:%s\nclaude:x:%d:%d:claude:/home/claude:%s\n"
             "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
             login_shell(), CC_LAUNCH_UID, CC_LAUNCH_UID, login_shell());
    replace("/etc/passwd", text);
    snprintf(text, sizeof(text), "root:x:0:\n%sclaude:x:%d:\nnogroup:x:65534:\n", b->mapped ? "tty:x:5:\n" : "",
             CC_LAUNCH_UID);
    replace("/etc/group", text);
    snprintf(text, sizeof(text), "%s\n", b->hostname);
    replace("/etc/hostname", text);
    snprintf(text, sizeof(text), "127.0.0.1 localhost %s\n::1 localhost %s\n", b->hostname, b->hostname);
    replace("/etc/hosts", text);
    if (b->dns) {
        snprintf(text, sizeof(text), "nameserver %s\n", b->dns);
        replace("/etc/resolv.conf", text);
    }
    profile();
}

static void hide(const struct box *b)
{
    struct stat st;
    int i;

    file("/" OWN "/none", "", 0);
    dir("/" OWN "/nothing", 0);
    for (i = 0; i < b->hide.n; i++) {
        if (lstat(b->hide.v[i], &st) != 0 || S_ISLNK(st.st_mode))
            continue;
        if (mount(S_ISDIR(st.st_mode) ? "/" OWN "/nothing" : "/" OWN "/none", b->hide.v[i], NULL, MS_BIND | MS_RDONLY,
                  NULL) != 0)
            box_fail(errno, "hiding %s", b->hide.v[i]);
    }
}

/* What was bound from the scratch place stays alive without its name. */
static void remove_own(const struct box *b)
{
    static const char *const names[] = { "passwd", "group", "hostname", "hosts", "resolv.conf", "profile", "none" };
    char path[64];
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "/" OWN "/%s", names[i]);
        unlink(path);
    }
    rmdir("/" OWN "/nothing");
    if (b->image)
        umount2("/" OWN, MNT_DETACH);
    rmdir("/" OWN);
}

static void places(void)
{
    static const char *const plain[] = { "root",  "home", "run/lock", "run/user", "srv",       "mnt",
                                         "media", "var",  "var/lib",  "var/log",  "var/cache", "var/spool" };
    size_t i;

    dir("run", 0755);
    for (i = 0; i < sizeof(plain) / sizeof(*plain); i++)
        dir(plain[i], 0755);
    dir("tmp", 01777);
    dir("var/tmp", 01777);
    link_to("/run", "var/run");
    link_to("/run/lock", "var/lock");
    dir("run/user/1000", 0700);
    if (chown("run/user/1000", CC_LAUNCH_UID, CC_LAUNCH_UID) != 0)
        box_fail(errno, "owner of /run/user/1000");
}

/* Where the agent opens its socket for everybody inside; and itself, by the name cchost-busy. The agent is executed from
 * there, too: its /proc/PID/exe then leads to a read-only mount. By the host's own one an ordinary user's machine, whose
 * user the file belongs to, would write to the program that the next machine runs. */
static void busy_place(struct box *b)
{
    const char *program = rel(CC_BUSY_BIN "/cchost-busy");

    dirs(rel(CC_BUSY_BIN));
    if (chown(rel(CC_BUSY_DIR), CC_LAUNCH_UID, CC_LAUNCH_UID) != 0)
        box_fail(errno, "owner of " CC_BUSY_DIR);
    file(program, "", 0755);
    hang(b->busy_fd, program);
    if ((b->agent_fd = open(program, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        box_fail(errno, "%s", b->agent);
}

/* What sshd goes by: read-only, so that nobody inside gives himself another key. */
static void ssh_place(const struct box *b)
{
    if (b->ssh)
        hang_in(b->ssh_fd, rel(CC_LAUNCH_SSH_DIR));
}

/* The base is a tmpfs; with an image the root is an overlay that stands in it. */
static void image_root(struct box *b)
{
    dir(OWN "/lower", 0755);
    dir(OWN "/rw", 0755);
    dir(OWN "/root", 0755);
    hang(b->image_fd, OWN "/lower");
    hang(b->upper_fd, OWN "/rw");
    if (mount("overlay", OWN "/root", "overlay", MS_NODEV,
              "userxattr,lowerdir=" OWN "/lower,upperdir=" OWN "/rw/upper,workdir=" OWN "/rw/work") != 0)
        box_fail(errno, "overlay of the image");
    if (chdir(OWN "/root") != 0)
        box_fail(errno, "entering the image");
}

/* What an image has there is out of sight. */
static void fresh_places(const struct box *b)
{
    dir("dev", 0755);
    dir("tmp", 01777);
    dir("run", 0755);
    dir(OWN, 0755);
    tmpfs(b, "dev", "755");
    tmpfs(b, "tmp", "1777");
    tmpfs(b, "run", "755");
    tmpfs(b, OWN, "755");
}

/* The host goes out of sight. From here on a path leads nowhere but into the machine. */
static void leave_host(void)
{
    if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        box_fail(errno, "pivot_root");
}

void box_root(struct box *b)
{
    struct held h;
    int i;

    /* Nothing that happens here is seen outside. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        box_fail(errno, "making mounts private");
    hold(b, &h);
    tmpfs(b, "/usr", "755"); /* only a place to stand on until the pivot */
    if (chdir("/usr") != 0)
        box_fail(errno, "chdir");
    dir(OWN, 0755);
    if (b->image)
        image_root(b);
    leave_host();
    if (b->image)
        fresh_places(b);
    dir("dev", 0755);
    dir("proc", 0555);
    places();
    busy_place(b);
    ssh_place(b);
    devices(b, &h);
    if (!b->image)
        shares(b, &h);
    hang_in(h.proc_fd, "proc");
    for (i = 0; i < b->bind.n; i++)
        hang_in(b->bind_fd[i], rel(b->at.v[i]));
    accounts(b);
    hide(b);
    remove_own(b);
}
