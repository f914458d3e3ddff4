// The element-wise arithmetic of recurrent cells.
#include "simd/exponential.h"

namespace multibit {
namespace MULTIBIT_TIER_SPACE {

void LstmCell(const float* z, int64_t hidden, float* c, float* h) {
  for (int64_t j = 0; j < hidden; j += kFloatLanes) {
    const int64_t left = hidden - j;
    const Floats input = Sigmoid(LoadUpTo(z + j, left, 0));
    const Floats forget = Sigmoid(LoadUpTo(z + hidden + j, left, 0));
    const Floats candidate = Tanh(LoadUpTo(z + 2 * hidden + j, left, 0));
    const Floats output = Sigmoid(LoadUpTo(z + 3 * hidden + j, left, 0));
    const Floats cell = hn::MulAdd(forget, LoadUpTo(c + j, left, 0), hn::Mul(input, candidate));
    StoreUpTo(cell, c + j, left);
    StoreUpTo(hn::Mul(output, Tanh(cell)), h + j, left);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit
