/* err.h - what went wrong in the world, as a value.
 *
 * A function that may fail returns 0 or a negative CC_E*; when the caller
 * wants the sentence too it passes a struct cc_err.  The same codes, as the
 * words of cc_err_word(), are what Lua sees in err.code and what API clients
 * read in "code": they are part of the interface and never change meaning.
 */
#ifndef CC_ERR_H
#define CC_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CC_OK = 0,
    CC_E_INVALID = -1,      /* "invalid"      the request makes no sense */
    CC_E_NOT_FOUND = -2,    /* "not_found"    */
    CC_E_EXISTS = -3,       /* "exists"       */
    CC_E_CONFLICT = -4,     /* "conflict"     somebody else changed it first */
    CC_E_TIMEOUT = -5,      /* "timeout"      the deadline passed; it may have happened */
    CC_E_CANCELLED = -6,    /* "cancelled"    the caller gave up */
    CC_E_UNAVAILABLE = -7,  /* "unavailable"  try again later */
    CC_E_LIMIT = -8,        /* "limit"        a quota, a rate, a size */
    CC_E_IO = -9,           /* "io"           disk or network said no */
    CC_E_FULL = -10,        /* "full"         no space left */
    CC_E_DENIED = -11,      /* "denied"       not allowed */
    CC_E_UNSUPPORTED = -12, /* "unsupported"  this host or provider cannot */
    CC_E_CORRUPT = -13,     /* "corrupt"      stored data is not what was written */
    CC_E_INTERNAL = -14,    /* "internal"     a bug of ours */
    CC_E_STATE = -15        /* "state"        not in this status */
};

struct cc_err {
    int code;               /* one of CC_E* */
    bool retryable;         /* the same call may succeed later */
    int64_t retry_after_ms; /* 0: not told */
    char message[256];      /* a sentence for people, no newline */
};

/* Fills `err` (may be NULL) and returns `code`. Timeouts, unavailable and io are marked retryable. [any thread] */
int cc_err_set(struct cc_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: text of errno value `sys` behind the sentence, code chosen from it. [any thread] */
int cc_err_sys(struct cc_err *err, int sys, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* which cannot know that they return what they are given, never 0 */
#define cc_err_set(err, code, ...) ((void)cc_err_set(err, code, __VA_ARGS__), (code))
#define cc_err_sys(err, sys, ...) ((void)cc_err_sys(err, sys, __VA_ARGS__), CC_E_IO)
#endif

/* The stable word of a code; "internal" for what is unknown. [any thread] */
const char *cc_err_word(int code);

#endif
