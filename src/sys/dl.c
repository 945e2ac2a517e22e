#include "sys/dl.h"

#include <dlfcn.h>
#include <errno.h>

#include "base/alloc.h"

struct sys_dl {
    void *handle;
    char *path;
};

int sys_dl_open(const char *path, struct sys_dl **ret_dl, struct a_error *reterr)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        return a_fail(reterr, -ENOENT, A_CODE_OS, "cannot load %s: %s", path,
                      why != NULL ? why : "unknown reason");
    }
    struct sys_dl *dl = a_new(struct sys_dl);
    dl->handle = handle;
    dl->path = a_strdup(path);
    *ret_dl = dl;
    return 0;
}

int sys_dl_symbol(struct sys_dl *dl, const char *name, void **ret_symbol, struct a_error *reterr)
{
    (void)dlerror();
    void *symbol = dlsym(dl->handle, name);
    if (symbol == NULL)
        return a_fail(reterr, -ENOENT, A_CODE_OS, "%s has no symbol %s", dl->path, name);
    *ret_symbol = symbol;
    return 0;
}

void sys_dl_close(struct sys_dl *dl)
{
    if (dl == NULL)
        return;
    dlclose(dl->handle);
    a_free(dl->path);
    a_free(dl);
}
