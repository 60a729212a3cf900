/* What hash.c and its forms for single instruction sets share. Layers: none. Threads: pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash64_avx2(const void *p, size_t n);
