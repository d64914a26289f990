/* fail.c - the one way the launcher gives up: a line "error ERRNO sentence". */
#include "providers/local/launch/box.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int report_fd = 2;

void box_report_to(int fd) { report_fd = fd; }

void box_fail(int sys, const char *fmt, ...)
{
    char text[400], line[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = snprintf(line, sizeof(line), "error %d %s%s%s\n", sys, text, sys ? ": " : "", sys ? strerror(sys) : "");
    if (n > 0 && write(report_fd, line, (size_t)n) < 0)
        _exit(2);
    _exit(1);
}
