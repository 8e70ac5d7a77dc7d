#include "stack.h"

#include <stddef.h>

/* Enough to run over the 128 KiB that some foreign-function interfaces give to a call. */
#define STACK_BYTES (600 * 1024)
#define PAGE_BYTES 4096

/* Page by page from the top. */
__attribute__((noinline)) unsigned stack_use(void) {
    volatile unsigned char pages[STACK_BYTES];
    unsigned sum = 0;
    for (size_t at = sizeof pages; at >= PAGE_BYTES; at -= PAGE_BYTES) pages[at - 1] = (unsigned char)(at >> 12);
    for (size_t at = sizeof pages; at >= PAGE_BYTES; at -= PAGE_BYTES) sum += pages[at - 1];
    return sum;
}
