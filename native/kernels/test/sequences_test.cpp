#include "sequences.h"

#include <string>
#include <utility>

#include "prepack.h"
#include "support.h"

namespace multibit {
namespace {

// A sequence in training, its gradient, and its recurrent weights. Arrays that the cell does not have are empty.
struct Sequence {
  Cell cell;
  int64_t steps, batch, units, sums;
  std::vector<float> weights, panels, transposed_panels;
  std::vector<float> gates, recurrent, hidden, state, state_tanh;
  std::vector<float> hidden_gradient, carried, gate_gradients, recurrent_gradients;

  // Random sums, start and gradient from above; what is to be computed is filled with -9.
  Sequence(Cell cell, int64_t steps, int64_t batch, int64_t units)
      : cell(cell),
        steps(steps),
        batch(batch),
        units(units),
        sums(kCells[cell].gates * units),
        weights(GaussianRows(units * sums, 7)),
        panels(Panels(sums) * units * kPanelColumns),
        transposed_panels(Panels(units) * sums * kPanelColumns),
        gates(GaussianRows(steps * batch * sums, 1)),
        recurrent(kCells[cell].separate_sums ? GaussianRows(steps * batch * sums, 2) : std::vector<float>()),
        hidden(GaussianRows(batch * units, 3)),
        hidden_gradient(GaussianRows(steps * batch * units, 4)),
        carried(GaussianRows(batch * units, 5)),
        gate_gradients(gates.size(), -9),
        recurrent_gradients(recurrent.size(), -9) {
    for (float& w : weights) w /= std::sqrt(static_cast<float>(units));
    PrepackWeights(weights.data(), units, sums, false, 0, Panels(sums), panels.data());
    PrepackWeights(weights.data(), sums, units, true, 0, Panels(units), transposed_panels.data());
    hidden.resize((steps + 1) * batch * units, -9);
    if (cell != kLstm) return;
    state = GaussianRows(batch * units, 6);
    state.resize(hidden.size(), -9);
    state_tanh.resize(steps * batch * units, -9);
  }

  CellStates States() {
    return {.batch = batch,
            .units = units,
            .gates = gates.data(),
            .recurrent = recurrent.empty() ? nullptr : recurrent.data(),
            .hidden = hidden.data(),
            .cell = state.data(),
            .cell_tanh = state_tanh.data()};
  }
  CellGradients Gradients() {
    return {.hidden = hidden_gradient.data(),
            .carried = carried.data(),
            .gates = gate_gradients.data(),
            .recurrent = recurrent_gradients.empty() ? nullptr : recurrent_gradients.data()};
  }
  // What the recurrent product is added to, at a step, and its gradient.
  float* ProductSums(int64_t t) { return (recurrent.empty() ? gates : recurrent).data() + t * batch * sums; }
  float* ProductGradients(int64_t t) {
    return (recurrent.empty() ? gate_gradients : recurrent_gradients).data() + t * batch * sums;
  }
  // One step by the kernel itself.
  void Forward(int64_t t) {
    (cell == kGru ? Tier().GruForward : Tier().LstmForward)(States(), t * batch, (t + 1) * batch);
  }
  void Backward(int64_t t) {
    (cell == kGru ? Tier().GruBackward : Tier().LstmBackward)(States(), Gradients(), t * batch, (t + 1) * batch);
  }

  bool SameBits(const Sequence& other) const {
    const auto same = [&](auto array) { return multibit::SameBits(this->*array, other.*array); };
    return same(&Sequence::gates) && same(&Sequence::recurrent) && same(&Sequence::hidden) && same(&Sequence::state) &&
           same(&Sequence::state_tanh) && same(&Sequence::hidden_gradient) && same(&Sequence::carried) &&
           same(&Sequence::gate_gradients) && same(&Sequence::recurrent_gradients);
  }
};

constexpr int64_t kSteps = 4, kBatch = 5;

// Parts of the batch, each of which is a call.
using Parts = std::vector<std::pair<int64_t, int64_t>>;
const Parts kParts[] = {{{0, kBatch}}, {{3, kBatch}, {0, 1}, {1, 3}}};

template <typename Function>
void ForEachSequence(const Function& f) {
  for (Cell cell : {kLstm, kGru}) {
    for (int64_t units : kShortSizes) {
      SCOPED_TRACE(kCells[cell].name + std::string(" of ") + std::to_string(units));
      f(Sequence(cell, kSteps, kBatch, units));
    }
  }
}

TEST(Sequences, StepsOfRowsAreTheCells) {
  ForEachSequence([](const Sequence& start) {
    Sequence expected = start, actual = start;
    expected.Forward(0);
    ForwardRows(&Tier(), start.cell, actual.States(), 0, kBatch);
    ASSERT_TRUE(actual.SameBits(expected));
    expected.Backward(0);
    BackwardRows(&Tier(), start.cell, actual.States(), actual.Gradients(), 0, kBatch);
    ASSERT_TRUE(actual.SameBits(expected));
  });
}

TEST(Sequences, ForwardIsStepByStep) {
  ForEachSequence([](const Sequence& start) {
    Sequence expected = start;
    for (int64_t t = 0; t < kSteps; ++t) {
      GemmPrepacked(&Tier(), &expected.hidden[t * kBatch * start.units], start.units, start.panels.data(), start.sums,
                    nullptr, 0, kBatch, expected.ProductSums(t));
      expected.Forward(t);
    }
    for (const Parts& parts : kParts) {
      Sequence actual = start;
      for (const auto& [first, last] : parts) {
        ForwardSequence(&Tier(), start.cell, actual.States(), start.panels.data(), kSteps, first, last);
      }
      ASSERT_TRUE(actual.SameBits(expected)) << parts.size() << " parts";
    }
  });
}

// Recurrent weights, packed, and memory for the codes of the hidden states.
struct Codes {
  Quantizer quantizer = Method(kAlternating);
  int bits;
  Packed weights;
  std::vector<uint64_t> planes;
  std::vector<float> coefficients;

  Codes(const Sequence& s, int weight_bits, int bits)
      : bits(bits),
        weights(Quantize(Tier(), quantizer, s.weights, s.units, weight_bits)),
        planes(s.steps * s.batch * weights.Words() * bits, 0x5A),
        coefficients(s.steps * s.batch * bits, -9) {}

  QuantizedRecurrence Recurrence() {
    return {.weight_planes = weights.planes.data(),
            .weight_coefficients = weights.coefficients.data(),
            .weight_bits = weights.bits,
            .quantizer = quantizer,
            .bits = bits,
            .planes = planes.data(),
            .coefficients = coefficients.data()};
  }
};

TEST(Sequences, QuantizedForwardIsStepByStep) {
  for (const auto& [weight_bits, bits] : {std::pair(1, 1), {2, 2}, {2, 3}, {3, 3}}) {
    ForEachSequence([&, weight_bits = weight_bits, bits = bits](const Sequence& start) {
      Sequence expected = start;
      Codes expected_codes(start, weight_bits, bits);
      const Packed& w = expected_codes.weights;
      expected_codes.planes.clear();
      expected_codes.coefficients.clear();
      for (int64_t t = 0; t < kSteps; ++t) {
        const auto from = expected.hidden.begin() + t * kBatch * start.units;
        const Packed x =
            Quantize(Tier(), expected_codes.quantizer, {from, from + kBatch * start.units}, start.units, bits, 1);
        Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, w.rows, w.cols, w.bits, x.planes.data(),
                                x.coefficients.data(), bits, nullptr, kBatch, nullptr, expected.ProductSums(t),
                                start.sums);
        expected.Forward(t);
        expected_codes.planes.insert(expected_codes.planes.end(), x.planes.begin(), x.planes.end());
        expected_codes.coefficients.insert(expected_codes.coefficients.end(), x.coefficients.begin(),
                                           x.coefficients.end());
      }
      for (const Parts& parts : kParts) {
        Sequence actual = start;
        Codes codes(start, weight_bits, bits);
        for (const auto& [first, last] : parts) {
          ASSERT_EQ(-1, ForwardQuantizedSequence(&Tier(), start.cell, actual.States(), codes.Recurrence(), kSteps,
                                                 first, last));
        }
        ASSERT_TRUE(actual.SameBits(expected)) << parts.size() << " parts";
        ASSERT_TRUE(SameBits(expected_codes.planes, codes.planes)) << parts.size() << " parts";
        ASSERT_TRUE(SameBits(expected_codes.coefficients, codes.coefficients)) << parts.size() << " parts";
      }
    });
  }
}

TEST(Sequences, BackwardIsStepByStep) {
  for (int64_t first_step : {0, 1}) {
    ForEachSequence([&](Sequence start) {
      ForwardSequence(&Tier(), start.cell, start.States(), start.panels.data(), kSteps, 0, kBatch);
      Sequence expected = start;
      for (int64_t t = kSteps - 1; t >= first_step; --t) {
        if (t < kSteps - 1) {
          GemmPrepacked(&Tier(), expected.ProductGradients(t + 1), start.sums, start.transposed_panels.data(),
                        start.units, nullptr, 0, kBatch, &expected.hidden_gradient[t * kBatch * start.units]);
        }
        expected.Backward(t);
      }
      for (const Parts& parts : kParts) {
        Sequence actual = start;
        for (const auto& [first, last] : parts) {
          BackwardSequence(&Tier(), start.cell, actual.States(), actual.Gradients(), start.transposed_panels.data(),
                           first_step, kSteps, first, last);
        }
        ASSERT_TRUE(actual.SameBits(expected)) << parts.size() << " parts from step " << first_step;
      }
    });
  }
}

TEST(Sequences, AHiddenStateThatIsNotFiniteIsReported) {
  ForEachSequence([](const Sequence& start) {
    const auto run = [&](Sequence s, int64_t first, int64_t last) {
      return ForwardQuantizedSequence(&Tier(), s.cell, s.States(), Codes(s, 2, 2).Recurrence(), kSteps, first, last);
    };
    const int64_t units = start.units, row = 3;
    for (int64_t unit : {int64_t{0}, units - 1}) {
      // In the state that the sequence starts from.
      for (float bad : {NAN, INFINITY, -INFINITY}) {
        Sequence s = start;
        s.hidden[row * units + unit] = bad;
        ASSERT_EQ(row * units + unit, run(s, 0, kBatch));
        ASSERT_EQ(row * units + unit, run(s, row, row + 1));
        ASSERT_EQ(-1, run(s, 0, row));
      }
      // In the state that a step makes: found before the step after it, of which the last has none.
      for (int64_t t = 0; t < kSteps; ++t) {
        Sequence s = start;
        s.gates[(t * kBatch + row) * s.sums + unit] = NAN;
        const int64_t at = ((t + 1) * kBatch + row) * units + unit;
        ASSERT_EQ(t == kSteps - 1 ? -1 : at, run(s, 0, kBatch)) << "step " << t;
      }
    }
  });
}

// Hidden states of all steps, [(steps + 1) * batch, units], and what the last step leaves in the cell (LSTM), in
// double.
struct Doubles {
  std::vector<double> hidden, cell;

  Doubles(const Sequence& s, const std::vector<double>& gates, const std::vector<double>& recurrent)
      : hidden(s.hidden.begin(), s.hidden.end()),
        cell(s.state.begin(), s.state.begin() + s.state.size() / (s.steps + 1)) {
    const int64_t units = s.units;
    for (int64_t row = 0; row < s.steps * s.batch; ++row) {
      const double* h = &hidden[row * units];
      double* next = &hidden[(row + s.batch) * units];
      std::vector<double> products(s.sums, 0);
      for (int64_t k = 0; k < units; ++k) {
        for (int64_t i = 0; i < s.sums; ++i) products[i] += h[k] * s.weights[k * s.sums + i];
      }
      for (int64_t j = 0; j < units; ++j) {
        const auto sum = [&](int gate) { return gates[row * s.sums + gate * units + j]; };
        const auto product = [&](int gate) { return products[gate * units + j]; };
        if (s.cell == kGru) {
          const auto both = [&](int gate) { return product(gate) + recurrent[row * s.sums + gate * units + j]; };
          const double reset = Sigmoid(sum(0) + both(0)), update = Sigmoid(sum(1) + both(1));
          next[j] = (1 - update) * std::tanh(sum(2) + reset * both(2)) + update * h[j];
        } else {
          const auto both = [&](int gate) { return sum(gate) + product(gate); };
          double& c = cell[row % s.batch * units + j];
          c = Sigmoid(both(1)) * c + Sigmoid(both(3)) * std::tanh(both(0));
          next[j] = Sigmoid(both(2)) * std::tanh(c);
        }
      }
    }
  }
};

std::vector<double> InDouble(const std::vector<float>& x) { return {x.begin(), x.end()}; }

TEST(Sequences, ForwardMatchesDouble) {
  ForEachSequence([](Sequence s) {
    const Doubles expected(s, InDouble(s.gates), InDouble(s.recurrent));
    ForwardSequence(&Tier(), s.cell, s.States(), s.panels.data(), kSteps, 0, kBatch);
    for (size_t i = 0; i < s.hidden.size(); ++i) ASSERT_NEAR(expected.hidden[i], s.hidden[i], 1e-5);
    for (size_t i = 0; i < expected.cell.size(); ++i) {
      ASSERT_NEAR(expected.cell[i], s.state[kSteps * kBatch * s.units + i], 2e-5);
    }
  });
}

// Through time, against finite differences of double.
TEST(Sequences, GradientMatchesDouble) {
  for (Cell cell : {kLstm, kGru}) {
    Sequence s(cell, kSteps, 2, 5);
    const std::vector<float> from_above = s.hidden_gradient, from_after = s.carried;
    const std::vector<double> gates = InDouble(s.gates), recurrent = InDouble(s.recurrent);
    const auto loss = [&](const std::vector<double>& g, const std::vector<double>& r) {
      const Doubles states(s, g, r);
      const int64_t n = s.batch * s.units;
      double sum = 0;
      for (size_t i = 0; i < from_above.size(); ++i) sum += from_above[i] * states.hidden[n + i];
      for (int64_t i = 0; i < n; ++i) {
        sum += from_after[i] * (cell == kGru ? states.hidden[kSteps * n + i] : states.cell[i]);
      }
      return sum;
    };
    std::vector<double> gate_slopes, recurrent_slopes;
    const double step = 1e-5;
    for (size_t i = 0; i < gates.size(); ++i) {
      std::vector<double> high = gates, low = gates;
      high[i] += step;
      low[i] -= step;
      gate_slopes.push_back((loss(high, recurrent) - loss(low, recurrent)) / (2 * step));
    }
    for (size_t i = 0; i < recurrent.size(); ++i) {
      std::vector<double> high = recurrent, low = recurrent;
      high[i] += step;
      low[i] -= step;
      recurrent_slopes.push_back((loss(gates, high) - loss(gates, low)) / (2 * step));
    }
    ForwardSequence(&Tier(), cell, s.States(), s.panels.data(), kSteps, 0, s.batch);
    BackwardSequence(&Tier(), cell, s.States(), s.Gradients(), s.transposed_panels.data(), 0, kSteps, 0, s.batch);
    for (size_t i = 0; i < gates.size(); ++i) {
      ASSERT_NEAR(gate_slopes[i], s.gate_gradients[i], 2e-5 * (1 + std::fabs(gate_slopes[i]))) << kCells[cell].name;
    }
    for (size_t i = 0; i < recurrent.size(); ++i) {
      ASSERT_NEAR(recurrent_slopes[i], s.recurrent_gradients[i], 2e-5 * (1 + std::fabs(recurrent_slopes[i])));
    }
  }
}

TEST(Sequences, TouchNothingOutside) {
  for (Side side : kSides) {
    ForEachSequence([&](Sequence s) {
      Guarded<float> panels(s.panels, side), transposed_panels(s.transposed_panels, side);
      Guarded<float> gates(s.gates, side), recurrent(s.recurrent, side), hidden(s.hidden, side);
      Guarded<float> state(s.state, side), state_tanh(s.state_tanh, side);
      const CellStates states = {.batch = s.batch,
                                 .units = s.units,
                                 .gates = gates.data(),
                                 .recurrent = s.recurrent.empty() ? nullptr : recurrent.data(),
                                 .hidden = hidden.data(),
                                 .cell = state.data(),
                                 .cell_tanh = state_tanh.data()};
      ForwardSequence(&Tier(), s.cell, states, panels.data(), kSteps, 0, kBatch);

      const Codes codes(s, 2, 3);
      Guarded<uint64_t> weight_planes(codes.weights.planes, side), planes(codes.planes.size(), side);
      Guarded<float> weight_coefficients(codes.weights.coefficients, side);
      Guarded<float> coefficients(codes.coefficients.size(), side);
      ASSERT_EQ(-1, ForwardQuantizedSequence(&Tier(), s.cell, states,
                                             {.weight_planes = weight_planes.data(),
                                              .weight_coefficients = weight_coefficients.data(),
                                              .weight_bits = 2,
                                              .quantizer = codes.quantizer,
                                              .bits = 3,
                                              .planes = planes.data(),
                                              .coefficients = coefficients.data()},
                                             kSteps, 0, kBatch));

      Guarded<float> hidden_gradient(s.hidden_gradient, side), carried(s.carried, side);
      Guarded<float> gate_gradients(s.gate_gradients, side), recurrent_gradients(s.recurrent_gradients, side);
      BackwardSequence(&Tier(), s.cell, states,
                       {.hidden = hidden_gradient.data(),
                        .carried = carried.data(),
                        .gates = gate_gradients.data(),
                        .recurrent = s.recurrent.empty() ? nullptr : recurrent_gradients.data()},
                       transposed_panels.data(), 0, kSteps, 0, kBatch);
    });
  }
}

}  // namespace
}  // namespace multibit
