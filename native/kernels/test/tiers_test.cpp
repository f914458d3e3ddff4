#include <cstdlib>
#include <string>

#include "support.h"

namespace multibit {
namespace {

TEST(Tiers, TheNamedOneIsUsed) {
  const char* const named = std::getenv("MULTIBIT_ISA");
  const Kernels* supported[16];
  const int count = SupportedKernels(supported, 16);
  ASSERT_GE(count, 1);
  EXPECT_STREQ("scalar", supported[0]->name);
  EXPECT_STREQ(named && *named ? named : supported[count - 1]->name, Tier().name);
}

TEST(Tiers, AnUnknownNameIsAnError) {
  const char* const named = std::getenv("MULTIBIT_ISA");
  const std::string before = named ? named : "";
  setenv("MULTIBIT_ISA", "avx9", 1);
  const char* error = nullptr;
  EXPECT_EQ(nullptr, SelectKernels(&error));
  ASSERT_NE(nullptr, error);
  const std::string message = error;
  EXPECT_NE(std::string::npos, message.find("MULTIBIT_ISA=avx9 ")) << message;
  EXPECT_NE(std::string::npos, message.find(" scalar")) << message;
  EXPECT_NE(std::string::npos, message.find(Tier().name)) << message;
  EXPECT_EQ(std::string::npos, message.find('\n')) << message;
  EXPECT_EQ(nullptr, SelectKernels(nullptr));
  setenv("MULTIBIT_ISA", std::string(10000, 'x').c_str(), 1);
  EXPECT_EQ(nullptr, SelectKernels(&error));
  EXPECT_LT(std::strlen(error), 256u);
  setenv("MULTIBIT_ISA", before.c_str(), 1);
  EXPECT_EQ(&Tier(), SelectKernels(nullptr));
}

TEST(Tiers, MethodsAllowTheirBits) {
  EXPECT_EQ(8, MaxBits(kAlternating));
  EXPECT_EQ(2, MaxBits(kOptimal));
  EXPECT_EQ(0, MaxBits(-1));
  EXPECT_EQ(0, MaxBits(kOptimal + 1));
}

}  // namespace
}  // namespace multibit
