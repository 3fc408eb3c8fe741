/* SPDX-License-Identifier: MIT */
/* memory_refused KIND: has memory that cannot be checkpointed, says "ready" and stays. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE (2ul << 20)

static int watch(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {
		.range = {(unsigned long)memory, SIZE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	return ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0;
}

static int attach(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	void *memory = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	return memory != (void *)-1;
}

static int ring(void)
{
	unsigned long context = 0;

	return syscall(SYS_io_setup, 1, &context) == 0;
}

/* Reserves nothing: none needs to be there. */
static int reserve(void)
{
	return mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1,
		       0) != MAP_FAILED;
}

static const struct {
	const char *name;
	int (*make)(void);
} kinds[] = {{"userfaultfd", watch}, {"system_v", attach}, {"aio", ring}, {"hugetlb", reserve}};

int main(int argc, char **argv)
{
	int good = 0;

	for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(argv[1], kinds[i].name) == 0)
			good = kinds[i].make();
	puts(good ? "ready" : "cannot");
	fflush(stdout);
	for (;;)
		pause();
}
