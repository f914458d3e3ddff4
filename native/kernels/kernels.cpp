#include "kernels.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "row_math.h"
#include "tiers.h"

namespace multibit {
namespace {

struct Tier {
  const Kernels* kernels;
  bool (*supported)();
};

bool Always() { return true; }

// Plainest first.
constexpr Tier kTiers[] = {
    {&kScalarKernels, Always},
};

}  // namespace

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
