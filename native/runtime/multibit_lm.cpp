// multibit-lm: a packed language model as a program, for devices without a JVM.

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "multibit.h"

namespace {

constexpr char kUsage[] =
    "Usage: multibit-lm info FILE.gguf\n"
    "       multibit-lm evaluate FILE.gguf TEXT [--json]\n"
    "       multibit-lm generate FILE.gguf [--prompt WORDS] [--tokens N] [--temperature T] [--top-k K] [--seed S]\n"
    "\n"
    "evaluate gives the perplexity of a text: one stream, zero state, first input <eos>, every token a target,\n"
    "<eos> at each line's end. MULTIBIT_ISA=avx2 (etc.) forces an instruction set.\n";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void Check(int code) {
  if (code != MULTIBIT_OK) throw std::runtime_error(multibit_last_error());
}

struct Closer {
  void operator()(multibit_model* model) const { multibit_model_close(model); }
  void operator()(multibit_session* session) const { multibit_session_free(session); }
};
using ModelPointer = std::unique_ptr<multibit_model, Closer>;
using SessionPointer = std::unique_ptr<multibit_session, Closer>;

ModelPointer Open(const std::string& path) {
  multibit_model* model = nullptr;
  Check(multibit_model_open(path.c_str(), &model));
  return ModelPointer(model);
}

SessionPointer NewSession(const ModelPointer& model) {
  multibit_session* session = nullptr;
  Check(multibit_session_new(model.get(), &session));
  return SessionPointer(session);
}

multibit_model_info Describe(const ModelPointer& model) {
  multibit_model_info info;
  Check(multibit_model_describe(model.get(), &info));
  return info;
}

struct Encoder {
  const ModelPointer& model;
  multibit_model_info info;
  long unknown_words = 0;

  // Appends the tokens of one line, without <eos>.
  void Line(std::string_view line, std::vector<int32_t>& tokens) {
    size_t at = 0;
    while (true) {
      at = line.find_first_not_of(" \t\r\f\v", at);
      if (at == std::string_view::npos) return;
      const size_t end = std::min(line.find_first_of(" \t\r\f\v", at), line.size());
      int32_t token;
      Check(multibit_model_token(model.get(), line.data() + at, end - at, &token));
      if (token < 0 && info.unknown_token < 0) {
        throw std::runtime_error("The model does not know the word \"" + std::string(line.substr(at, end - at)) + "\"");
      }
      if (token < 0) ++unknown_words;
      tokens.push_back(token < 0 ? info.unknown_token : token);
      at = end;
    }
  }

  void Warn() const {
    if (unknown_words > 0) {
      std::fprintf(stderr, "multibit-lm: %ld words are not in the vocabulary; <unk> stands in\n", unknown_words);
    }
  }
};

std::string JsonString(const std::string& text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c < 32) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "\"";
}

int Info(const std::string& path) {
  const ModelPointer model = Open(path);
  const multibit_model_info info = Describe(model);
  const char* isa;
  Check(multibit_isa(&isa));
  const auto bits = [](int32_t b) { return b == 0 ? std::string("fp") : std::to_string(b); };
  std::printf("%s: %lld bytes\n", path.c_str(), static_cast<long long>(info.file_bytes));
  std::printf("%s, %d layers, %d units, embedding of %d, %d words\n", info.cell, info.layers, info.hidden_size,
              info.embedding_size, info.vocabulary_size);
  std::printf("weights/activations of %s/%s bits, embedding of %s\n", bits(info.weight_bits).c_str(),
              bits(info.activation_bits).c_str(), bits(info.embedding_bits).c_str());
  std::printf("runs on %s\n", isa);
  return 0;
}

int Evaluate(const std::string& path, const std::string& text, bool json) {
  const ModelPointer model = Open(path);
  Encoder encoder{model, Describe(model)};
  std::ifstream in(text, std::ios::binary);
  if (!in) throw std::runtime_error("Cannot open " + text + ": " + std::strerror(errno));
  std::vector<int32_t> tokens;
  std::string line;
  while (std::getline(in, line)) {
    encoder.Line(line, tokens);
    tokens.push_back(encoder.info.eos_token);
  }
  if (in.bad()) throw std::runtime_error("Cannot read " + text);
  if (tokens.empty()) throw std::runtime_error(text + " is empty");
  encoder.Warn();
  const SessionPointer session = NewSession(model);
  const auto begin = std::chrono::steady_clock::now();
  double loss = 0;
  Check(multibit_session_evaluate(session.get(), encoder.info.eos_token, tokens.data(), tokens.size(), &loss));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double perplexity = std::exp(loss / static_cast<double>(tokens.size()));
  std::printf("perplexity %.4f over %zu tokens in %.2f s (%.0f tokens/s)\n", perplexity, tokens.size(), seconds,
              static_cast<double>(tokens.size()) / seconds);
  if (json) {
    std::printf(
        "{\"model\":%s,\"data\":%s,\"perplexity\":%.17g,\"tokens\":%zu,\"seconds\":%.6f,\"runtime\":\"native\"}\n",
        JsonString(path).c_str(), JsonString(text).c_str(), perplexity, tokens.size(), seconds);
  }
  return 0;
}

struct Sampling {
  std::string prompt;
  long tokens = 50;
  double temperature = 1;
  long top_k = 0;
  unsigned long long seed = 1;
};

int Generate(const std::string& path, const Sampling& sampling) {
  const ModelPointer model = Open(path);
  Encoder encoder{model, Describe(model)};
  std::vector<int32_t> prompt = {encoder.info.eos_token};
  encoder.Line(sampling.prompt, prompt);
  encoder.Warn();
  const SessionPointer session = NewSession(model);
  for (int32_t token : prompt) Check(multibit_session_step(session.get(), token));
  std::vector<int32_t> tokens(static_cast<size_t>(sampling.tokens));
  Check(multibit_session_generate(session.get(), static_cast<float>(sampling.temperature),
                                  static_cast<int32_t>(sampling.top_k), sampling.seed, tokens.data(), tokens.size()));
  std::string text = sampling.prompt;
  for (int32_t token : tokens) {
    const char* word;
    size_t length;
    Check(multibit_model_word(model.get(), token, &word, &length));
    if (token == encoder.info.eos_token) {
      text += '\n';
    } else {
      if (!text.empty() && text.back() != '\n') text += ' ';
      text.append(word, length);
    }
  }
  std::printf("%s\n", text.c_str());
  return 0;
}

template <typename Number, typename Parse>
Number Parsed(const std::string& option, const char* text, Parse parse, Number low, Number high) {
  char* end = nullptr;
  errno = 0;
  const Number value = parse(text, &end);
  if (end == text || *end != '\0' || errno != 0 || !(value >= low && value <= high)) {
    throw UsageError(option + " " + text + " is not a number in its range");
  }
  return value;
}

Sampling ParseSampling(int argc, char** argv) {
  Sampling s;
  for (int i = 3; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc) throw UsageError(option + " needs a value");
    const char* value = argv[i + 1];
    const auto integer = [](const char* t, char** e) { return std::strtol(t, e, 10); };
    if (option == "--prompt") {
      s.prompt = value;
    } else if (option == "--tokens") {
      s.tokens = Parsed<long>(option, value, integer, 1, 1000000);
    } else if (option == "--temperature") {
      s.temperature = Parsed<double>(option, value, std::strtod, 0, 1000);
    } else if (option == "--top-k") {
      s.top_k = Parsed<long>(option, value, integer, 0, 1 << 30);
    } else if (option == "--seed") {
      s.seed = Parsed<unsigned long long>(
          option, value, [](const char* t, char** e) { return std::strtoull(t, e, 10); }, 0, ~0ull);
    } else {
      throw UsageError("unknown option " + option);
    }
  }
  return s;
}

int Run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "--help" || command == "-h") {
    std::printf("%s", kUsage);
    return 0;
  }
  if (command == "--version") {
    std::printf("multibit-lm %s\n", multibit_version());
    return 0;
  }
  if (command == "info" && argc == 3) return Info(argv[2]);
  if (command == "evaluate" && (argc == 4 || (argc == 5 && std::string(argv[4]) == "--json"))) {
    return Evaluate(argv[2], argv[3], argc == 5);
  }
  if (command == "generate" && argc >= 3) return Generate(argv[2], ParseSampling(argc, argv));
  throw UsageError("wrong usage");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const UsageError& e) {
    std::fprintf(stderr, "multibit-lm: %s (see multibit-lm --help)\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "multibit-lm: %s\n", e.what());
    return 1;
  }
}
