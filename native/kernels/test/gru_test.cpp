#include <algorithm>
#include <array>

#include "support.h"

namespace multibit {
namespace {

// Against double and, for the gradient, finite differences of double.
TEST(Gru, StepAndGradientMatchDouble) {
  for (int64_t units : {1, 7, 16, 17, 300}) {
    const int64_t batch = 3, n = batch * units;
    const std::vector<float> sums = GaussianRows(3 * n, 1), u = GaussianRows(3 * n, 2);
    const std::vector<float> previous = GaussianRows(n, 3), dh = GaussianRows(n, 4), flows_back = GaussianRows(n, 5);
    std::vector<float> gates = sums, recurrent = u, hidden = previous;
    hidden.resize(2 * n);
    std::vector<float> dh_of_step = dh, carried = flows_back, dz(3 * n), du(3 * n);
    const CellStates states = {.batch = batch,
                               .units = units,
                               .gates = gates.data(),
                               .recurrent = recurrent.data(),
                               .hidden = hidden.data(),
                               .cell = nullptr,
                               .cell_tanh = nullptr};
    Tier().GruForward(states, 0, 1);
    Tier().GruForward(states, 1, batch);
    Tier().GruBackward(
        states, {.hidden = dh_of_step.data(), .carried = carried.data(), .gates = dz.data(), .recurrent = du.data()}, 0,
        batch);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = i / units * 3 * units + i % units;
      // The sums of the input's product, those of the recurrent one, the hidden state before.
      std::array<double, 7> x;
      for (int gate = 0; gate < 3; ++gate) {
        x[gate] = sums[at + gate * units];
        x[3 + gate] = u[at + gate * units];
      }
      x[6] = previous[i];
      const auto next = [&](const std::array<double, 7>& v) {
        const double z = Sigmoid(v[1] + v[4]);
        return (1 - z) * std::tanh(v[2] + Sigmoid(v[0] + v[3]) * v[5]) + z * v[6];
      };
      ASSERT_NEAR(next(x), hidden[n + i], 1e-5);
      for (int v = 0; v < 7; ++v) {
        const double step = 1e-6;
        std::array<double, 7> high = x, low = x;
        high[v] += step;
        low[v] -= step;
        const double expected = (next(high) - next(low)) / (2 * step) * (static_cast<double>(dh[i]) + flows_back[i]);
        const float actual = v < 3 ? dz[at + v * units] : v < 6 ? du[at + (v - 3) * units] : carried[i];
        ASSERT_NEAR(expected, actual, 2e-5 * std::max(1.0, std::fabs(expected))) << v;
      }
    }
  }
}

TEST(Gru, InferenceMatchesDouble) {
  for (int64_t units : {1, 15, 16, 17, 300, 4001}) {
    std::vector<float> z(3 * units), u(3 * units), h(units);
    for (int64_t j = 0; j < units; ++j) {
      const double t = units == 1 ? 0.3 : 2.0 * j / (units - 1) - 1;
      z[j] = static_cast<float>(t * 20);
      z[units + j] = static_cast<float>(-t * 200);
      z[2 * units + j] = static_cast<float>(t * t * t * 120);
      for (int gate = 0; gate < 3; ++gate) u[gate * units + j] = static_cast<float>(std::sin(9 * t + gate) * 3);
      h[j] = static_cast<float>(std::cos(7 * t));
    }
    const std::vector<float> before = h;
    Tier().GruStep(z.data(), u.data(), units, nullptr, h.data());
    for (int64_t j = 0; j < units; ++j) {
      const double reset = Sigmoid(static_cast<double>(z[j]) + u[j]);
      const double update = Sigmoid(static_cast<double>(z[units + j]) + u[units + j]);
      const double candidate = std::tanh(z[2 * units + j] + reset * u[2 * units + j]);
      ASSERT_NEAR((1 - update) * candidate + update * before[j], h[j], 1e-5) << j;
    }
  }
}

TEST(Gru, NanStaysNan) {
  const int64_t units = 17;
  for (int sum = 0; sum < 6; ++sum) {
    std::vector<float> sums(6 * units, 0.5f), h(units, 0.25f);
    sums[sum * units + 16] = NAN;
    Tier().GruStep(sums.data(), sums.data() + 3 * units, units, nullptr, h.data());
    EXPECT_TRUE(std::isnan(h[16]));
    EXPECT_FALSE(std::isnan(h[15]));
  }
}

TEST(Gru, TouchesNothingOutside) {
  const int64_t batch = 3;
  for (Side side : kSides) {
    for (int64_t units : kSizes) {
      const int64_t n = batch * units;
      Guarded<float> of_input(GaussianRows(3 * units, 5), side), of_state(GaussianRows(3 * units, 6), side);
      Guarded<float> h(GaussianRows(units, 2), side);
      Tier().GruStep(of_input.data(), of_state.data(), units, nullptr, h.data());
      Guarded<float> gates(GaussianRows(3 * n, 5), side), recurrent(GaussianRows(3 * n, 6), side);
      Guarded<float> hidden(GaussianRows(2 * n, 1), side), dh(GaussianRows(n, 2), side);
      Guarded<float> carried(GaussianRows(n, 3), side), dz(3 * n, side), du(3 * n, side);
      const CellStates states = {.batch = batch,
                                 .units = units,
                                 .gates = gates.data(),
                                 .recurrent = recurrent.data(),
                                 .hidden = hidden.data(),
                                 .cell = nullptr,
                                 .cell_tanh = nullptr};
      Tier().GruForward(states, 0, batch);
      Tier().GruBackward(states,
                         {.hidden = dh.data(), .carried = carried.data(), .gates = dz.data(), .recurrent = du.data()},
                         0, batch);
    }
  }
}

}  // namespace
}  // namespace multibit
