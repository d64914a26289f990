"""ours.py UPPER: of the lines of a diff of two lists (deb.test.js: here), "ours: " before those that this overlay itself changed,
"theirs: " before those where its lower folder, in use by others, has become another. UPPER is the overlay's upper folder."""
import os
import stat
import sys

upper = sys.argv[1]


def hides(at):
    """Whether nothing of the lower folder is seen below it: a whiteout, or a folder that was made in the place of another."""
    if not stat.S_ISDIR(os.lstat(at).st_mode):
        return True
    return 'trusted.overlay.opaque' in os.listxattr(at) and os.getxattr(at, 'trusted.overlay.opaque') == b'y'


def ours(path):
    at = upper
    for part in path.strip('/').split('/'):
        at = os.path.join(at, part)
        if not os.path.lexists(at):
            return hides(os.path.dirname(at))
    return True


for line in sys.stdin:
    if line[:2] in ('< ', '> '):
        sign, *_, path = line.rstrip('\n').split(' ', 5)
        print('ours:' if ours(path) else 'theirs:', sign, path)
