// What the Java binding calls besides the headers as they are.
#pragma once

#include <cstring>

#include "kernels.h"

namespace multibit {

// Each kernel as a function: Name(kernels, arguments...).
#define KERNEL(result, Name, ...)                              \
  template <typename... Arguments>                             \
  result Name(const Kernels* kernels, const Arguments&... a) { \
    return kernels->Name(a...);                                \
  }
#include "kernel_list.h"

// The tiers that this CPU supports, plainest first; null past the last.
inline const Kernels* SupportedTier(int index) {
  const Kernels* tiers[16];
  return index >= 0 && index < SupportedKernels(tiers, 16) ? tiers[index] : nullptr;
}

inline const char* TierName(const Kernels* kernels) { return kernels->name; }

// Calls a function of another library, whose address the caller found by its name.
inline const char* CallForText(const void* function) {
  const char* (*call)();
  std::memcpy(&call, &function, sizeof(call));
  return call();
}

inline int CallForNumber(const void* function) {
  int (*call)();
  std::memcpy(&call, &function, sizeof(call));
  return call();
}

}  // namespace multibit
