/* The patterns of .astraignore, which are those of .gitignore. */
#include <string.h>

#include "artifact/pack.h"

/* [a-z], [!x]: whether `c` is in it; *at goes behind the ']'. False when there is no ']': then '[' is itself.
 */
static bool set_matches(struct a_view pattern, size_t *at, char c, bool *ret)
{
    size_t i = *at + 1;
    bool inside = false, not = i < pattern.len && (pattern.ptr[i] == '!' || pattern.ptr[i] == '^');
    i += not ;
    for (size_t start = i; i < pattern.len && (pattern.ptr[i] != ']' || i == start); i++) {
        char low = pattern.ptr[i], high = low;
        if (i + 2 < pattern.len && pattern.ptr[i + 1] == '-' && pattern.ptr[i + 2] != ']') {
            high = pattern.ptr[i + 2];
            i += 2;
        }
        inside = inside || (c >= low && c <= high);
    }
    if (i >= pattern.len)
        return false;
    *at = i + 1;
    *ret = inside != not ;
    return true;
}

/* One character of the pattern that is neither '*': steps both on. */
static bool one_matches(struct a_view pattern, size_t *at, char c)
{
    size_t p = *at;
    bool in_set;
    if (pattern.ptr[p] == '?') {
        *at = p + 1;
        return c != '/';
    }
    if (pattern.ptr[p] == '[' && set_matches(pattern, at, c, &in_set))
        return in_set && c != '/';
    if (pattern.ptr[p] == '\\' && p + 1 < pattern.len)
        p++;
    *at = p + 1;
    return pattern.ptr[p] == c;
}

/* Where a '*' was met, to come back to with one more character inside it. */
struct star {
    size_t pattern, text;
    bool set, deep; /* deep: '**', which goes over '/' */
};

/* Steps behind '*', '**' and '**' with its '/'. */
static size_t star_take(struct a_view pattern, size_t p, struct star *star, size_t text)
{
    bool deep = p + 1 < pattern.len && pattern.ptr[p + 1] == '*';
    p += deep ? 2 : 1;
    if (deep && p < pattern.len && pattern.ptr[p] == '/')
        p++; /* "a/" "**" "/b" matches a/b */
    *star = (struct star){p, text, true, deep};
    return p;
}

/* Greedy with coming back: a deep star is not left once a shallow one behind it fails across '/', so both are
 * kept. */
static bool glob_matches(struct a_view pattern, struct a_view text)
{
    struct star shallow = {0}, deep = {0};
    size_t p = 0, t = 0;
    while (t < text.len || p < pattern.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            struct star star;
            p = star_take(pattern, p, &star, t);
            if (star.deep) {
                deep = star;
                shallow.set = false;
            } else {
                shallow = star;
            }
            continue;
        }
        if (p < pattern.len && t < text.len && one_matches(pattern, &p, text.ptr[t])) {
            t++;
            continue;
        }
        if (shallow.set && shallow.text < text.len && text.ptr[shallow.text] != '/') {
            t = ++shallow.text;
            p = shallow.pattern;
        } else if (deep.set && deep.text < text.len) {
            t = ++deep.text;
            p = deep.pattern;
            shallow.set = false;
        } else {
            return false;
        }
    }
    return true;
}

static struct a_view last_name(struct a_view path)
{
    size_t i = path.len;
    while (i > 0 && path.ptr[i - 1] != '/')
        i--;
    return (struct a_view){path.ptr + i, path.len - i};
}

static bool pattern_matches(struct a_view pattern, struct a_view path, bool is_dir)
{
    if (pattern.len > 0 && pattern.ptr[pattern.len - 1] == '/') {
        if (!is_dir)
            return false;
        pattern.len--;
    }
    bool rooted = memchr(pattern.ptr, '/', pattern.len) != NULL;
    if (pattern.len > 0 && pattern.ptr[0] == '/')
        pattern = (struct a_view){pattern.ptr + 1, pattern.len - 1};
    return pattern.len > 0 && glob_matches(pattern, rooted ? path : last_name(path));
}

bool artifact_ignore_matches(struct a_view patterns, struct a_view path, bool is_dir)
{
    bool out = false;
    while (patterns.len > 0) {
        struct a_view line = a_view_split(patterns, '\n', &patterns);
        while (line.len > 0 && (unsigned char)line.ptr[line.len - 1] <= ' ')
            line.len--;
        bool back = line.len > 0 && line.ptr[0] == '!';
        if (back)
            line = (struct a_view){line.ptr + 1, line.len - 1};
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (out == back && pattern_matches(line, path, is_dir))
            out = !back;
    }
    return out;
}
