// The tables that the dispatcher chooses from, one per tier. Those of other processors are not built.
#pragma once

#include "kernels.h"

namespace multibit {

extern const Kernels kScalarKernels;
extern const Kernels kSse4Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VpopcntdqKernels;
extern const Kernels kNeonKernels;

}  // namespace multibit
