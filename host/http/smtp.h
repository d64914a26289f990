/* smtp.h - hands one mail to a mail server, by libcurl.
 *
 * It blocks, and belongs on a worker: libcurl waits for the server's word on
 * a whole message, and for its answer to QUIT, inside its calls, also in the
 * multi interface.  STARTTLS, when asked for, must be had; certificates are
 * verified (TLS 1.2 and later); a password goes nowhere without TLS but to
 * this machine, and a server that offers no authentication to one who has a
 * password gets no mail.  One connection a mail, none is kept.
 * Errors never hold the password.
 */
#ifndef CC_HTTP_SMTP_H
#define CC_HTTP_SMTP_H

#include <stdbool.h>
#include <stddef.h>

#include "host/sys/err.h"
#include "host/sys/pool.h"

enum cc_smtp_tls {
    CC_SMTP_STARTTLS, /* the connection begins in the clear (port 587) */
    CC_SMTP_TLS,      /* TLS from its first byte (port 465) */
    CC_SMTP_PLAIN
};

struct cc_smtp {
    const char *host; /* a name or an address */
    unsigned port;
    enum cc_smtp_tls tls;
    const char *ca_file;             /* trust these authorities instead of the system's */
    const char *username, *password; /* NULL: none */
    const char *name;                /* what we say we are (EHLO) */
    const char *from, *to;           /* addresses alone */
    const char *message;             /* RFC 5322; dots at the start of lines are doubled on the way */
    size_t message_len;
};

/* Whether what would stand in commands of ours can: NULL, or what is wrong. Lines end with CRLF and have at most 998
 * bytes, no NUL. [any thread] */
const char *cc_smtp_fault(const struct cc_smtp *m);

/* 0: the server has taken the mail. Else
 *   CC_E_TIMEOUT      the deadline passed; it may have been taken
 *   CC_E_UNAVAILABLE  not reached, cut off, or a 4xx: worth another try
 *   CC_E_DENIED       TLS could not be had or trusted, or the name or password was refused
 *   CC_E_INVALID      a 5xx: the server will not take this mail
 *   CC_E_CANCELLED    `call` was cancelled (seen within a second)
 * cc_curl_load has been called. [worker] */
int cc_smtp_send(const struct cc_smtp *m, const struct cc_call *call, struct cc_err *err);

#endif
