// write_model FILE [VOCABULARY HIDDEN BITS]: writes a random model, small or of these sizes.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "test_model.h"

int main(int argc, char** argv) {
  if (argc != 2 && argc != 5) {
    std::fprintf(stderr, "Usage: write_model FILE [VOCABULARY HIDDEN BITS]\n");
    return 2;
  }
  const std::string bytes = argc == 2 ? TestModel(kShapes[0]).file.Bytes()
                                      : LargeModel(std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4])).Bytes();
  std::FILE* file = std::fopen(argv[1], "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  return 0;
}
