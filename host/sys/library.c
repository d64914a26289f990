/* library.c - see library.h. */
#include "host/sys/library.h"

#include "host/sys/err.h"

#include <dlfcn.h>

int cc_library_load(const char *file, const struct cc_symbol *symbols, size_t n, void *into, struct cc_err *err)
{
    void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    size_t i;

    if (!lib)
        return cc_err_set(err, CC_E_UNSUPPORTED, "%s cannot be loaded: %s", file, dlerror());
    for (i = 0; i < n; i++) {
        void *f = dlsym(lib, symbols[i].name);

        if (!f)
            return cc_err_set(err, CC_E_UNSUPPORTED, "this %s has no %s", file, symbols[i].name);
        *(void **)((char *)into + symbols[i].at) = f;
    }
    return 0;
}
