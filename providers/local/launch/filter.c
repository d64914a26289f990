/* filter.c - the system calls that a machine has no business with.
 *
 * A deny-list: a development machine runs anything, so what is refused is
 * what reaches the kernel's or the host's own affairs, or is mostly known
 * from exploits.  clone3 says ENOSYS, so that the C library falls back to
 * clone, whose flags a filter can see; new user namespaces are refused
 * (they open the kernel's widest attack surface) unless the operator wants
 * rootless containers inside (`nested = on`).  AF_VSOCK and other socket families
 * would leave the machine's network namespace.
 */
#include "providers/local/launch/box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO(name) SCMP_SYS(name)

static const int never[] = {
    NO(kexec_load),
    NO(kexec_file_load),
    NO(init_module),
    NO(finit_module),
    NO(delete_module),
    NO(create_module),
    NO(get_kernel_syms),
    NO(query_module),
    NO(reboot),
    NO(swapon),
    NO(swapoff),
    NO(acct),
    NO(quotactl),
    NO(quotactl_fd),
    NO(syslog),
    NO(settimeofday),
    NO(stime),
    NO(clock_settime),
    NO(clock_adjtime),
    NO(adjtimex),
    NO(iopl),
    NO(ioperm),
    NO(bpf),
    NO(perf_event_open),
    NO(userfaultfd),
    NO(keyctl),
    NO(add_key),
    NO(request_key),
    NO(open_by_handle_at),
    NO(lookup_dcookie),
    NO(nfsservctl),
    NO(vm86),
    NO(vm86old),
    NO(_sysctl),
    NO(uselib),
    NO(ustat),
    NO(sysfs),
    NO(vhangup),
    NO(fanotify_init),
    NO(io_uring_setup),
    NO(io_uring_enter),
    NO(io_uring_register),
    NO(setdomainname),
    NO(sethostname),
};

/* What only the owner of a user namespace can use. */
static const int nested[] = {
    NO(mount),  NO(umount),  NO(umount2),  NO(pivot_root), NO(chroot),        NO(move_mount), NO(open_tree),
    NO(fsopen), NO(fsmount), NO(fsconfig), NO(fspick),     NO(mount_setattr), NO(setns),
};

static int deny(scmp_filter_ctx f, const int *calls, size_t n)
{
    int r = 0;
    size_t i;

    for (i = 0; i < n && (r == 0 || r == -EDOM); i++)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    return r == -EDOM ? 0 : r; /* EDOM: not a call of every architecture here */
}

static int deny_nested(scmp_filter_ctx f)
{
    int r = deny(f, nested, sizeof(nested) / sizeof(*nested));

    if (r == 0)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), NO(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    if (r == 0)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), NO(unshare), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    return r == 0 ? seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), NO(clone3), 0) : r;
}

/* Left: unix, inet, inet6, netlink, packet (which needs a capability anyway). */
static int deny_sockets(scmp_filter_ctx f)
{
    int r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), NO(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_PACKET));
    unsigned family;

    for (family = AF_AX25; family < AF_NETLINK && r == 0; family++)
        if (family != AF_INET6)
            r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), NO(socket), 1, SCMP_A0(SCMP_CMP_EQ, family));
    return r;
}

static int build(scmp_filter_ctx f, bool userns)
{
    int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

    if (r == 0)
        r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a long line */
#ifdef __x86_64__
    if (r == 0)
        r = seccomp_arch_add(f, SCMP_ARCH_X86);
#endif
    if (r == 0)
        r = deny(f, never, sizeof(never) / sizeof(*never));
    if (r == 0 && !userns)
        r = deny_nested(f);
    if (r == 0)
        r = deny_sockets(f);
    /* Typing into somebody else's terminal. */
    if (r == 0)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), NO(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI));
    if (r == 0)
        r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), NO(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCLINUX));
    return r;
}

int box_filter_write(const char *path, bool userns)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = !f ? -ENOMEM : fd < 0 ? -errno : build(f, userns);

    if (r == 0)
        r = seccomp_export_bpf(f, fd);
    if (fd >= 0)
        close(fd);
    if (f)
        seccomp_release(f);
    return r;
}

/* Read before the root is left, loaded last. */
void box_filter_load(int fd)
{
    static struct sock_filter code[BPF_MAXINSNS];
    ssize_t n = pread(fd, code, sizeof(code), 0);
    struct sock_fprog prog = { .filter = code };

    if (n <= 0 || n % (ssize_t)sizeof(*code) != 0)
        box_fail(n < 0 ? errno : 0, "reading the seccomp program");
    prog.len = (unsigned short)((size_t)n / sizeof(*code));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) != 0)
        box_fail(errno, "loading the seccomp program");
}
