/* bind_store.h - what the parts of module "store" share: bind_store.c, bind_store_walk.c,
 * bind_store_tx.c, bind_store_care.c. */
#ifndef CC_BIND_STORE_H
#define CC_BIND_STORE_H

#include "store/store.h"

#include <lauxlib.h>
#include <lua.h>

struct bind {               /* one a VM; upvalue 1 of every function */
    struct cc_store *store; /* NULL: not open */
    struct cc_txn *txn;     /* of the update whose function runs */
    struct cc_err failed;   /* code 0, or why a read in it failed */
    char *rows;             /* what a walk has collected */
    size_t rows_len, rows_size;
    size_t rows_most;        /* a walk ends behind the row with which it has so many bytes */
    unsigned jobs;           /* on the pool, using the store or the place of one */
    bool close_wanted, gone; /* when the last of them is done: close, free this */
};

static inline struct bind *bind_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* [raises] naming the argument. */
const char *bind_name(lua_State *L, int arg);
struct cc_slice bind_key(lua_State *L, int arg);
struct cc_slice bind_text(lua_State *L, int arg, size_t max);

/* Pushes value and revision of a record. [raises] when its text is broken. */
int bind_push_record(lua_State *L, const char *kind, const struct cc_record *r);
/* Pushes text, owner, revision. */
int bind_push_raw(lua_State *L, const struct cc_record *r);

/* [raises] when the store is not open. */
struct bind *bind_need_open(lua_State *L);
/* A field of the table at `arg`. [raises] naming the option. */
double bind_option_number(lua_State *L, int arg, const char *name, double fallback);
bool bind_option_flag(lua_State *L, int arg, const char *name);
/* What a failed read returns: nil when absent, else nil, err. */
int bind_push_missing(lua_State *L, int code);

/* Adds scan, list, log and history to the table on top. */
void bind_add_walks(lua_State *L, struct bind *b);
/* Adds wait, trim, verify, backup and restore. */
void bind_add_care(lua_State *L, struct bind *b);
/* Closes the store, or marks it to be closed by the last job. */
void bind_close(struct bind *b);
/* Pushes the function store.update. */
void bind_push_update(lua_State *L, struct bind *b);

#endif
