// Vectors of floats, and the bits that belong to them: what the kernels on Google Highway share. CMakeLists.txt
// compiles each source of this folder once per tier, with the tier's flags and
//   MULTIBIT_TIER          its name, for example "avx2"
//   MULTIBIT_TIER_SPACE    the namespace of its functions, for example avx2
//   MULTIBIT_KERNELS       its table, for example kAvx2Kernels
//   HWY_BASELINE_TARGETS   the Highway target that the flags are for
// Whatever is not in the tier's namespace lives in an unnamed one, and no std:: template is used: a function that two
// tiers share would be linked once, perhaps with instructions that the CPU lacks.
#pragma once

#include <hwy/base.h>

#include <cstring>

#include "tier.h"
// The flags say what the CPU has. Highway's pragmas would add to that (1.0.3: AVX-VNNI to HWY_AVX3_DL).
#undef HWY_PUSH_ATTRIBUTES
#undef HWY_POP_ATTRIBUTES
#define HWY_PUSH_ATTRIBUTES(targets)
#define HWY_POP_ATTRIBUTES
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

// For lambdas that work on vectors; left alone, the compiler calls some.
#define ALWAYS_INLINE __attribute__((always_inline))

namespace multibit {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using Floats = hn::Vec<FloatTag>;
using FloatMask = hn::Mask<FloatTag>;
constexpr FloatTag kFloats;
constexpr int kFloatLanes = hn::MaxLanes(FloatTag());
constexpr int kParts = 16 / kFloatLanes;  // vectors that hold 16 floats

inline int64_t Words(int64_t cols) { return (cols + 63) / 64; }

HWY_INLINE FloatMask MaskOf(uint64_t bits) {
  uint8_t bytes[8];
  std::memcpy(bytes, &bits, 8);
  return hn::LoadMaskBits(kFloats, bytes);
}

HWY_INLINE uint64_t BitsOf(FloatMask mask) {
  uint8_t bytes[8];
  hn::StoreMaskBits(kFloats, mask, bytes);
  if constexpr (kFloatLanes <= 8) return bytes[0];
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return bits;
}

// +1 or -1 times x.
HWY_INLINE Floats Signed(FloatMask positive, Floats x) { return hn::IfThenElse(positive, x, hn::Neg(x)); }

// Calls f(part, bit, elements bit...) for the vectors of 64 floats; part counts the vectors of each 16.
template <typename Function>
HWY_INLINE void ForEachVector(const float* elements, const Function& f) {
  for (int bit = 0; bit < 64; bit += 16) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) {
      const int at = bit + part * kFloatLanes;
      f(part, at, hn::LoadU(kFloats, elements + at));
    }
  }
}

template <class D>
HWY_INLINE float SumTree(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    float s[4];
    hn::StoreU(v, d, s);
    return (s[0] + s[2]) + (s[1] + s[3]);
  } else {
    const hn::Half<D> half;
    return SumTree(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// A sum in the one order that every tier keeps: 16 partial sums and a tree.
class FixedOrderSum {
 public:
  HWY_INLINE FixedOrderSum() {
    for (Floats& part : parts_) part = hn::Zero(kFloats);
  }
  HWY_INLINE void Add(int part, Floats x) { parts_[part] = hn::Add(parts_[part], x); }
  HWY_INLINE float Total() {
    for (int half = kParts / 2; half > 0; half /= 2) {
      for (int part = 0; part < half; ++part) Add(part, parts_[part + half]);
    }
    return SumTree(kFloats, parts_[0]);
  }

 private:
  Floats parts_[kParts];
};

// The first `count` floats at p, then `fill`; never reads past them.
HWY_INLINE Floats LoadUpTo(const float* p, int64_t count, float fill) {
  if (count >= kFloatLanes) return hn::LoadU(kFloats, p);
#if HWY_MEM_OPS_MIGHT_FAULT
  float buffer[kFloatLanes];
  for (float& x : buffer) x = fill;
  std::memcpy(buffer, p, count * sizeof(float));
  return hn::LoadU(kFloats, buffer);
#else
  const FloatMask there = hn::FirstN(kFloats, static_cast<size_t>(count));
  return hn::IfThenElse(there, hn::MaskedLoad(there, kFloats, p), hn::Set(kFloats, fill));
#endif
}

HWY_INLINE void StoreUpTo(Floats v, float* p, int64_t count) {
  if (count >= kFloatLanes) return hn::StoreU(v, kFloats, p);
#if HWY_MEM_OPS_MIGHT_FAULT
  float buffer[kFloatLanes];
  hn::StoreU(v, kFloats, buffer);
  std::memcpy(p, buffer, count * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(kFloats, static_cast<size_t>(count)), kFloats, p);
#endif
}

// Calls f with the vectors of n floats: with their place and how many floats are left from there on.
template <typename Function>
HWY_INLINE void ForEachPlace(int64_t n, const Function& f) {
  for (int64_t j = 0; j < n; j += kFloatLanes) f(j, n - j);
}

}  // namespace
}  // namespace multibit
