/* SPDX-License-Identifier: MIT */
/* without userfaultfd|pagemap_scan|… COMMAND…: runs a command on a kernel that lacks something. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DATA(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define EQUALS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define FAILS(error) RETURN(SECCOMP_RET_ERRNO | (error))

#define SCAN_TYPE_AND_NUMBER 0x6610 /* of PAGEMAP_SCAN: the low half of the request */

int main(int argc, char **argv)
{
	struct sock_filter userfaultfd[] = {
		DATA(nr), EQUALS(SYS_userfaultfd, 1), FAILS(ENOSYS), RETURN(SECCOMP_RET_ALLOW)};
	struct sock_filter scan[] = {DATA(nr), EQUALS(SYS_ioctl, 4), DATA(args[1]),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffff), EQUALS(SCAN_TYPE_AND_NUMBER, 1),
		FAILS(ENOTTY), RETURN(SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {sizeof(userfaultfd) / sizeof(userfaultfd[0]), userfaultfd};

	if (argc > 2 && strcmp(argv[1], "pagemap_scan") == 0)
		program = (struct sock_fprog){sizeof(scan) / sizeof(scan[0]), scan};
	/* As root: not with no_new_privs, which would be another lack. */
	if (argc < 3 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return 125;
	execvp(argv[2], argv + 2);
	return 127;
}
