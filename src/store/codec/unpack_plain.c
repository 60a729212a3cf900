/* Unpacking kernels for the instruction set that the whole program is built for: unpack.h. */
#define UNPACK_SET UNPACK_PLAIN
#define UNPACK_VECTOR_BYTES 16
#include "store/codec/unpack_kernels.h"
