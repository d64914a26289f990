/* err.c - see err.h. */
#include "host/sys/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
    "ok",    "invalid", "not_found", "exists", "conflict",    "timeout", "cancelled", "unavailable",
    "limit", "io",      "full",      "denied", "unsupported", "corrupt", "internal",  "state",
};

const char *cc_err_word(int code)
{
    int i = -code;

    if (i < 0 || i >= (int)(sizeof(words) / sizeof(*words)))
        return "internal";
    return words[i];
}

static int fill(struct cc_err *err, int code)
{
    if (!err)
        return code;
    err->code = code;
    err->retryable = code == CC_E_TIMEOUT || code == CC_E_UNAVAILABLE || code == CC_E_IO;
    err->retry_after_ms = 0;
    return code;
}

int(cc_err_set)(struct cc_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof(err->message), fmt, ap);
        va_end(ap);
    }
    return fill(err, code);
}

static int code_of(int sys)
{
    switch (sys) {
    case ENOENT:
    case ESRCH:
        return CC_E_NOT_FOUND;
    case EEXIST:
        return CC_E_EXISTS;
    case EACCES:
    case EPERM:
        return CC_E_DENIED;
    case ENOSPC:
    case EDQUOT:
        return CC_E_FULL;
    case ETIMEDOUT:
        return CC_E_TIMEOUT;
    case ECANCELED:
        return CC_E_CANCELLED;
    case EINVAL:
    case ENAMETOOLONG:
        return CC_E_INVALID;
    case ECONNREFUSED:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return CC_E_UNAVAILABLE;
    default:
        return CC_E_IO;
    }
}

int(cc_err_sys)(struct cc_err *err, int sys, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    if (err) {
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof(err->message), fmt, ap);
        va_end(ap);
        n = strlen(err->message);
        snprintf(err->message + n, sizeof(err->message) - n, ": %s", strerror(sys));
    }
    return fill(err, code_of(sys));
}
