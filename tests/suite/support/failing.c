/* A disk that fails, for the real binary: loaded before libc, it fails calls on files below $FAULT_FOLDER as the word in the file
   $FAULT_WORD says: read (EIO), write (EIO), full (ENOSPC), readonly (EROFS), slow (reads take ten seconds); else it does nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int word_is(const char *wanted) {
  static char word[32];
  const char *path = getenv("FAULT_WORD");
  int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
  if (fd < 0) return 0;
  long len = syscall(SYS_read, fd, word, sizeof word - 1);
  syscall(SYS_close, fd);
  word[len > 0 ? len : 0] = 0;
  return strncmp(word, wanted, strlen(wanted)) == 0;
}

static int is_below(const char *path) {
  const char *folder = getenv("FAULT_FOLDER");
  size_t len = folder ? strlen(folder) : 0;
  return len && path && strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static int is_ours(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long len = readlink(link, path, sizeof path - 1);
  if (len <= 0) return 0;
  path[len] = 0;
  return is_below(path);
}

static int write_fault(void) { return word_is("write") ? EIO : word_is("full") ? ENOSPC : word_is("readonly") ? EROFS : 0; }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void *octets, size_t len, off64_t at) {
  int fault = is_ours(fd) ? write_fault() : 0;
  if (fault) { errno = fault; return -1; }
  return NEXT(pwrite64)(fd, octets, len, at);
}

ssize_t pread64(int fd, void *octets, size_t len, off64_t at) {
  if (is_ours(fd)) {
    if (word_is("read")) { errno = EIO; return -1; }
    if (word_is("slow")) nanosleep(&(struct timespec){10, 0}, 0);
  }
  return NEXT(pread64)(fd, octets, len, at);
}

int fdatasync(int fd) {
  int fault = is_ours(fd) ? write_fault() : 0;
  if (fault) { errno = fault; return -1; }
  return NEXT(fdatasync)(fd);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  int mode = va_arg(more, int);
  va_end(more);
  int fault = is_below(path) && (flags & (O_WRONLY | O_RDWR)) ? write_fault() : 0;
  /* A full disk opens what is there. */
  if (fault && (fault != ENOSPC || ((flags & O_CREAT) && access(path, F_OK) != 0))) { errno = fault; return -1; }
  return NEXT(open64)(path, flags, mode);
}

int unlink(const char *path) {
  if (is_below(path) && (word_is("write") || word_is("readonly"))) { errno = word_is("write") ? EIO : EROFS; return -1; }
  return NEXT(unlink)(path);
}
