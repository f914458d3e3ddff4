// What the fuzz targets share. Run with --write-seeds FOLDER, a target writes what its fuzzing starts from.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "multibit.h"
#include "test_model.h"

// A claim that fails is a finding.
inline void Require(bool claim) {
  if (!claim) std::abort();
}

// A file with a path that is in memory only.
class FileInMemory {
 public:
  FileInMemory(const uint8_t* data, size_t size) : descriptor_(memfd_create("model", 0)) {
    Require(descriptor_ >= 0);
    while (size > 0) {
      const ssize_t written = write(descriptor_, data, size);
      Require(written > 0);
      data += written;
      size -= static_cast<size_t>(written);
    }
    path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  explicit FileInMemory(const std::string& bytes)
      : FileInMemory(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) {}
  ~FileInMemory() { close(descriptor_); }
  FileInMemory(const FileInMemory&) = delete;
  FileInMemory& operator=(const FileInMemory&) = delete;

  const char* path() const { return path_.c_str(); }

 private:
  int descriptor_;
  std::string path_;
};

// Some kB in all, for speed.
inline std::string SmallModel(Shape shape) {
  shape.vocabulary = std::min(shape.vocabulary, 5);
  shape.embedding = shape.embedding % 10 + 1;
  shape.hidden = shape.hidden % 10 + 1;
  return TestModel(shape).file.Bytes();
}

// Language models and classifiers.
inline std::vector<std::string> SmallModels() {
  std::vector<std::string> models;
  for (const Shape& shape : kShapes) models.push_back(SmallModel(shape));
  for (const Shape& shape : kClassifiers) models.push_back(SmallModel(shape));
  return models;
}

void Seeds(const std::function<void(const std::string&)>& write);
#define FUZZ_SEEDS void Seeds(const std::function<void(const std::string&)>& write)

// libFuzzer calls it first, if it is there: not inline, which nobody here would call.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::strcmp((*argv)[1], "--write-seeds") != 0) return 0;
  int count = 0;
  const std::string folder = (*argv)[2];
  Seeds([&](const std::string& bytes) {
    std::FILE* file = std::fopen((folder + "/seed-" + std::to_string(count++)).c_str(), "wb");
    Require(file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() &&
            std::fclose(file) == 0);
  });
  std::exit(0);
}
