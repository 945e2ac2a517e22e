/* A file that is replaced whole, as sys_file_write_atomic() does it: written beside the old one, synced,
 * renamed, the folder synced. A crash in between leaves the old file or the new one, and what was written of
 * a file that was not synced is torn: it never has the name, so nobody reads it. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "lib/sim.h"

void disk_write(struct sim *sim, struct disk *disk, int owner, char *text, sim_run_fn *renamed,
                sim_run_fn *done, const void *data, size_t size)
{
    a_assert(disk->writing == NULL);
    disk->writing = text;
    disk->renamed = false;
    uint64_t at = sim_between(&sim->life_random, 1, 6);
    sim_after(sim, owner, at, renamed, data, size);
    sim_after(sim, owner, at + sim_between(&sim->life_random, 0, 2), done, data, size);
}

void disk_renamed(struct disk *disk)
{
    disk->renamed = disk->writing != NULL;
}

void disk_synced(struct disk *disk)
{
    a_assert(disk->writing != NULL && disk->renamed);
    a_free(disk->text);
    disk->text = a_steal(&disk->writing);
    disk->renamed = false;
}

void disk_crash(struct sim *sim, struct disk *disk, bool machine)
{
    if (disk->writing == NULL)
        return;
    bool there = disk->renamed && !(machine && sim_chance(&sim->life_random, 0.5));
    sim->counts[there ? COUNT_UNTOLD : COUNT_TORN]++;
    if (there)
        disk_synced(disk);
    a_free(a_steal(&disk->writing));
    disk->renamed = false;
}

void disk_deinit(struct disk *disk)
{
    a_free(a_steal(&disk->text));
    a_free(a_steal(&disk->writing));
}
