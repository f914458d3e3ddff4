// e^x and what is made of it. Absolute error of sigmoid and tanh below 1e-6.
#pragma once

#include "simd/vectors.h"

namespace multibit {
namespace {

// e^x; infinity above 88.7, and NaN of NaN, which Highway's would make 0.
HWY_INLINE Floats Exp(Floats x) {
  const Floats bounded = hn::Min(x, hn::Set(kFloats, 90));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kFloats, bounded));
}

HWY_INLINE Floats Sigmoid(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// 1 - 2 / (e^2x + 1): near 0 the absolute error is small, not the relative one.
HWY_INLINE Floats Tanh(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Sub(one, hn::Div(hn::Set(kFloats, 2), hn::Add(Exp(hn::Add(x, x)), one)));
}

}  // namespace
}  // namespace multibit
