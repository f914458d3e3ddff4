// Packed models on the command line: what they are, how well they predict a text, what they write, how fast.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdarg>
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
#include "text.h"
#include "thread_pool.h"

namespace {

using multibit::Fail;
using multibit::IsWhiteSpace;
using multibit::Model;
using multibit::Printable;
using multibit::ShownWord;
using multibit::ThreadPool;

constexpr char kUsage[] =
    R"(Usage: multibit-lm info FILE
       multibit-lm evaluate FILE TEXT [--threads N] [--json]
       multibit-lm generate FILE [--prompt WORDS] [--tokens N] [--temperature T]
                            [--top-k K] [--seed S] [--threads N]
       multibit-lm bench FILE [--streams N] [--threads N] [--json]
       multibit-lm --help | --version

Runs a packed multibit language model (.gguf).
  info       what the file holds, which may also be a classifier of sequences
  evaluate   perplexity on a text: one stream, zero state at the start, first
             input <eos>, every token a target, <eos> at each line's end
  generate   writes on from a prompt
  bench      time of a step with its logits, for one stream and for a batch

  --json             print the result as one line of JSON; an infinite
                     perplexity is null
  --threads N        threads that share large products; no more than there are
                     cores (default 1)
  --prompt WORDS     words to begin with, split at white space (default: none)
  --tokens N         words to write (default 50)
  --temperature T    0 takes the likeliest word each time (default 1)
  --top-k K          draw among the K likeliest words; 0 = all (default 0)
  --seed S           the same seed writes the same words, on the same kernels
                     (default 1)
  --streams N        streams of the batch (default 32)
Options with a value can also be written --option=value.

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
  // What is asked for instead of a command.
  bool help = false;
  bool version = false;

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

std::string RangeEnd(float value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(value));
  return text;
}
template <typename T>
std::string RangeEnd(T value) {
  return std::to_string(value);
}

template <typename T>
T Number(const std::string& option, const std::string& text, T least, T most) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= least && value <= most)) {
    throw UsageError(option + " takes " + RangeEnd(least) + " to " + RangeEnd(most) + ", not '" + text + "'");
  }
  return value;
}

void Set(Options* options, const std::string& option, const std::string& value) {
  if (option == "--threads") {
    options->threads = Number<int32_t>(option, value, 1, ThreadPool::kMaxThreads);
  } else if (option == "--prompt") {
    options->prompt = value;
  } else if (option == "--tokens") {
    options->tokens = Number<int32_t>(option, value, 1, 1000000);
  } else if (option == "--temperature") {
    options->temperature = Number<float>(option, value, 0, 1000);
  } else if (option == "--top-k") {
    options->top_k = Number<int32_t>(option, value, 0, INT32_MAX);
  } else if (option == "--seed") {
    options->seed = Number<uint64_t>(option, value, 0, UINT64_MAX);
  } else {
    options->streams = Number<int32_t>(option, value, 1, multibit::Batch::kMaxStreams);
  }
}

bool IsHelp(const std::string& argument) { return argument == "--help" || argument == "-h"; }

Options Parse(int argc, char** argv) {
  if (argc < 2) throw UsageError("a command is missing: info, evaluate, generate or bench");
  Options options;
  options.command = argv[1];
  options.help = IsHelp(options.command);
  options.version = options.command == "--version";
  if (options.help || options.version) return options;
  const auto* command = std::find_if(std::begin(kCommands), std::end(kCommands),
                                     [&](const Command& known) { return options.command == known.name; });
  if (command == std::end(kCommands)) {
    throw UsageError("there is no command " + options.command + "; there are info, evaluate, generate and bench");
  }
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (IsHelp(argument)) {
      options.help = true;
      return options;
    }
    if (argument.rfind("--", 0) != 0) {
      options.files.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string option = argument.substr(0, equals);
    if (std::find(command->options.begin(), command->options.end(), option) == command->options.end()) {
      throw UsageError(options.command + " takes no " + option);
    }
    if (option == "--json") {
      if (equals != std::string::npos) throw UsageError("--json takes no value");
      options.json = true;
    } else if (equals != std::string::npos) {
      Set(&options, option, argument.substr(equals + 1));
    } else {
      if (++i == argc) throw UsageError(option + " needs a value");
      Set(&options, option, argv[i]);
    }
  }
  if (options.files.size() < command->files) {
    throw UsageError(command->files == 2 ? "evaluate needs a model file and a text file" : "a model file is missing");
  }
  if (options.files.size() > command->files) throw UsageError("unexpected argument " + options.files[command->files]);
  return options;
}

// Throws an Error as soon as something could not be written.
[[gnu::format(printf, 1, 2)]] void Print(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = std::vprintf(format, arguments);
  va_end(arguments);
  if (written < 0) Fail(MULTIBIT_ERROR_IO, "Cannot write the output: %s", std::strerror(errno));
}

void FlushOutput() {
  if (std::fflush(stdout) != 0) Fail(MULTIBIT_ERROR_IO, "Cannot write the output: %s", std::strerror(errno));
}

// Words to tokens; unknown ones become the unknown token and are counted.
class Tokenizer {
 public:
  explicit Tokenizer(const Model& model) : model_(model) {}

  int32_t Token(const std::string& word) {
    const int32_t token = model_.words.Find(word);
    if (token >= 0) return token;
    if (model_.unknown < 0) {
      Fail(MULTIBIT_ERROR_ARGUMENT, "The model does not know the word \"%s\" and has no token for unknown words",
           ShownWord(word).c_str());
    }
    if (unknown_++ == 0) first_unknown_ = word;
    return model_.unknown;
  }

  int64_t unknown() const { return unknown_; }

  void Warn() const {
    if (unknown_ == 0) return;
    std::fprintf(stderr,
                 "multibit-lm: warning: the model does not know %lld of the words, for example \"%s\"; "
                 "the unknown word stands in\n",
                 static_cast<long long>(unknown_), ShownWord(first_unknown_).c_str());
  }

 private:
  const Model& model_;
  int64_t unknown_ = 0;
  std::string first_unknown_;
};

bool IsLineEnd(int c) { return c == '\n' || c == '\r'; }

// The tokens of a text, <eos> at the end of each line, which is LF, CR or CR LF. A byte order mark is skipped; bytes
// that are not UTF-8 are an error, never replaced.
class TextReader {
 public:
  TextReader(const std::string& path, const Model& model, Tokenizer* tokenizer)
      : path_(path), model_(model), tokenizer_(*tokenizer), in_(std::fopen(path.c_str(), "rb"), std::fclose) {
    if (in_ == nullptr) Fail(MULTIBIT_ERROR_IO, "Cannot open %s: %s", path.c_str(), std::strerror(errno));
  }

  std::vector<int32_t> Read() {
    int previous = '\n';
    for (int c; (c = std::getc(in_.get())) != EOF; previous = c, ++position_) {
      if (c == 0) Refuse("a zero byte at byte %lld of the file, which is no UTF-8 text", position_);
      if (!IsWhiteSpace(c)) {
        word_.push_back(static_cast<char>(c));
        continue;
      }
      EndWord();
      if (IsLineEnd(c) && !(c == '\n' && previous == '\r')) EndLine();
    }
    if (std::ferror(in_.get())) Fail(MULTIBIT_ERROR_IO, "Cannot read %s: %s", path_.c_str(), std::strerror(errno));
    EndWord();
    // The last line needs no end.
    if (!IsLineEnd(previous)) EndLine();
    if (tokens_.empty()) Fail(MULTIBIT_ERROR_ARGUMENT, "Cannot evaluate %s: it is empty", path_.c_str());
    return std::move(tokens_);
  }

 private:
  // The word before the current position.
  void EndWord() {
    const long long start = position_ - static_cast<long long>(word_.size());
    for (size_t i = 0, length; i < word_.size(); i += length) {
      length = multibit::CharacterLength(std::string_view(word_).substr(i));
      if (length == 0) {
        Refuse("not UTF-8 at byte %lld of the file (0x%02X); convert the file to UTF-8",
               start + static_cast<long long>(i), static_cast<unsigned>(static_cast<unsigned char>(word_[i])));
      }
    }
    if (start == 0 && word_.rfind("\xEF\xBB\xBF", 0) == 0) word_.erase(0, 3);
    if (!word_.empty()) tokens_.push_back(tokenizer_.Token(word_));
    word_.clear();
  }

  void EndLine() {
    tokens_.push_back(model_.eos);
    ++line_;
  }

  [[noreturn, gnu::format(printf, 2, 3)]] void Refuse(const char* format, ...) const {
    char what[128];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    Fail(MULTIBIT_ERROR_ARGUMENT, "%s, line %lld: %s", path_.c_str(), line_, what);
  }

  const std::string& path_;
  const Model& model_;
  Tokenizer& tokenizer_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> in_;
  long long line_ = 1;
  long long position_ = 0;
  std::string word_;
  std::vector<int32_t> tokens_;
};

// Whether a character is one of the controls U+0080 to U+009F, whose second byte is their number.
bool IsC1(std::string_view character) {
  return character.size() == 2 && character[0] == '\xC2' && static_cast<unsigned char>(character[1]) < 0xA0;
}

// A JSON string; bytes that are not UTF-8 become U+FFFD.
std::string Quoted(std::string_view text) {
  std::string json = "\"";
  for (size_t i = 0, length; i < text.size(); i += length) {
    length = multibit::CharacterLength(text.substr(i));
    const char c = text[i];
    if (length == 0) {
      json += "\\ufffd";
      length = 1;
    } else if (c == '"' || c == '\\') {
      json += {'\\', c};
    } else if ((length == 1 && (c < ' ' || c == 0x7F)) || IsC1(text.substr(i, length))) {
      // JSON allows DEL and the controls of two bytes raw; terminals obey them.
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(text[i + length - 1]) & 0xFF);
      json += escape;
    } else {
      json += text.substr(i, length);
    }
  }
  return json + '"';
}

// JSON has no infinity.
std::string JsonNumber(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

void Info(const Model& model, const std::string& path) {
  Print("%s: %zu bytes\n", path.c_str(), model.file.size());
  const auto bits = [](int count) { return count == 0 ? std::string("fp") : std::to_string(count); };
  const auto line = [&](const std::string& name, const multibit::Matrix& matrix) {
    Print("%-20s %8lld x %-6lld weights %-2s", name.c_str(), static_cast<long long>(matrix.rows),
          static_cast<long long>(matrix.cols), bits(matrix.weight_bits).c_str());
    if (&matrix != &model.embedding) Print("  activations %s", bits(matrix.activation_bits).c_str());
    Print("\n");
  };
  if (model.head == multibit::Head::kLanguageModel) line("embedding", model.embedding);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    line("rnn." + std::to_string(l) + ".input", model.layers[l].input);
    line("rnn." + std::to_string(l) + ".recurrent", model.layers[l].recurrent);
  }
  line("softmax", model.softmax);
  for (const auto& [key, value] : model.file.metadata()) {
    Print("%-45s %s\n", Printable(key).c_str(), Printable(value.Text()).c_str());
  }
}

void Evaluate(const Model& model, const Options& options) {
  Tokenizer tokenizer(model);
  const std::vector<int32_t> tokens = TextReader(options.files[1], model, &tokenizer).Read();
  tokenizer.Warn();
  multibit::Session session(model);
  const auto begin = std::chrono::steady_clock::now();
  const double loss = session.Evaluate(model.eos, tokens.data(), tokens.size());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double perplexity = std::exp(loss / static_cast<double>(tokens.size()));
  if (options.json) {
    Print(
        "{\"model\":%s,\"data\":%s,\"perplexity\":%s,\"tokens\":%zu,\"seconds\":%.6f,\"runtime\":\"native\","
        "\"isa\":\"%s\",\"threads\":%d,\"unknown\":%lld}\n",
        Quoted(options.files[0]).c_str(), Quoted(options.files[1]).c_str(), JsonNumber(perplexity).c_str(),
        tokens.size(), seconds, model.kernels->name, model.pool.threads(), static_cast<long long>(tokenizer.unknown()));
  } else {
    Print("%s on %s: perplexity %.3f over %zu tokens in %.1f s (native %s)\n", options.files[0].c_str(),
          options.files[1].c_str(), perplexity, tokens.size(), seconds, model.kernels->name);
  }
}

// Words as they come, a line for each sentence.
class Writer {
 public:
  explicit Writer(const Model& model) : model_(model) {}

  void Write(int32_t token) {
    if (token == model_.eos) {
      Print("\n");
    } else {
      Print("%s%s", in_line_ ? " " : "", Printable(model_.words[token]).c_str());
    }
    in_line_ = token != model_.eos;
    // Who watches sees each word when it is there.
    if (is_terminal_) FlushOutput();
  }

 private:
  const Model& model_;
  const bool is_terminal_ = isatty(STDOUT_FILENO) != 0;
  bool in_line_ = false;
};

void Generate(const Model& model, const Options& options) {
  Tokenizer tokenizer(model);
  multibit::Session session(model);
  session.Step(model.eos);
  std::vector<int32_t> prompt;
  std::string word;
  for (const char c : options.prompt + " ") {
    if (!IsWhiteSpace(c)) {
      word.push_back(c);
    } else if (!word.empty()) {
      prompt.push_back(tokenizer.Token(word));
      word.clear();
    }
  }
  tokenizer.Warn();
  Writer writer(model);
  for (const int32_t token : prompt) {
    session.Step(token);
    writer.Write(token);
  }
  session.Generate(options.temperature, options.top_k, options.seed, static_cast<size_t>(options.tokens),
                   [&](int32_t token) { writer.Write(token); });
  Print("\n");
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
        token = static_cast<int32_t>((state_ >> 32) % static_cast<uint64_t>(batch_.model().classes));
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
    Print("{\"model\":%s,\"isa\":\"%s\",\"threads\":%d,\"rows\":[", Quoted(options.files[0]).c_str(),
          model.kernels->name, model.pool.threads());
  } else {
    Print("%s (native %s, threads %d), a step with its logits, medians:\n", options.files[0].c_str(),
          model.kernels->name, model.pool.threads());
  }
  for (TimedSteps& row : rows) {
    const double step = row.SecondsPerStep();
    const auto streams = static_cast<double>(row.streams());
    Print(options.json ? "%s{\"streams\":%zu,\"millisPerStep\":%.6g,\"millisPerToken\":%.6g,"
                         "\"tokensPerSecond\":%.6g}"
                       : "%s%4zu streams: %.6g ms per step, %.6g ms per token, %.6g tokens/s\n",
          options.json && &row != &rows.front() ? "," : "", row.streams(), step * 1e3, step * 1e3 / streams,
          streams / step);
  }
  if (options.json) Print("]}\n");
}

void Run(const Options& options) {
  if (options.help) {
    Print("%s", kUsage);
    return;
  }
  if (options.version) {
    Print("multibit-lm %s\n", multibit_version());
    return;
  }
  const char* const file = options.files[0].c_str();
  const auto model = multibit::LoadModel(multibit::FileBytes(file), file, multibit::ChosenKernels());
  model->pool.SetThreads(std::min(options.threads, ThreadPool::AvailableCores()));
  if (options.command == "info") {
    Info(*model, options.files[0]);
    return;
  }
  if (model->head != multibit::Head::kLanguageModel) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "%s is a classifier of float sequences, not a language model: %s takes no such model",
         options.files[0].c_str(), options.command.c_str());
  }
  if (options.command == "evaluate") {
    Evaluate(*model, options);
  } else if (options.command == "generate") {
    Generate(*model, options);
  } else {
    Bench(*model, options);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Run(Parse(argc, argv));
    FlushOutput();
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "multibit-lm: %s; see multibit-lm --help\n", Printable(error.what()).c_str());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "multibit-lm: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "multibit-lm: %s\n", error.what());
  }
  return 1;
}
