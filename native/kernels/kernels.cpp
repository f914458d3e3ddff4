#include "kernels.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "row_math.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace multibit {

extern const Kernels kScalarKernels, kSse4Kernels, kAvx2Kernels, kAvx512Kernels, kAvx512VpopcntdqKernels, kNeonKernels;

namespace {

struct Tier {
  const Kernels* kernels;
  bool (*supported)();
};

bool Always() { return true; }

#if defined(__x86_64__)

// Features that not every compiler's __builtin_cpu_supports knows. Their registers are those of AVX, which it checks.
bool HasF16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool HasVaes() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}

// Each tier needs exactly what CMakeLists.txt compiles it with.
bool HasSse4() {
  return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt") &&
         __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}

bool HasAvx2() {
  return HasSse4() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && HasF16c();
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}

bool HasAvx512Vpopcntdq() {
  return HasAvx512() && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bitalg") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("vpclmulqdq") &&
         __builtin_cpu_supports("gfni") && HasVaes();
}

#endif

// Plainest first.
constexpr Tier kTiers[] = {
    {&kScalarKernels, Always},
#if defined(__x86_64__)
    {&kSse4Kernels, HasSse4},     {&kAvx2Kernels, HasAvx2},
    {&kAvx512Kernels, HasAvx512}, {&kAvx512VpopcntdqKernels, HasAvx512Vpopcntdq},
#elif defined(__aarch64__)
    {&kNeonKernels, Always},
#endif
};

}  // namespace

CellKernels KernelsOf(const Kernels& kernels, int cell) {
  switch (cell) {
#define CELL(Name, ...) \
  case k##Name:         \
    return {kernels.Name##Step, kernels.Name##Forward, kernels.Name##Backward};
    MULTIBIT_CELLS(CELL)
#undef CELL
  }
  return {};
}

int FindCell(const char* name) {
  for (const CellKind& kind : kCells) {
    if (std::strcmp(name, kind.name) == 0) return static_cast<int>(&kind - kCells);
  }
  return -1;
}

int MaxBits(int method) {
  switch (method) {
    case kUniform:
    case kBalanced:
    case kGreedy:
    case kRefined:
    case kAlternating:
      return kMaxBits;
    case kOptimal:
      return 2;
    default:
      return 0;
  }
}

const Kernels* SelectKernels(const char** error) {
  const char* wanted = std::getenv("MULTIBIT_ISA");
  const bool any = wanted == nullptr || *wanted == '\0';
  const Kernels* best = nullptr;
  for (const Tier& tier : kTiers) {
    if ((any || std::strcmp(wanted, tier.kernels->name) == 0) && tier.supported()) best = tier.kernels;
  }
  if (best != nullptr || error == nullptr) return best;

  static thread_local char message[256];
  int length =
      std::snprintf(message, sizeof(message),
                    "MULTIBIT_ISA=%.64s is unknown or not supported by this CPU; unset it or choose one of:", wanted);
  for (const Tier& tier : kTiers) {
    if (!tier.supported()) continue;
    length += std::snprintf(message + length, sizeof(message) - length, " %s", tier.kernels->name);
  }
  *error = message;
  return nullptr;
}

int SupportedKernels(const Kernels** out, int capacity) {
  int count = 0;
  for (const Tier& tier : kTiers) {
    if (count < capacity && tier.supported()) out[count++] = tier.kernels;
  }
  return count;
}

}  // namespace multibit
