/* A temporary folder with files in it, removed at the end. */
#ifndef TFCC_FOLDER_H
#define TFCC_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

struct folder {
    char path[64];
    char text[400]; /* what folder_path() last made */
};

static void folder_init(struct folder *f)
{
    strcpy(f->path, "/tmp/test-tfcc-XXXXXX");
    a_assert(mkdtemp(f->path) != NULL);
}

static const char *folder_path(struct folder *f, const char *name)
{
    snprintf(f->text, sizeof f->text, "%s/%s", f->path, name);
    return f->text;
}

static A_UNUSED void folder_write(struct folder *f, const char *name, const void *bytes, size_t len)
{
    int fd = open(folder_path(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    a_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

/* How many entries end in `suffix`; copies the name of the last to `ret_name` (256 bytes) unless NULL. */
static A_UNUSED int folder_count(const struct folder *f, const char *suffix, char *ret_name)
{
    DIR *dir = opendir(f->path);
    struct dirent *entry;
    int n = 0;
    a_assert(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), m = strlen(suffix);
        if (len < m || strcmp(entry->d_name + len - m, suffix) != 0 || entry->d_name[0] == '.')
            continue;
        n++;
        if (ret_name != NULL)
            snprintf(ret_name, 256, "%s", entry->d_name);
    }
    closedir(dir);
    return n;
}

/* One level of folders inside is removed, too. */
static void folder_deinit(struct folder *f)
{
    DIR *dir = opendir(f->path);
    struct dirent *entry;
    a_assert(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct folder inner;
        struct stat st;
        const char *path = folder_path(f, entry->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            snprintf(inner.path, sizeof inner.path, "%.63s", path);
            folder_deinit(&inner);
        } else {
            unlink(path);
        }
    }
    closedir(dir);
    rmdir(f->path);
}

#endif
