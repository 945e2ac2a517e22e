#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define ALIGN 16u
#define FIRST_BLOCK 4096u

struct a_arena_block {
    struct a_arena_block *next;
    size_t size;
    size_t used;
    _Alignas(ALIGN) char bytes[];
};

void a_arena_deinit(struct a_arena *a)
{
    while (a->head != NULL) {
        struct a_arena_block *next = a->head->next;
        a_free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void a_arena_reset(struct a_arena *a)
{
    while (a->head != NULL && a->head->next != NULL) {
        struct a_arena_block *next = a->head->next;
        a_free(a->head);
        a->head = next;
    }
    if (a->head != NULL)
        a->head->used = 0;
    a->used = 0;
}

static struct a_arena_block *block_add(struct a_arena *a, size_t size)
{
    size_t want = a->head == NULL ? FIRST_BLOCK : A_MIN(a->head->size * 2, (size_t)1 << 20);
    size_t total;
    if (!a_size_add(A_MAX(want, size), sizeof(struct a_arena_block), &total))
        return NULL;
    struct a_arena_block *block = a_try_alloc(total);
    if (block == NULL)
        return NULL;
    block->size = total - sizeof(struct a_arena_block);
    block->next = a->head;
    a->head = block;
    return block;
}

void *a_arena_try(struct a_arena *a, size_t size)
{
    size_t rounded, used;
    if (!a_size_add(size, ALIGN - 1, &rounded))
        return NULL;
    rounded &= ~(size_t)(ALIGN - 1);
    if (!a_size_add(a->used, rounded, &used) || (a->limit > 0 && used > a->limit))
        return NULL;
    struct a_arena_block *block = a->head;
    if (block == NULL || block->size - block->used < rounded)
        block = block_add(a, rounded);
    if (block == NULL)
        return NULL;
    void *p = block->bytes + block->used;
    block->used += rounded;
    a->used = used;
    return memset(p, 0, rounded);
}

void *a_arena_alloc(struct a_arena *a, size_t size)
{
    void *p = a_arena_try(a, size);
    a_assert(p != NULL);
    return p;
}

char *a_arena_strdup(struct a_arena *a, const char *s)
{
    return a_arena_strndup(a, s, strlen(s));
}

char *a_arena_strndup(struct a_arena *a, const char *s, size_t len)
{
    char *copy = a_arena_alloc(a, len + 1);
    memcpy(copy, s, len);
    return copy;
}

char *a_arena_printf(struct a_arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    a_assert(n >= 0);
    char *text = a_arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}
