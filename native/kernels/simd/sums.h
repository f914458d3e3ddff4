// From counted differences of planes to the sums of a product, in the one order of docs/numerics.md.
#pragma once

#include "simd/words.h"

namespace multibit {
namespace {

// Floats of the rows in kV vectors of words.
template <int kV>
using RowTag = hn::FixedTag<float, kV * kRows>;

// (float)(elements - 2 differ) for each row.
template <int kV>
HWY_INLINE hn::Vec<RowTag<kV>> DotProducts(const WordVector* differ, int64_t elements) {
  const hn::Rebind<int32_t, RowTag<kV>> ints;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  if constexpr (kV == 2) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const hn::Vec<decltype(ints)> count{_mm512_permutex2var_epi32(differ[0].raw, even, differ[1].raw)};
    return hn::ConvertTo(RowTag<kV>(), hn::Sub(hn::Set(ints, static_cast<int32_t>(elements)), hn::Add(count, count)));
  } else
#endif
  {
    const hn::Rebind<uint32_t, WordTag> unsigned_ints;
    const auto count = hn::BitCast(ints, hn::TruncateTo(unsigned_ints, differ[0]));
    return hn::ConvertTo(RowTag<kV>(), hn::Sub(hn::Set(ints, static_cast<int32_t>(elements)), hn::Add(count, count)));
  }
}

// The coefficients of one plane, for the rows from a on; `block` floats lie between those of two blocks.
template <int kV>
HWY_INLINE hn::Vec<RowTag<kV>> RowCoefficients(const float* a, int64_t block) {
  if constexpr (kV == 2) {
    const hn::Half<RowTag<kV>> half;
    return hn::Combine(RowTag<kV>(), hn::LoadU(half, a + block), hn::LoadU(half, a));
  } else {
    return hn::LoadU(RowTag<kV>(), a);
  }
}

// sum += a c (elements - 2 differ) for each row.
template <int kV>
HWY_INLINE void AddPlanes(hn::Vec<RowTag<kV>> a, float c, const WordVector* differ, int64_t elements,
                          hn::Vec<RowTag<kV>>* sum) {
  const auto coefficient = hn::Mul(a, hn::Set(RowTag<kV>(), c));
  *sum = hn::Add(*sum, hn::Mul(coefficient, DotProducts<kV>(differ, elements)));
}

}  // namespace
}  // namespace multibit
