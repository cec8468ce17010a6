// A disk that can be told to fail: loaded before libc (LD_PRELOAD), it stands
// between a program and its reads of the PLE table's files (*.sst).
//
// The file that $BAD_DISK names says what reads do; without it, they work.
//   eio     they fail with EIO
//   hang    they wait until it says something else; a file beside it, whose
//   name
//           ends with .hangs, says that one does
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

namespace {

using PreadFunction = ssize_t (*)(int, void*, size_t, off_t);

bool IsTable(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path));
  return size > 4 && strncmp(path + size - 4, ".sst", 4) == 0;
}

// Whether the control file's text begins with `word`.
bool Says(const char* word) {
  const char* control = getenv("BAD_DISK");
  FILE* file = control == nullptr ? nullptr : fopen(control, "r");
  if (file == nullptr) return false;
  char text[16] = {};
  const size_t size = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  return size > 0 && strncmp(text, word, strlen(word)) == 0;
}

void SayThatOneHangs() {
  char path[4096];
  snprintf(path, sizeof(path), "%s.hangs", getenv("BAD_DISK"));
  FILE* file = fopen(path, "w");
  if (file != nullptr) fclose(file);
}

ssize_t Read(const char* name, int fd, void* buffer, size_t size,
             off_t offset) {
  if (IsTable(fd)) {
    while (Says("hang")) {
      SayThatOneHangs();
      usleep(1000);
    }
    if (Says("eio")) {
      errno = EIO;
      return -1;
    }
  }
  return reinterpret_cast<PreadFunction>(dlsym(RTLD_NEXT, name))(fd, buffer,
                                                                 size, offset);
}

}  // namespace

extern "C" ssize_t pread(int fd, void* buffer, size_t size, off_t offset) {
  return Read("pread", fd, buffer, size, offset);
}

extern "C" ssize_t pread64(int fd, void* buffer, size_t size, off_t offset) {
  return Read("pread64", fd, buffer, size, offset);
}
