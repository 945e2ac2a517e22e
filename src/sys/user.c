#include "sys/user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/text.h"
#include "sys/file.h"

#define PROC_MAX 8192

static uint64_t capabilities(void)
{
    static const char key[] = "CapEff:\t";
    A_BUF_AUTO struct a_buf text = {0};
    if (sys_file_read("/proc/self/status", PROC_MAX, &text, NULL) != 0)
        return 0;
    const char *line = strstr(text.ptr, key);
    return line != NULL ? strtoull(line + sizeof key - 1, NULL, 16) : 0;
}

/* Lines of "inside outside count". */
static bool ids_are_mapped(const char *path, uint32_t first, uint32_t count)
{
    A_BUF_AUTO struct a_buf text = {0};
    if (sys_file_read(path, PROC_MAX, &text, NULL) != 0)
        return false;
    for (struct a_view rest = a_buf_view(&text); rest.len > 0;) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        uint64_t numbers[3] = {0};
        for (int i = 0; i < 3; i++) {
            line = a_view_trim(line);
            if (!a_text_u64(a_view_split(line, ' ', &line), &numbers[i]))
                break;
        }
        if (first >= numbers[0] && (uint64_t)first + count <= numbers[0] + numbers[2])
            return true;
    }
    return false;
}

bool sys_user_may_switch(uint32_t first, uint32_t count)
{
    static const int needed[] = {CAP_SETUID,       CAP_SETGID, CAP_CHOWN,     CAP_FOWNER,
                                 CAP_DAC_OVERRIDE, CAP_KILL,   CAP_SYS_PTRACE};
    uint64_t wanted = 0;
    for (size_t i = 0; i < A_ARRAY_SIZE(needed); i++)
        wanted |= UINT64_C(1) << needed[i];
    return (capabilities() & wanted) == wanted && ids_are_mapped("/proc/self/uid_map", first, count) &&
           ids_are_mapped("/proc/self/gid_map", first, count);
}

int sys_user_give(const char *path, uint32_t uid, struct a_error *reterr)
{
    return lchown(path, uid, uid) == 0 ? 0
                                       : a_fail_errno(reterr, -errno, "cannot give %s to user %u", path, uid);
}

int sys_user_let_pass(const char *path, uint32_t gid, struct a_error *reterr)
{
    return lchown(path, (uid_t)-1, gid) == 0 && chmod(path, 0710) == 0
               ? 0
               : a_fail_errno(reterr, -errno, "cannot open %s to group %u", path, gid);
}

int sys_path_chmod(const char *path, mode_t mode, struct a_error *reterr)
{
    return chmod(path, mode) == 0 ? 0 : a_fail_errno(reterr, -errno, "cannot set the mode of %s", path);
}

bool sys_path_is_passable(const char *path)
{
    A_AUTOFREE char *copy = a_strdup(path);
    for (char *slash = strrchr(copy, '/'); slash != NULL; slash = strrchr(copy, '/')) {
        struct stat st;
        slash[slash == copy ? 1 : 0] = '\0';
        if (stat(copy, &st) != 0 || (st.st_mode & S_IXOTH) == 0)
            return false;
        if (slash == copy)
            return true;
    }
    return false;
}
