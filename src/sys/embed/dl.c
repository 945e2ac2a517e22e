#include "sys/embed/dl.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sys_embed_dl_open(const char *path, struct sys_embed_dl **ret, char *why, size_t why_size)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        const char *text = dlerror();
        snprintf(why, why_size, "%s", text != NULL ? text : "unknown reason");
        return -ELIBACC;
    }
    *ret = handle;
    return 0;
}

void *sys_embed_dl_symbol(struct sys_embed_dl *dl, const char *name)
{
    return dlsym(dl, name);
}

int sys_embed_dl_folder_of(const void *address, char *ret, size_t size)
{
    Dl_info info;
    char path[PATH_MAX];
    /* the program's own name may be relative to a folder that is no longer the current one */
    bool known = dladdr(address, &info) != 0 && info.dli_fname != NULL && info.dli_fname[0] == '/';
    if (realpath(known ? info.dli_fname : "/proc/self/exe", path) == NULL)
        return -errno;
    char *slash = strrchr(path, '/');
    size_t len = (size_t)(slash - path);
    if (len >= size)
        return -ENAMETOOLONG;
    memcpy(ret, path, len);
    ret[len] = '\0';
    return 0;
}
