// The table of one tier.
#include "simd/tier.h"

namespace multibit {

using namespace MULTIBIT_TIER_SPACE;

const Kernels MULTIBIT_KERNELS = {
    MULTIBIT_TIER, QuantizeScratch, Quantize,    Dequantize,   Gemm,           GemvFloat, GemmRows,     LstmCell,
    GruCell,       LogSumExp,       Softmax,     SoftmaxBlock, SoftmaxColumns, Distill,   ReadWords,    CountBits,
    GemmMasked,    DropoutMasks,    Drop,        Add,          Scale,          Clip,      SumOfSquares, LstmForward,
    LstmBackward,  GruForward,      GruBackward, GemmDense};

}  // namespace multibit
