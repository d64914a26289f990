/* test_store.c - records, indexes, walks, the log: what one writer sees. */
#include "tests/unit/test_store.h"

#include <ctype.h>

static void put_get_del(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_record r;
    uint64_t rev = cc_txn_rev(t);

    assert_int_equal(cc_txn_get(t, "user", S("a"), &r), CC_E_NOT_FOUND);
    cc_txn_put(t, "user", S("a"), S("{\"x\":1}"), &S("owner-1"));
    assert_int_equal(cc_txn_get(t, "user", S("a"), &r), CC_OK);
    assert_int_equal(r.rev, rev);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_E_NOT_FOUND);
    assert_int_equal(commit(f, t), CC_OK);

    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_OK);
    assert_memory_equal(r.text.data, "{\"x\":1}", 7);
    assert_int_equal(r.text.len, 7);
    assert_memory_equal(r.owner.data, "owner-1", 7);
    assert_int_equal(r.rev, rev);
    assert_int_equal(r.log_seq, 0);
    assert_true(rev > 0 && rev < (1ull << 53));

    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_rev(t) != rev);
    cc_txn_put(t, "user", S("a"), S("{}"), NULL); /* the owner stays */
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_OK);
    assert_int_equal(r.owner.len, 7);
    assert_true(r.rev != rev);

    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_del(t, "user", S("a")));
    assert_false(cc_txn_del(t, "user", S("a")));
    assert_false(cc_txn_del(t, "user", S("b")));
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_E_NOT_FOUND);
}

static void abort_writes_nothing(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_record r;

    cc_txn_put(t, "user", S("a"), S("1"), NULL);
    assert_int_equal(cc_store_reads_open(f->store), 1);
    cc_txn_abort(t);
    assert_int_equal(cc_store_reads_open(f->store), 0);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_E_NOT_FOUND);
    t = cc_txn_begin(f->store, NULL);
    cc_txn_get(t, "user", S("a"), &r);
    assert_int_equal(commit(f, t), CC_TXN_IDLE);
}

static void many_keys_in_one_update(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_store_stats st;
    struct cc_record r;
    char id[16];
    int i;

    for (i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "%05d", i);
        cc_txn_put(t, "thing", S(id), S(id), NULL);
    }
    for (i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "%05d", i);
        assert_int_equal(cc_txn_get(t, "thing", S(id), &r), CC_OK);
        assert_memory_equal(r.text.data, id, 5);
    }
    assert_int_equal(commit(f, t), CC_OK);
    cc_store_stats(f->store, &st);
    assert_int_equal(st.records, 5000);
    assert_int_equal(st.updates, 1);
    assert_int_equal(st.commits, 1);
    assert_int_equal(st.pending, 0);
}

static void index_entries(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_slice v;

    cc_txn_index(t, "by_name", S("ann"), S("1"));
    cc_txn_index(t, "by_name", S("bob"), S(""));
    assert_int_equal(cc_txn_lookup(t, "by_name", S("ann"), &v), CC_OK);
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_lookup(f->store, "by_name", S("ann"), &v), CC_OK);
    assert_memory_equal(v.data, "1", 1);
    assert_int_equal(cc_store_lookup(f->store, "by_name", S("bob"), &v), CC_OK);
    assert_int_equal(v.len, 0);
    assert_int_equal(cc_store_lookup(f->store, "by_nam", S("e\0ann"), &v), CC_E_NOT_FOUND);

    t = cc_txn_begin(f->store, NULL);
    cc_txn_index(t, "by_name", S("ann"), S("1")); /* says so already */
    assert_int_equal(commit(f, t), CC_TXN_IDLE);
    t = cc_txn_begin(f->store, NULL);
    assert_true(cc_txn_unindex(t, "by_name", S("ann")));
    assert_false(cc_txn_unindex(t, "by_name", S("ann")));
    cc_txn_index(t, "by_name", S("ann"), S("2"));
    assert_true(cc_txn_unindex(t, "by_name", S("bob")));
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_lookup(f->store, "by_name", S("ann"), &v), CC_OK);
    assert_memory_equal(v.data, "2", 1);
    assert_int_equal(cc_store_lookup(f->store, "by_name", S("bob"), &v), CC_E_NOT_FOUND);
}

/* ---- walks: the keys seen, one after the other */

struct seen {
    char text[256];
    size_t left;
};

static bool see_key(void *arg, struct cc_slice key, struct cc_slice value)
{
    struct seen *s = arg;
    size_t i, n = strlen(s->text);

    (void)value;
    for (i = 0; i < key.len; i++)
        s->text[n++] = isprint((unsigned char)key.data[i]) ? key.data[i] : '?';
    s->text[n] = ' ';
    s->text[n + 1] = '\0';
    return --s->left > 0;
}

static bool see_record(void *arg, struct cc_slice id, const struct cc_record *rec)
{
    return see_key(arg, id, rec->text);
}

static const char *scan(struct fix *f, const char *prefix, const char *after, size_t limit, bool reverse)
{
    static struct seen s;
    struct cc_range r = { S(prefix), S(after), limit, reverse };

    s = (struct seen){ "", 1000 };
    assert_int_equal(cc_store_scan(f->store, "ix", &r, see_key, &s), CC_OK);
    return s.text;
}

static void scans_in_order(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    static const char *const keys[] = { "b/2", "a", "b/10", "c", "b/1", "b", "\xff\xff", "\xff" };
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        cc_txn_index(t, "ix", S(keys[i]), S("v"));
    cc_txn_index(t, "iw", S("z"), S("v"));
    cc_txn_index(t, "iy", S("a"), S("v"));
    assert_int_equal(commit(f, t), CC_OK);
    assert_string_equal(scan(f, "", "", 0, false), "a b b/1 b/10 b/2 c ? ?? ");
    assert_string_equal(scan(f, "", "", 0, true), "?? ? c b/2 b/10 b/1 b a ");
    assert_string_equal(scan(f, "b/", "", 0, false), "b/1 b/10 b/2 ");
    assert_string_equal(scan(f, "b/", "", 0, true), "b/2 b/10 b/1 ");
    assert_string_equal(scan(f, "b/", "b/1", 0, false), "b/10 b/2 ");
    assert_string_equal(scan(f, "b/", "b/2", 0, true), "b/10 b/1 ");
    assert_string_equal(scan(f, "b/", "a", 0, false), "b/1 b/10 b/2 ");
    assert_string_equal(scan(f, "b/", "a", 0, true), "");
    assert_string_equal(scan(f, "b/", "c", 0, true), "b/2 b/10 b/1 ");
    assert_string_equal(scan(f, "b/", "c", 0, false), "");
    assert_string_equal(scan(f, "\xff", "", 0, true), "?? ? ");
    assert_string_equal(scan(f, "", "b/15", 2, false), "b/2 c ");
    assert_string_equal(scan(f, "", "b/15", 2, true), "b/10 b/1 ");
    assert_string_equal(scan(f, "none", "", 0, true), "");
}

static void lists_one_kind(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct seen s = { "", 2 };
    struct cc_range all = { .limit = 0 };

    cc_txn_put(t, "user", S("b"), S("1"), NULL);
    cc_txn_put(t, "user", S("a"), S("1"), NULL);
    cc_txn_put(t, "user", S("c"), S("1"), NULL);
    cc_txn_put(t, "users", S("x"), S("1"), NULL);
    cc_txn_put(t, "use", S("x"), S("1"), NULL);
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_list(f->store, "user", &all, see_record, &s), CC_OK);
    assert_string_equal(s.text, "a b ");
    s = (struct seen){ "", 100 };
    all.reverse = true;
    assert_int_equal(cc_store_list(f->store, "user", &all, see_record, &s), CC_OK);
    assert_string_equal(s.text, "c b a ");
}

/* ---- the log */

static bool see_entry(void *arg, const struct cc_entry *e)
{
    struct seen *s = arg;
    size_t n = strlen(s->text);

    snprintf(s->text + n, sizeof(s->text) - n, "%d<%d:%.*s.%.*s.%.*s ", (int)e->seq, (int)e->prev, (int)e->id.len,
             e->id.data, (int)e->type.len, e->type.data, (int)e->data.len, e->data.data);
    return true;
}

static void note(struct cc_txn *t, const char *id, const char *type)
{
    cc_txn_log(t, "user", S(id), S(type), S("ann"), S("{}"));
}

static const char *history(struct fix *f, const char *id)
{
    static struct seen s;

    s = (struct seen){ "", 0 };
    assert_int_equal(cc_store_history(f->store, "user", S(id), 0, see_entry, &s), CC_OK);
    return s.text;
}

static void logs_survive_deletion(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    struct cc_verified v;
    struct cc_record r;
    struct cc_err err;
    struct seen s = { "", 0 };
    uint64_t rev;

    cc_txn_put(t, "user", S("a"), S("1"), NULL);
    cc_txn_put(t, "user", S("b"), S("1"), NULL);
    note(t, "a", "made");
    note(t, "b", "made");
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_OK);
    assert_int_equal(r.log_seq, 1);
    rev = r.rev;

    t = cc_txn_begin(f->store, NULL);
    note(t, "a", "seen"); /* without a put: the revision stays */
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_OK);
    assert_int_equal(r.rev, rev);
    assert_int_equal(r.log_seq, 3);

    t = cc_txn_begin(f->store, NULL);
    note(t, "a", "gone");
    assert_true(cc_txn_del(t, "user", S("a")));
    assert_int_equal(commit(f, t), CC_OK);
    assert_string_equal(history(f, "a"), "4<3:a.gone.{} 3<1:a.seen.{} 1<0:a.made.{} ");

    t = cc_txn_begin(f->store, NULL);
    note(t, "a", "late"); /* it is not there */
    assert_int_equal(cc_txn_submit(t, on_done, NULL, &err), CC_E_INVALID);
    assert_non_null(strstr(err.message, "user a"));

    t = cc_txn_begin(f->store, NULL);
    cc_txn_put(t, "user", S("a"), S("2"), NULL);
    note(t, "a", "back");
    assert_int_equal(commit(f, t), CC_OK);
    assert_string_equal(history(f, "a"), "5<4:a.back.{} 4<3:a.gone.{} 3<1:a.seen.{} 1<0:a.made.{} ");
    assert_string_equal(history(f, "b"), "2<0:b.made.{} ");
    assert_string_equal(history(f, "c"), "");

    assert_int_equal(cc_store_log(f->store, 2, 2, false, see_entry, &s), CC_OK);
    assert_string_equal(s.text, "3<1:a.seen.{} 4<3:a.gone.{} ");
    s.text[0] = '\0';
    assert_int_equal(cc_store_log(f->store, 0, 1, true, see_entry, &s), CC_OK);
    assert_int_equal(cc_store_log(f->store, 3, 0, true, see_entry, &s), CC_OK);
    assert_string_equal(s.text, "5<4:a.back.{} 2<0:b.made.{} 1<0:a.made.{} ");
    assert_int_equal(cc_store_verify(f->store, &v, NULL, NULL, &err), CC_OK);
    assert_int_equal(v.entries, 5);
    assert_int_equal(v.objects, 2);
}

static void on_grown(void *arg, int code) { *(int *)arg = code == CC_OK ? 1 : code; }

/* Who waits is called once, by the commit that has what it waits for, and the loop ends when nobody waits. */
static void watchers_are_called(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t;
    int first = 0, second = 0, never = 0, closed = 0;
    struct cc_watch *w;

    cc_store_watch(f->store, 0, on_grown, &first);
    cc_store_watch(f->store, 1, on_grown, &second);
    w = cc_store_watch(f->store, 0, on_grown, &never);
    cc_store_watch_cancel(f->store, w);
    t = cc_txn_begin(f->store, NULL);
    cc_txn_put(t, "user", S("a"), S("1"), NULL);
    assert_int_equal(commit(f, t), CC_OK); /* no log entry */
    assert_int_equal(first, 0);
    t = cc_txn_begin(f->store, NULL);
    note(t, "a", "made");
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(first, 1);
    assert_int_equal(second, 0);
    t = cc_txn_begin(f->store, NULL);
    note(t, "a", "seen");
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(second, 1);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_false(uv_loop_alive(&f->loop));
    cc_store_watch(f->store, 2, on_grown, &closed);
    fix_close(f);
    assert_int_equal(closed, CC_E_STATE);
    assert_int_equal(never, 0);
}

static bool at_once(void *arg)
{
    (void)arg;
    return true;
}

static void verify_can_be_stopped(void **state)
{
    struct fix *f = *state;
    struct cc_verified v;

    assert_int_equal(cc_store_verify(f->store, &v, at_once, NULL, NULL), CC_E_CANCELLED);
}

static void large_values(void **state)
{
    struct fix *f = *state;
    struct cc_txn *t = cc_txn_begin(f->store, NULL);
    size_t n = 3 << 20;
    char *big = malloc(n);
    struct cc_record r;

    memset(big, 'x', n);
    cc_txn_put(t, "user", S("a"), (struct cc_slice){ big, n }, NULL);
    cc_txn_log(t, "user", S("a"), S("made"), S(""), (struct cc_slice){ big, n });
    assert_int_equal(commit(f, t), CC_OK);
    assert_int_equal(cc_store_get(f->store, "user", S("a"), &r), CC_OK);
    assert_int_equal(r.text.len, n);
    assert_memory_equal(r.text.data, big, n);
    free(big);
}

static void names_and_keys(void **state)
{
    char long_key[CC_STORE_KEY_MAX + 1] = { 0 };

    (void)state;
    assert_true(cc_store_name_ok(S("by_name")));
    assert_false(cc_store_name_ok(S("")));
    assert_false(cc_store_name_ok(S("By")));
    assert_false(cc_store_name_ok((struct cc_slice){ "a\0b", 3 }));
    assert_true(cc_store_key_ok((struct cc_slice){ long_key, CC_STORE_KEY_MAX }));
    assert_false(cc_store_key_ok((struct cc_slice){ long_key, CC_STORE_KEY_MAX + 1 }));
    assert_false(cc_store_key_ok(S("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fix_setup, fix_teardown)
        T(put_get_del),           T(abort_writes_nothing), T(many_keys_in_one_update), T(index_entries),
        T(scans_in_order),        T(lists_one_kind),       T(logs_survive_deletion),   T(watchers_are_called),
        T(verify_can_be_stopped), T(large_values),         T(names_and_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
