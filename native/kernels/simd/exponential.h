// e^x and what is made of it. Absolute error of sigmoid and tanh below 1e-6.
#pragma once

#include "simd/vectors.h"

namespace multibit {
namespace {

// e^x where x is below a bound, else e^bound; NaN of NaN, which Highway's would make 0.
HWY_INLINE Floats BoundedExp(Floats x, float bound) {
  const Floats bounded = hn::Min(x, hn::Set(kFloats, bound));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kFloats, bounded));
}

// e^x; infinity above 88.7.
HWY_INLINE Floats Exp(Floats x) { return BoundedExp(x, 90); }

// At least e^-40 (4e-18): of less, products would be denormals, with which the next step's are some 100 times slower.
HWY_INLINE Floats Sigmoid(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Div(one, hn::Add(one, BoundedExp(hn::Neg(x), 40)));
}

// 1 - 2 / (e^2x + 1): near 0 the absolute error is small, not the relative one.
HWY_INLINE Floats Tanh(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Sub(one, hn::Div(hn::Set(kFloats, 2), hn::Add(Exp(hn::Add(x, x)), one)));
}

}  // namespace
}  // namespace multibit
