// The scene rasteriser for a GPU: the algorithm of rasterizer_kernels.py, operation by operation in double precision.
// Compiled without fused multiply-add (see scene_rasterizer_cuda.py) it gives the same bits as the CPU.
//
// Every pixel holds one 64-bit key, ~bits(inverse depth) << 32 | face. Complemented bits of a positive float fall as the
// float rises, so the least key is the nearest surface, and the lower face where two are equally near: what atomicMin
// leaves does not depend on the order in which the threads come.
//
// The kernels take pointers, ints and doubles only. No headers, so that NVRTC needs nothing but this text; a C++
// compiler can read it too, with the few CUDA words defined first.

#define SMALL_BOX 64            // pixels: larger triangles are left to draw_large, where a whole block shares each one
#define POSITIVE 2.2250738585072014e-308  // least number that an edge function may be that may not be zero

struct Corner {
    double u, v, w;  // pixel, inverse depth
};

struct Triangle {
    Corner corner[3];
    int left, right, top, bottom;  // columns left..right-1 and rows top..bottom-1 hold all pixels it owns
};

struct Plane {
    double a[3], b[3], c[3], threshold[3];  // edge functions a u + (b v + c), and what they must reach
    double wx, wy, w_low, w_high;           // slope and range of the inverse depth
};

__device__ inline int cell(double x, int limit) { return (int)ceil(fmin(fmax(x, 0.0), (double)limit)); }

// The scene that owns a face: the last s with face_start[s] <= face among those that own any.
__device__ inline int scene_of(const long long* face_start, int scenes, int face) {
    int low = 0, high = scenes;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (face_start[middle] <= face) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// Project a face, cut it at the near plane and give the triangles that are left: 0, 1 or 2.
__device__ inline int visible_triangles(const float* vertices, const int* faces, int face, const double* camera,
                                        double near, int cull, int width, int height, Triangle* out) {
    const double fx = camera[0], fy = camera[1], cx = camera[2], cy = camera[3];
    double point[3][3];
    bool front[3];
    int behind = 0;
    for (int n = 0; n < 3; n++) {
        const float* p = vertices + 3ll * faces[3ll * face + n];
        double x = p[0], y = p[1], z = p[2];
        if (!(x * 0.0 + y * 0.0 + z * 0.0 == 0.0)) {
            return 0;
        }
        point[n][0] = x;
        point[n][1] = y;
        point[n][2] = z;
        front[n] = z > near;
        behind += !front[n];
    }
    if (behind == 3) {
        return 0;
    }
    Corner polygon[4];
    int count = 0;
    for (int n = 0; n < 3; n++) {
        int m = (n + 1) % 3;
        if (front[n]) {
            double w = 1.0 / point[n][2];
            polygon[count].u = fx * (point[n][0] * w) + cx;
            polygon[count].v = fy * (point[n][1] * w) + cy;
            polygon[count++].w = w;
        }
        if (front[n] != front[m]) {  // from the lower vertex to the higher one: both faces of an edge cut it alike
            bool swap = faces[3ll * face + n] > faces[3ll * face + m];
            const double* p = point[swap ? m : n];
            const double* q = point[swap ? n : m];
            double t = (near - p[2]) / (q[2] - p[2]);
            double x = p[0] + t * (q[0] - p[0]), y = p[1] + t * (q[1] - p[1]), w = 1.0 / near;
            polygon[count].u = fx * (x * w) + cx;
            polygon[count].v = fy * (y * w) + cy;
            polygon[count++].w = w;
        }
    }
    int triangles = 0;
    for (int n = 2; n < count; n++) {
        Corner p = polygon[0], q = polygon[n - 1], r = polygon[n];
        double area = (q.u - p.u) * (r.v - p.v) - (q.v - p.v) * (r.u - p.u);
        if (area == 0.0 || (cull && area > 0.0)) {
            continue;
        }
        Triangle& t = out[triangles];
        t.left = cell(fmin(fmin(p.u, q.u), r.u), width);
        t.right = cell(fmax(fmax(p.u, q.u), r.u), width);
        t.top = cell(fmin(fmin(p.v, q.v), r.v), height);
        t.bottom = cell(fmax(fmax(p.v, q.v), r.v), height);
        t.corner[0] = p;
        t.corner[1] = q;
        t.corner[2] = r;
        triangles += t.left < t.right && t.top < t.bottom;
    }
    return triangles;
}

__device__ inline Plane plane_of(const Triangle& t) {
    const Corner *p = t.corner, *q = t.corner + 1, *r = t.corner + 2;
    double area = (q->u - p->u) * (r->v - p->v) - (q->v - p->v) * (r->u - p->u);
    double s = area > 0.0 ? 1.0 : -1.0;  // makes the edge functions positive inside
    Plane plane;
    for (int n = 0; n < 3; n++) {  // edge n lies opposite corner n
        const Corner &from = t.corner[(n + 1) % 3], &to = t.corner[(n + 2) % 3];
        plane.a[n] = s * (from.v - to.v);
        plane.b[n] = s * (to.u - from.u);
        plane.c[n] = s * (from.u * to.v - to.u * from.v);
        bool owns = plane.a[n] > 0.0 || (plane.a[n] == 0.0 && plane.b[n] > 0.0);  // top-left rule
        plane.threshold[n] = owns ? 0.0 : POSITIVE;
    }
    double scale = 1.0 / (s * area);
    plane.wx = (plane.a[1] * (q->w - p->w) + plane.a[2] * (r->w - p->w)) * scale;
    plane.wy = (plane.b[1] * (q->w - p->w) + plane.b[2] * (r->w - p->w)) * scale;
    plane.w_low = fmin(fmin(p->w, q->w), r->w);
    plane.w_high = fmax(fmax(p->w, q->w), r->w);
    return plane;
}

__device__ inline void draw_pixel(const Triangle& t, const Plane& plane, int u, int v, int face,
                                  unsigned long long* key) {
    for (int n = 0; n < 3; n++) {
        if (!(plane.a[n] * u + (plane.b[n] * v + plane.c[n]) >= plane.threshold[n])) {
            return;
        }
    }
    const Corner& p = t.corner[0];
    double w = (p.w + plane.wy * (v - p.v)) + plane.wx * (u - p.u);
    w = fmin(fmax(w, plane.w_low), plane.w_high);
    unsigned int bits = __float_as_uint((float)w);
    atomicMin(key, ((unsigned long long)(~bits) << 32) | (unsigned int)face);
}

// One thread per face. Small triangles are drawn; of the others, 2 * face + number of the triangle goes into ``large``
// [2 F], and their count is added to ``large_count`` [1], which must be 0 before. ``keys`` [S, H, W] must be all ones.
extern "C" __global__ void draw_faces(const float* vertices, const int* faces, int face_count,
                                      const long long* face_start, int scenes, const double* cameras, double near,
                                      int cull, int width, int height, unsigned long long* keys, int* large,
                                      int* large_count) {
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= face_count) {
        return;
    }
    int face = (int)index;
    int scene = scene_of(face_start, scenes, face);
    unsigned long long* image = keys + (long long)scene * width * height;
    Triangle triangles[2];
    int count = visible_triangles(vertices, faces, face, cameras + 4 * scene, near, cull, width, height, triangles);
    for (int n = 0; n < count; n++) {
        const Triangle& t = triangles[n];
        if ((long long)(t.right - t.left) * (t.bottom - t.top) > SMALL_BOX) {
            large[atomicAdd(large_count, 1)] = 2 * face + n;
            continue;
        }
        Plane plane = plane_of(t);
        for (int v = t.top; v < t.bottom; v++) {
            for (int u = t.left; u < t.right; u++) {
                draw_pixel(t, plane, u, v, face, image + (long long)v * width + u);
            }
        }
    }
}

// One block per large triangle, as many in turn as it takes.
extern "C" __global__ void draw_large(const float* vertices, const int* faces, const long long* face_start, int scenes,
                                      const double* cameras, double near, int cull, int width, int height,
                                      const int* large, const int* large_count, unsigned long long* keys) {
    for (int n = blockIdx.x; n < *large_count; n += gridDim.x) {
        int face = large[n] / 2;
        int scene = scene_of(face_start, scenes, face);
        unsigned long long* image = keys + (long long)scene * width * height;
        Triangle triangles[2];
        visible_triangles(vertices, faces, face, cameras + 4 * scene, near, cull, width, height, triangles);
        const Triangle& t = triangles[large[n] % 2];
        Plane plane = plane_of(t);
        int columns = t.right - t.left, pixels = columns * (t.bottom - t.top);
        for (int pixel = threadIdx.x; pixel < pixels; pixel += blockDim.x) {
            int u = t.left + pixel % columns, v = t.top + pixel / columns;
            draw_pixel(t, plane, u, v, face, image + (long long)v * width + u);
        }
    }
}

// One thread per pixel: what the keys say. ``pixels`` = S H W.
extern "C" __global__ void resolve(const unsigned long long* keys, int pixels, const int* face_object, float* depth,
                                   int* object, int* face) {
    long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= pixels) {
        return;
    }
    unsigned int bits = ~(unsigned int)(keys[n] >> 32);
    float w = __uint_as_float(bits);
    bool seen = keys[n] != ~0ull && w > 0.0f;
    int index = (int)(unsigned int)keys[n];
    depth[n] = seen ? 1.0f / w : 0.0f;
    object[n] = seen ? face_object[index] : -1;
    face[n] = seen ? index : -1;
}

// One thread per pixel: the fields of SurfaceLabels. ``pixels`` = S H W.
extern "C" __global__ void label(const int* face, int pixels, int width, int height, const float* vertices,
                                 const int* faces, const double* cameras, const int* body_vertex,
                                 const unsigned char* part, const float* canonical, float* barycentric, int* vertex,
                                 unsigned char* pixel_part, float* pixel_canonical, float* normal) {
    long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= pixels) {
        return;
    }
    vertex[n] = -1;
    pixel_part[n] = 255;
    for (int axis = 0; axis < 3; axis++) {
        barycentric[3 * n + axis] = pixel_canonical[3 * n + axis] = normal[3 * n + axis] = 0.0f;
    }
    if (face[n] < 0) {
        return;
    }
    const double* camera = cameras + 4 * (n / ((long long)width * height));
    double dx = ((int)(n % width) - camera[2]) * (1.0 / camera[0]);
    double dy = ((int)(n / width % height) - camera[3]) * (1.0 / camera[1]);
    const int* corner = faces + 3ll * face[n];
    const float *p = vertices + 3ll * corner[0], *q = vertices + 3ll * corner[1], *r = vertices + 3ll * corner[2];
    // corners moved along the ray into the plane z = 0
    double ax = p[0] - dx * p[2], ay = p[1] - dy * p[2];
    double bx = q[0] - dx * q[2], by = q[1] - dy * q[2];
    double cx = r[0] - dx * r[2], cy = r[1] - dy * r[2];
    double wa = bx * cy - by * cx, wb = cx * ay - cy * ax, wc = ax * by - ay * bx;
    double sign = wa + wb + wc < 0.0 ? -1.0 : 1.0;
    wa = fmax(sign * wa, 0.0), wb = fmax(sign * wb, 0.0), wc = fmax(sign * wc, 0.0);
    double total = wa + wb + wc;
    double scale = 1.0 / total;
    wa = total > 0.0 ? wa * scale : 1.0;  // 1, 0, 0 where the triangle is seen exactly edge-on
    wb = total > 0.0 ? wb * scale : 0.0;
    wc = total > 0.0 ? wc * scale : 0.0;
    barycentric[3 * n] = (float)wa;
    barycentric[3 * n + 1] = (float)wb;
    barycentric[3 * n + 2] = (float)wc;
    int nearest = corner[wa >= wb && wa >= wc ? 0 : (wb >= wc ? 1 : 2)];
    vertex[n] = body_vertex[nearest];
    pixel_part[n] = part[nearest];
    if (body_vertex[nearest] >= 0) {
        for (int axis = 0; axis < 3; axis++) {
            pixel_canonical[3 * n + axis] =
                (float)(wa * canonical[3ll * corner[0] + axis] + wb * canonical[3ll * corner[1] + axis] +
                        wc * canonical[3ll * corner[2] + axis]);
        }
    }
    double ox = p[0], oy = p[1], oz = p[2];
    bx = q[0] - ox, by = q[1] - oy, cx = r[0] - ox, cy = r[1] - oy;
    double bz = q[2] - oz, cz = r[2] - oz;
    double nx = by * cz - bz * cy, ny = bz * cx - bx * cz, nz = bx * cy - by * cx;
    double length = sqrt(nx * nx + ny * ny + nz * nz);
    double towards = nx * ox + ny * oy + nz * oz > 0.0 ? -1.0 : 1.0;
    scale = length > 0.0 ? towards / length : 0.0;
    normal[3 * n] = (float)(nx * scale);
    normal[3 * n + 1] = (float)(ny * scale);
    normal[3 * n + 2] = (float)(nz * scale);
}
