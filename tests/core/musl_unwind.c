/* SPDX-License-Identifier: MIT
 *
 * Debian's compiler for musl brings libgcc's unwinder as built for glibc, which
 * asks glibc where the unwind tables for an address are. This answers instead.
 */
#include <link.h>
#include <stdint.h>

/* As glibc declares it; the reserved words are its. */
struct dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end;
    struct link_map *link_map;
    void *eh_frame; /* the table that the linker sorted */
    unsigned long long reserved[7];
};

int _dl_find_object(void *address, struct dl_find_object *result);

struct search {
    uintptr_t address;
    struct dl_find_object *result;
};

static int
look(struct dl_phdr_info *object, size_t size, void *argument)
{
    struct search *search = argument;
    uintptr_t tables = 0, low = 0, high = 0;

    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + header->p_vaddr;

        if (header->p_type == PT_GNU_EH_FRAME)
            tables = start;
        if (header->p_type == PT_LOAD && search->address >= start &&
            search->address - start < header->p_memsz) {
            low = start;
            high = start + header->p_memsz;
        }
    }
    if (!tables || !high)
        return 0;
    *search->result = (struct dl_find_object){
        .map_start = (void *)low,
        .map_end = (void *)high,
        .eh_frame = (void *)tables,
    };
    return 1;
}

int
_dl_find_object(void *address, struct dl_find_object *result)
{
    struct search search = {(uintptr_t)address, result};

    return dl_iterate_phdr(look, &search) ? 0 : -1;
}
