/* start.c - from exec to the first 200 on /healthz, in milliseconds.
 *   start RUNS PORT COMMAND ARGUMENT...     prints: min median max, and the RSS in KiB a second later of the last run
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int healthy(int port)
{
    static const char req[] = "GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    char reply[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ok;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && write(fd, req, sizeof(req) - 1) > 0 &&
         read(fd, reply, sizeof(reply) - 1) > 12 && strncmp(reply, "HTTP/1.1 200", 12) == 0;
    close(fd);
    return ok;
}

static long rss_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (!(f = fopen(path, "r")))
        return 0;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

int main(int argc, char **argv)
{
    int runs = argc > 3 ? atoi(argv[1]) : 0, port = argc > 3 ? atoi(argv[2]) : 0, i;
    double took[1000], start;
    long rss = 0;
    pid_t pid;

    if (runs < 1 || runs > 1000)
        return 2;
    for (i = 0; i < runs; i++) {
        start = now_ms();
        if ((pid = fork()) == 0) {
            if (!freopen("/dev/null", "w", stderr) || execvp(argv[3], argv + 3))
                _exit(127);
        }
        while (!healthy(port)) {
            if (now_ms() - start > 20000 || waitpid(pid, NULL, WNOHANG) == pid)
                return 1;
            usleep(100);
        }
        took[i] = now_ms() - start;
        if (i == runs - 1) {
            sleep(1);
            rss = rss_kib(pid);
        }
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    qsort(took, (size_t)runs, sizeof(*took), by_value);
    printf("%.2f %.2f %.2f %ld\n", took[0], took[runs / 2], took[runs - 1], rss);
    return 0;
}
