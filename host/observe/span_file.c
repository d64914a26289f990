/* span_file.c - the file that the slots of spans are: made, mapped, and read when its process has died. */
#include "host/observe/span_slot.h"

#include "host/sys/err.h"
#include "host/sys/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The lock is the open file's, so that it ends with the process; nobody closes it before. All of it is there from the beginning: a
 * disk that is full is told of here, not by a signal later. */
int cc_span_file_make(const char *path, struct cc_span_head **head, struct cc_err *err)
{
    void *map = MAP_FAILED;
    int fd, rc = cc_lock_take(path, 0, &fd, err);

    if (rc)
        return rc;
    rc = ftruncate(fd, 0) != 0 ? errno : posix_fallocate(fd, 0, CC_SPAN_FILE);
    if (!rc && (map = mmap(NULL, CC_SPAN_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        rc = errno;
    if (rc) {
        unlink(path);
        close(fd);
        return cc_err_sys(err, rc, "%s", path);
    }
    *head = map;
    memcpy((*head)->magic, CC_SPAN_MAGIC, sizeof((*head)->magic));
    return CC_OK;
}

static bool told(const struct cc_span *slots, const struct cc_span *note)
{
    int i;

    for (i = 1; i <= CC_SPANS; i++)
        if (slots[i].state == CC_SLOT_DONE && memcmp(slots[i].id, note->id, sizeof(note->id)) == 0)
            return true;
    return false;
}

static int read_slots(const struct cc_span *s, int64_t last_ns, cc_span_adopt_fn adopt, cc_noted_fn noted, void *arg)
{
    int i, n = 0;

    for (i = 1; i <= CC_SPANS; i++) {
        if (s[i].state == CC_SLOT_FREE || !cc_span_sound(&s[i]))
            continue;
        if (s[i].state == CC_SLOT_NOTE) {
            if (!told(s, &s[i]))
                noted(arg, s[i].name);
            continue;
        }
        adopt(&s[i], last_ns);
        n++;
    }
    return n;
}

static int read_all(int fd, const char *path, cc_span_adopt_fn adopt, cc_noted_fn noted, void *arg, struct cc_err *err)
{
    const struct cc_span_head *head;
    struct stat st;
    int n = 0;

    if (fstat(fd, &st) != 0)
        return cc_err_sys(err, errno, "%s", path);
    if (st.st_size != CC_SPAN_FILE)
        return 0;
    head = mmap(NULL, CC_SPAN_FILE, PROT_READ, MAP_PRIVATE, fd, 0);
    if (head == MAP_FAILED)
        return cc_err_sys(err, errno, "%s", path);
    if (memcmp(head->magic, CC_SPAN_MAGIC, sizeof(head->magic)) == 0)
        n = read_slots((const struct cc_span *)(const void *)head, head->last_ns, adopt, noted, arg);
    munmap((void *)(uintptr_t)head, CC_SPAN_FILE);
    return n;
}

int cc_span_file_read(const char *path, cc_span_adopt_fn adopt, cc_noted_fn noted, void *arg, struct cc_err *err)
{
    int fd, rc = cc_lock_take(path, 0, &fd, err);

    if (rc)
        return rc;
    rc = read_all(fd, path, adopt, noted, arg, err);
    unlink(path);
    close(fd);
    return rc;
}
