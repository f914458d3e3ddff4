// The table of one tier.
#include "simd/tier.h"

namespace multibit {

using namespace MULTIBIT_TIER_SPACE;

const Kernels MULTIBIT_KERNELS = {
    MULTIBIT_TIER, QuantizeScratch, Quantize,   Dequantize,  Gemm,     GemvFloat, GemvDense,
    LstmCell,      GruCell,         LogSumExp,  Softmax,     Distill,  ReadWords, CountBits,
    GemmMasked,    DropoutMasks,    Drop,       Add,         Scale,    Clip,      SumOfSquares,
    LstmForward,   LstmBackward,    GruForward, GruBackward, GemmDense};

}  // namespace multibit
