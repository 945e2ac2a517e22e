/* astra store backup|restore, astra recover: copies of the store, and what follows when one was put back. */
#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "store/store.h"
#include "sys/clock.h"
#include "sys/file.h"

#define RECOVER_FOR_MS 30000
#define RECOVER_AGAIN_MS 1000

static int backup_run(struct cli_call *c, struct a_error *reterr)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    const char *file = c->words.items[0];
    if (sys_file_exists(file))
        return a_fail(reterr, -EEXIST, A_CODE_CONFLICT, "%s is there already: a backup overwrites nothing",
                      file);
    const struct net_blocking_request request = {.path = "/v1/store/backup", .download_path = file};
    int rc = cli_client_open(c, reterr);
    if (rc == 0)
        rc = net_blocking_send(c->http, &request, &answer, reterr);
    if (rc == 0 && !c->json)
        printf("the store is in %s; not in it are artifacts, the tokens, ca.key and store.key, which opens "
               "the credentials of "
               "Kubernetes clusters: files of the server's folder\n",
               file);
    return rc;
}

/* The server's folder: below the platform's of `astra up`, or the one that was given itself. */
static char *store_path(struct cli_call *c)
{
    const char *data = cli_data_dir(c);
    A_AUTOFREE char *below = a_asprintf("%s/server", data);
    return a_asprintf("%s/astra.db", sys_file_exists(below) ? below : data);
}

static int restore_run(struct cli_call *c, struct a_error *reterr)
{
    A_AUTOFREE char *path = store_path(c);
    A_AUTOFREE char *aside = NULL;
    int rc = store_restore(c->words.items[0], path, &aside, reterr);
    if (rc < 0 || c->json)
        return rc;
    printf("%s is %s now\n", path, c->words.items[0]);
    if (aside != NULL)
        printf("what was there is kept as %s\n", aside);
    printf("start the server, then `astra recover`: what runs may be newer than the copy\n");
    return 0;
}

int cli_store(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "store backup",
         .words = "FILE",
         .about = "Copies the store of a running server into a file",
         .min_words = 1,
         .max_words = 1,
         .run = backup_run},
        {.name = "store restore",
         .words = "FILE",
         .about = "Puts a copy back; the server must be stopped. --data: its folder, or that of astra up",
         .min_words = 1,
         .max_words = 1,
         .run = restore_run},
    };
    return cli_group_run("store", commands, A_ARRAY_SIZE(commands), argc, argv);
}

static bool some_later(const struct wire_value *items)
{
    wire_value_foreach(item, items)
    {
        if (wire_value_bool(wire_value_get(item, "later"), false))
            return true;
    }
    return false;
}

static int recover_print(struct cli_call *c, const struct wire_value *answer)
{
    int failed = 0;
    const struct wire_value *items = wire_value_get(answer, "items");
    if (c->json)
        cli_print_json(answer);
    else if (wire_value_count(items) == 0)
        printf("nothing to recover: the store is as new as what runs\n");
    wire_value_foreach(item, items)
    {
        failed += !wire_value_bool(wire_value_get(item, "recovered"), false);
        if (!c->json)
            printf("%s/%s: %s\n", cli_cell(c->arena, item, "namespace"), cli_cell(c->arena, item, "name"),
                   cli_cell(c->arena, item, "message"));
    }
    return failed > 0;
}

static int recover_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *answer;
    uint64_t until_ms = sys_clock_mono_ms() + RECOVER_FOR_MS;
    int rc;
    while ((rc = cli_request(c, "POST", "/v1/recover", NULL, NULL, &answer, reterr)) == 0 &&
           some_later(wire_value_get(answer, "items")) && sys_clock_mono_ms() < until_ms)
        sys_clock_sleep_ms(RECOVER_AGAIN_MS); /* nodes have 8 s to come back after a server's start */
    return rc == 0 ? recover_print(c, answer) : rc;
}

int cli_recover(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "recover",
        .about = "After a lost or restored store: takes over what runs, without touching it",
        .run = recover_run};
    return cli_command_run(&command, argc, argv);
}
