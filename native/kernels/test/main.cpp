// Runs the tests on the tier that MULTIBIT_ISA names.
#include <gtest/gtest.h>

#include <cstdio>

#include "kernels.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* error = nullptr;
  if (multibit::SelectKernels(&error) == nullptr) {
    std::fprintf(stderr, "SKIPPED: %s\n", error);
    return 77;
  }
  return RUN_ALL_TESTS();
}
