/* Feeds every file of a corpus folder to a fuzz target once: what libFuzzer found stays found, under any
 * compiler. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads into an allocation of exactly the file's size, so that a sanitizer sees a read past its end. */
static uint8_t *file_read(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        goto fail;
    long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0)
        goto fail;
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        free(data);
        goto fail;
    }
    fclose(file);
    *ret_size = (size_t)size;
    return data;
fail:
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    return NULL;
}

static int input_run(const char *folder, const char *name)
{
    char path[4096];
    size_t size;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return -1;
    uint8_t *data = file_read(path, &size);
    if (data == NULL)
        return -1;
    fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    int n = 0, failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        failed |= input_run(argv[1], entry->d_name);
        n++;
    }
    closedir(folder);
    if (n == 0)
        fprintf(stderr, "%s: no inputs\n", argv[1]);
    return n == 0 || failed != 0;
}
