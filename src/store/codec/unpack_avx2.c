/* Unpacking kernels for AVX2, used only where the processor has it: unpack.h. */
#define UNPACK_SET UNPACK_AVX2
#define UNPACK_VECTOR_BYTES 32
#include "store/codec/unpack_kernels.h"
