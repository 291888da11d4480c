// For what is preloaded into a real binary: the page that it shares with the test.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

// The file that this variable of the environment names. Ends the process where there is none: nothing would be tested.
template <typename Page>
Page* shared_page(const char* variable) {
  const char* const path = std::getenv(variable);
  const int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  void* const mapped = file < 0 ? MAP_FAILED : mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) {
    std::fprintf(stderr, "%s: no such page\n", variable);
    std::abort();
  }
  close(file);
  unsetenv("LD_PRELOAD");  // what the binary starts is not under test
  return static_cast<Page*>(mapped);
}
