// write_model FILE [VOCABULARY HIDDEN BITS]: writes a random model, small or of these sizes.
// write_model FILE classifier: a small classifier.
// write_model FILE odd: a small one with control characters in its words and metadata that predicts <eos> alone.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "test_model.h"

namespace {

std::string OddModel() {
  TestModel model(kShapes[0]);
  std::vector<std::string> words = {"<eos>", "a\x1B[31m\x7F", "\xC2\x9B\xC2\x85"};
  while (static_cast<int>(words.size()) < kShapes[0].vocabulary) words.push_back("w" + std::to_string(words.size()));
  model.file.Strings("tokenizer.ggml.tokens", words);
  model.file.Remove("tokenizer.ggml.unknown_token_id");
  model.file.String("general.name", "two\nlines\x1B[0m");
  const float certain = 1e30f;
  model.file.Find("softmax.bias").data.replace(0, sizeof(certain), GgufWriter::Bytes(certain));
  return model.file.Bytes();
}

}  // namespace

int main(int argc, char** argv) {
  const bool odd = argc == 3 && std::strcmp(argv[2], "odd") == 0;
  const bool classifier = argc == 3 && std::strcmp(argv[2], "classifier") == 0;
  if (argc != 2 && argc != 5 && !odd && !classifier) {
    std::fprintf(stderr, "Usage: write_model FILE [VOCABULARY HIDDEN BITS | classifier | odd]\n");
    return 2;
  }
  const std::string bytes = odd          ? OddModel()
                            : classifier ? TestModel(kClassifiers[0]).file.Bytes()
                            : argc == 2
                                ? TestModel(kShapes[0]).file.Bytes()
                                : LargeModel(std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4])).Bytes();
  std::FILE* file = std::fopen(argv[1], "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  return 0;
}
