#include "prepack.h"

#include "support.h"

namespace multibit {
namespace {

const int64_t kColumns[] = {1, 31, 32, 33, 64, 100};

TEST(Prepack, LaysOutPanels) {
  for (int64_t cols : kColumns) {
    for (int64_t inner : {1, 7, 64}) {
      const std::vector<float> w = GaussianRows(inner * cols, cols);
      std::vector<float> transposed(w.size());
      for (int64_t k = 0; k < inner; ++k) {
        for (int64_t j = 0; j < cols; ++j) transposed[j * inner + k] = w[k * cols + j];
      }
      const int64_t panels = Panels(cols), panel = inner * kPanelColumns;
      ASSERT_EQ((cols + 31) / 32, panels);
      std::vector<float> whole(panels * panel, -9), of_transposed = whole;
      PrepackWeights(w.data(), inner, cols, false, 0, panels, whole.data());
      PrepackWeights(transposed.data(), inner, cols, true, 0, panels, of_transposed.data());
      for (int64_t i = 0; i < panels * panel; ++i) {
        const int64_t k = i % panel / kPanelColumns, j = i / panel * kPanelColumns + i % kPanelColumns;
        ASSERT_EQ(j < cols ? w[k * cols + j] : 0, whole[i]) << inner << " x " << cols;
      }
      ASSERT_EQ(whole, of_transposed);
      for (int64_t p = 0; p < panels; ++p) {
        std::vector<float> part(panels * panel, -9);
        PrepackWeights(w.data(), inner, cols, false, p, p + 1, part.data());
        for (int64_t i = 0; i < panels * panel; ++i) ASSERT_EQ(i / panel == p ? whole[i] : -9, part[i]);
      }
    }
  }
}

TEST(Prepack, ProductsMatchDouble) {
  const int64_t rows = 29;
  for (int64_t cols : kColumns) {
    for (int64_t inner : {1, 17, 330}) {
      const std::vector<float> x = GaussianRows(rows * inner, 1), w = GaussianRows(inner * cols, 2);
      const std::vector<float> bias = GaussianRows(cols, 3), before = GaussianRows(rows * cols, 4);
      std::vector<float> panels(Panels(cols) * inner * kPanelColumns);
      PrepackWeights(w.data(), inner, cols, false, 0, Panels(cols), panels.data());
      for (bool add : {false, true}) {
        const float* start = add ? nullptr : bias.data();
        std::vector<float> whole = before, part = before;
        GemmPrepacked(&Tier(), x.data(), inner, panels.data(), cols, start, 0, rows, whole.data());
        GemmPrepacked(&Tier(), x.data(), inner, panels.data(), cols, start, 3, 17, part.data());
        for (int64_t i = 0; i < rows * cols; ++i) {
          const int64_t r = i / cols, j = i % cols;
          double expected = add ? before[i] : bias[j], magnitude = std::fabs(expected);
          for (int64_t k = 0; k < inner; ++k) {
            const double term = static_cast<double>(x[r * inner + k]) * w[k * cols + j];
            expected += term;
            magnitude += std::fabs(term);
          }
          ASSERT_NEAR(expected, whole[i], 1e-5 * magnitude) << inner << " x " << cols;
          ASSERT_EQ(r >= 3 && r < 17 ? whole[i] : before[i], part[i]) << inner << " x " << cols;
        }
      }
    }
  }
}

TEST(Prepack, TouchesNothingOutside) {
  const int64_t rows = 5;
  for (Side side : kSides) {
    for (int64_t cols : kColumns) {
      for (int64_t inner : {1, 7, 64}) {
        Guarded<float> w(GaussianRows(inner * cols, 1), side), x(GaussianRows(rows * inner, 2), side);
        Guarded<float> bias(GaussianRows(cols, 3), side), out(rows * cols, side);
        Guarded<float> panels(Panels(cols) * inner * kPanelColumns, side);
        for (bool transposed : {false, true}) {
          PrepackWeights(w.data(), inner, cols, transposed, 0, Panels(cols), panels.data());
        }
        for (const float* start : {static_cast<const float*>(bias.data()), static_cast<const float*>(nullptr)}) {
          GemmPrepacked(&Tier(), x.data(), inner, panels.data(), cols, start, 0, rows, out.data());
        }
      }
    }
  }
}

}  // namespace
}  // namespace multibit
