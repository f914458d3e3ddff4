#include <array>

#include "support.h"

namespace multibit {
namespace {

// Against double and, for the gradient, finite differences of double.
TEST(Lstm, StepAndGradientMatchDouble) {
  for (int64_t units : {1, 7, 16, 17, 300}) {
    const int64_t batch = 3, n = batch * units;
    const std::vector<float> sums = GaussianRows(4 * n, 1), previous = GaussianRows(n, 2);
    const std::vector<float> dh = GaussianRows(n, 3), flows_back = GaussianRows(n, 4);
    std::vector<float> gates = sums, hidden(2 * n), cell = previous, cell_tanh(n);
    cell.resize(2 * n);
    std::vector<float> dh_of_step = dh, dc = flows_back, dz(4 * n);
    const CellStates states = {.batch = batch,
                               .units = units,
                               .gates = gates.data(),
                               .recurrent = nullptr,
                               .hidden = hidden.data(),
                               .cell = cell.data(),
                               .cell_tanh = cell_tanh.data()};
    const CellGradients gradients = {
        .hidden = dh_of_step.data(), .carried = dc.data(), .gates = dz.data(), .recurrent = nullptr};
    Tier().LstmForward(states, 0, 1);
    Tier().LstmForward(states, 1, batch);
    Tier().LstmBackward(states, gradients, 0, batch);
    constexpr LstmGates kGates = {.input = 3, .forget = 1, .candidate = 0, .output = 2};  // DL4J's
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = i / units * 4 * units + i % units;
      const auto next_cell = [&](const std::array<double, 4>& z, double c0) {
        return Sigmoid(z[kGates.forget]) * c0 + Sigmoid(z[kGates.input]) * std::tanh(z[kGates.candidate]);
      };
      const auto loss = [&](const std::array<double, 4>& z, double c0) {
        const double c = next_cell(z, c0);
        return dh[i] * Sigmoid(z[kGates.output]) * std::tanh(c) + flows_back[i] * c;
      };
      std::array<double, 4> z;
      for (int gate = 0; gate < 4; ++gate) z[gate] = sums[at + gate * units];
      const double c = next_cell(z, previous[i]);
      ASSERT_NEAR(c, cell[n + i], 1e-5);
      ASSERT_NEAR(std::tanh(c), cell_tanh[i], 1e-5);
      ASSERT_NEAR(Sigmoid(z[kGates.output]) * std::tanh(c), hidden[n + i], 1e-5);
      const double step = 1e-6;
      for (int gate = 0; gate < 4; ++gate) {
        std::array<double, 4> high = z, low = z;
        high[gate] += step;
        low[gate] -= step;
        const double slope = (loss(high, previous[i]) - loss(low, previous[i])) / (2 * step);
        ASSERT_NEAR(slope, dz[at + gate * units], 1e-5 * (1 + std::fabs(slope)));
      }
      const double slope = (loss(z, previous[i] + step) - loss(z, previous[i] - step)) / (2 * step);
      ASSERT_NEAR(slope, dc[i], 1e-5 * (1 + std::fabs(slope)));
    }
  }
}

TEST(Lstm, InferenceMatchesDouble) {
  for (int64_t units : {1, 15, 16, 17, 300, 4001}) {
    // From far below to far above saturation, finely around zero.
    std::vector<float> z(4 * units), c(units), h(units);
    const std::vector<float> recurrent = GaussianRows(4 * units, 1);
    for (int64_t j = 0; j < units; ++j) {
      const double t = units == 1 ? 0.3 : 2.0 * j / (units - 1) - 1;
      z[j] = static_cast<float>(t * 20);
      z[units + j] = static_cast<float>(-t * 200);
      z[2 * units + j] = static_cast<float>(t * t * t * 120);
      z[3 * units + j] = static_cast<float>(std::sin(9 * t) * 10);
      c[j] = static_cast<float>(std::cos(7 * t));
    }
    const std::vector<float> before = c;
    Tier().LstmStep(z.data(), recurrent.data(), units, c.data(), h.data());
    for (int64_t i = 0; i < 4 * units; ++i) z[i] += recurrent[i];
    for (int64_t j = 0; j < units; ++j) {
      const double cell =
          Sigmoid(z[units + j]) * before[j] + Sigmoid(z[j]) * std::tanh(static_cast<double>(z[2 * units + j]));
      ASSERT_NEAR(cell, c[j], 2e-6) << j;
      ASSERT_NEAR(Sigmoid(z[3 * units + j]) * std::tanh(cell), h[j], 3e-6) << j;
    }
  }
}

// With the other gates at their ends, one function at a time.
TEST(Lstm, GatesAreWithinOneMillionth) {
  const int64_t units = 20000;
  const float open = 100, shut = -100;
  std::vector<float> z(4 * units), recurrent(4 * units, 0), c(units), h(units);
  for (int64_t j = 0; j < units; ++j) {
    z[j] = open;
    z[units + j] = shut;
    z[2 * units + j] = static_cast<float>((j - units / 2) * 1e-3);
    z[3 * units + j] = z[2 * units + j];
  }
  Tier().LstmStep(z.data(), recurrent.data(), units, c.data(), h.data());
  for (int64_t j = 0; j < units; ++j) {
    ASSERT_NEAR(std::tanh(static_cast<double>(z[2 * units + j])), c[j], 1e-6) << z[2 * units + j];
  }
  for (int64_t j = 0; j < units; ++j) {
    z[2 * units + j] = open;
    c[j] = 0;
  }
  Tier().LstmStep(z.data(), recurrent.data(), units, c.data(), h.data());
  for (int64_t j = 0; j < units; ++j) {
    ASSERT_NEAR(Sigmoid(z[3 * units + j]) * std::tanh(1.0), h[j], 1.5e-6) << z[3 * units + j];
  }
}

// Products with denormals are slow.
TEST(Lstm, ShutGatesMakeNoDenormals) {
  const int64_t units = 1000;
  std::vector<float> z(4 * units, 100), recurrent(4 * units, 0), c(units, 1e-6f), h(units);
  for (int64_t j = 0; j < units; ++j) {
    z[j] = -1000;
    z[3 * units + j] = static_cast<float>(-0.11 * j);
  }
  Tier().LstmStep(z.data(), recurrent.data(), units, c.data(), h.data());
  for (int64_t j = 0; j < units; ++j) ASSERT_TRUE(std::isnormal(h[j]) || h[j] == 0) << z[3 * units + j];
}

TEST(Lstm, NanStaysNan) {
  const int64_t units = 17;
  for (int sum = 0; sum < 8; ++sum) {
    std::vector<float> sums(8 * units, 0.5f), c(units, 0.5f), h(units);
    sums[sum * units + 16] = NAN;
    Tier().LstmStep(sums.data(), sums.data() + 4 * units, units, c.data(), h.data());
    EXPECT_TRUE(std::isnan(h[16]));
    EXPECT_FALSE(std::isnan(h[15]));
  }
}

TEST(Lstm, TouchesNothingOutside) {
  const int64_t batch = 3;
  for (Side side : kSides) {
    for (int64_t units : kSizes) {
      const int64_t n = batch * units;
      Guarded<float> of_input(GaussianRows(4 * units, 5), side), of_state(GaussianRows(4 * units, 6), side);
      Guarded<float> c(GaussianRows(units, 2), side), h(units, side);
      Tier().LstmStep(of_input.data(), of_state.data(), units, c.data(), h.data());
      Guarded<float> gates(GaussianRows(4 * n, 4), side), hidden(2 * n, side), cell(GaussianRows(2 * n, 1), side);
      Guarded<float> cell_tanh(n, side), dh(GaussianRows(n, 2), side), dc(GaussianRows(n, 3), side), dz(4 * n, side);
      const CellStates states = {.batch = batch,
                                 .units = units,
                                 .gates = gates.data(),
                                 .recurrent = nullptr,
                                 .hidden = hidden.data(),
                                 .cell = cell.data(),
                                 .cell_tanh = cell_tanh.data()};
      Tier().LstmForward(states, 0, batch);
      Tier().LstmBackward(states, {.hidden = dh.data(), .carried = dc.data(), .gates = dz.data(), .recurrent = nullptr},
                          0, batch);
    }
  }
}

}  // namespace
}  // namespace multibit
