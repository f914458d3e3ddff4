// Packed language models on the command line: what they are, how well they predict a text, what they write, how fast.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "batch.h"
#include "error.h"
#include "model.h"
#include "multibit.h"
#include "session.h"
#include "thread_pool.h"

namespace {

using multibit::Fail;
using multibit::Model;

constexpr char kUsage[] =
    R"(Usage: multibit-lm info FILE
       multibit-lm evaluate FILE TEXT [--threads N] [--json]
       multibit-lm generate FILE [--prompt WORDS] [--tokens N] [--temperature T]
                            [--top-k K] [--seed S] [--threads N]
       multibit-lm bench FILE [--streams N] [--threads N] [--json]

Runs a packed multibit language model (.gguf).
  info       what the file holds
  evaluate   perplexity on a text: one stream, zero state at the start, first
             input <eos>, every token a target, <eos> at each line's end
  generate   writes on from a prompt
  bench      time of a step with its logits, for one stream and for a batch

  --json             print the result as one line of JSON
  --threads N        threads that share large products (default 1)
  --prompt WORDS     words to begin with, split at white space (default: none)
  --tokens N         words to write (default 50)
  --temperature T    0 takes the likeliest word each time (default 1)
  --top-k K          draw among the K likeliest words; 0 = all (default 0)
  --seed S           the same seed writes the same words (default 1)
  --streams N        streams of the batch (default 32)

MULTIBIT_ISA=scalar|sse4|avx2|avx512|avx512-vpopcntdq|neon forces a tier of kernels.
Exit code 0: success, 1: failure, 2: bad usage.
)";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Command {
  const char* name;
  size_t files;
  std::vector<std::string_view> options;
};

const Command kCommands[] = {
    {"info", 1, {}},
    {"evaluate", 2, {"--threads", "--json"}},
    {"generate", 1, {"--prompt", "--tokens", "--temperature", "--top-k", "--seed", "--threads"}},
    {"bench", 1, {"--streams", "--threads", "--json"}},
};

struct Options {
  std::string command;
  std::vector<std::string> files;
  bool json = false;
  int32_t threads = 1;
  std::string prompt;
  int32_t tokens = 50;
  float temperature = 1;
  int32_t top_k = 0;
  uint64_t seed = 1;
  int32_t streams = 32;
};

template <typename T>
T Number(const std::string& option, const std::string& text, T least, T most) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= least && value <= most)) {
    throw UsageError(option + " " + text + " is out of range or not a number");
  }
  return value;
}

Options Parse(int argc, char** argv) {
  if (argc < 2) throw UsageError("a command is missing: info, evaluate, generate or bench");
  Options options;
  options.command = argv[1];
  const auto* command = std::find_if(std::begin(kCommands), std::end(kCommands),
                                     [&](const Command& known) { return options.command == known.name; });
  if (command == std::end(kCommands)) {
    throw UsageError("there is no command " + options.command + "; there are info, evaluate, generate and bench");
  }
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--", 0) != 0) {
      options.files.push_back(argument);
      continue;
    }
    if (std::find(command->options.begin(), command->options.end(), argument) == command->options.end()) {
      throw UsageError(options.command + " takes no " + argument);
    }
    if (argument == "--json") {
      options.json = true;
      continue;
    }
    if (++i == argc) throw UsageError(argument + " needs a value");
    const std::string value = argv[i];
    if (argument == "--threads") {
      options.threads = Number<int32_t>(argument, value, 1, multibit::ThreadPool::kMaxThreads);
    } else if (argument == "--prompt") {
      options.prompt = value;
    } else if (argument == "--tokens") {
      options.tokens = Number<int32_t>(argument, value, 1, 1000000);
    } else if (argument == "--temperature") {
      options.temperature = Number<float>(argument, value, 0, 1000);
    } else if (argument == "--top-k") {
      options.top_k = Number<int32_t>(argument, value, 0, INT32_MAX);
    } else if (argument == "--seed") {
      options.seed = Number<uint64_t>(argument, value, 0, UINT64_MAX);
    } else {
      options.streams = Number<int32_t>(argument, value, 1, multibit::Batch::kMaxStreams);
    }
  }
  if (options.files.size() < command->files) {
    throw UsageError(command->files == 2 ? "evaluate needs a model file and a text file" : "a model file is missing");
  }
  if (options.files.size() > command->files) throw UsageError("unexpected argument " + options.files[command->files]);
  return options;
}

bool IsWhiteSpace(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Words to tokens; unknown ones become the unknown token and are counted.
class Tokenizer {
 public:
  explicit Tokenizer(const Model& model) : model_(model) {}

  int32_t Token(const std::string& word) {
    const int32_t token = model_.words.Find(word);
    if (token >= 0) return token;
    if (model_.unknown < 0) {
      Fail(MULTIBIT_ERROR_ARGUMENT, "The model does not know the word \"%.80s\" and has no token for unknown words",
           word.c_str());
    }
    if (unknown_++ == 0) first_unknown_ = word;
    return model_.unknown;
  }

  int64_t unknown() const { return unknown_; }

  void Warn() const {
    if (unknown_ == 0) return;
    std::fprintf(stderr,
                 "multibit-lm: warning: the model does not know %lld of the words, for example \"%.80s\"; "
                 "the unknown word stands in\n",
                 static_cast<long long>(unknown_), first_unknown_.c_str());
  }

 private:
  const Model& model_;
  int64_t unknown_ = 0;
  std::string first_unknown_;
};

// The tokens of a text, <eos> at the end of each line.
std::vector<int32_t> ReadText(const std::string& path, const Model& model, Tokenizer* tokenizer) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(path.c_str(), "rb"), std::fclose);
  if (in == nullptr) Fail(MULTIBIT_ERROR_IO, "Cannot open %s: %s", path.c_str(), std::strerror(errno));
  std::vector<int32_t> tokens;
  std::string word;
  int previous = '\n';
  for (int c; (c = std::getc(in.get())) != EOF; previous = c) {
    if (!IsWhiteSpace(c)) {
      word.push_back(static_cast<char>(c));
      continue;
    }
    if (!word.empty()) tokens.push_back(tokenizer->Token(word));
    word.clear();
    if (c == '\n') tokens.push_back(model.eos);
  }
  if (std::ferror(in.get())) Fail(MULTIBIT_ERROR_IO, "Cannot read %s: %s", path.c_str(), std::strerror(errno));
  if (!word.empty()) tokens.push_back(tokenizer->Token(word));
  // The last line needs no line feed.
  if (previous != '\n') tokens.push_back(model.eos);
  if (tokens.empty()) Fail(MULTIBIT_ERROR_ARGUMENT, "Cannot evaluate %s: it is empty", path.c_str());
  return tokens;
}

std::string Quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += {'\\', c};
    } else if (static_cast<unsigned char>(c) < ' ') {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      json += escape;
    } else {
      json += c;
    }
  }
  return json + '"';
}

void Info(const Model& model, const std::string& path) {
  std::printf("%s: %zu bytes\n", path.c_str(), model.file.size());
  const auto bits = [](int count) { return count == 0 ? std::string("fp") : std::to_string(count); };
  const auto line = [&](const std::string& name, const multibit::Matrix& matrix) {
    std::printf("%-20s %8lld x %-6lld weights %-2s", name.c_str(), static_cast<long long>(matrix.rows),
                static_cast<long long>(matrix.cols), bits(matrix.weight_bits).c_str());
    if (&matrix != &model.embedding) std::printf("  activations %s", bits(matrix.activation_bits).c_str());
    std::printf("\n");
  };
  line("embedding", model.embedding);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    line("rnn." + std::to_string(l) + ".input", model.layers[l].input);
    line("rnn." + std::to_string(l) + ".recurrent", model.layers[l].recurrent);
  }
  line("softmax", model.softmax);
  for (const auto& [key, value] : model.file.metadata()) {
    std::printf("%-45.*s %s\n", static_cast<int>(key.size()), key.data(), value.Text().c_str());
  }
}

void Evaluate(const Model& model, const Options& options) {
  Tokenizer tokenizer(model);
  const std::vector<int32_t> tokens = ReadText(options.files[1], model, &tokenizer);
  tokenizer.Warn();
  multibit::Session session(model);
  const auto begin = std::chrono::steady_clock::now();
  const double loss = session.Evaluate(model.eos, tokens.data(), tokens.size());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double perplexity = std::exp(loss / static_cast<double>(tokens.size()));
  if (options.json) {
    std::printf(
        "{\"model\":%s,\"data\":%s,\"perplexity\":%.17g,\"tokens\":%zu,\"seconds\":%.6f,\"runtime\":\"native\","
        "\"isa\":\"%s\",\"threads\":%d,\"unknown\":%lld}\n",
        Quoted(options.files[0]).c_str(), Quoted(options.files[1]).c_str(), perplexity, tokens.size(), seconds,
        model.kernels->name, options.threads, static_cast<long long>(tokenizer.unknown()));
  } else {
    std::printf("%s on %s: perplexity %.3f over %zu tokens in %.1f s (native %s)\n", options.files[0].c_str(),
                options.files[1].c_str(), perplexity, tokens.size(), seconds, model.kernels->name);
  }
}

void Generate(const Model& model, const Options& options) {
  Tokenizer tokenizer(model);
  multibit::Session session(model);
  session.Step(model.eos);
  std::string text;
  const auto append = [&](int32_t token) {
    if (token == model.eos) {
      text += '\n';
      return;
    }
    if (!text.empty() && text.back() != '\n') text += ' ';
    text += model.words[token];
  };
  std::string word;
  for (const char c : options.prompt + " ") {
    if (!IsWhiteSpace(c)) {
      word.push_back(c);
    } else if (!word.empty()) {
      const int32_t token = tokenizer.Token(word);
      session.Step(token);
      append(token);
      word.clear();
    }
  }
  tokenizer.Warn();
  std::vector<int32_t> tokens(options.tokens);
  session.Generate(options.temperature, options.top_k, options.seed, tokens.data(), tokens.size());
  for (const int32_t token : tokens) append(token);
  std::printf("%s\n", text.c_str());
}

// Steps of a batch with their logits, some at a time.
class TimedSteps {
 public:
  TimedSteps(const Model& model, int32_t streams) : batch_(model, streams), tokens_(streams) {
    while (Round() * static_cast<double>(steps_) < kRoundSeconds) steps_ *= 2;
  }

  void Measure() { seconds_.push_back(Round()); }

  // The median.
  double SecondsPerStep() {
    std::sort(seconds_.begin(), seconds_.end());
    return seconds_[seconds_.size() / 2];
  }
  size_t streams() const { return tokens_.size(); }

 private:
  static constexpr double kRoundSeconds = 0.02;

  // Seconds per step.
  double Round() {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t step = 0; step < steps_; ++step) {
      for (int32_t& token : tokens_) {
        // Tokens all over the vocabulary, by a linear congruential generator.
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        token = static_cast<int32_t>((state_ >> 32) % static_cast<uint64_t>(batch_.model().vocabulary_size));
      }
      batch_.Step(tokens_.data());
      batch_.Logits();
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() /
           static_cast<double>(steps_);
  }

  multibit::Batch batch_;
  std::vector<int32_t> tokens_;
  uint64_t state_ = 1;
  int64_t steps_ = 1;
  std::vector<double> seconds_;
};

void Bench(const Model& model, const Options& options) {
  constexpr int kRounds = 25;
  std::vector<TimedSteps> rows;
  rows.reserve(2);
  rows.emplace_back(model, 1);
  if (options.streams > 1) rows.emplace_back(model, options.streams);
  // They take turns, so that a slow moment of the machine meets both.
  for (int round = 0; round < kRounds; ++round) {
    for (TimedSteps& row : rows) row.Measure();
  }
  if (options.json) {
    std::printf("{\"model\":%s,\"isa\":\"%s\",\"threads\":%d,\"rows\":[", Quoted(options.files[0]).c_str(),
                model.kernels->name, options.threads);
  } else {
    std::printf("%s (native %s, threads %d), a step with its logits, medians:\n", options.files[0].c_str(),
                model.kernels->name, options.threads);
  }
  for (TimedSteps& row : rows) {
    const double step = row.SecondsPerStep();
    const auto streams = static_cast<double>(row.streams());
    std::printf(options.json ? "%s{\"streams\":%zu,\"millisPerStep\":%.6g,\"millisPerToken\":%.6g,"
                               "\"tokensPerSecond\":%.6g}"
                             : "%s%4zu streams: %.6g ms per step, %.6g ms per token, %.6g tokens/s\n",
                options.json && &row != &rows.front() ? "," : "", row.streams(), step * 1e3, step * 1e3 / streams,
                streams / step);
  }
  if (options.json) std::printf("]}\n");
}

void Run(const Options& options) {
  const auto model = multibit::LoadModel(options.files[0].c_str(), multibit::ChosenKernels());
  model->pool.SetThreads(options.threads);
  if (options.command == "info") {
    Info(*model, options.files[0]);
  } else if (options.command == "evaluate") {
    Evaluate(*model, options);
  } else if (options.command == "generate") {
    Generate(*model, options);
  } else {
    Bench(*model, options);
  }
  if (std::fflush(stdout) != 0) Fail(MULTIBIT_ERROR_IO, "Cannot write the output: %s", std::strerror(errno));
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (argument == "--version") {
      std::printf("multibit-lm %s\n", multibit_version());
      return 0;
    }
  }
  try {
    Run(Parse(argc, argv));
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "multibit-lm: %s; see multibit-lm --help\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "multibit-lm: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "multibit-lm: %s\n", error.what());
  }
  return 1;
}
