/* bind_time.c - module "time". All of it is the host's clock (real or virtual).
 *
 *   ms   = time.now()                unix time in milliseconds, an integer
 *   ms   = time.mono()               milliseconds that never jump back
 *   text = time.rfc3339(ms)          "2026-11-20T17:42:00.123Z"
 *   ms | nil, err = time.parse(text) the inverse; also takes whole seconds and an offset (+01:00)
 *   time.virtual(ms)                 from now on time stands still (tests, simulation)
 *   time.advance(ms)                 moves virtual time on, firing what falls due
 */
#include "host/script/task.h"

#include "host/sys/clock.h"
#include "host/sys/err.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int luaopen_cc_time(lua_State *L);

static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)cc_wall_ms());
    return 1;
}

static int l_mono(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)cc_mono_ms());
    return 1;
}

static int l_rfc3339(lua_State *L)
{
    lua_Number n = luaL_checknumber(L, 1);
    int64_t ms;
    time_t sec;
    struct tm tm;
    char day[40], text[64];

    luaL_argcheck(L, n >= 0 && n < 253402300800000.0, 1, "unix milliseconds expected, before the year 10000");
    ms = (int64_t)n;
    sec = (time_t)(ms / 1000);
    gmtime_r(&sec, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    lua_pushlstring(L, text, (size_t)snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(ms % 1000)));
    return 1;
}

/* Fraction of a second in ms from ".digits"; moves *p past it. */
static int64_t fraction(const char **p)
{
    int64_t ms = 0, unit = 100;

    if (**p != '.')
        return 0;
    for (++*p; **p >= '0' && **p <= '9'; ++*p, unit /= 10)
        ms += (**p - '0') * unit;
    return ms;
}

static bool offset_minutes(const char *p, int *out)
{
    int h, m, n = 0;

    if (strcmp(p, "Z") == 0) {
        *out = 0;
        return true;
    }
    if ((*p != '+' && *p != '-') || strlen(p) != 6 || sscanf(p + 1, "%2d:%2d%n", &h, &m, &n) != 2 || n != 5)
        return false;
    if (h > 23 || m > 59 || h < 0 || m < 0)
        return false;
    *out = (*p == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

static bool parse(const char *s, int64_t *ms)
{
    struct tm tm = { 0 };
    const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    int day = tm.tm_mday;
    time_t sec;
    int64_t frac;
    int off;

    if (!p)
        return false;
    frac = fraction(&p);
    if (!offset_minutes(p, &off))
        return false;
    sec = timegm(&tm);
    if (tm.tm_mday != day) /* timegm made the 31st of February a day in March */
        return false;
    *ms = ((int64_t)sec - off * 60) * 1000 + frac;
    return *ms >= 0;
}

static int l_parse(lua_State *L)
{
    const char *s = luaL_checkstring(L, 1);
    struct cc_err err;
    int64_t ms;

    if (!parse(s, &ms)) {
        cc_err_set(&err, CC_E_INVALID, "not a time like 2026-11-20T17:42:00Z: %.40s", s);
        return cc_push_err(L, &err);
    }
    lua_pushnumber(L, (lua_Number)ms);
    return 1;
}

static int l_virtual(lua_State *L)
{
    cc_clock_virtual((int64_t)luaL_checknumber(L, 1));
    return 0;
}

static int l_advance(lua_State *L)
{
    lua_Number ms = luaL_checknumber(L, 1);

    luaL_argcheck(L, ms >= 0, 1, "milliseconds >= 0 expected");
    if (!cc_clock_is_virtual())
        return luaL_error(L, "time.advance: time is not virtual");
    cc_clock_advance((uint64_t)ms);
    return 0;
}

static const luaL_Reg time_lib[] = { { "now", l_now },     { "mono", l_mono },       { "rfc3339", l_rfc3339 },
                                     { "parse", l_parse }, { "virtual", l_virtual }, { "advance", l_advance },
                                     { NULL, NULL } };

int luaopen_cc_time(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, time_lib);
    return 1;
}
