/* Unpacking kernels for AVX-512, used only where the processor has it: unpack.h. */
#define UNPACK_SET UNPACK_AVX512
#define UNPACK_VECTOR_BYTES 64
#include "store/unpack_kernels.h"
