// Runs the kernels of scene_rasterizer.cu on a CPU, one thread of the grid after another: for tests.
// Compile with -ffp-contract=off: the source relies on no operation being fused.

#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#define __global__
#define __device__

struct Index {
    int x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

using std::ceil;
using std::fmax;
using std::fmin;
using std::sqrt;

static unsigned long long atomicMin(unsigned long long* address, unsigned long long value) {
    unsigned long long old = *address;
    *address = value < old ? value : old;
    return old;
}
static int atomicAdd(int* address, int value) {
    int old = *address;
    *address += value;
    return old;
}
static unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
static float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#include CUDA_SOURCE

template <class... A, std::size_t... I>
static void run(void (*kernel)(A...), int blocks, int threads, void** arguments, bool backwards,
                std::index_sequence<I...>) {
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (int n = 0; n < blocks; n++) {
        for (int m = 0; m < threads; m++) {
            blockIdx.x = backwards ? blocks - 1 - n : n;
            threadIdx.x = backwards ? threads - 1 - m : m;
            kernel(*static_cast<A*>(arguments[I])...);
        }
    }
}
template <class... A>
static int run(void (*kernel)(A...), int blocks, int threads, void** arguments, int count, bool backwards) {
    if (count != sizeof...(A)) {
        return 2;
    }
    run(kernel, blocks, threads, arguments, backwards, std::index_sequence_for<A...>());
    return 0;
}

// As cuLaunchKernel: an array of pointers to the arguments. 0, or 1: no such kernel, 2: another number of arguments.
extern "C" int launch(const char* name, int blocks, int threads, void** arguments, int count, int backwards) {
#define KERNEL(kernel) \
    if (!std::strcmp(name, #kernel)) return run(kernel, blocks, threads, arguments, count, backwards)
    KERNEL(draw_faces);
    KERNEL(draw_large);
    KERNEL(resolve);
    KERNEL(label);
    return 1;
}
